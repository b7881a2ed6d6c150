"""Answers the plainest requests before aiohttp reads them: nearly all, the day everybody comes.

What is not understood byte for byte, and all that comes after it on its connection, is aiohttp's,
unchanged.
"""

import asyncio
import socket
import time
from email.utils import formatdate
from typing import Any, cast

from aiohttp import web

from monostat.public.headers import SAFETY
from monostat.public.live.entrance import ENTRANCE
from monostat.public.live.plain_requests import (
    MAX_REQUEST_BYTES,
    VIEWER,
    PlainRequest,
    read,
    understand,
)
from monostat.public.live.unsent import SEND_BUFFER_BYTES, Unsent
from monostat.public.live.viewer import Viewer
from monostat.public.site import SITE

SILENT = 60.0  # seconds before the first request
IDLE = 3630.0  # seconds later, as aiohttp has it: longer than proxies keep a connection
MAX_FIELD_BYTES = 40_000  # of a header: the parent domain may have cookies of 32 kB
REMEMBERED = 1000  # requests
LAST_REQUESTS = 0.5  # seconds in which they may still come on open connections while we stop


class Front(asyncio.Protocol):
    """A connection whose requests were all understood so far."""

    __slots__ = ("_idle", "_was_asked", "paused", "runner", "transport")

    def __init__(self, runner: "Runner") -> None:
        self.runner = runner
        self.paused = False
        self._was_asked = False  # since the last look

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call: makes the buffers small, so that we are told who is slow."""
        self.transport = cast(asyncio.Transport, transport)
        self.runner.open.add(self)
        self.transport.set_write_buffer_limits(high=0)
        opened = transport.get_extra_info("socket")
        if opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._look_after(SILENT)

    def _look_after(self, seconds: float) -> None:
        self._idle = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Closes a connection on which nobody has asked for anything."""
        if not self._was_asked:
            self.transport.close()
        self._was_asked = False
        self._look_after(IDLE)

    def data_received(self, data: bytes) -> None:
        """Answers, or lets go: the connection is a viewer's or aiohttp's from then on."""
        if not self.paused:
            answer = self.runner.answer(data)
            if answer:
                self._was_asked = True
                self.transport.write(answer)
                if self.runner.hub.closing:
                    self.transport.close()
                return
        self.connection_lost(None)  # to us
        if self.paused or not self.runner.switch(data, self.transport):
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        protocol = self.runner.aiohttp_side()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if self.paused:
            protocol.pause_writing()
        protocol.data_received(data)

    def pause_writing(self) -> None:
        """asyncio's call."""
        self.paused = True
        self.runner.unsent.add(self)

    def resume_writing(self) -> None:
        """asyncio's call."""
        self.paused = False
        self.runner.unsent.discard(self)

    def drop(self) -> None:
        """Ends it at once, without a word."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's call
        """asyncio's call."""
        self.runner.unsent.discard(self)
        self.runner.open.discard(self)
        self._idle.cancel()


class AiohttpSide(web.RequestHandler):
    """aiohttp's side of a connection, of which it is told when it does not take its answers."""

    __slots__ = ("unsent",)

    def __init__(self, server: web.Server, unsent: Unsent) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # it may be, and then nothing is logged
            auto_decompress=False,
            lingering_time=0,  # answers.leave_unread sees to that
            max_line_size=MAX_REQUEST_BYTES,
            max_field_size=MAX_FIELD_BYTES,
        )
        self.unsent = unsent

    def handle_error(self, *args: Any, **more: Any) -> web.StreamResponse:
        """aiohttp's answer to what is not a request, with our headers, and without its versions."""
        answer = super().handle_error(*args, **more)
        answer.headers.update(SAFETY)
        return answer

    def pause_writing(self) -> None:
        """asyncio's call."""
        super().pause_writing()
        self.unsent.add(self)

    def resume_writing(self) -> None:
        """asyncio's call."""
        super().resume_writing()
        self.unsent.discard(self)

    def drop(self) -> None:
        """Ends it at once, without a word."""
        if self.transport:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """asyncio's call."""
        self.unsent.discard(self)
        super().connection_lost(exc)


class Runner(web.AppRunner):
    """aiohttp's, with a Front before every connection; `answered` counts what aiohttp has not seen.

    No body is ever unpacked, and of one that nobody wants no more is taken: answers.leave_unread.
    """

    def __init__(self, app: web.Application, shutdown_timeout: float) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        self._site = app[SITE]
        self._entrance = app[ENTRANCE]
        self.hub = self._entrance.hub
        self.unsent = self.hub.unsent
        self.open = set[Front]()
        self.answered = 0
        self._understood: dict[bytes, PlainRequest] = {}
        self._second = 0
        self._head = b""  # of all answers within that second

    @property
    def server(self) -> Any:
        """What makes a protocol for each connection, once there is a server."""
        if super().server is None:
            return None
        return lambda: Front(self)

    def aiohttp_side(self) -> AiohttpSide:
        """aiohttp's own protocol, for a connection that is not plain any more."""
        return AiohttpSide(cast(web.Server, super().server), self.unsent)

    def answer(self, request: bytes) -> bytes | None:
        """The whole answer to a plain request for what is ready."""
        asked = self._understood.get(request) or understand(request)
        if asked is None:
            return None
        rest = self._site.whole(asked.path, asked.gzip)
        if not rest:
            return None
        if request not in self._understood:
            if len(self._understood) >= REMEMBERED:
                self._understood.clear()
            self._understood[request] = asked
        self.answered += 1
        return self._head_of_now() + rest

    def _head_of_now(self) -> bytes:
        """The status line and Date; while we stop, that this answer is the connection's last."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True)
            self._head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\n".encode()
        if self.hub.closing:
            return self._head + b"Connection: close\r\n"
        return self._head

    def switch(self, request: bytes, transport: Any) -> bool:
        """Whether the connection is a viewer's from now on.

        Whoever is refused hears why from aiohttp's side.
        """
        if not request.startswith(b"GET /feed/"):
            return False
        understood = read(request, VIEWER)
        if understood is None:
            return False
        target, headers = understood
        switched = isinstance(self._entrance.switch(target, headers, transport), Viewer)
        self.answered += switched
        return switched

    # RFC 9112, 9.5 and 9.6: a server that just closes cannot know whether a request is on its way.
    async def drain(self) -> None:
        """Takes no new connection, and answers for a moment what still comes on the open ones.

        Each of these answers says that it is the last. What systemd has passed stays open there.
        """
        for site in list(self.sites):
            await site.stop()
        self.hub.closing = True
        if self.open or cast(web.Server, super().server).connections:
            await asyncio.sleep(LAST_REQUESTS)

    async def shutdown(self) -> None:
        """Closes what is open after aiohttp has closed its own."""
        await super().shutdown()
        for front in list(self.open):
            front.transport.close()
