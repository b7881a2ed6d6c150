"""`make bench`: the table of goals, each as a ratio of what was measured in the same rounds.

Every server runs alone on the first core, all load on the second; rounds alternate between servers, so that a noisy
machine is noisy for all. CPU is the kernel's account of the server's processes.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import aiohttp
import uvloop

from benchmarks.crowd import Crowd, as_many_files_as_may_be

#: As a browser asks for a page.
BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control": "max-age=0",
    "Connection": "keep-alive",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
}
CONFIG = """
[site]
name = "Example"
url = "http://127.0.0.1:{port}"
[server]
listen = ["127.0.0.1:{port}"]
max_viewers = 15000
[database]
path = "{folder}/monostat.db"
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
worker_rlimit_nofile 20000; events {{ worker_connections 15000; }}
http {{ access_log off; keepalive_requests 1000000000; types {{ }} default_type text/html;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; gzip_static on;
    location / {{ try_files /page.html =404; }} }} }}
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Server:
    """A server in processes of its own, on the first core."""

    def __init__(self, name: str, folder: Path, *, edge: bool = False) -> None:
        self.name, self.folder = name, folder
        self.port, self.edge, self.publisher = free_port(), free_port(), free_port()
        if name == "nginx":
            conf = folder / "nginx.conf"
            conf.write_text(NGINX.format(folder=folder, port=self.port))
            command = ["nginx", "-c", str(conf)]
        elif name == "monostat":
            for old in folder.glob("monostat.db*"):
                old.unlink()
            more = f'[edge]\npublish_urls = ["http://127.0.0.1:{self.publisher}"]' if edge else ""
            (folder / "config.toml").write_text(CONFIG.format(folder=folder, port=self.port) + more)
            command = [sys.executable, "-m", "monostat", "serve", "--config", str(folder / "config.toml")]
        else:
            known = (str(folder / "page.html.gz"), str(folder / "message.json"))
            command = [sys.executable, "-m", "benchmarks.references", name, str(self.port), *known]
        began = time.perf_counter()
        with (folder / f"{name}.log").open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, {0}))
        while True:
            try:
                self.page = urlopen(Request(f"http://127.0.0.1:{self.port}/", headers=BROWSER)).read()
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit((folder / f"{name}.log").read_text()) from None
                time.sleep(0.001)
        self.started = time.perf_counter() - began
        if name == "monostat":
            self.act("create", title="Checkout is slow", text="We are looking into it.")
            for number in range(9):
                self.act(
                    "update",
                    incident=1,
                    text=f"Update {number}: " + "we are looking into it, and know what is slow. " * 4,
                )

    def act(self, verb: str, **more: object) -> None:
        asked = json.dumps({"verb": verb, "by": "bench"} | more).encode()
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(self.folder / "monostat.sock"))
            head = "POST /act HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"
            one.sendall(head.format(len(asked)).encode() + asked)
            answer = b"".join(iter(lambda: one.recv(65536), b""))
        assert b'"refused": ""' in answer or b'"refused": null' in answer, answer

    def publish(self, text: str = "More of the same") -> None:
        if self.name == "monostat":
            self.act("update", incident=1, text=text)
        else:
            self.process.send_signal(signal.SIGUSR1)

    def pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def cpu(self) -> float:
        """Seconds on a core, of all threads."""
        stats = [s for pid in self.pids() for s in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(s.read_text().split()[0]) for s in stats) / 1e9

    def memory(self, what: str = "Pss") -> float:
        """kB that are its own or its share; of `Pss_Anon` other processes that come and go change nothing."""
        found = [re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in self.pids()]
        return sum(float(f[1]) for f in found if f)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


@contextmanager
def serving(name: str, folder: Path, *, edge: bool = False) -> Iterator[Server]:
    server = Server(name, folder, edge=edge)
    try:
        yield server
    finally:
        server.stop()


