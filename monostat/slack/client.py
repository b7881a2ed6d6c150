"""Slack's Web API: what is said is posted once.

https://docs.slack.dev/reference/methods/
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import aiohttp

from monostat import config
from monostat.core.lenient import part_of
from monostat.slack.dialogs import notice
from monostat.slack.messages import Block, Message
from monostat.vendor import CONNECT_ERRORS, Undelivered, expect_turn, retry_after

# slack_bolt and slack_sdk are imported where they are first needed: they take most of a second.
log = logging.getLogger(__name__)
Json = dict[str, Any]
#: Between Slack's clock and ours, when looking for what may have been posted.
SKEW = timedelta(minutes=5)
MOST_PAGES = 100  # of 200 messages or 1,000 people each; a list that goes on is nonsense
MOST_TRIES = 10  # of telling one person something
DEFAULT_WAIT = 30.0  # seconds, after a limit that does not say how long it is

# https://docs.slack.dev/apis/web-api/rate-limits
# After the first the call may be repeated, after the second it may
# have happened.
LIMITED = {"ratelimited", "rate_limited", "message_limit_exceeded"}
#: Seconds that a limit lasts at least: an answer that asks for none would be asked for at once.
LEAST_WAIT = 1.0
BROKEN = {
    "internal_error",
    "fatal_error",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
    "update_failed",
}
OUTDATED = {"expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id"}
GONE = {"message_not_found", "cant_update_message", "edit_window_closed"}
#: What was said has a form that Slack does not take.
UNFIT = {
    "invalid_blocks",
    "invalid_blocks_format",
    "msg_blocks_too_long",
    "msg_too_long",
    "block_mismatch",
    "no_text",
    "invalid_arguments",
    "view_too_large",
}
#: Why a message cannot be marked: a line takes the mark's place.
UNMARKED = {"missing_scope", "message_not_found", "bad_timestamp", "too_many_reactions"}
UNASKABLE = {
    "missing_scope",
    "not_allowed_token_type",
    "no_permission",
    "access_denied",
    "thread_not_found",
}

BAD_TOKENS = (
    "not_authed",
    "invalid_auth",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "not_allowed_token_type",
)
NEW_KEYS = "check slack.bot_token and slack.app_token, or install the app again"
NO_CHANNEL = "check slack.channel, and /invite the app to it"
ARCHIVED = "unarchive the channel, or set another slack.channel"
RESTRICTED = (
    "restricted_action",
    "restricted_action_read_only_channel",
    "restricted_action_thread_only_channel",
    "restricted_action_non_threadable_channel",
)
#: What an operator can do about a refusal.
REMEDIES = {
    **dict.fromkeys(BAD_TOKENS, NEW_KEYS),
    "channel_not_found": NO_CHANNEL,
    "not_in_channel": NO_CHANNEL,
    "missing_scope": "install the app again with its manifest",
    **dict.fromkeys(RESTRICTED, "let the app post to the channel, in the channel's settings"),
    "is_archived": ARCHIVED,
    "is_inactive": ARCHIVED,
}


@dataclass(eq=False)
class SlackRefused(Undelivered):
    """Slack says no, and calls it `code`; what an operator can put right is worth another try."""

    code: str = ""


def rate_limited(what: str, seconds: float) -> Undelivered:
    """A method that may not be called for so long."""
    return Undelivered(f"Slack has had too many calls of {what}", retry_after=seconds)


def undelivered(what: str, error: BaseException) -> Undelivered:
    """Says what a failed call means for the next try; the answer of an SDK error may be anything.

    1. A limit says how long to wait.
    2. Without a code of Slack's, and where Slack is broken, the call may have happened.
    3. Every other code is a refusal, which is for ever, unless an operator can put it right.
    """
    answer = getattr(error, "response", None)
    status = getattr(answer, "status_code", 0) or getattr(answer, "status", 0)
    data = getattr(answer, "data", None)
    code = str(part_of(data, "error") or "")
    if status == 429 or code in LIMITED:
        wait = retry_after(getattr(answer, "headers", {}))
        if wait is None:
            wait = DEFAULT_WAIT
        return rate_limited(what, max(wait, LEAST_WAIT))
    if not code or code in BROKEN or status >= 500:
        problem = code or status or type(error).__name__
        may_have_happened = not isinstance(error, CONNECT_ERRORS)
        reason = f"Slack did not answer {what}: {problem}"
        return Undelivered(reason, ambiguous=may_have_happened)
    if code in OUTDATED:
        reason = f"Slack refused {what} ({code}): it took over three seconds"
        return SlackRefused(reason, permanent=True, code=code)
    metadata = part_of(data, "response_metadata")
    bug = "please report this as a bug"
    if metadata:
        bug += f": {metadata}"[:500]
    reason = f"Slack refused {what} ({code}): {REMEDIES.get(code, bug)}"
    return SlackRefused(reason, permanent=code not in REMEDIES, code=code)


def name_of(method: str) -> str:
    """A method of the SDK as Slack calls it: "chat.postMessage"."""
    return method.replace("_", ".", 1)


@dataclass(kw_only=True)
class SlackClient:
    """One channel of one workspace, and who we are there.

    `team`, `bot` and `bot_user` are Slack's ids, empty until it was asked for them.
    """

    settings: config.SlackSettings
    session: aiohttp.ClientSession
    timing: config.Timing
    team: str = ""
    bot: str = ""
    bot_user: str = ""
    #: By method: the event loop's time of the next call that its limit allows.
    limits: dict[str, float] = field(default_factory=dict)

    @cached_property
    def web(self) -> Any:
        """The SDK's client, which tries everything once."""
        from slack_sdk.web.async_client import AsyncWebClient

        logging.getLogger("slack_sdk").setLevel(logging.WARNING)  # at DEBUG it logs whole requests
        token = self.settings.bot_token.get_secret_value()
        return AsyncWebClient(
            token,
            base_url=self.settings.url,
            session=self.session,
            retry_handlers=[],  # one would post twice what was accepted before a reset
        )

    async def call(self, method: str, **arguments: Any) -> Json:
        """Calls the Web API once; whatever goes wrong is Undelivered.

        A limit is one method's: until it is over this one is not called.
        https://docs.slack.dev/apis/web-api/rate-limits
        """
        from slack_sdk.errors import SlackClientError

        clock = asyncio.get_running_loop().time
        left = self.limits.get(method, 0.0) - clock()
        if left > 0:
            raise rate_limited(name_of(method), left)
        expect_turn(self.web.timeout)
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
            failure = undelivered(name_of(method), error)
            if failure.retry_after is not None:
                self.limits[method] = clock() + failure.retry_after
            raise failure from None

    async def pages(self, method: str, key: str, **arguments: Any) -> AsyncIterator[Any]:
        """Yields the rows of all pages; what is no list must not be taken for an empty one."""
        for _ in range(MOST_PAGES):
            page = await self.call(method, **arguments)
            rows = page.get(key)
            if not isinstance(rows, list):
                break
            for row in rows:
                yield row
            cursor = part_of(page, "response_metadata", "next_cursor")
            if not cursor:
                return
            arguments["cursor"] = str(cursor)
        reason = f"Slack's answer to {name_of(method)} is not understood"
        raise Undelivered(reason, ambiguous=True)

    async def post(
        self, message: Message, *, key: str, thread: str | None = None, loud: bool = False
    ) -> str:
        """Posts to the channel or a thread, and returns Slack's name for the message (its ts).

        `key` is how to find it again. What is `loud` is shown in the channel, too.
        """
        answer = await self.call(
            "chat_postMessage",
            channel=self.settings.channel,
            thread_ts=thread,
            reply_broadcast=(loud and bool(thread)) or None,
            text=message.text,
            blocks=message.blocks,
            metadata={"event_type": "monostat_post", "event_payload": {"key": key}},
            unfurl_links=False,
            unfurl_media=False,
        )
        ts = answer.get("ts")
        if not ts:
            raise Undelivered("Slack did not say where it posted", ambiguous=True)
        return str(ts)

    async def update(self, ts: str, message: Message) -> bool:
        """Makes a message say this; False when Slack no longer lets us."""
        channel = self.settings.channel
        text, blocks = message
        try:
            await self.call("chat_update", channel=channel, ts=ts, text=text, blocks=blocks)
        except SlackRefused as refused:
            if refused.code not in GONE:
                raise
            return False
        return True

    async def react(self, ts: str, name: str) -> bool:
        """Marks a message with an emoji; False where Slack does not let us, or it is gone."""
        channel = self.settings.channel
        try:
            await self.call("reactions_add", channel=channel, timestamp=ts, name=name)
        except SlackRefused as refused:
            if refused.code == "already_reacted":
                return True
            if refused.code not in UNMARKED:
                raise
            return False
        return True

    async def find(self, key: str, *, since: datetime, thread: str | None = None) -> str | None:
        """Looks for what `post` may have posted without our hearing of it; returns its ts.

        A thread that may not be read is taken for one without it.
        """
        if not self.bot:
            await self.identify()
        oldest = f"{(since - SKEW).timestamp():.6f}"
        try:
            async for message in self._messages(oldest, thread):
                ts = part_of(message, "ts")
                if (
                    ts
                    and self.is_ours(message)
                    and part_of(message, "metadata", "event_payload", "key") == key
                ):
                    return str(ts)
        except SlackRefused as refused:
            if thread is None or refused.code not in UNASKABLE:
                raise
            posted_again = "a line that may be in its thread already is posted again: %s"
            log.warning(posted_again, refused.reason)
        return None

    def is_ours(self, message: object) -> bool:
        """Whether the app itself has posted a message; we must have asked Slack who we are."""
        return bool(part_of(message, "bot_id") == self.bot)

    def _messages(self, oldest: str, thread: str | None) -> AsyncIterator[Any]:
        """The messages of a thread, or of the channel, with their metadata."""
        channel = self.settings.channel
        if not thread:
            return self.pages(
                "conversations_history",
                "messages",
                channel=channel,
                oldest=oldest,
                limit=200,
                include_all_metadata=True,
            )
        return self.pages(
            "conversations_replies",
            "messages",
            channel=channel,
            ts=thread,
            oldest=oldest,
            limit=200,
            include_all_metadata=True,
        )

    async def identify(self) -> None:
        """Asks who we are; also a sign of life. Raises Undelivered."""
        me = await self.call("auth_test")
        self.team = str(me.get("team_id", ""))
        self.bot = str(me.get("bot_id", ""))
        self.bot_user = str(me.get("user_id", ""))

    async def tell_privately(
        self,
        user: str,
        text: str,
        *,
        thread: str | None = None,
        trigger: str = "",
        blocks: list[Block] | None = None,
    ) -> None:
        """Tells one person, in mrkdwn, what nobody else needs to know.

        1. In a dialog, where a `trigger` allows one.
        2. Else in the channel, or in its thread; where Slack does not answer, again for some
           minutes.
        """
        if trigger:
            with suppress(Undelivered):  # a dialog opens within three seconds or never
                await self.call("views_open", trigger_id=trigger, view=notice(text))
                return
        for attempt in range(MOST_TRIES):
            try:
                await self.call(
                    "chat_postEphemeral",
                    channel=self.settings.channel,
                    thread_ts=thread,
                    user=user,
                    text=text,
                    blocks=blocks,
                )
            except Undelivered as failure:
                if failure.permanent or attempt == MOST_TRIES - 1:
                    log.warning("%s was not told %r: %s", user, text, failure.reason)
                    return
                await asyncio.sleep(failure.retry_after or min(0.5 * 2**attempt, 60))
            else:
                return
