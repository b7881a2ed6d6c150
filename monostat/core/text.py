"""Words from outside made safe to keep and to show, and instants in the sentences for staff."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

#: What moves a terminal's cursor, ends a line, turns text around, or is half a character.
STEERING = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
BREAK = re.compile("\r\n|[\r\x85\u2028\u2029]")  # ends a line, as "\n" does
#: Control characters, and what turns the order of the words after it around: nobody sees them, and
#: they change what is seen. Marks that only join letters or tell their direction are words.
UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")


def sound(text: str) -> str:
    """Words from outside as every file, vendor and screen can hold them, with line breaks of one
    kind.

    Half a character becomes a question mark, what nobody sees goes.
    """
    whole = text.encode("utf-8", "replace").decode()
    if whole.isprintable():
        return whole
    whole = BREAK.sub("\n", whole)
    return UNSEEN.sub("", whole)


def all_sound(value: Any) -> Any:
    """A value with sound words in place of its own, however deep they lie."""
    if isinstance(value, Mapping):
        return {key: all_sound(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        sounds = {}
        for field in fields(value):
            sounds[field.name] = all_sound(getattr(value, field.name))
        return replace(value, **sounds)
    if type(value) is tuple:
        return tuple(map(all_sound, value))
    if type(value) is str:
        return sound(value)
    return value


def one_line(text: str) -> str:
    """Words from outside as one line that nobody can take for two."""
    words = sound(text).split()
    return " ".join(words)


def legible(text: str) -> str:
    """Words for a log or a terminal, as one line: what would steer it is shown as an escape, such
    as \\x1b.
    """

    def escaped(found: re.Match[str]) -> str:
        escape = found[0].encode("unicode_escape")
        return escape.decode()

    return STEERING.sub(escaped, text)


def exact(at: datetime) -> str:
    """An instant in a sentence for staff; whoever shows it does so in the reader's or the site's
    zone.
    """
    utc = at.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%SZ}"


def show_times(text: str, show: Callable[[datetime], str]) -> str:
    """A sentence for staff with every instant shown in this way.

    What only looks like one, or lies outside the years that its zone can show, was somebody's word
    and stays.
    """

    def shown(found: re.Match[str]) -> str:
        try:
            at = datetime.fromisoformat(found[0])
            return show(at)
        except (ValueError, OverflowError):
            return found[0]

    return INSTANT.sub(shown, text)


def in_words(at: datetime, zone: tzinfo) -> str:
    """A time as staff read it, with its zone; readers have `core/times.py`."""
    local = at.astimezone(zone)
    return f"{local.day} {local:%B %Y, %H:%M %Z}"
