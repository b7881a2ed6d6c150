"""What staff do in Slack, over Socket Mode: acknowledged at once, checked, and obeyed;
contracts/slack.md is obeyed.
"""

import asyncio
import importlib
import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

import aiohttp

from monostat.core.events import Act
from monostat.core.model import UNDER_WAY, Change, Severity, State
from monostat.core.text import one_line
from monostat.slack import forms as talk
from monostat.slack.client import Slack, undelivered
from monostat.slack.messages import Words, escape
from monostat.slack.mrkdwn import to_markdown
from monostat.vendor import Condition, Undelivered, nap

log = logging.getLogger(__name__)
Json = dict[str, Any]
Ack = Callable[..., Awaitable[None]]
T = TypeVar("T")
PATIENCE = 1.0  # at shutdown, once for clicks that are being obeyed and once for Slack's goodbye
SOON = 0.3  # seconds for looking somebody up before an answer that cannot wait, of Slack's 3
NOT_SAVED = "This could not be saved, and nothing was changed. Please try again."
FAILED = "Something went wrong here. Please look whether it was done before you try again."
NO_THREAD = (
    "Mention me in the thread of an incident: what you write there is published as an update of it."
)
ON_PAGE = "It is on the page. Its message in the staff channel has Undo and Send now."
NO_DIALOG = "Slack took too long to open the dialog. If you do not see it, please tap again."
NO_INCIDENT = "There is no such incident any more."


class Answer(NamedTuple):
    """What an acknowledgement carries, and what a person is told who could not wait for it, in
    mrkdwn.
    """

    ack: Json
    text: str


class HomeOpened(Protocol):
    """Shows this person's Home tab, and makes it equal to now ever after, where they may act."""

    def __call__(self, user: str, *, may_act: bool) -> None: ...


