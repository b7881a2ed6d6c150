"""Routes and headers: prepared bytes for readers, sockets for viewers.

PRODUCT.md sections 5 and 6 are the contract; `Face.show` prepares everything once per change.
"""

import logging
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from monostat import RESOURCES, statuspage
from monostat.board import Board
from monostat.config import Server
from monostat.live import PROTOCOL, Hub, Messages, canonical
from monostat.pages import Pages, Prepared
from monostat.snapshot import to_json

log = logging.getLogger(__name__)
STALE = "stale-while-revalidate=20, stale-if-error=86400"
PAGE, STATE = f"public, max-age=0, s-maxage=5, {STALE}", f"public, max-age=5, {STALE}"
API = "public, max-age=10, s-maxage=10, stale-while-revalidate=20, stale-if-error=3600"
FOREVER = "public, max-age=31536000, immutable"
HTML, JSON = "text/html; charset=utf-8", "application/json"
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
OPEN_TO_ALL = {"Access-Control-Allow-Origin": "*"}


class Face:
    """What monostat shows of the newest version; every body is ready before anybody asks."""

    def __init__(self, board: Board, pages: Pages, hub: Hub, server: Server, build: str, heartbeat: float) -> None:
        self.board, self.pages, self.hub, self.heartbeat, self.build = board, pages, hub, heartbeat, build
        self.trusted = {canonical(proxy) for proxy in server.trusted_proxies}
        # Nothing from elsewhere, nothing inline; the explicit wss: is for older Safari, contracts/feed.md section 7.
        socket, logo = re.sub("^http(s?://[^/]+).*", r"ws\1", pages.site.url), urlsplit(pages.site.logo)
        images = f"'self' {logo.scheme}://{logo.netloc}" if "://" in pages.site.logo else "'self'"
        policy = (
            f"default-src 'none'; style-src 'self'; script-src 'self'; img-src {images}; connect-src 'self' {socket};"
            " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        self.safety = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Server": "monostat"}
        self.safety |= {"Referrer-Policy": "strict-origin-when-cross-origin"}
        self.static: dict[str, Prepared] = {}
        for path in (RESOURCES / "static").iterdir():
            body, kind = path.read_bytes(), TYPES[path.suffix]
            self.static[f"/static/{path.name}"] = Prepared.of(body, kind, "public, max-age=300")
            self.static[f"/static/{path.name}?v={build}"] = Prepared.of(body, kind, FOREVER)
        self.shown: dict[str, Prepared] = {}
        #: What else can be read, and what makes it when it is first asked for after a change.
        self.makers: tuple[tuple[str, Callable[..., Prepared | None]], ...] = (
            (r"/incidents/([1-9]\d{0,9})", self.incident),
            (r"(/api/v2/[a-z/-]+\.json)", self.api),
        )

    def show(self) -> None:
        """Renders what readers of this moment get, and hands the newest messages to the viewers."""
        board, snapshot, version = self.board, self.board.snapshot, self.board.version
        epoch, number, changed = board.state.epoch, version.number, version.changed
        about = {"incident": changed[0] and str(changed[0]), "kind": changed[1]} if changed else None
        head = {"type": "state", "protocol": PROTOCOL, "epoch": epoch, "version": number, "time": version.at}
        head |= {"heartbeat_ms": round(self.heartbeat * 1000), "changed": about}
        feed = f"{to_json(head)[:-1]},{snapshot.feed[1:]}"
        page = {"html": self.pages.main(board), "build": self.build}
        page |= {"title": f"{snapshot.headline.text} · {self.pages.site.name} status", "icon": snapshot.headline.kind}
        self.missing = Prepared.of(self.pages.page("missing", board, "No such page"), HTML, "public, max-age=5")
        self.failed = Prepared.of(self.pages.page("error", board, "Page not available"), HTML, "no-store")
        self.shown = self.static | {
            "/": Prepared.of(self.pages.page("home", board), HTML, PAGE),
            "/feed/v1/state.json": self.for_programs(feed, JSON, STATE),
        }
        self.hub.publish(Messages(epoch, number, feed, to_json(head | page)))

    def beat(self) -> str:
        """The heartbeat of now."""
        board, time = self.board, self.board.now()
        told = {"type": "heartbeat", "epoch": board.state.epoch, "version": board.version.number, "time": time}
        answered = board.policy.monitoring and board.state.answered
        return to_json(told | ({"checked_at": board.state.checked_at} if answered else {}))

    def routes(self) -> list[web.RouteDef]:
        health, read = web.get(r"/{_:healthz|readyz}", self.health), web.get("/{_:.*}", self.read)
        return [web.get("/feed/{_:v1|page}", self.feed), health, read]

    async def read(self, request: web.Request) -> web.StreamResponse:
        """Anything that is prepared; incidents are when they are first asked for, once per version."""
        path = re.sub("/{2,}", "/", request.path)
        found = self.shown.get(request.path_qs) or self.shown.get(path)
        for pattern, make in self.makers:
            if found is None and (asked := re.fullmatch(pattern, path)) and (found := make(*asked.groups())):
                self.shown[path] = found
        if found is None:
            raise web.HTTPNotFound
        return _answer(request, found)

    def incident(self, number: str) -> Prepared | None:
        incident = self.board.state.incidents.get(int(number))
        return Prepared.of(self.pages.incident(incident, self.board), HTML, PAGE) if incident else None

    def api(self, asked: str) -> Prepared | None:
        """All eight answers of Statuspage's API at once."""
        board, site = self.board, self.pages.site
        made = statuspage.documents(board.state, board.snapshot, site.url, site.name, board.version.number)
        for path, text in made.items():
            self.shown[path] = self.for_programs(text, JSON, API)
        return self.shown.get(asked)

    def for_programs(self, text: str, kind: str, caching: str) -> Prepared:
        """Public, for any origin, and the same until the next version; contracts/feed.md section 4.7."""
        etag = f'W/"{self.board.state.epoch}-{self.board.version.number}"'
        return Prepared.of(text.encode(), kind, caching, etag, **OPEN_TO_ALL)

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """A viewer of the public feed, or of our own page's view of the hub: private, so only for our own origin."""
        asked, origin = request.headers, request.headers.get("Origin", "")
        if asked.get("Upgrade", "").lower() != "websocket" or "upgrade" not in asked.get("Connection", "").lower():
            body = {"error": "this is a websocket: connect with wss, or read /feed/v1/state.json"}
            upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", **OPEN_TO_ALL}
            return web.json_response(body, status=426, headers=upgrade)
        ours = (self.pages.site.url, f"http://{request.host}", f"https://{request.host}")
        if request.path == "/feed/page" and origin not in ours:
            return web.json_response({"error": "this is for our own page: use /feed/v1"}, status=403)
        return await self.hub.show(request, self.client(request), kind=request.path.rpartition("/")[2])

    async def health(self, request: web.Request) -> web.StreamResponse:
        """At /healthz whether the store answers, at /readyz whether pages are served."""
        well = await self.board.store.alive() if request.path == "/healthz" else self.shown and not self.hub.closing
        return web.Response(text="ok\n" if well else "not serving\n", status=200 if well else 503)

    @web.middleware
    async def frame(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Gives every answer its safety headers, and every failure a page that looks like the rest."""
        try:
            answer = await handler(request)
        except web.HTTPException as failure:
            answer = _answer(request, self.missing, status=404) if failure.status == 404 else failure
        except Exception:
            log.exception("%s failed", request.path)
            answer = _answer(request, self.failed, status=500)
        if not answer.prepared:
            answer.headers.update(self.safety)
            answer.headers.setdefault("Cache-Control", "no-store")
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    def client(self, request: web.Request) -> str | None:
        """The address that limits count by; None where a trusted proxy does not say whom it speaks for."""
        peer = request.remote or "unix"
        if canonical(peer) not in self.trusted:
            return peer
        named = [a.strip() for a in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")]
        return next((a for a in reversed(named) if a and canonical(a) not in self.trusted), None)


def _answer(request: web.Request, prepared: Prepared, status: int = 200) -> web.Response:
    body, zipped, headers = prepared
    known = {tag.value for tag in request.if_none_match or ()}
    if status == 200 and known & {"*", headers["ETag"][3:-1]}:
        return web.Response(status=304, headers=headers)
    # RFC 9110 section 12.5.3, as far as it matters: gzip is named, and not refused with a weight of zero.
    if re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", request.headers.get("Accept-Encoding", "").lower()):
        body, headers = zipped, headers | {"Content-Encoding": "gzip"}
    return web.Response(status=status, body=body, headers=headers)
