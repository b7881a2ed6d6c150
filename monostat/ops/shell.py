"""`monostat incident`: what a shell says to the daemon, through its control socket."""

import dataclasses
import getpass
import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from monostat.core.events import Changes
from monostat.core.model import OPEN, PLANNED, Severity
from monostat.core.text import legible, show_times
from monostat.core.verbs import VERBS, Verb
from monostat.ops import daemon
from monostat.ops.control_client import NoDaemon, ask

#: Of an incident, an act or an option, as JSON has them.
Fields = dict[str, Any]
#: The commands by their names, each a verb of the table.
COMMANDS: Mapping[str, Verb] = {verb.name.replace("_", "-"): verb for verb in VERBS if verb.does}


def time(text: str) -> datetime:
    """A time as it is typed, with an offset or without; raises ArgumentTypeError."""
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        if 1 < at.year < 9999:  # which every zone has
            return at
    raise ArgumentTypeError("write a time like 2026-11-26T09:00, in the site's zone")


TIME: Fields = {
    "metavar": "TIME",
    "type": time,
    "help": "like 2026-11-26T09:00, in the site's zone",
}
#: What argparse is told of each word of a verb's `takes`.
ARGUMENTS: dict[str, Fields] = {
    "number": {"type": int, "help": "of the incident"},
    "text": {"help": "the public words"},
    "text?": {"nargs": "?", "help": "the public words; if left out, a ready-made sentence"},
    "--mail": {"action": "store_true", "default": None, "help": "mail subscribers about this"},
    "--no-mail": {
        "action": "store_false",
        "dest": "mail",
        "default": None,
        "help": "mail nobody about this",
    },
    "--ask": {
        "action": "store_true",
        "help": "ask in Slack at its start and end, and wait for an answer",
    },
    "--summary": {"help": "what readers should know, Markdown"},
    "--severity": {"choices": tuple(Severity)},
    "--silent": {"choices": ("yes", "no"), "help": "never mail subscribers"},
    "--start": TIME,
    "--end": TIME,
}
SENT = ("title", "text", "summary", "start", "end", "severity", "ask", "mail")
EDITABLE = tuple(field.name for field in dataclasses.fields(Changes))


def add_commands(parser: ArgumentParser) -> list[ArgumentParser]:
    """Adds a command for each row of the table, and `list` and `show`."""
    commands = parser.add_subparsers(dest="verb", required=True, parser_class=type(parser))
    listing = commands.add_parser("list", help="what is open and planned")
    showing = commands.add_parser("show", help="one incident with its updates")
    listing.add_argument("--all", action="store_true", help="include what is over")
    showing.add_argument("number", type=int)
    for command in (listing, showing):
        command.add_argument("--json", action="store_true")
    for name, verb in COMMANDS.items():
        command = commands.add_parser(name, help=verb.does, description=verb.does)
        for word in verb.takes:
            add_argument(command, word)
    return list(commands.choices.values())


def add_argument(command: ArgumentParser, word: str) -> None:
    """Adds what a verb takes; its word ends in "?" if it may be left out, in "!" if it must be."""
    name = word.rstrip("!?")
    options = dict(ARGUMENTS.get(word) or ARGUMENTS.get(name) or {})
    if word.endswith("!"):
        options["required"] = True
    command.add_argument(name, **options)


def tell(*lines: str, to: TextIO | None = None) -> None:
    """Prints each as one line that cannot steer a terminal, whoever has chosen its words."""
    print("\n".join(map(legible, lines)), file=to)


def run(arguments: Namespace) -> int:
    """Says it, and prints what there is then; a refusal exits 1 with its sentence, no daemon 69."""
    settings = daemon.read_leniently(arguments.config, os.environ)
    paths = daemon.control_sockets(settings)
    zone = daemon.zone_of(settings)
    printer = Printer(zone)
    number = getattr(arguments, "number", 0)
    verb = COMMANDS.get(arguments.verb)
    try:
        if verb:
            answer = ask(paths, "POST", "/act", act_of(arguments, zone))
            if answer["refused"]:
                refusal = show_times(answer["refused"], printer.local)
                tell(refusal, to=sys.stderr)
                return 1
            number = answer["number"]
            print(f"{verb.done}:", end=" ")
        address = f"/incidents/{number}"
        if arguments.verb == "list":
            address = "/incidents?all=yes" if arguments.all else "/incidents"
        incidents = ask(paths, "GET", address)
    except NoDaemon as error:
        tell(f"monostat: {error}", to=sys.stderr)
        return os.EX_UNAVAILABLE
    except ValueError as error:
        tell(f"monostat: {error}", to=sys.stderr)
        return os.EX_USAGE
    if arguments.verb == "list":
        printer.show_list(arguments, incidents)
        return 0
    return printer.show_one(arguments, number, incidents)


