"""`make soak`: many viewers and many changes at once, straight and through the edge; then a long
day in little.

Fails where a viewer does not end on the newest version, a version falls, somebody is lost, or
memory grows.
"""

import argparse
import asyncio
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.crowd import Crowd, as_many_files_as_may_be
from benchmarks.importing import bring
from benchmarks.servers import EDGE, Server, serving
from benchmarks.watching import OPSGENIE
from monostat.demo.faults import serve
from monostat.demo.opsgenie import SimulatedOpsgenie

NODE = """
daemon off; user root; worker_processes 1; pid {folder}/edge.pid; error_log {folder}/edge.log;
include /etc/nginx/modules-enabled/*.conf;
worker_rlimit_nofile 20000; events {{ worker_connections 15000; }}
http {{ access_log off; include {folder}/edge.site.conf; }}
"""


def check(holds: object, words: str) -> None:
    print(f"{'ok  ' if holds else 'FAIL'} {words}", flush=True)
    if not holds:
        raise SystemExit(1)


@contextmanager
def edge(folder: Path, server: Server) -> Iterator[int]:
    """deploy/nginx-edge.conf in front of a monostat whose settings name it; answers the port for
    viewers.
    """
    text = (Path(__file__).parent.parent / "deploy" / "nginx-edge.conf").read_text()
    ports = {
        "listen 80;": f"listen 127.0.0.1:{server.edge} backlog=4096;",
        "listen [::]:80;": "",
        "127.0.0.1:8080": f"127.0.0.1:{server.port}",
        "$binary_remote_addr": "$connection",  # as if each viewer had an address of its own
    }
    ports |= {"127.0.0.1:8081": f"127.0.0.1:{server.publisher}", "/var/cache/nginx": str(folder)}
    for shipped, here in ports.items():
        text = text.replace(shipped, here)
    (folder / "edge.site.conf").write_text(text)
    (folder / "edge.conf").write_text(NODE.format(folder=folder))
    process = subprocess.Popen(["nginx", "-c", str(folder / "edge.conf")])
    try:
        yield server.edge
    finally:
        process.terminate()
        process.wait()


async def storm(server: Server, port: int, many: int, changes: int) -> None:
    """So many changes in ten seconds, and everybody ends on the newest."""
    crowd = Crowd(port, "/feed/v1")
    await crowd.join(many)
    first = max(crowd.count)
    for _ in range(changes):
        await asyncio.to_thread(server.publish)
        await asyncio.sleep(10 / changes)
    began = time.monotonic()
    newest = max(crowd.count)
    await crowd.everyone_has(newest)
    skipped = sum(many - crowd.count.get(version, 0) for version in range(first + 1, newest + 1))
    words = f"{many} viewers on version {newest} {time.monotonic() - began:.1f} s after the last of {changes} changes"
    check(
        newest >= first + changes,
        f"{words}; {skipped} of {many * (newest - first)} messages were skipped",
    )
    check(not crowd.fell, "on every connection versions only rose")
    check(
        not crowd.lost and not crowd.refused and len(crowd.here) == many,
        "nobody was lost or refused",
    )
    await crowd.go()


async def day(folder: Path, seconds: float, many: int, imported: int) -> None:
    """Viewers come and go, pages are read, alerts open and close, something changes every two
    seconds; so many incidents are imported before.
    """
    opsgenie, chance = SimulatedOpsgenie(), random.Random(1)
    async with serve(opsgenie.app) as url, aiohttp.ClientSession() as http:
        with serving("monostat", folder, OPSGENIE.format(url=url, key=opsgenie.api_key)) as server:
            crowd, began, at, settled = (
                Crowd(server.port),
                time.monotonic(),
                min(300, seconds / 6),
                0.0,
            )
            await asyncio.sleep(2)
            if imported:
                await bring(folder, imported)
            before = await held(server, http)
            await crowd.join(many)
            while (spent := time.monotonic() - began) < seconds:
                if not settled and spent > at:
                    settled = server.memory("Pss_Anon")
                for viewer in chance.sample(sorted(crowd.here, key=id), min(20, len(crowd.here))):
                    viewer.transport.abort()
                await crowd.join(20)
                for path in (
                    "/",
                    "/feed/v1/state.json",
                    "/history",
                    "/incidents/1",
                    "/api/v2/summary.json",
                ):
                    async with http.get(f"http://127.0.0.1:{server.port}{path}") as answer:
                        await answer.read()
                await asyncio.to_thread(server.publish)
                await crowd.everyone_has(max(crowd.count))
                now_open = [alert.id for alert in opsgenie.alerts.values() if not alert.closed_at]
                if now_open:
                    opsgenie.close(now_open[0])
                elif chance.random() < 0.1:
                    opsgenie.fire("disk full")
                await asyncio.sleep(2)
            grown = server.memory("Pss_Anon") / settled - 1
            words = f"memory, {settled:.0f} kB after {at:.0f} s, grew by {100 * grown:.2f} % until {seconds:.0f} s; "
            words += f"{len(opsgenie.faults.requests)} polls, {len(opsgenie.alerts)} alerts, {max(crowd.count)} versions"
            check(grown < 0.02, words)
            check(not crowd.fell and not crowd.refused, "on every connection versions only rose")
            await crowd.go()
            for _ in range(60):
                after = await held(server, http)
                if after[0] <= before[0] and after[1] <= before[1]:
                    break
                await asyncio.sleep(0.5)
            words = f"{before[0]} tasks and {before[1]} descriptors before the viewers came"
            check(
                after[0] <= before[0] and after[1] <= before[1],
                f"{words}, {after[0]} and {after[1]} after they went",
            )


async def held(server: Server, http: aiohttp.ClientSession) -> tuple[int, int]:
    """How many tasks run, and how many descriptors are open, sockets among them."""
    async with http.get(f"http://127.0.0.1:{server.metrics}/metrics") as answer:
        found = re.search(r"^monostat_event_loop_tasks (\d+)", await answer.text(), re.MULTILINE)
    assert found
    return int(found[1]), len(os.listdir(f"/proc/{server.process.pid}/fd"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--viewers", type=int, default=10000)
    parser.add_argument("--imported", type=int, default=5000)
    asked = parser.parse_args()
    as_many_files_as_may_be()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        with serving("monostat", folder) as server:
            uvloop.run(storm(server, server.port, asked.viewers, 20))
        if shutil.which("nginx") and Path("/etc/nginx/modules-enabled/50-mod-nchan.conf").exists():
            with serving("monostat", folder, EDGE) as server, edge(folder, server) as port:
                time.sleep(3)
                uvloop.run(storm(server, port, asked.viewers, 20))
        else:
            print("skip the edge: apt-get install nginx libnginx-mod-nchan")
        if asked.seconds:
            uvloop.run(day(folder, asked.seconds, asked.viewers // 20, asked.imported))


if __name__ == "__main__":
    main()
