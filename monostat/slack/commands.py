"""Which words are a command, and which are for readers: PRODUCT.md section 4.

A command is never published. It stands alone, before a colon, or before the number of an incident.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from monostat.core.verbs import VERBS
from monostat.slack.messages import LABELS
from monostat.slack.said import Said, visible, without_beginning

#: The status words, which want a colon, or stand alone; and what they ask for.
STATUS_WORDS = {
    "confirmed": "confirm",
    "watching": "watch",
    "resolved": "resolve",
    "outage": "outage",
    "partial": "partial",
    "title": "title",
}
#: What is no verb of an incident.
OTHERS = {
    "help": "help",
    "?": "help",
    "list": "list",
    "status": "list",
    "show": "show",
    "new": "create",
    "maintenance": "plan",
}


def _named(words: str) -> str:
    return re.sub(r"[\s_-]+", " ", words.lower().rstrip("…?"))


#: What each command asks for: a name of the table of verbs, or one of those above.
COMMANDS: Mapping[str, str] = {
    **{_named(label): {"new": "create"}.get(name, name) for name, label in LABELS.items()},
    "completed": "resolve",
    **{_named(verb.name): verb.name for verb in VERBS if verb.takes},
    **{_named(name): verb for name, verb in STATUS_WORDS.items()},
    **OTHERS,
}
#: What begins with these was meant for a program.
NO_WORDS = ("--", "—", "/statuspage")
#: With a number these are words: "partial 1 of 3".
_UNNUMBERED = {"outage", "partial", "title", "confirmed", "resolved", "completed", "?"}
_NUMBERED = [name for name in COMMANDS if name not in _UNNUMBERED]


def _any_of(names: list[str]) -> str:
    longest_first = sorted(names, key=len, reverse=True)
    return "|".join(re.escape(name).replace(r"\ ", r"[\s_-]+") for name in longest_first)


COMMAND = re.compile(
    rf"\s*(?:(?P<numbered>{_any_of(_NUMBERED)})(?:…|\.{{3}})?\s++(?:\#\s*+(?P<hash>\d{{1,9}})"
    rf"|(?P<number>\d{{1,9}})(?![\w.,:%-]*\w))[\s:,;]*+"
    rf"|(?P<name>{_any_of(list(COMMANDS))})(?:…|\.{{3}})?\s*+(?::\s*+|[.!?]*+\s*+$))",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\s*#?\s*(\d{1,9})\s*")


class Command(NamedTuple):
    """What is to be done: `name` is a verb's, a severity's or one of OTHERS; empty, words alone.

    `number` is the incident's, where one is named; `rest` are the words for it.
    """

    name: str
    number: int | None
    rest: Said


def parse_command(said: Said) -> Command:
    """What somebody's words ask for."""
    words = visible(said)
    if words.startswith(NO_WORDS):
        return Command("help", None, ())
    if number := NUMBER.fullmatch(words):
        return Command("show", int(number[1]), ())
    found = COMMAND.match(words)
    if found is None:
        return Command("", None, said)
    rest = without_beginning(said, found[0])
    name = COMMANDS[_named(found["numbered"] or found["name"]) or "?"]
    digits = found["hash"] or found["number"]
    if digits:
        return Command(name, int(digits), rest)
    return Command(name, None, rest)
