"""The current state and the only way to change it: `await board.submit(event)`."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from monostat.decisions import decide, next_due
from monostat.incidents import Change, Changed, Event, Policy, State, Tick
from monostat.snapshot import Snapshot
from monostat.store import Store, Version

LONGEST_NAP = 60.0  # seconds: a clock that was set is noticed within this time


class Board:
    """Holds the state, its snapshot and the newest version.

    `take(state, at)` derives the snapshot; `changed(board)` is called after every change, under the lock: it must not
    block. `build` stands for the program and the site's settings: another one than last time is a new version.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        *,
        now: Callable[[], datetime],
        take: Callable[[State, datetime], Snapshot],
        changed: Callable[["Board"], None],
        build: str,
    ) -> None:
        self.policy, self.now = policy, now
        self._store, self._take, self._changed, self._build = store, take, changed, build
        self._lock, self._wake = asyncio.Lock(), asyncio.Event()
        self._doubtful = False
        self.state: State
        self.version: Version
        self.snapshot: Snapshot

    async def start(self) -> None:
        """Loads the state, lets the time pass that was missed, and publishes."""
        await self._load()
        await self.submit(Tick(at=self.now()))
        self._changed(self)

    async def alive(self) -> bool:
        """Whether the store answers."""
        return await self._store.alive()

    async def _load(self) -> None:
        at = self.now()
        state, self.version = await self._store.load(now=at)
        known = getattr(self, "state", None)
        self.state = replace(state, checked_at=known.checked_at, answered=known.answered) if known else state
        self.snapshot = self._take(self.state, at)
        self._doubtful = False

    async def submit(self, event: Event) -> Change:
        """Decides, stores, then shows; a refused verb comes back as `refused`, the sentence for the person.

        Raises what the store raises; nothing has changed then.
        """
        async with self._lock:
            if self._doubtful:
                await self._load()
            change = decide(self.state, event, self.policy)
            if change.is_empty and not isinstance(event, Tick):
                self.state = change.state
                return change
            snapshot = self._take(change.state, event.at)
            version = self._next_version(snapshot, event.at, change.changed)
            news = not change.is_empty or version is not self.version
            if news:
                try:
                    await self._store.save(change, version)
                except BaseException:
                    self._doubtful = True  # the commit may have happened all the same: the file knows
                    raise
            self.state, self.version, self.snapshot = change.state, version, snapshot
            if news:
                self._changed(self)
                self._wake.set()
            return change

    def _next_version(self, snapshot: Snapshot, at: datetime, changed: Changed | None) -> Version:
        if self.version.digest and snapshot.same_as(self.snapshot) and self.version.digest.startswith(self._build):
            return self.version
        digest = f"{self._build}:{_digest(snapshot)}"
        if digest == self.version.digest:
            return self.version
        return Version(number=self.version.number + 1, at=at, changed=changed, digest=digest)

    async def run(self) -> None:
        """Lets time pass: submits a Tick whenever the core or the snapshot wants to be asked again."""
        while True:
            self._wake.clear()
            due = [d for d in (next_due(self.state, self.policy), self.snapshot.until) if d]
            now = self.now()
            nap = min([LONGEST_NAP, *((d - now).total_seconds() for d in due)])
            try:
                async with asyncio.timeout(max(nap, 0)):
                    await self._wake.wait()
            except TimeoutError:
                await self.submit(Tick(at=max(self.now(), min(due, default=now) if nap < LONGEST_NAP else now)))


def _digest(snapshot: Snapshot) -> str:
    public = snapshot.feed.model_dump_json() + repr(sorted(snapshot.overdue))
    return hashlib.sha256(public.encode()).hexdigest()[:16]
