"""What Slack refuses in blocks, modals, home views and metadata, as one table.

https://docs.slack.dev/reference/block-kit/blocks
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from monostat.demo.shapes import Check, Shape, chars, like, many, rule, shaped, typed, whole

#: Characters of JSON. Messages were seen to be refused at about 13 200; we stay well below.
MESSAGE_BLOCKS_SIZE = 12_000
VIEW_SIZE = 250_000
METADATA_SIZE = 1024
MARKDOWN_SIZE = 12_000


def texts(most: int) -> dict[str, Shape]:
    """Both kinds of text objects, with so many characters at most."""
    return {
        "plain_text": {"text!": chars(most), "emoji": FLAG},
        "mrkdwn": {"text!": chars(most), "verbatim": FLAG},
    }


def plain(most: int) -> Check:
    """A check for a plain text object."""
    return typed(texts(most), "plain_text")


FLAG = rule("must be a boolean", lambda value: isinstance(value, bool))
ID = chars(255)
URL = chars(3000)
STYLE = like("primary|danger")
TEXT = chars(3000)
CONFIRM: Shape = {
    "confirm": shaped(
        {
            "title!": plain(100),
            "text!": typed(texts(300)),
            "confirm!": plain(30),
            "deny!": plain(30),
            "style": STYLE,
        }
    )
}
OPTION: Shape = {"text!": plain(75), "value!": chars(150), "description": plain(75)}
BOX = shaped(OPTION | {"text!": typed(texts(75)), "description": typed(texts(75))})
ANY: Shape = {"action_id": ID, "focus_on_load": FLAG}
MENU: Shape = ANY | CONFIRM | {"placeholder": plain(150)}
OPTIONS: Shape = MENU | {"options!": many(shaped(OPTION), 100)}
BOXES: Shape = ANY | CONFIRM | {"options!": many(BOX, 10)}
FIELD: Shape = ANY | {
    "placeholder": plain(150),
    "dispatch_action_config": shaped(
        {"trigger_actions_on!": many(like("on_enter_pressed|on_character_entered"), 2)}
    ),
}
IMAGE: Shape = {"image_url!": URL, "alt_text!": chars(2000)}

# https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
LOOKS = shaped(dict.fromkeys(("bold", "italic", "strike", "code"), FLAG))
SPANS: Shape = {
    "elements!": many(
        typed(
            {
                "text": {"text!": TEXT, "style": LOOKS},
                "link": {"url!": URL, "text": TEXT, "style": LOOKS},
                "emoji": {"name!": ID},
                "user": {"user_id!": ID},
                "channel": {"channel_id!": ID},
                "usergroup": {"usergroup_id!": ID},
                "broadcast": {"range!": like("here|channel|everyone")},
            }
        ),
        1000,
    )
}
PARAGRAPHS = {"rich_text_section": SPANS, "rich_text_preformatted": SPANS, "rich_text_quote": SPANS}
LIST: Shape = {
    "elements!": many(typed(PARAGRAPHS, "rich_text_section"), 1000),
    "style!": like("bullet|ordered"),
    "indent": whole(0, 8),
}
RICH: Shape = {"elements!": many(typed(PARAGRAPHS | {"rich_text_list": LIST}), 1000)}

ELEMENTS: dict[str, Shape] = {
    "button": CONFIRM
    | {
        "action_id": ID,
        "text!": plain(75),
        "value": chars(2000),
        "url": URL,
        "style": STYLE,
        "accessibility_label": chars(75),
    },
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
    "plain_text_input": FIELD
    | {
        "multiline": FLAG,
        "min_length": whole(0, 3000),
        "max_length": whole(1, 3000),
        "initial_value": TEXT,
    },
    "rich_text_input": FIELD | {"initial_value": typed({"rich_text": RICH})},
    "image": IMAGE,
}
WRITTEN = {"plain_text_input", "rich_text_input"}
# the documentation: not as a section's accessory
BESIDE = ELEMENTS.keys() - WRITTEN - {"datetimepicker"}
IN_ROWS = ELEMENTS.keys() - WRITTEN - {"image", "multi_static_select"}
ASKING = ELEMENTS.keys() - {"button", "overflow", "image"}
BLOCKS: dict[str, Shape] = {
    name: shape | {"block_id": ID}
    for name, shape in {
        "section": {
            "text": typed(texts(3000)),
            "fields": many(typed(texts(2000)), 10),
            "accessory": typed(ELEMENTS, *BESIDE),
        },
        "header": {"text!": plain(150)},
        "context": {"elements!": many(typed(texts(3000) | {"image": IMAGE}), 10)},
        "actions": {"elements!": many(typed(ELEMENTS, *IN_ROWS), 25)},
        "divider": {},
        "image": IMAGE | {"title": plain(2000)},
        "input": {
            "label!": plain(2000),
            "element!": typed(ELEMENTS, *ASKING),
            "hint": plain(2000),
            "optional": FLAG,
            "dispatch_action": FLAG,
        },
        "rich_text": RICH,
        "markdown": {"text!": chars(MARKDOWN_SIZE)},
    }.items()
}
HOME: Shape = {
    "type!": ID,
    "blocks!": many(typed(BLOCKS, *(BLOCKS.keys() - {"markdown"})), 100),
    "callback_id": ID,
    "external_id": ID,
    "private_metadata": chars(3000, least=0),
}
MODAL: Shape = HOME | {
    "title!": plain(24),
    "submit": plain(24),
    "close": plain(24),
    "clear_on_close": FLAG,
    "notify_on_close": FLAG,
}
_in_message = many(typed(BLOCKS), 50, least=0)
_in_view = {"modal": shaped(MODAL), "home": shaped(HOME)}


def elements_of(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Gives the parts of one block that people can use, each with its action_id."""
    if block["type"] == "actions":
        return list(block["elements"])
    return [block[name] for name in ("accessory", "element") if name in block]


