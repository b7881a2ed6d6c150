"""Which words are a command, and which are for readers.

A command is never published. It stands alone, before a colon, or before the number of an incident.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from monostat.core.verbs import COMPLETED, VERBS
from monostat.slack.messages import ANNOUNCE, LABELS
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


#: The severities that a suspicion can be confirmed as with a word.
CONFIRMS_AS = ("outage", "partial")
#: What each command asks for: a name of the table of verbs, or one of those above.
COMMANDS: Mapping[str, str] = {
    **{_named(label): {"new": "create"}.get(name, name) for name, label in LABELS.items()},
    _named(COMPLETED): "resolve",
    _named(ANNOUNCE): "send",
    **{_named(f"{LABELS['confirm']}: {severity}"): severity for severity in CONFIRMS_AS},
    **{_named(verb.name): verb.name for verb in VERBS if verb.takes},
    **{_named(name): verb for name, verb in STATUS_WORDS.items()},
    **OTHERS,
}
#: What begins with these, or with the slash command, was meant for a program.
NO_WORDS = ("--", "—", "monostat incident")
#: Before a number and more words these are words, too: "partial 1 of 3".
WORDS_TOO = {"outage", "partial", "title", "confirmed", "resolved", "?"}


def _any_of(names: Iterable[str]) -> str:
    longest_first = sorted(names, key=len, reverse=True)
    return "|".join(re.escape(name).replace(r"\ ", r"[\s_-]+") for name in longest_first)


COMMAND = re.compile(
    rf"""
    \s*
    (?P<name>{_any_of(COMMANDS)})
    (?:…|\.{{3}})?                   # with which the labels of some buttons end
    (?:
        \s*+
        (?: : \s*+                   # a colon, behind which its words begin
          | [.!?]*+ \s*+ $           # or nothing: it stands alone
        )
      | \s++                         # or the number of an incident,
        (?: \# \s*+ (?P<hash>\d{{1,9}})
          | (?P<number>\d{{1,9}})
            (?! [\w.,:%-]* \w)       # which is no part of a time, a version, or an amount
        )
        (?P<after>[\s:,;]*+)         # and what parts it from the words
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: A word alone, with a number, or with a colon behind it: what it says may be a command.
BEGINNING = re.compile(
    r"""
    \s*+ (?P<word>[a-z]++) \s*+
    (?: \#?+ \s*+ \d{1,9}+ \s*+ )?+
    (?: [.!?…]*+ \s*+ $ | : (?!\d) )  # a colon that is none of a time
    """,
    re.IGNORECASE | re.VERBOSE,
)
ALIKE = 0.8  # of difflib's ratio, from which on a word is a command with a typing error
NUMBER = re.compile(r"\s*#?\s*(\d{1,9})\s*")


class Command(NamedTuple):
    """What is to be done: `name` is a verb's, a severity's or one of OTHERS; empty, words alone.

    `number` is the incident's, where one is named; `rest` are the words for it. "misspelt" is one
    that nobody knows, but that looks like a command.
    """

    name: str
    number: int | None
    rest: Said


def parse_command(said: Said, slash: str) -> Command:
    """What somebody's words ask for; `slash` is how the slash command is called."""
    words = visible(said)
    if words.startswith((*NO_WORDS, slash)):
        return Command("help", None, ())
    if number := NUMBER.fullmatch(words):
        return Command("show", int(number[1]), ())
    match = COMMAND.match(words)
    if match is None and _is_misspelt(words):
        return Command("misspelt", None, ())
    if match is None:
        return Command("", None, said)
    rest = without_beginning(said, match[0])
    word = _named(match["name"]) or "?"
    is_number_a_word = match["number"] and word in WORDS_TOO and ":" not in match["after"]
    if is_number_a_word and visible(rest):
        return Command("", None, said)
    command = Command(COMMANDS[word], _number(match), rest)
    if command.name == "confirm":
        return _with_severity(command, slash)
    return command


def _is_misspelt(words: str) -> bool:
    """Whether the words begin with a command that has a typing error."""
    beginning = BEGINNING.match(words)
    if beginning is None:
        return False
    word = beginning["word"].lower()
    alike = get_close_matches(word, COMMANDS, n=1, cutoff=ALIKE)
    return bool(alike) and word not in alike


def _number(match: re.Match[str]) -> int | None:
    digits = match["hash"] or match["number"]
    if digits is None:
        return None
    return int(digits)


def _with_severity(confirm: Command, slash: str) -> Command:
    """The command for a severity where one follows, as on the buttons: "It is real: outage"."""
    inner = parse_command(confirm.rest, slash)
    if inner.name not in CONFIRMS_AS:
        return confirm
    number = inner.number if confirm.number is None else confirm.number
    return inner._replace(number=number)
