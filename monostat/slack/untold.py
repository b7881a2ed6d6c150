"""The lines that Slack has not been told yet, and the questions in threads that wait for an answer."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monostat.core.model import DISMISSED, UNDER_WAY, Entry, Policy, Post, State
from monostat.core.posted import Posted
from monostat.core.reminders import reminders
from monostat.engine import Board
from monostat.slack.lane import Setback


@dataclass
class Untold:
    """The part of the log that is still to be said, oldest first."""

    board: Board
    queue: dict[int, Entry] = field(default_factory=dict)
    newest: int = 0  # the last entry that the queue has had
    #: Lines whose buttons still answer their question.
    asked: dict[str, Posted] = field(default_factory=dict)
    #: Of those that ask nothing any more, what has answered them.
    answers: dict[str, list[Entry]] = field(default_factory=dict)

    async def remember(self, keys: str) -> None:
        """Begins anew, with the questions that Slack was given under such keys."""
        posts = await self.board.store.find(Posted, "key LIKE ?", keys)
        self.asked = {posted.key: posted for posted in posts if posted.asks and posted.ts}
        self.newest = 0
        self.queue.clear()
        self.answers.clear()

    async def read(self) -> None:
        """Queues what has happened since, and finds the questions that it has answered."""
        # The log has every line of this state, and perhaps some of a change that is being saved.
        state = self.board.state
        if state.entries_made > self.newest:
            for entry in await self.board.store.untold(most=-1):
                if self.newest < entry.id <= state.entries_made:
                    self.queue[entry.id] = entry
            self.newest = max(self.newest, state.entries_made)
        for posted in self.asked.values():
            asked = posted.asks
            if asked and posted.key not in self.answers and not self.is_open(asked, state):
                self.answers[posted.key] = self.answers_to(asked)

    def is_open(self, asked: Entry, state: State) -> bool:
        with suppress(ValueError, TypeError):  # a question that cannot be read asks nothing
            return still_asks(asked, state, self.board.policy, self.board.now())
        return False

    def answers_to(self, asked: Entry) -> list[Entry]:
        """The next thing that happened to its incident, apart from alerts that join it."""
        later = (e for e in self.queue.values() if e.id > asked.id and e.incident == asked.incident)
        return [entry for entry in later if entry.kind != "joined"][:1]

    def next_lines(
        self, waiting: Collection[int | None], setbacks: Mapping[object, Setback]
    ) -> Iterator[Entry]:
        """The next line of each thread; those of the `waiting` incidents have none yet.

        `setbacks` are by line. A line that is to blame for its failing is overtaken, but by one
        that has failed, too, only after it has failed once more: as long as Slack takes nothing at
        all, their order is kept.
        """
        # Of each thread, since when a line may be tried although others stand before it: the last
        # failure of these, all to blame for it themselves. Never, where one of them is not.
        passable: dict[int | None, float] = defaultdict(lambda: math.inf)
        for entry in self.queue.values():
            mine = setbacks.get(entry.id)
            since = passable[entry.incident]
            failed_at = mine.failed_at if mine else -math.inf
            if entry.incident not in waiting and since > failed_at:
                yield entry
                passable[entry.incident] = (
                    min(since, failed_at) if mine and mine.blamed else -math.inf
                )
            else:
                passable[entry.incident] = -math.inf


def still_due(entry: Entry, state: State, policy: Policy, now: datetime) -> bool:
    """Whether a line is worth telling: of pings and reminders only the newest is, and only while it
    is true.
    """
    if not (due := entry.detail.get("due")):
        return True
    incident = state.incidents.get(entry.incident or 0)
    true_now = reminders(incident, policy) if incident else []
    times = [at for at, kind in true_now if kind == entry.kind and at <= now]
    over = datetime.fromisoformat(due) + timedelta(seconds=policy.soon) <= now
    return (
        bool(times)
        and max(times).isoformat() == due
        and not (over and entry.kind.endswith("_soon"))
    )


def still_asks(entry: Entry, state: State, policy: Policy, now: datetime) -> bool:
    """Whether the buttons of a line still answer what it asks."""
    incident = state.incidents.get(entry.incident or 0)
    if incident is None or not still_due(entry, state, policy, now):
        return False
    alerting, under_way = bool(state.open_alerts(incident.number)), incident.status in UNDER_WAY
    asks = {
        "alerts_over": under_way and not alerting,
        "joined": under_way and incident.is_maintenance and alerting,
        "dismissed": incident.status is DISMISSED and not incident.status_by,
        "mail_failed": any(mail.state is Post.FAILED for mail in state.mails_of(incident.number)),
    }
    return asks.get(entry.kind, True)
