"""What Slack refuses in blocks, modals, home views and metadata, as one table (contracts/slack.md,
section 8).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: Looks at a value found at a JSON pointer and yields what is wrong with it.
Check = Callable[[Any, str], Iterator[str]]
#: Property names with their checks; a name with "!" at its end must be there, any name not listed
#: is refused.
Shape = dict[str, Check]

MESSAGE_BLOCKS_SIZE = (
    12_000  # seen at about 13 200, unconfirmed: the contract says to stay below this
)
VIEW_SIZE, METADATA_SIZE, MARKDOWN_SIZE = 250_000, 1024, 12_000


def rule(wanted: str, holds: Callable[[Any], bool]) -> Check:
    """A check with one complaint: what is wanted of a value that does not hold."""

    def check(value: Any, at: str) -> Iterator[str]:
        if not holds(value):
            yield f"{wanted} [json-pointer:{at}]"

    return check


def chars(most: int, *, least: int = 1) -> Check:
    """A check for the length of a text."""
    wanted = f"must be less than {most + 1} characters" + " and not empty" * least
    return rule(wanted, lambda value: isinstance(value, str) and least <= len(value) <= most)


def like(pattern: str) -> Check:
    """A check for the form of a text."""
    return rule(
        f"must match {pattern}",
        lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value)),
    )


def whole(low: int, high: int) -> Check:
    """A check for a whole number within limits, both of them allowed."""
    return rule(
        f"must be an integer from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
    )


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
    rules = {name.rstrip("!"): rule for name, rule in shape.items()}

    def check(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"must provide an object [json-pointer:{at}]"
            return
        for name in sorted({name[:-1] for name in shape if name.endswith("!")} - value.keys()):
            yield f"missing required field: {name} [json-pointer:{at}]"
        for name, part in value.items():
            if name not in rules:
                yield f"invalid additional property: {name} [json-pointer:{at}]"
            elif part is None:
                yield f"must provide an object [json-pointer:{at}/{name}]"
            else:
                yield from rules[name](part, f"{at}/{name}")

    return check


def typed(shapes: Mapping[str, Shape], *names: str) -> Check:
    """Takes the shape that the value's own `type` names, out of those allowed in this place."""
    checks = {name: shaped({"type!": chars(255)} | shapes[name]) for name in names or shapes}

    def check(value: Any, at: str) -> Iterator[str]:
        kind = None
        if isinstance(value, dict):
            kind = value.get("type")
        if not isinstance(kind, str) or kind not in checks:
            yield f"unsupported type: {kind} [json-pointer:{at}/type]"
        else:
            yield from checks[kind](value, at)

    return check


def texts(most: int) -> dict[str, Shape]:
    """Both kinds of text objects, with so many characters at most."""
    return {
        "plain_text": {"text!": chars(most), "emoji": FLAG},
        "mrkdwn": {"text!": chars(most), "verbatim": FLAG},
    }


def plain(most: int) -> Check:
    """A check for a plain text object."""
    return typed(texts(most), "plain_text")


# A table is read by its rows.
# fmt: off
FLAG = rule("must be a boolean", lambda value: isinstance(value, bool))
ID, URL, STYLE, TEXT = chars(255), chars(3000), like("primary|danger"), chars(3000)
CONFIRM: Shape = {"confirm": shaped(
    {"title!": plain(100), "text!": typed(texts(300)), "confirm!": plain(30), "deny!": plain(30), "style": STYLE})}
OPTION: Shape = {"text!": plain(75), "value!": chars(150), "description": plain(75)}
BOX = shaped(OPTION | {"text!": typed(texts(75)), "description": typed(texts(75))})
ANY: Shape = {"action_id": ID, "focus_on_load": FLAG}
MENU: Shape = ANY | CONFIRM | {"placeholder": plain(150)}
OPTIONS: Shape = MENU | {"options!": many(shaped(OPTION), 100)}
BOXES: Shape = ANY | CONFIRM | {"options!": many(BOX, 10)}
FIELD: Shape = ANY | {"placeholder": plain(150), "dispatch_action_config": shaped(
    {"trigger_actions_on!": many(like("on_enter_pressed|on_character_entered"), 2)})}
IMAGE: Shape = {"image_url!": URL, "alt_text!": chars(2000)}

