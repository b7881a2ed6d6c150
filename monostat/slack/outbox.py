"""What Slack has to be told, and in which order.

Mirrors (an incident's message, a Home tab) are made equal to now; thread lines are said once, in
order: claimed, sent, settled. A claim without a result is looked for in Slack before anything is
said a second time.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from monostat.core.events import Alerted
from monostat.core.model import Entry, Incident, Policy, State
from monostat.core.posted import Posted
from monostat.slack.client import Refused, SlackClient
from monostat.slack.home_tabs import HomeTabs
from monostat.slack.lane import Delivery, Key, Lane, Sender, Setback, delivery, run_lanes
from monostat.slack.log_queue import LogQueue, awaits_mail, is_plain, still_due
from monostat.slack.posts import Posts, SlackStore
from monostat.slack.text import SlackText
from monostat.vendor import Condition

BURST = timedelta(seconds=60)  # alerts that join within this are told in one line
CHECKED = "white_check_mark"  # of a mention that was obeyed
EMAILED = "envelope"  # of one that subscribers were emailed about
SLACK_TS = re.compile(r"\d+\.\d+")
LATE = timedelta(minutes=1)  # a line told later than this says when it happened


class Alarm(NamedTuple):
    """A trouble that is being posted, and since when we try to."""

    trouble: str
    since: datetime


class Burst(NamedTuple):
    """A line that tells of alerts: Slack's ts of it, and the entries that it tells of."""

    ts: str
    entries: tuple[Entry, ...]


