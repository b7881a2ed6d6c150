"""Slack's Web API: what is said is posted once, and who may act is known; contracts/slack.md is
obeyed.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import aiohttp

from monostat import config
from monostat.slack.dialogs import notice
from monostat.slack.messages import Message
from monostat.vendor import UNSENT, Condition, Undelivered, nap, retry_after, turning

# slack_bolt and slack_sdk are imported where they are first needed: they take most of a second.
log = logging.getLogger(__name__)
Json = dict[str, Any]
SKEW = timedelta(
    minutes=5
)  # between Slack's clock and ours, when looking for what may have been posted

# Contract slack.md, section 7: after the first the call may be repeated, after the second it may
# have happened.
LIMITED = {"ratelimited", "rate_limited"}
BROKEN = {
    "internal_error",
    "fatal_error",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
}
BROKEN |= {"update_failed"}
NEW_KEYS = "check slack.bot_token and slack.app_token, or install the app again"
UNKNOWN_KEYS = (
    "not_authed invalid_auth account_inactive token_revoked token_expired not_allowed_token_type"
)
REMEDIES = dict.fromkeys(UNKNOWN_KEYS.split(), NEW_KEYS)
REMEDIES |= dict.fromkeys(
    ("channel_not_found", "not_in_channel"), "check slack.channel, and /invite the app to it"
)
REMEDIES |= {"missing_scope": "install the app again with its manifest"}
REMEDIES |= dict.fromkeys(
    ("is_archived", "is_inactive"), "unarchive the channel, or set another slack.channel"
)
OUTDATED = {"expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id"}
GONE = {"message_not_found", "cant_update_message", "edit_window_closed"}
UNFIT = {
    "invalid_blocks",
    "invalid_blocks_format",
    "msg_blocks_too_long",
    "msg_too_long",
    "block_mismatch",
    "no_text",
}
UNFIT |= {
    "invalid_arguments",
    "view_too_large",
}  # what was said has a form that Slack does not take
UNASKABLE = {
    "missing_scope",
    "not_allowed_token_type",
    "no_permission",
    "access_denied",
    "thread_not_found",
}
MOST_PAGES = 100  # of 200 messages or 1,000 people each; a list that goes on is nonsense
BRIEF = 3.0  # seconds that a look-up of somebody who has just acted may be put off
BARRED = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger")

NOT_STAFF = (
    "Only full members of this workspace who are in this channel may act here. Nothing was changed."
)
CANNOT_CHECK = "monostat cannot check right now who may act, because Slack does not answer it. Nothing was changed."


@dataclass(eq=False)
class Refused(Undelivered):
    """Slack says no, and calls it `code`; what an operator can put right is worth another try."""

    code: str = ""


def limited(what: str, seconds: float) -> Undelivered:
    return Undelivered(f"Slack has had too many calls of {what}", retry_after=seconds)


def undelivered(what: str, error: BaseException) -> Undelivered:
    """Says what a failed call means for the next try; the answer of an SDK error may be anything."""
    answer = getattr(error, "response", None)
    data, status = (
        getattr(answer, "data", None),
        getattr(answer, "status_code", 0) or getattr(answer, "status", 0),
    )
    said = data if isinstance(data, dict) else {}
    code = str(said.get("error") or "")
    if status == 429 or code in LIMITED:
        wait = retry_after(getattr(answer, "headers", {}))
        return limited(what, 30.0 if wait is None else wait)
    if not code or code in BROKEN or status >= 500:
        problem = f"{code or status or type(error).__name__}"
        return Undelivered(
            f"Slack did not answer {what}: {problem}", ambiguous=not isinstance(error, UNSENT)
        )
    if code in OUTDATED:
        return Refused(
            f"Slack refused {what} ({code}): it took over three seconds", permanent=True, code=code
        )
    bug = f"please report this as a bug: {said.get('response_metadata')}"[:500]
    reason = f"Slack refused {what} ({code}): {REMEDIES.get(code, bug)}"
    return Refused(reason, permanent=code not in REMEDIES, code=code)


def inner(value: Any, *keys: str) -> Any:
    """What is there, or None: an answer may have any shape."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


