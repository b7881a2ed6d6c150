"""The fields of a dialog: Slack's input blocks, and what they hold before and after."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from monostat.core.markdown import cut
from monostat.slack.messages import Block, text_object, units

LONGEST_TEXT = 3000  # UTF-16 units of an input
CUT = "Too long for a form: only its beginning stands here."
Element = Mapping[str, Any]  # what a field is filled in with
Value = str | int | None  # a text, the value of an option, UNIX seconds, "yes" for a tick


def input_block(
    name: str, label: str, element: Block, *, optional: bool = True, hint: str = ""
) -> Block:
    """A field with its label; its value is found again under `name`."""
    block = {
        "type": "input",
        "block_id": name,
        "label": text_object(label, 150),
        "optional": optional,
        "element": element | {"action_id": "value"},
    }
    if hint:
        block["hint"] = text_object(hint, 150)
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
    """A text of at most so many characters; of a longer one its beginning, and a word about it."""
    length = units(text)
    if length > LONGEST_TEXT:
        hint = f"{CUT} {hint}"
        text = cut(text, LONGEST_TEXT)
        length = LONGEST_TEXT
    most = max(longest, length)  # what somebody could write once fits, however Slack counts
    element: Block = {"type": "plain_text_input", "multiline": multiline, "max_length": most}
    if text:
        element["initial_value"] = text
    return input_block(name, label, element, optional=optional, hint=hint)


def select(
    name: str, label: str, options: Mapping[str, str], chosen: str = "", *, optional: bool = True
) -> Block:
    """One of several, which are shown in these words, by their values."""
    blocks = {}
    for value, text in options.items():
        blocks[value] = _option(text, value)
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
    option = _option(text, "yes")
    element: Block = {"type": "checkboxes", "options": [option]}
    if ticked:
        element["initial_options"] = [option]
    return input_block(name, label, element)


def _option(text: str, value: str) -> Block:
    return {"text": text_object(text, 75), "value": value}


def initial_value(element: Element) -> Value:
    """What a field holds when its dialog opens."""
    return _value(element, "initial_value", "initial")


def submitted_value(element: Element) -> Value:
    """What a field holds when its dialog is submitted."""
    return _value(element, "value", "selected")


def _value(element: Element, text: str, prefix: str) -> Value:
    """An element has a text, or an option or several, or a time, as its type says."""
    option = element.get(f"{prefix}_option")
    options = element.get(f"{prefix}_options")
    if options:
        option = options[0]
    if option:
        return str(option["value"])
    return element.get(text) or element.get(f"{prefix}_date_time") or None


def digest_of_value(value: Value) -> str:
    """Tells whether a field was changed; of times the picker has no seconds."""
    text = str(value or "").strip()
    if isinstance(value, int):
        text = str(value // 60)
    digest = sha256(text.encode("utf-8", "replace")).hexdigest()
    return digest[:8]
