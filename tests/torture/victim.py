"""The process that is killed: forked from one that has imported everything, so that a life costs little.

It reads an order a line (JSON: config, port, log, step, count, ail, after, lasts), tells "ready", "reached" and its
end on stdout. What it runs is the application that ships. Two things are done to it from outside: it dies at a step,
which is before and after a transaction's rows are written, after it is committed, and before and after each request to
a vendor; and for some seconds it ails: no template renders, or no file can be opened.
"""

import asyncio
import importlib
import json
import logging
import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
from aiohttp import ClientSession, web
from jinja2 import Template

from monostat import config, loading
from monostat.app import make_app
from monostat.ops.cli import fast_loop

TIMING = config.Timing(
    vendor_timeout=0.5,
    slack_ping=0.5,
    slack_stale_url=1.0,
    staff_refresh=5.0,
    look_again=0.1,
    follow=0.1,
    deleted_after=0.3,
)
#: What a transaction is about, by what its rows hold; the first that matches.
ROWS = (
    ("claim", r'Mail.*"state":"claimed"'),
    ("hand-over", r'Mail.*"state":"handed_over"'),
    ("settle", r'Mail.*"state":"sent"'),
    ("failed try", r'Mail.*"error":"[^"]'),
    ("decision with a mail", r'Mail.*"state":"held"'),
    ("decision", r"Incident|Alert"),
    ("claim of a post", r'Posted.*"ts":null'),
    ("settling of a post", r"Posted.*ts"),
)
REQUESTS = (
    ("mail", r"POST .*/mailings"),
    ("follow a mail", r"GET .*/mailings/"),
    ("delete a mail", r"DELETE .*/mailings"),
    ("look for a mail", r"GET .*/mailings"),
    ("post", r"chat\.postMessage"),
    ("edit", r"chat\.update"),
    ("look for a post", r"conversations\.(history|replies)"),
    ("poll", r"/v2/alerts"),
)
STEPS = tuple(
    f"{what}: {when}"
    for what, _ in ROWS
    for when in ("begun", "half written", "written", "committed")
)
STEPS += tuple(f"{what}: {when}" for what, _ in REQUESTS for when in ("asked", "answered"))


def named(table: Iterable[tuple[str, str]], text: str) -> str:
    return next((name for name, pattern in table if re.search(pattern, text)), "")


ORDERED = "ordered: no template renders"


class Fuse:
    """Ends the process at the so-manieth time that a step is reached."""

    def __init__(self, step: str, count: int) -> None:
        self.step, self.count = step, count

    def reach(self, step: str) -> None:
        self.count -= step == self.step
        if step == self.step and self.count == 0:
            os.write(1, b"reached\n")
            os.kill(os.getpid(), signal.SIGKILL)


def lay(fuse: Fuse) -> None:
    """Puts the fuse where the libraries talk to the file and to the vendors."""
    connection, session = aiosqlite.Connection, ClientSession
    execute, executemany, request = connection.execute, connection.executemany, session._request
    about = ""

    async def watched_execute(self: Any, sql: str, *more: Any) -> Any:
        nonlocal about
        if sql.startswith("BEGIN"):
            about = ""
        if sql == "COMMIT":
            fuse.reach(f"{about}: written")
        result = await execute(self, sql, *more)
        if sql == "COMMIT":
            fuse.reach(f"{about}: committed")
        return result

    async def watched_executemany(self: Any, sql: str, rows: Iterable[Iterable[Any]]) -> Any:
        nonlocal about
        rows = list(rows)
        if not about and (about := named(ROWS, str(rows))):
            fuse.reach(f"{about}: begun")
        result = await executemany(self, sql, rows)
        if about:
            fuse.reach(f"{about}: half written")
        return result

    async def watched_request(self: Any, method: str, url: Any, **more: Any) -> Any:
        about = named(REQUESTS, f"{method} {url}")
        fuse.reach(f"{about}: asked")
        answer = await request(self, method, url, **more)
        fuse.reach(f"{about}: answered")
        return answer

    connection.execute, connection.executemany = watched_execute, watched_executemany  # type: ignore[assignment,method-assign]
    session._request = watched_request  # type: ignore[assignment,method-assign]


def fail_templates() -> Callable[[], None]:
    """Has every template raise, until what it returns is called."""
    render = Template.render

    def fails(*_: Any, **__: Any) -> str:
        raise RuntimeError(ORDERED)

    Template.render = fails  # type: ignore[method-assign]

    def mend() -> None:
        Template.render = render  # type: ignore[method-assign]

    return mend


def fill_table_of_files() -> Callable[[], None]:
    """Lets no file or socket be opened (EMFILE), until what it returns is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    return partial(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))


AILS = {"no template renders": fail_templates, "the table of files is full": fill_table_of_files}


def ail(what: str, after: float, lasts: float) -> None:
    """Falls ill some seconds from now, and is well again some seconds later."""
    loop = asyncio.get_running_loop()

    def begin() -> None:
        loop.call_later(lasts, AILS[what]())

    loop.call_later(after, begin)


async def serve(settings: config.Config, order: dict[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = web.AppRunner(make_app(settings, timing=TIMING), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", order["port"]).start()
    os.write(1, b"ready\n")
    if order["ail"]:
        ail(order["ail"], order["after"], order["lasts"])
    await stop.wait()
    await runner.cleanup()


def live(order: dict[str, Any]) -> None:
    os.dup2(os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    lay(Fuse(order["step"], order["count"]))
    with asyncio.Runner(loop_factory=fast_loop) as runner:
        runner.run(serve(loading.load(Path(order["config"]), {}), order))


def main() -> None:
    importlib.import_module("slack_bolt.adapter.socket_mode.async_handler")
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            try:
                live(json.loads(line))
            except BaseException:  # noqa: BLE001 - whatever it is, a child must not go on as its parent
                traceback.print_exc()
                os._exit(70)
            os._exit(0)
        print(f"pid {pid}", flush=True)
        print(f"end {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}", flush=True)


if __name__ == "__main__":
    main()
