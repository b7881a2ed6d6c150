"""What staff do in Slack: acknowledged at once, checked, and obeyed.

https://docs.slack.dev/interactivity/handling-user-interaction
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from monostat.core.events import Act
from monostat.core.lenient import Json, objects_of
from monostat.core.model import UNDER_WAY, Incident, State
from monostat.core.snapshot import in_headline_order
from monostat.slack import dialogs, parsing
from monostat.slack.actions import FAILED, Reply, StaffActions
from monostat.slack.client import SlackClient
from monostat.slack.markup import parse_text
from monostat.slack.mentions import Mentions, remember
from monostat.slack.mrkdwn import to_markdown
from monostat.slack.rich_text import parse_message
from monostat.slack.said import after_mention
from monostat.slack.slash import SlashCommand, said_privately
from monostat.slack.staff import Staff
from monostat.slack.text import SlackText
from monostat.vendor import Undelivered

log = logging.getLogger(__name__)
Ack = Callable[..., Awaitable[None]]
T = TypeVar("T")
Work = Coroutine[Any, Any, T]
SOON = 0.3  # seconds for looking somebody up before an answer that cannot wait, of Slack's 3
UNREADABLE = (
    "This form could not be read, and nothing was changed. Copy your words, and open it again."
)
OWN_WORDS = (
    "Nothing was published. What I say here is for staff: write what readers should know after a"
    " mention in the thread, or tap Post update…"
)


def authorized_in(body: Json) -> list[str]:
    """Whose event it is: our own ids, of which a text may use another than Slack told us."""
    authorizations = objects_of(body.get("authorizations"))
    ids = [each.get("user_id") for each in authorizations]
    return [str(id_) for id_ in ids if id_]


class OnHomeOpened(Protocol):
    """Shows this person's Home tab, and makes it equal to now ever after, where they may act."""

    def __call__(self, user: str, *, may_act: bool) -> None: ...


