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

from monostat.ops import systemd
from monostat.vendor import Condition, backoff, nap, turning

log = logging.getLogger(__name__)
GOOD_SPELL = 60.0  # seconds without a failure, after which a loop's troubles are forgotten


@dataclass(kw_only=True, eq=False)
class Loop:
    """A loop that runs for ever: one that fails is logged, and started afresh after a while.

    Without a `vital` one the page would go stale, so that a restart is better; `says` what an
    operator wants to know, `reaches` whether those whom it speaks to answer; None: to nobody.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    vital: bool = True
    says: Callable[[], str] = str
    reaches: Callable[[], bool] | None = None
    up: bool = False
    restarts: int = 0
    due: float = math.inf  # when it has to turn again, on the monotonic clock

    def turn(self, seconds: float | None) -> None:
        """It turned just now, and will again within so many seconds; None: when it is woken."""
        self.due = math.inf
        if seconds is not None:
            self.due = time.monotonic() + seconds

    async def supervised(self, rng: Random) -> None:
        """Runs it for ever, whatever it raises, and longer apart the more often it fails."""
        turning.set(self.turn)
        attempt = 0
        while True:
            began = time.monotonic()
            self.up = True
            self.turn(0)
            try:
                await self.run()
                log.error("%s ended, which it never should", self.name)
            except sqlite3.Error as error:
                # A full disk is no bug.
                log.error("%s failed: the database says %s", self.name, error)  # noqa: TRY400
            except Exception:
                log.exception("%s failed", self.name)
            self.up = False
            self.restarts += 1
            if time.monotonic() - began > GOOD_SPELL:
                attempt = 0
            attempt += 1
            await nap(backoff(attempt, rng, longest=60))


def no_lags() -> deque[float]:
    """The event loop's delays of the last minute in seconds, one for each second."""
    return deque([0.0], maxlen=60)


@dataclass(kw_only=True)
class Watch:
    """Looks once a second, and gives a loop `grace` seconds.

    `alive` asks the store, `says` what the daemon does.
    """

    alive: Callable[[], Awaitable[bool]]
    says: Callable[[], str]
    grace: float
    loops: list[Loop] = field(default_factory=list)
    lags: deque[float] = field(default_factory=no_lags)

    def stuck(self) -> list[str]:
        """The loops that should have turned by now."""
        now = time.monotonic()
        return [loop.name for loop in self.loops if now > loop.due + self.grace]

    async def troubles(self) -> list[str]:
        """What keeps us from doing our work, which no vendor can."""
        troubles = []
        if not await self.alive():
            troubles.append("the database does not answer")
        stuck = self.stuck()
        vital = [loop.name for loop in self.loops if loop.vital]
        return troubles + [f"{name} does not turn" for name in vital if name in stuck]

    def checks(self) -> list[str]:
        """A line for each loop, with what it says, or that it does not reach whom it speaks to."""
        stuck = self.stuck()
        lines = []
        for loop in self.loops:
            turns = "runs" if loop.up else "restarting"
            if loop.name in stuck:
                turns = "stuck"
            says = loop.says()
            if loop.reaches and not loop.reaches() and not says:
                says = "not reached"
            words = ", ".join(filter(None, (turns, says)))
            lines.append(f"{loop.name}: {words}")
        return lines

    def status(self) -> str:
        """One line for `systemctl status`."""
        words = {loop.name: loop.says() for loop in self.loops}
        parts = [f"{name}: {line}" for name, line in words.items() if line]
        return "; ".join([self.says(), *parts])

    async def run(self) -> None:
        """Once a second:

        1. measures the event loop;
        2. tells systemd how we are, where that has changed;
        3. tells systemd that we live, in time before it would miss that, and only while we do.
        """
        span = systemd.watchdog(os.environ)
        sign_of_life = -math.inf
        last_status = ""
        condition = Condition("monostat")
        while True:
            before = time.monotonic()
            await nap(1)
            self.lags.append(max(0.0, time.monotonic() - before - 1))
            status = self.status()
            if status != last_status:
                systemd.notify(f"STATUS={status}")
                last_status = status
            if span and time.monotonic() - sign_of_life > span / 2 - 1:
                troubles = "; ".join(await self.troubles())
                if troubles:
                    condition.tell(f"{troubles}: systemd will restart it")
                else:
                    condition.tell("")
                    systemd.notify("WATCHDOG=1")
                    sign_of_life = time.monotonic()
