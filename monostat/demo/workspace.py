"""What Slack keeps: channels, people, messages, views and the forms in them."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

from monostat.demo import blockkit

Json = dict[str, Any]
TEAM = "T1"
BOT_USER = "UBOT"
BOT = "B1"
APP = "A1"

#: What a choice is called in `state` and `actions`, and what it starts from in the element that
#: offers it.
CHOICES = {
    "checkboxes": ("selected_options", "initial_options"),
    "multi_static_select": ("selected_options", "initial_options"),
    "radio_buttons": ("selected_option", "initial_option"),
    "static_select": ("selected_option", "initial_option"),
    "overflow": ("selected_option", ""),
    "users_select": ("selected_user", "initial_user"),
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "datepicker": ("selected_date", "initial_date"),
    "timepicker": ("selected_time", "initial_time"),
    "datetimepicker": ("selected_date_time", "initial_date_time"),
    "plain_text_input": ("value", "initial_value"),
    "rich_text_input": ("rich_text_value", "initial_value"),
}


@dataclass
class Channel:
    """A channel and who is in it."""

    id: str
    name: str
    members: list[str]
    is_archived: bool = False
    is_private: bool = False

    def as_json(self) -> Json:
        """As the Web API and events have it."""
        return asdict(self) | {"is_channel": True, "is_member": BOT_USER in self.members}


@dataclass
class User:
    """A member of the workspace, a guest, a stranger, or the app itself."""

    id: str
    name: str
    tz: str = "Europe/Amsterdam"
    is_bot: bool = False
    deleted: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_stranger: bool = False
    team_id: str = TEAM
    # In Enterprise Grid.
    teams: list[str] = field(default_factory=list)
    enterprise_user: Json = field(default_factory=dict)


@dataclass
class Message:
    """A message as it is shown, and what has become of it."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    metadata: Json = field(default_factory=dict)
    thread_ts: str | None = None
    bot_id: str | None = None
    edited: str | None = None
    deleted: bool = False
    broadcast: bool = False
    reactions: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """As the Web API and events have it."""
        about: Json = {
            "type": "message",
            "user": self.user,
            "ts": self.ts,
            "text": self.text,
            "team": TEAM,
        }
        for name in ("thread_ts", "bot_id", "metadata", "blocks"):
            value = getattr(self, name)
            if value:
                about[name] = value
        if self.edited:
            about["edited"] = {"user": self.user, "ts": self.edited}
        if self.broadcast:
            about["subtype"] = "thread_broadcast"
        return deepcopy(about)


class Ephemeral(Message):
    """What `user` alone sees; Slack keeps no copy, so its buttons arrive without the message."""


@dataclass
class View:
    """A dialog or a Home tab, as it is shown to somebody."""

    id: str
    user: str
    content: Json
    hash: str
    root_id: str
    previous_id: str | None = None
    typed: Json = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> Json:
        """As the Web API and events have it."""
        blank: Json = dict.fromkeys(("title", "submit", "close"))
        blank |= dict.fromkeys(("callback_id", "private_metadata", "external_id"), "")
        blank |= dict.fromkeys(("clear_on_close", "notify_on_close"), False)
        about: Json = {
            "id": self.id,
            "team_id": TEAM,
            "app_id": APP,
            "bot_id": BOT,
            "hash": self.hash,
            "root_view_id": self.root_id,
            "previous_view_id": self.previous_id,
            "state": {"values": state_of(self.content["blocks"], self.typed)},
        }
        return blank | deepcopy(self.content) | about


def usable(blocks: list[Json], action_id: str | None = None) -> Iterator[tuple[str, Json]]:
    """Walks over what people can use, with the id of its block: everything, or the one that is
    named.
    """
    for block in blocks:
        for element in blockkit.elements_of(block):
            if action_id in (None, element.get("action_id")):
                yield block["block_id"], element


def with_ids(blocks: list[Json]) -> list[Json]:
    """Invents the ids that an app left out, differently every time as Slack does."""
    blocks = [{"block_id": uuid4().hex[:5]} | block for block in deepcopy(blocks)]
    for _, element in usable(blocks):
        if element["type"] != "image":
            element.setdefault("action_id", uuid4().hex[:5])
    return blocks


def state_of(blocks: list[Json], typed: Json) -> Json:
    """Fills in the form: what was typed under the same two ids, else what the app offered first."""
    values: Json = {}
    for block_id, element in usable(blocks):
        if element["type"] in CHOICES:
            name, initial = CHOICES[element["type"]]
            start = {"type": element["type"], name: element.get(initial)}
            if name == "selected_options":
                start[name] = element.get(initial, [])
            kept = typed.get(block_id, {}).get(element["action_id"], {})
            values.setdefault(block_id, {})[element["action_id"]] = start | kept
    return deepcopy(values)


def choice_of(element: Json, chosen: Any) -> Json:
    """Words what a person entered as `state` and `actions` do; of an option, its value is given."""
    if element["type"] not in CHOICES:
        return {}
    name = CHOICES[element["type"]][0]
    options = {option["value"]: option for option in element.get("options", [])}
    if name == "selected_options":
        return {name: [options[each] for each in chosen or []]}
    if options and chosen:
        return {name: options[chosen]}
    return {name: chosen or None}


def action_of(block_id: str, element: Json, chosen: Any) -> Json:
    """What a press or a choice looks like in a payload."""
    action: Json = {
        key: element[key]
        for key in ("type", "action_id", "text", "value", "style")
        if key in element
    }
    action |= choice_of(element, chosen)
    action["block_id"] = block_id
    action["action_ts"] = "1700000001.123456"
    return action


def fill(view: View, values: Mapping[str, Any]) -> None:
    """Enters values by block, or by block and action_id where a block asks more than one thing."""
    for block_id, value in values.items():
        fields = {}
        for id_, element in usable(view.content["blocks"]):
            if id_ == block_id:
                fields[element["action_id"]] = element
        if not isinstance(value, dict):
            value = dict.fromkeys(fields, value)
        for action_id, chosen in value.items():
            view.typed.setdefault(block_id, {})[action_id] = choice_of(fields[action_id], chosen)
        if not fields:
            raise LookupError(f"the form has no {block_id}")


def unready(view: View) -> str | None:
    """Says what keeps Slack's own client from submitting the form."""
    state = state_of(view.content["blocks"], view.typed)
    for block in view.content["blocks"]:
        if block["type"] == "input":
            element = block["element"]
            field = state[block["block_id"]][element["action_id"]]
            filled = field[CHOICES[element["type"]][0]]
            low = element.get("min_length", 0)
            high = element.get("max_length", 3000)
            if not filled:
                if not block.get("optional"):
                    return f"{block['block_id']} is empty"
            elif isinstance(filled, str) and not low <= len(filled) <= high:
                return f"{block['block_id']} takes {low} to {high} characters"
    return None
