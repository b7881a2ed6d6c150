"""The Web API: what the app asks for and posts is checked and kept (contracts/slack.md)."""

import asyncio
import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from aiohttp import web

from monostat.demo import blockkit
from monostat.demo.faults import Faults
from monostat.demo.socketmode import Line
from monostat.demo.workspace import (
    BOT,
    BOT_USER,
    TEAM,
    Channel,
    Ephemeral,
    Json,
    Message,
    User,
    View,
    with_ids,
)

# A table is read by its rows.
# fmt: off
#: Every method with the arguments that must come with it and those that may.
METHODS = {
    "apps.connections.open": ("", ""),
    "auth.test": ("", ""),
    "chat.getPermalink": ("channel message_ts", ""),
    "chat.postEphemeral": ("channel user", "text blocks thread_ts"),
    "chat.postMessage": ("channel", "text blocks thread_ts metadata unfurl_links unfurl_media reply_broadcast"
                                    " client_msg_id"),
    "chat.update": ("channel ts", "text blocks metadata"),
    "conversations.history": ("channel", "oldest latest inclusive include_all_metadata limit cursor"),
    "conversations.info": ("channel", ""),
    "conversations.join": ("channel", ""),
    "conversations.members": ("channel", "limit cursor"),
    "conversations.replies": ("channel ts", "oldest latest inclusive include_all_metadata limit cursor"),
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
    "chat.get": "", "chat.": "chat:write", "conversations.join": "channels:join",
    "conversations.history": "channels:history", "conversations.replies": "channels:history",
    "conversations.": "channels:read", "reactions.": "reactions:write", "usergroups.": "usergroups:read",
    "users.": "users:read",
}
READ = {name for name in METHODS if re.search(r"history|replies|info|list|members|getPermalink", name)}
TYPES: dict[str, type] = {"blocks": list, "view": dict, "metadata": dict, "limit": int} | dict.fromkeys(
    ("unfurl_links", "unfurl_media", "reply_broadcast", "inclusive", "include_all_metadata", "include_disabled"), bool)
#: Refusals that a correct app meets too; every other one is a violation.
_ORDINARY = """
    not_authed invalid_auth channel_not_found not_in_channel is_archived is_inactive message_not_found thread_not_found
    cant_update_message edit_window_closed user_not_in_channel user_not_found no_such_subteam already_reacted not_found
    expired_trigger_id hash_conflict method_not_supported_for_channel_type"""
CIRCUMSTANCES = set(_ORDINARY.split())
#: What the manifest asks for.
GRANTED = """
    app_mentions:read chat:write commands channels:read groups:read channels:history groups:history users:read
    usergroups:read reactions:write"""
# fmt: on


@dataclass
class Objection:
    """What calls are refused on order, and how many were."""

    method: str
    words: str
    error: str
    times: float
    until: str
    met: int = 0


class WebApiRefusal(Exception):
    """Slack refuses with this error, and tells more in its messages."""

    def __init__(self, error: str, *messages: str) -> None:
        super().__init__(" ".join((error, *messages)))
        self.error, self.messages = error, messages


