"""What staff do in Slack: acknowledged at once, checked, and obeyed.

contracts/slack.md is obeyed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from monostat.core.events import Act
from monostat.core.model import UNDER_WAY, Change, Incident, Severity, State
from monostat.core.verbs import VERB
from monostat.slack import dialogs, parsing
from monostat.slack.actions import StaffActions
from monostat.slack.client import SlackClient
from monostat.slack.commands import Command, parse_command
from monostat.slack.home import home_view
from monostat.slack.markup import said_as
from monostat.slack.mentions import Mentions
from monostat.slack.messages import Block, section
from monostat.slack.mrkdwn import to_markdown
from monostat.slack.rich_text import said_in
from monostat.slack.said import Said, after_mention, visible
from monostat.slack.staff import Staff
from monostat.slack.text import SlackText
from monostat.vendor import Undelivered

log = logging.getLogger(__name__)
Json = dict[str, Any]
Ack = Callable[..., Awaitable[None]]
T = TypeVar("T")
MOST_BLOCKS = 50  # of a message
SOON = 0.3  # seconds for looking somebody up before an answer that cannot wait, of Slack's 3
ON_PAGE = "Published as {link}. Undo is in {channel}."
UNREADABLE = (
    "This form could not be read, and nothing was changed. Copy your words, and open it anew."
)
WHICH = (
    "Nothing was published. Say which incident: {command} resolve 17,"
    " or tap a button of its message."
)
OWN_WORDS = (
    "Nothing was published. What I say here is for staff: write what readers should know after a"
    " mention in the thread, or tap Post update…"
)
HELP = (
    "`{command} Checkout is slow` tells readers of a partial outage at once.\n"
    "`{command} maintenance` plans one, `{command} 17` shows an incident with its actions, and"
    " `{command} resolve 17` does what the button does."
)


def authorized_in(body: Json) -> list[str]:
    """Whose event it is: our own ids, of which a text may use another than Slack told us."""
    authorizations = body.get("authorizations")
    rows = authorizations if isinstance(authorizations, list) else []
    return [str(row["user_id"]) for row in rows if isinstance(row, dict) and row.get("user_id")]


class Reply(NamedTuple):
    """What an acknowledgement carries, and what a person is told who could not wait for it.

    The text is mrkdwn; empty, they are told nothing.
    """

    ack: Json
    text: str = ""


class OnHomeOpened(Protocol):
    """Shows this person's Home tab, and makes it equal to now ever after, where they may act."""

    def __call__(self, user: str, *, may_act: bool) -> None: ...


