"""The current state and the only way to change it: `await engine.submit(event)`."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from monostat.core.decide import decide, next_due
from monostat.core.events import Act, Event, Imported, Tick, Unsaid
from monostat.core.model import Change, Entry, Episode, Incident, Policy, State
from monostat.core.past import KEPT_FOR, with_past, without_past
from monostat.core.snapshot import Snapshot
from monostat.database import explain_unsaved
from monostat.facts import Version
from monostat.store import Store
from monostat.vendor import Condition, pause
from monostat.watchers import Watchers

INSTANT = timedelta(seconds=1)  # less is not a clock that went back
LAST_DAYS = timedelta(days=100)  # more than a page shows at a glance
FAR = timedelta(days=40_000)  # for plans
LONGEST_NAP = 60.0  # seconds: a clock that was set is noticed within this time
PRIVATE = ("alert", "source")  # what monitoring said is for staff, in Slack and in the database
TROUBLES = ("mail_late", "mail_unclear", "mail_failed", "monitoring_silent", "unattended")
log = logging.getLogger(__name__)
Take = Callable[[State, datetime], Snapshot]


class Showing(NamedTuple):
    """What readers are shown: the newest, but while showing it fails."""

    version: Version
    snapshot: Snapshot


def log_entry(entry: Entry) -> None:
    """One log line for what has happened, as "incident 17: confirmed by Ada, severity='outage'"."""
    line = entry.kind
    if entry.incident:
        line = f"incident {entry.incident}: {line}"
    if entry.by:
        line += f" by {entry.by}"
    for name, value in entry.detail.items():
        if name not in PRIVATE:
            line += f", {name}={value[:200]!r}"
    level = logging.WARNING if entry.kind in TROUBLES else logging.INFO
    log.log(level, "%s", line)


class Engine:
    """Holds the state, its snapshot and the newest version.

    `take(state, at)` is `snapshot.take` with the site's settings. `build` stands for the program
    and these settings: another one than last time is a new version. `watchers` are called after
    every change, each for itself: `app.py` adds the page, `loops.py` the others. `store`, `state`,
    `version` and `snapshot` are there from `start` on, and so are `episodes`, what has a place in
    the history of the LAST_DAYS or is planned, and `first_start`, when the oldest of all began: for
    a page that is rendered without asking the archive.
    """

    def __init__(self, policy: Policy, now: Callable[[], datetime], build: str, take: Take) -> None:
        self.policy = policy
        self.now = now
        self.watchers = Watchers()
        self.saving = Condition("the database")  # whether what happens can be saved
        self._build = build
        self._take = take
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._doubtful = True  # the file may hold something else than the state
        self._untried = False  # nothing has been written since the start
        self._latest = datetime.min.replace(tzinfo=UTC)
        self.store: Store
        self.state: State
        self.version: Version
        self.snapshot: Snapshot
        self.episodes: list[Episode] = []
        self.first_start: datetime | None = None

    async def start(self, store: Store) -> None:
        """Loads the state, lets the time pass that was missed, and publishes.

        Readers need nothing to be saved: whether it can be, `run` tries.
        """
        self.store = store
        await self._load(None)
        await self.submit(Tick(at=self.now()))
        self._publish()
        self._untried = True

    @property
    def trouble(self) -> str:
        """Why what happens is not saved or not shown, for staff; empty where it is."""
        if self.saving.trouble:
            return f"The status page stays as it is, whatever you do: {self.saving.trouble}."
        if "page" in self.watchers.behind:
            return (
                "The status page does not show the latest change, which is saved: it could not be"
                " rendered. This is tried again every second; the log says why."
            )
        return ""

    def _publish(self) -> None:
        self._wake.set()
        self.watchers.notify_all()

    async def submit(self, event: Event) -> Change:
        """Decides, stores, then shows; nothing else changes the state.

        1. An event that had to wait gets a time that is no earlier than the last one's.
        2. Where an earlier write ended unseen, or the clock was set back, the state is read again.
        3. An incident that is past is asked for where somebody acts on it, and of an import what
           is here already.
        4. The core decides; a picture of the alerts that changes nothing ends here.
        5. What is public now is compared with the newest version.
        6. The change is written, with what must be told of it.
        7. Only then the state is replaced, the log written, and every watcher called.

        A refused verb comes back as `refused`, the sentence for the person. Raises what the store
        raises; nothing has changed then.
        """
        async with self._lock:
            event = self._in_order(event)
            reloaded = self._doubtful
            if reloaded:
                await self._load(self.state)
            state = await self._state_for(event)
            if isinstance(event, Imported):
                sources = [record.source for record in event.records]
                event = replace(event, known=frozenset(await self.store.archive.imported(sources)))
            change = decide(state, event, self.policy)
            if change.is_empty and not isinstance(event, Tick):
                self.state = change.state
                if reloaded:
                    self._publish()
                return change
            snapshot = self._take(change.state, event.at)
            version = self._version_of(snapshot, change, event.at)
            is_new_version = version is not self.version
            was_in_trouble = bool(self.saving.trouble)
            is_news = not change.is_empty or is_new_version or was_in_trouble
            if is_news or self._untried:
                await self._save(change, version)
            self.state = change.state
            self.version = version
            self.snapshot = snapshot
            for entry in change.entries:
                log_entry(entry)
            # A change whose end was in doubt may have been saved, and shown to nobody.
            if is_news or reloaded:
                self._publish()
            return change

    async def incident(self, number: int) -> Incident | None:
        """The incident of this number, also one that is past; raises sqlite3.Error."""
        found = self.state.incidents.get(number)
        if found or not 0 < number <= self.state.incidents_made:
            return found
        return await self.store.archive.incident(number)

    async def alive(self) -> bool:
        """Whether the store answers, and does so in time."""
        return await self.store.alive()

    async def _state_for(self, event: Event) -> State:
        """The state, with the incident that somebody acts on, where that is past."""
        number = 0
        if isinstance(event, Act | Unsaid):
            number = event.incident
        if number in self.state.incidents:
            return self.state
        incident = await self.incident(number)
        if incident is None:
            return self.state
        return with_past(self.state, incident, await self.store.archive.alerts(number))

    def _in_order(self, event: Event) -> Event:
        """The event at a time no earlier than the last one's, unless the clock was set back."""
        if event.at < self._latest:
            at = max(event.at, self.now())
            if self._latest - at >= INSTANT:
                self._doubtful = True  # what was past in that future may not be past now
            else:
                at = self._latest
            event = replace(event, at=at)
        self._latest = event.at
        return event

    async def _load(self, before: State | None) -> None:
        """Takes what the file holds, and from the state `before` what is never stored."""
        at = self.now()
        kept = max(KEPT_FOR, timedelta(seconds=self.policy.reopen_within))
        state, self.version = await self.store.load(now=at, kept=kept)
        if before:
            state = replace(
                state,
                checked_at=before.checked_at,
                answered=before.answered,
                trouble=before.trouble,
            )
        self.state = without_past(state, at, self.policy)
        self.snapshot = self._take(state, at)
        await self._read_last_days(at)
        self._doubtful = False

    async def _read_last_days(self, at: datetime) -> None:
        archive = self.store.archive
        self.episodes = await archive.episodes(at - LAST_DAYS, at + FAR)
        self.first_start = await archive.first_start()

    def _version_of(self, snapshot: Snapshot, change: Change, at: datetime) -> Version:
        """The present version, or the next where something else is public now."""
        digest = f"{self._build}:{snapshot.digest}"
        if digest == self.version.digest:
            return self.version
        return Version(number=self.version.number + 1, at=at, changed=change.changed, digest=digest)

    async def _save(self, change: Change, version: Version) -> None:
        """Writes a change; one whose end was not seen is in doubt until the file is read again.

        That is so where the database failed, and where the task was cancelled meanwhile.
        """
        self._doubtful = True
        try:
            await self.store.save(change, version)
            is_read = await self._follow_last_days(change)
        except sqlite3.Error as error:
            if not self.saving.trouble:
                self.saving.tell(explain_unsaved(error))
                self._publish()
            raise
        except asyncio.CancelledError:
            self._wake.set()
            raise
        self._doubtful = not is_read
        self._untried = False
        self.saving.tell("")

    async def _follow_last_days(self, change: Change) -> bool:
        """Reads them again after a change, which is saved; says whether they could be read."""
        try:
            if change.incidents or change.gone:
                await self._read_last_days(self._latest)
        except sqlite3.Error as error:
            log.warning("the history of the last days lags behind: the database says %s", error)
            return False
        return True

    async def run(self) -> None:
        """Lets time pass: a Tick whenever the core or the snapshot wants to be asked again."""
        while True:
            self._wake.clear()
            if (self._doubtful or self._untried) and not self.saving.trouble:
                await self.submit(Tick(at=self.now()))
            times = (next_due(self.state, self.policy), self.snapshot.until)
            due = [time for time in times if time]
            now = self.now()
            seconds = min([LONGEST_NAP, *((time - now).total_seconds() for time in due)])
            await pause(self._wake, seconds)
            if not self._wake.is_set():
                earliest = now
                if seconds < LONGEST_NAP:
                    # A nap may end a moment before the time that was due.
                    earliest = min(due)
                await self.submit(Tick(at=max(self.now(), earliest)))
