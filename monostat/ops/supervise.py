"""Whether all is well in here: every loop is supervised and seen to turn; systemd and /healthz are
told of it.
"""

import asyncio
import logging
import math
import os
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from monostat.ops import systemd
from monostat.vendor import Condition, backoff, nap, pause, turning

log = logging.getLogger(__name__)
GOOD_SPELL = 60.0  # seconds without a failure, after which a loop's troubles are forgotten


class Histogram:
    """How long something took, in seconds, as Prometheus counts it."""

    BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

    def __init__(self) -> None:
        self.sum, self.count, self._within = 0.0, 0, [0] * len(self.BOUNDS)

    def observe(self, seconds: float) -> None:
        self.sum, self.count = self.sum + seconds, self.count + 1
        self._within = [
            count + (seconds <= bound)
            for bound, count in zip(self.BOUNDS, self._within, strict=True)
        ]

    def buckets(self) -> list[tuple[str, int]]:
        """Each bound with the number of times that were not longer."""
        return [*zip(map(str, self.BOUNDS), self._within, strict=True), ("+Inf", self.count)]


@dataclass(kw_only=True, eq=False)
class Loop:
    """A loop that runs for ever: one that fails is logged, and started afresh after a while.

    Without a `vital` one the page would go stale, so that a restart is better; `says` what an
    operator wants to know.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    vital: bool = True
    says: Callable[[], str] = str
    up: bool = False
    restarts: int = 0
    due: float = math.inf  # when it has to turn again, on the monotonic clock

    def turn(self, seconds: float | None) -> None:
        """It turned just now, and will again within so many seconds; None: when it is woken."""
        self.due = math.inf if seconds is None else time.monotonic() + seconds

    async def supervised(self, rng: Random) -> None:
        turning.set(self.turn)
        attempt = 0
        while True:
            began, self.up = time.monotonic(), True
            self.turn(0)
            try:
                await self.run()
                log.error("%s ended, which it never should", self.name)
            except sqlite3.Error as error:
                log.error("%s failed: the database says %s", self.name, error)  # noqa: TRY400 - a full disk is no bug
            except Exception:
                log.exception("%s failed", self.name)
            self.up, self.restarts = False, self.restarts + 1
            attempt = 1 if time.monotonic() - began > GOOD_SPELL else attempt + 1
            await nap(backoff(attempt, rng, longest=60))


class Watchers:
    """Those who must know of every change, by name: each fails alone, and is called again until it
    succeeds.

    They are called in the order in which they came, under the lock of the board: they must not
    block.
    """

    def __init__(self) -> None:
        self._calls: dict[str, Callable[[], None]] = {}
        self._failed = asyncio.Event()
        self.behind: dict[str, str] = {}  # who has not taken the newest change, and why

    @property
    def names(self) -> list[str]:
        return list(self._calls)

    def add(self, name: str, call: Callable[[], None]) -> None:
        self._calls[name] = call

    def call(self) -> None:
        """Tells everybody that something has changed."""
        for name in self._calls:
            self.tell(name)

    def tell(self, name: str) -> None:
        """Calls one of them; a failure is logged when it comes and when it is over."""
        try:
            self._calls[name]()
        except (
            Exception
        ) as error:  # whatever it is, the others must hear of the change all the same
            if name not in self.behind:
                bug = (
                    None if isinstance(error, OSError) else error
                )  # a full table of files is no bug
                told = f"{name} has not taken a change, is told again every second: {error}"
                log.log(logging.ERROR, told, exc_info=bug)
            self.behind[name] = str(error) or type(error).__name__
            self._failed.set()
        else:
            if self.behind.pop(name, None) is not None:
                log.info("%s has taken the newest change", name)

    async def run(self) -> None:
        """Calls those that have failed once a second, for as long as there are any."""
        while True:
            self._failed.clear()
            await pause(self._failed, 1.0 if self.behind else None)
            if not self._failed.is_set():
                for name in list(self.behind):
                    self.tell(name)
                if not self.behind:
                    self.call()  # so that staff hear of it, too


@dataclass(kw_only=True)
class Watch:
    """Looks once a second, and gives a loop `grace` seconds; `alive` asks the store, `says` what we
    are doing.
    """

    loops: list[Loop]
    alive: Callable[[], Awaitable[bool]]
    says: Callable[[], str]
    grace: float
    lags: deque[float] = field(
        default_factory=lambda: deque([0.0], maxlen=60)
    )  # seconds, of the last minute

    def stuck(self) -> list[str]:
        """The loops that should have turned by now."""
        return [loop.name for loop in self.loops if time.monotonic() > loop.due + self.grace]

    async def troubles(self) -> list[str]:
        """What keeps us from doing our work, which no vendor can."""
        found, stuck = [] if await self.alive() else ["the database does not answer"], self.stuck()
        return found + [
            f"{loop.name} does not turn" for loop in self.loops if loop.vital and loop.name in stuck
        ]

    def checks(self) -> list[str]:
        """A line for each loop."""
        stuck = self.stuck()
        words = {
            loop.name: "runs" if loop.up else "restarting" for loop in self.loops
        } | dict.fromkeys(stuck, "stuck")
        return [f"{name}: {word}" for name, word in words.items()]

    def status(self) -> str:
        """One line for `systemctl status`."""
        parts = [
            self.says(),
            *(f"{loop.name}: {said}" for loop in self.loops if (said := loop.says())),
        ]
        return "; ".join(parts)

    async def run(self) -> None:
        """Tells systemd how we are when that changes, and that we live while we really do; measures
        the event loop.
        """
        span, fed, told, condition = (
            systemd.watchdog(os.environ),
            -math.inf,
            "",
            Condition("monostat"),
        )
        while True:
            before = time.monotonic()
            await nap(1)
            self.lags.append(max(0.0, time.monotonic() - before - 1))
            if (status := self.status()) != told:
                systemd.notify(f"STATUS={status}")
                told = status
            if span and time.monotonic() - fed > span / 2 - 1:
                troubles = await self.troubles()
                condition.tell(
                    "; ".join(troubles) and f"{'; '.join(troubles)}: systemd will restart it"
                )
                if not troubles:
                    systemd.notify("WATCHDOG=1")
                    fed = time.monotonic()
