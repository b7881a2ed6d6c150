"""Routes and headers: prepared bytes for readers, sockets for viewers.

PRODUCT.md sections 5 and 6 are the contract; `Face.show` prepares everything once per change.
"""

import asyncio
import hmac
import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler

from monostat import RESOURCES
from monostat.config import IMAGES, Server
from monostat.core.snapshot import to_json
from monostat.core.text import one_line
from monostat.engine import Board, Showing
from monostat.ops.metrics import handler_of
from monostat.public import feeds, statuspage
from monostat.public.live.fastpath import GZIP
from monostat.public.live.handshake import PROTOCOL, Refusal, shaken
from monostat.public.live.hub import Hub, Messages, canonical, network
from monostat.public.live.viewer import Viewer
from monostat.public.pages import Pages, Prepared
from monostat.public.subscribing import Subscribing

log = logging.getLogger(__name__)
STALE = "stale-while-revalidate=20, stale-if-error=86400"
PAGE, STATE = f"public, max-age=0, s-maxage=5, {STALE}", f"public, max-age=5, {STALE}"
FEED, CALENDAR = (
    "public, max-age=60, stale-if-error=86400",
    "public, max-age=300, stale-if-error=86400",
)
API = "public, max-age=10, s-maxage=10, stale-while-revalidate=20, stale-if-error=3600"
FOREVER = "public, max-age=31536000, immutable"
BADGE, SCRIPT = (
    "public, max-age=60, stale-if-error=3600",
    "public, max-age=300, stale-if-error=604800",
)
LINGERING = 1.0  # seconds for who is answered while it still sends to read the answer
FRAME = "public, max-age=30, stale-if-error=86400"
HTML, JSON, TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"
TYPES = IMAGES | {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
#: The second is for pages that load only what agrees to it: an opaque frame, and hosts with their
#: own require-corp.
OPEN_TO_ALL = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
POLICY = "Content-Security-Policy"
ZIPPED = {"Content-Encoding": "gzip"}
SAFETY = {"X-Content-Type-Options": "nosniff", "Server": "monostat"}
SAFETY |= {"Referrer-Policy": "strict-origin-when-cross-origin"}
ALONE = {POLICY: "default-src 'none'; frame-ancestors 'none'"}
FRAMED = {
    POLICY: "default-src 'none'; style-src 'self'; img-src 'self' data:; connect-src 'self'; script-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors *",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
MOST_KEPT = 16_000_000  # bytes of pages that are made when they are asked for
MOST_PROXIES, LONGEST_ADDRESS = (
    16,
    64,
)  # of X-Forwarded-For: addresses that are looked at, and characters of each
TAG = re.compile('"[^"]*"')  # RFC 9110, 8.8.3, strong or weak
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
}
PREFLIGHT |= {"Access-Control-Max-Age": "86400", **OPEN_TO_ALL}
_LISTS = "incidents(?:/unresolved)?|scheduled-maintenances(?:/upcoming|/active)?"
API_PATH = rf"(/api/v2/(?:summary|status|components|{_LISTS})\.json)"
#: What is for programs of any origin: their failures are JSON.
FOR_PROGRAMS = re.compile(r"/(api|feed|embed|\.well-known)/.*|/[^/]+\.(atom|rss|ics|json|svg)")
#: What XML 1.0 has no place for, and iCalendar neither: one such character makes the whole of it
#: unreadable.
FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Face:
    """What monostat shows of the newest version; every body is ready before anybody asks."""

    def __init__(
        self, board: Board, pages: Pages, hub: Hub, server: Server, build: str, heartbeat: float
    ) -> None:
        self.board, self.pages, self.hub, self.heartbeat, self.build = (
            board,
            pages,
            hub,
            heartbeat,
            build,
        )
        self.unsent = hub.unsent
        self.trusted = {canonical(proxy) for proxy in server.trusted_proxies}
        # Nothing from elsewhere, nothing inline; the explicit wss: is for older Safari,
        # contracts/feed.md section 7.
        socket = re.sub("^http(s?://[^/]+).*", r"ws\1", pages.site.url)
        policy = (
            f"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self' {socket};"
            " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        self.unframed = {POLICY: policy, "X-Frame-Options": "DENY"}
        self.static = files(pages, build)
        self.shown: dict[str, Prepared] = {}
        self._whole: dict[tuple[str, bool], tuple[bytes, tuple[str, str]]] = {}
        self.subscribing = Subscribing(board, pages, self.network_of)
        self.hook: tuple[bytes, Callable[[], None]] | None = (
            None  # the webhook's secret, and what it wakes
        )
        self.requests = Counter[tuple[str, ...]]()  # for metrics, by handler and code
        self.checks: Callable[[], list[str]] = list  # a line for each loop, once they run
        self.showing: Showing  # once there is anything to show
        self.makers = self.made_when_asked()

    def made_when_asked(self) -> tuple[tuple[str, Callable[..., Prepared | None]], ...]:
        """What else can be read, and what makes it when it is first asked for after a change."""
        pages, security = (
            self.pages,
            partial(self.document, "security.txt", TEXT, "public, max-age=86400"),
        )
        about_security = pages.site.security_contact and pages.site.security_expires
        return (
            ("/incidents/([1-9][0-9]{0,9})", partial(self.html, pages.incident)),
            ("/history", partial(self.html, pages.history)),
            ("/([0-9]{4}-[0-9]{2}-[0-9]{2})", partial(self.html, pages.day)),
            ("/([0-9]{4}-[0-9]{2}-[0-9]{2})/([1-9][0-9]{0,9})", self.moved),
            ("/subscribe", partial(self.html, pages.subscribe)),
            (API_PATH, self.api),
            (r"(/history\.(?:atom|rss)|/updates\.atom)", self.entries),
            (r"/maintenance\.ics", self.calendar),
            (
                r"/badge\.svg",
                partial(self.document, "badge.svg.xml", TYPES[".svg"], BADGE, **ALONE),
            ),
            (r"/badge\.json", partial(self.document, "badge.json", JSON, BADGE)),
            (r"/embed/script\.js", partial(self.document, "embed.js", TYPES[".js"], SCRIPT)),
            (r"/embed/frame", partial(self.document, "frame.html", HTML, FRAME, **FRAMED)),
            (
                r"/(openapi\.json)",
                partial(self.document, kind=JSON, caching="public, max-age=3600"),
            ),
            (
                r"/feed/v1/(asyncapi\.json)",
                partial(self.document, kind=JSON, caching="public, max-age=3600"),
            ),
            *(((r"/\.well-known/security\.txt", security),) if about_security else ()),
        )

    def show(self) -> None:
        """Renders what readers of this moment get, and hands the newest messages to the viewers:
        all of it, or none.
        """
        board = self.board
        snapshot = board.snapshot
        version = board.version
        changed = version.changed
        about = (
            {"incident": changed[0] and str(changed[0]), "kind": changed[1]} if changed else None
        )
        head = {
            "type": "state",
            "protocol": PROTOCOL,
            "epoch": board.state.epoch,
            "version": version.number,
            "time": version.at,
            "heartbeat_ms": round(self.heartbeat * 1000),
            "changed": about,
        }
        feed = f"{to_json(head)[:-1]},{snapshot.feed[1:]}"
        main = self.pages.main(board)
        page = {
            "html": main,
            "build": self.build,
            "title": f"{snapshot.headline.text} · {self.pages.site.name} status",
            "icon": snapshot.headline.kind,
        }
        messages = Messages(board.state.epoch, version.number, feed, to_json(head | page))
        missing = self.pages.page("missing", board, "No such page")
        failed = self.pages.page("error", board, "Page not available")
        icon = self.static[f"/static/icon-{snapshot.headline.kind}.svg"]
        shown = self.static | {
            "/favicon.ico": icon._replace(headers=icon.headers | {"Cache-Control": BADGE}),
            "/": Prepared.of(self.pages.page("home", board, main=main), HTML, PAGE),
            "/feed/v1/state.json": self.for_programs(feed, JSON, STATE),
        }
        self.missing = Prepared.of(missing, HTML, "public, max-age=5")
        self.failed = Prepared.of(failed, HTML, "no-store")
        self.shown, self._whole = shown, {}
        self._ready, self._kept = dict(shown), 0
        self.subscribing.renew()
        self.showing = Showing(version, snapshot)
        self.hub.publish(messages)

    def beat(self) -> str:
        """The heartbeat of now, with the version that is shown."""
        board = self.board
        shown = self.hub.messages
        told = {
            "type": "heartbeat",
            "epoch": shown.epoch,
            "version": shown.version,
            "time": board.now(),
        }
        answered = board.policy.monitoring and board.state.answered
        return to_json(told | ({"checked_at": board.state.checked_at} if answered else {}))

    def routes(self) -> list[web.RouteDef]:
        health, read = web.get(r"/{_:healthz|readyz}", self.health), web.get("/{_:.*}", self.read)
        older = web.get("/feed/{kind:atom|rss}", self.older)
        posts = [
            web.post("/subscribe", self.subscribing.post),
            web.options("/{_:.*}", self.preflight),
        ]
        posts.append(web.post("/hooks/opsgenie/{secret:.*}", self.nudge))
        return [web.get("/feed/{_:v1|page}", self.feed), older, health, read, *posts]

    async def older(self, request: web.Request) -> web.StreamResponse:
        """From the addresses of older installations."""
        raise web.HTTPMovedPermanently(
            f"/history.{request.match_info['kind']}", headers=OPEN_TO_ALL
        )

    async def preflight(self, request: web.Request) -> web.StreamResponse:
        if not FOR_PROGRAMS.fullmatch(merged(request)):
            raise web.HTTPMethodNotAllowed("OPTIONS", ["GET", "HEAD"])
        return web.Response(status=204, headers=PREFLIGHT)

    async def read(self, request: web.Request) -> web.StreamResponse:
        """Anything that is prepared; incidents are when they are first asked for, once per version."""
        path = merged(request)
        found = self.shown.get(request.path_qs) or self.shown.get(path)
        for pattern, make in self.makers:
            if (
                found is None
                and (asked := re.fullmatch(pattern, path))
                and (found := make(*asked.groups()))
            ):
                self._keep(path, found)
        if found is None:
            raise web.HTTPNotFound
        return _answer(request, found)

    def _keep(self, path: str, made: Prepared) -> None:
        """Remembers what was made when somebody asked, of all of it only so much: there may be
        thousands of days.
        """
        self._kept += len(made.body) + len(made.zipped)
        if self._kept > MOST_KEPT:
            self.shown, self._whole, self._kept = dict(self._ready), {}, 0
        self.shown[path] = made

    def whole(self, path: str, zipped: bool) -> bytes | None:
        """The answer that `read` gives to a plain request for what is ready, without its first line
        and Date.
        """
        if (path, zipped) not in self._whole and (found := self.shown.get(path)):
            body, headers = (found.zipped, ZIPPED) if zipped else (found.body, {})
            headers = (
                found.headers
                | headers
                | self.safe(found.headers)
                | {"Content-Length": str(len(body))}
            )
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self._whole[path, zipped] = f"{head}\r\n".encode() + body, (handler_of(path), "200")
        whole, counted = self._whole.get((path, zipped)) or (None, None)
        if counted:
            self.requests[counted] += 1
        return whole

    def safe(self, headers: Mapping[str, str]) -> dict[str, str]:
        return SAFETY if POLICY in headers else SAFETY | self.unframed

    def html(self, render: Callable[..., bytes | None], *asked: str) -> Prepared | None:
        body = render(self.board, *asked)
        return Prepared.of(body, HTML, PAGE) if body else None

    def moved(self, day: str, number: str) -> None:
        """The address of older installations, which is never remembered: there are too many."""
        with suppress(ValueError):
            if date.fromisoformat(day) and int(number) in self.board.state.incidents:
                raise web.HTTPMovedPermanently(
                    f"/incidents/{number}", headers={"Cache-Control": PAGE}
                )

    def api(self, asked: str) -> Prepared | None:
        """All eight answers of Statuspage's API at once."""
        board, site = self.board, self.pages.site
        version: dict[str, Any] = {"version": board.version.number, "changed": board.version.at}
        made = statuspage.documents(
            board.state, board.snapshot, url=site.url, name=site.name, **version
        )
        for path, text in made.items():
            self.shown[path] = self.for_programs(text, JSON, API)
        return self.shown.get(asked)

    def entries(self, asked: str) -> Prepared:
        """A feed for readers of Atom or RSS."""
        birth, kind = self.board.state.birth, asked.rpartition(".")[2]
        found = (feeds.history if "history" in asked else feeds.updates)(
            self.board.snapshot.announced
        )
        about = {
            "path": asked,
            "host": birth.host,
            "changed": found[0].updated if found else birth.at,
        }
        text = FORBIDDEN.sub("", self.pages.render(f"{kind}.xml", entries=found, **about))
        return self.for_programs(text, f"application/{kind}+xml; charset=utf-8", FEED)

    def calendar(self) -> Prepared:
        site, plans, host = (
            self.pages.site,
            self.board.snapshot.calendar,
            self.board.state.birth.host,
        )
        text = FORBIDDEN.sub("", feeds.calendar(plans, name=site.name, url=site.url, host=host))
        return self.for_programs(text, "text/calendar; charset=utf-8", CALENDAR)

    def document(self, template: str, kind: str, caching: str, **more: str) -> Prepared:
        """What needs nothing but the snapshot and a template."""
        return self.for_programs(
            self.pages.render(template, snapshot=self.board.snapshot), kind, caching, **more
        )

    def for_programs(self, text: str, kind: str, caching: str, **more: str) -> Prepared:
        """Public, for any origin, and the same until the next version; contracts/feed.md section
        4.7.
        """
        etag = "" if kind == HTML else f'W/"{self.board.state.epoch}-{self.board.version.number}"'
        return Prepared.of(text.encode(), kind, caching, etag, **OPEN_TO_ALL, **more)

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """A viewer whose handshake aiohttp has read, which lets go of the connection then; or why
        it is none.
        """
        protocol, transport, target = (
            request.protocol,
            request.transport,
            request.rel_url.raw_query_string,
        )
        plain = request.method == "GET" and not request.can_read_body
        headers = (
            {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}
            if plain
            else {}
        )
        if transport is None:
            return Handed()
        found = self.switch(f"{request.path}?{target}", headers, transport)
        if isinstance(found, Refusal):
            self.hub.turned_away(request.path.rpartition("/")[2], found)
            return web.json_response(
                {"error": found.error}, status=found.status, headers=found.headers
            )
        protocol.set_parser(cast(Any, found))  # hands over what came right behind the handshake
        protocol.transport = None
        protocol.connection_lost(None)
        return Handed()

    def switch(
        self, target: str, headers: Mapping[str, str], transport: asyncio.Transport
    ) -> Viewer | Refusal:
        """Makes a viewer of who asks so for this path and query, or says why not; nothing is
        counted of a refusal.
        """
        asked = shaken(target, headers, self.pages.site.url)
        if isinstance(asked, Refusal):
            return asked
        key = network(self.client(peer_of(transport), headers.get("x-forwarded-for", "")) or "")
        if refusal := self.hub.refusal(key):
            return refusal
        self.requests["feed", "101"] += 1
        return self.hub.join(transport, asked, key)

    # Contract opsgenie.md, section 2: webhooks are not signed, so what they say is not even read.
    async def nudge(self, request: web.Request) -> web.Response:
        """Has monitoring asked at once; who does not know the secret learns nothing."""
        secret, wake = self.hook or (b"", None)
        if wake is None or not hmac.compare_digest(
            request.match_info["secret"].encode(errors="replace"), secret
        ):
            return web.Response(status=404, text="There is nothing here.\n")
        wake()
        return web.Response(text="ok\n")

    async def health(self, request: web.Request) -> web.StreamResponse:
        """Whether all is well, and a line for each check.

        At /healthz: whether the store answers and saves, and what is saved is shown. At /readyz:
        whether pages are served.
        """
        saving = self.board.saving.trouble
        if request.path == "/healthz":
            behind = self.board.watchers.behind
            answers = await self.board.store.alive()
            well = answers and not saving and not behind
            lines = [f"database: {saving or ('answers' if answers else 'does not answer')}"]
            lines += [
                f"{name}: behind, told again every second: {why}" for name, why in behind.items()
            ]
            lines += self.checks()
        else:
            well = bool(self.shown) and not self.hub.closing
            lines = [f"pages: {'served' if well else 'not served'}"]
            lines += [f"database: {saving}"] if saving else []
        text = "\n".join([("ok" if well else "not ok"), *map(one_line, lines)])
        return web.Response(text=f"{text}\n", status=200 if well else 503)

    @web.middleware
    async def frame(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Gives every answer its safety headers, and every failure a page that looks like the rest."""
        try:
            answer = await handler(request)
        except web.HTTPException as failure:
            answer = failure
            if failure.status >= 400 and FOR_PROGRAMS.fullmatch(merged(request)):
                headers = OPEN_TO_ALL | {k: v for k, v in failure.headers.items() if k == "Allow"}
                headers |= {"Cache-Control": "public, max-age=5"} if failure.status == 404 else {}
                answer = web.json_response(
                    {"error": failure.reason}, status=failure.status, headers=headers
                )
            elif failure.status == 404:
                answer = _answer(request, self.missing, status=404)
        except Exception:
            log.exception("%s failed", request.path)
            answer = _answer(request, self.failed, status=500)
        if not isinstance(answer, Handed):
            self.requests[handler_of(request.path), str(answer.status)] += 1
        if not answer.prepared:
            answer.headers.update(self.safe(answer.headers))
            answer.headers.setdefault("Cache-Control", "no-store")
        await leave_unread(request, answer)
        if isinstance(answer, web.HTTPException):
            raise answer
        return answer

    def network_of(self, request: web.Request) -> str:
        """What limits count a request by; empty where a trusted proxy does not say whom it speaks
        for.
        """
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
        return network(self.client(request.remote or "unix", forwarded) or "")

    def client(self, peer: str, forwarded: str) -> str | None:
        """The address that limits count by; None where a trusted proxy does not say whom it speaks
        for.
        """
        if canonical(peer) not in self.trusted:
            return peer
        named = [
            address.strip()[:LONGEST_ADDRESS] for address in forwarded.rsplit(",", MOST_PROXIES)
        ]
        last = reversed(named[-MOST_PROXIES:])
        return next((a for a in last if a and canonical(a) not in self.trusted), None)


def files(pages: Pages, build: str) -> dict[str, Prepared]:
    """What never changes while we run: kept for a while by its name alone, for ever by the build
    that it is of.
    """
    static, found = {}, {f"/static/{path.name}": path for path in (RESOURCES / "static").iterdir()}
    found |= {"/logo": Path(pages.site.logo)} if pages.site.logo else {}
    for name, path in found.items():
        body, kind = path.read_bytes(), TYPES[path.suffix]
        body += pages.render("colors.css").encode() if path.suffix == ".css" else b""
        static[name] = Prepared.of(body, kind, "public, max-age=300", **OPEN_TO_ALL)
        static[f"{name}?v={build}"] = Prepared.of(body, kind, FOREVER, **OPEN_TO_ALL)
    return static


class Handed(web.Response):
    """What a handler returns whose connection is no longer aiohttp's: there is nothing to be said
    on it.
    """

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002 - aiohttp's call
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address of who has connected; all who come through a Unix socket are one."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else "unix"


async def leave_unread(request: web.Request, answer: web.StreamResponse) -> None:
    """Where a body has not arrived that nobody waits for, answers, takes no more of it, and has the
    connection end.

    It ends a little later: bytes still on their way to a closed socket would undo what was said.
    """
    transport = request.transport
    if transport is None or transport.is_closing() or request.content.is_eof():
        return
    transport.pause_reading()
    answer.force_close()
    await answer.prepare(request)
    await answer.write_eof()
    await asyncio.sleep(LINGERING)


def merged(request: web.Request) -> str:
    """The path without doubled slashes: some clients of Statuspage ask so."""
    return re.sub("/{2,}", "/", request.path)


def _answer(request: web.Request, prepared: Prepared, status: int = 200) -> web.Response:
    body, zipped, headers = prepared
    known = request.headers.get("If-None-Match", "")
    if status == 200 and (known.strip() == "*" or headers["ETag"][2:] in TAG.findall(known)):
        return web.Response(status=304, headers=headers)
    if GZIP.search(request.headers.get("Accept-Encoding", "").lower()):
        body, headers = zipped, headers | ZIPPED
    return web.Response(status=status, body=body, headers=headers)
