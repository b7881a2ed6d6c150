"""The command line: its commands and exit codes."""

import argparse
import asyncio
import errno
import logging
import os
import platform
import re
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from monostat import RESOURCES, __version__, config, loading
from monostat.cautions import cautions
from monostat.core.text import legible
from monostat.ops import daemon, shell, systemd, unit
from monostat.ops.shell import tell

BUSY = (
    "check server.listen, server.metrics_listen and server.control_socket (of the demo: --port),"
    " and the permissions of their folders; ports under 1024 need root"
)
#: Runs a command; hands its exit code over.
Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Wrong usage exits 64, as sysexits.h has it."""

    def error(self, message: str) -> NoReturn:
        """Says how the command is used, and what is wrong."""
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: {legible(message)}\n")


#: Adds a command by its name, what runs it, and what it is for.
Add = Callable[[str, Command, str], Parser]


def parser() -> Parser:
    """All commands, each with what runs it; those that read the settings take --config."""
    root = Parser(
        prog="monostat", description="A status page for teams that run one monolithic application."
    )
    root.add_argument("--version", action="version", version=f"monostat {__version__}")
    commands = root.add_subparsers(dest="command", required=True, parser_class=Parser)

    def add(name: str, run: Command, purpose: str) -> Parser:
        added = commands.add_parser(name, help=purpose)
        added.set_defaults(run=run)
        return added

    add("serve", serve, "run the daemon")
    checking = add("check", check, "check the configuration")
    checking.add_argument(
        "--online", action="store_true", help="ask each vendor, too; nothing is changed there"
    )
    add("slack-manifest", slack_manifest, "print the manifest to create the Slack app from")
    _add_copies(add)
    with_settings: list[argparse.ArgumentParser] = [*commands.choices.values()]
    incident = add("incident", shell.run, "act without Slack, through the daemon")
    for command in with_settings + shell.add_commands(incident):
        command.add_argument(
            "--config", type=Path, default=config.DEFAULT, help="default: config.toml"
        )
    _add_demo(add)
    return root


def _add_copies(add: Add) -> None:
    copying = add(
        "backup", backup, "write a consistent copy of the database, while the daemon runs or not"
    )
    copying.add_argument(
        "dest", type=Path, metavar="DEST", help="the file to write, or a folder for it"
    )
    importing = add(
        "import", import_history, "import history from Statuspage or the Django status page"
    )
    importing.add_argument(
        "sources",
        nargs="+",
        metavar="FILE|URL",
        help="files of its API or of `manage.py dumpdata`, or the address of a page",
    )
    importing.add_argument("--dry-run", action="store_true", help="only say what would be imported")
    exporting = add("export", export, "write all history in Statuspage's format")
    exporting.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="printed if this is left out"
    )


def _add_demo(add: Add) -> None:
    command = add("demo", demo, "run the whole product with simulated vendors")
    command.add_argument(
        "--port",
        type=port,
        default=8080,
        help="the page's port; the simulated Slack is on the next one",
    )
    command.add_argument(
        "--alerts", choices=("opsgenie", "jsm"), default="opsgenie", help="whose API has the alerts"
    )


def port(text: str) -> int:
    """A port with a next one; raises ArgumentTypeError."""
    with suppress(ValueError):
        number = int(text)
        if 0 < number < 65535:
            return number
    raise argparse.ArgumentTypeError("write a port from 1 to 65534")


def main(words: list[str] | None = None) -> None:
    """Obeys the words of the command line, and exits."""
    arguments = parser().parse_args(words)
    systemd.log_to(sys.stderr, os.environ)
    try:
        sys.exit(arguments.run(arguments))
    except config.ConfigError as error:
        sys.exit(fail(error.exit_code, *error.problems))
    except Exception:
        logging.exception("monostat crashed: please report it")
        sys.exit(os.EX_SOFTWARE)


def fail(code: int, *why: str) -> int:
    """Says why a command ends, and hands the exit code over."""
    say("<3>", *why)
    return code


def say(priority: str, *lines: str) -> None:
    """Plain words to a person, and to the journal how bad they are."""
    prefix = priority if systemd.in_journal(sys.stderr, os.environ) else ""
    if lines:
        tell(*(f"{prefix}{line}" for line in lines), to=sys.stderr)


def demo(arguments: argparse.Namespace) -> int:
    """Runs the demo until it is told to stop."""
    from monostat.demo.run import run_demo

    return _run(lambda stop: run_demo(arguments.port, alerts=arguments.alerts, stop=stop))


def serve(arguments: argparse.Namespace) -> int:
    """Runs the daemon until it is told to stop."""
    settings = _valid(loading.read(arguments.config, os.environ))
    systemd.set_level(settings.server.log_level, os.environ)
    # Of a user of systemd's or a container's nobody may know a home; slack_bolt asks for it.
    os.environ.setdefault("HOME", "/")
    from monostat.app import serve as run_daemon

    logging.info(
        "monostat %s starts with %s on %s, invocation %s",
        __version__,
        arguments.config,
        f"Python {platform.python_version()}",
        os.environ.get("INVOCATION_ID", "none"),
    )
    for section in ("opsgenie", "slack", "rapidmail"):
        if getattr(settings, section) is None:
            logging.info("no [%s] section: running without it", section)
    return _run(lambda stop: run_daemon(settings, stop=stop))


def check(arguments: argparse.Namespace) -> int:
    """Checks the settings, and with --online the vendors; the worst exit code counts.

    Of a unit's configuration root is told what the service would see.
    """
    is_root = os.geteuid() == 0
    name = loading.unit_of(arguments.config)
    if is_root and name:
        os.environ.setdefault("CREDENTIALS_DIRECTORY", str(loading.CREDSTORE))
    settings = loading.read(arguments.config, os.environ)
    unseen = loading.assume_unseen(settings, is_root=is_root)
    say("<5>", *unseen)
    valid = _valid(settings)
    if is_root:
        say("<4>", *unit.unwritable_database(arguments.config, valid))
        hidden = [*unit.hidden_files(arguments.config, valid)]
        if name:
            hidden += unit.unowned_files(daemon.database_of(settings), Path("/var/lib", name))
        if hidden:
            raise config.ConfigError(hidden, os.EX_NOPERM)
    tell(f"{arguments.config}: the configuration is complete")
    if not arguments.online:
        return 0
    if unseen:
        return fail(os.EX_NOPERM, "--online needs the secrets that were not checked")
    from monostat.ops.online import look

    findings = asyncio.run(look(valid))
    for finding in findings:
        stream = sys.stderr if finding.code else sys.stdout
        tell(f"{arguments.config}: {finding.section}: {finding.text}", to=stream)
    return max((finding.code for finding in findings), default=0)


def _valid(settings: loading.Settings) -> config.Config:
    """What was read, after a line for each note and warning; raises ConfigError."""
    valid = loading.validate(settings)
    say("<6>", *settings.notes)
    say("<4>", *loading.exposed_secrets(settings))
    say("<4>", *(f"{settings.path}: {warning}" for warning in cautions(valid)))
    return valid


def slack_manifest(arguments: argparse.Namespace) -> int:
    """Prints it with the command of the settings, where there are any; raises ConfigError."""
    settings = daemon.read_leniently(arguments.config, os.environ)
    command = settings.tables.get("slack", {}).get("command", "/statuspage")
    if not isinstance(command, str) or not re.fullmatch("/[a-z0-9_-]{1,31}", command):
        raise config.ConfigError([f"{settings.path}: slack.command: write it like /statuspage"])
    manifest = (RESOURCES / "templates" / "slack-manifest.json").read_text("utf-8")
    print(manifest.replace("/statuspage", command), end="")
    return 0


def backup(arguments: argparse.Namespace) -> int:
    """Copies the database of the settings, or the one of a daemon that systemd started."""
    from monostat import database

    settings = daemon.read_leniently(arguments.config, os.environ)
    path = daemon.database_of(settings)
    try:
        target = arguments.dest
        if target.is_dir():
            target /= path.name
        if path.is_file():  # else `copy` tells
            with path.open("rb") as file:
                database.refuse_foreign_logs(path, file.fileno())
        database.copy(path, target)
    except PermissionError as error:
        remedy = "this user may not read it: run this as root"
        tell(f"monostat: {error.filename}: {remedy}", to=sys.stderr)
        return os.EX_NOPERM
    except database.Unusable as error:
        tell(f"monostat: {error}", to=sys.stderr)
        return error.exit_code
    tell(f"{target}: a copy of {path}")
    return 0


def import_history(arguments: argparse.Namespace) -> int:
    """Imports history from elsewhere."""
    from monostat.ops import history

    return history.import_history(arguments)


def export(arguments: argparse.Namespace) -> int:
    """Exports ours."""
    from monostat.ops import history

    return history.export(arguments)


def fast_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _run(job: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Runs until SIGTERM or SIGINT; a failed start becomes a sentence and an exit code."""
    from monostat.database import Unusable

    try:
        with asyncio.Runner(loop_factory=fast_loop) as runner:
            runner.run(_until_signalled(job))
    except Unusable as error:
        return fail(error.exit_code, f"monostat: {error}")
    except OSError as error:
        code = os.EX_UNAVAILABLE
        if error.errno in (errno.EACCES, errno.EPERM):
            code = os.EX_NOPERM
        return fail(code, f"monostat: {error.strerror or error}: {BUSY}")
    except sqlite3.Error as error:
        return fail(os.EX_SOFTWARE, f"monostat: the database failed: {error}")
    return 0


async def _until_signalled(job: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs the job, which ends soon after its event is set; a second signal ends it at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await job(stop)
