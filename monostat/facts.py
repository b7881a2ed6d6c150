"""How facts are stored: as JSON documents, so that a new field needs a default and no migration."""

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter
from pydantic_core import to_json

from monostat.core.model import Alert, Birth, Fact, Incident, Mail, Monitoring, Subject
from monostat.core.posted import Posted
from monostat.core.text import UNSEEN, all_sound

T = TypeVar("T")


class Version(Fact):
    """The newest public version: its number, time and subject, and a digest of what is public."""

    number: int = 0
    at: datetime
    changed: Subject | None = None
    digest: str = ""


class Meta(Fact):
    """What is kept once: all of the state that is not an incident, alert, mail or log entry."""

    key: int = 0
    epoch: str
    copied: bool = False  # this file is a copy, which nobody has been started on yet
    birth: Birth = Birth()
    version: Version
    monitoring: Monitoring
    incidents_made: int = 0
    newest_own: tuple[int, ...] | None = None  # None where an older version wrote it
    updates_made: int = 0
    revision: int = 0


class Kind(NamedTuple):
    """How a class is stored: the `name` of its kind, and the field that is the key within it."""

    name: str
    key: str = "key"


#: Kinds are what databases hold: a class may be renamed, its kind never.
KINDS: dict[type, Kind] = {
    Meta: Kind("Memory"),
    Posted: Kind("Posted"),
    Incident: Kind("Incident", "number"),
    Alert: Kind("Alert", "id"),
    Mail: Kind("Mail"),
}
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
#: `UNSEEN` of core/text.py as JSON escapes it: versions that did not refuse such characters may
#: have stored some.
_UNSEEN = re.compile(r"\\u00[01]|\\[bf]|" + UNSEEN.pattern)


def read_fact(cls: type[T], body: str) -> T:
    """The fact that a stored document holds, without characters that nobody can see."""
    fact: T = _adapter(cls).validate_json(body)
    if _UNSEEN.search(body):
        fact = all_sound(fact)
    return fact


def rows_of(*facts: Fact) -> list[tuple[str, object, str]]:
    """Kind, key and document of each."""
    rows: list[tuple[str, object, str]] = []
    for fact in facts:
        kind = KINDS[type(fact)]
        rows.append((kind.name, getattr(fact, kind.key), to_json(fact).decode()))
    return rows
