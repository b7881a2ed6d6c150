"""What Slack has to be told, and in which order.

Mirrors (an incident's message, a Home tab) are made equal to now; thread lines are said once, in
order: claimed, sent, settled. A claim without a result is looked for in Slack before anything is
said a second time.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import Random
from typing import NamedTuple

from monostat.core.events import Alerted
from monostat.core.model import Incident, Policy, State
from monostat.slack.client import SlackClient
from monostat.slack.home_tabs import HomeTabs
from monostat.slack.lane import Delivery, Key, Lane, Setback
from monostat.slack.log_queue import LogQueue
from monostat.slack.posts import Posts, SlackStore
from monostat.slack.text import SlackText
from monostat.slack.thread_lines import ThreadLines
from monostat.vendor import Condition, side_by_side


class Alarm(NamedTuple):
    """A trouble that is being posted, and since when we try to."""

    trouble: str
    since: datetime


@dataclass(kw_only=True, eq=False)
class SlackOutbox:
    """Makes Slack equal to now and says what happened, in a lane for each method that may be slow.

    1. Posts: that nothing can be saved; the messages of incidents that have none; the next line of
       each thread.
    2. Edits: the messages that show something old; the lines whose question has been answered.
    3. The Home tabs that show something old.

    In its lane each thing waits, fails and is set aside by itself. `trouble` is what keeps changes
    from being saved or shown, or empty; `counts` is for metrics, by channel and result.
    """

    store: SlackStore
    state: Callable[[], State]
    trouble: Callable[[], str]
    submit: Callable[[Alerted], Awaitable[object]]
    now: Callable[[], datetime]
    policy: Policy
    may_act: Callable[[str], bool]
    client: SlackClient
    wording: SlackText
    rng: Random
    counts: Counter[tuple[str, ...]]

    def __post_init__(self) -> None:
        self._condition = Condition("Slack")
        self._shown_trouble = ""  # what the channel knows of
        self._alarm: Alarm | None = None
        self._logged: set[Key] = set()  # what could only be shown in plain words, in any lane
        self._homes = HomeTabs(
            state=self.state,
            client=self.client,
            wording=self.wording,
            counts=self.counts,
            may_act=self.may_act,
        )
        self._queue = LogQueue(store=self.store, state=self.state, now=self.now, policy=self.policy)
        self.posts = Posts(
            store=self.store,
            state=self.state,
            now=self.now,
            client=self.client,
            wording=self.wording,
            on_change=self.wake,
        )
        self._lines = self._thread_lines()
        self._posting = self._lane(self._to_post)
        self._editing = self._lane(self._to_edit)
        self._publishing = self._lane(self._to_show)
        self._lanes = (self._posting, self._editing, self._publishing)

    def _thread_lines(self) -> ThreadLines:
        return ThreadLines(
            store=self.store,
            state=self.state,
            now=self.now,
            policy=self.policy,
            submit=self.submit,
            client=self.client,
            wording=self.wording,
            posts=self.posts,
            queue=self._queue,
            on_told=self._line_told,
        )

    def _lane(self, due: Callable[[], Awaitable[Sequence[Delivery]]]) -> Lane:
        return Lane(
            due=due,
            answers=self.client.identify,
            report=self._report,
            rng=self.rng,
            first_wait=self.client.timing.first_wait,
            counts=self.counts,
            logged=self._logged,
        )

    async def run(self) -> None:
        """Reads what Slack has, then tells it the rest for ever."""
        await self.posts.load()
        await self._queue.load(self.posts.key("line", ""))
        await side_by_side(*(lane.run for lane in self._lanes))

    def wake(self) -> None:
        """Something has changed."""
        for lane in self._lanes:
            lane.wake.set()

    def _line_told(self) -> None:
        self._editing.wake.set()

    def home_opened(self, user: str, *, may_act: bool) -> None:
        """Shows somebody's Home tab from now on, or no longer."""
        self._homes.drop(user)
        self._publishing.setbacks.pop(("home", user), None)
        if may_act:
            self._homes.open(user)
        self._publishing.wake.set()

    def _report(self) -> None:
        """Logs once that Slack does not take something, and once that it takes all again."""
        troubles = [lane.trouble for lane in self._lanes if lane.trouble]
        if not troubles:
            self._condition.tell("")
        elif not self._condition.trouble:
            self._condition.tell(f"{troubles[0]}; trying again")

    # -- What is due

    async def _to_post(self) -> list[Delivery]:
        self.posts.forget_past()
        await self._queue.read()
        if self._queue.answers:
            self._editing.wake.set()  # a line that they wait for may have been said, or set aside
        incidents = self.posts.find_unposted()
        messages = self._due_messages(incidents, self.posts.post)
        return [*self._due_trouble(), *messages, *self._due_lines()]

    async def _to_edit(self) -> list[Delivery]:
        await self._queue.read()
        incidents = self.posts.find_outdated()
        messages = self._due_messages(incidents, self.posts.edit)
        return [*messages, *self._due_answers()]

    async def _to_show(self) -> list[Delivery]:
        return self._homes.due()

    def _due_trouble(self) -> Iterator[Delivery]:
        trouble = self.trouble()
        if trouble != self._shown_trouble:
            name = "whether all is saved and shown"
            yield Delivery(("saving", 0), name, self._post_trouble, about=trouble)

    def _due_messages(
        self, incidents: Iterable[Incident], send: Callable[[int, bool], Awaitable[bool]]
    ) -> Iterator[Delivery]:
        for incident in incidents:
            number = incident.number
            name = f"the message of #{number}"
            inputs = self.posts.inputs_of(incident)
            yield Delivery(("message", number), name, partial(send, number), about=inputs)

    def _due_lines(self) -> Iterator[Delivery]:
        waiting = {incident.number for incident in self.posts.find_unposted()}
        setbacks: dict[object, Setback] = {}
        for (kind, id_), setback in self._posting.setbacks.items():
            if kind == "line":
                setbacks[id_] = setback
        for entry in self._queue.next_lines(waiting, setbacks):
            name = f"line {entry.id} ({entry.kind})"
            if entry.incident:
                name = f"line {entry.id} of #{entry.incident} ({entry.kind})"
            yield Delivery(("line", entry.id), name, partial(self._lines.post, entry.id))

    def _due_answers(self) -> Iterator[Delivery]:
        """An answer that is about to be said in the thread is said there first."""
        setbacks = self._posting.setbacks
        lines = [line.key for line in self._due_lines()]
        next_lines = {key for key in lines if key not in setbacks}
        for key, answers in self._queue.answers.items():
            question = self._queue.questions[key].asks
            is_next = any(("line", answer.id) in next_lines for answer in answers)
            if question and not is_next:
                name = f"the answer to line {question.id} of #{question.incident}"
                yield Delivery(("answer", key), name, partial(self._lines.close_question, key))

    # -- Telling it. Each says whether anything was sent.

    async def _post_trouble(self, _fallback: bool) -> bool:
        """Says that nothing can be saved, which no line of the log can, and that it can be again.

        Its words are plain already; they are looked for before they are posted a second time.
        """
        trouble = self.trouble()
        before = self._alarm
        alarm = Alarm(trouble, since=self.now())
        if before and before.trouble == trouble:
            alarm = before
        self._alarm = alarm
        key = self.posts.key("saving", alarm.since.isoformat())
        ts = None
        if alarm is before:
            ts = await self.client.find(key, since=alarm.since)
        if not ts:
            message = self.wording.trouble(trouble)
            await self.client.post(message, key=key)
        self._shown_trouble = trouble
        self._alarm = None
        return not ts