def act_of(arguments: Namespace, zone: ZoneInfo) -> Fields:
    """The act as JSON; a time without an offset is one of the site's zone."""
    fields = {name: value for name, value in vars(arguments).items() if value is not None}
    for name in ("start", "end"):
        if name in fields:
            fields[name] = with_offset(fields[name], zone).isoformat()
    if "silent" in fields:
        fields["silent"] = fields["silent"] == "yes"
    act = pick(fields, SENT)
    if arguments.verb == "edit":
        act = {"mail": arguments.mail}
        act["changes"] = pick(fields, EDITABLE)
    act["verb"] = arguments.verb.replace("-", "_")
    act["incident"] = fields.get("number", 0)
    act["by"] = user_name()
    return act


def user_name() -> str:
    """Who sits at this shell, as the log and Slack name them."""
    user = os.environ.get("SUDO_USER")
    if not user:
        user = f"uid {os.getuid()}"  # in a container it may have no name
        with suppress(KeyError, OSError):
            user = getpass.getuser()
    return f"{user} (shell)"


def pick(fields: Fields, names: Sequence[str]) -> Fields:
    """Those of these names, as far as they are there."""
    return {name: fields[name] for name in names if name in fields}


def with_offset(at: datetime, zone: ZoneInfo) -> datetime:
    """The time, in the site's zone where it says of none.

    Raises ValueError, with a sentence, for one that the zone's clocks skip.
    """
    if at.tzinfo:
        return at
    local = at.replace(tzinfo=zone)
    shown = local.astimezone(UTC).astimezone(zone)
    if shown.replace(tzinfo=None) != at:
        raise ValueError(
            f"{at:%Y-%m-%dT%H:%M} does not exist in {zone}: clocks go forward over it;"
            f" write {shown:%Y-%m-%dT%H:%M}, or a time with an offset"
        )
    return local


class Printer:
    """Prints incidents, with times in the site's zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    def show_list(self, arguments: Namespace, incidents: list[Fields]) -> None:
        """Prints those that are not over, or all where that is asked for."""
        if not arguments.all:
            incidents = [
                incident for incident in incidents if incident["state"] in (PLANNED, *OPEN)
            ]
        if arguments.json:
            print(json.dumps(incidents, indent=2))
        elif incidents:
            tell(*(self.line_of(incident) for incident in incidents))
        else:
            tell("Nothing is open or planned.")

    def show_one(self, arguments: Namespace, number: int, incidents: list[Fields]) -> int:
        """Prints an incident, all of it where that is asked for, else its line; the exit code."""
        is_show = arguments.verb == "show"
        incident = next((each for each in incidents if each["id"] == str(number)), None)
        if incident is None and is_show:
            tell(f"There is no incident #{number}.", to=sys.stderr)
            return 1
        if incident is None:
            tell(f"#{number} is gone: its page was removed, and its number stays unused.")
        elif is_show and arguments.json:
            print(json.dumps(incident, indent=2))
        elif is_show:
            tell(self.line_of(incident), *self.details_of(incident))
        else:
            tell(self.line_of(incident))
        return 0

    def details_of(self, incident: Fields) -> list[str]:
        """All that is known of it beyond its line; further lines of a text are indented."""
        texts = [incident["url"]]
        if incident["summary"]:
            texts.append(incident["summary"])
        if incident["silent"]:
            texts.append("Silent: no mails.")
        if incident["imported_from"]:
            texts.append(f"Imported from {incident['imported_from']}.")
        texts += [self.mail_line(mail) for mail in incident["mails"]]
        texts += [self.update_line(update) for update in incident["updates"]]
        return "\n".join(text.replace("\n", "\n    ") for text in texts).split("\n")

    def mail_line(self, mail: Fields) -> str:
        """How it stands, and what is wrong with it, if anything is."""
        due = self.when(mail["due"])
        line = f"Mail {mail['state']}, due {due}"
        if mail["error"]:
            line += f": {mail['error']}"
        return line

    def update_line(self, update: Fields) -> str:
        """When it was said, the status from then on, and the words."""
        at = self.when(update["at"])
        return f"{at}  {update['state']}: {update['text']}"

    def line_of(self, incident: Fields) -> str:
        """Its number, its words, and its times: those of a plan as planned."""
        start = incident["started_at"]
        end = incident["ended_at"]
        if incident["planned_start"] and incident["state"] in ("planned", "dismissed"):
            start = incident["planned_start"]
            end = incident["planned_end"]
        start = start and self.when(start)
        times = f"since {start}"
        if end:
            times = f"{start} to {self.when(end)}"
        return f"#{incident['id']}  {incident['words']}  ({times})"

    def when(self, at: str) -> str:
        """A time of the daemon's answer, as people read it."""
        return self.local(datetime.fromisoformat(at))

    def local(self, at: datetime) -> str:
        """A time in the site's zone, as people read it."""
        return f"{at.astimezone(self._zone):%Y-%m-%d %H:%M:%S %Z}"
