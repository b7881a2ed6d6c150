"""What Slack has to be told, and in which order.

Mirrors (an incident's message, a Home tab) are made equal to now; thread lines are said once, in order: claimed, sent,
settled. A claim without a result is looked for in Slack before anything is said a second time.
"""

import asyncio
import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol, TypeVar

from monostat import talk
from monostat.board import Board
from monostat.delivery import Condition, Undelivered
from monostat.events import Alerted
from monostat.incidents import PLANNED, Alert, Entry, Incident, Mail, State
from monostat.lane import Errand, Lane
from monostat.messages import Block, Message, Words
from monostat.slack import UNFIT, Refused, Slack
from monostat.store import Posted
from monostat.untold import Untold, still_due

log = logging.getLogger(__name__)
LATE = timedelta(minutes=1)  # a line told later than this says when it happened
RECENT = timedelta(days=7)  # what is over for longer stays in Slack as it is
T_contra = TypeVar("T_contra", contravariant=True)
Now = tuple[Incident, Sequence[Alert], Sequence[Mail]]  #: what the message of an incident is made of


class Way(Protocol[T_contra]):
    """Tells one thing, and says whether anything was sent."""

    def __call__(self, what: T_contra, /, *, plainly: bool = False) -> Awaitable[bool]: ...