@dataclass(kw_only=True)
class SlackClient:
    """One channel of one workspace, who we are there, and who may act."""

    settings: config.Slack
    session: aiohttp.ClientSession
    timing: config.Timing
    team: str = ""
    bot: str = ""
    bot_user: str = ""
    staff: dict[str, str] = field(default_factory=dict)  # the names of those who may act, by id
    listed: float = float("-inf")  # when that list was last complete
    looking: dict[str, asyncio.Task[str]] = field(default_factory=dict)  # up who is not on it
    limits: dict[str, float] = field(
        default_factory=dict
    )  # by method: the loop's time of the next call

    # A retry handler would post twice what was accepted before a reset.
    @cached_property
    def web(self) -> Any:
        from slack_sdk.web.async_client import AsyncWebClient

        logging.getLogger("slack_sdk").setLevel(logging.WARNING)  # at DEBUG it logs whole requests
        token, url = self.settings.bot_token.get_secret_value(), self.settings.url
        return AsyncWebClient(token, base_url=url, session=self.session, retry_handlers=[])

    async def call(self, method: str, **arguments: Any) -> Json:
        """Calls the Web API once; whatever goes wrong is Undelivered.

        A limit is one method's (contract slack.md, section 7): until it is over this one is not
        called.
        """
        from slack_sdk.errors import SlackClientError

        clock = asyncio.get_running_loop().time
        what = method.replace("_", ".", 1)
        if (left := self.limits.get(method, 0.0) - clock()) > 0:
            raise limited(what, left)
        turning.get()(self.web.timeout)
        try:
            answer = await getattr(self.web, method)(**arguments)
            return dict(answer.data)
        # The SDK lets the last three escape for an answer that is no JSON object.
        except (
            SlackClientError,
            aiohttp.ClientError,
            TimeoutError,
            AttributeError,
            TypeError,
            ValueError,
        ) as error:
            failure = undelivered(what, error)
            if failure.retry_after is not None:
                self.limits[method] = clock() + failure.retry_after
            raise failure from None

    async def pages(self, method: str, key: str, **arguments: Any) -> AsyncIterator[Any]:
        """Yields the rows of all pages; what is no list must not be taken for an empty one."""
        cursor = ""
        for _ in range(MOST_PAGES):
            page = await self.call(method, **arguments, **({"cursor": cursor} if cursor else {}))
            if not isinstance(rows := page.get(key), list):
                break
            for row in rows:
                yield row
            if not (cursor := str(inner(page, "response_metadata", "next_cursor") or "")):
                return
        raise Undelivered(
            f"Slack's answer to {method.replace('_', '.', 1)} is not understood", ambiguous=True
        )

    async def post(
        self, message: Message, *, key: str, thread: str | None = None, loud: bool = False
    ) -> str:
        """Posts to the channel or a thread and returns Slack's name for the message; `key` is how
        to find it again.
        """
        where = {
            "channel": self.settings.channel,
            "thread_ts": thread,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        where |= {"reply_broadcast": True} if loud and thread else {}
        metadata = {"event_type": "monostat_post", "event_payload": {"key": key}}
        what = {"text": message.text, "blocks": message.blocks, "metadata": metadata}
        answer = await self.call("chat_postMessage", **where, **what)
        if not answer.get("ts"):
            raise Undelivered("Slack did not say where it posted", ambiguous=True)
        return str(answer["ts"])

    async def update(self, ts: str, message: Message) -> bool:
        """Makes a message say this; False when Slack no longer lets us."""
        what = {"text": message.text, "blocks": message.blocks}
        try:
            await self.call("chat_update", channel=self.settings.channel, ts=ts, **what)
        except Refused as refused:
            if refused.code not in GONE:
                raise
            return False
        return True

    async def find(self, key: str, *, since: datetime, thread: str | None = None) -> str | None:
        """Looks for what `post` may have posted without our hearing of it."""
        if not self.bot:
            await self.learn()
        method, where = (
            ("conversations_replies", {"ts": thread}) if thread else ("conversations_history", {})
        )
        where |= {"channel": self.settings.channel, "oldest": f"{(since - SKEW).timestamp():.6f}"}
        try:
            async for message in self.pages(
                method, "messages", **where, limit=200, include_all_metadata=True
            ):
                ours = (
                    inner(message, "bot_id") == self.bot
                    and inner(message, "metadata", "event_payload", "key") == key
                )
                if ours and inner(message, "ts"):
                    return str(message["ts"])
        except Refused as refused:
            if thread is None or refused.code not in UNASKABLE:
                raise
            log.warning(
                "a line that may be in its thread already is posted again: %s", refused.reason
            )
        return None

    async def learn(self) -> None:
        """Asks who we are."""
        me = await self.call("auth_test")
        self.team, self.bot, self.bot_user = (
            str(me.get(key, "")) for key in ("team_id", "bot_id", "user_id")
        )

    async def keep(
        self, what: str, task: Callable[[], Awaitable[None]], every: float | None = None
    ) -> None:
        """Does it until it succeeds once, or again and again; a trouble is told when it comes and
        when it goes.
        """
        condition, wait = Condition(what), 0.5
        while True:
            try:
                await task()
                condition.tell("")
                if every is None:
                    return
                wait = 0.5
                await asyncio.sleep(every)
            except Undelivered as failure:
                condition.tell(failure.reason)
                await nap(failure.retry_after or wait)
                wait = min(2 * wait, every or 30.0, 30.0)

    async def _members(self) -> list[str]:
        """The people of the channel, of the allowed group where one is set."""
        channel, group = self.settings.channel, self.settings.allowed_user_group
        people = [
            user
            async for user in self.pages(
                "conversations_members", "members", channel=channel, limit=1000
            )
        ]
        allowed = (
            (await self.call("usergroups_users_list", usergroup=group)).get("users")
            if group
            else people
        )
        known = allowed if isinstance(allowed, list) else []
        return [user for user in people if isinstance(user, str) and user in known]

    async def list_staff(self) -> None:
        """Makes the list of those who may act anew."""
        staff: dict[str, str] = {}
        for user in await self._members():
            # The list of a big channel takes its time.
            staff |= await self._ask_about(user, patience=math.inf)
        self.staff, self.listed = staff, asyncio.get_running_loop().time()

    async def _ask_about(self, id_: str, *, patience: float) -> dict[str, str]:
        """The person's id and name, or nothing where they may not act; waits for a limit so long."""
        try:
            user = (await self.call("users_info", user=id_)).get("user")
            user = user if isinstance(user, dict) else {}
        except Undelivered as failure:
            if isinstance(failure, Refused) and failure.code in (
                "user_not_found",
                "user_not_visible",
            ):
                return {}
            if failure.retry_after is None or failure.retry_after > patience:
                raise
            await asyncio.sleep(failure.retry_after)
            return await self._ask_about(id_, patience=patience)
        name = (
            inner(user, "profile", "display_name")
            or user.get("real_name")
            or user.get("name")
            or id_
        )
        full = (
            self.team
            and user.get("team_id") == self.team
            and not any(user.get(key) for key in BARRED)
        )
        return {id_: str(name)} if full else {}

    async def refusal(self, user: str) -> str:
        """Why this person may not act; empty where they may. Who is not listed is looked up."""
        if (
            user in self.staff
            and asyncio.get_running_loop().time() - self.listed <= self.timing.staff_trust
        ):
            return ""
        if user not in self.looking:
            self.looking[user] = task = asyncio.create_task(self._look_up(user))
            task.add_done_callback(lambda _: self.looking.pop(user))
        return await asyncio.shield(self.looking[user])

    async def _look_up(self, user: str) -> str:
        try:
            found = (
                await self._ask_about(user, patience=BRIEF) if user in await self._members() else {}
            )
        except Undelivered as failure:
            log.warning("%s could not be checked: %s", user, failure.reason)
            return CANNOT_CHECK
        self.staff = {id_: name for id_, name in self.staff.items() if id_ != user} | found
        return "" if found else NOT_STAFF

    async def tell(
        self,
        user: str,
        text: str,
        *,
        thread: str | None = None,
        trigger: str = "",
        blocks: Any = None,
    ) -> None:
        """Tells one person, in mrkdwn, what nobody else needs to know: in a dialog, or else in the
        channel.

        Where Slack does not answer it is tried again for some minutes.
        """
        if trigger:
            with suppress(Undelivered):  # a dialog opens within three seconds or never
                await self.call("views_open", trigger_id=trigger, view=notice(text))
                return
        where = {"channel": self.settings.channel, "thread_ts": thread}
        for attempt in range(10):
            try:
                await self.call("chat_postEphemeral", **where, user=user, text=text, blocks=blocks)
            except Undelivered as failure:
                if failure.permanent or attempt == 9:
                    log.warning("%s was not told %r: %s", user, text, failure.reason)
                    return
                await asyncio.sleep(failure.retry_after or min(0.5 * 2**attempt, 60))
            else:
                return