@dataclass(kw_only=True)
class Listeners:
    """Turns what people do into actions of theirs, which check whether they may act.

    `state` is the newest, `incident_of` finds the incident of a number, also one that is past,
    `too_late_for` (of Posts) says why a tap on a message that has just changed may not mean what
    stands there now, `thread_of` knows whose thread begins with a message of that ts, and
    `home_opened` shows Home tabs. What is still done is in `tasks`: shutdown waits for it.
    """

    client: SlackClient
    staff: Staff
    wording: SlackText
    state: Callable[[], State]
    incident_of: Callable[[int], Awaitable[Incident | None]]
    actions: StaffActions
    now: Callable[[], datetime]
    mentions: Mentions
    slash: SlashCommand
    thread_of: Callable[[str], Awaitable[int | None]]
    home_opened: OnHomeOpened
    too_late_for: Callable[[Act, str, str], str]
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    #: The ids of those that Slack has told.
    events: OrderedDict[str, None] = field(default_factory=OrderedDict)

    # -- Interactions, which Slack wants to have acknowledged within three seconds

    async def on_button(self, ack: Ack, body: Json) -> None:
        """Does what the button says, or opens its dialog."""
        await ack()
        act = parsing.parse_button(body, self.now())
        if act is None:
            return
        container = body.get("container") or {}
        trigger = str(body.get("trigger_id") or "")
        message = str(container.get("message_ts"))
        names = self.staff.names
        name = names.get(act.by, act.by)
        late = self.too_late_for(act, message, name)
        if act.verb in dialogs.DIALOGS and not late:
            incident = await self.incident_of(act.incident)
            now = self.now()
            view = self.actions.dialog_of(act.verb, incident, now)
            opening = self.actions.open_dialog(act.by, trigger, view)
            self._start(opening)
            return
        if container.get("type") != "view":
            trigger = ""  # a refusal is told where the button is
        thread = container.get("thread_ts")
        work = self.actions.obey(act, thread=thread, trigger=trigger, objection=late)
        self._start(work)

    async def on_view_submission(self, ack: Ack, body: Json) -> None:
        """Nobody loses what they wrote: a dialog closes only when it was obeyed."""
        user = body["user"]["id"]
        view = body["view"]
        errors = parsing.errors(view, UNREADABLE)
        answer = {"response_action": "errors", "errors": errors}
        unread = Reply(answer, FAILED)
        work = self._submit_view(view, user)
        await self._reply(ack, user, work, otherwise=unread)

    async def on_slash_command(self, ack: Ack, body: Json) -> None:
        """Alone it lists, `maintenance` plans, and anything else is the title of what is wrong."""
        user = body["user_id"]
        trigger = body["trigger_id"]
        text = body.get("text") or ""
        said = parse_text(text)
        work = self.slash.run(user, said, trigger)
        failed = said_privately(FAILED)
        await self._reply(ack, user, work, otherwise=failed)

    async def on_global_shortcut(self, ack: Ack, body: Json) -> None:
        """Asks what is wrong."""
        await ack()
        user = body["user"]["id"]
        trigger = body["trigger_id"]
        view = dialogs.new_dialog()
        opening = self.actions.open_dialog(user, trigger, view)
        self._start(opening)

    async def on_message_shortcut(self, ack: Ack, body: Json) -> None:
        """Publishes the words of a message."""
        await ack()
        work = self._publish_message(body)
        self._start(work)

    async def on_anything_else(self, ack: Ack) -> None:
        """Does nothing; without an answer Slack shows a warning, or sends an event again."""
        await ack()

    # -- Events, which Bolt has acknowledged, and would forget at shutdown

    async def on_mention(self, event: Json, body: Json) -> None:
        """Publishes what is said to the app in the thread of an incident."""
        if self._is_new(body):
            ours = authorized_in(body)
            work = self.mentions.on_mention(event, ours)
            self._start(work)

    async def on_message(self, event: Json, body: Json) -> None:
        """Hears mentions in any form, and follows their edits; other messages stay private."""
        if self._is_new(body):
            ours = authorized_in(body)
            work = self.mentions.on_message(event, ours)
            self._start(work)

    async def on_home_opened(self, event: Json) -> None:
        """Shows the Home tab."""
        work = self._show_home(event)
        self._start(work)

    # An event comes at least once.
    def _is_new(self, body: Json) -> bool:
        """Whether an event was not told before."""
        id_ = str(body.get("event_id") or "")
        is_new = not id_ or id_ not in self.events
        remember(self.events, id_, None)
        return is_new

    # -- Obeying

    async def _submit_view(self, view: Json, user: str) -> Reply:
        ready = self.client.settings.texts
        now = self.now()
        act = parsing.parse_view_submission(view, ready, now, user)
        change = await self.actions.act(act)
        if not change.refused:
            return Reply({})
        refused = self.wording.as_plain_text(change.refused)
        errors = parsing.errors(view, refused, change.field)
        answer = {"response_action": "errors", "errors": errors}
        written = [act.title, act.text, act.summary]
        written += act.texts.values()
        lines = [change.refused]
        lines += filter(None, written)
        words = "\n".join(lines)
        return Reply(answer, self.wording.as_mrkdwn(words))

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
        said = parse_message(message)
        addressed = after_mention(said, {self.client.bot_user})
        words = to_markdown(addressed or said)
        incidents = await self._publishable(message)
        if len(incidents) == 1 and words:
            act = Act(
                at=self.now(),
                verb="update",
                by=user,
                incident=incidents[0].number,
                text=words,
                # two who publish it do so once; its edits stay private
                source=f"shortcut:{message['ts']}",
            )
            await self.actions.obey(act, trigger=trigger)
            return
        view = dialogs.publish_dialog(incidents, words) if incidents else dialogs.new_dialog(words)
        await self.actions.open_dialog(user, trigger, view)

    async def _publishable(self, message: Json) -> list[Incident]:
        """The incident in whose thread a message stands, else those under way."""
        thread = message.get("thread_ts")
        ts = str(thread or message.get("ts"))
        number = await self.thread_of(ts)
        if number:
            of_thread = await self.incident_of(number)
            if of_thread:
                return [of_thread]
        incidents = self.state().incidents.values()
        under_way = [each for each in incidents if each.status in UNDER_WAY]
        return in_headline_order(under_way)

    async def _show_home(self, event: Json) -> None:
        if event.get("tab") != "home":
            return
        user = event["user"]
        refused = await self.staff.refusal(user)
        self.home_opened(user, may_act=not refused)
        if refused:
            notice = dialogs.notice(refused)
            view = {"type": "home", "blocks": notice["blocks"]}
            await self.client.call("views_publish", user_id=user, view=view)

    # -- Answering

    async def _reply(self, ack: Ack, user: str, work: Work[Reply], *, otherwise: Reply) -> None:
        """Acknowledges with the reply, where it comes in time, and `otherwise` where it fails.

        What takes longer is done all the same, and told privately.
        """
        task = self._start(work)
        await asyncio.wait([task], timeout=SOON)
        if task.done():
            reply = outcome(task, otherwise)
            await ack(**reply.ack)
        else:
            await ack()
            late = self._reply_late(user, task, otherwise)
            self._start(late)

    async def _reply_late(self, user: str, task: asyncio.Task[Reply], otherwise: Reply) -> None:
        await asyncio.wait([task])
        reply = outcome(task, otherwise)
        text = reply.text
        if text:
            blocks = reply.ack.get("blocks")
            await self.client.tell_privately(user, text, blocks=blocks)

    def _start(self, work: Work[T]) -> asyncio.Task[T]:
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


def outcome(task: asyncio.Task[Reply], otherwise: Reply) -> Reply:
    """What came of something that has ended; what failed is logged by whoever started it."""
    if task.cancelled() or task.exception():
        return otherwise
    return task.result()
