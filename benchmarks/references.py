"""What monostat is measured against: `python -m benchmarks.references raw|bare PORT BODY MESSAGE`.

`raw` is an asyncio protocol on uvloop that knows the answers beforehand; `bare` is the shortest aiohttp application.
SIGUSR1 sends the next version of the message to every viewer.
"""

import asyncio
import base64
import hashlib
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.crowd import as_many_files_as_may_be

HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n"
)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def message(text: bytes, version: int) -> bytes:
    return text.replace(b'"version":1', b'"version":%d' % version, 1)


def frame(payload: bytes) -> bytes:
    return struct.pack("!BBH", 0x81, 126, len(payload)) + payload


class Raw(asyncio.Protocol):
    __slots__ = ("transport",)
    viewers: set["Raw"] = set()  # noqa: RUF012
    page = frame = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if b"Upgrade: websocket" not in data:
            self.transport.write(self.page)
            return
        key = data.split(b"Sec-WebSocket-Key: ", 1)[1].split(b"\r\n", 1)[0]
        accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.transport.write(b"%bSec-WebSocket-Accept: %b\r\n\r\n%b" % (head, accept, self.frame))
        self.viewers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.viewers.discard(self)


async def raw(port: int, body: bytes, text: bytes, told: Callable[[Callable[[], None]], None]) -> None:
    version = 1
    Raw.page, Raw.frame = HEAD.format(len(body)).encode() + body, frame(message(text, version))

    def publish() -> None:
        nonlocal version
        version += 1
        Raw.frame = frame(message(text, version))
        for viewer in Raw.viewers:
            viewer.transport.write(Raw.frame)

    told(publish)
    await asyncio.get_running_loop().create_server(Raw, "127.0.0.1", port, backlog=4096)


async def bare(port: int, body: bytes, text: bytes, told: Callable[[Callable[[], None]], None]) -> None:
    from aiohttp import web

    version, viewers, tasks = 1, set(), set()

    async def page(_request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/html; charset=utf-8"}
        return web.Response(body=body, headers=headers)

    async def feed(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        viewers.add(ws)
        await ws.send_str(message(text, version).decode())
        async for _ in ws:
            pass
        viewers.discard(ws)
        return ws

    async def send() -> None:
        news = message(text, version).decode()
        await asyncio.gather(*(ws.send_str(news) for ws in viewers))

    def publish() -> None:
        nonlocal version
        version += 1
        tasks.add(asyncio.create_task(send()))

    told(publish)
    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/feed/page", feed)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()


async def serve(name: str, port: int, body: bytes, text: bytes) -> None:
    loop = asyncio.get_running_loop()
    start = {"raw": raw, "bare": bare}[name]
    await start(port, body, text, lambda publish: loop.add_signal_handler(signal.SIGUSR1, publish))
    await asyncio.Event().wait()


if __name__ == "__main__":
    as_many_files_as_may_be()
    _, which, where, page_file, text_file = sys.argv
    content = (Path(page_file).read_bytes(), Path(text_file).read_bytes())
    if which == "raw":
        import uvloop

        uvloop.run(serve(which, int(where), *content))
    else:
        asyncio.run(serve(which, int(where), *content))
