"""`monostat incident`: what a shell says to the daemon, through its control socket."""

import argparse
import contextlib
import errno
import getpass
import http.client
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from monostat import config
from monostat.core.text import legible, timed
from monostat.core.verbs import VERBS, Verb

#: The commands by their names, each a verb of the table.
COMMANDS: Mapping[str, Verb] = {verb.name.replace("_", "-"): verb for verb in VERBS if verb.does}


def time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            "write a time like 2026-11-26T09:00, of the site's zone"
        ) from None


MORE: dict[str, dict[str, Any]] = {
    "number": {"type": int, "help": "of the incident"},
    "text": {"help": "the public words"},
    "text?": {"nargs": "?", "help": "the public words; a ready sentence without them"},
    "--mail": {"action": "store_true", "default": None, "help": "mail subscribers about this"},
    "--no-mail": {
        "action": "store_false",
        "dest": "mail",
        "default": None,
        "help": "mail nobody about this",
    },
    "--ask": {"action": "store_true", "help": "wait for a human at its start and end"},
    "--summary": {"help": "what readers should know, Markdown"},
    "--severity": {"choices": ("maintenance", "notice", "bug", "partial", "outage")},
    "--silent": {"choices": ("yes", "no"), "help": "never mail subscribers"},
    "--start": {
        "metavar": "TIME",
        "type": time,
        "help": "like 2026-11-26T09:00, of the site's zone",
    },
    "--end": {"metavar": "TIME", "type": time, "help": "like 2026-11-26T10:00, of the site's zone"},
}
EDITABLE = ("title", "severity", "start", "end", "summary", "silent")


class NoDaemon(Exception):
    """Nobody listens at any control socket."""


def add_commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Adds a command for each row of the table, and `list` and `show`."""
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=type(parser))
    listing = verbs.add_parser("list", help="what is open and planned")
    showing = verbs.add_parser("show", help="one incident with its updates")
    listing.add_argument("--all", action="store_true", help="also what is over")
    showing.add_argument("number", type=int)
    for command in (listing, showing):
        command.add_argument("--json", action="store_true")
    for name, verb in COMMANDS.items():
        command = verbs.add_parser(name, help=verb.does, description=verb.does)
        for word in verb.takes.split():
            argument = word.rstrip("!?")
            must = {"required": True} if word.endswith("!") else {}
            command.add_argument(argument, **(MORE.get(word) or MORE.get(argument) or {}) | must)
    return [*verbs.choices.values()]


def tell(*lines: str, to: TextIO | None = None) -> None:
    """Prints each as one line that cannot steer a terminal, whoever has chosen its words."""
    print("\n".join(map(legible, lines)), file=to)


def run(asked: argparse.Namespace) -> int:
    """Says it, and prints what there is then; a refusal exits 1 with its sentence, no daemon 69."""
    number = getattr(asked, "number", 0)
    given = config.read_any(asked.config, os.environ)
    paths = config.control_sockets(given, os.environ)
    zone = config.zone_of(given, asked.config)
    try:
        if asked.verb in COMMANDS:
            answer = ask(paths, "POST", "/act", **act_of(asked, zone))
            if answer["refused"]:
                tell(timed(answer["refused"], lambda at: local(at, zone)), to=sys.stderr)
                return 1
            number = answer["number"]
            print(f"{COMMANDS[asked.verb].done}:", end=" ")
        found = ask(paths, "GET", "/incidents")
    except NoDaemon as error:
        tell(f"monostat: {error}", to=sys.stderr)
        return 69
    return show(asked, number, found, zone)


def act_of(asked: argparse.Namespace, zone: ZoneInfo) -> dict[str, Any]:
    """The act as JSON; a time without an offset is one of the site's zone."""
    said = {key: value for key, value in vars(asked).items() if value is not None}
    for key in ("start", "end"):
        if key in said:
            said[key] = (
                said[key] if said[key].tzinfo else said[key].replace(tzinfo=zone)
            ).isoformat()
    if "silent" in said:
        said["silent"] = said["silent"] == "yes"
    names = ("title", "text", "summary", "start", "end", "severity", "ask", "mail")
    act: dict[str, Any] = {key: said[key] for key in names if key in said}
    if asked.verb == "edit":
        act = {"mail": asked.mail, "changes": {key: said[key] for key in EDITABLE if key in said}}
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    return act | {
        "verb": asked.verb.replace("-", "_"),
        "incident": said.get("number", 0),
        "by": f"{user} (shell)",
    }


