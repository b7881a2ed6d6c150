"""What monostat is measured against: `python -m benchmarks.references raw|bare|websockets PORT BODY
MESSAGE`.

`raw` is an asyncio protocol on uvloop that knows the answers beforehand, `bare` the shortest
aiohttp application, and `websockets` that library with its own broadcast. SIGUSR1 sends the next
version of the message to every viewer.
"""

import asyncio
import base64
import hashlib
import json
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yarl import URL

from benchmarks.crowd import as_many_files_as_may_be

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n"
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


async def raw(
    port: int, body: bytes, text: bytes, told: Callable[[Callable[[], None]], None]
) -> None:
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


async def bare(
    port: int, body: bytes, text: bytes, told: Callable[[Callable[[], None]], None]
) -> None:
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


async def broadcasting(
    port: int, body: bytes, text: bytes, told: Callable[[Callable[[], None]], None]
) -> None:
    from http import HTTPStatus

    from websockets.asyncio.server import ServerConnection, broadcast
    from websockets.asyncio.server import serve as listen
    from websockets.datastructures import Headers
    from websockets.http11 import Request, Response

    version, viewers = 1, set[ServerConnection]()

    async def feed(viewer: ServerConnection) -> None:
        await viewer.send(message(text, version).decode())
        viewers.add(viewer)
        await viewer.wait_closed()
        viewers.discard(viewer)

    def page(_viewer: ServerConnection, request: Request) -> Response | None:
        headers = Headers(
            {"Content-Length": str(len(body)), "Content-Encoding": "gzip", "Connection": "close"}
        )
        return (
            None if "Upgrade" in request.headers else Response(HTTPStatus.OK, "OK", headers, body)
        )

    def publish() -> None:
        nonlocal version
        version += 1
        broadcast(viewers, message(text, version).decode())

    told(publish)
    await listen(
        feed,
        "127.0.0.1",
        port,
        process_request=page,
        compression=None,
        ping_interval=None,
        backlog=4096,
    )


async def serve(name: str, port: int, body: bytes, text: bytes) -> None:
    loop = asyncio.get_running_loop()
    start = {"raw": raw, "bare": bare, "websockets": broadcasting}[name]
    await start(port, body, text, lambda publish: loop.add_signal_handler(signal.SIGUSR1, publish))
    await asyncio.Event().wait()


async def ask(url: str, key: str) -> None:
    """Prints the seconds of CPU that a request like a poll's takes in a process that does nothing
    else with it.
    """
    import aiohttp

    async with aiohttp.ClientSession(headers={"Authorization": key}) as http:
        began = 0.0
        for number in range(110):
            began = began if number != 10 else time.process_time()
            async with http.get(URL(url, encoded=True)) as answer:
                json.loads(await answer.read())
            await asyncio.sleep(0.02)
    print((time.process_time() - began) / 100)


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        import uvloop

        uvloop.run(ask(*sys.argv[2:]))
        sys.exit()
    as_many_files_as_may_be()
    _, which, where, page_file, text_file = sys.argv
    content = (Path(page_file).read_bytes(), Path(text_file).read_bytes())
    if which != "bare":
        import uvloop

        uvloop.run(serve(which, int(where), *content))
    else:
        asyncio.run(serve(which, int(where), *content))
