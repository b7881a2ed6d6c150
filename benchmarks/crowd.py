"""Many viewers in one process: each a socket, a few bytes of state, and a check that versions only
rise.
"""

import asyncio
import re
import resource
import socket
import time
from collections.abc import Callable
from typing import Any

VERSION = re.compile(rb'"type":"state".*?"version":(\d+)')
#: As browsers ask: they always offer to deflate.
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)
PONG = b"\x8a\x80\x00\x00\x00\x00"


class Viewer(asyncio.Protocol):
    __slots__ = ("crowd", "greeted", "rest", "transport", "version")

    def __init__(self, crowd: "Crowd") -> None:
        self.crowd, self.greeted, self.rest, self.version = crowd, False, b"", 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.crowd.handshake)

    def data_received(self, data: bytes) -> None:
        data = self.rest + data if self.rest else data
        if not self.greeted:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.crowd.refused += 1
                self.transport.abort()
                return
            self.greeted = True
        at = 0
        while len(data) >= at + 4:
            size, start = data[at + 1] & 127, at + 2
            if size > 125:
                wide = 2 if size == 126 else 8
                if len(data) < start + wide:
                    break
                size, start = int.from_bytes(data[start : start + wide]), start + wide
            if len(data) < start + size:
                break
            if data[at] == 0x81:
                self.told(data, start)
            elif data[at] == 0x89:
                self.transport.write(PONG)
            at = start + size
        if data[at : at + 2] == b"\x89\x00":  # a ping has no payload here
            self.transport.write(PONG)
            at += 2
        self.rest = data[at:]

    def told(self, data: bytes, at: int) -> None:
        if found := VERSION.match(data, data.index(b'"type"', at)):
            version = int(found[1])
            self.crowd.fell += version <= self.version
            self.version = version
            self.crowd.heard(version)

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.here.discard(self)
        self.crowd.lost += 1


class Crowd:
    """`reached[version]` is when the last viewer of all had it, `fell` counts versions that did not
    rise.
    """

    def __init__(self, port: int, path: str = "/feed/page") -> None:
        self.port, self.handshake = port, HANDSHAKE.format(path=path, port=port).encode()
        self.here: set[Viewer] = set()
        self.count: dict[int, int] = {}
        self.first: dict[int, float] = {}
        self.last: dict[int, float] = {}
        self.fell = self.refused = self.lost = 0

    def heard(self, version: int) -> None:
        self.first.setdefault(version, time.perf_counter())
        self.count[version] = self.count.get(version, 0) + 1
        self.last[version] = time.perf_counter()

    async def join(self, many: int, at_once: int = 200) -> None:
        """Connects, and waits until each has been told a state."""
        loop, before, limit = (
            asyncio.get_running_loop(),
            sum(self.count.values()),
            asyncio.Semaphore(at_once),
        )

        async def one() -> None:
            async with limit:
                _, viewer = await loop.create_connection(
                    lambda: Viewer(self), "127.0.0.1", self.port
                )
                self.here.add(viewer)

        await asyncio.gather(*(one() for _ in range(many)))
        await until(lambda: sum(self.count.values()) + self.refused >= before + many)

    async def mutes(self, many: int) -> list[socket.socket]:
        """So many more who ask to be viewers and then never read, with little room for what they
        are sent.
        """
        loop, made = asyncio.get_running_loop(), []
        for _ in range(many):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setblocking(False)
            await loop.sock_connect(one, ("127.0.0.1", self.port))
            await loop.sock_sendall(one, self.handshake)
            made.append(one)
        return made

    async def everyone_has(self, version: int, within: float = 60) -> None:
        await until(lambda: all(v.version >= version for v in self.here), within)

    async def go(self) -> None:
        for viewer in list(self.here):
            viewer.transport.abort()
        await until(lambda: not self.here)


async def until(done: Callable[[], bool], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.002)


def as_many_files_as_may_be() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