@dataclass(kw_only=True)
class Hearing:
    """Turns what people do into acts for `submit`; `connected` says whether clicks reach us.

    `state` is the newest, `thread_of` knows whose thread begins with a message of that ts, and
    `home_opened` shows Home tabs.
    """

    slack: Slack
    words: Words
    now: Callable[[], datetime]
    submit: Callable[[Act], Awaitable[Change]]
    state: Callable[[], State]
    thread_of: Callable[[str], Awaitable[int | None]]
    home_opened: HomeOpened
    connected: bool = False
    acting: set[asyncio.Task[Any]] = field(default_factory=set)
    socket: Condition = field(default_factory=lambda: Condition("Slack's socket"))

    # -- Obeying

    def soon(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Does what was, or will be acknowledged; shutdown waits for it."""
        task = asyncio.create_task(work)
        self.acting.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.acting.discard(task)
        if not task.cancelled() and (error := task.exception()):
            if isinstance(error, Undelivered):
                log.warning("what somebody did in Slack was not finished: %s", error.reason)
            else:
                log.error("a click was acknowledged but not obeyed", exc_info=error)

    async def answer(self, ack: Ack, user: str, finding: Coroutine[Any, Any, Answer]) -> None:
        """Acknowledges with what is found in time; what takes longer is done all the same, and told
        privately.
        """
        task = self.soon(finding)
        await asyncio.wait([task], timeout=SOON)
        if task.done():
            await ack(**({} if task.exception() else task.result().ack))
        else:
            await ack()
            self.soon(self.late(user, task))

    async def late(self, user: str, task: asyncio.Task[Answer]) -> None:
        found = await task
        if found.text:
            await self.slack.tell(user, found.text, blocks=found.ack.get("blocks"))

    async def act(self, act: Act) -> Change:
        """Does what a member of staff asks for, or says why they may not."""
        if refused := await self.slack.refusal(act.by):
            return Change(state=self.state(), refused=refused)
        try:
            return await self.submit(
                replace(act, by=one_line(self.slack.staff.get(act.by, act.by)))
            )
        except sqlite3.Error:
            log.exception("%s: %s was not saved", act.incident, act.verb)
            return Change(state=self.state(), refused=NOT_SAVED)
        except Exception:
            log.exception("%s: %s has failed", act.incident, act.verb)
            return Change(state=self.state(), refused=FAILED)

    async def obey(self, act: Act, thread: str | None = None, trigger: str = "") -> None:
        """Does it, or says privately, where it was asked, why not."""
        if refused := (await self.act(act)).refused:
            await self.tell(act.by, refused, thread=thread, trigger=trigger)

    async def tell(
        self, user: str, sentence: str, *, thread: str | None = None, trigger: str = ""
    ) -> None:
        await self.slack.tell(
            user, self.words.dated(escape(sentence)), thread=thread, trigger=trigger
        )

    async def open(self, user: str, trigger: str, view: Json | None) -> None:
        """Opens a dialog for a member of staff, who is told where Slack did not open it."""
        refused = await self.slack.refusal(user) or ("" if view else NO_INCIDENT)
        if not refused:
            try:
                await self.slack.call("views_open", trigger_id=trigger, view=view)
            except Undelivered as trouble:
                log.warning("a dialog was not opened: %s", trouble.reason)
                refused, trigger = NO_DIALOG, ""
        if refused:
            await self.tell(user, refused, trigger=trigger)

    def dialog(self, act: Act) -> Json | None:
        incident, ready = self.state().incidents.get(act.incident), self.slack.settings.texts
        if act.verb in ("new", "plan"):
            return talk.new_dialog() if act.verb == "new" else talk.plan_dialog(self.now())
        if incident is None:
            return None
        return (
            talk.edit_dialog(incident, self.words.zone)
            if act.verb == "edit"
            else talk.update_dialog(incident, ready)
        )

    # -- Hearing

    async def pressed(self, ack: Ack, body: Json) -> None:
        await ack()
        if act := talk.tapped(body, self.now()):
            where, trigger = body.get("container") or {}, str(body.get("trigger_id") or "")
            if act.verb in talk.DIALOGS:
                self.soon(self.open(act.by, trigger, self.dialog(act)))
            else:
                trigger = trigger if where.get("type") == "view" else ""
                self.soon(self.obey(act, where.get("thread_ts"), trigger))

    async def filled(self, ack: Ack, body: Json) -> None:
        """Nobody loses what they wrote: a dialog closes only when it was obeyed."""
        view, user = body["view"], body["user"]["id"]
        await self.answer(ack, user, self.fill(view, user))

    async def fill(self, view: Json, user: str) -> Answer:
        act = talk.submitted(view, self.slack.settings.texts, self.now(), user)
        done = await self.act(act)
        if not done.refused:
            return Answer({}, "")
        errors = talk.errors(view, self.words.plainly(done.refused), done.field)
        wrote = "\n".join(
            [done.refused, *filter(None, (act.title, act.text, act.summary, *act.texts.values()))]
        )
        return Answer(
            {"response_action": "errors", "errors": errors}, self.words.dated(escape(wrote))
        )

    async def commanded(self, ack: Ack, body: Json) -> None:
        """Alone it lists, `maintenance` plans, and anything else is the title of what is wrong."""
        user, text = body["user_id"], self.markdown(body.get("text") or "")
        await self.answer(ack, user, self.command(user, text, body["trigger_id"]))

    async def command(self, user: str, text: str, trigger: str) -> Answer:
        if refused := await self.slack.refusal(user):
            return Answer({"text": refused}, refused)
        if text.lower() in ("", "help", "list", "status", "?"):
            blocks = talk.home(self.state(), self.words)["blocks"][:50]
            return Answer({"text": "Status page", "blocks": blocks}, "Status page")
        if found := re.match(r"maintenance\b\s*(.*)", text, re.DOTALL | re.IGNORECASE):
            await self.open(user, trigger, talk.plan_dialog(self.now(), found[1]))
            return Answer({}, "")
        act = Act(
            at=self.now(),
            verb="create",
            by=user,
            title=one_line(text)[:150],
            severity=Severity.PARTIAL,
        )
        refused = (await self.act(act)).refused
        said = self.words.dated(escape(refused)) if refused else ON_PAGE
        return Answer({"text": said}, said)

    async def new(self, ack: Ack, body: Json) -> None:
        await ack()
        self.soon(self.open(body["user"]["id"], body["trigger_id"], talk.new_dialog()))

    async def publish(self, ack: Ack, body: Json) -> None:
        """Publishes the words of a message; where it is not clear to which incident they belong, a
        dialog asks.
        """
        await ack()
        user, trigger, text = (
            body["user"]["id"],
            body["trigger_id"],
            self.markdown(body["message"].get("text") or ""),
        )
        found = [i for i in self.state().incidents.values() if i.status in UNDER_WAY]
        if len(found) == 1 and text:
            act = Act(at=self.now(), verb="update", by=user, incident=found[0].number, text=text)
            # two who publish it do so once; its edits stay private
            source = f"shortcut:{body['message']['ts']}"
            self.soon(self.obey(replace(act, source=source), trigger=trigger))
        else:
            view = talk.publish_dialog(found[::-1], text) if found else talk.new_dialog(text)
            self.soon(self.open(user, trigger, view))

    def heard(
        self, obey: Callable[[Json], Coroutine[Any, Any, None]]
    ) -> Callable[[Json], Awaitable[None]]:
        async def later(event: Json) -> None:
            self.soon(obey(event))  # bolt has acknowledged it, and would forget it at shutdown

        return later

    async def mentioned(self, event: Json) -> None:
        """What is said to the app in the thread of an incident is published there."""
        user, thread = event.get("user"), event.get("thread_ts")
        if not user or event.get("bot_id") or event.get("channel") != self.slack.settings.channel:
            return
        incident = self.state().incidents.get(await self.thread_of(thread) or 0) if thread else None
        asked = (
            talk.spoken(self.markdown(event.get("text") or ""), incident, self.now(), user)
            if incident
            else NO_THREAD
        )
        if isinstance(asked, str):
            await self.tell(user, asked, thread=thread)
        else:
            await self.obey(replace(asked, source=event["ts"]), thread)

    async def said(self, event: Json) -> None:
        """An edited mention edits its update; every other message of a thread stays private."""
        message = event.get("message") or {}
        if (
            event.get("subtype") != "message_changed"
            or event.get("channel") != self.slack.settings.channel
        ):
            return
        said = [
            (i, u)
            for i in self.state().incidents.values()
            for u in i.updates
            if u.source == message.get("ts")
        ]
        for incident, update in said[:1]:
            user, text = (
                (message.get("edited") or {}).get("user"),
                self.markdown(message.get("text") or ""),
            )
            text = text[word.end() :] if (word := talk.STATUS_WORD.match(text)) else text
            if user and text and text != update.text:
                act = Act(
                    at=self.now(),
                    verb="edit",
                    by=user,
                    incident=incident.number,
                    texts={update.id: text},
                )
                await self.obey(act, message.get("thread_ts"))

    async def opened(self, event: Json) -> None:
        if event.get("tab") == "home":
            user = event["user"]
            refused = await self.slack.refusal(user)
            self.home_opened(user, may_act=not refused)
            if refused:
                view = {"type": "home", "blocks": talk.notice(refused)["blocks"]}
                await self.slack.call("views_publish", user_id=user, view=view)

    def markdown(self, text: str) -> str:
        """Slack's words as Markdown; where we are mentioned, those after it."""
        return to_markdown(text.partition(f"<@{self.slack.bot_user}>")[2] or text, self.slack.staff)

    async def _ignore(self, ack: Ack) -> None:
        await ack()  # else Slack shows a warning, or sends an event again

    # -- Socket Mode

    async def run(self) -> None:
        """Hears what people press, for ever: learns who we are, then listens and keeps the list of
        staff fresh.
        """
        await asyncio.to_thread(
            importlib.import_module, "slack_bolt.adapter.socket_mode.async_handler"
        )
        await self.slack.keep("Slack", self.slack.learn)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self.slack.keep(
                    "the list of staff", self.slack.list_staff, self.slack.timing.staff_refresh
                )
            )
            tasks.create_task(self._listen(self._app()))

    def _app(self) -> Any:
        from slack_bolt.async_app import AsyncApp
        from slack_bolt.authorization import AuthorizeResult

        # Without this bolt would ask Slack who we are before its first ack.
        async def authorize() -> AuthorizeResult:
            ids = {
                "team_id": self.slack.team,
                "bot_id": self.slack.bot,
                "bot_user_id": self.slack.bot_user,
            }
            return AuthorizeResult(enterprise_id=None, **ids, bot_token=self.slack.client.token)

        quiet = logging.getLogger(f"{__name__}.bolt")
        quiet.setLevel(logging.ERROR)  # it warns that `authorize` wins over the token: it should
        app = AsyncApp(client=self.slack.client, authorize=authorize, logger=quiet)
        app.action(re.compile("verb:.*"))(self.pressed)
        app.view(re.compile(".*"))(self.filled)
        app.command(self.slack.settings.command)(self.commanded)
        app.shortcut("new_incident")(self.new)
        app.shortcut("to_update")(self.publish)
        for name, obey in (
            ("app_mention", self.mentioned),
            ("message", self.said),
            ("app_home_opened", self.opened),
        ):
            app.event(name)(self.heard(obey))
        for listen in (app.action, app.event, app.shortcut, app.command, app.view, app.view_closed):
            listen(re.compile(".*"))(self._ignore)
        return app

    # Contract slack.md, sections 0 and 2: connecting never ends while Slack is dead, nor does it
    # drop a dead URL.
    async def _listen(self, app: Any) -> None:
        from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler

        silent = logging.Logger(
            f"{__name__}.socket", logging.ERROR
        )  # it would trace every failed try
        silent.addFilter(self._overhear)
        token, ping = self.slack.settings.app_token.get_secret_value(), self.slack.timing.slack_ping
        while True:
            handler: Any = AsyncSocketModeHandler(app, token, logger=silent, ping_interval=ping)
            connecting = asyncio.create_task(handler.connect_async())
            try:
                await self._watch(handler.client)
            finally:
                self.connected = False
                await self._hang_up(handler, connecting)

    def _overhear(self, record: logging.LogRecord) -> bool:
        """Tells in one line, and once, what the library would log; its own words contain the secret
        address.
        """
        if record.exc_info and record.exc_info[1]:
            self.socket.tell(undelivered("our connection", record.exc_info[1]).reason)
        return False

    async def _watch(self, client: Any) -> None:
        """Returns when the client has been deaf for so long that a new one should try."""
        clock, stale = asyncio.get_running_loop().time, self.slack.timing.slack_stale_url
        heard = clock()
        while clock() - heard < 5 * stale:
            self.connected = await client.is_connected()
            if self.connected:
                heard = clock()
                self.socket.tell("")
            elif clock() - heard > stale:
                client.wss_uri = None
            await nap(min(1.0, stale / 4))

    # Contract slack.md, section 2: the order matters, and `close_async` only asks its tasks to end.
    async def _hang_up(self, handler: Any, connecting: asyncio.Task[None]) -> None:
        connecting.cancel()
        await asyncio.wait([connecting])
        if self.acting:
            await asyncio.wait(self.acting, timeout=PATIENCE)
        with suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
            await asyncio.wait_for(handler.close_async(), PATIENCE)
        client = handler.client
        ours = (
            client.message_processor,
            client.current_session_monitor,
            client.message_receiver,
            *self.acting,
        )
        tasks = [task for task in ours if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aiohttp_client_session.close()
