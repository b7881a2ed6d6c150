"""What stands in documents of elsewhere, read field by field: nothing in them is certain."""

import html
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo

from monostat.core.events import Record
from monostat.core.incidents import BELIEVABLE, LONGEST_TITLE
from monostat.core.lenient import Json
from monostat.core.markdown import MAX_TEXT_LENGTH, cut
from monostat.core.text import one_line, sound
from monostat.history.bodies import LONGEST_READ, markdown_of

Plan = tuple[datetime | None, datetime | None]
E = TypeVar("E", bound=StrEnum)
ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]\w{1,31});", re.IGNORECASE)
ID = re.compile("[A-Za-z0-9_-]{1,64}")
NAMED = 60  # characters of a title in a line about it


class Unreadable(Exception):
    """Something cannot be taken; the sentence says what is wrong and what to do."""


@dataclass
class Reading:
    """What a document holds: records, and a line for each thing that was left out or changed.

    `read_at` is when: what is later is no history. `hints` are about all of it.
    """

    read_at: datetime
    records: list[Record] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


@dataclass
class Item:
    """One incident of a document, with what has to be said of it.

    `zone` is of times that have none. `ours` is what another monostat wrote of it: its words are
    Markdown, and stay as they are.
    """

    fields: Json
    name: str
    read_at: datetime
    zone: tzinfo = UTC
    ours: Json = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def time(self, key: str, fields: Json | None = None) -> datetime | None:
        """The instant of a field, in UTC; None where there is none, said where it is no instant."""
        if fields is None:
            fields = self.fields
        value = fields.get(key)
        if value is None or value == "":
            return None
        at = instant_of(value, self.zone)
        if at is None or abs(at - self.read_at) > BELIEVABLE:
            self.say(f"{key} {str(value)[:40]!r} is not a time, and is left out")
            return None
        return at

    def span(self, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
        """From when to when it was; raises Unreadable where that cannot be known, or be past."""
        if start is None or end is None:
            raise Unreadable("it has no readable time: add when it began and ended")
        if end > self.read_at:
            raise Unreadable("its end is in the future: import it once it is over")
        if start > end:
            self.say("it ends before it starts, so its end is used for both")
        return min(start, end), end

    def plan(self, start_key: str, end_key: str, fields: Json) -> Plan:
        """From when to when it was planned; no end where that is not after the start."""
        start = self.time(start_key, fields)
        end = self.time(end_key, fields)
        if start and end and end <= start:
            self.say("its planned end is not after its planned start, and is left out")
            end = None
        if start is None:
            end = None
        return start, end

    def say(self, sentence: str) -> None:
        """Notes that something is not as it was."""
        line = f"{self.name}: {sentence}."
        if line not in self.changed:
            self.changed.append(line)

    def title(self, value: object, instead: str) -> str:
        """A title of one line, cut where it is too long."""
        text = words(value)
        if not self.ours:
            text = ENTITY.sub(lambda found: html.unescape(found[0]), text)
        text = one_line(text)
        if len(text) > LONGEST_TITLE:
            self.say(f"the title is shortened to {LONGEST_TITLE} characters")
            text = f"{text[: LONGEST_TITLE - 1].rstrip()}…"
        return text or instead

    def body(self, value: object, what: str) -> str:
        """A text as Markdown, cut where it is too long."""
        text = words(value)
        length = 0
        if not self.ours:
            if len(text) > LONGEST_READ:
                length = len(text)
            text = markdown_of(text)
        length = length or len(text)
        if length <= MAX_TEXT_LENGTH:
            return text
        text = f"{text[: MAX_TEXT_LENGTH - 1]}…"
        self.say(f"{what} has {length:,} characters, and is shortened to {len(text):,}")
        return text


def words(value: object) -> str:
    """The text of a field, without what cannot be shown; empty where it is none."""
    if not isinstance(value, str):
        return ""
    return sound(value)


def instant_of(value: object, zone: tzinfo) -> datetime | None:
    """An instant in UTC of ISO 8601; of this zone where it names none."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value.strip())
        if at.tzinfo is None:
            at = at.replace(tzinfo=zone)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def zone_of(name: object) -> tzinfo:
    """A zone by its name; UTC where there is none of that name."""
    try:
        return ZoneInfo(words(name) or "UTC")
    except (KeyError, ValueError, OSError):
        return UTC


def member_of(kind: type[E], value: object) -> E | None:
    """The member of this value; None where there is none."""
    with suppress(ValueError):
        return kind(words(value))
    return None


def id_of(value: object) -> str:
    """An id as it can stand in an address; empty where it is none."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    found = ID.fullmatch(str(value))
    if found:
        return str(found[0])
    return ""


def name_of(title: str, number: str) -> str:
    """An incident in a line about it."""
    name = f"“{cut(title, NAMED)}”"
    if number:
        name += f" ({number})"
    return name
