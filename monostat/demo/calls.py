"""What the Web API wants of a call: its methods, their arguments and scopes, and its refusals."""

import json
import re
from contextlib import suppress
from typing import Any

from monostat.demo.workspace import Json

#: Every method with the arguments that must come with it and those that may.
METHODS = {
    "apps.connections.open": ("", ""),
    "auth.test": ("", ""),
    "chat.getPermalink": ("channel message_ts", ""),
    "chat.postEphemeral": ("channel user", "text blocks thread_ts"),
    "chat.postMessage": (
        "channel",
        "text blocks thread_ts metadata unfurl_links unfurl_media reply_broadcast client_msg_id",
    ),
    "chat.update": ("channel ts", "text blocks metadata"),
    "conversations.history": (
        "channel",
        "oldest latest inclusive include_all_metadata limit cursor",
    ),
    "conversations.info": ("channel", ""),
    "conversations.join": ("channel", ""),
    "conversations.members": ("channel", "limit cursor"),
    "conversations.replies": (
        "channel ts",
        "oldest latest inclusive include_all_metadata limit cursor",
    ),
    "reactions.add": ("channel name timestamp", ""),
    "usergroups.users.list": ("usergroup", "include_disabled"),
    "users.info": ("user", ""),
    "views.open": ("trigger_id view", ""),
    "views.publish": ("user_id view", "hash"),
    "views.push": ("trigger_id view", ""),
    "views.update": ("view", "view_id external_id hash"),
}
#: The scope that a method needs, by how its name begins; for private channels `groups:` stands in
#: place of `channels:`.
SCOPES = {
    "chat.get": "",
    "chat.": "chat:write",
    "conversations.join": "channels:join",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "conversations.": "channels:read",
    "reactions.": "reactions:write",
    "usergroups.": "usergroups:read",
    "users.": "users:read",
}
_READS = re.compile("history|replies|info|list|members|getPermalink")
#: Methods that only read.
READ = {name for name in METHODS if _READS.search(name)}
#: The types of arguments; all others are texts.
TYPES: dict[str, type] = {
    "blocks": list,
    "view": dict,
    "metadata": dict,
    "limit": int,
    "unfurl_links": bool,
    "unfurl_media": bool,
    "reply_broadcast": bool,
    "inclusive": bool,
    "include_all_metadata": bool,
    "include_disabled": bool,
}
#: Refusals that a correct app meets too; every other one is a violation.
_ORDINARY = """
    not_authed invalid_auth channel_not_found not_in_channel is_archived is_inactive
    message_not_found thread_not_found cant_update_message edit_window_closed user_not_in_channel
    user_not_found no_such_subteam already_reacted not_found expired_trigger_id hash_conflict
    method_not_supported_for_channel_type
"""
CIRCUMSTANCES = set(_ORDINARY.split())
#: What the manifest asks for.
GRANTED = """
    app_mentions:read chat:write commands channels:read groups:read channels:history
    groups:history users:read usergroups:read reactions:write
"""


class WebApiRefusal(Exception):
    """Slack refuses with this error, and tells more in its messages."""

    def __init__(self, error: str, *messages: str) -> None:
        super().__init__(" ".join((error, *messages)))
        self.error = error
        self.messages = messages


def argument(key: str, value: Any) -> Any:
    """Undoes the form's encoding, where numbers, lists and objects arrive as JSON in strings."""
    wanted = TYPES.get(key, str)
    if isinstance(value, str) and wanted is not str:
        with suppress(ValueError):
            value = json.loads(value)
    if wanted is bool and value in (0, 1):
        return bool(value)
    error = "invalid_arguments"
    if key == "blocks":
        error = "invalid_blocks_format"
    if type(value) is not wanted:
        raise WebApiRefusal(error, f"{key} must be a {wanted.__name__}")
    return value


def page_of(name: str, rows: list[Any], args: Json) -> Json:
    """Cuts one page; its cursor is empty at the end."""
    limit = args.get("limit") or 100
    cursor = args.get("cursor") or "next:0"
    if not re.fullmatch(r"next:\d+", cursor):
        raise WebApiRefusal("invalid_cursor", cursor)
    most = 999
    if name == "members":
        most = 1000
    if not 1 <= limit <= most:
        raise WebApiRefusal("invalid_limit", str(limit))
    start = int(cursor.removeprefix("next:"))
    end = start + limit
    follow = ""
    if end < len(rows):
        follow = f"next:{end}"
    return {
        name: rows[start:end],
        "has_more": bool(follow),
        "response_metadata": {"next_cursor": follow},
    }
