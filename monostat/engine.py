"""The current state and the only way to change it: `await board.submit(event)`."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from monostat.core.decide import decide, next_due
from monostat.core.events import Tick
from monostat.core.model import Change, Entry, Policy, State
from monostat.core.snapshot import Snapshot
from monostat.ops.supervise import Watchers
from monostat.store import Store, Version
from monostat.vendor import Condition, pause

INSTANT = timedelta(seconds=1)  # less is no clock that went back
LONGEST_NAP = 60.0  # seconds: a clock that was set is noticed within this time
PRIVATE = ("alert", "source")  # what monitoring said is for staff, in Slack and in the database
TROUBLES = ("mail_late", "mail_unclear", "mail_failed", "monitoring_silent", "unattended")
log = logging.getLogger(__name__)
Take = Callable[[State, datetime], Snapshot]


class Showing(NamedTuple):
    """What readers are shown: the newest, but while showing it fails."""

    version: Version
    snapshot: Snapshot


def tell(entry: Entry) -> None:
    """One log line for what has happened, as "incident 17: confirmed by Ada, severity='outage'"."""
    about = f"incident {entry.incident}: " if entry.incident else ""
    more = "".join(
        f", {name}={word[:200]!r}" for name, word in entry.detail.items() if name not in PRIVATE
    )
    level = logging.WARNING if entry.kind in TROUBLES else logging.INFO
    log.log(level, "%s%s%s%s", about, entry.kind, f" by {entry.by}" if entry.by else "", more)


class Board:
    """Holds the state, its snapshot and the newest version.

    `take(state, at)` derives the snapshot. `build` stands for the program and the site's settings:
    another one than last time is a new version. `watchers` are called after every change, each for
    itself.
    """

    def __init__(self, policy: Policy, now: Callable[[], datetime], build: str, take: Take) -> None:
        self.policy, self.now, self._build, self._take = policy, now, build, take
        self._lock, self._wake, self._doubtful = asyncio.Lock(), asyncio.Event(), True
        self.saving = Condition("the database")  # whether what happens can be saved
        self.watchers = Watchers()
        self._latest = datetime.min.replace(tzinfo=UTC)
        self.store: Store
        self.state: State
        self.version: Version
        self.snapshot: Snapshot

    async def start(self, store: Store) -> None:
        """Loads the state, lets the time pass that was missed, and publishes."""
        self.store = store
        await self.submit(Tick(at=self.now()))

    @property
    def trouble(self) -> str:
        """What keeps all that happens from being saved or shown, for staff; empty where nothing
        does.
        """
        if self.saving.trouble:
            return f"The status page stays as it is, whatever you do: {self.saving.trouble}."
        if "page" in self.watchers.behind:
            return (
                "The status page does not show the latest change, which is saved: it could not be rendered."
                " This is tried again every second; the log says why."
            )
        return ""

    def _publish(self) -> None:
        self._wake.set()
        self.watchers.call()

    async def submit(self, event: Tick) -> Change:
        """Decides, stores, then shows; a refused verb comes back as `refused`, the sentence for the
        person.

        Raises what the store raises; nothing has changed then.
        """
        async with self._lock:
            reloaded = self._doubtful
            if reloaded:
                await self._load()
            if event.at < self._latest:  # it had to wait, unless the clock went back
                at = max(event.at, self.now())
                event = replace(event, at=self._latest if self._latest - at < INSTANT else at)
            self._latest = event.at
            change = decide(self.state, event, self.policy)
            if change.is_empty and type(event) is not Tick:
                self.state = change.state
                if reloaded:
                    self._publish()
                return change
            snapshot = self._take(change.state, event.at)
            version = self._version_of(snapshot, change, event.at)
            news = not change.is_empty or version is not self.version or bool(self.saving.trouble)
            if news:
                await self._save(change, version)
            self.state, self.version, self.snapshot = change.state, version, snapshot
            for entry in change.entries:
                tell(entry)
            if (
                news or reloaded
            ):  # the change that was in doubt may have been saved, and shown to nobody
                self._publish()
            return change

    async def _load(self) -> None:
        """Takes what the file holds, but for what is never stored."""
        at = self.now()
        known = getattr(self, "state", None)
        self.state, self.version = await self.store.load(now=at)
        if known:
            self.state = replace(self.state, checked_at=known.checked_at, answered=known.answered)
        self.snapshot = self._take(self.state, at)
        self._doubtful = False

    def _version_of(self, snapshot: Snapshot, change: Change, at: datetime) -> Version:
        """The present version, or the next where something else is public now."""
        digest = f"{self._build}:{snapshot.digest}"
        if digest == self.version.digest:
            return self.version
        return Version(number=self.version.number + 1, at=at, changed=change.changed, digest=digest)

    async def _save(self, change: Change, version: Version) -> None:
        """Writes a change; one whose end was not seen, because the task was cancelled, is in doubt
        until it is read.
        """
        self._doubtful = True
        try:
            await self.store.save(change, version)
        except sqlite3.Error as error:
            if not self.saving.trouble:
                self.saving.tell(
                    f"nothing can be saved ({error}): make room on its disk, or look whether it fails"
                )
                self._publish()
            raise
        except asyncio.CancelledError:
            self._wake.set()
            raise
        self._doubtful = False
        self.saving.tell("")

    async def run(self) -> None:
        """Lets time pass: submits a Tick whenever the core or the snapshot wants to be asked again."""
        while True:
            self._wake.clear()
            if self._doubtful and not self.saving.trouble:
                await self.submit(Tick(at=self.now()))
            due = [d for d in (next_due(self.state, self.policy), self.snapshot.until) if d]
            now = self.now()
            nap = min([LONGEST_NAP, *((d - now).total_seconds() for d in due)])
            await pause(self._wake, nap)
            if not self._wake.is_set():
                await self.submit(
                    Tick(at=max(self.now(), min(due, default=now) if nap < LONGEST_NAP else now))
                )
