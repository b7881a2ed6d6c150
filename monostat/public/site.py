"""The prepared answers: everything that readers of this moment get, and how they get it.

`PublicSite.show` prepares everything once per change.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from monostat.core.snapshot import to_json
from monostat.engine import Engine, Showing
from monostat.public import routes
from monostat.public.answers import Detached, Prepared, answer_with, leave_unread, merged_path
from monostat.public.endpoints import FOR_PROGRAMS
from monostat.public.files import prepare_files
from monostat.public.headers import (
    CACHE_BADGE,
    CACHE_MISSING,
    GZIPPED,
    HTML,
    OPEN_TO_ALL,
    POLICY,
    SAFETY,
    page_policy,
)
from monostat.public.live.handshake import PROTOCOL
from monostat.public.live.hub import Hub, Messages
from monostat.public.pages import Pages
from monostat.public.subscribing import Subscribing

log = logging.getLogger(__name__)
MOST_KEPT = 16_000_000  # bytes of documents that are made when they are asked for


class Whole(NamedTuple):
    """An answer as it goes over the wire, without its status line and Date.

    `counted` are the labels under which it is counted.
    """

    answer: bytes
    counted: tuple[str, str]


def heartbeat(engine: Engine, messages: Messages) -> str:
    """The heartbeat of now, with the version that viewers are shown."""
    beat: dict[str, Any] = {
        "type": "heartbeat",
        "epoch": messages.epoch,
        "version": messages.version,
        "time": engine.now(),
    }
    if engine.policy.monitoring and engine.state.answered:
        beat["checked_at"] = engine.state.checked_at
    return to_json(beat)


class PublicSite:
    """What monostat shows of the newest version; `shown` has the answers by their paths.

    `showing` is the version that readers see, once there is one. `requests` counts by handler and
    status, for metrics. Heartbeats come every `heartbeat` seconds, which viewers are told.
    """

    def __init__(
        self,
        engine: Engine,
        pages: Pages,
        hub: Hub,
        subscribing: Subscribing,
        requests: Counter[tuple[str, ...]],
        build: str,
        heartbeat: float,
    ) -> None:
        self.shown: dict[str, Prepared] = {}
        self.showing: Showing
        self._engine = engine
        self._pages = pages
        self._hub = hub
        self._subscribing = subscribing
        self._requests = requests
        self._build = build
        self._heartbeat = heartbeat
        self._page_policy = page_policy(pages.site.url)
        self._files = prepare_files(pages, build)
        self._ready: dict[str, Prepared] = {}  # of `shown`, what is there from the change on
        self._kept = 0  # bytes of the rest
        self._making = defaultdict[str, asyncio.Lock](asyncio.Lock)  # by the documents' names
        self._whole: dict[tuple[str, bool], Whole] = {}  # by path, and whether zipped
        self._missing: Prepared
        self._failed: Prepared

    def show(self) -> None:
        """Shows the newest version to readers and viewers: all of it, or none.

        Steps: 1. render what readers get at once; 2. put it in the place of what was shown, of
        which nothing is kept; 3. hand the newest messages to the viewers; 4. render the pages of
        failures, for which no viewer waits.
        """
        engine = self._engine
        main = self._pages.main(engine)
        head = self._head_of_message()
        feed = f"{to_json(head)[:-1]},{engine.snapshot.feed[1:]}"
        headline = engine.snapshot.headline
        for_open_pages = {
            "html": main,
            "build": self._build,
            "title": self._pages.title(engine),
            "icon": headline.kind,
            "blind": bool(engine.snapshot.blind_since),
        }
        messages = Messages(
            epoch=engine.state.epoch,
            version=engine.version.number,
            v1=feed,
            page=to_json(head | for_open_pages),
        )
        icon = self._files[f"/static/icon-{headline.kind}.svg"]
        ready = self._files | {
            "/favicon.ico": icon._replace(headers=icon.headers | {"Cache-Control": CACHE_BADGE}),
            "/": self._prepare(routes.HOME, self._pages.home(engine, main)),
            "/feed/v1/state.json": self._prepare(routes.STATE, feed),
        }
        self._ready = ready
        self._keep_only_what_is_ready()
        self._subscribing.renew()
        self.showing = Showing(engine.version, engine.snapshot)
        self._hub.publish(messages)
        missing = self._pages.missing(engine)
        failed = self._pages.failed(engine)
        self._missing = Prepared.of(missing.encode(), HTML, CACHE_MISSING)
        self._failed = Prepared.of(failed.encode(), HTML, "no-store")

    def _head_of_message(self) -> dict[str, Any]:
        """What begins both messages to viewers."""
        version = self._engine.version
        changed = None
        if version.changed:
            number, kind = version.changed
            changed = {"incident": number and str(number), "kind": kind}
        return {
            "type": "state",
            "protocol": PROTOCOL,
            "epoch": self._engine.state.epoch,
            "version": version.number,
            "time": version.at,
            "heartbeat_ms": round(self._heartbeat * 1000),
            "changed": changed,
        }

    def _keep_only_what_is_ready(self) -> None:
        self.shown = dict(self._ready)
        self._whole = {}
        self._kept = 0

    async def read(self, request: web.Request) -> web.StreamResponse:
        """Answers with a file or a document; documents are made when they are first asked for."""
        path = merged_path(request)
        prepared = self.shown.get(request.path_qs) or self.shown.get(path) or await self._make(path)
        if prepared is None:
            raise web.HTTPNotFound
        return answer_with(request, prepared)

    async def _make(self, path: str) -> Prepared | None:
        """Renders the document of a path, and keeps it until the next version.

        Whoever asks meanwhile waits for it. One that a change has overtaken is rendered again.
        """
        found = routes.find(path)
        if not found:
            return None
        document, groups = found
        if document.render is None:
            return None
        async with self._making[document.name]:
            while path not in self.shown:
                ready = self._ready
                rendered = await document.render(self._pages, self._engine, *groups)
                if rendered is None:
                    return None
                if ready is not self._ready:
                    continue
                texts = rendered
                if isinstance(texts, str):
                    texts = {path: texts}
                prepared = {each: self._prepare(document, text) for each, text in texts.items()}
                for address, answer in prepared.items():
                    self._keep(address, answer)
                return prepared[path]
            return self.shown[path]

    def _prepare(self, document: routes.Document, text: str) -> Prepared:
        """The document's answer.

        What is for programs has the version for its ETag.
        """
        etag = ""
        if document.content_type != HTML:
            etag = f'W/"{self._engine.state.epoch}-{self._engine.version.number}"'
        return Prepared.of(
            text.encode(),
            document.content_type,
            document.caching,
            etag=etag,
            headers=document.headers,
        )

    def _keep(self, path: str, prepared: Prepared) -> None:
        """Remembers what was made, of all of it only so much: there may be thousands of days."""
        if self._kept + prepared.size > MOST_KEPT:
            self._keep_only_what_is_ready()
        self._kept += prepared.size
        self.shown[path] = prepared

    def whole(self, path: str, zipped: bool) -> bytes | None:
        """The answer that `read` gives to a plain request for what is ready, which is counted.

        Without its status line and Date; None for what is not ready.
        """
        whole = self._whole.get((path, zipped))
        if whole is None:
            prepared = self.shown.get(path)
            if prepared is None:
                return None
            whole = Whole(self._as_sent(prepared, zipped), (routes.name_of(path), "200"))
            self._whole[path, zipped] = whole
        self._requests[whole.counted] += 1
        return whole.answer

    def _as_sent(self, prepared: Prepared, zipped: bool) -> bytes:
        """The headers and the body as they go over the wire."""
        body = prepared.body
        headers = dict(prepared.headers)
        if zipped:
            body = prepared.zipped
            headers |= GZIPPED
        headers |= self._safety(prepared.headers)
        headers["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{head}\r\n".encode() + body

    def _safety(self, headers: Mapping[str, str]) -> dict[str, str]:
        """What every answer has; and the pages' policy, where it has none of its own."""
        if POLICY in headers:
            return SAFETY
        return SAFETY | self._page_policy

    @web.middleware
    async def finish_answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Gives every answer its safety headers, and every failure a page that looks like the rest.

        Steps: 1. answer; 2. turn a failure into a page, or JSON for programs; 3. count; 4. add the
        headers, and while we stop that it is the last; 5. see to a body that nobody reads.
        """
        answer: web.StreamResponse
        try:
            answer = await handler(request)
        except web.HTTPException as exception:
            answer = self._explain(request, exception)
        except Exception:
            log.exception("%s failed", request.path)
            answer = self._explain(request, web.HTTPInternalServerError())
        if not isinstance(answer, Detached):
            self._requests[routes.name_of(request.path), str(answer.status)] += 1
        if not answer.prepared:
            answer.headers.update(self._safety(answer.headers))
            answer.headers.setdefault("Cache-Control", "no-store")
        if self._hub.closing and not answer.prepared:
            answer.force_close()
        await leave_unread(request, answer)
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    def _explain(self, request: web.Request, exception: web.HTTPException) -> web.StreamResponse:
        """The answer to a request that has failed, or been sent elsewhere."""
        if exception.status >= 400 and FOR_PROGRAMS.fullmatch(merged_path(request)):
            headers = dict(OPEN_TO_ALL)
            if "Allow" in exception.headers:
                headers["Allow"] = exception.headers["Allow"]
            if exception.status == 404:
                headers["Cache-Control"] = CACHE_MISSING
            body = {"error": exception.reason}
            return web.json_response(body, status=exception.status, headers=headers)
        if exception.status == 404:
            return answer_with(request, self._missing, status=404)
        if exception.status == 500:
            return answer_with(request, self._failed, status=500)
        return exception


SITE = web.AppKey("SITE", PublicSite)
