"""JSON of elsewhere, read leniently: nothing in it is certain, and no shape of it is an error."""

from collections.abc import Mapping
from typing import Any

#: An object of somebody else's JSON.
Json = Mapping[str, Any]


def object_of(value: object) -> Json:
    """What should be an object; an empty one where it is none, or missing."""
    if isinstance(value, Mapping):
        return value
    return {}


def objects_of(value: object) -> list[Json]:
    """The objects in what should be a list of them, without what is none."""
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, Mapping)]


def part_of(value: object, *keys: str) -> Any:
    """What stands under these keys, each within the one before; None where there is nothing."""
    part: Any = value
    for key in keys:
        part = object_of(part).get(key)
    return part
