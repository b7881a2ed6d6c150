"""The lines of threads: each is said once, where it is still worth it, and ticked off.

A line may be told by a mark on the mention that it is about, or share that of a burst of alerts. A
question loses its buttons when something has answered it.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from monostat.core.events import Alerted
from monostat.core.model import Entry, Policy, State
from monostat.core.posted import Posted
from monostat.slack.client import SlackClient, SlackRefused
from monostat.slack.log_queue import LogQueue, awaits_mail, is_redundant, still_due
from monostat.slack.messages import Message
from monostat.slack.posts import Posts, SlackStore
from monostat.slack.text import SlackText

BURST = timedelta(seconds=60)  # alerts that join within this are told in one line
CHECKED = "white_check_mark"  # of a mention that was obeyed
EMAILED = "envelope"  # of one that subscribers were emailed about
SLACK_TS = re.compile(r"\d+\.\d+")
LATE = timedelta(minutes=1)  # a line told later than this says when it happened


class Burst(NamedTuple):
    """A line that tells of alerts: Slack's ts of it, and the entries that it tells of."""

    ts: str
    entries: tuple[Entry, ...]


@dataclass(kw_only=True)
class ThreadLines:
    """Says the lines of `queue`; `on_told` is called when one was said, or set aside for ever.

    What says a line returns whether anything was sent.
    """

    store: SlackStore
    state: Callable[[], State]
    now: Callable[[], datetime]
    policy: Policy
    submit: Callable[[Alerted], Awaitable[object]]
    client: SlackClient
    wording: SlackText
    posts: Posts
    queue: LogQueue
    on_told: Callable[[], None]
    bursts: dict[int, Burst] = field(default_factory=dict)  # the newest of each incident
    revived: set[int] = field(default_factory=set)  # lines that have brought a message back

    async def post(self, id_: int, fallback: bool) -> bool:
        """Says one line, where it is still worth it, and ticks it off.

        1. An incident that was taken back says so in its message; its other lines are dropped.
        2. What a mention did is a mark on it.
        3. A line that calls staff brings back a message that somebody has deleted.
        4. A line waits for the message of its incident, unless that is too old to be told.
        5. Alerts that follow each other are one line.
        6. Else it is posted, and ticked off.
        """
        entry = self.queue.lines[id_]
        number = entry.incident
        if number and not await self._is_there(number):
            return await self._retract(entry, number)
        if not fallback and await self._mark_mention(entry):
            await self._tick_off(entry)
            return True
        if not fallback and not self._is_worth_it(entry):
            await self._tick_off(entry)
            return False
        thread = None
        if number:
            thread = await self._thread_for(entry, number)
            if not thread:
                if not self._awaits_message(number):
                    await self._tick_off(entry)
                return False
        if not fallback and await self._join_burst(entry):
            await self._tick_off(entry)
            return True
        key = self.posts.key("line", id_)
        before = await self.store.posted(key)
        posted = await self._post_to(thread, entry, before, fallback=fallback)
        if posted is None:
            return False
        await self._tick_off(entry, is_question=posted.asks is not None)
        return not before.ts

    async def _retract(self, entry: Entry, number: int) -> bool:
        is_sent = False
        if entry.kind == "undone":
            is_sent = await self.posts.retract(number, entry)
        await self._tick_off(entry)
        return is_sent

    async def _is_there(self, number: int) -> bool:
        """Whether an incident is present, or past; else it was taken back."""
        if number in self.state().incidents:
            return True
        return await self.store.has_incident(number)

    def _is_worth_it(self, entry: Entry) -> bool:
        if entry.id in self.queue.folded or is_redundant(entry):
            return False
        state = self.state()
        now = self.now()
        return still_due(entry, state, self.policy, now)

    async def _thread_for(self, entry: Entry, number: int) -> str | None:
        """The thread of an incident; None where its message has to be posted first."""
        calls_staff = bool(entry.detail.get("due"))
        is_first_try = entry.id not in self.revived
        if calls_staff and is_first_try and await self.posts.is_missing(number):
            self.revived.add(entry.id)
        if number in self.state().incidents:
            return self.posts.ts_of(number)
        key = self.posts.key("incident", number)
        message = await self.store.posted(key)
        return message.ts

    def _awaits_message(self, number: int) -> bool:
        incident = self.state().incidents.get(number)
        return incident is not None and self.posts.is_wanted(incident)

    async def _tick_off(self, entry: Entry, *, is_question: bool = False) -> None:
        """Says no line twice; the post of a question is remembered, for its buttons."""
        key = ""
        if not is_question:
            key = self.posts.key("line", entry.id)
        await self.store.tick_off(entry, key)
        self.queue.lines.pop(entry.id, None)
        self.on_told()

    async def _post_to(
        self, thread: str | None, entry: Entry, before: Posted, *, fallback: bool
    ) -> Posted | None:
        """Posts a line to its thread, or to the channel; one that asks something is remembered.

        Returns None where the thread is gone: its message has to come back first.
        """
        number = entry.incident
        line = self._rendered(entry, fallback=fallback)
        has_buttons = any(block["type"] == "actions" for block in line.blocks)
        state = self.state()
        has_mail = number is not None and awaits_mail(entry, state)
        asks = entry if has_buttons or has_mail else None
        before = replace(before, asks=asks)
        try:
            posted = await self.posts.post_once(before, line, thread=thread)
        except SlackRefused as refused:
            if refused.code != "thread_not_found":
                raise
            was_revived = entry.id in self.revived
            if was_revived or number not in self.posts.messages:
                raise
            self.revived.add(entry.id)
            await self.posts.lose(number)
            return None
        if entry.kind == "unattended" and number and not fallback:
            event = Alerted(at=self.now(), incident=number)
            await self.submit(event)
        if before.asks:
            self.queue.questions[posted.key] = posted
        if entry.kind == "joined" and number and posted.ts:
            entries = (entry, *self._joined_with(entry))
            self._remember_burst(posted.ts, entries)
        return posted

    def _rendered(self, entry: Entry, *, fallback: bool) -> Message:
        if fallback:
            return self.wording.unsayable(entry)
        age = self.now() - entry.at
        is_late = age > LATE
        burst = self._joined_with(entry)
        return self.wording.line(entry, late=is_late, burst=burst)

    # -- Alerts of one minute

    def _joined_with(self, first: Entry) -> list[Entry]:
        """The alerts that wait to be told and joined the incident shortly after this one."""
        if first.kind != "joined":
            return []
        return [
            line
            for line in self.queue.lines.values()
            if line.kind == first.kind
            and line.incident == first.incident
            and line.id > first.id
            and line.at - first.at <= BURST
        ]

    def _remember_burst(self, ts: str, entries: tuple[Entry, ...]) -> None:
        """These alerts are told in one line."""
        first = entries[0]
        number = first.incident or 0
        self.bursts[number] = Burst(ts, entries)
        self.queue.folded |= {entry.id for entry in entries}

    async def _mark_mention(self, entry: Entry) -> bool:
        """Tells a line by a mark on the mention that it is about; False where there can be none."""
        said_in = entry.detail.get("said_in", "")
        if not SLACK_TS.fullmatch(said_in):
            return False
        mark = EMAILED if entry.kind == "mail_sent" else CHECKED
        return await self.client.react(said_in, mark)

    async def _join_burst(self, entry: Entry) -> bool:
        """Tells an alert in the line of its burst; False where it needs a line of its own."""
        if entry.kind != "joined":
            return False
        number = entry.incident or 0
        burst = self.bursts.get(number)
        if burst is None:
            return False
        first = burst.entries[0]
        if entry.at - first.at > BURST:
            return False
        entries = (*burst.entries, entry, *self._joined_with(entry))
        line = self.wording.line(first, burst=entries[1:])
        if not await self.client.update(burst.ts, line):
            return False
        self._remember_burst(burst.ts, entries)
        return True

    # -- Questions

    async def close_question(self, key: str, fallback: bool) -> bool:
        """Takes the buttons off a line that asks nothing any more."""
        posted = self.queue.questions[key]
        is_sent = False
        if posted.asks and posted.ts:
            line = self._answered(posted.asks, posted, fallback)
            is_sent = await self.client.update(posted.ts, line)
        await self.store.forget(key)
        del self.queue.questions[key]
        del self.queue.answers[key]
        return is_sent

    def _answered(self, question: Entry, posted: Posted, fallback: bool) -> Message:
        if fallback:
            return self.wording.unsayable(question)
        others: tuple[Entry, ...] = ()
        number = question.incident or 0
        burst = self.bursts.get(number)
        if burst and burst.ts == posted.ts:
            others = burst.entries[1:]
        answers = self.queue.answers[posted.key]
        return self.wording.line(question, answers=answers, burst=others)
