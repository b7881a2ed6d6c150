"""The newest messages, and everyone who waits for newer ones.

contracts/feed.md sections 3 to 7. One message is built for all; a viewer who is slow skips versions, and never has more
than one waiting.
"""

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from random import Random
from typing import NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from monostat.config import Server, Timing
from monostat.delivery import pause

CHATTY = 10  # text messages a minute that a client may send; they are ignored
LARGEST_MESSAGE = 1024  # bytes that a client may send at once
PROTOCOL = "monostat.v1"


class Messages(NamedTuple):
    """What viewers are shown of one version: the public feed's message as `v1`, and the page's own."""

    epoch: str
    version: int
    v1: str
    page: str


class Hub:
    """Knows every viewer; `publish` is a plain call that cannot block, `beat` makes the heartbeat of now."""

    def __init__(self, server: Server, timing: Timing, rng: Random, beat: Callable[[], str]) -> None:
        self._server, self._timing, self._rng, self._beat = server, timing, rng, beat
        self._here, self._came, self._window = Counter[str](), Counter[str](), 0.0  # by address
        self._viewers: dict[web.WebSocketResponse, asyncio.Transport] = {}
        self._news = asyncio.Event()
        self.messages: Messages
        self.closing = False

    def publish(self, messages: Messages) -> None:
        self.messages = messages
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def show(self, request: web.Request, address: str | None, *, kind: str) -> web.StreamResponse:
        """Serves one viewer until it leaves; `kind` is the field of Messages that it gets."""
        offered = {p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")} - {""}
        if offered and PROTOCOL not in offered:
            return web.json_response({"error": f"offer the subprotocol {PROTOCOL}, or none"}, status=400)
        key, ping = network(address or ""), self._timing.viewer_ping
        if refusal := self._refuse(key):
            return refusal
        ws = web.WebSocketResponse(
            compress=False, heartbeat=ping, max_msg_size=LARGEST_MESSAGE, protocols=(PROTOCOL,), writer_limit=0
        )
        self._here[key] += 1
        try:
            await ws.prepare(request)
            if isinstance(transport := request.transport, asyncio.Transport):
                transport.set_write_buffer_limits(high=0)  # a send ends when the kernel has it all: nothing piles up
                self._viewers[ws], known = transport, self.messages
                asked = (request.query.get("since"), request.query.get("epoch"))
                text = self._beat() if asked == (str(known.version), known.epoch) else getattr(known, kind)
                async with asyncio.TaskGroup() as tasks:
                    writer = tasks.create_task(self._write(ws, kind, known, text))
                    await self._read(ws)
                    writer.cancel()
        finally:
            self._viewers.pop(ws, None)
            self._here -= Counter([key])  # forgets who has left altogether
        return ws

    def _refuse(self, key: str) -> web.Response | None:
        """Refuses before the upgrade, which is cheaper, where there are too many, in all or from one address."""
        limits, full = self._server, self.closing or len(self._viewers) >= self._server.max_viewers
        if time.monotonic() - self._window >= 10:
            self._window = time.monotonic()
            self._came.clear()
        if not full:
            self._came[key] += 1
        crowded = self._here[key] >= limits.max_viewers_per_ip or self._came[key] > limits.max_connects_per_ip
        if not full and not (key and crowded):
            return None
        why = "this server is full" if full else "too many connections from this address"
        body = {"error": f"{why}: poll /feed/v1/state.json and try again later"}
        headers = {"Retry-After": "30", "Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
        return web.json_response(body, status=503 if full else 429, headers=headers)

    async def _write(self, ws: web.WebSocketResponse, kind: str, known: Messages, text: str) -> None:
        try:
            while True:
                async with asyncio.timeout(self._timing.viewer_patience):
                    await ws.send_str(text)
                news = self._news  # no await between this and the comparison: no version can slip through
                if self.messages is known:
                    await pause(news, self._timing.heartbeat)
                same, known = self.messages.version == known.version, self.messages
                text = self._beat() if same and (kind == "v1" or not news.is_set()) else getattr(known, kind)
        except TimeoutError:
            self._viewers[ws].write(self._close_frame(WSCloseCode.TRY_AGAIN_LATER))
            self._viewers[ws].abort()
        except ConnectionError:
            self._viewers[ws].abort()

    async def _read(self, ws: web.WebSocketResponse) -> None:
        """Reads only to notice the end, and to refuse what no honest client sends."""
        since, heard = 0.0, 0
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                await ws.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"text only")
            if time.monotonic() - since >= 60:
                since, heard = time.monotonic(), 0
            if (heard := heard + 1) > CHATTY:
                await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"nothing needs to be sent here")

    def _close_frame(self, code: int) -> bytes:
        reason = b"retry_ms=%d" % self._rng.randrange(10_000)
        return struct.pack("!BBH", 0x88, 2 + len(reason), code) + reason

    async def close(self, _app: web.Application) -> None:
        """Tells everybody at once to come back later: awaiting one close after the other hangs on a stalled browser."""
        self.closing = True
        for transport in self._viewers.values():
            transport.write(self._close_frame(WSCloseCode.GOING_AWAY))
            # One that has not even taken what it was sent before is not waited for.
            (transport.abort if transport.get_write_buffer_size() else transport.close)()


def network(address: str) -> str:
    """One home or phone has a whole IPv6 /64."""
    with suppress(ValueError):
        return IPv6Address(canonical(address)).exploded[:19]
    return canonical(address)


def canonical(address: str) -> str:
    """One spelling for each address, and IPv4 as IPv4 where IPv6 carries it."""
    with suppress(ValueError):
        ip = ip_address(address)
        return str(getattr(ip, "ipv4_mapped", None) or ip)
    return address