# https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
LOOKS = shaped(dict.fromkeys(("bold", "italic", "strike", "code"), FLAG))
SPANS: Shape = {"elements!": many(typed({
    "text": {"text!": TEXT, "style": LOOKS}, "link": {"url!": URL, "text": TEXT, "style": LOOKS},
    "emoji": {"name!": ID}, "user": {"user_id!": ID}, "channel": {"channel_id!": ID},
    "usergroup": {"usergroup_id!": ID}, "broadcast": {"range!": like("here|channel|everyone")}}), 1000)}
PARAGRAPHS = {"rich_text_section": SPANS, "rich_text_preformatted": SPANS, "rich_text_quote": SPANS}
LIST: Shape = {"elements!": many(typed(PARAGRAPHS, "rich_text_section"), 1000), "style!": like("bullet|ordered"),
               "indent": whole(0, 8)}
RICH: Shape = {"elements!": many(typed(PARAGRAPHS | {"rich_text_list": LIST}), 1000)}

ELEMENTS: dict[str, Shape] = {
    "button": CONFIRM | {"action_id": ID, "text!": plain(75), "value": chars(2000), "url": URL, "style": STYLE,
                         "accessibility_label": chars(75)},
    "overflow": CONFIRM | {"action_id": ID, "options!": many(shaped(OPTION | {"url": URL}), 5)},
    "static_select": OPTIONS | {"initial_option": shaped(OPTION)},
    "multi_static_select": OPTIONS | {"initial_options": many(shaped(OPTION), 100)},
    "users_select": MENU | {"initial_user": ID},
    "conversations_select": MENU | {"initial_conversation": ID},
    "radio_buttons": BOXES | {"initial_option": BOX},
    "checkboxes": BOXES | {"initial_options": many(BOX, 10)},
    "datepicker": MENU | {"initial_date": like(r"\d{4}-\d\d-\d\d")},
    "timepicker": MENU | {"initial_time": like(r"([01]\d|2[0-3]):[0-5]\d"), "timezone": ID},
    "datetimepicker": ANY | CONFIRM | {"initial_date_time": whole(1_000_000_000, 9_999_999_999)},
    "plain_text_input": FIELD | {"multiline": FLAG, "min_length": whole(0, 3000), "max_length": whole(1, 3000),
                                 "initial_value": TEXT},
    "rich_text_input": FIELD | {"initial_value": typed({"rich_text": RICH})},
    "image": IMAGE,
}
WRITTEN = {"plain_text_input", "rich_text_input"}
# the documentation: not as a section's accessory
BESIDE = ELEMENTS.keys() - WRITTEN - {"datetimepicker"}
IN_ROWS = ELEMENTS.keys() - WRITTEN - {"image", "multi_static_select"}
ASKING = ELEMENTS.keys() - {"button", "overflow", "image"}
BLOCKS: dict[str, Shape] = {name: shape | {"block_id": ID} for name, shape in {
    "section": {"text": typed(texts(3000)), "fields": many(typed(texts(2000)), 10),
                "accessory": typed(ELEMENTS, *BESIDE)},
    "header": {"text!": plain(150)},
    "context": {"elements!": many(typed(texts(3000) | {"image": IMAGE}), 10)},
    "actions": {"elements!": many(typed(ELEMENTS, *IN_ROWS), 25)},
    "divider": {},
    "image": IMAGE | {"title": plain(2000)},
    "input": {"label!": plain(2000), "element!": typed(ELEMENTS, *ASKING), "hint": plain(2000), "optional": FLAG,
              "dispatch_action": FLAG},
    "rich_text": RICH,
    "markdown": {"text!": chars(MARKDOWN_SIZE)},
}.items()}
HOME: Shape = {"type!": ID, "blocks!": many(typed(BLOCKS, *(BLOCKS.keys() - {"markdown"})), 100), "callback_id": ID,
               "external_id": ID, "private_metadata": chars(3000, least=0)}
MODAL: Shape = HOME | {"title!": plain(24), "submit": plain(24), "close": plain(24), "clear_on_close": FLAG,
                       "notify_on_close": FLAG}
# fmt: on
_in_message, _in_view = (
    many(typed(BLOCKS), 50, least=0),
    {"modal": shaped(MODAL), "home": shaped(HOME)},
)


