"""Tells one thing after another: what fails is set aside by itself, and the rest goes on."""

import asyncio
import logging
import math
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from monostat.slack.client import UNFIT, Refused
from monostat.vendor import Undelivered, backoff, pause

log = logging.getLogger(__name__)
Key = tuple[str, object]
UNSHOWN = "Slack: %s cannot be shown, a plain sentence takes its place: %s"
ENOUGH = 3  # failed tries, after which it is found out whether Slack fails or this one thing
LONGEST = 60.0  # seconds between two tries of the same thing


class Errand(NamedTuple):
    """One thing that has to be told; `name` is how the log calls it.

    `ways` tell it, each in plainer words than the one before, and return whether anything was sent.
    What was set aside is tried at once where it is `about` something else now.
    """

    key: Key
    name: str
    ways: Sequence[Callable[[], Awaitable[bool]]]
    about: object = None


@dataclass
class Setback:
    """Why one thing could not be told; times are the event loop's.

    `blamed`: Slack refuses this for ever, or fails only here.
    """

    about: object
    reason: str = ""
    tries: int = 0
    failed_at: float = -math.inf
    until: float = -math.inf
    blamed: bool = False


@dataclass(kw_only=True)
class Lane:
    """Tells what is due, the most urgent first, one at a time.

    `due` lists it; `answers` asks Slack for a sign of life; `report` is called whenever `trouble`
    may have changed: the reason of what fails and is not to blame for it.
    """

    due: Callable[[], Awaitable[Sequence[Errand]]]
    answers: Callable[[], Awaitable[None]]
    report: Callable[[], None]
    rng: Random
    first_wait: float  # seconds, after the first failed try
    counts: Counter[tuple[str, ...]]  # for metrics, by channel and result
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    setbacks: dict[Key, Setback] = field(default_factory=dict)
    told_plainly: set[Key] = field(default_factory=set)  # of which the log has been told
    trouble: str = ""

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            self.wake.clear()
            errands = await self.due()
            known = [found for errand in errands if (found := self.setbacks.get(errand.key))]
            self.trouble = next((setback.reason for setback in known if not setback.blamed), "")
            self.report()
            ready = [errand for errand in errands if self.until(errand) <= clock()]
            if ready:
                await self.attempt(ready[0])
            else:
                soonest = min(map(self.until, errands), default=None)
                await pause(self.wake, None if soonest is None else soonest - clock())

    def until(self, errand: Errand) -> float:
        """When it is to be tried, on the loop's clock."""
        setback = self.setbacks.get(errand.key)
        return setback.until if setback and setback.about == errand.about else -math.inf

    async def attempt(self, errand: Errand) -> None:
        """Tells one thing, or sets it aside; what has failed often waits for a sign of life first."""
        setback = self.setbacks.get(errand.key)
        is_alive = False
        try:
            if setback and setback.tries >= ENOUGH:
                await self.answers()
                is_alive = True
            sent = await self.tell(errand)
        except Undelivered as trouble:
            self.set_aside(errand, trouble, is_alive=is_alive)
        except sqlite3.Error as error:
            self.set_aside(errand, Undelivered(f"the database says {error}"), is_alive=False)
        else:
            self.counts["slack", "sent"] += sent
            self.setbacks.pop(errand.key, None)
            if setback and setback.blamed:
                log.info("Slack: %s is told after all", errand.name)

    async def tell(self, errand: Errand) -> bool:
        """Tells it; what cannot be made, or has a form that Slack never takes, in plainer words."""
        for way in errand.ways:
            try:
                sent = await way()
            except sqlite3.Error:
                raise
            except Undelivered as refused:
                if not (isinstance(refused, Refused) and refused.code in UNFIT):
                    raise
                if self.is_news(errand):
                    log.error(UNSHOWN, errand.name, refused.reason)  # noqa: TRY400 - no news in a traceback
            # Supervision of single records: what is wrong with one must not end the telling of
            # others.
            except Exception:
                if self.is_news(errand):
                    log.exception(UNSHOWN, errand.name, "see the traceback, and please report it")
            else:
                if way is errand.ways[0]:
                    self.told_plainly.discard(errand.key)
                return sent
        raise Undelivered(f"{errand.name} cannot be shown, not even in plain words", permanent=True)

    def is_news(self, errand: Errand) -> bool:
        """Counts what cannot be told in its own words; the log is told of each once."""
        self.counts["slack", "dropped"] += 1
        is_news = errand.key not in self.told_plainly
        self.told_plainly.add(errand.key)
        return is_news

    def set_aside(self, errand: Errand, trouble: Undelivered, *, is_alive: bool) -> None:
        """Waits with this one thing; a limit is no failure of it."""
        now = asyncio.get_running_loop().time()
        setback = self.setbacks.setdefault(errand.key, Setback(errand.about))
        setback.about = errand.about
        setback.reason = trouble.reason
        if trouble.retry_after is not None:
            setback.until = now + trouble.retry_after
            return
        self.counts["slack", "failed"] += 1
        setback.tries += 1
        setback.failed_at = now
        wait = backoff(setback.tries, self.rng, first=self.first_wait, longest=LONGEST)
        setback.until = now + (LONGEST if trouble.permanent else wait)
        if not setback.blamed and (trouble.permanent or (is_alive and trouble.ambiguous)):
            setback.blamed = True
            said = "Slack: %s; %s is set aside and tried again every minute"
            log.error(said, trouble.reason, errand.name)
