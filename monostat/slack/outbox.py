"""What Slack has to be told, and in which order.

Mirrors (an incident's message, a Home tab) are made equal to now; thread lines are said once, in
order: claimed, sent, settled. A claim without a result is looked for in Slack before anything is
said a second time.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol, TypeVar

from monostat.core.events import Alerted
from monostat.core.model import Entry, Incident, State
from monostat.core.posted import Posted
from monostat.engine import Board
from monostat.slack import forms as talk
from monostat.slack.client import UNFIT, Refused, Slack
from monostat.slack.lane import Errand, Lane
from monostat.slack.messages import Block, Words
from monostat.slack.posts import Posts
from monostat.slack.untold import Untold, still_due
from monostat.vendor import Condition

log = logging.getLogger(__name__)
LATE = timedelta(minutes=1)  # a line told later than this says when it happened
T_contra = TypeVar("T_contra", contravariant=True)


class Way(Protocol[T_contra]):
    """Tells one thing, and says whether anything was sent."""

    def __call__(self, what: T_contra, /, *, plainly: bool = False) -> Awaitable[bool]: ...


@dataclass(kw_only=True)
class Telling:
    """Makes Slack equal to now and says what happened, in a lane for each method that may be slow.

    1. Posts: that nothing can be saved; the messages of incidents that have none; the next line of
       each thread.
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
    #: The lines that have already brought a message back.
    returned: set[int] = field(default_factory=set)
    #: What people's Home tabs show, and of which state.
    homes: dict[str, tuple[State | None, Block]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lane = partial(
            Lane,
            answers=self.chat.learn,
            report=self.report,
            rng=self.rng,
            first_wait=self.chat.timing.first_wait,
            counts=self.counts,
        )
        self.condition = Condition("Slack")
        self.untold = Untold(self.board)
        self.posts = Posts(board=self.board, chat=self.chat, words=self.words, wake=self.wake)
        self.posting = lane(due=self.to_post)
        self.editing = lane(due=self.to_edit)
        self.publishing = lane(due=self.to_publish)
        self.lanes = (self.posting, self.editing, self.publishing)

    async def run(self) -> None:
        await self.posts.remember()
        await self.untold.remember(self.posts.key("line", "%"))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.editing.run())
                tasks.create_task(self.publishing.run())
                await self.posting.run()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # the supervisor tells a full disk from a bug

    def wake(self) -> None:
        """Something has changed."""
        for lane in self.lanes:
            lane.wake.set()

    def report(self) -> None:
        """Logs once that Slack does not take something, and once that it takes all again."""
        troubles = [lane.trouble for lane in self.lanes if lane.trouble]
        if not (troubles and self.condition.trouble):
            self.condition.tell(f"{troubles[0]}; trying again" if troubles else "")

    # -- What is due

    async def to_post(self) -> list[Errand]:
        await self.untold.read()
        if self.untold.answers:
            self.editing.wake.set()  # a line that they wait for may have been said, or set aside
        messages = self.mirrors(self.posts.without_message(), self.posts.post)
        return [*self.troubles(), *messages, *self.lines()]

    async def to_edit(self) -> list[Errand]:
        await self.untold.read()
        return [*self.mirrors(self.posts.outdated(), self.posts.edit), *self.answered()]

    async def to_publish(self) -> list[Errand]:
        """Those who have just opened theirs come first."""
        old = [user for user, (state, _) in self.homes.items() if state is not self.board.state]
        old.sort(key=lambda user: self.homes[user][0] is not None)
        return [errand("home", user, f"the Home tab of {user}", self.publish) for user in old]

    def troubles(self) -> Iterator[Errand]:
        if (trouble := self.board.trouble) != self.said:
            name = "whether all is saved and shown"
            yield Errand(("saving", 0), name, [self.tell_trouble], about=trouble)

    def mirrors(self, incidents: Iterable[Incident], way: Way[int]) -> Iterator[Errand]:
        for incident in incidents:
            number = incident.number
            about = self.posts.now_of(incident)
            yield errand("message", number, f"the message of #{number}", way, about)

    def lines(self) -> Iterator[Errand]:
        waiting = {incident.number for incident in self.posts.without_message()}
        failed = self.posting.setbacks.items()
        setbacks = {id_: setback for (kind, id_), setback in failed if kind == "line"}
        for entry in self.untold.next_lines(waiting, setbacks):
            about = f" of #{entry.incident}" if entry.incident else ""
            yield errand("line", entry.id, f"line {entry.id}{about} ({entry.kind})", self.say)

    def answered(self) -> Iterator[Errand]:
        """An answer that is about to be said in the thread is said there first."""
        next_lines = {line.key for line in self.lines() if line.key not in self.posting.setbacks}
        for key, answers in self.untold.answers.items():
            asked = self.untold.asked[key].asks
            if asked and not any(("line", answer.id) in next_lines for answer in answers):
                about = f"the answer to line {asked.id} of #{asked.incident}"
                yield errand("answer", key, about, self.settle)

    # -- Telling it. Each says whether anything was sent.

    async def tell_trouble(self) -> bool:
        """Says that nothing can be saved, which no line of the log can, and that it can be again."""
        trouble = self.board.trouble
        is_new = self.saying is None or self.saying[0] != trouble
        since = self.board.now() if self.saying is None or is_new else self.saying[1]
        self.saying = (trouble, since)
        key = self.posts.key("saving", since.isoformat())
        found = None if is_new else await self.chat.find(key, since=since)
        if not found:
            await self.chat.post(self.words.trouble(trouble), key=key)
        self.said = trouble
        self.saying = None
        return not found

    async def say(self, id_: int, *, plainly: bool = False) -> bool:
        """Says one line, where it is still worth it, and ticks it off."""
        entry = self.untold.queue[id_]
        key = self.posts.key("line", id_)
        number = entry.incident
        state = self.board.state
        sent = False
        if number and number not in state.incidents:
            sent = entry.kind == "undone" and await self.posts.vanish(number, entry)
        elif plainly or still_due(entry, state, self.board.policy, self.board.now()):
            calls_staff = number and entry.detail.get("due") and id_ not in self.returned
            if number and calls_staff and await self.posts.is_missing(number):
                self.returned.add(id_)
            thread = self.posts.ts_of(number) if number else None
            if number and not thread and self.posts.is_told(state.incidents[number]):
                return False  # its message comes first
            if thread or not number:
                before = await self.board.store.posted(key)
                posted = await self.say_in(thread, entry, before, plainly=plainly)
                if posted is None:
                    return False
                sent = not before.ts
                key = "" if posted.asks else key
        await self.board.store.told(entry, key)
        self.untold.queue.pop(id_, None)
        self.editing.wake.set()
        return sent

    async def say_in(
        self, thread: str | None, entry: Entry, before: Posted, *, plainly: bool
    ) -> Posted | None:
        """Posts a line to its thread, or to the channel; one that asks something is remembered.

        Returns None where the thread is gone: its message has to come back first.
        """
        board = self.board
        number = entry.incident
        late = board.now() - entry.at > LATE
        line = self.words.unsayable(entry) if plainly else self.words.line(entry, late=late)
        asks = entry if any(block["type"] == "actions" for block in line.blocks) else None
        try:
            posted = await self.posts.post_once(replace(before, asks=asks), line, thread=thread)
        except Refused as refused:
            if refused.code != "thread_not_found" or not number or entry.id in self.returned:
                raise
            self.returned.add(entry.id)
            async with self.posts.at_work[number]:
                await self.posts.lose(number)
            return None
        if entry.kind == "unattended" and number and not plainly:
            await board.submit(Alerted(at=board.now(), incident=number))
        if asks:
            self.untold.asked[posted.key] = posted
        return posted

    async def settle(self, key: str, *, plainly: bool = False) -> bool:
        """Takes the buttons off a line that asks nothing any more; says what has answered it."""
        posted = self.untold.asked[key]
        sent = False
        if posted.asks and posted.ts:
            if plainly:
                line = self.words.unsayable(posted.asks)
            else:
                line = self.words.line(posted.asks, answers=self.untold.answers[key])
            sent = await self.chat.update(posted.ts, line)
        await self.board.store.forget(key)
        del self.untold.asked[key], self.untold.answers[key]
        return sent

    async def publish(self, user: str, *, plainly: bool = False) -> bool:
        """Makes a Home tab equal to now."""
        if user not in self.homes:
            return False
        state = self.board.state
        before = self.homes[user][1]
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

    # -- What others ask

    def home_opened(self, user: str, *, may_act: bool) -> None:
        """Shows somebody's Home tab from now on, or no longer."""
        self.homes.pop(user, None)
        self.publishing.setbacks.pop(("home", user), None)
        if may_act:
            self.homes[user] = (None, {})
        self.publishing.wake.set()


def errand(
    kind: str, what: T_contra, name: str, way: Way[T_contra], about: object = None
) -> Errand:
    """Something to be told in its own words, and in plain ones where these cannot be."""
    return Errand((kind, what), name, [partial(way, what), partial(way, what, plainly=True)], about)
