"""What monitoring costs: from an alert to every screen, and polls that bring no news."""

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from benchmarks.crowd import Crowd, until
from benchmarks.servers import serving
from monostat.demo.faults import serve
from monostat.demo.opsgenie import SimulatedOpsgenie

OPSGENIE = """
[opsgenie]
url = "{url}"
api_key = "{key}"
poll_interval = 0.2
stale_after = 60
"""


async def watching(folder: Path, many: int) -> dict[str, float]:
    """How long an alert takes to everybody's screen from the poll's answer on, and what polls cost
    that bring no news.

    The request itself is measured beside it: a process with a bare aiohttp client that asks for the
    same.
    """
    opsgenie, told = SimulatedOpsgenie(), list[tuple[float, str, str]]()

    @web.middleware
    async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        told.append((time.perf_counter(), request.raw_path, request.headers["Authorization"]))
        return answer

    opsgenie.app.middlewares.append(noted)
    async with serve(opsgenie.app) as url:
        with serving("monostat", folder, OPSGENIE.format(url=url, key=opsgenie.api_key)) as server:
            server.act("resolve", incident=1)
            crowd, took = Crowd(server.port), []
            await crowd.join(many)
            await asyncio.sleep(2)
            for number in range(5):
                version = max(crowd.count) + 1
                alert = opsgenie.fire(f"disk {number}")
                await crowd.everyone_has(version)
                shown = crowd.first[version]
                took.append(shown - max(at for at, *_ in told if at < shown))
                opsgenie.close(alert)
                await crowd.everyone_has(version + 1)
                await asyncio.sleep(0.5)
            await crowd.go()
            await asyncio.sleep(1)
            polls, spent, wrote = len(told), server.cpu(), server.written()
            await until(lambda: len(told) >= polls + 100)
            polls, spent, wrote = len(told) - polls, server.cpu() - spent, server.written() - wrote
        _, path, key = told[-1]
        asking = [sys.executable, "-m", "benchmarks.references", "ask", f"{url}{path}", key]
        process = await asyncio.create_subprocess_exec(*asking, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
    found = {
        "alert to first viewer, ms": 1e3 * statistics.median(took),
        "bytes written by polls": wrote,
    }
    return found | {"CPU ms/poll beyond the request": 1e3 * (spent / polls - float(out))}