@dataclass(kw_only=True)
class Telling:
    """Makes Slack equal to now and says what happened, in three lanes: one for each method that Slack may slow down.

    1. Posts: that nothing can be saved; the messages of incidents that have none; the next line of each thread.
    2. Edits: the messages that show something old; the lines whose question has been answered.
    3. The Home tabs that show something old.

    In its lane each thing waits, fails and is set aside by itself.
    """

    board: Board
    chat: Slack
    words: Words
    rng: Random
    counts: Counter[tuple[str, ...]]  # for metrics, by channel and result
    said: str = ""  # of the database's trouble
    saying: tuple[str, datetime] | None = None  # that trouble, and since when we try to say it
    messages: dict[int, Posted] = field(default_factory=dict)  # of incidents, by their numbers
    shown: dict[int, tuple[Now, Message]] = field(default_factory=dict)  # what these messages show, where that is known
    returned: set[int] = field(default_factory=set)  # the lines that have already brought a message back
    homes: dict[str, tuple[State | None, Block]] = field(default_factory=dict)  # what people's Home tabs show
    editing: defaultdict[int, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    def __post_init__(self) -> None:
        lane = partial(Lane, answers=self.chat.learn, report=self.report, rng=self.rng, counts=self.counts)
        self.condition, self.untold = Condition("Slack"), Untold(self.board)
        self.posts, self.edits, self.tabs = lane(due=self.to_post), lane(due=self.to_edit), lane(due=self.to_publish)

    async def run(self) -> None:
        await self.remember()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.edits.run())
                tasks.create_task(self.tabs.run())
                await self.posts.run()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # the supervisor tells a full disk from a bug

    def wake(self) -> None:
        """Something has changed."""
        for lane in (self.posts, self.edits, self.tabs):
            lane.wake.set()

    def report(self) -> None:
        """Logs once that Slack does not take something, and once that it takes all again."""
        troubles = [lane.trouble for lane in (self.posts, self.edits, self.tabs) if lane.trouble]
        if not (troubles and self.condition.trouble):
            self.condition.tell(f"{troubles[0]}; trying again" if troubles else "")

    async def remember(self) -> None:
        """Reads what Slack was given before; what its messages show may be old."""
        prefix = self.key("incident", "")
        found = await self.board.store.find(Posted, "key LIKE ?", f"{prefix}%")
        self.messages = {int(posted.key.removeprefix(prefix)): posted for posted in found}
        self.shown.clear()
        await self.untold.remember(self.key("line", "%"))

    # -- What is due

    async def to_post(self) -> list[Errand]:
        await self.untold.read()
        if self.untold.answers:
            self.edits.wake.set()  # a line that one of them waits for may have been said, or set aside
        return [*self.troubles(), *self.without_message(), *self.lines()]

    async def to_edit(self) -> list[Errand]:
        await self.untold.read()
        return [*self.outdated(), *self.answered()]

    async def to_publish(self) -> list[Errand]:
        """Those who have just opened theirs come first."""
        old = [user for user, (state, _) in self.homes.items() if state is not self.board.state]
        old.sort(key=lambda user: self.homes[user][0] is not None)
        return [errand("home", user, f"the Home tab of {user}", self.publish) for user in old]

    def troubles(self) -> Iterator[Errand]:
        if (trouble := self.board.saving.trouble) != self.said:
            yield Errand(("saving", 0), "whether anything can be saved", [self.tell_trouble], about=trouble)

    def without_message(self) -> Iterator[Errand]:
        for incident in self.by_urgency():
            number = incident.number
            if not self.ts_of(number):
                now = self.now_of(incident)
                yield errand("message", number, f"the message of #{number}", self.post, about=now)

    def outdated(self) -> Iterator[Errand]:
        for incident in self.by_urgency():
            number, now = incident.number, self.now_of(incident)
            if self.ts_of(number) and (number not in self.shown or self.shown[number][0] != now):
                yield errand("message", number, f"the message of #{number}", self.edit, about=now)

    def by_urgency(self) -> list[Incident]:
        """Those that Slack has to show, the open ones first, then the newest."""
        incidents = filter(self.is_told, self.board.state.incidents.values())
        return sorted(incidents, key=lambda i: (i.is_open, i.number), reverse=True)

    def is_told(self, incident: Incident) -> bool:
        """Old stories are neither told again nor told late."""
        recent = incident.updated_at > self.board.now() - RECENT
        return incident.is_open or incident.status is PLANNED or recent or incident.number in self.shown

    def lines(self) -> Iterator[Errand]:
        waiting = {incident.number for incident in self.by_urgency() if not self.ts_of(incident.number)}
        setbacks = {id_: setback for (kind, id_), setback in self.posts.setbacks.items() if kind == "line"}
        for entry in self.untold.next_lines(waiting, setbacks):
            about = f" of #{entry.incident}" if entry.incident else ""
            yield errand("line", entry.id, f"line {entry.id}{about} ({entry.kind})", self.say)

    def answered(self) -> Iterator[Errand]:
        """An answer that is about to be said in the thread is said there first."""
        next_lines = {line.key for line in self.lines() if line.key not in self.posts.setbacks}
        for key, answers in self.untold.answers.items():
            asked = self.untold.asked[key].asks
            if asked and not any(("line", answer.id) in next_lines for answer in answers):
                about = f"the answer to line {asked.id} of #{asked.incident}"
                yield errand("answer", key, about, self.settle)

    # -- Telling it. Each says whether anything was sent.

    async def tell_trouble(self) -> bool:
        """Says in the channel that nothing can be saved, which no line of the log can, and that it can be again."""
        trouble, found = self.board.saving.trouble, None
        if self.saying and self.saying[0] == trouble:
            found = await self.chat.find(self.key("saving", self.saying[1].isoformat()), since=self.saying[1])
        else:
            self.saying = (trouble, self.board.now())
        if not found:
            await self.chat.post(self.words.saving(trouble), key=self.key("saving", self.saying[1].isoformat()))
        self.said, self.saying = trouble, None
        return not found

    async def post(self, number: int, *, plainly: bool = False) -> bool:
        """Posts the message of an incident that has none, or finds it."""
        async with self.editing[number]:
            if (incident := self.board.state.incidents.get(number)) is None:
                return False
            now = self.now_of(incident)
            message = self.made(now, plainly=plainly)
            before = await self.board.store.posted(self.key("incident", number))
            posted = await self.post_once(before, message, digest=digest_of(message))
            self.messages[number] = posted
            if posted.digest == digest_of(message):  # of one that was found nobody knows what it shows
                self.shown[number] = now, message
        self.wake()
        return not before.ts

    async def edit(self, number: int, *, plainly: bool = False) -> bool:
        """Makes the message of an incident equal to now."""
        async with self.editing[number]:
            incident, posted = self.board.state.incidents.get(number), self.messages.get(number)
            if incident is None or posted is None or posted.ts is None:
                return False
            now = self.now_of(incident)
            message = self.made(now, plainly=plainly)
            sent = posted.digest != digest_of(message)
            if sent:
                if not await self.chat.update(posted.ts, message):
                    await self.lose(number)
                    return False
                posted = replace(posted, digest=digest_of(message))
                await self.board.store.put(posted)
            self.messages[number], self.shown[number] = posted, (now, message)
            return sent

    async def say(self, id_: int, *, plainly: bool = False) -> bool:
        """Says one line, where it is still worth it, and ticks it off."""
        entry, key, sent = self.untold.queue[id_], self.key("line", id_), False
        number, state = entry.incident, self.board.state
        if number and number not in state.incidents:
            sent = entry.kind == "undone" and await self.vanish(number, entry)
        elif plainly or still_due(entry, state, self.board.policy, self.board.now()):
            if number and entry.detail.get("due") and id_ not in self.returned and await self.is_missing(number):
                self.returned.add(id_)
            thread = self.ts_of(number) if number else None
            if number and not thread and self.is_told(state.incidents[number]):
                return False  # its message comes first
            if thread or not number:
                before = await self.board.store.posted(key)
                posted = await self.say_in(thread, entry, before, plainly=plainly)
                if posted is None:
                    return False
                sent, key = not before.ts, "" if posted.asks else key
        await self.board.store.told(entry, key)
        self.untold.queue.pop(id_, None)
        self.edits.wake.set()
        return sent

    async def say_in(self, thread: str | None, entry: Entry, before: Posted, *, plainly: bool) -> Posted | None:
        """Posts a line to its thread, or to the channel; where the thread is gone, its message has to come back first.

        One that asks something is remembered until it is answered.
        """
        board, number = self.board, entry.incident
        late = board.now() - entry.at > LATE
        line = self.words.unsayable(entry) if plainly else self.words.line(entry, late=late)
        asks = entry if any(block["type"] == "actions" for block in line.blocks) else None
        try:
            posted = await self.post_once(replace(before, asks=asks), line, thread=thread)
        except Refused as refused:
            if refused.code != "thread_not_found" or not number or entry.id in self.returned:
                raise
            self.returned.add(entry.id)
            async with self.editing[number]:
                await self.lose(number)
            return None
        if entry.kind == "unattended" and number and not plainly:
            await board.submit(Alerted(at=board.now(), incident=number))
        if asks:
            self.untold.asked[posted.key] = posted
        return posted

    async def is_missing(self, number: int) -> bool:
        """Finds out whether somebody has deleted a message, by having it say again what it says."""
        async with self.editing[number]:
            ts, known = self.ts_of(number), self.shown.get(number)
            with suppress(Undelivered):  # whether it is there cannot be known now
                if ts and known and not await self.chat.update(ts, known[1]):
                    await self.lose(number)
                    return True
        return False

    async def lose(self, number: int) -> None:
        """Remembers the message of an incident as an older one; another is posted in its place."""
        posted = self.messages[number]
        if posted.ts:
            earlier = (*posted.earlier, posted.ts)
            posted = Posted(key=posted.key, earlier=earlier)
            await self.board.store.put(posted)
            self.messages[number] = posted
            self.shown.pop(number, None)
        self.posts.wake.set()

    async def vanish(self, number: int, entry: Entry) -> bool:
        """Says in the message of an incident that was taken back that it is gone, also where its post was unclear."""
        async with self.editing[number]:
            posted = await self.board.store.posted(self.key("incident", number))
            ts = posted.ts or (posted.claimed_at and await self.chat.find(posted.key, since=posted.claimed_at))
            sent = bool(ts) and await self.chat.update(str(ts), self.words.vanished(entry))
            await self.board.store.forget(posted.key)
            self.messages.pop(number, None)
            self.shown.pop(number, None)
        return sent

    async def settle(self, key: str, *, plainly: bool = False) -> bool:
        """Takes the buttons off a line that asks nothing any more, and says what has answered it."""
        posted = self.untold.asked[key]
        sent = False
        if posted.asks and posted.ts:
            answers = self.untold.answers[key]
            line = self.words.unsayable(posted.asks) if plainly else self.words.line(posted.asks, answers=answers)
            sent = await self.chat.update(posted.ts, line)
        await self.board.store.forget(key)
        del self.untold.asked[key], self.untold.answers[key]
        return sent

    async def publish(self, user: str, *, plainly: bool = False) -> bool:
        """Makes a Home tab equal to now."""
        if user not in self.homes:
            return False
        state, before = self.board.state, self.homes[user][1]
        view = talk.bare_home() if plainly else talk.home(state, self.words)
        if view != before:
            try:
                await self.chat.call("views_publish", user_id=user, view=view)
            except Refused as refused:
                if not refused.permanent or refused.code in UNFIT:
                    raise
                log.warning("Slack: %s; this Home tab is left out", refused.reason)
                self.counts["slack", "dropped"] += 1
                self.homes.pop(user, None)
                return False
        if user in self.homes:  # they may have been refused meanwhile
            self.homes[user] = state, view
        return view != before

    def made(self, now: Now, *, plainly: bool) -> Message:
        incident, _, mails = now
        return self.words.bare(incident, mails) if plainly else self.words.incident(*now)

    async def post_once(
        self, posted: Posted, message: Message, *, thread: str | None = None, digest: str = ""
    ) -> Posted:
        """Posts what is not there yet: after an unclear end it is looked for first."""
        store, key = self.board.store, posted.sought or posted.key
        if posted.ts:
            return posted
        if posted.claimed_at and (found := await self.chat.find(key, since=posted.claimed_at, thread=thread)):
            posted = replace(posted, ts=found)
        else:
            posted = replace(posted, claimed_at=self.board.now(), sought="")
            await store.put(posted)
            try:
                loud = "<!here>" in message.text
                ts = await self.chat.post(message, key=posted.key, thread=thread, loud=loud)
            except Undelivered as trouble:
                if not trouble.ambiguous:
                    await store.put(replace(posted, claimed_at=None))
                raise
            posted = replace(posted, ts=ts, digest=digest)
        await store.put(posted)
        return posted

    # -- What others ask

    async def thread_of(self, ts: str) -> int | None:
        """The number of the incident one of whose messages, also of older ones, has this ts."""
        prefix, where = self.key("incident", ""), "key LIKE ? AND (json_extract(body, '$.ts') = ? OR EXISTS"
        where += " (SELECT 1 FROM json_each(body, '$.earlier') WHERE value = ?))"
        found = await self.board.store.find(Posted, where, f"{prefix}%", ts, ts)
        return int(found[0].key.removeprefix(prefix)) if found else None

    def home_opened(self, user: str, *, may_act: bool) -> None:
        """Shows somebody's Home tab from now on, or no longer."""
        self.homes.pop(user, None)
        self.tabs.setbacks.pop(("home", user), None)
        if may_act:
            self.homes[user] = (None, {})
        self.tabs.wake.set()

    def ts_of(self, number: int) -> str | None:
        return self.messages[number].ts if number in self.messages else None

    def now_of(self, incident: Incident) -> Now:
        state = self.board.state
        return incident, state.open_alerts(incident.number), state.mails_of(incident.number)

    def key(self, kind: str, number: object) -> str:
        return f"{self.board.state.epoch}:{kind}:{number}"


def errand(kind: str, what: T_contra, name: str, way: Way[T_contra], about: object = None) -> Errand:
    """Something to be told in its own words, and in plain ones where these cannot be."""
    return Errand((kind, what), name, [partial(way, what), partial(way, what, plainly=True)], about)


def digest_of(message: Message) -> str:
    return hashlib.sha256(json.dumps(message).encode()).hexdigest()
