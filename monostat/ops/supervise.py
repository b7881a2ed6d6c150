"""Whether all is well in here: every loop is supervised and seen to turn; systemd and /healthz are
told of it.
"""

import logging
import math
import os
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from monostat.histogram import Histogram as Histogram  # for those who still look for it here
from monostat.ops import systemd
from monostat.vendor import Condition, backoff, nap, turning

log = logging.getLogger(__name__)
GOOD_SPELL = 60.0  # seconds without a failure, after which a loop's troubles are forgotten


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
