"""The methods of the Web API: what the app asks for is answered, and what it posts is kept."""

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

from monostat.demo import blockkit
from monostat.demo.calls import WebApiRefusal, page_of
from monostat.demo.webapi import WebApi, loop_time
from monostat.demo.workspace import (
    BOT,
    BOT_USER,
    TEAM,
    Channel,
    Ephemeral,
    Json,
    Message,
    View,
    with_ids,
)

MILLION = 1_000_000  # microseconds


class Trigger(NamedTuple):
    """What allows the app to open a dialog, once: when, and for whom; above which dialog."""

    issued: datetime
    user: str
    view: View | None


class Methods(WebApi):
    """What answers each method, in the state that the methods share."""

    def __init__(self, *, bot_token: str, app_token: str, now: Callable[[], datetime]) -> None:
        super().__init__(bot_token=bot_token, app_token=app_token, now=now)
        self._triggers: dict[str, Trigger | None] = {}
        self._last_ts = 0

    def timeline(self, channel: str = "C1") -> list[Message]:
        """The messages of a channel outside threads, oldest first."""
        here = self._present_in(channel)
        return [m for m in here if m.thread_ts is None or m.broadcast]

    def thread(self, ts: str, channel: str = "C1") -> list[Message]:
        """The replies below a message, oldest first."""
        here = self._present_in(channel)
        return [m for m in here if m.thread_ts == ts]

    def _present_in(self, channel: str) -> list[Message]:
        return [m for m in self.messages if m.channel == channel and not m.deleted]

    # -- What several methods need

    def _channel(self, args: Json, *, joined: bool = True) -> Channel:
        channel = self.channels.get(args["channel"])
        if channel is None:
            raise WebApiRefusal("channel_not_found", args["channel"])
        is_outside = BOT_USER not in channel.members
        if is_outside and channel.is_private:
            raise WebApiRefusal("channel_not_found", channel.id)
        if is_outside and joined:
            raise WebApiRefusal("not_in_channel", channel.id)
        return channel

    def _message(self, channel: Channel, ts: str, *, error: str = "message_not_found") -> Message:
        for message in self.messages:
            is_this = message.channel == channel.id and message.ts == ts
            if is_this and not message.deleted:
                return message
        raise WebApiRefusal(error, ts)

    def _content(self, args: Json) -> Json:
        """Checks what a message says and gives its text, blocks and, when it has some, metadata."""
        text = args.get("text", "")
        blocks = args.get("blocks", [])
        wrong = blockkit.refused_blocks(blocks)
        if wrong:
            raise WebApiRefusal("invalid_blocks", *wrong)
        size = blockkit.size(blocks)
        if size > blockkit.MESSAGE_BLOCKS_SIZE:
            raise WebApiRefusal("msg_blocks_too_long")
        if not text and not blocks:
            raise WebApiRefusal("no_text")
        content = {"text": text[:40_000], "blocks": with_ids(blocks)}
        if "metadata" in args:
            metadata = args["metadata"]
            error = blockkit.fault_of_metadata(metadata)
            if error:
                raise WebApiRefusal(error, str(metadata))
            content["metadata"] = metadata
        self.pings += blockkit.live_mentions([text, blocks])
        return content

    def _ts(self) -> str:
        now = int(self.now().timestamp() * MILLION)
        self._last_ts = max(self._last_ts + 1, now)
        seconds, rest = divmod(self._last_ts, MILLION)
        return f"{seconds}.{rest:06d}"

    # -- One for each method

    def _auth_test(self, _args: Json) -> Json:
        return {
            "url": "https://acme.slack.com/",
            "team_id": TEAM,
            "user": "status",
            "user_id": BOT_USER,
            "bot_id": BOT,
        }

    def _chat_post_message(self, args: Json) -> Json:
        channel = self._channel(args)
        parent = args.get("thread_ts")
        if channel.is_archived:
            raise WebApiRefusal("is_archived", channel.id)
        gone = {m.ts for m in self.messages if m.deleted}
        is_orphan = self.takes_orphans and parent in gone
        if parent and not is_orphan:
            above = self._message(channel, parent, error="thread_not_found")
            if above.thread_ts:
                raise WebApiRefusal("cannot_reply_to_message", parent)
        self._wait_for(channel.id)
        self._limits[channel.id] = loop_time() + self.posting_gap
        message = Message(
            channel=channel.id,
            ts=self._ts(),
            user=BOT_USER,
            **self._content(args),
            thread_ts=parent,
            bot_id=BOT,
        )
        if parent:
            message.broadcast = args.get("reply_broadcast", False)
        self.messages.append(message)
        return {"channel": channel.id, "ts": message.ts, "message": message.as_json()}

    def _chat_update(self, args: Json) -> Json:
        channel = self._channel(args)
        ts = args["ts"]
        text = args.get("text", "")
        error = self._uneditable.get(ts, "")
        if error:
            raise WebApiRefusal(error, ts)
        message = self._message(channel, ts)
        if message.user != BOT_USER:
            raise WebApiRefusal("cant_update_message", ts)
        if channel.is_archived:
            raise WebApiRefusal("is_inactive", channel.id)
        if len(text) > 4000:
            raise WebApiRefusal("msg_too_long", f"{len(text)} characters")
        for name, value in self._content(args).items():
            setattr(message, name, value)
        message.edited = self._ts()
        return {"channel": channel.id, "ts": ts, "text": text, "message": message.as_json()}

    def _chat_post_ephemeral(self, args: Json) -> Json:
        channel = self._channel(args)
        content = self._content(args)
        user = args["user"]
        if user not in channel.members:
            raise WebApiRefusal("user_not_in_channel", user)
        shown = Ephemeral(
            channel=channel.id, ts=self._ts(), user=user, **content, thread_ts=args.get("thread_ts")
        )
        self.ephemerals.append(shown)
        return {"message_ts": shown.ts}

    def _chat_get_permalink(self, args: Json) -> Json:
        channel = self._channel(args, joined=False)
        message = self._message(channel, args["message_ts"])
        digits = message.ts.replace(".", "")
        link = f"https://acme.slack.com/archives/{channel.id}/p{digits}"
        if message.thread_ts:
            link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
        return {"channel": channel.id, "permalink": link}

    def _conversations_info(self, args: Json) -> Json:
        channel = self._channel(args, joined=False)
        return {"channel": channel.as_json()}

    def _conversations_join(self, args: Json) -> Json:
        channel = self._channel(args, joined=False)
        if channel.is_archived:
            raise WebApiRefusal("is_archived", channel.id)
        if channel.is_private:
            raise WebApiRefusal("method_not_supported_for_channel_type", channel.id)
        answer: Json = {}
        if BOT_USER in channel.members:
            answer["warning"] = "already_in_channel"
        else:
            channel.members.append(BOT_USER)
        answer["channel"] = channel.as_json()
        return answer

    def _conversations_members(self, args: Json) -> Json:
        channel = self._channel(args, joined=False)
        return page_of("members", channel.members, args)

    def _conversations_history(self, args: Json) -> Json:
        channel = self._channel(args)
        newest_first = self.timeline(channel.id)[::-1]
        return self._rows(newest_first, args)

    def _conversations_replies(self, args: Json) -> Json:
        channel = self._channel(args)
        parent = self._message(channel, args["ts"], error="thread_not_found")
        replies = self.thread(parent.ts, channel.id)
        return self._rows([parent, *replies], args)

    def _rows(self, found: list[Message], args: Json) -> Json:
        oldest = args.get("oldest", "0")
        latest = args.get("latest", "9" * 10)
        low = float(oldest)
        high = float(latest)
        rows = []
        for message in found:
            is_end = message.ts in (oldest, latest)
            is_between = low < float(message.ts) < high
            if is_end:
                is_between = args.get("inclusive", False)
            if is_between:
                rows.append(message.as_json())
        if not args.get("include_all_metadata"):
            for row in rows:
                metadata = row.get("metadata", {})
                metadata.pop("event_payload", None)
        return page_of("messages", rows, args)

    def _reactions_add(self, args: Json) -> Json:
        channel = self._channel(args)
        message = self._message(channel, args["timestamp"])
        name = args["name"]
        is_name = re.fullmatch(r"[a-z0-9_+-]+", name)
        if not is_name:
            raise WebApiRefusal("invalid_name", name)
        if name in message.reactions:
            raise WebApiRefusal("already_reacted")
        message.reactions.append(name)
        return {}

    def _usergroups_users_list(self, args: Json) -> Json:
        group = args["usergroup"]
        if group not in self.usergroups:
            raise WebApiRefusal("no_such_subteam", group)
        return {"users": self.usergroups[group]}

    def _users_info(self, args: Json) -> Json:
        id_ = args["user"]
        if id_ not in self.users:
            raise WebApiRefusal("user_not_found", id_)
        user = self.users[id_]
        there = self.now().astimezone(ZoneInfo(user.tz))
        offset = there.utcoffset() or timedelta()
        shown = asdict(user)
        shown["real_name"] = user.name
        shown["profile"] = {"real_name": user.name, "display_name": user.name}
        shown["tz_offset"] = int(offset.total_seconds())
        return {"user": shown}

    def _checked(self, content: Json, kind: str, *, shown: View | None = None) -> Json:
        wrong = blockkit.refused_view(content)
        if wrong:
            raise WebApiRefusal("invalid_arguments", *wrong)
        wanted = f"must be of type {kind} [json-pointer:/view/type]"
        if content["type"] != kind:
            raise WebApiRefusal("invalid_arguments", wanted)
        size = blockkit.size(content)
        if size > blockkit.VIEW_SIZE:
            raise WebApiRefusal("view_too_large")
        others = [view for view in self.views.values() if view is not shown]
        taken = [view.content.get("external_id", 0) for view in others]
        if content.get("external_id") in taken:
            raise WebApiRefusal("duplicate_external_id")
        return content | {"blocks": with_ids(content["blocks"])}

    def _show(self, user: str, content: Json, *, above: View | None = None) -> Json:
        """Opens a modal, on top of another one or alone."""
        if above:
            stack = [view for view in self.views.values() if view.root_id == above.root_id]
            if len(stack) == 3:
                raise WebApiRefusal("push_limit_reached")
        content = self._checked(content, "modal")
        id_ = f"V{uuid4().hex[:8]}"
        view = View(id=id_, user=user, content=content, hash=uuid4().hex, root_id=id_)
        if above:
            view.root_id = above.root_id
            view.previous_id = above.id
        self.views[id_] = view
        return {"view": view.as_json()}

    def _change(self, view: View, args: Json) -> Json:
        known = args.get("hash", view.hash)
        if known != view.hash:
            raise WebApiRefusal("hash_conflict")
        kind = view.content["type"]
        view.content = self._checked(args["view"], kind, shown=view)
        view.hash = uuid4().hex
        return {"view": view.as_json()}

    def _redeem(self, id_: str) -> Trigger:
        if id_ not in self._triggers:
            raise WebApiRefusal("invalid_trigger_id", id_)
        trigger = self._triggers[id_]
        if trigger is None:
            raise WebApiRefusal("exchanged_trigger_id", id_)
        self._triggers[id_] = None
        age = self.now() - trigger.issued
        if age > timedelta(seconds=3):
            raise WebApiRefusal("expired_trigger_id", id_)
        return trigger

    def _views_open(self, args: Json) -> Json:
        trigger = self._redeem(args["trigger_id"])
        return self._show(trigger.user, args["view"])

    def _views_push(self, args: Json) -> Json:
        trigger = self._redeem(args["trigger_id"])
        view = trigger.view
        is_gone = view is None or view.id not in self.views
        if is_gone:
            raise WebApiRefusal("not_found", "no modal to push upon")
        return self._show(trigger.user, args["view"], above=view)

    def _views_update(self, args: Json) -> Json:
        shown = [*self.views.values(), *self.homes.values()]
        for view in shown:
            is_named = args.get("view_id") == view.id
            external_id = view.content.get("external_id")
            is_ours = args.get("external_id", 0) == external_id
            if is_named or is_ours:
                return self._change(view, args)
        raise WebApiRefusal("not_found")

    def _views_publish(self, args: Json) -> Json:
        user = args["user_id"]
        if user not in self.users:
            raise WebApiRefusal("user_not_found", user)
        if user not in self.homes:
            content = self._checked(args["view"], "home")
            id_ = f"VH{user}"
            self.homes[user] = View(id=id_, user=user, content=content, hash="", root_id=id_)
            args = {"view": args["view"]}
        return self._change(self.homes[user], args)

    def _apps_connections_open(self, _args: Json) -> Json:
        return {"url": self._url(self._address)}
