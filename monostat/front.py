"""Answers the plainest requests before aiohttp reads them: the day everybody comes, nearly all are of this kind.

What is not understood byte for byte, and all that comes after it on its connection, is aiohttp's, unchanged.
"""

import asyncio
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from aiohttp import web

#: The answer to a path by whether gzip is welcome: headers but for the status line and Date, and the body.
Answers = Callable[[str, bool], bytes | None]
ANSWERS = web.AppKey[Answers]("ANSWERS")
IDLE = 3630.0  # seconds, as aiohttp has it: longer than any proxy in front keeps a connection
LONGEST, REMEMBERED = 4096, 1000  # bytes of a request, and requests
#: No header but these can come; none of them changes the answer, Accept-Encoding aside.
HEADERS = "host|user-agent|accept|accept-language|accept-encoding|cache-control|pragma|referer|cookie|dnt|priority"
HEADERS += "|sec-[a-z-]+|upgrade-insecure-requests|x-forwarded-(?:for|proto|host)|x-real-ip|via"
LINE = rf"(?P<name>{HEADERS}): (?P<value>[!-~][ -~]*+)\r\n|connection: keep-alive\r\n"
REQUEST = re.compile(
    rf"GET (/[!-~]*) HTTP/1\.1\r\n((?:{re.sub(r'[?]P<[a-z]+>', '?:', LINE)})++)\r\n".encode(), re.IGNORECASE
)
FIELD = re.compile(LINE.encode(), re.IGNORECASE)
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")  # named, and not with a weight of zero: RFC 9110, 12.5.3


def understand(request: bytes) -> tuple[str, bool] | None:
    """The path, and whether gzip is welcome; None for what aiohttp should read."""
    if len(request) > LONGEST or not request.startswith(b"GET ") or not (found := REQUEST.fullmatch(request)):
        return None
    fields = [(m["name"] or b"connection", m["value"]) for m in FIELD.finditer(found[2])]
    given = {name.lower(): value for name, value in fields}
    if len(given) < len(fields) or b"host" not in given:
        return None
    return found[1].decode(), bool(GZIP.search(given.get(b"accept-encoding", b"").decode().lower()))


class Front(asyncio.Protocol):
    """A connection whose requests were all understood so far."""

    __slots__ = ("_asked", "_idle", "paused", "runner", "transport")

    def __init__(self, runner: "Runner") -> None:
        self.runner, self.paused, self._asked = runner, False, True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.runner.open.add(self)
        self._look()

    def _look(self) -> None:
        if not self._asked:
            self.transport.close()
        self._asked = False
        self._idle = asyncio.get_running_loop().call_later(IDLE, self._look)

    def data_received(self, data: bytes) -> None:
        if not self.paused and (answer := self.runner.answer(data)):
            self._asked = True
            self.transport.write(answer)
        else:
            self.connection_lost(None)
            handler = self.runner.plain()
            self.transport.set_protocol(handler)
            handler.connection_made(self.transport)
            if self.paused:
                handler.pause_writing()
            handler.data_received(data)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's call
        self.runner.open.discard(self)
        self._idle.cancel()


class Runner(web.AppRunner):
    """aiohttp's, with a Front before every connection; `answered` counts what aiohttp has not seen."""

    def __init__(self, app: web.Application, **how: Any) -> None:
        super().__init__(app, **how)
        self._answers, self.open, self.answered = app[ANSWERS], set[Front](), 0
        self._known: dict[bytes, tuple[str, bool]] = {}
        self._second, self._head = 0, b""

    @property
    def server(self) -> Any:
        return (lambda: Front(self)) if self.plain else None

    @property
    def plain(self) -> Any:
        """What makes aiohttp's own protocol."""
        return super().server

    def answer(self, request: bytes) -> bytes | None:
        if not (asked := self._known.get(request) or understand(request)) or not (rest := self._answers(*asked)):
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

    async def shutdown(self) -> None:
        await super().shutdown()
        for one in list(self.open):
            one.transport.close()
