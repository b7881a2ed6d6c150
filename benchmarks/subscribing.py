"""What 200 who subscribe each second do to those who read and to monitoring, while Rapidmail
answers none of them.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from benchmarks.crowd import Crowd
from benchmarks.servers import BROWSER, Server, serving
from benchmarks.watching import OPSGENIE
from monostat.demo.faults import serve
from monostat.demo.opsgenie import SimulatedOpsgenie

RAPIDMAIL = """
[rapidmail]
url = "http://127.0.0.1:{port}"
username = "bench"
password = "none"
recipientlist_id = 1
from_name = "Example"
from_email = "status@example.com"
undo_window = 1
"""
A_SECOND, ROUNDS, ALERTS, PAGES = 200, 3, 5, 1000
FIELDS = "".join(f"{name}: {value}\r\n" for name, value in BROWSER.items())
PAGE = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{FIELDS}\r\n".encode()


async def subscribing(folder: Path) -> dict[str, float]:
    """How long a page takes (99 of 100 are faster) and an alert from the poll's answer to a
    browser, quiet and not.

    Rounds alternate. The posts come through a trusted proxy, each from an address of its own.
    """
    opsgenie, answered = SimulatedOpsgenie(), list[float]()
    rapidmail = await asyncio.get_running_loop().create_server(
        asyncio.Protocol, "127.0.0.1", 0
    )  # hears, and is silent

    @web.middleware
    async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        answered.append(time.perf_counter())
        return answer

    opsgenie.app.middlewares.append(noted)
    pages: dict[bool, list[float]] = {False: [], True: []}
    alerts: dict[bool, list[float]] = {False: [], True: []}
    codes = dict[str, int]()
    async with rapidmail, serve(opsgenie.app) as url:
        settings = OPSGENIE.format(url=url, key=opsgenie.api_key)
        settings += RAPIDMAIL.format(port=rapidmail.sockets[0].getsockname()[1])
        with serving("monostat", folder, settings) as server:
            server.act("resolve", incident=1, mail=False)
            await asyncio.sleep(2)  # until it is announced, which is a change of its own
            crowd = Crowd(server.port)
            await crowd.join(1)
            for _ in range(ROUNDS):
                pages[False] += await reading(server)
                alerts[False] += await alerting(opsgenie, crowd, answered)
                async with many_posting(server, codes):
                    pages[True] += await reading(server)
                    alerts[True] += await alerting(opsgenie, crowd, answered)
            await crowd.go()
    assert sum(codes.values()) > A_SECOND, codes
    return {
        "quiet page p99, ms": 1e3 * statistics.quantiles(pages[False], n=100)[98],
        "page p99 among subscribers, ms": 1e3 * statistics.quantiles(pages[True], n=100)[98],
        "quiet alert to page, ms": 1e3 * statistics.median(alerts[False]),
        "alert to page among subscribers, ms": 1e3 * statistics.median(alerts[True]),
    }


async def reading(server: Server) -> list[float]:
    """Seconds that each of many pages took, read one after the other on one connection."""
    took = []
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(PAGES):
        began = time.perf_counter()
        writer.write(PAGE)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.002)
    writer.close()
    return took


async def alerting(opsgenie: SimulatedOpsgenie, crowd: Crowd, answered: list[float]) -> list[float]:
    """Seconds from the poll's answer to the browser, for some alerts one after the other."""
    took = []
    for number in range(ALERTS):
        version = max(crowd.count) + 1
        alert = opsgenie.fire(f"disk {number}")
        await crowd.everyone_has(version)
        shown = crowd.first[version]
        took.append(shown - max(at for at in answered if at < shown))
        opsgenie.close(alert)
        await crowd.everyone_has(version + 1)
    return took


@asynccontextmanager
async def many_posting(server: Server, codes: dict[str, int]) -> AsyncIterator[None]:
    """So many posts a second while it lasts, and one second before; counts answers by their status."""
    posting = asyncio.create_task(post_for_ever(server, codes))
    await asyncio.sleep(1)
    try:
        yield
    finally:
        posting.cancel()
        with suppress(asyncio.CancelledError):
            await posting


ADDRESSES = count(1)


async def post_for_ever(server: Server, codes: dict[str, int]) -> None:
    began = time.perf_counter()
    async with asyncio.TaskGroup() as posts:
        for number in count(1):
            posts.create_task(post(server, next(ADDRESSES), codes))
            await asyncio.sleep(max(0, began + number / A_SECOND - time.perf_counter()))


async def post(server: Server, number: int, codes: dict[str, int]) -> None:
    form = f"email=reader{number}%40example.org"
    address = f"2001:db8:{number >> 16:x}:{number & 65535:x}::1"
    head = f"POST /subscribe HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: {address}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(
            f"{head}Content-Length: {len(form)}\r\nConnection: close\r\n\r\n{form}".encode()
        )
        status = (await reader.readline()).split()[1:2]
        code = status[0].decode() if status else "none"
        codes[code] = codes.get(code, 0) + 1
        await reader.read()
    finally:
        writer.close()
