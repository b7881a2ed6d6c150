"""The daemon's control socket: the same verbs for a shell, for the day Slack is down."""

import asyncio
import contextlib
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from monostat.core.events import Act, Imported
from monostat.core.imports import is_our_own
from monostat.core.model import Incident
from monostat.core.reminders import promised_by
from monostat.core.snapshot import feed_incident, to_json
from monostat.core.verbs import VERB
from monostat.database import Unusable, explain_unsaved
from monostat.engine import Engine
from monostat.history.exporting import export_row, is_history, row_to_json
from monostat.slack.messages import title

ACT = TypeAdapter(Act)
IMPORTED = TypeAdapter(Imported)
SOURCES = TypeAdapter(set[str])
MAX_REQUEST_BYTES = 64_000_000  # an import's records come by the hundred
LONGEST_ERROR = 500  # characters
#: How reading what a program has sent fails, where it is not what was agreed on.
NOT_UNDERSTOOD = (ValueError, TypeError, KeyError, ValidationError)
log = logging.getLogger(__name__)


class Control:
    """Takes acts as JSON, and tells what there is."""

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine = engine
        self._url = url

    def app(self) -> web.Application:
        """Answers what the command line asks: /incidents with ?all=yes has those that are past."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[admit_failure])
        app.add_routes(
            [
                web.post("/act", self.act),
                web.get("/incidents", self.incidents),
                web.get(r"/incidents/{number:-?\d+}", self.incident),
                web.post("/import", self.import_records),
                web.post("/known", self.known),
                web.get("/export", self.export),
            ]
        )
        return app

    async def act(self, request: web.Request) -> web.Response:
        """Answers with the sentence of a refusal, or the number of the incident."""
        try:
            act = ACT.validate_python(await self._event(request))
        except NOT_UNDERSTOOD as error:
            return not_understood(error)
        if act.verb not in VERB:
            return refuse(f"There is no verb {act.verb!r}."[:200])
        try:
            change = await self._engine.submit(act)
        except sqlite3.Error as error:
            return refuse(f"Nothing was changed: {explain_unsaved(error)}.")
        number = change.made or act.incident
        return web.json_response({"refused": change.refused, "number": number})

    async def incidents(self, request: web.Request) -> web.Response:
        """Those that are not past, or all incidents, the open ones and the newest first."""
        rows = [self._row(incident) for incident in self._engine.state.incidents.values()]
        if "all" in request.query:
            rows = []
            async for incidents in self._engine.store.archive.all():
                rows += [self._row(incident) for incident in incidents]
        rows.sort(reverse=True)
        body = ",".join(text for _, _, text in rows)
        return web.Response(text=f"[{body}]", content_type="application/json")

    def _row(self, incident: Incident) -> tuple[bool, int, str]:
        """Where it stands in the list, and its JSON."""
        return incident.is_open, incident.number, to_json(self.describe(incident))

    async def incident(self, request: web.Request) -> web.Response:
        """A list of this incident, also where it is past; an empty one where there is none."""
        incident = await self._engine.incident(int(request.match_info["number"]))
        described = []
        if incident:
            described.append(self.describe(incident))
        return web.Response(text=to_json(described), content_type="application/json")

    async def import_records(self, request: web.Request) -> web.Response:
        """Answers how many incidents of an import are added by now, or why none were."""
        try:
            event = IMPORTED.validate_python(await self._event(request))
        except NOT_UNDERSTOOD as error:
            return not_understood(error)
        sources = {record.source for record in event.records}
        try:
            change = await self._engine.submit(event)
        except sqlite3.Error as error:
            return refuse(f"{explain_unsaved(error)}.")
        added = [each for each in change.incidents if each.imported_from in sources]
        return web.json_response({"refused": change.refused, "added": event.added + len(added)})

    async def known(self, request: web.Request) -> web.Response:
        """Those of these sources whose incidents are here already."""
        try:
            fields = from_json(await request.read())
            sources = SOURCES.validate_python(fields["sources"])
        except NOT_UNDERSTOOD as error:
            return not_understood(error)
        known = set(await self._engine.store.archive.imported(sources))
        for source in sources:
            if is_our_own(self._engine.state, source):
                known.add(source)
        return web.json_response(sorted(known))

    async def _event(self, request: web.Request) -> Any:
        """The fields of an event of now; raises what stands in NOT_UNDERSTOOD."""
        fields = from_json(await request.read())
        return fields | {"at": self._engine.now()}

    async def export(self, request: web.Request) -> web.StreamResponse:
        """All history as Statuspage has it, the newest first."""
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        page_id = self._engine.state.birth.page_id
        before = "["
        async for batch in self._engine.store.archive.all():
            await answer.prepare(request)  # once there is something to say
            rows = [
                row_to_json(export_row(incident, url=self._url, page_id=page_id))
                for incident in filter(is_history, batch)
            ]
            if rows:
                await answer.write(f"{before}{','.join(rows)}".encode())
                before = ","
        await answer.prepare(request)
        await answer.write(f"{before.rstrip(',')}]".encode())
        return answer

    def describe(self, incident: Incident) -> dict[str, Any]:
        """What everybody may know of it, and what only staff may."""
        fields = feed_incident(incident, self._url, promised_by(incident, self._engine.policy))
        fields["words"] = title(incident)
        fields["silent"] = incident.silent
        fields["imported_from"] = incident.imported_from
        fields["mails"] = [
            {"state": mail.state, "due": mail.not_before, "error": mail.error}
            for mail in self._engine.state.mails_of(incident.number)
        ]
        return fields


def not_understood(error: Exception) -> web.Response:
    """An answer that says what of a request was no act, no import and no question."""
    sentence = f"This was not understood: {error}"
    return refuse(sentence[:LONGEST_ERROR])


def refuse(sentence: str) -> web.Response:
    """An answer that says why nothing was done."""
    return web.json_response({"refused": sentence})


@web.middleware
async def admit_failure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers 503 with a sentence where the database cannot be read."""
    try:
        return await handler(request)
    except sqlite3.Error as error:
        if request.writer.output_size:
            raise  # what has begun becomes no other answer: it breaks off
        log.error("the control socket: the database says %s", error)  # noqa: TRY400 - no bug
        return web.json_response({"refused": f"its database says {error}"}, status=503)


@asynccontextmanager
async def control_socket(engine: Engine, url: str, path: Path) -> AsyncIterator[None]:
    """Serves the control socket for the daemon's own user alone.

    Raises Unusable where another daemon has it.
    """
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_unix_connection(path)
        writer.close()
        remedy = "another monostat listens here: give one of them its own server.control_socket"
        raise Unusable(f"{path}: {remedy}", os.EX_TEMPFAIL)
    app = Control(engine, url).app()
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=2.0)
    await runner.setup()
    mask = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        await runner.cleanup()