async def pages(server: Server, seconds: float) -> dict[str, float]:
    """wrk with 64 connections: requests a second, and CPU of each."""
    headers = [part for name, value in BROWSER.items() for part in ("-H", f"{name}: {value}")]
    before, began = server.cpu(), time.perf_counter()
    run = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", "-c64", f"-d{seconds}s", *headers, f"http://127.0.0.1:{server.port}/"), stdout=subprocess.PIPE
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
    await crowd.go()
    await asyncio.sleep(1)
    storm, cpu, began = Crowd(server.port), server.cpu(), time.perf_counter()
    await storm.join(many // 2, at_once=many)
    found["all back at once, s"] = max(storm.last.values()) - began
    found["CPU µs/viewer that is back"] = 2e6 * (server.cpu() - cpu) / many
    await storm.go()
    assert not crowd.fell + crowd.refused + storm.fell + storm.refused
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


GOALS = (
    ("GET / as browsers ask, against nginx with a file", "requests/s", "nginx", ">= 0.55, better 0.8"),
    ("the same, CPU of a request", "CPU µs/request", "nginx", "<= 1.25 (stretch)"),
    ("GET /, against a raw protocol", "requests/s", "raw", ""),
    ("change to the last viewer, clients offer deflate", "change to last viewer, ms", "raw", "<= 1.15"),
    ("from the first viewer to the last", "first to last viewer, ms", "raw", ""),
    ("the same, CPU of a viewer and change", "CPU µs/viewer and change", "raw", ""),
    ("memory of an idle viewer, kB", "kB/viewer", "", "<= 2.0 kB"),
    ("CPU of a handshake", "CPU µs/handshake", "raw", "<= 3"),
    ("half of them are back at once", "all back at once, s", "raw", "<= 1.5"),
    ("page p99 while a change spreads", "page p99 while spreading, ms", "raw", "<= 1.3"),
    ("start to first page, against bare aiohttp", "start, s", "bare", "<= 1.15"),
    ("memory at rest, against bare aiohttp", "MB at rest", "bare", "<= 1.4"),
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
                    if name in ("monostat", "raw") and asked.viewers:
                        one |= await viewers(server, asked.viewers, asked.changes)
                found[name].append(one)
                print(number, name, {k: round(v, 3) for k, v in one.items()}, file=sys.stderr, flush=True)
    return found


async def message_of(port: int) -> bytes:
    origin = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{origin}/feed/page", origin=origin) as ws:
        return re.sub(rb'"version":\d+', b'"version":1', (await ws.receive_str()).encode(), count=1)


def table(found: dict[str, list[dict[str, float]]]) -> str:
    lines = ["| what | monostat | beside | ratio (spread) | goal |", "|---|---|---|---|---|"]
    for words, key, other, goal in GOALS:
        ours = [one[key] for one in found.get("monostat", []) if key in one]
        theirs = [one[key] for one in found.get(other, []) if key in one]
        if not ours or (other and not theirs):
            continue
        ratios = sorted(a / b for a, b in zip(ours, theirs, strict=False)) if other else []
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})" if ratios else ""
        beside = f"{statistics.median(theirs):,.2f} {other}" if theirs else ""
        lines.append(f"| {words} | {statistics.median(ours):,.2f} | {beside} | {ratio} | {goal} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--viewers", type=int, default=10000)
    parser.add_argument("--changes", type=int, default=5)
    parser.add_argument("--servers", nargs="+", default=["monostat", "raw", "bare", "nginx"])
    asked = parser.parse_args()
    needed = ["wrk", *(name for name in asked.servers if name == "nginx")]
    if missing := [name for name in needed if not shutil.which(name)]:
        raise SystemExit(f"not on this machine: apt-get install {' '.join(missing)}")
    as_many_files_as_may_be()
    os.sched_setaffinity(0, {(os.cpu_count() or 2) - 1})
    load = os.getloadavg()[0]
    found = uvloop.run(measure(asked))
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, Linux {platform.release()},", end=" ")
    print(f"Python {platform.python_version()}, load before {load:.1f}, rounds {asked.rounds}\n\n{table(found)}")


if __name__ == "__main__":
    main()
