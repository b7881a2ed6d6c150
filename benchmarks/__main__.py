"""`make bench`: the table of goals, each as a ratio of what was measured in the same rounds.

Every server runs alone on the first core, all load on the second; rounds alternate between servers,
so that a noisy machine is noisy for all. CPU is the kernel's account of the server's processes.
"""

import argparse
import asyncio
import compileall
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import aiohttp
import uvloop

from benchmarks.crowd import Crowd, as_many_files_as_may_be
from benchmarks.growing import DOCUMENTS, growing
from benchmarks.importing import MANY, importing
from benchmarks.servers import BROWSER, CONFS, Server, serving
from benchmarks.subscribing import subscribing
from benchmarks.watching import watching


async def pages(server: Server, seconds: float) -> dict[str, float]:
    """wrk with 64 connections: requests a second, and CPU of each."""
    headers = [part for name, value in BROWSER.items() for part in ("-H", f"{name}: {value}")]
    before, began = server.cpu(), time.perf_counter()
    run = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", "-c64", f"-d{seconds}s", *headers, f"http://127.0.0.1:{server.port}/"),
        stdout=subprocess.PIPE,
    )
    out, _ = await run.communicate()
    took, spent = time.perf_counter() - began, server.cpu() - before
    count = re.search(rb"(\d+) requests in", out)
    assert count, out
    assert b"Non-2xx" not in out, out
    return {"requests/s": int(count[1]) / took, "CPU µs/request": 1e6 * spent / int(count[1])}


