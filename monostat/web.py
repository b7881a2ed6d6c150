"""Routes and headers: prepared bytes for readers, sockets for viewers.

PRODUCT.md sections 5 and 6 are the contract; `Face.show` prepares everything once per change.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from monostat.board import Board
from monostat.config import Server, Site
from monostat.incidents import Incident
from monostat.live import Hub, Messages, canonical
from monostat.pages import Pages, Prepared, static_files
from monostat.snapshot import envelope, feed_body, heartbeat

log = logging.getLogger(__name__)

PAGE = "public, max-age=0, s-maxage=5, stale-while-revalidate=20, stale-if-error=86400"
STATE = "public, max-age=5, stale-while-revalidate=20, stale-if-error=86400"
FOREVER = "public, max-age=31536000, immutable"
TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
HTML, JSON = "text/html; charset=utf-8", "application/json"
OPEN_TO_ALL = {"Access-Control-Allow-Origin": "*"}


def security_headers(site: Site) -> dict[str, str]:
    """Nothing from elsewhere, nothing inline; the explicit wss: is for older Safari, contracts/feed.md section 7."""
    host = urlsplit(site.url)
    socket = f"{'wss' if host.scheme == 'https' else 'ws'}://{host.netloc}"
    logo = f" {urlsplit(site.logo).scheme}://{urlsplit(site.logo).netloc}" if "://" in site.logo else ""
    policy = (
        f"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'{logo}; connect-src 'self' {socket};"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Server": "monostat",
        "Referrer-Policy": "strict-origin-when-cross-origin",
    }


class Face:
    """What monostat shows of the newest version; every body is ready before anybody asks."""

    def __init__(self, pages: Pages, hub: Hub, *, site: Site, server: Server, build: str, beat: float) -> None:
        self._pages, self._hub, self._site, self._server = pages, hub, site, server
        self._build, self._beat = build, beat
        self._headers = security_headers(site)
        self._static = {name: Prepared.of(body) for name, body in static_files().items()}
        self._incidents: dict[int, Prepared] = {}
        self._ready = False
        self.board: Board
        self._home: Prepared
        self._missing: Prepared
        self._failed: Prepared
        self._state: Prepared

    def show(self, board: Board) -> None:
        """Renders what readers of this moment get, and hands the newest messages to the viewers."""
        self.board, snapshot, version = board, board.snapshot, board.version
        epoch = board.state.epoch
        self._home = self._pages.home(snapshot, **self._about())
        self._missing = self._pages.plain("missing", snapshot, **self._about())
        self._failed = self._pages.plain("error", snapshot, **self._about())
        self._incidents = {i.number: self._page_of(i) for i in (*snapshot.open, *snapshot.planned, *snapshot.recent)}
        head = envelope(
            epoch=epoch, version=version.number, time=version.at, heartbeat=self._beat, changed=version.changed
        )
        feed = json.dumps(head | feed_body(snapshot), ensure_ascii=False, separators=(",", ":"))
        page = {"html": self._pages.main(snapshot), "title": self._pages.title(snapshot)}
        page |= {"icon": snapshot.headline.kind, "build": self._build}
        self._state = Prepared.of(feed.encode(), f'W/"{epoch}-{version.number}"')
        self._hub.publish(Messages(epoch, version.number, feed, json.dumps(head | page, separators=(",", ":"))))
        self._ready = True

    def _page_of(self, incident: Incident) -> Prepared:
        return self._pages.incident(incident, self.board.snapshot, **self._about())

    def beat(self) -> str:
        """The heartbeat of now."""
        board = self.board
        checked_at = board.state.checked_at if board.policy.monitoring and board.state.answered else None
        epoch, version = board.state.epoch, board.version.number
        return json.dumps(
            heartbeat(epoch=epoch, version=version, time=board.now(), checked_at=checked_at), separators=(",", ":")
        )

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.home),
            web.get(r"/incidents/{number:[1-9]\d{0,9}}", self.incident),
            web.get("/static/{name}", self.static),
            web.get("/feed/v1", self.feed),
            web.get("/feed/v1/state.json", self.state_json),
            web.get("/feed/page", self.page_feed),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
        ]

    async def home(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, self._home, HTML, PAGE)

    async def incident(self, request: web.Request) -> web.StreamResponse:
        number = int(request.match_info["number"])
        if number not in self._incidents:
            incident = self.board.state.incidents.get(number)
            if incident is None:
                raise web.HTTPNotFound
            self._incidents[number] = self._page_of(incident)  # an old one, once per version
        return self._answer(request, self._incidents[number], HTML, PAGE)

    async def static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._static:
            raise web.HTTPNotFound
        caching = FOREVER if request.query.get("v") == self._build else "public, max-age=300"
        return self._answer(request, self._static[name], TYPES[name.rpartition(".")[2]], caching)

    async def state_json(self, request: web.Request) -> web.StreamResponse:
        return self._answer(request, self._state, JSON, STATE, OPEN_TO_ALL)

    async def feed(self, request: web.Request) -> web.StreamResponse:
        if not _wants_socket(request):
            return _upgrade_required()
        return await self._hub.show(request, self._client(request), kind="feed")

    async def page_feed(self, request: web.Request) -> web.StreamResponse:
        """The page's own view of the hub: private, so only for our own origin."""
        if not _wants_socket(request):
            return _upgrade_required()
        origin = request.headers.get("Origin", "")
        if origin not in (self._site.url, f"http://{request.host}", f"https://{request.host}"):
            return web.json_response({"error": "this is for our own page: use /feed/v1"}, status=403)
        return await self._hub.show(request, self._client(request), kind="page")

    async def healthz(self, _request: web.Request) -> web.StreamResponse:
        alive = await self.board.alive()
        return web.Response(text="ok\n" if alive else "the store does not answer\n", status=200 if alive else 503)

    async def readyz(self, _request: web.Request) -> web.StreamResponse:
        ready = self._ready and not self._hub.closing
        return web.Response(text="ok\n" if ready else "not serving\n", status=200 if ready else 503)

    @web.middleware
    async def frame(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Gives every answer its safety headers, and every failure a page that looks like the rest."""
        try:
            answer = await handler(request)
        except web.HTTPException as failure:
            answer = failure
            if failure.status == 404:
                answer = self._answer(request, self._missing, HTML, "public, max-age=5", status=404)
        except Exception:
            log.exception("%s failed", request.path)
            answer = self._answer(request, self._failed, HTML, "no-store", status=500)
        if not answer.prepared:
            answer.headers.update(self._headers)
            answer.headers.setdefault("Cache-Control", "no-store")
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    def _about(self) -> dict[str, str | int | datetime]:
        board = self.board
        return {"epoch": board.state.epoch, "version": board.version.number, "as_of": board.now()}

    def _answer(
        self,
        request: web.Request,
        prepared: Prepared,
        kind: str,
        caching: str,
        more: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> web.Response:
        headers = {"Content-Type": kind, "Cache-Control": caching, "Vary": "Accept-Encoding", **(more or {})}
        if status == 200:
            headers["ETag"] = prepared.etag
            if _matches(request.headers.get("If-None-Match", ""), prepared.etag):
                return web.Response(status=304, headers=headers)
        if _takes_gzip(request.headers.get("Accept-Encoding", "")):
            return web.Response(status=status, body=prepared.zipped, headers=headers | {"Content-Encoding": "gzip"})
        return web.Response(status=status, body=prepared.body, headers=headers)

    def _client(self, request: web.Request) -> str | None:
        """The address that limits count by; None where a trusted proxy does not say whom it speaks for."""
        peer = request.remote or "unix"
        trusted = {canonical(p) for p in self._server.trusted_proxies}
        if canonical(peer) not in trusted:
            return peer
        named = [a.strip() for a in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")]
        return next((a for a in reversed(named) if a and canonical(a) not in trusted), None)


def _takes_gzip(accepted: str) -> bool:
    """RFC 9110 section 12.5.3, as far as it matters: gzip is named, and not refused with a weight of zero."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0.") != "q="
    return False


def _matches(wanted: str, etag: str) -> bool:
    """RFC 9110 section 13.1.2, the weak comparison."""
    tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def _wants_socket(request: web.Request) -> bool:
    asked = request.headers
    return asked.get("Upgrade", "").lower() == "websocket" and "upgrade" in asked.get("Connection", "").lower()


def _upgrade_required() -> web.Response:
    body = {"error": "this is a websocket: connect with wss, or read /feed/v1/state.json"}
    return web.json_response(body, status=426, headers={"Upgrade": "websocket", "Connection": "Upgrade", **OPEN_TO_ALL})
