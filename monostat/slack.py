"""Slack: what people press becomes acts, and what the outbox has to say is posted; contracts/slack.md is obeyed."""

import asyncio
import importlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import aiohttp

from monostat import config
from monostat.delivery import UNSENT, Condition, Undelivered, retry_after
from monostat.incidents import Act, Change, Severity, one_line
from monostat.messages import LABELS, Message, escape

# slack_bolt and slack_sdk are imported where they are first needed: they take most of a second.
log = logging.getLogger(__name__)
Json = dict[str, Any]
Ack = Callable[[], Awaitable[None]]
SKEW = timedelta(minutes=5)  # between Slack's clock and ours, when looking for what may have been posted
PATIENCE = 1.0  # at shutdown, once for clicks that are being obeyed and once for Slack's goodbye

# Contract slack.md, section 7: after the first the call may be repeated, after the second it may have happened.
LIMITED = {"ratelimited", "rate_limited"}
BROKEN = {"internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org"}
NEW_KEYS = "check slack.bot_token and slack.app_token, or install the app again"
UNKNOWN_KEYS = "not_authed invalid_auth account_inactive token_revoked token_expired not_allowed_token_type"
REMEDIES = dict.fromkeys(UNKNOWN_KEYS.split(), NEW_KEYS)
REMEDIES |= dict.fromkeys(("channel_not_found", "not_in_channel"), "check slack.channel, and /invite the app to it")
REMEDIES |= {"missing_scope": "install the app again with its manifest", "is_archived": "set another slack.channel"}
GONE = {"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", "update_failed"}
UNASKABLE = {"missing_scope", "not_allowed_token_type", "no_permission", "access_denied", "thread_not_found"}
BARRED = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger")

NOT_STAFF = "Only full members of this workspace who are in this channel may act here. Nothing was changed."
CANNOT_CHECK = "monostat cannot check right now who may act, because Slack does not answer it. Nothing was changed."


@dataclass(eq=False)
class Refused(Undelivered):
    """Slack says no, and calls it `code`; what an operator can put right is worth another try."""

    code: str = ""


def undelivered(what: str, error: BaseException) -> Undelivered:
    """Says what a failed call means for the next try; the answer of an SDK error may be anything."""
    answer = getattr(error, "response", None)
    data, status = getattr(answer, "data", None), getattr(answer, "status_code", 0) or getattr(answer, "status", 0)
    said = data if isinstance(data, dict) else {}
    code = str(said.get("error") or "")
    if status == 429 or code in LIMITED:
        wait = retry_after(getattr(answer, "headers", {}))
        return Undelivered(f"Slack has had too many calls of {what}", retry_after=30.0 if wait is None else wait)
    if not code or code in BROKEN or status >= 500:
        problem = f"{code or status or type(error).__name__}"
        return Undelivered(f"Slack did not answer {what}: {problem}", ambiguous=not isinstance(error, UNSENT))
    bug = f"please report this as a bug: {said.get('response_metadata')}"[:500]
    reason = f"Slack refused {what} ({code}): {REMEDIES.get(code, bug)}"
    return Refused(reason, permanent=code not in REMEDIES, code=code)


def asked_for(body: Json, at: datetime) -> Act | None:
    """What a pressed button asks for, by the id of its person; None where it makes no sense."""
    match body:
        case {"user": {"id": str(user)}, "actions": [{"action_id": str(what), "value": str(number)}]}:
            verb, _, severity = what.removeprefix("verb:").partition(":")
            meant = re.fullmatch(r"([1-9][0-9]{0,8})(?:\.([1-9][0-9]{0,8}))?", number)
            if verb in LABELS and meant and severity in ("", *Severity):
                incident, update = int(meant[1]), int(meant[2] or 0) or None
                degree = Severity(severity) if severity else None
                return Act(at=at, verb=verb, by=user, incident=incident, update=update, severity=degree)
    return None