def elements_of(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Gives the parts of one block that people can use, each with its action_id."""
    return (
        block["elements"]
        if block["type"] == "actions"
        else [block[k] for k in ("accessory", "element") if k in block]
    )


def refused_blocks(blocks: Any) -> list[str]:
    """Says what Slack would refuse in a message's blocks."""
    return list(_in_message(blocks, "/blocks")) or list(_across(blocks, "/blocks"))


def refused_view(view: Any) -> list[str]:
    """Says what Slack would refuse in a modal or home view."""
    kind = None
    if isinstance(view, dict):
        kind = view.get("type")
    if kind not in ("modal", "home"):
        return ["must be of type modal or home [json-pointer:/view/type]"]
    if wrong := list(_in_view[kind](view, "/view")):
        return wrong
    wrong = list(_across(view["blocks"], "/view/blocks"))
    if (
        kind == "modal"
        and "submit" not in view
        and any(block["type"] == "input" for block in view["blocks"])
    ):
        wrong.append("must define `submit` to use an `input` block in modals [json-pointer:/view]")
    return wrong


def _across(blocks: list[dict[str, Any]], at: str) -> Iterator[str]:
    """Adds to the table what no single place can see: ids used twice, choices that are no option,
    sums.
    """
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    for index, block in enumerate(blocks):
        where = f"[json-pointer:{at}/{index}]"
        if ids.count(block.get("block_id")) > 1:
            yield f"block_id already exists: {block['block_id']} {where}"
        if block["type"] == "section" and not block.keys() & {"text", "fields"}:
            yield f"missing required field: text or fields {where}"
        actions = [element["action_id"] for element in elements_of(block) if "action_id" in element]
        if len(set(actions)) < len(actions):
            yield f"action_id already exists: {actions} {where}"
        for element in elements_of(block):
            chosen = element.get("initial_options", []) + [
                element[k] for k in ("initial_option",) if k in element
            ]
            if any(option not in element["options"] for option in chosen):
                yield f"initial option must equal an option {where}"
            written = element.get("initial_value")
            longest = element.get("max_length", 3000)
            # Whether Slack counts UTF-16 units is unconfirmed: the contract says to leave room.
            if (
                isinstance(written, str)
                and len(written.encode("utf-16-le", "replace")) > 2 * longest
            ):
                yield f"initial_value must be less than {longest + 1} characters {where}"
    if (
        sum(
            element.get("focus_on_load", False)
            for block in blocks
            for element in elements_of(block)
        )
        > 1
    ):
        yield f"only one element may have focus_on_load [json-pointer:{at}]"
    if sum(len(block["text"]) for block in blocks if block["type"] == "markdown") > MARKDOWN_SIZE:
        yield f"markdown blocks must be less than {MARKDOWN_SIZE + 1} characters together [json-pointer:{at}]"


def size(value: Any) -> int:
    """Characters of a value as JSON, by which Slack limits it."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


# Slack takes lists and objects of these too; monostat has no use for them.
_flat = rule(
    "flat",
    lambda value: (
        isinstance(value, dict) and all(type(v) in (str, int, bool) for v in value.values())
    ),
)
_metadata = shaped({"event_type!": like("[A-Za-z0-9_]+"), "event_payload!": _flat})


def fault_of_metadata(metadata: Any) -> str | None:
    """Names the error for a message's metadata; an empty object is the way to remove it."""
    if metadata != {} and list(_metadata(metadata, "/metadata")):
        return "invalid_metadata_format"
    if size(metadata) > METADATA_SIZE:
        return "metadata_too_large"
    return None


_LIVE = re.compile(r"<(?:!(?:channel|here|everyone)|!subteam\^\w+|@\w+)(?:\|[^<>]*)?>")
_SPANS = {
    "broadcast": "<!{range}>",
    "user": "<@{user_id}>",
    "usergroup": "<!subteam^{usergroup_id}>",
}


def live_mentions(part: Any) -> list[str]:
    """Lists every mention that pings somebody, in a text or anywhere in blocks; plain_text never
    does.
    """
    if isinstance(part, str):
        return _LIVE.findall(part)
    if isinstance(part, dict):
        kind = part.get("type")
        if kind in _SPANS:
            return [_SPANS[kind].format(**part)]
        # Whether a mention is live in a markdown block is unconfirmed: it counts.
        part = [
            each
            for each in part.values()
            if not isinstance(each, str) or kind in ("mrkdwn", "markdown")
        ]
    if not isinstance(part, list):
        return []
    return [ping for each in part for ping in live_mentions(each)]