def refused_blocks(blocks: Any) -> list[str]:
    """Says what Slack would refuse in a message's blocks."""
    at = "/blocks"
    return list(_in_message(blocks, at)) or list(_across(blocks, at))


def refused_view(view: Any) -> list[str]:
    """Says what Slack would refuse in a modal or home view."""
    kind = None
    if isinstance(view, dict):
        kind = view.get("type")
    if kind not in ("modal", "home"):
        return ["must be of type modal or home [json-pointer:/view/type]"]
    wrong = list(_in_view[kind](view, "/view"))
    if wrong:
        return wrong
    wrong = list(_across(view["blocks"], "/view/blocks"))
    asks = any(block["type"] == "input" for block in view["blocks"])
    if asks and kind == "modal" and "submit" not in view:
        wrong.append("must define `submit` to use an `input` block in modals [json-pointer:/view]")
    return wrong


def _across(blocks: list[dict[str, Any]], at: str) -> Iterator[str]:
    """What no single place can see: ids used twice, choices that are no option, sums."""
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    for index, block in enumerate(blocks):
        where = f"[json-pointer:{at}/{index}]"
        if ids.count(block.get("block_id")) > 1:
            yield f"block_id already exists: {block['block_id']} {where}"
        yield from _within(block, where)
    elements = [element for block in blocks for element in elements_of(block)]
    focused = [element for element in elements if element.get("focus_on_load")]
    if len(focused) > 1:
        yield f"only one element may have focus_on_load [json-pointer:{at}]"
    markdown = [block["text"] for block in blocks if block["type"] == "markdown"]
    if sum(map(len, markdown)) > MARKDOWN_SIZE:
        most = MARKDOWN_SIZE + 1
        yield f"markdown blocks must be less than {most} characters together [json-pointer:{at}]"


def _within(block: dict[str, Any], where: str) -> Iterator[str]:
    """What concerns several parts of one block."""
    if block["type"] == "section" and not block.keys() & {"text", "fields"}:
        yield f"missing required field: text or fields {where}"
    elements = elements_of(block)
    actions = [element["action_id"] for element in elements if "action_id" in element]
    if len(set(actions)) < len(actions):
        yield f"action_id already exists: {actions} {where}"
    for element in elements:
        chosen = list(element.get("initial_options", []))
        if "initial_option" in element:
            chosen.append(element["initial_option"])
        if any(option not in element["options"] for option in chosen):
            yield f"initial option must equal an option {where}"
        written = element.get("initial_value")
        longest = element.get("max_length", 3000)
        # Whether Slack counts UTF-16 units is unconfirmed, so there is room for them.
        if isinstance(written, str) and _units(written) > longest:
            yield f"initial_value must be less than {longest + 1} characters {where}"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def size(value: Any) -> int:
    """Characters of a value as JSON, by which Slack limits it."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


# Slack takes lists and objects of these too; monostat has no use for them.
def _is_flat(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return all(type(each) in (str, int, bool) for each in value.values())


_flat = rule("flat", _is_flat)
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
        parts = list(part.values())
        if kind not in ("mrkdwn", "markdown"):
            parts = [each for each in parts if not isinstance(each, str)]
        part = parts
    if not isinstance(part, list):
        return []
    return [ping for each in part for ping in live_mentions(each)]
