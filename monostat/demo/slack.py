"""Slack as an app sees it: a workspace with people in it, whose doings it hears of.

https://docs.slack.dev/apis/events-api/
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from monostat.demo.calls import WebApiRefusal
from monostat.demo.clock import utcnow
from monostat.demo.methods import Methods, Trigger
from monostat.demo.socketmode import Ack, Disconnected, Unacknowledged
from monostat.demo.workspace import (
    APP,
    BOT,
    BOT_USER,
    TEAM,
    Channel,
    Ephemeral,
    Json,
    Message,
    User,
    View,
    action_of,
    fill,
    state_of,
    unready,
    usable,
    with_ids,
)

__all__ = [
    "Ack",
    "Channel",
    "Disconnected",
    "Ephemeral",
    "Message",
    "SimulatedSlack",
    "Unacknowledged",
    "User",
    "View",
]


#: What the app can subscribe to, with the scope that each needs.
EVENTS = {
    "app_home_opened": "",
    "app_mention": "app_mentions:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
}


class SimulatedSlack(Methods):
    """One workspace with one app in it: what the app does is checked and kept, what people do is
    sent to it.

    The classes stand in a row, Line, WebApi, Methods and this one, so that a test has one thing in
    its hand.
    """

    team_id = TEAM
    bot_user_id = BOT_USER
    bot_id = BOT
    app_id = APP
    bot_token = "xoxb-monostat"
    app_token = "xapp-monostat"

    def __init__(
        self,
        *,
        bot_token: str = bot_token,
        app_token: str = app_token,
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        super().__init__(bot_token=bot_token, app_token=app_token, now=now)
        self.events: dict[str, Json] = {}  # by event_id, oldest first
        self.subscriptions = set(EVENTS)

    # -- what people do in channels, as events

    async def _tell(self, *events: Json) -> None:
        """Sends the events that the app has subscribed to, at the same time as Slack does."""
        sending = []
        for event in events:
            name = event["type"]
            if name == "message":
                name = f"message.{event['channel_type']}s"
            if name not in self.subscriptions or EVENTS[name] not in {"", *self.scopes}:
                continue
            id_ = f"Ev{len(self.events) + 1}"
            body: Json = {
                "type": "event_callback",
                "token": "x",
                "team_id": TEAM,
                "api_app_id": APP,
                "event_id": id_,
                "event_time": int(self.now().timestamp()),
                "event": event,
                "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
            }
            self.events[id_] = body
            sending.append(self._send("events_api", body))
        for end in await asyncio.gather(*sending, return_exceptions=True):
            if isinstance(end, BaseException):
                raise end

    async def redeliver(self, event_id: str, *, as_new: bool = False) -> Ack:
        """Sends an event once more, as Slack does where no acknowledgement came.

        With `as_new` it comes under another id, as what is late does.
        """
        body = self.events[event_id]
        if as_new:
            body = body | {"event_id": f"{event_id}L"}
        return await self._send("events_api", body, retry=1)

    async def _tell_channel(self, channel: str, *events: Json) -> None:
        place = self.channels[channel]
        if BOT_USER in place.members:
            about = {"channel": channel, "channel_type": "channel"}
            if place.is_private:
                about["channel_type"] = "group"
            await self._tell(*(event | about | {"event_ts": event["ts"]} for event in events))

    async def say(
        self,
        user: str,
        text: str,
        *,
        channel: str = "C1",
        thread_ts: str | None = None,
        blocks: list[Json] | None = None,
        mention: bool = True,
        subtype: str = "",
        alias: bool = False,
    ) -> Message:
        """Posts a person's message, given as Slack delivers it (escaped).

        A mention makes two events of it; without `mention` it comes only as a message, as some do,
        of this `subtype`. With `alias` the text names the app by
        another id than Slack has told it, as in an organisation.
        """
        if thread_ts:
            self._seen(thread_ts, channel)
        message = Message(
            channel=channel,
            ts=self._ts(),
            user=user,
            text=text,
            blocks=with_ids(blocks or []),
            thread_ts=thread_ts,
        )
        self.messages.append(message)
        event = message.as_json()
        if subtype:
            event["subtype"] = subtype
        events = [event]
        if mention and (alias or f"<@{BOT_USER}>" in text):
            events = [message.as_json() | {"type": "app_mention"}, event]
        await self._tell_channel(channel, *events)
        return message

    async def touch_message(self, ts: str, *, channel: str = "C1", previous: bool = True) -> None:
        """Tells of a change that is none of the words: a link was unfurled, a reply came."""
        shown = self._seen(ts, channel).as_json()
        before: Json | list[Json] = []
        if previous:
            before = shown
        change: Json = {
            "type": "message",
            "subtype": "message_changed",
            "hidden": True,
            "message": shown,
            "previous_message": before,
            "ts": self._ts(),
        }
        await self._tell_channel(channel, change)

    async def edit_message(self, user: str, ts: str, text: str, *, channel: str = "C1") -> None:
        """Somebody edits a message of their own."""
        message = self._seen(ts, channel)
        if message.user != user:
            raise LookupError(f"{user} did not write {ts}")
        before = message.as_json()
        message.text = text
        message.edited = self._ts()
        change = {
            "type": "message",
            "subtype": "message_changed",
            "hidden": True,
            "message": message.as_json(),
            "previous_message": before,
            "ts": self._ts(),
        }
        await self._tell_channel(channel, change)

    async def delete_message(self, user: str, ts: str, *, channel: str = "C1") -> None:
        """Deletes anybody's message, as its writer or an admin can."""
        message = self._seen(ts, channel)
        if user not in self.channels[channel].members:
            raise LookupError(f"{user} is not in {channel}")
        message.deleted = True
        change = {
            "type": "message",
            "subtype": "message_deleted",
            "hidden": True,
            "deleted_ts": ts,
            "previous_message": message.as_json(),
            "ts": self._ts(),
        }
        await self._tell_channel(channel, change)

    async def rate_limited(self) -> Ack:
        """Says that events were left out: an event without an inner one."""
        about = {"type": "app_rate_limited", "team_id": TEAM, "api_app_id": APP}
        minute = int(self.now().timestamp() // 60)
        return await self._send("events_api", about | {"minute_rate_limited": minute})

    async def open_home(self, user: str) -> None:
        """Somebody opens the app's Home tab."""
        event: Json = {
            "type": "app_home_opened",
            "user": user,
            "channel": f"D{user}",
            "tab": "home",
            "event_ts": self._ts(),
        }
        if user in self.homes:
            event["view"] = self.homes[user].as_json()
        await self._tell(event)

    # -- what people press, fill in and type

    async def _interact(
        self, user: str, kind: str, *, view: View | None = None, **rest: Any
    ) -> Ack:
        who = self.users[user]
        person = {"id": user, "name": who.name, "username": who.name, "team_id": who.team_id}
        payload: Json = {
            "type": kind,
            "user": person,
            "team": {"id": TEAM, "domain": "acme"},
            "api_app_id": APP,
            "token": "x",
            "enterprise": None,
            "is_enterprise_install": False,
            "action_ts": self._ts(),
            "trigger_id": self._trigger(user, view),
        }
        if view:
            payload["view"] = view.as_json()
        payload |= rest
        if kind == "view_closed":
            payload["view"]["state"] = {"values": {}}
        return await self._send("interactive", payload)

    def _trigger(self, user: str, view: View | None = None) -> str:
        id_ = f"111.222.{uuid4().hex}"
        self._triggers[id_] = Trigger(self.now(), user, view)
        return id_

    def _seen(self, ts: str, channel: str, *, also_deleted: bool = False) -> Message:
        for message in (*self.messages, *self.ephemerals):
            is_this = message.channel == channel and message.ts == ts
            if is_this and (also_deleted or not message.deleted):
                return message
        raise LookupError(f"no message {ts} in {channel}")

    def _where(self, message: Message) -> Json:
        name = self.channels[message.channel].name
        place: Json = {
            "channel": {"id": message.channel, "name": name},
            "response_url": f"https://hooks.slack.com/actions/{TEAM}/1/{uuid4().hex}",
        }
        if not isinstance(message, Ephemeral):
            place["message"] = message.as_json()
        return place

    async def _press(self, user: str, message: Message, action: Json) -> Ack:
        container: Json = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": isinstance(message, Ephemeral),
        }
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        state = {"values": state_of(message.blocks, {})}
        return await self._interact(
            user,
            "block_actions",
            **self._where(message),
            state=state,
            container=container,
            actions=[action],
        )

    def _present(self, blocks: list[Json], action_id: str) -> tuple[str, Json]:
        for found in usable(blocks, action_id):
            return found
        others = [element.get("action_id") for _, element in usable(blocks)]
        raise LookupError(f"no {action_id!r} among {others}")

    async def press(
        self, user: str, ts: str, action_id: str, *, channel: str = "C1", chosen: Any = None
    ) -> Ack:
        """Uses what a message shows now; `chosen` is the value of the option picked in a menu."""
        message = self._seen(ts, channel)
        block_id, element = self._present(message.blocks, action_id)
        return await self._press(user, message, action_of(block_id, element, chosen))

    async def press_stale(
        self, user: str, ts: str, action_id: str, value: str, *, channel: str = "C1"
    ) -> Ack:
        """Presses a button that the person still sees though the message has changed since."""
        gone = {
            "type": "button",
            "action_id": action_id,
            "value": value,
            "text": {"type": "plain_text", "text": "?"},
        }
        message = self._seen(ts, channel, also_deleted=True)
        return await self._press(user, message, action_of("gone", gone, None))

    def _open(self, user: str, view_id: str) -> View:
        for view in (*self.views.values(), *self.homes.values()):
            if (view.id, view.user) == (view_id, user):
                return view
        raise LookupError(f"{user} sees no view {view_id}")

    async def press_in_view(
        self,
        user: str,
        view_id: str,
        action_id: str,
        *,
        chosen: Any = None,
        values: Mapping[str, Any] | None = None,
    ) -> Ack:
        """Uses something in an open modal or on the person's Home tab; that choice, and `values`,
        stay in the form.
        """
        view = self._open(user, view_id)
        fill(view, values or {})
        block_id, element = self._present(view.content["blocks"], action_id)
        action = action_of(block_id, element, chosen)
        fill(view, {block_id: {action_id: chosen}})
        container = {"type": "view", "view_id": view.id}
        return await self._interact(
            user, "block_actions", view=view, container=container, actions=[action]
        )

    async def submit_view(self, user: str, view_id: str, values: Mapping[str, Any]) -> Ack:
        """Fills in the named fields as `fill` has them, submits, and does with the modal what the
        ack says.
        """
        view = self._open(user, view_id)
        fill(view, values)
        if wrong := unready(view):
            raise ValueError(f"the form does not submit while {wrong}")
        view.errors = {}
        ack = await self._interact(user, "view_submission", view=view, response_urls=[])
        try:
            self._obey(view, ack.payload)
        except WebApiRefusal as refused:
            self._note("view_submission", refused)
        return ack

    def _obey(self, view: View, answer: Json) -> None:
        inputs = {block["block_id"] for block in view.content["blocks"] if block["type"] == "input"}
        match answer:
            case {"response_action": "errors", "errors": dict(errors)} if (
                errors and errors.keys() <= inputs
            ):
                view.errors = errors
            case {"response_action": "update", "view": content}:
                self._change(view, {"view": content})
            case {"response_action": "push", "view": content}:
                self._show(view.user, content, above=view)
            case {"response_action": "clear"}:
                self._close(view, stack=True)
            case _ if not answer:
                self._close(view)
            case _:
                raise WebApiRefusal("invalid_arguments", f"no answer to a submission: {answer}")

    def _close(self, view: View, *, stack: bool = False) -> None:
        for other in list(self.views.values()):
            if other is view or (stack and other.root_id == view.root_id):
                del self.views[other.id]

    async def close_view(self, user: str, view_id: str) -> Ack | None:
        """Somebody closes a dialog; the app hears of it where it asked to."""
        view = self._open(user, view_id)
        stack = view.content.get("clear_on_close", False)
        self._close(view, stack=stack)
        if not view.content.get("notify_on_close"):
            return None
        return await self._interact(user, "view_closed", view=view, is_cleared=stack)

    def _commands(self) -> None:
        if "commands" not in self.scopes:
            raise LookupError(
                "an app without the scope commands has neither shortcuts nor slash commands"
            )

    async def shortcut(self, user: str, callback_id: str) -> Ack:
        """Somebody runs a global shortcut."""
        self._commands()
        return await self._interact(user, "shortcut", callback_id=callback_id)

    async def message_shortcut(
        self, user: str, callback_id: str, ts: str, channel: str = "C1"
    ) -> Ack:
        """Somebody runs a shortcut from a message's menu."""
        self._commands()
        where = self._where(self._seen(ts, channel))
        return await self._interact(
            user, "message_action", callback_id=callback_id, message_ts=ts, **where
        )

    async def slash(self, user: str, command: str, text: str = "", channel: str = "C1") -> Ack:
        """Types a command; a message in the ack is shown to this person, or to all where it says
        so.
        """
        self._commands()
        payload = {
            "token": "x",
            "team_id": TEAM,
            "team_domain": "acme",
            "channel_id": channel,
            "user_id": user,
            "channel_name": self.channels[channel].name,
            "user_name": self.users[user].name,
            "command": command,
            "text": text,
            "api_app_id": APP,
            "trigger_id": self._trigger(user),
            "is_enterprise_install": "false",
            "response_url": f"https://hooks.slack.com/{uuid4().hex}",
        }
        ack = await self._send("slash_commands", payload)
        unknown = sorted(ack.payload.keys() - {"text", "blocks", "response_type"})
        if unknown:
            self._note(command, WebApiRefusal("invalid_arguments", *unknown))
            return ack
        try:
            content = {}
            if ack.payload:
                content = self._content(ack.payload)
        except WebApiRefusal as refused:
            self._note(command, refused)
        else:
            if ack.payload.get("response_type") == "in_channel":
                self.messages.append(Message(channel, self._ts(), BOT_USER, **content, bot_id=BOT))
            elif content:
                self.ephemerals.append(Ephemeral(channel, self._ts(), user, **content))
        return ack