@dataclass(kw_only=True)
class Slack:
    """One channel of one workspace; `connected` says whether clicks reach us."""

    settings: config.Slack
    session: aiohttp.ClientSession
    timing: config.Timing
    now: Callable[[], datetime]
    submit: Callable[[Act], Awaitable[Change]]
    connected: bool = False
    team: str = ""
    bot: str = ""
    bot_user: str = ""
    staff: dict[str, str] = field(default_factory=dict)  # the names of those who may act, by id
    listed: float = float("-inf")  # when that list was last complete
    acting: set[asyncio.Task[None]] = field(default_factory=set)
    socket: Condition = field(default_factory=lambda: Condition("Slack's socket"))

    # -- what the outbox says

    # A retry handler would post twice what was accepted before a reset.
    @cached_property
    def client(self) -> Any:
        from slack_sdk.web.async_client import AsyncWebClient

        logging.getLogger("slack_sdk").setLevel(logging.WARNING)  # at DEBUG it logs whole requests
        token, url = self.settings.bot_token.get_secret_value(), self.settings.url
        return AsyncWebClient(token, base_url=url, session=self.session, retry_handlers=[])

    async def call(self, method: str, **arguments: Any) -> Json:
        """Calls the Web API once; whatever goes wrong is Undelivered."""
        from slack_sdk.errors import SlackClientError

        try:
            answer = await getattr(self.client, method)(**arguments)
            return dict(answer.data)
        # The SDK lets the last three escape for an answer that is no JSON object.
        except (SlackClientError, aiohttp.ClientError, TimeoutError, AttributeError, TypeError, ValueError) as error:
            raise undelivered(method.replace("_", ".", 1), error) from None

    async def pages(self, method: str, key: str, **arguments: Any) -> AsyncIterator[Any]:
        """Yields the rows of all pages."""
        cursor = ""
        while True:
            page = await self.call(method, **arguments, **({"cursor": cursor} if cursor else {}))
            for row in page.get(key) or []:
                yield row
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return

    async def post(self, message: Message, *, key: str, thread: str | None = None) -> str:
        """Posts to the channel or a thread and returns Slack's name for the message; `key` is how to find it again."""
        where = {"channel": self.settings.channel, "thread_ts": thread, "unfurl_links": False, "unfurl_media": False}
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
            await self._learn()
        method, where = ("conversations_replies", {"ts": thread}) if thread else ("conversations_history", {})
        where |= {"channel": self.settings.channel, "oldest": f"{(since - SKEW).timestamp():.6f}"}
        try:
            async for message in self.pages(method, "messages", **where, limit=200, include_all_metadata=True):
                payload = (message.get("metadata") or {}).get("event_payload") or {}
                if message.get("bot_id") == self.bot and payload.get("key") == key:
                    return str(message["ts"])
        except Refused as refused:
            if thread is None or refused.code not in UNASKABLE:
                raise
            log.warning("a line that may be in its thread already is posted again: %s", refused.reason)
        return None

    # -- who we are, and who may act

    async def _learn(self) -> None:
        me = await self.call("auth_test")
        self.team, self.bot, self.bot_user = (str(me.get(key, "")) for key in ("team_id", "bot_id", "user_id"))

    async def _keep(self, what: str, task: Callable[[], Awaitable[None]], every: float | None = None) -> None:
        """Does it until it succeeds once, or again and again; a trouble is told when it comes and when it goes."""
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
                await asyncio.sleep(failure.retry_after or wait)
                wait = min(2 * wait, every or 30.0, 30.0)

    def _members(self) -> AsyncIterator[str]:
        return self.pages("conversations_members", "members", channel=self.settings.channel, limit=1000)

    async def _list_staff(self) -> None:
        staff: dict[str, str] = {}
        async for user in self._members():
            staff |= await self._ask_about(user)
        self.staff, self.listed = staff, asyncio.get_running_loop().time()

    async def _ask_about(self, id_: str) -> dict[str, str]:
        """The person's id and name, or nothing where they may not act."""
        try:
            user = (await self.call("users_info", user=id_)).get("user") or {}
        except Undelivered as failure:
            if isinstance(failure, Refused) and failure.code in ("user_not_found", "user_not_visible"):
                return {}
            if failure.retry_after is None:
                raise
            await asyncio.sleep(failure.retry_after)  # the list of a big channel takes its time
            return await self._ask_about(id_)
        name = (user.get("profile") or {}).get("display_name") or user.get("real_name") or user.get("name") or id_
        full = self.team and user.get("team_id") == self.team and not any(user.get(key) for key in BARRED)
        return {id_: str(name)} if full else {}

    async def _refusal(self, user: str) -> str:
        """Why this person may not act; empty where they may."""
        fresh = asyncio.get_running_loop().time() - self.listed <= self.timing.staff_trust
        if fresh and user in self.staff:
            return ""
        try:
            found = await self._ask_about(user) if user in [member async for member in self._members()] else {}
        except Undelivered as failure:
            log.warning("%s could not be checked: %s", user, failure.reason)
            return CANNOT_CHECK
        self.staff.pop(user, None)
        self.staff |= found
        return "" if found else NOT_STAFF

    # -- what people press

    async def _pressed(self, ack: Ack, body: Json) -> None:
        act = asked_for(body, self.now())
        await ack()
        if act:
            task = asyncio.create_task(self._obey(act, body))
            self.acting.add(task)
            task.add_done_callback(self._obeyed)

    def _obeyed(self, task: asyncio.Task[None]) -> None:
        self.acting.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a click was acknowledged but not obeyed", exc_info=error)

    async def _obey(self, act: Act, body: Json) -> None:
        """Does what a member of staff asks for, or says privately, where they asked, why not."""
        user = act.by
        refused = await self._refusal(user)
        if not refused:
            refused = (await self.submit(replace(act, by=one_line(self.staff[user])))).refused
        if refused:
            where = {"channel": self.settings.channel, "thread_ts": (body.get("container") or {}).get("thread_ts")}
            try:
                await self.call("chat_postEphemeral", **where, user=user, text=escape(refused))
            except Undelivered as failure:
                log.warning("%s was not told %r: %s", user, refused, failure.reason)

    async def _ignore(self, ack: Ack) -> None:
        await ack()  # else Slack shows a warning, or sends an event again

    # -- Socket Mode

    async def run(self) -> None:
        """Hears what people press, for ever: learns who we are, then listens and keeps the list of staff fresh."""
        await asyncio.to_thread(importlib.import_module, "slack_bolt.adapter.socket_mode.async_handler")
        await self._keep("Slack", self._learn)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep("the list of staff", self._list_staff, self.timing.staff_refresh))
            tasks.create_task(self._listen(self._app()))

    def _app(self) -> Any:
        from slack_bolt.async_app import AsyncApp
        from slack_bolt.authorization import AuthorizeResult

        # Without this bolt would ask Slack who we are before its first ack.
        async def authorize() -> AuthorizeResult:
            ids = {"team_id": self.team, "bot_id": self.bot, "bot_user_id": self.bot_user}
            return AuthorizeResult(enterprise_id=None, **ids, bot_token=self.client.token)

        quiet = logging.getLogger(f"{__name__}.bolt")
        quiet.setLevel(logging.ERROR)  # it warns that `authorize` wins over the token: it should
        app = AsyncApp(client=self.client, authorize=authorize, logger=quiet)
        app.action(re.compile("verb:.*"))(self._pressed)
        for listen in (app.action, app.event, app.shortcut, app.command, app.view, app.view_closed):
            listen(re.compile(".*"))(self._ignore)
        return app

    # Contract slack.md, sections 0 and 2: connecting never ends while Slack is dead, nor does it drop a dead URL.
    async def _listen(self, app: Any) -> None:
        from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler

        silent = logging.Logger(f"{__name__}.socket", logging.ERROR)  # it would trace every failed try
        silent.addFilter(self._overhear)
        token, ping = self.settings.app_token.get_secret_value(), self.timing.slack_ping
        while True:
            handler: Any = AsyncSocketModeHandler(app, token, logger=silent, ping_interval=ping)
            connecting = asyncio.create_task(handler.connect_async())
            try:
                await self._watch(handler.client)
            finally:
                self.connected = False
                await self._hang_up(handler, connecting)

    def _overhear(self, record: logging.LogRecord) -> bool:
        """Tells in one line, and once, what the library would log; its own words contain the secret address."""
        if record.exc_info and record.exc_info[1]:
            self.socket.tell(undelivered("our connection", record.exc_info[1]).reason)
        return False

    async def _watch(self, client: Any) -> None:
        """Returns when the client has been deaf for so long that a new one should try."""
        clock, stale = asyncio.get_running_loop().time, self.timing.slack_stale_url
        heard = clock()
        while clock() - heard < 5 * stale:
            self.connected = await client.is_connected()
            if self.connected:
                heard = clock()
                self.socket.tell("")
            elif clock() - heard > stale:
                client.wss_uri = None
            await asyncio.sleep(min(1.0, stale / 4))

    # Contract slack.md, section 2: the order matters, and `close_async` only asks its tasks to end.
    async def _hang_up(self, handler: Any, connecting: asyncio.Task[None]) -> None:
        connecting.cancel()
        await asyncio.wait([connecting])
        if self.acting:
            await asyncio.wait(self.acting, timeout=PATIENCE)
        with suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
            await asyncio.wait_for(handler.close_async(), PATIENCE)
        client = handler.client
        ours = (client.message_processor, client.current_session_monitor, client.message_receiver, *self.acting)
        tasks = [task for task in ours if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aiohttp_client_session.close()