@dataclass(kw_only=True)
class Listeners:
    """Turns what people do into actions of theirs, which check whether they may act.

    `state` is the newest, `incident_of` finds the incident of a number, also one that is past,
    `too_late_for` says why a tap on a message that has just changed may not mean what stands there
    now, `thread_of` knows whose thread begins with a message of that ts, and `home_opened` shows
    Home tabs. What is still done is in `tasks`: shutdown waits for it.
    """

    client: SlackClient
    staff: Staff
    text: SlackText
    state: Callable[[], State]
    incident_of: Callable[[int], Awaitable[Incident | None]]
    actions: StaffActions
    now: Callable[[], datetime]
    mentions: Mentions
    thread_of: Callable[[str], Awaitable[int | None]]
    home_opened: OnHomeOpened
    too_late_for: Callable[[Act, str, str], str]
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def channel(self) -> str:
        """The staff's channel, as mrkdwn."""
        return f"<#{self.client.settings.channel}>"

    # -- Interactions, which Slack wants to have acknowledged within three seconds

    async def on_button(self, ack: Ack, body: Json) -> None:
        """Does what the button says, or opens its dialog."""
        await ack()
        act = parsing.parse_button(body, self.now())
        if act is None:
            return
        container = body.get("container") or {}
        trigger = str(body.get("trigger_id") or "")
        if act.verb in dialogs.DIALOGS:
            view = await self._dialog_of(act)
            self._open(act.by, trigger, view)
            return
        if container.get("type") != "view":
            trigger = ""  # a refusal is told where the button is
        thread = container.get("thread_ts")
        name = self.staff.names.get(act.by, act.by)
        late = self.too_late_for(act, str(container.get("message_ts")), name)
        self._start(self.actions.obey(act, thread=thread, trigger=trigger, unless=late))

    async def on_view_submission(self, ack: Ack, body: Json) -> None:
        """Nobody loses what they wrote: a dialog closes only when it was obeyed."""
        user = body["user"]["id"]
        view = body["view"]
        await self._reply(ack, user, self._submit_view(view, user))

    async def on_slash_command(self, ack: Ack, body: Json) -> None:
        """Alone it lists, `maintenance` plans, and anything else is the title of what is wrong."""
        user = body["user_id"]
        trigger = body["trigger_id"]
        said = said_as(body.get("text") or "")
        await self._reply(ack, user, self._run_command(user, said, trigger))

    async def on_global_shortcut(self, ack: Ack, body: Json) -> None:
        """Asks what is wrong."""
        await ack()
        user = body["user"]["id"]
        trigger = body["trigger_id"]
        view = dialogs.new_dialog()
        self._open(user, trigger, view)

    async def on_message_shortcut(self, ack: Ack, body: Json) -> None:
        """Publishes the words of a message."""
        await ack()
        self._start(self._publish_message(body))

    async def on_anything_else(self, ack: Ack) -> None:
        """Does nothing; without an answer Slack shows a warning, or sends an event again."""
        await ack()

    # -- Events, which Bolt has acknowledged, and would forget at shutdown

    async def on_mention(self, event: Json, body: Json) -> None:
        """Publishes what is said to the app in the thread of an incident."""
        self._start(self.mentions.on_mention(event, authorized_in(body)))

    async def on_message(self, event: Json, body: Json) -> None:
        """Hears mentions in any form, and follows their edits; other messages stay private."""
        self._start(self.mentions.on_message(event, authorized_in(body)))

    async def on_home_opened(self, event: Json) -> None:
        """Shows the Home tab."""
        self._start(self._show_home(event))

    # -- Obeying

    async def _submit_view(self, view: Json, user: str) -> Reply:
        ready = self.client.settings.texts
        try:
            act = parsing.parse_view_submission(view, ready, self.now(), user)
        except (LookupError, TypeError, ValueError):
            log.exception("a dialog could not be read")
            return Reply({"response_action": "errors", "errors": parsing.errors(view, UNREADABLE)})
        change = await self.actions.act(act)
        if not change.refused:
            return Reply({})
        refused = self.text.plainly(change.refused)
        errors = parsing.errors(view, refused, change.field)
        written = [act.title, act.text, act.summary, *act.texts.values()]
        lines = [change.refused, *filter(None, written)]
        answer = {"response_action": "errors", "errors": errors}
        return Reply(answer, self.text.as_mrkdwn("\n".join(lines)))

    async def _run_command(self, user: str, said: Said, trigger: str) -> Reply:
        """A command is never published; what is none is the title of a partial outage."""
        refused = await self.staff.refusal(user)
        if refused:
            return Reply({"text": refused}, refused)
        command = parse_command(said)
        words = visible(command.rest)
        if command.name in ("list", "help") or not visible(said):
            return self._list(is_help=command.name == "help")
        if command.name == "plan":
            return await self._dialog(user, trigger, dialogs.plan_dialog(self.now(), words))
        if command.number is not None:
            return await self._obey_about(user, command, command.number, trigger)
        if command.name == "create" and not words:
            return await self._dialog(user, trigger, dialogs.new_dialog())
        if command.name not in ("", "create", "outage", "partial") or not words:
            sentence = WHICH.format(command=self.client.settings.command)
            return Reply({"text": sentence}, sentence)
        severity = Severity.OUTAGE if command.name == "outage" else Severity.PARTIAL
        act = Act(at=self.now(), verb="create", by=user, title=words, severity=severity)
        return self._answer(await self.actions.act(act), ON_PAGE)

    async def _obey_about(self, user: str, command: Command, number: int, trigger: str) -> Reply:
        """Does what a command with the number of an incident asks for."""
        incident = await self.incident_of(number)
        if incident is None:
            sentence = f"There is no incident #{number}."
            return Reply({"text": sentence}, sentence)
        if command.name == "show":
            state = self.state()
            mails = state.mails_of(number)
            text, blocks = self.text.incident(incident, state.open_alerts(number), mails)
            return Reply({"text": text, "blocks": blocks}, text)
        act = Act(at=self.now(), verb=command.name, by=user, incident=number)
        if command.name in dialogs.DIALOGS and not visible(command.rest):
            return await self._dialog(user, trigger, await self._dialog_of(act))
        asked = parsing.asked_of(replace(act, text=to_markdown(command.rest)), command, incident)
        if isinstance(asked, str):
            return Reply({"text": asked}, asked)
        return self._answer(await self.actions.act(asked), f"{VERB[asked.verb].done}: #{number}.")

    async def _dialog(self, user: str, trigger: str, view: Block | None) -> Reply:
        await self.actions.open_dialog(user, trigger, view)
        return Reply({})

    def _list(self, *, is_help: bool) -> Reply:
        blocks = home_view(self.state(), self.text)["blocks"]
        if is_help:
            words = HELP.format(command=self.client.settings.command)
            blocks = [section("help", words), *blocks]
        return Reply({"text": "Status page", "blocks": blocks[:MOST_BLOCKS]}, "Status page")

    def _answer(self, change: Change, done: str) -> Reply:
        sentence = self.text.as_mrkdwn(change.refused) if change.refused else done
        if change.made and not change.refused:
            sentence = sentence.format(link=self.text.link(change.made), channel=self.channel)
        return Reply({"text": sentence}, sentence)

    async def _publish_message(self, body: Json) -> None:
        """Publishes to the incident of its thread, or to the only one that is open.

        Else a dialog asks which, with none chosen.
        """
        user = body["user"]["id"]
        trigger = body["trigger_id"]
        message = body["message"]
        if self.client.is_ours(message):
            await self.actions.tell(user, OWN_WORDS, trigger=trigger)
            return
        thread = str(message.get("thread_ts") or message.get("ts"))
        said = said_in(message)
        words = to_markdown(after_mention(said, {self.client.bot_user}) or said)
        incidents = self.state().incidents
        under_way = [incident for incident in incidents.values() if incident.status in UNDER_WAY]
        number = await self.thread_of(thread)
        of_thread = await self.incident_of(number or 0)
        if of_thread:
            under_way = [of_thread]
        if not under_way:
            await self.actions.open_dialog(user, trigger, dialogs.new_dialog(words))
        elif len(under_way) > 1 or not words:
            view = dialogs.publish_dialog(under_way[::-1], words)
            await self.actions.open_dialog(user, trigger, view)
        else:
            act = Act(
                at=self.now(),
                verb="update",
                by=user,
                incident=under_way[0].number,
                text=words,
                # two who publish it do so once; its edits stay private
                source=f"shortcut:{message['ts']}",
            )
            await self.actions.obey(act, trigger=trigger)

    async def _show_home(self, event: Json) -> None:
        if event.get("tab") != "home":
            return
        user = event["user"]
        refused = await self.staff.refusal(user)
        self.home_opened(user, may_act=not refused)
        if refused:
            blocks = dialogs.notice(refused)["blocks"]
            view = {"type": "home", "blocks": blocks}
            await self.client.call("views_publish", user_id=user, view=view)

    def _open(self, user: str, trigger: str, view: Block | None) -> None:
        self._start(self.actions.open_dialog(user, trigger, view))

    async def _dialog_of(self, act: Act) -> Block | None:
        """The dialog of a button; None where its incident is gone."""
        if act.verb == "new":
            return dialogs.new_dialog()
        if act.verb == "plan":
            return dialogs.plan_dialog(self.now())
        incident = await self.incident_of(act.incident)
        if incident is None:
            return None
        if act.verb == "title":
            return dialogs.title_dialog(incident)
        if act.verb == "edit":
            return dialogs.edit_dialog(incident, self.text.zone)
        return dialogs.update_dialog(incident, self.client.settings.texts)

    # -- Answering

    async def _reply(self, ack: Ack, user: str, work: Coroutine[Any, Any, Reply]) -> None:
        """Acknowledges with the reply, where it comes in time.

        What takes longer is done all the same, and told privately.
        """
        task = self._start(work)
        await asyncio.wait([task], timeout=SOON)
        if not task.done():
            await ack()
            self._start(self._reply_late(user, task))
        elif task.exception():
            await ack()
        else:
            await ack(**task.result().ack)

    async def _reply_late(self, user: str, task: asyncio.Task[Reply]) -> None:
        reply = await task
        if reply.text:
            blocks = reply.ack.get("blocks")
            await self.client.tell_privately(user, reply.text, blocks=blocks)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Does what was, or will be acknowledged; shutdown waits for it."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Undelivered):
            log.warning("what somebody did in Slack was not finished: %s", error.reason)
        elif error:
            log.error("a click was acknowledged but not obeyed", exc_info=error)
