"""How facts are read from the JSON documents that the database holds."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

from monostat.core.text import UNSEEN, all_sound

T = TypeVar("T")
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
#: In JSON, of what model.UNSEEN has; a version before that was kept out may have written it.
_UNSEEN = re.compile(r"\\u00[01]|\\[bf]|" + UNSEEN.pattern)


def read_fact(cls: type[T], body: str) -> T:
    """The fact that a stored document holds, without characters that nobody can see."""
    fact: T = _adapter(cls).validate_json(body)
    return all_sound(fact) if _UNSEEN.search(body) else fact
