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
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from monostat import store
from monostat.core.events import Act
from monostat.core.model import Incident
from monostat.core.reminders import promised_by
from monostat.core.snapshot import feed_incident, to_json
from monostat.core.verbs import VERB
from monostat.engine import Board
from monostat.slack.messages import title

ACT = TypeAdapter(Act)
log = logging.getLogger(__name__)


def control_app(board: Board, url: str) -> web.Application:
    """Takes acts as JSON and answers with the sentence of a refusal, or the number of the incident."""

    async def act(request: web.Request) -> web.Response:
        try:
            asked = ACT.validate_python(from_json(await request.read()) | {"at": board.now()})
        except (ValueError, TypeError, ValidationError) as error:
            return web.json_response({"refused": f"This is not understood: {error}"[:500]})
        if asked.verb not in VERB:
            return web.json_response({"refused": f"There is no verb {asked.verb!r}."[:200]})
        try:
            change = await board.submit(asked)
        except sqlite3.Error:
            log.exception("%s: %s was not saved", asked.incident, asked.verb)
            return web.json_response(
                {"refused": "This could not be saved, and nothing was changed: look at the log."}
            )
        return web.json_response(
            {"refused": change.refused, "number": change.made or asked.incident}
        )

    async def incidents(_request: web.Request) -> web.Response:
        found = sorted(
            board.state.incidents.values(), key=lambda i: (i.is_open, i.number), reverse=True
        )
        return web.Response(
            text=to_json([known(i) for i in found]), content_type="application/json"
        )

    def known(i: Incident) -> dict[str, Any]:
        """What everybody may know of it, and what only staff may."""
        mails = [
            {"state": m.state, "due": m.not_before, "error": m.error}
            for m in board.state.mails_of(i.number)
        ]
        ours = {"words": title(i), "silent": i.silent, "mails": mails}
        return feed_incident(i, url, promised_by(i, board.policy)) | ours

    app = web.Application()
    app.add_routes([web.post("/act", act), web.get("/incidents", incidents)])
    return app


@asynccontextmanager
async def control_socket(board: Board, url: str, path: Path) -> AsyncIterator[None]:
    """Serves the control socket for the daemon's own user alone; raises Unusable where another
    daemon has it.
    """
    with contextlib.suppress(OSError):
        (await asyncio.open_unix_connection(path))[1].close()
        words = (
            f"{path}: another monostat listens here: give one of them its own server.control_socket"
        )
        raise store.Unusable(words, 75)
    runner = web.AppRunner(control_app(board, url), access_log=None, auto_decompress=False)
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
