"""The newest messages, and everyone who waits for newer ones.

contracts/feed.md sections 3 to 7. One message is built for all; a viewer who is slow skips versions, and never has more
than one waiting.
"""

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        self._limits, self._timing, self._rng, self._beat = Limits(server), timing, rng, beat
        self._news = asyncio.Event()
        self._viewers: dict[web.WebSocketResponse, asyncio.Transport] = {}
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
        if refusal := self._limits.refuse(address, len(self._viewers), closing=self.closing):
            return refusal
        ping = self._timing.viewer_ping
        ws = web.WebSocketResponse(
            compress=False, heartbeat=ping, max_msg_size=LARGEST_MESSAGE, protocols=(PROTOCOL,), writer_limit=0
        )
        with self._limits.holding(address):
            await ws.prepare(request)
            if not isinstance(transport := request.transport, asyncio.Transport):
                return ws
            transport.set_write_buffer_limits(high=0)  # a send ends when the kernel has it all: nothing piles up
            self._viewers[ws] = transport
            known = self.messages
            is_known = (request.query.get("since"), request.query.get("epoch")) == (str(known.version), known.epoch)
            writer = asyncio.create_task(self._write(ws, transport, kind, known, greet=not is_known))
            try:
                await self._read(ws)
            finally:
                writer.cancel()
                await asyncio.wait([writer])
                del self._viewers[ws]
        return ws

    async def _write(
        self, ws: web.WebSocketResponse, transport: asyncio.Transport, kind: str, known: Messages, *, greet: bool
    ) -> None:
        text = getattr(known, kind) if greet else self._beat()
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
            transport.write(self._close_frame(WSCloseCode.TRY_AGAIN_LATER))
            transport.abort()
        except ConnectionError:
            transport.abort()

    async def _read(self, ws: web.WebSocketResponse) -> None:
        """Reads only to notice the end, and to refuse what no honest client sends."""
        since, heard = 0.0, 0
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                await ws.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"text only")
            if time.monotonic() - since >= 60:
                since, heard = time.monotonic(), 0
            heard += 1
            if heard > CHATTY:
                await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"nothing needs to be sent here")

    def _close_frame(self, code: int) -> bytes:
        reason = b"retry_ms=%d" % self._rng.randrange(10_000)
        return struct.pack("!BBH", 0x88, 2 + len(reason), code) + reason

    def close(self) -> None:
        """Tells everybody at once to come back later: awaiting one close after the other hangs on a stalled browser."""
        self.closing = True
        for transport in self._viewers.values():
            transport.write(self._close_frame(WSCloseCode.GOING_AWAY))
            # One that has not even taken what it was sent before is not waited for.
            (transport.abort if transport.get_write_buffer_size() else transport.close)()


class Limits:
    """How many viewers there may be, in all and from one address; refuses before the upgrade, which is cheaper."""

    def __init__(self, server: Server) -> None:
        self._server, self._here, self._came, self._window = server, Counter[str](), Counter[str](), 0.0

    def refuse(self, address: str | None, viewers: int, *, closing: bool) -> web.Response | None:
        if closing or viewers >= self._server.max_viewers:
            return self.busy(503, "this server is full")
        key = _network(address or "")
        if time.monotonic() - self._window >= 10:
            self._window = time.monotonic()
            self._came.clear()
        self._came[key] += 1
        crowded = (
            self._here[key] >= self._server.max_viewers_per_ip or self._came[key] > self._server.max_connects_per_ip
        )
        return self.busy(429, "too many connections from this address") if address and crowded else None

    @contextmanager
    def holding(self, address: str | None) -> Iterator[None]:
        """Counts a viewer while it is here."""
        key = _network(address or "")
        self._here[key] += 1
        try:
            yield
        finally:
            self._here -= Counter([key])  # forgets who has left altogether

    @staticmethod
    def busy(status: int, why: str) -> web.Response:
        body = {"error": f"{why}: poll /feed/v1/state.json and try again later"}
        headers = {"Retry-After": "30", "Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
        return web.json_response(body, status=status, headers=headers)


def _network(address: str) -> str:
    """One home or phone has a whole IPv6 /64."""
    try:
        ip = ip_address(canonical(address))
    except ValueError:
        return address
    return ip.exploded[:19] if isinstance(ip, IPv6Address) else str(ip)


def canonical(address: str) -> str:
    """One spelling for each address, and IPv4 as IPv4 where IPv6 carries it."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return str(getattr(ip, "ipv4_mapped", None) or ip)