async def viewers(server: Server, many: int, changes: int) -> dict[str, float]:
    """Joins, rests, is told changes while somebody reads pages, and joins again all at once."""
    crowd, found, memory, cpu = Crowd(server.port), {}, server.memory(), server.cpu()
    await crowd.join(many)
    found["CPU µs/handshake"] = 1e6 * (server.cpu() - cpu) / many
    await asyncio.sleep(1)
    found["kB/viewer"] = (server.memory() - memory) / many
    whole, spread, spent = [], [], []
    for _ in range(changes):
        version, cpu, began = max(crowd.count) + 1, server.cpu(), time.perf_counter()
        await asyncio.to_thread(server.publish)
        await crowd.everyone_has(version)
        await asyncio.sleep(0.2)
        spent.append(server.cpu() - cpu)
        whole.append(crowd.last[version] - began)
        spread.append(crowd.last[version] - crowd.first[version])
    found["change to last viewer, ms"] = 1e3 * min(whole)
    found["first to last viewer, ms"] = 1e3 * min(spread)
    found["CPU µs/viewer and change"] = 1e6 * min(spent) / many
    found["page p99 while spreading, ms"] = await busy(server, crowd, changes)
    if server.name == "monostat":
        found |= await among_mutes(server, crowd, changes)
    await crowd.go()
    await asyncio.sleep(1)
    storm, cpu, began = Crowd(server.port), server.cpu(), time.perf_counter()
    await storm.join(many // 2, at_once=many)
    found["all back at once, s"] = max(storm.last.values()) - began
    found["CPU µs/viewer that is back"] = 2e6 * (server.cpu() - cpu) / many
    await storm.go()
    assert not crowd.fell + crowd.refused + storm.fell + storm.refused
    return found


async def among_mutes(server: Server, crowd: Crowd, changes: int) -> dict[str, float]:
    """What a change takes before and after a twentieth more have come who never read, and take no
    more.
    """

    async def spread() -> float:
        took = []
        for _ in range(changes):
            version = max(crowd.count) + 1
            await asyncio.to_thread(server.publish)
            await crowd.everyone_has(version)
            await asyncio.sleep(0.2)
            took.append(crowd.last[version] - crowd.first[version])
        return 1e3 * min(took)

    alone, mutes = await spread(), await crowd.mutes(len(crowd.here) // 20)
    for _ in range(40):  # until nothing more goes to them
        await asyncio.to_thread(server.publish)
        await asyncio.sleep(0.1)
    found = {"spread before mutes, ms": alone, "spread among mutes, ms": await spread()}
    for one in mutes:
        one.close()
    return found


async def busy(server: Server, crowd: Crowd, changes: int) -> float:
    """How long a page takes, in ms, while everybody is told something: 99 of 100 are faster."""
    took, over = [], asyncio.Event()

    async def read() -> None:
        async with aiohttp.ClientSession(headers=BROWSER, auto_decompress=False) as http:
            while not over.is_set():
                began = time.perf_counter()
                async with http.get(f"http://127.0.0.1:{server.port}/") as answer:
                    await answer.read()
                took.append(time.perf_counter() - began)
                await asyncio.sleep(0.001)

    reader = asyncio.create_task(read())
    for _ in range(changes):
        version = max(crowd.count) + 1
        await asyncio.to_thread(server.publish)
        await crowd.everyone_has(version)
    over.set()
    await reader
    return 1e3 * statistics.quantiles(took, n=100)[98]


FANS_OUT = ("monostat", "raw", "websockets", "nchan")
GOALS = (
    (
        "GET / as browsers ask, against nginx with a file",
        "requests/s",
        "nginx",
        ">= 0.55, better 0.8",
    ),
    ("the same, CPU of a request", "CPU µs/request", "nginx", "<= 1.25 (stretch)"),
    ("GET /, against a raw protocol", "requests/s", "raw", ""),
    (
        "change to the last viewer, clients offer deflate",
        "change to last viewer, ms",
        "raw",
        "<= 1.15",
    ),
    ("from the first viewer to the last", "first to last viewer, ms", "raw", ""),
    ("the same, CPU of a viewer and change", "CPU µs/viewer and change", "raw", ""),
    ("the same, against websockets.broadcast", "CPU µs/viewer and change", "websockets", ""),
    ("the same, against nchan", "CPU µs/viewer and change", "nchan", ""),
    (
        "change to the last viewer, against websockets.broadcast",
        "change to last viewer, ms",
        "websockets",
        "",
    ),
    ("change to the last viewer, against nchan", "change to last viewer, ms", "nchan", ""),
    ("memory of an idle viewer, kB", "kB/viewer", "", "<= 2.0 kB"),
    ("CPU of a handshake", "CPU µs/handshake", "raw", "<= 3"),
    ("half of them are back at once", "all back at once, s", "raw", "<= 1.5"),
    (
        "spread of a change among 5 % who never read",
        "spread among mutes, ms",
        "monostat:spread before mutes, ms",
        "",
    ),
    ("page p99 while a change spreads", "page p99 while spreading, ms", "raw", "<= 1.3"),
    (
        "page p99 while 200 a second subscribe and Rapidmail hangs, against a quiet server",
        "page p99 among subscribers, ms",
        "monostat:quiet page p99, ms",
        "<= 1.5",
    ),
    (
        "the same, from an alert to the page",
        "alert to page among subscribers, ms",
        "monostat:quiet alert to page, ms",
        "<= 1.5",
    ),
    ("start to first page, against bare aiohttp", "start, s", "bare", "<= 1.15"),
    ("memory at rest, against bare aiohttp", "MB at rest", "bare", "<= 1.4"),
    (
        "alert to each of 1,000 browsers, beyond the fan-out, ms",
        "alert to first viewer, ms",
        "",
        "<= 100 ms",
    ),
    ("CPU of a poll beyond its request, ms", "CPU ms/poll beyond the request", "", "<= 1 ms"),
    ("what 100 polls write to the disk, bytes", "bytes written by polls", "", "0"),
    *(
        (
            f"{what}, with 5,000 older incidents beside 60 of the last year",
            f"{key} (grown)",
            f"monostat:{key}",
            goal,
        )
        for what, key, goal in (
            ("CPU of a change, ms", "CPU ms of a change", "<= 1.3"),
            ("CPU of a poll without news, ms", "CPU ms of a poll that brings no news", "<= 1.3"),
            ("CPU of a start, ms", "CPU ms of a start", "<= 1.5"),
            *(
                (
                    f"CPU of the first {path} after a change, ms",
                    f"CPU ms of the first {path}",
                    "<= 1.5",
                )
                for path in DOCUMENTS
            ),
        )
    ),
    ("memory of a past incident, kB", "kB/past incident", "", "<= 1 kB"),
    ("an import of 5,000 incidents, s", f"s of an import of {MANY:,}", "", "<= 30 s"),
    ("the same, CPU of the daemon, s", f"CPU s of the daemon for {MANY:,}", "", ""),
    ("an export of them, s", f"s of an export of {MANY:,}", "", ""),
)


async def measure(asked: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in asked.servers}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with serving("monostat", folder) as server:
            body = urlopen(Request(f"http://127.0.0.1:{server.port}/", headers=BROWSER)).read()
            text = await message_of(server.port)
        (folder / "page.html.gz").write_bytes(body)
        (folder / "page.html").write_bytes(body)
        (folder / "message.json").write_bytes(text)
        folder.chmod(0o755)
        print(f"page {len(body)} B zipped, message {len(text)} B", file=sys.stderr)
        for number in range(asked.rounds):
            for name in asked.servers:
                with serving(name, folder) as server:
                    one = {"start, s": server.started, "MB at rest": server.memory() / 1024}
                    one |= await pages(server, asked.seconds)
                    if name in FANS_OUT and asked.viewers:
                        one |= await viewers(server, asked.viewers, asked.changes)
                if name == "monostat" and asked.viewers:
                    one |= await watching(folder, asked.viewers // 10)
                    one |= await subscribing(folder)
                if name == "monostat":
                    one |= await growing(folder)
                    one |= await importing(folder)
                found[name].append(one)
                print(
                    number,
                    name,
                    {k: round(v, 3) for k, v in one.items()},
                    file=sys.stderr,
                    flush=True,
                )
    return found


async def message_of(port: int) -> bytes:
    origin = f"http://127.0.0.1:{port}"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{origin}/feed/page", origin=origin) as ws,
    ):
        return re.sub(rb'"version":\d+', b'"version":1', (await ws.receive_str()).encode(), count=1)


def table(found: dict[str, list[dict[str, float]]]) -> str:
    lines = ["| what | monostat | beside | ratio (spread) | goal |", "|---|---|---|---|---|"]
    for words, key, other, goal in GOALS:
        other, _, its = other.partition(":")
        ours = [one[key] for one in found.get("monostat", []) if key in one]
        theirs = [one[its or key] for one in found.get(other, []) if (its or key) in one]
        if not ours or (other and not theirs):
            continue
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=False)) if other else []
        ratio = (
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})" if ratios else ""
        )
        beside = f"{statistics.median(theirs):,.2f} {other}" if theirs else ""
        lines.append(f"| {words} | {statistics.median(ours):,.2f} | {beside} | {ratio} | {goal} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--viewers", type=int, default=10000)
    parser.add_argument("--changes", type=int, default=5)
    parser.add_argument("--servers", nargs="+", default=[*FANS_OUT, "bare", "nginx"])
    asked = parser.parse_args()
    needed = ["wrk", *(["nginx"] if {*CONFS} & {*asked.servers} else [])]
    if missing := [name for name in needed if not shutil.which(name)]:
        raise SystemExit(f"not on this machine: apt-get install {' '.join(missing)}")
    as_many_files_as_may_be()
    compileall.compile_dir("monostat", quiet=1)  # as an installed wheel is
    os.sched_setaffinity(0, {(os.cpu_count() or 2) - 1})
    load = os.getloadavg()[0]
    found = uvloop.run(measure(asked))
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, Linux {platform.release()},",
        end=" ",
    )
    print(
        f"Python {platform.python_version()}, load before {load:.1f}, rounds {asked.rounds}\n\n{table(found)}"
    )


if __name__ == "__main__":
    main()
