"""Checks of JSON values, put together as tables: what must hold, and where it does not."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: Looks at a value found at a JSON pointer and yields what is wrong with it.
Check = Callable[[Any, str], Iterator[str]]
#: Property names with their checks; a name with "!" at its end must be there, any name not listed
#: is refused.
Shape = dict[str, Check]


def rule(wanted: str, holds: Callable[[Any], bool]) -> Check:
    """A check with one complaint: what is wanted of a value that does not hold."""

    def check(value: Any, at: str) -> Iterator[str]:
        if not holds(value):
            yield f"{wanted} [json-pointer:{at}]"

    return check


def chars(most: int, *, least: int = 1) -> Check:
    """A check for the length of a text."""
    wanted = f"must be less than {most + 1} characters" + " and not empty" * least

    def fits(value: Any) -> bool:
        return isinstance(value, str) and least <= len(value) <= most

    return rule(wanted, fits)


def like(pattern: str) -> Check:
    """A check for the form of a text."""

    def fits(value: Any) -> bool:
        return isinstance(value, str) and bool(re.fullmatch(pattern, value))

    return rule(f"must match {pattern}", fits)


def whole(low: int, high: int) -> Check:
    """A check for a whole number within limits, both of them allowed."""

    def fits(value: Any) -> bool:
        return type(value) is int and low <= value <= high

    return rule(f"must be an integer from {low} to {high}", fits)


def many(item: Check, most: int, *, least: int = 1) -> Check:
    """A check for a list, its length, and each of its items."""

    def check(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            yield f"must be a list of {least} to {most} items [json-pointer:{at}]"
        else:
            for index, each in enumerate(value):
                yield from item(each, f"{at}/{index}")

    return check


def shaped(shape: Shape) -> Check:
    """A check for an object: the fields of the shape, those with a "!" required, and no others."""
    checks: Shape = {}
    required = set()
    for marked, part in shape.items():
        name = marked.removesuffix("!")
        checks[name] = part
        if name != marked:
            required.add(name)

    def check(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"must provide an object [json-pointer:{at}]"
            return
        for name in sorted(required - value.keys()):
            yield f"missing required field: {name} [json-pointer:{at}]"
        for name, field in value.items():
            if name not in checks:
                yield f"invalid additional property: {name} [json-pointer:{at}]"
            elif field is None:
                yield f"must provide an object [json-pointer:{at}/{name}]"
            else:
                yield from checks[name](field, f"{at}/{name}")

    return check


def typed(shapes: Mapping[str, Shape], *names: str) -> Check:
    """Takes the shape that the value's own `type` names, out of those allowed in this place."""
    checks = {}
    for name in names or shapes:
        checks[name] = shaped({"type!": chars(255)} | shapes[name])

    def check(value: Any, at: str) -> Iterator[str]:
        kind = None
        if isinstance(value, dict):
            kind = value.get("type")
        if not isinstance(kind, str) or kind not in checks:
            yield f"unsupported type: {kind} [json-pointer:{at}/type]"
        else:
            yield from checks[kind](value, at)

    return check
