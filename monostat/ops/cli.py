"""The command line; PRODUCT.md section 7 has its commands and exit codes."""

import argparse
import asyncio
import errno
import logging
import os
import platform
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from monostat import RESOURCES, __version__, config
from monostat.core.text import legible
from monostat.ops import shell, systemd
from monostat.ops.shell import tell

USAGE, UNAVAILABLE, BUG, NO_PERMISSION = 64, 69, 70, 77


class Parser(argparse.ArgumentParser):
    """Wrong usage exits 64, as sysexits.h has it."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {legible(message)}\n")


def parser() -> Parser:
    made = Parser(
        prog="monostat", description="A status page for teams that run one monolithic application."
    )
    made.add_argument("--version", action="version", version=f"monostat {__version__}")
    commands = made.add_subparsers(dest="command", required=True, parser_class=Parser)
    commands.add_parser("serve", help="run the daemon")
    checking = commands.add_parser("check", help="check the configuration")
    checking.add_argument(
        "--online", action="store_true", help="ask each vendor, too; nothing is changed there"
    )
    commands.add_parser(
        "slack-manifest", help="print the manifest to paste when creating the Slack app"
    )
    backup = commands.add_parser(
        "backup", help="write a consistent copy of the database, while the daemon runs or not"
    )
    backup.add_argument(
        "dest", type=Path, metavar="DEST", help="the file to write, or a folder for it"
    )
    incident = commands.add_parser("incident", help="act without Slack, through the running daemon")
    reading = [command for name, command in commands.choices.items() if name != "incident"]
    for command in [*reading, *shell.add_commands(incident)]:
        command.add_argument(
            "--config", type=Path, default=config.DEFAULT, help="default: config.toml"
        )
    demo = commands.add_parser("demo", help="run the whole product against simulated vendors")
    demo.add_argument(
        "--port",
        type=int,
        default=8080,
        help="the page's port; the simulated Slack is on the next one",
    )
    demo.add_argument(
        "--alerts",
        choices=("opsgenie", "jsm"),
        default="opsgenie",
        help="whose API tells of the alerts",
    )
    return made


def main(words: list[str] | None = None) -> None:
    """Obeys the words of the command line, and exits."""
    asked = parser().parse_args(words)
    systemd.log_to(sys.stderr, os.environ)
    commands = {
        "serve": serve,
        "check": check,
        "demo": demo,
        "slack-manifest": slack_manifest,
        "incident": shell.run,
        "backup": backup,
    }
    try:
        sys.exit(commands[asked.command](asked))
    except config.ConfigError as error:
        sys.exit(ended(error.exit_code, *error.problems))
    except Exception:
        logging.exception("monostat ended by a fault of its own: please report it")
        sys.exit(BUG)


def ended(code: int, *why: str) -> int:
    """Says why a command ends, and hands the exit code over."""
    say("<3>", *why)
    return code


def say(priority: str, *lines: str) -> None:
    """Plain words to a person, and to the journal how bad they are."""
    tell(
        *(systemd.in_journal(sys.stderr, os.environ) * priority + line for line in lines),
        to=sys.stderr,
    )


def demo(asked: argparse.Namespace) -> int:
    from monostat.demo.run import run_demo

    return _run(lambda stop: run_demo(asked.port, alerts=asked.alerts, stop=stop))


def serve(asked: argparse.Namespace) -> int:
    settings = _settings(asked.config)
    from monostat.app import serve as run_daemon

    invocation, runs_on = (
        os.environ.get("INVOCATION_ID", "none"),
        f"Python {platform.python_version()}",
    )
    logging.info(
        "monostat %s starts with %s on %s, invocation %s",
        __version__,
        asked.config,
        runs_on,
        invocation,
    )
    for section in ("opsgenie", "slack", "rapidmail"):
        if getattr(settings, section) is None:
            logging.info("no [%s] section: running without it", section)
    return _run(lambda stop: run_daemon(settings, stop=stop))


def check(asked: argparse.Namespace) -> int:
    settings = _settings(asked.config)
    tell(f"{asked.config}: the configuration is complete")
    if not asked.online:
        return 0
    from monostat.ops.online import look

    found = asyncio.run(look(settings))
    for section, text, code in found:
        tell(f"{asked.config}: {section}: {text}", to=sys.stderr if code else sys.stdout)
    return max((code for _, _, code in found), default=0)


def _settings(path: Path) -> config.Config:
    settings = config.load(path, os.environ)
    for warning in config.warnings(settings):
        say("<4>", f"{path}: {warning}")
    return settings


def slack_manifest(asked: argparse.Namespace) -> int:
    """Prints it with the command of the settings, where there are any."""
    tables = config.read_any(asked.config, os.environ).tables
    manifest = (RESOURCES / "templates" / "slack-manifest.json").read_text("utf-8")
    print(
        manifest.replace("/statuspage", tables.get("slack", {}).get("command", "/statuspage")),
        end="",
    )
    return 0


def backup(asked: argparse.Namespace) -> int:
    """Copies the database of the settings, or the one of a daemon that systemd started."""
    from monostat import store

    paths = config.databases(config.read_any(asked.config, os.environ), os.environ)
    try:
        path = next((path for path in paths if path.is_file()), paths[0])
        target = asked.dest / path.name if asked.dest.is_dir() else asked.dest
        if path.is_file():  # else `copy` tells
            with path.open("rb") as file:
                store.look_beside(path, file.fileno())
        store.copy(path, target)
    except PermissionError as error:
        tell(
            f"monostat: {error.filename}: this user may not look at it: do this as root",
            to=sys.stderr,
        )
        return NO_PERMISSION
    except store.Unusable as error:
        tell(f"monostat: {error}", to=sys.stderr)
        return error.exit_code
    tell(f"{target}: a copy of {path}")
    return 0


def fast_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _run(job: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Runs until SIGTERM or SIGINT, and turns what stopped the start into a sentence and an exit
    code.
    """
    from monostat.store import Unusable

    async def until_told() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def told() -> None:
            if stop.is_set():
                os._exit(1)  # told twice: at once
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told)
        await job(stop)

    try:
        with asyncio.Runner(loop_factory=fast_loop) as runner:
            runner.run(until_told())
    except Unusable as error:
        return ended(error.exit_code, f"monostat: {error}")
    except OSError as error:
        remedy = "check server.listen, server.metrics_listen and server.control_socket (of the demo: --port)"
        remedy += ", and the rights of their folders; ports under 1024 need root"
        code = NO_PERMISSION if error.errno in (errno.EACCES, errno.EPERM) else UNAVAILABLE
        return ended(code, f"monostat: {error.strerror or error}: {remedy}")
    except sqlite3.Error as error:
        return ended(BUG, f"monostat: the database failed: {error}")
    return 0
