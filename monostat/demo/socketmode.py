"""Socket Mode: the line on which Slack tells an app what people do, and waits for its word.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from aiohttp import WSMsgType, web

from monostat.demo.workspace import APP, Json


class Unacknowledged(Exception):
    """No ack came in time: the person sees a warning triangle."""


class Disconnected(Exception):
    """The app has no socket open, so that nothing reaches it."""


@dataclass(frozen=True)
class Ack:
    """What the app acknowledged an envelope with, and how soon."""

    envelope_id: str
    seconds: float
    payload: Json


class Line:
    """Issues tickets, holds the sockets opened with them, and judges every ack."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.acks: list[Ack] = []
        self.violations: list[str] = []
        self.dead_urls = False
        self.reuse_tickets = False
        self.patience = 3.0  # seconds
        self.ping_every = 5.0
        self.elsewhere = 0  # connections of another program with this app's token
        self._tickets: dict[str, datetime] = {}
        self._sockets: dict[web.WebSocketResponse, asyncio.Transport | None] = {}
        self._sent: dict[str, tuple[Json, float, asyncio.Future[Ack]]] = {}
        self._loud = asyncio.Event()
        self._loud.set()

    @property
    def connections(self) -> int:
        """How many sockets the app holds open."""
        return len(self._sockets)

    def _url(self, base: str) -> str:
        ticket = uuid4().hex
        self._tickets[ticket] = self.now()
        return f"{base}/link/?ticket={ticket}&app_id={APP}"

    async def _link(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        issued = self._tickets.get(ticket)
        if not self.reuse_tickets:
            self._tickets.pop(ticket, None)
        if self.dead_urls or issued is None or self.now() - issued > timedelta(seconds=30):
            return web.Response(status=404)
        ws = web.WebSocketResponse(autoping=False, autoclose=False, timeout=1)
        await ws.prepare(request)
        self._sockets[ws] = request.transport
        pinging = asyncio.create_task(self._ping(ws))
        try:
            with suppress(ConnectionError):
                await self._converse(ws)
            await self._loud.wait()  # a mute peer does not close either
        finally:
            pinging.cancel()
            self._sockets.pop(ws, None)
        return ws

    async def _converse(self, ws: web.WebSocketResponse) -> None:
        debug = {"host": "applink-1", "build_number": 54, "approximate_connection_time": 18060}
        hello = {
            "type": "hello",
            "num_connections": len(self._sockets) + self.elsewhere,
            "connection_info": {"app_id": APP},
        }
        if self._loud.is_set():
            await ws.send_json(hello | {"debug_info": debug})
        while True:
            frame = await ws.receive()
            if frame.type not in (WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG):
                return
            if self._loud.is_set() and frame.type is WSMsgType.PING:
                await ws.pong(frame.data)
            elif self._loud.is_set() and frame.type is WSMsgType.TEXT:
                self._take_ack(frame.data)

    async def _ping(self, ws: web.WebSocketResponse) -> None:
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(self.ping_every)
                if self._loud.is_set():
                    await ws.ping(b"Ping from applink-1")

    def _take_ack(self, text: str) -> None:
        try:
            reply = json.loads(text)
            envelope, sent, answer = self._sent[reply["envelope_id"]]
        except (ValueError, LookupError, TypeError):
            self.violations.append(f"socket: acknowledges nothing: {text[:200]}")
            return
        seconds = asyncio.get_running_loop().time() - sent
        ack = Ack(reply["envelope_id"], seconds, reply.get("payload") or {})
        if ack.payload and not envelope["accepts_response_payload"]:
            self.violations.append(f"socket: an ack that may have no payload: {text[:200]}")
        if any(ack.envelope_id == other.envelope_id for other in self.acks):
            self.violations.append(f"socket: acknowledged twice: {text[:200]}")
        self.acks.append(ack)
        if not answer.done():
            answer.set_result(ack)

    async def _send(self, kind: str, payload: Json, *, retry: int = 0) -> Ack:
        """Gives one envelope to one of the sockets and waits for its ack."""
        if not self._sockets:
            raise Disconnected(f"nobody is connected to hear of {payload.get('type', kind)}")
        envelope: Json = {
            "envelope_id": str(uuid4()),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if kind == "events_api":
            envelope["retry_attempt"] = retry
            envelope["retry_reason"] = ""
            if retry:
                envelope["retry_reason"] = "timeout"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Ack] = loop.create_future()
        self._sent[envelope["envelope_id"]] = envelope, loop.time(), answer
        if self._loud.is_set():
            sockets = list(self._sockets)
            turn = len(self._sent) % len(sockets)
            with suppress(ConnectionError):
                await sockets[turn].send_json(envelope)
        try:
            return await asyncio.wait_for(answer, self.patience)
        except TimeoutError:
            name = payload.get("type", kind)
            raise Unacknowledged(f"{name} had no ack within {self.patience} s") from None

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Sends the app away with a word, as Slack does every few hours."""
        sockets = list(self._sockets)
        self._sockets = {}
        goodbye = {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}}
        for ws in sockets:
            with suppress(ConnectionError):
                await ws.send_json(goodbye)
                await ws.close()

    async def cut(self) -> None:
        """Resets every socket without a word."""
        transports = list(self._sockets.values())
        self._sockets = {}
        at_once = struct.pack("ii", 1, 0)  # lingers zero seconds: a reset instead of a goodbye
        for transport in transports:
            if transport is not None:
                connection = transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
                transport.abort()

    def go_mute(self) -> None:
        """Keeps every connection open and says nothing on it any more, not even to pings."""
        self._loud.clear()

    def speak(self) -> None:
        """Ends what `go_mute` began, for what is said from now on."""
        self._loud.set()
