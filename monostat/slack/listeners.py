"""What staff do in Slack: acknowledged at once, checked, and obeyed.

contracts/slack.md is obeyed.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from monostat.core.events import Act
from monostat.core.model import UNDER_WAY, Severity, State, Update
from monostat.core.text import one_line
from monostat.slack import dialogs, parsing
from monostat.slack.actions import StaffActions
from monostat.slack.client import SlackClient
from monostat.slack.home import home_view
from monostat.slack.messages import Block
from monostat.slack.mrkdwn import to_markdown
from monostat.slack.staff import Staff
from monostat.slack.text import SlackText
from monostat.vendor import Undelivered

log = logging.getLogger(__name__)
Json = dict[str, Any]
Ack = Callable[..., Awaitable[None]]
T = TypeVar("T")
MOST_BLOCKS = 50  # of a message
SOON = 0.3  # seconds for looking somebody up before an answer that cannot wait, of Slack's 3
LIST_WORDS = ("", "help", "list", "status", "?")  # of the slash command
MAINTENANCE = re.compile(r"maintenance\b\s*(.*)", re.DOTALL | re.IGNORECASE)
NO_THREAD = (
    "Mention me in the thread of an incident: what you write there is published as an update of it."
)
ON_PAGE = "It is on the page. Its message in the staff channel has Undo and Send now."


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

    `state` is the newest, `thread_of` knows whose thread begins with a message of that ts, and
    `home_opened` shows Home tabs. What is still done is in `tasks`: shutdown waits for it.
    """

    client: SlackClient
    staff: Staff
    text: SlackText
    state: Callable[[], State]
    actions: StaffActions
    now: Callable[[], datetime]
    thread_of: Callable[[str], Awaitable[int | None]]
    home_opened: OnHomeOpened
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

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
            view = self._dialog_of(act)
            self._open(act.by, trigger, view)
            return
        if container.get("type") != "view":
            trigger = ""  # a refusal is told where the button is
        thread = container.get("thread_ts")
        self._start(self.actions.obey(act, thread=thread, trigger=trigger))

    async def on_view_submission(self, ack: Ack, body: Json) -> None:
        """Nobody loses what they wrote: a dialog closes only when it was obeyed."""
        user = body["user"]["id"]
        view = body["view"]
        await self._reply(ack, user, self._submit_view(view, user))

    async def on_slash_command(self, ack: Ack, body: Json) -> None:
        """Alone it lists, `maintenance` plans, and anything else is the title of what is wrong."""
        user = body["user_id"]
        trigger = body["trigger_id"]
        words = self._markdown(body.get("text") or "")
        await self._reply(ack, user, self._run_command(user, words, trigger))

    async def on_global_shortcut(self, ack: Ack, body: Json) -> None:
        """Asks what is wrong."""
        await ack()
        user = body["user"]["id"]
        trigger = body["trigger_id"]
        view = dialogs.new_dialog()
        self._open(user, trigger, view)

    async def on_message_shortcut(self, ack: Ack, body: Json) -> None:
        """Publishes the words of a message.

        Where it is not clear to which incident they belong, a dialog asks.
        """
        await ack()
        user = body["user"]["id"]
        trigger = body["trigger_id"]
        message = body["message"]
        words = self._markdown(message.get("text") or "")
        under_way = [i for i in self.state().incidents.values() if i.status in UNDER_WAY]
        if not under_way:
            view = dialogs.new_dialog(words)
            self._open(user, trigger, view)
        elif len(under_way) > 1 or not words:
            view = dialogs.publish_dialog(under_way[::-1], words)
            self._open(user, trigger, view)
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
            self._start(self.actions.obey(act, trigger=trigger))

    async def on_anything_else(self, ack: Ack) -> None:
        """Does nothing; without an answer Slack shows a warning, or sends an event again."""
        await ack()

    # -- Events, which Bolt has acknowledged, and would forget at shutdown

    async def on_mention(self, event: Json) -> None:
        """Publishes what is said to the app in the thread of an incident."""
        self._start(self._publish_mention(event))

    async def on_message_changed(self, event: Json) -> None:
        """Edits the update of a mention that was edited; other messages stay private."""
        self._start(self._edit_update(event))

    async def on_home_opened(self, event: Json) -> None:
        """Shows the Home tab."""
        self._start(self._show_home(event))

    # -- Obeying

    async def _submit_view(self, view: Json, user: str) -> Reply:
        ready = self.client.settings.texts
        act = parsing.parse_view_submission(view, ready, self.now(), user)
        change = await self.actions.act(act)
        if not change.refused:
            return Reply({})
        refused = self.text.plainly(change.refused)
        errors = parsing.errors(view, refused, change.field)
        written = [act.title, act.text, act.summary, *act.texts.values()]
        lines = [change.refused, *filter(None, written)]
        answer = {"response_action": "errors", "errors": errors}
        return Reply(answer, self.text.as_mrkdwn("\n".join(lines)))

    async def _run_command(self, user: str, words: str, trigger: str) -> Reply:
        refused = await self.staff.refusal(user)
        if refused:
            return Reply({"text": refused}, refused)
        if words.lower() in LIST_WORDS:
            view = home_view(self.state(), self.text)
            blocks = view["blocks"][:MOST_BLOCKS]
            return Reply({"text": "Status page", "blocks": blocks}, "Status page")
        maintenance = MAINTENANCE.match(words)
        if maintenance:
            view = dialogs.plan_dialog(self.now(), maintenance[1])
            await self.actions.open_dialog(user, trigger, view)
            return Reply({})
        act = Act(
            at=self.now(),
            verb="create",
            by=user,
            title=one_line(words)[:150],
            severity=Severity.PARTIAL,
        )
        change = await self.actions.act(act)
        sentence = self.text.as_mrkdwn(change.refused) if change.refused else ON_PAGE
        return Reply({"text": sentence}, sentence)

    async def _publish_mention(self, event: Json) -> None:
        user = event.get("user")
        thread = event.get("thread_ts")
        is_ours = event.get("channel") == self.client.settings.channel
        if not is_ours or not user or event.get("bot_id"):
            return
        number = await self.thread_of(thread) if thread else None
        incident = self.state().incidents.get(number or 0)
        if incident is None:
            await self.actions.tell(user, NO_THREAD, thread=thread)
            return
        words = self._markdown(event.get("text") or "")
        act = parsing.parse_mention(words, incident, self.now(), user)
        if isinstance(act, str):
            await self.actions.tell(user, act, thread=thread)
            return
        act = replace(act, source=event["ts"])
        await self.actions.obey(act, thread=thread)

    async def _edit_update(self, event: Json) -> None:
        message = event.get("message") or {}
        is_ours = event.get("channel") == self.client.settings.channel
        if event.get("subtype") != "message_changed" or not is_ours:
            return
        update = self._update_from(message.get("ts"))
        if update is None:
            return
        edited = message.get("edited") or {}
        user = edited.get("user")
        words = self._markdown(message.get("text") or "")
        status_word = parsing.STATUS_WORD.match(words)
        if status_word:
            words = words[status_word.end() :]
        if user and words and words != update.text:
            act = Act(
                at=self.now(),
                verb="edit",
                by=user,
                incident=update.incident,
                texts={update.id: words},
            )
            await self.actions.obey(act, thread=message.get("thread_ts"))

    def _update_from(self, ts: str | None) -> Update | None:
        """The update that came from the message with this ts."""
        for incident in self.state().incidents.values():
            for update in incident.updates:
                if update.source == ts:
                    return update
        return None

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

    def _dialog_of(self, act: Act) -> Block | None:
        """The dialog of a button; None where its incident is gone."""
        if act.verb == "new":
            return dialogs.new_dialog()
        if act.verb == "plan":
            return dialogs.plan_dialog(self.now())
        incident = self.state().incidents.get(act.incident)
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

    def _markdown(self, text: str) -> str:
        """Slack's words as Markdown; where we are mentioned, those after it."""
        after_mention = text.partition(f"<@{self.client.bot_user}>")[2]
        return to_markdown(after_mention or text, self.staff.names)

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
