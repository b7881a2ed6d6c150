"""`make soak`: many viewers and many changes at once, straight and through the edge; then a long day in little.

Fails where a viewer does not end on the newest version, a version falls, somebody is lost, or memory grows.
"""

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.__main__ import Server, serving
from benchmarks.crowd import Crowd, as_many_files_as_may_be, until

EDGE = """
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
    """deploy/nginx-edge.conf in front of a monostat whose settings name it; answers the port for viewers."""
    text = (Path(__file__).parent.parent / "deploy" / "nginx-edge.conf").read_text()
    ports = {
        "listen 80;": f"listen 127.0.0.1:{server.edge} backlog=4096;",
        "127.0.0.1:8080": f"127.0.0.1:{server.port}",
    }
    ports |= {"127.0.0.1:8081": f"127.0.0.1:{server.publisher}", "/var/cache/nginx": str(folder)}
    for shipped, here in ports.items():
        text = text.replace(shipped, here)
    (folder / "edge.site.conf").write_text(text)
    (folder / "edge.conf").write_text(EDGE.format(folder=folder))
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
    for number in range(changes):
        await asyncio.to_thread(server.publish, f"Change {number}")
        await asyncio.sleep(10 / changes)
    began = time.monotonic()
    newest = max(crowd.count)
    await crowd.everyone_has(newest)
    skipped = sum(many - crowd.count.get(version, 0) for version in range(first + 1, newest + 1))
    words = f"{many} viewers on version {newest} {time.monotonic() - began:.1f} s after the last of {changes} changes"
    check(newest >= first + changes, f"{words}; {skipped} of {many * (newest - first)} messages were skipped")
    check(not crowd.fell, "on every connection versions only rose")
    check(not crowd.lost and not crowd.refused and len(crowd.here) == many, "nobody was lost or refused")
    await crowd.go()


async def day(server: Server, seconds: float, many: int) -> None:
    """Viewers come and go, pages and the state are read, something changes every two seconds."""
    chance, crowd, began, settled = random.Random(1), Crowd(server.port), time.monotonic(), 0.0
    await asyncio.sleep(2)
    files = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    await crowd.join(many)
    async with aiohttp.ClientSession() as http:
        while (spent := time.monotonic() - began) < seconds:
            if not settled and spent > seconds / 6:
                settled = server.memory("Pss_Anon")
            for viewer in chance.sample(sorted(crowd.here, key=id), min(20, len(crowd.here))):
                viewer.transport.abort()
            await crowd.join(20)
            for path in ("/", "/feed/v1/state.json", "/history", "/incidents/1", "/api/v2/summary.json"):
                async with http.get(f"http://127.0.0.1:{server.port}{path}") as answer:
                    await answer.read()
            server.act("edit", incident=1, mail=False, changes={"title": f"Checkout is slow ({chance.random():.6f})"})
            await crowd.everyone_has(max(crowd.count))
            await asyncio.sleep(2)
    grown = server.memory("Pss_Anon") / settled - 1
    check(grown < 0.02, f"memory grew by {100 * grown:.2f} % in the last five sixths of {seconds:.0f} s")
    check(not crowd.fell and not crowd.refused, "on every connection versions only rose")
    await crowd.go()
    await until(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) <= files, 30)
    check(True, f"{files} descriptors before the viewers came, no more after they went")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--viewers", type=int, default=10000)
    asked = parser.parse_args()
    as_many_files_as_may_be()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        with serving("monostat", folder) as server:
            uvloop.run(storm(server, server.port, asked.viewers, 20))
        if shutil.which("nginx") and Path("/etc/nginx/modules-enabled/50-mod-nchan.conf").exists():
            with serving("monostat", folder, edge=True) as server, edge(folder, server) as port:
                time.sleep(3)
                uvloop.run(storm(server, port, asked.viewers, 20))
        else:
            print("skip the edge: apt-get install nginx libnginx-mod-nchan")
        if asked.seconds:
            with serving("monostat", folder) as server:
                uvloop.run(day(server, asked.seconds, asked.viewers // 20))


if __name__ == "__main__":
    main()
