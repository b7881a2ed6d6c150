"""Answers the plainest requests before aiohttp reads them: the day everybody comes, nearly all are
of this kind.

What is not understood byte for byte, and all that comes after it on its connection, is aiohttp's,
unchanged.
"""

import asyncio
import re
import socket
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Protocol, cast

from aiohttp import web

from monostat.public.live.unsent import KERNEL, Unsent
from monostat.public.live.viewer import Viewer


class Face(Protocol):
    """What plain requests are answered from.

    `whole` is the answer to a path, by whether gzip is welcome: headers but for the status line and
    Date, and the body. `switch` makes a viewer of who asks for a path and query with headers, which
    it gets by their lower-case names. `unsent` is told of who does not take its answers.
    """

    unsent: Unsent

    def whole(self, path: str, zipped: bool) -> bytes | None: ...
    def switch(self, target: str, headers: Mapping[str, str], transport: Any) -> object: ...


FACE = web.AppKey[Face]("FACE")
SILENT, IDLE = (
    60.0,
    3630.0,
)  # seconds before the first request; later as aiohttp has it, longer than proxies keep one
LONGEST, REMEMBERED = 4096, 1000  # bytes of a request, and requests
#: No header but these can come; none of them changes the answer, Accept-Encoding aside.
HEADERS = "host|user-agent|accept|accept-language|accept-encoding|cache-control|pragma|referer|cookie|dnt|priority"
HEADERS += "|sec-[a-z-]+|upgrade-insecure-requests|x-forwarded-(?:for|proto|host)|x-real-ip|via"


def shape(path: str, more: str) -> re.Pattern[bytes]:
    """Of a request for such a path, with these headers and such lines."""
    line = rf"(?:{HEADERS}): [!-~][ -~]*+\r\n|(?:{more})\r\n"
    return re.compile(rf"GET ({path}) HTTP/1\.1\r\n((?i:{line})++)\r\n".encode())


PAGE = shape("/[!-~]*", "connection: keep-alive")
SWITCH = "origin: [!-~]+|connection: (?:keep-alive, )?upgrade|upgrade: websocket"
VIEWER = shape('/feed/(?:v1|page)(?:[?][!-"$-~]*)?', SWITCH)
GZIP = re.compile(
    r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))"
)  # named, and not with a weight of zero: RFC 9110, 12.5.3


def read(request: bytes, shape: re.Pattern[bytes]) -> tuple[str, dict[str, str]] | None:
    """The path with its query, and the headers by lower-case names; None for what aiohttp should
    read.
    """
    if len(request) > LONGEST or not (found := shape.fullmatch(request)):
        return None
    lines = [line.split(": ", 1) for line in found[2].decode().splitlines()]
    headers = {name.lower(): value.rstrip() for name, value in lines}
    return (
        (found[1].decode(), headers) if len(headers) == len(lines) and "host" in headers else None
    )


def understand(request: bytes) -> tuple[str, bool] | None:
    """The path, and whether gzip is welcome; None for what aiohttp should read."""
    if found := read(request, PAGE):
        return found[0], bool(GZIP.search(found[1].get("accept-encoding", "").lower()))
    return None


class Front(asyncio.Protocol):
    """A connection whose requests were all understood so far."""

    __slots__ = ("_asked", "_idle", "paused", "runner", "transport")

    def __init__(self, runner: "Runner") -> None:
        self.runner, self.paused, self._asked = runner, False, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.runner.open.add(self)
        transport.set_write_buffer_limits(high=0)  # type: ignore[attr-defined] # so that we are told who is slow
        if opened := transport.get_extra_info("socket"):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL)
        self._wait(SILENT)

    def _wait(self, seconds: float) -> None:
        self._idle = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        if not self._asked:
            self.transport.close()
        self._asked = False
        self._wait(IDLE)

    def data_received(self, data: bytes) -> None:
        if not self.paused and (answer := self.runner.answer(data)):
            self._asked = True
            self.transport.write(answer)
            return
        self.connection_lost(None)  # to us
        if self.paused or not self.runner.switch(data, self.transport):
            handler = self.runner.plain()
            self.transport.set_protocol(handler)
            handler.connection_made(self.transport)
            if self.paused:
                handler.pause_writing()
            handler.data_received(data)

    def pause_writing(self) -> None:
        self.paused = True
        self.runner.unsent.waits(self)

    def resume_writing(self) -> None:
        self.paused = False
        self.runner.unsent.takes(self)

    def drop(self) -> None:
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's call
        self.runner.unsent.takes(self)
        self.runner.open.discard(self)
        self._idle.cancel()


class Plain(web.RequestHandler):
    """aiohttp's side of a connection, of which it is told when it does not take its answers."""

    __slots__ = ("unsent",)

    def __init__(self, server: web.Server, unsent: Unsent) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # it may be, and then nothing is logged
            auto_decompress=False,
            lingering_time=0,  # web.leave_unread sees to that
            max_line_size=LONGEST,
        )
        self.unsent = unsent

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unsent.waits(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unsent.takes(self)

    def drop(self) -> None:
        if self.transport:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.unsent.takes(self)
        super().connection_lost(exc)


class Runner(web.AppRunner):
    """aiohttp's, with a Front before every connection; `answered` counts what aiohttp has not seen.

    No body is ever unpacked, and of one that nobody wants no more is taken: web.leave_unread.
    """

    def __init__(self, app: web.Application, shutdown_timeout: float) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        self.unsent = app[FACE].unsent
        self._face, self.open, self.answered = app[FACE], set[Front](), 0
        self._known: dict[bytes, tuple[str, bool]] = {}
        self._second, self._head = 0, b""

    @property
    def server(self) -> Any:
        return (lambda: Front(self)) if super().server else None

    def plain(self) -> Plain:
        """aiohttp's own protocol, for a connection that is not plain any more."""
        return Plain(cast(web.Server, super().server), self.unsent)

    def answer(self, request: bytes) -> bytes | None:
        if not (asked := self._known.get(request) or understand(request)) or not (
            rest := self._face.whole(*asked)
        ):
            return None
        if request not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[request] = asked
        if (second := int(time.time())) != self._second:
            self._second, self._head = (
                second,
                f"HTTP/1.1 200 OK\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode(),
            )
        self.answered += 1
        return self._head + rest

    def switch(self, request: bytes, transport: Any) -> bool:
        """Whether the connection is a viewer's from now on; who is refused hears why from aiohttp's
        side.
        """
        asked = read(request, VIEWER) if request.startswith(b"GET /feed/") else None
        switched = asked is not None and isinstance(self._face.switch(*asked, transport), Viewer)
        self.answered += switched
        return switched

    async def shutdown(self) -> None:
        await super().shutdown()
        for one in list(self.open):
            one.transport.close()
