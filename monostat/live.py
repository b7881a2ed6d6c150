"""The newest messages, and everyone who waits for newer ones.

contracts/feed.md sections 3 to 7. One message is built for all; a viewer who is slow skips versions, and never has more
than one waiting.
"""

import asyncio
import json
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from random import Random

from aiohttp import WSCloseCode, WSMsgType, web

CHATTY = 10  # text messages a minute that a client may send; they are ignored
LARGEST_MESSAGE = 1024  # bytes that a client may send at once
PROTOCOL = "monostat.v1"


@dataclass(frozen=True, slots=True)
class Messages:
    """What viewers are shown of one version: the public feed's message, and the page's own."""

    epoch: str
    version: int
    feed: str
    page: str


class Hub:
    """Knows every viewer; `publish` is a plain call that cannot block."""

    def __init__(
        self, *, heartbeat: float, ping: float, patience: float, beat: Callable[[], str], limits: "Limits", rng: Random
    ) -> None:
        self._heartbeat, self._ping, self._patience, self._beat, self._rng = heartbeat, ping, patience, beat, rng
        self.limits = limits
        self._news = asyncio.Event()
        self._viewers: dict[web.WebSocketResponse, asyncio.Transport] = {}
        self.messages: Messages
        self.closing = False

    def __len__(self) -> int:
        return len(self._viewers)

    def publish(self, messages: Messages) -> None:
        self.messages = messages
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def show(self, request: web.Request, address: str | None, *, kind: str) -> web.StreamResponse:
        """Serves one viewer until it leaves; `kind` is the field of Messages that it gets."""
        offered = {p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",")} - {""}
        if offered and PROTOCOL not in offered:
            return web.json_response({"error": f"offer the subprotocol {PROTOCOL}, or none"}, status=400)
        if refusal := self.limits.refuse(address, viewers=len(self), closing=self.closing):
            return refusal
        ws = web.WebSocketResponse(
            compress=False, heartbeat=self._ping, max_msg_size=LARGEST_MESSAGE, protocols=(PROTOCOL,), writer_limit=0
        )
        self.limits.enter(address)
        try:
            await ws.prepare(request)
            transport = request.transport
            if not isinstance(transport, asyncio.Transport):
                return ws
            transport.set_write_buffer_limits(high=0)  # a send ends when the kernel has it all: nothing piles up
            self._viewers[ws] = transport
            writer = asyncio.create_task(self._write(ws, transport, request.query, kind))
            try:
                await self._read(ws)
            finally:
                writer.cancel()
                await asyncio.wait([writer])
        finally:
            self._viewers.pop(ws, None)
            self.limits.leave(address)
        return ws

    async def _write(
        self, ws: web.WebSocketResponse, transport: asyncio.Transport, query: Mapping[str, str], kind: str
    ) -> None:
        known = self.messages
        is_known = (query.get("since"), query.get("epoch")) == (str(known.version), known.epoch)
        text = self._beat() if is_known else getattr(known, kind)
        try:
            while True:
                async with asyncio.timeout(self._patience):
                    await ws.send_str(text)
                news = self._news  # no await between this and the comparison: no version can slip through
                if self.messages is known:
                    try:
                        async with asyncio.timeout(self._heartbeat):
                            await news.wait()
                    except TimeoutError:
                        text = self._beat()
                        continue
                same, known = self.messages.version == known.version, self.messages
                text = self._beat() if same and kind == "feed" else getattr(known, kind)
        except TimeoutError:
            transport.write(_close_frame(WSCloseCode.TRY_AGAIN_LATER, self._retry()))
            transport.abort()
        except ConnectionError:
            transport.abort()

    async def _read(self, ws: web.WebSocketResponse) -> None:
        """Reads only to notice the end, and to refuse what no honest client sends."""
        loop, since, heard = asyncio.get_running_loop(), 0.0, 0
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                await ws.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"text only")
            if loop.time() - since >= 60:
                since, heard = loop.time(), 0
            heard += 1
            if heard > CHATTY:
                await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"nothing needs to be sent here")

    def _retry(self) -> bytes:
        return b"retry_ms=%d" % self._rng.randrange(10_000)

    def close(self) -> None:
        """Tells everybody at once to come back later: awaiting one close after the other hangs on a stalled browser."""
        self.closing = True
        for transport in self._viewers.values():
            transport.write(_close_frame(WSCloseCode.GOING_AWAY, self._retry()))
            if transport.get_write_buffer_size():
                transport.abort()  # it has not even taken what it was sent before
            else:
                transport.close()


def _close_frame(code: int, reason: bytes) -> bytes:
    return struct.pack("!BBH", 0x88, 2 + len(reason), code) + reason


class Limits:
    """How many viewers there may be, in all and from one address; refuses before the upgrade, which is cheaper."""

    def __init__(self, *, most: int, per_address: int, connects: int, clock: Callable[[], float]) -> None:
        self._most, self._per_address, self._connects, self._clock = most, per_address, connects, clock
        self._here: Counter[str] = Counter()
        self._came: Counter[str] = Counter()
        self._window = 0.0

    def refuse(self, address: str | None, *, viewers: int, closing: bool) -> web.Response | None:
        if closing or viewers >= self._most:
            return _busy(503, "this server is full")
        if address is None:
            return None
        key = _network(address)
        if self._clock() - self._window >= 10:
            self._window = self._clock()
            self._came.clear()
        self._came[key] += 1
        if self._here[key] >= self._per_address or self._came[key] > self._connects:
            return _busy(429, "too many connections from this address")
        return None

    def enter(self, address: str | None) -> None:
        if address is not None:
            self._here[_network(address)] += 1

    def leave(self, address: str | None) -> None:
        if address is not None:
            key = _network(address)
            self._here[key] -= 1
            if not self._here[key]:
                del self._here[key]


def _network(address: str) -> str:
    """One home or phone has a whole IPv6 /64."""
    try:
        ip = ip_address(canonical(address))
    except ValueError:
        return address
    return str(ip) if not isinstance(ip, IPv6Address) else ip.exploded[:19]


def canonical(address: str) -> str:
    """One spelling for each address, and IPv4 as IPv4 where IPv6 carries it."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _busy(status: int, why: str) -> web.Response:
    body = json.dumps({"error": f"{why}: poll /feed/v1/state.json and try again later"})
    headers = {"Retry-After": "30", "Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)
