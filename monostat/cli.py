"""The command line: `monostat serve`, `demo` and `check`; exit codes as in PRODUCT.md section 7."""

import argparse
import asyncio
import errno
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from monostat import __version__, config

USAGE, UNAVAILABLE, BUG, NO_PERMISSION, CONFIG = 64, 69, 70, 77, 78


class Parser(argparse.ArgumentParser):
    """Wrong usage exits 64, as sysexits.h has it."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main() -> None:
    parser = Parser(prog="monostat", description="A status page for teams that run one monolithic application.")
    parser.add_argument("--version", action="version", version=f"monostat {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, words in (("serve", "run the daemon"), ("check", "check the configuration")):
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("--config", type=Path, default=Path("config.toml"), help="default: config.toml")
    demo = commands.add_parser("demo", help="run the whole product against simulated vendors")
    demo.add_argument("--port", type=int, default=8080, help="the page's port; the simulated Slack is on the next one")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if asked.command == "demo":
        from monostat.demo.run import run_demo

        sys.exit(_run(lambda stop: run_demo(asked.port, stop=stop)))
    try:
        settings = config.load(asked.config, os.environ)
    except config.ConfigError as error:
        print("\n".join(error.problems), file=sys.stderr)
        sys.exit(CONFIG)
    for warning in config.warnings(settings):
        print(f"{asked.config}: {warning}", file=sys.stderr)
    if asked.command == "check":
        print(f"{asked.config}: the configuration is complete")
        return
    from monostat.app import serve

    for section in ("opsgenie", "slack", "rapidmail"):
        if getattr(settings, section) is None:
            logging.info("no [%s] section: running without it", section)
    sys.exit(_run(lambda stop: serve(settings, stop=stop)))


def _run(job: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Runs until SIGTERM or SIGINT, and turns what stopped the start into a sentence and an exit code."""
    from monostat.store import Unusable

    async def until_told() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def told() -> None:
            if stop.is_set():
                os._exit(1)  # told twice: at once
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
        await job(stop)

    try:
        asyncio.run(until_told())
    except Unusable as error:
        print(f"monostat: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"monostat: {error.strerror or error}: check server.listen and the rights of its folder", file=sys.stderr)
        return NO_PERMISSION if error.errno in (errno.EACCES, errno.EPERM) else UNAVAILABLE
    except sqlite3.Error as error:
        print(f"monostat: the database failed: {error}", file=sys.stderr)
        return BUG
    return 0