def show(
    asked: argparse.Namespace, number: int, found: list[dict[str, Any]], zone: ZoneInfo
) -> int:
    if asked.verb == "list":
        found = [
            i
            for i in found
            if asked.all or i["state"] in ("planned", "suspected", "confirmed", "watching")
        ]
        if asked.json:
            print(json.dumps(found, indent=2))
        else:
            tell(*([line(i, zone) for i in found] or ["Nothing is open or planned."]))
        return 0
    incident = next((i for i in found if i["id"] == str(number)), None)
    if incident is None and asked.verb == "show":
        tell(f"There is no incident #{number}.", to=sys.stderr)
        return 1
    if incident is None:
        tell(f"#{number} is gone: its page is withdrawn, and its number stays unused.")
    elif asked.verb == "show" and asked.json:
        print(json.dumps(incident, indent=2))
    else:
        tell(line(incident, zone), *(story(incident, zone) if asked.verb == "show" else []))
    return 0


def story(incident: dict[str, Any], zone: ZoneInfo) -> list[str]:
    """All that is known of it beyond its line; further lines of a text are indented."""
    known = [
        incident["url"],
        *filter(None, [incident["summary"], incident["silent"] and "Silent: no mails."]),
    ]
    known += [
        f"Mail {m['state']}, due {when(m['due'], zone)}" + f": {m['error']}" * bool(m["error"])
        for m in incident["mails"]
    ]
    known += [f"{when(u['at'], zone)}  {u['state']}: {u['text']}" for u in incident["updates"]]
    return [line for text in known for line in text.replace("\n", "\n    ").split("\n")]


def line(incident: dict[str, Any], zone: ZoneInfo) -> str:
    plan = incident["planned_start"] and incident["state"] in ("planned", "dismissed")
    times = ("planned_start", "planned_end") if plan else ("started_at", "ended_at")
    start, end = (incident[name] and when(incident[name], zone) for name in times)
    return f"#{incident['id']}  {incident['words']}  ({f'{start} to {end}' if end else f'since {start}'})"


def when(at: str, zone: ZoneInfo) -> str:
    return local(datetime.fromisoformat(at), zone)


def local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket: all that a shell needs, at a fraction of the time that aiohttp takes
    to be imported.
    """

    def __init__(self, path: Path) -> None:
        super().__init__("monostat")
        self._path = path

    def connect(self) -> None:
        """Raises PermissionError where it is none of ours who listens."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))
        known = {0, os.geteuid()}
        if (
            self._path.is_absolute()
        ):  # the settings or the system name it: its folder is the service's user's
            known.add(self._path.parent.stat().st_uid)
        # unix(7): the process, user and group of whoever called listen(2).
        found = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, user, _ = struct.unpack("3i", found)
        if user not in known:
            raise PermissionError(errno.EPERM, f"user {user} listens there")


def ask(paths: list[Path], method: str, address: str, **body: Any) -> Any:
    """The answer of the daemon at the first of these sockets where one listens; raises NoDaemon
    without any.
    """
    problems = []
    for path in paths:
        try:
            with contextlib.closing(Unix(path)) as there:
                there.request(
                    method, address, json.dumps(body), {"Content-Type": "application/json"}
                )
                return json.load(there.getresponse())
        except (http.client.HTTPException, OSError) as error:
            problems.append(f"{path} ({getattr(error, 'strerror', None) or type(error).__name__})")
    raise NoDaemon(
        f"no daemon answers at {' or '.join(problems)}: is `monostat serve` running, and are you root, or its user?"
    )