class Limited(Exception):
    """Too many calls of a method; `seconds` until the next one is carried out."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"for {seconds} s")
        self.seconds = seconds


def refuse(when: object, error: str, *messages: str) -> None:
    """Raises WebApiRefusal where something is so."""
    if when:
        raise WebApiRefusal(error, *messages)


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
    refuse(type(value) is not wanted, error, f"{key} must be a {wanted.__name__}")
    return value


def page_of(name: str, rows: list[Any], args: Json) -> Json:
    """Cuts one page; its cursor is empty at the end."""
    limit, cursor = args.get("limit") or 100, args.get("cursor") or "next:0"
    refuse(not re.fullmatch(r"next:\d+", cursor), "invalid_cursor", cursor)
    most = 999
    if name == "members":
        most = 1000
    refuse(not 1 <= limit <= most, "invalid_limit", str(limit))
    start = int(cursor[5:])
    end = start + limit
    follow = ""
    if end < len(rows):
        follow = f"next:{end}"
    return {
        name: rows[start:end],
        "has_more": bool(follow),
        "response_metadata": {"next_cursor": follow},
    }


class WebApi(Line):
    """Every method's name in METHODS, with underscores, is what answers it."""

    def __init__(self, *, bot_token: str, app_token: str, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.bot_token, self.app_token = bot_token, app_token
        people = [User(BOT_USER, "Status", is_bot=True), User("U_ADA", "Ada"), User("U_BOB", "Bob")]
        people += [
            User("U_GUS", "Gus", is_restricted=True),
            User("U_EVE", "Eve", is_stranger=True, team_id="T2"),
        ]
        self.channels = {"C1": Channel("C1", "status-ops", [user.id for user in people])}
        self.channels["C2"] = Channel("C2", "random", ["U_ADA", "U_BOB"])
        self.users = {user.id: user for user in [*people, User("U_OLA", "Ola")]}
        self.usergroups: dict[str, list[str]] = {}
        self.scopes = set(GRANTED.split())
        self.messages: list[Message] = []
        self.ephemerals: list[Ephemeral] = []
        self.views: dict[str, View] = {}
        self.homes: dict[str, View] = {}
        self.pings: list[str] = []
        # seconds that must lie between two posts to a channel; Slack's own are 1, with bursts
        self.posting_gap = 0.0
        self.latency: dict[str, float] = {}  # seconds that a method takes to answer
        self.takes_orphans = (
            False  # whether a reply to a deleted message is posted; contract section 7: unconfirmed
        )
        self._uneditable: dict[str, str] = {}
        self._limits: dict[
            str, float
        ] = {}  # by method or channel, when it may be called again, on the loop's clock
        self._objections: list[Objection] = []
        self._triggers: dict[str, tuple[datetime, str, View | None] | None] = {}
        self._last_ts, self._address = 0, ""
        self.faults = Faults()
        self.app = web.Application(middlewares=[self.faults.middleware()])
        self.app.router.add_route("*", "/api/{name}", self._api)
        self.app.router.add_get("/link/", self._link)

    def timeline(self, channel: str = "C1") -> list[Message]:
        """The messages of a channel outside threads, oldest first."""
        top = [
            m
            for m in self.messages
            if m.channel == channel and (m.thread_ts is None or m.broadcast)
        ]
        return [m for m in top if not m.deleted]

    def thread(self, ts: str, channel: str = "C1") -> list[Message]:
        """The replies below a message, oldest first."""
        return [
            m for m in self.messages if (m.channel, m.thread_ts) == (channel, ts) and not m.deleted
        ]

    async def _api(self, request: web.Request) -> web.Response:
        name, self._address = request.match_info["name"], f"ws://{request.host}"
        try:
            self._wait_for(name)
            await asyncio.sleep(self.latency.get(name, 0.0))
            args = await self._arguments(name, request)
            self._object(name, args)
            method = getattr(self, "_" + re.sub(r"[.]|(?=[A-Z])", "_", name).lower())
            scopes = {"X-OAuth-Scopes": ",".join(sorted(self.scopes))}
            return web.json_response({"ok": True} | method(args), headers=scopes)
        except Limited as limited:
            headers = {"Retry-After": str(math.ceil(limited.seconds))}
            return web.json_response(
                {"ok": False, "error": "ratelimited"}, status=429, headers=headers
            )
        except WebApiRefusal as refused:
            self._note(name, refused)
            messages = {"messages": [f"[ERROR] {message}" for message in refused.messages]}
            answer = {
                "ok": False,
                "error": refused.error,
                "errors": refused.messages,
                "response_metadata": messages,
            }
            if refused.error == "missing_scope":
                answer |= {"needed": refused.messages[0], "provided": ",".join(sorted(self.scopes))}
            return web.json_response(answer)

    # -- bad days on order, which concern one method or one thing

    def limit(self, method: str, *, retry_after: float) -> None:
        """Answers 429 to this method, and to no other, for so many seconds."""
        self._limits[method] = asyncio.get_running_loop().time() + retry_after

    def unlimit(self) -> None:
        """Ends every `limit`."""
        self._limits.clear()

    def object_to(
        self, method: str, words: str, error: str, *, times: float = math.inf, until: str = ""
    ) -> None:
        """Refuses, until `relent`, the calls of a method whose arguments have these words in them.

        After so many it relents by itself, with the first call that has the words of `until`.
        """
        self._objections.append(Objection(method, words, error, times, until))

    def relent(self) -> None:
        """Ends `object_to` and `uneditable`."""
        self._objections.clear()
        self._uneditable.clear()

    def _wait_for(self, what: str) -> None:
        if (left := self._limits.get(what, 0.0) - asyncio.get_running_loop().time()) > 0:
            raise Limited(left)

    def _object(self, name: str, args: Json) -> None:
        said = json.dumps(args, ensure_ascii=False)
        for objection in list(self._objections):
            if objection.method != name or objection.words not in said:
                continue
            objection.met += 1
            if objection.met > objection.times and objection.until in said:
                self._objections.remove(objection)
                continue
            refuse(True, objection.error, "on order")

    def _note(self, where: str, refused: WebApiRefusal) -> None:
        if refused.error not in CIRCUMSTANCES and refused.messages != ("on order",):
            self.violations.append(f"{where}: {refused}")

    async def _arguments(self, name: str, request: web.Request) -> Json:
        """Reads and checks token and arguments, out of query, form or JSON body."""
        refuse(name not in METHODS, "unknown_method", name)
        args: Json = dict(request.query) | dict(await request.post())
        if request.content_type == "application/json":
            refuse(name in READ, "invalid_arguments", "this method reads no JSON body")
            try:
                args |= await request.json()
            except (ValueError, TypeError):
                raise WebApiRefusal("invalid_json") from None
        opening = name == "apps.connections.open"
        refuse(
            opening and "token" in args,
            "invalid_arguments",
            "the app-level token belongs in the header",
        )
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or args.get(
            "token"
        )
        wanted = self.bot_token
        if opening:
            wanted = self.app_token
        if token != wanted:
            refuse(token in (self.app_token, self.bot_token), "not_allowed_token_type")
            refuse(not token, "not_authed")
            raise WebApiRefusal("invalid_auth")
        args = {
            key: value for key, value in args.items() if key not in ("token", "team_id")
        }  # bolt adds team_id
        needed, known = METHODS[name][0].split(), " ".join(METHODS[name]).split()
        wrong = [f"missing required field: {key}" for key in needed if key not in args]
        wrong += [f"invalid additional property: {key}" for key in args if key not in known]
        refuse(wrong, "invalid_arguments", *wrong)
        args = {key: argument(key, value) for key, value in args.items()}
        scope = next((scope for start, scope in SCOPES.items() if name.startswith(start)), "")
        place = self.channels.get(args.get("channel", ""))
        scope = (
            scope.replace("channels:", "groups:")
            if place and place.is_private and name in READ
            else scope
        )
        refuse(scope not in {"", *self.scopes}, "missing_scope", scope)
        return args

    def _channel(self, args: Json, *, joined: bool = True) -> Channel:
        channel = self.channels.get(args["channel"])
        if channel is None or (channel.is_private and BOT_USER not in channel.members):
            raise WebApiRefusal("channel_not_found", args["channel"])
        refuse(joined and BOT_USER not in channel.members, "not_in_channel", channel.id)
        return channel

    def _message(self, channel: Channel, ts: str, *, error: str = "message_not_found") -> Message:
        for message in self.messages:
            if (message.channel, message.ts) == (channel.id, ts) and not message.deleted:
                return message
        raise WebApiRefusal(error, ts)

    def _content(self, args: Json) -> Json:
        """Checks what a message says and gives its text, blocks and, when it has some, metadata."""
        text, blocks = args.get("text", ""), args.get("blocks", [])
        wrong = blockkit.refused_blocks(blocks)
        refuse(wrong, "invalid_blocks", *wrong)
        refuse(blockkit.size(blocks) > blockkit.MESSAGE_BLOCKS_SIZE, "msg_blocks_too_long")
        refuse(not text and not blocks, "no_text")
        metadata = {key: args[key] for key in ("metadata",) if key in args}
        error = blockkit.fault_of_metadata(args.get("metadata", {}))
        refuse(error, error or "", str(metadata))
        self.pings += blockkit.live_mentions([text, blocks])
        return {"text": text[:40_000], "blocks": with_ids(blocks)} | metadata

    def _ts(self) -> str:
        self._last_ts = max(self._last_ts + 1, int(self.now().timestamp() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def _auth_test(self, _args: Json) -> Json:
        return {
            "url": "https://acme.slack.com/",
            "team_id": TEAM,
            "user": "status",
            "user_id": BOT_USER,
            "bot_id": BOT,
        }

    def _chat_post_message(self, args: Json) -> Json:
        channel, parent = self._channel(args), args.get("thread_ts")
        refuse(channel.is_archived, "is_archived", channel.id)
        orphan = self.takes_orphans and any(m.ts == parent and m.deleted for m in self.messages)
        if (
            parent
            and not orphan
            and self._message(channel, parent, error="thread_not_found").thread_ts
        ):
            raise WebApiRefusal("cannot_reply_to_message", parent)
        self._wait_for(channel.id)
        self._limits[channel.id] = asyncio.get_running_loop().time() + self.posting_gap
        message = Message(
            channel.id, self._ts(), BOT_USER, **self._content(args), thread_ts=parent, bot_id=BOT
        )
        message.broadcast = parent is not None and args.get("reply_broadcast", False)
        self.messages.append(message)
        return {"channel": channel.id, "ts": message.ts, "message": message.as_json()}

    def _chat_update(self, args: Json) -> Json:
        channel, ts, text = self._channel(args), args["ts"], args.get("text", "")
        refuse(ts in self._uneditable, self._uneditable.get(ts, ""), ts)
        message = self._message(channel, ts)
        refuse(message.user != BOT_USER, "cant_update_message", ts)
        refuse(channel.is_archived, "is_inactive", channel.id)
        refuse(len(text) > 4000, "msg_too_long", f"{len(text)} characters")
        for name, value in (self._content(args) | {"edited": self._ts()}).items():
            setattr(message, name, value)
        return {"channel": channel.id, "ts": ts, "text": text, "message": message.as_json()}

    def _chat_post_ephemeral(self, args: Json) -> Json:
        channel, content = self._channel(args), self._content(args)
        refuse(args["user"] not in channel.members, "user_not_in_channel", args["user"])
        shown = Ephemeral(
            channel.id, self._ts(), args["user"], **content, thread_ts=args.get("thread_ts")
        )
        self.ephemerals.append(shown)
        return {"message_ts": shown.ts}

    def _chat_get_permalink(self, args: Json) -> Json:
        message = self._message(self._channel(args, joined=False), args["message_ts"])
        link = f"https://acme.slack.com/archives/{message.channel}/p{message.ts.replace('.', '')}"
        if message.thread_ts:
            link += f"?thread_ts={message.thread_ts}&cid={message.channel}"
        return {"channel": message.channel, "permalink": link}

    def _conversations_info(self, args: Json) -> Json:
        return {"channel": self._channel(args, joined=False).as_json()}

    def _conversations_join(self, args: Json) -> Json:
        channel = self._channel(args, joined=False)
        refuse(channel.is_archived, "is_archived", channel.id)
        refuse(channel.is_private, "method_not_supported_for_channel_type", channel.id)
        if BOT_USER in channel.members:
            return {"channel": channel.as_json(), "warning": "already_in_channel"}
        channel.members.append(BOT_USER)
        return {"channel": channel.as_json()}

    def _conversations_members(self, args: Json) -> Json:
        return page_of("members", self._channel(args, joined=False).members, args)

    def _conversations_history(self, args: Json) -> Json:
        return self._rows(self.timeline(self._channel(args).id)[::-1], args)

    def _conversations_replies(self, args: Json) -> Json:
        parent = self._message(self._channel(args), args["ts"], error="thread_not_found")
        return self._rows([parent, *self.thread(parent.ts, parent.channel)], args)

    def _rows(self, found: list[Message], args: Json) -> Json:
        low = args.get("oldest", "0")
        high = args.get("latest", "9" * 10)
        ends: set[str] = set()
        if args.get("inclusive"):
            ends = {low, high}
        rows = [
            m.as_json() for m in found if float(low) < float(m.ts) < float(high) or m.ts in ends
        ]
        if not args.get("include_all_metadata"):
            for row in rows:
                row.get("metadata", {}).pop("event_payload", None)
        return page_of("messages", rows, args)

    def _reactions_add(self, args: Json) -> Json:
        message = self._message(self._channel(args), args["timestamp"])
        refuse(not re.fullmatch(r"[a-z0-9_+-]+", args["name"]), "invalid_name", args["name"])
        refuse(args["name"] in message.reactions, "already_reacted")
        message.reactions.append(args["name"])
        return {}

    def _usergroups_users_list(self, args: Json) -> Json:
        refuse(args["usergroup"] not in self.usergroups, "no_such_subteam", args["usergroup"])
        return {"users": self.usergroups[args["usergroup"]]}

    def _users_info(self, args: Json) -> Json:
        refuse(args["user"] not in self.users, "user_not_found", args["user"])
        user = self.users[args["user"]]
        offset = self.now().astimezone(ZoneInfo(user.tz)).utcoffset() or timedelta()
        names = {
            "real_name": user.name,
            "profile": {"real_name": user.name, "display_name": user.name},
        }
        return {"user": asdict(user) | names | {"tz_offset": int(offset.total_seconds())}}

    def _checked(self, content: Json, kind: str, *, shown: View | None = None) -> Json:
        wrong = blockkit.refused_view(content)
        refuse(wrong, "invalid_arguments", *wrong)
        refuse(
            content["type"] != kind,
            "invalid_arguments",
            f"must be of type {kind} [json-pointer:/view/type]",
        )
        refuse(blockkit.size(content) > blockkit.VIEW_SIZE, "view_too_large")
        taken = [
            view.content.get("external_id", 0) for view in self.views.values() if view is not shown
        ]
        refuse(content.get("external_id") in taken, "duplicate_external_id")
        return content | {"blocks": with_ids(content["blocks"])}

    def _show(self, user: str, content: Json, *, above: View | None = None) -> Json:
        """Opens a modal, on top of another one or alone."""
        stack = [view for view in self.views.values() if above and view.root_id == above.root_id]
        refuse(len(stack) == 3, "push_limit_reached")
        content = self._checked(content, "modal")
        id_ = f"V{uuid4().hex[:8]}"
        root = id_
        below = None
        if above:
            root = above.root_id
            below = above.id
        self.views[id_] = View(id_, user, content, uuid4().hex, root, below)
        return {"view": self.views[id_].as_json()}

    def _change(self, view: View, args: Json) -> Json:
        refuse(args.get("hash", view.hash) != view.hash, "hash_conflict")
        view.content = self._checked(args["view"], view.content["type"], shown=view)
        view.hash = uuid4().hex
        return {"view": view.as_json()}

    def _redeem(self, id_: str) -> tuple[str, View | None]:
        refuse(id_ not in self._triggers, "invalid_trigger_id", id_)
        trigger, self._triggers[id_] = self._triggers[id_], None
        if trigger is None:
            raise WebApiRefusal("exchanged_trigger_id", id_)
        refuse(self.now() - trigger[0] > timedelta(seconds=3), "expired_trigger_id", id_)
        return trigger[1:]

    def _views_open(self, args: Json) -> Json:
        return self._show(self._redeem(args["trigger_id"])[0], args["view"])

    def _views_push(self, args: Json) -> Json:
        user, view = self._redeem(args["trigger_id"])
        refuse(view is None or view.id not in self.views, "not_found", "no modal to push upon")
        return self._show(user, args["view"], above=view)

    def _views_update(self, args: Json) -> Json:
        for view in (*self.views.values(), *self.homes.values()):
            if args.get("view_id") == view.id or args.get("external_id", 0) == view.content.get(
                "external_id"
            ):
                return self._change(view, args)
        raise WebApiRefusal("not_found")

    def _views_publish(self, args: Json) -> Json:
        user = args["user_id"]
        refuse(user not in self.users, "user_not_found", user)
        if user not in self.homes:
            self.homes[user] = View(
                f"VH{user}", user, self._checked(args["view"], "home"), "", f"VH{user}"
            )
            args = {"view": args["view"]}
        return self._change(self.homes[user], args)

    def _apps_connections_open(self, _args: Json) -> Json:
        return {"url": self._url(self._address)}

    def uneditable(self, ts: str, *, error: str = "cant_update_message") -> None:
        """From now on this message cannot be updated."""
        self._uneditable[ts] = error