class SlackOutbox:
    """Makes Slack equal to now and says what happened, in a lane for each method that may be slow.

    1. Posts: that nothing can be saved; the messages of incidents that have none; the next line of
       each thread.
    2. Edits: the messages that show something old; the lines whose question has been answered.
    3. The Home tabs that show something old.

    In its lane each thing waits, fails and is set aside by itself. `trouble` is what keeps changes
    from being saved or shown, or empty; `counts` is for metrics, by channel and result.
    """

    def __init__(
        self,
        *,
        store: SlackStore,
        state: Callable[[], State],
        trouble: Callable[[], str],
        submit: Callable[[Alerted], Awaitable[object]],
        now: Callable[[], datetime],
        policy: Policy,
        may_act: Callable[[str], bool],
        client: SlackClient,
        text: SlackText,
        rng: Random,
        counts: Counter[tuple[str, ...]],
    ) -> None:
        self._store = store
        self._state = state
        self._trouble = trouble
        self._submit = submit
        self._now = now
        self._policy = policy
        self._client = client
        self._text = text
        self._rng = rng
        self._counts = counts
        self._condition = Condition("Slack")
        self._shown_trouble = ""  # what the channel knows of
        self._alarm: Alarm | None = None
        self._bursts: dict[int, Burst] = {}  # the newest of each incident
        self._logged: set[Key] = set()  # what could only be shown in plain words, in any lane
        self._revived: set[int] = set()  # the lines that have already brought a message back
        self._homes = HomeTabs(
            state=state, client=client, text=text, counts=counts, may_act=may_act
        )
        self._queue = LogQueue(store=store, state=state, now=now, policy=policy)
        self.posts = Posts(
            store=store, state=state, now=now, client=client, text=text, on_change=self.wake
        )
        self._posting = self._lane(self._to_post)
        self._editing = self._lane(self._to_edit)
        self._publishing = self._lane(self._to_show)
        self._lanes = (self._posting, self._editing, self._publishing)

    def _lane(self, due: Callable[[], Awaitable[Sequence[Delivery]]]) -> Lane:
        return Lane(
            due=due,
            answers=self._client.identify,
            report=self._report,
            rng=self._rng,
            first_wait=self._client.timing.first_wait,
            counts=self._counts,
            logged=self._logged,
        )

    async def run(self) -> None:
        """Reads what Slack has, then tells it the rest for ever."""
        await self.posts.load()
        await self._queue.load(self.posts.key("line", "%"))
        await run_lanes(*self._lanes)

    def wake(self) -> None:
        """Something has changed."""
        for lane in self._lanes:
            lane.wake.set()

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
        await self._queue.read()
        if self._queue.answers:
            self._editing.wake.set()  # a line that they wait for may have been said, or set aside
        incidents = self.posts.without_message()
        messages = self._due_messages(incidents, self.posts.post)
        return [*self._due_trouble(), *messages, *self._due_lines()]

    async def _to_edit(self) -> list[Delivery]:
        await self._queue.read()
        incidents = self.posts.outdated()
        messages = self._due_messages(incidents, self.posts.edit)
        return [*messages, *self._due_answers()]

    async def _to_show(self) -> list[Delivery]:
        return self._homes.due()

    def _due_trouble(self) -> Iterator[Delivery]:
        trouble = self._trouble()
        if trouble != self._shown_trouble:
            name = "whether all is saved and shown"
            yield Delivery(("saving", 0), name, [self._post_trouble], about=trouble)

    def _due_messages(self, incidents: Iterable[Incident], send: Sender[int]) -> Iterator[Delivery]:
        for incident in incidents:
            number = incident.number
            name = f"the message of #{number}"
            source = self.posts.source_of(incident)
            yield delivery("message", number, name, send, about=source)

    def _due_lines(self) -> Iterator[Delivery]:
        waiting = {incident.number for incident in self.posts.without_message()}
        setbacks: dict[object, Setback] = {}
        for (kind, id_), setback in self._posting.setbacks.items():
            if kind == "line":
                setbacks[id_] = setback
        for entry in self._queue.next_lines(waiting, setbacks):
            thread = f" of #{entry.incident}" if entry.incident else ""
            name = f"line {entry.id}{thread} ({entry.kind})"
            yield delivery("line", entry.id, name, self._post_line)

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
                yield delivery("answer", key, name, self._close_question)

    # -- Telling it. Each says whether anything was sent.

    async def _post_trouble(self) -> bool:
        """Says that nothing can be saved, which no line of the log can, and that it can be again.

        The same words are looked for before they are posted a second time.
        """
        trouble = self._trouble()
        before = self._alarm
        alarm = Alarm(trouble, since=self._now())
        if before and before.trouble == trouble:
            alarm = before
        self._alarm = alarm
        key = self.posts.key("saving", alarm.since.isoformat())
        ts = None
        if alarm is before:
            ts = await self._client.find(key, since=alarm.since)
        if not ts:
            message = self._text.trouble(trouble)
            await self._client.post(message, key=key)
        self._shown_trouble = trouble
        self._alarm = None
        return not ts

    async def _post_line(self, id_: int, *, plainly: bool = False) -> bool:
        """Says one line, where it is still worth it, and ticks it off.

        1. An incident that was taken back says so in its message; its other lines are dropped.
        2. A line that calls staff brings back a message that somebody has deleted.
        3. A line waits for the message of its incident, unless that is too old to be told.
        4. What a mention did is a mark on it, and alerts that follow each other are one line.
        5. Else it is posted, and ticked off.
        """
        entry = self._queue.lines[id_]
        number = entry.incident
        state = self._state()
        if number and number not in state.incidents:
            is_sent = False
            if entry.kind == "undone":
                is_sent = await self.posts.retract(number, entry)
            await self._tick_off(entry)
            return is_sent
        now = self._now()
        is_told = id_ in self._queue.folded or is_plain(entry)
        if not plainly and (is_told or not still_due(entry, state, self._policy, now)):
            await self._tick_off(entry)
            return False
        thread = None
        if number:
            calls_staff = entry.detail.get("due") and id_ not in self._revived
            if calls_staff and await self.posts.is_missing(number):
                self._revived.add(id_)
            thread = self.posts.ts_of(number)
            if not thread:
                if not self.posts.is_wanted(state.incidents[number]):
                    await self._tick_off(entry)
                return False
        if not plainly and await self._mark(entry):
            await self._tick_off(entry)
            return True
        key = self.posts.key("line", id_)
        before = await self._store.posted(key)
        posted = await self._post_to(thread, entry, before, plainly=plainly)
        if posted is None:
            return False
        await self._tick_off(entry, is_question=posted.asks is not None)
        return not before.ts

    async def _tick_off(self, entry: Entry, *, is_question: bool = False) -> None:
        """Says no line twice; the post of a question is remembered, for its buttons."""
        key = "" if is_question else self.posts.key("line", entry.id)
        await self._store.told(entry, key)
        self._queue.lines.pop(entry.id, None)
        self._editing.wake.set()

    async def _post_to(
        self, thread: str | None, entry: Entry, before: Posted, *, plainly: bool
    ) -> Posted | None:
        """Posts a line to its thread, or to the channel; one that asks something is remembered.

        Returns None where the thread is gone: its message has to come back first.
        """
        number = entry.incident
        if plainly:
            line = self._text.unsayable(entry)
        else:
            is_late = self._now() - entry.at > LATE
            line = self._text.line(entry, late=is_late, burst=self._joined_with(entry))
        has_buttons = any(block["type"] == "actions" for block in line.blocks)
        has_buttons = has_buttons or (bool(number) and awaits_mail(entry, self._state()))
        before = replace(before, asks=entry if has_buttons else None)
        try:
            posted = await self.posts.post_once(before, line, thread=thread)
        except Refused as refused:
            is_gone = refused.code == "thread_not_found"
            if not is_gone or not number or entry.id in self._revived:
                raise
            self._revived.add(entry.id)
            await self.posts.lose(number)
            return None
        if entry.kind == "unattended" and number and not plainly:
            event = Alerted(at=self._now(), incident=number)
            await self._submit(event)
        if has_buttons:
            self._queue.questions[posted.key] = posted
        if entry.kind == "joined" and number and posted.ts:
            self._remember_burst(posted.ts, (entry, *self._joined_with(entry)))
        return posted

    def _joined_with(self, first: Entry) -> list[Entry]:
        """The alerts that wait to be told and joined the incident shortly after this one."""
        if first.kind != "joined":
            return []
        return [
            line
            for line in self._queue.lines.values()
            if (line.kind, line.incident) == (first.kind, first.incident)
            and line.id > first.id
            and line.at - first.at <= BURST
        ]

    def _remember_burst(self, ts: str, entries: tuple[Entry, ...]) -> None:
        """These alerts are told in one line."""
        self._bursts[entries[0].incident or 0] = Burst(ts, entries)
        self._queue.folded |= {entry.id for entry in entries}

    async def _mark(self, entry: Entry) -> bool:
        """Tells a line by a mark on the mention that it is about, or in the line of its burst.

        Returns False where it needs a line of its own.
        """
        said_in = entry.detail.get("said_in", "")
        if SLACK_TS.fullmatch(said_in):
            name = EMAILED if entry.kind == "mail_sent" else CHECKED
            return await self._client.react(said_in, name)
        burst = self._bursts.get(entry.incident or 0)
        if entry.kind != "joined" or burst is None or entry.at - burst.entries[0].at > BURST:
            return False
        entries = (*burst.entries, entry, *self._joined_with(entry))
        if not await self._client.update(burst.ts, self._text.line(entries[0], burst=entries[1:])):
            return False
        self._remember_burst(burst.ts, entries)
        return True

    async def _close_question(self, key: str, *, plainly: bool = False) -> bool:
        """Takes the buttons off a line that asks nothing any more; says what has answered it."""
        posted = self._queue.questions[key]
        is_sent = False
        if posted.asks and posted.ts:
            if plainly:
                line = self._text.unsayable(posted.asks)
            else:
                answers = self._queue.answers[key]
                burst = self._bursts.get(posted.asks.incident or 0)
                others = burst.entries[1:] if burst and burst.ts == posted.ts else ()
                line = self._text.line(posted.asks, answers=answers, burst=others)
            is_sent = await self._client.update(posted.ts, line)
        await self._store.forget(key)
        del self._queue.questions[key]
        del self._queue.answers[key]
        return is_sent
