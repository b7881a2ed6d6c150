"""The fields of a dialog: Slack's input blocks, and what they hold before and after it is filled in."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from monostat.slack.messages import Block, plain

LONGEST_TEXT = 3000  # characters of an input
Value = str | int | None  # a text, the value of an option, UNIX seconds, "yes" for a tick


def input_block(
    name: str, label: str, element: Block, *, optional: bool = True, hint: str = ""
) -> Block:
    """A field with its label; its value is found again under `name`."""
    block = {
        "type": "input",
        "block_id": name,
        "label": plain(label, 150),
        "optional": optional,
        "element": element | {"action_id": "value"},
    }
    if hint:
        block["hint"] = plain(hint, 150)
    return block


def text_input(
    name: str,
    label: str,
    text: str = "",
    *,
    longest: int = LONGEST_TEXT,
    multiline: bool = True,
    optional: bool = True,
    hint: str = "",
) -> Block:
    """A text of at most so many characters."""
    element: Block = {"type": "plain_text_input", "multiline": multiline, "max_length": longest}
    if text:
        element["initial_value"] = text[:longest]
    return input_block(name, label, element, optional=optional, hint=hint)


def select(
    name: str, label: str, options: Mapping[str, str], chosen: str = "", *, optional: bool = True
) -> Block:
    """One of several, which are shown in these words, by their values."""
    blocks = {}
    for value, text in options.items():
        blocks[value] = {"text": plain(text, 75), "value": value}
    element: Block = {"type": "static_select", "options": list(blocks.values())}
    if chosen:
        element["initial_option"] = blocks[chosen]
    return input_block(name, label, element, optional=optional)


def date_time(name: str, label: str, at: datetime | None = None, *, optional: bool = True) -> Block:
    """A time, to the minute."""
    element: Block = {"type": "datetimepicker"}
    if at:
        element["initial_date_time"] = int(at.timestamp())
    return input_block(name, label, element, optional=optional)


def checkbox(name: str, label: str, text: str, *, ticked: bool = False) -> Block:
    """Yes or no."""
    option = {"text": plain(text, 75), "value": "yes"}
    element: Block = {"type": "checkboxes", "options": [option]}
    if ticked:
        element["initial_options"] = [option]
    return input_block(name, label, element)


def initial_value(element: Mapping[str, Any]) -> Value:
    """What a field holds when its dialog opens."""
    options = element.get("initial_options") or [element.get("initial_option")]
    return _value(element.get("initial_value"), options[0], element.get("initial_date_time"))


def submitted_value(element: Mapping[str, Any]) -> Value:
    """What a field holds when its dialog is submitted."""
    options = element.get("selected_options") or [element.get("selected_option")]
    return _value(element.get("value"), options[0], element.get("selected_date_time"))


def _value(text: str | None, option: Mapping[str, str] | None, seconds: int | None) -> Value:
    chosen = option.get("value") if option else None
    return text or chosen or seconds or None


def digest_of(value: Value) -> str:
    """Tells whether a field was changed; of times the picker has no seconds."""
    value = value // 60 if isinstance(value, int) else (value or "").strip()
    return sha256(str(value).encode("utf-8", "replace")).hexdigest()[:8]
