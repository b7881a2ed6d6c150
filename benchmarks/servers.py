"""Servers in processes of their own: monostat, and what it is measured against."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.references import message

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
metrics_listen = "127.0.0.1:{metrics}"
max_viewers = 15000
[database]
path = "{folder}/monostat.db"
"""
EDGE = '[edge]\npublish_urls = ["http://127.0.0.1:{publisher}"]'
CONFS = {
    "nginx": """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
worker_rlimit_nofile 20000; events {{ worker_connections 15000; }}
http {{ access_log off; keepalive_requests 1000000000; types {{ }} default_type text/html;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; gzip_static on;
    location / {{ try_files /page.html =404; }} }} }}
""",
    "nchan": """
daemon off; worker_processes 1; pid {folder}/nchan.pid; error_log {folder}/nchan.log; user root;
include /etc/nginx/modules-enabled/*.conf;
worker_rlimit_nofile 20000; events {{ worker_connections 15000; }}
http {{ access_log off; types {{ }} default_type text/html;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder};
    location / {{ try_files /page.html =404; }}
    location = /feed/page {{ nchan_subscriber websocket; nchan_channel_id page; }}
    location = /publish {{ nchan_publisher; nchan_channel_id page; nchan_message_buffer_length 1;
      client_max_body_size 1m; client_body_buffer_size 256k; }} }} }}
""",
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Server:
    """A server in processes of its own, on the first core."""

    def __init__(self, name: str, folder: Path, settings: str = "") -> None:
        self.name, self.folder, self.port, self.version = name, folder, free_port(), 0
        self.metrics, self.edge, self.publisher = free_port(), free_port(), free_port()
        ports = {
            "folder": folder,
            "port": self.port,
            "metrics": self.metrics,
            "publisher": self.publisher,
        }
        if name in CONFS:
            conf = folder / f"{name}.conf"
            conf.write_text(CONFS[name].format(**ports))
            command = ["nginx", "-c", str(conf)]
        elif name == "monostat":
            for old in folder.glob("monostat.db*"):
                old.unlink()
            (folder / "config.toml").write_text((CONFIG + settings).format(**ports))
            command = [
                sys.executable,
                "-m",
                "monostat",
                "serve",
                "--config",
                str(folder / "config.toml"),
            ]
        else:
            known = (str(folder / "page.html.gz"), str(folder / "message.json"))
            command = [sys.executable, "-m", "benchmarks.references", name, str(self.port), *known]
        began = time.perf_counter()
        with (folder / f"{name}.log").open("w") as log:
            self.process = subprocess.Popen(
                command, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, {0})
            )
        while True:
            try:
                self.page = urlopen(
                    Request(f"http://127.0.0.1:{self.port}/", headers=BROWSER)
                ).read()
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit((folder / f"{name}.log").read_text()) from None
                time.sleep(0.001)
        self.started = time.perf_counter() - began
        if name == "nchan":
            self.publish()
        if name == "monostat":
            self.act("create", title="Checkout is slow", text="We are looking into it.")
            for number in range(9):
                self.act(
                    "update",
                    incident=1,
                    text=f"Update {number}: "
                    + "we are looking into it, and know what is slow. " * 4,
                )

    def act(self, verb: str, **more: object) -> None:
        asked = json.dumps({"verb": verb, "by": "bench"} | more).encode()
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(self.folder / "monostat.sock"))
            head = (
                "POST /act HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"
            )
            one.sendall(head.format(len(asked)).encode() + asked)
            answer = b"".join(iter(lambda: one.recv(65536), b""))
        assert b'"refused": ""' in answer or b'"refused": null' in answer, answer

    def publish(self) -> None:
        """Changes a few letters, so that the next message is as long as the last."""
        self.version += 1
        if self.name == "monostat":
            self.act(
                "edit",
                incident=1,
                mail=False,
                changes={"title": f"Checkout is slow ({self.version:06})"},
            )
        elif self.name == "nchan":
            body = message((self.folder / "message.json").read_bytes(), self.version)
            head = {"Content-Type": "application/json"}  # or nchan would send binary frames
            urlopen(Request(f"http://127.0.0.1:{self.port}/publish", body, head)).read()
        else:
            self.process.send_signal(signal.SIGUSR1)

    def pids(self) -> list[int]:
        children = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )
        return [self.process.pid, *map(int, children)]

    def cpu(self) -> float:
        """Seconds on a core, of all threads."""
        stats = [s for pid in self.pids() for s in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(s.read_text().split()[0]) for s in stats) / 1e9

    def memory(self, what: str = "Pss") -> float:
        """kB that are its own or its share; of `Pss_Anon` other processes that come and go change
        nothing.
        """
        found = [
            re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
            for pid in self.pids()
        ]
        return sum(float(f[1]) for f in found if f)

    def written(self) -> int:
        """Bytes that it has had written to the disk."""
        found = re.search(
            r"^write_bytes: (\d+)", Path(f"/proc/{self.process.pid}/io").read_text(), re.MULTILINE
        )
        assert found
        return int(found[1])

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


@contextmanager
def serving(name: str, folder: Path, settings: str = "") -> Iterator[Server]:
    server = Server(name, folder, settings)
    try:
        yield server
    finally:
        server.stop()
