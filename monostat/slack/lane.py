"""Delivers one thing after another: what fails is set aside by itself, and the rest goes on."""

import asyncio
import logging
import math
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from monostat.slack.client import UNFIT, SlackRefused
from monostat.vendor import Undelivered, backoff, pause

log = logging.getLogger(__name__)
Key = tuple[str, object]
UNSHOWN = "Slack: %s cannot be shown, a plain sentence takes its place: %s"
SET_ASIDE = "Slack: %s; %s is set aside and tried again every minute"
ENOUGH = 3  # failed tries, after which it is found out whether Slack fails or this one thing
LONGEST = 60.0  # seconds between two tries of the same thing


class Delivery(NamedTuple):
    """One thing that Slack has to be told; `name` is how the log calls it.

    `send` sends it, as a fallback in plain words where it is asked for these, and returns whether
    anything was sent. What was set aside is tried at once where it is `about` something else now.
    """

    key: Key
    name: str
    send: Callable[[bool], Awaitable[bool]]
    about: object = None


@dataclass
class Setback:
    """Why one thing could not be delivered; times are the event loop's.

    `is_blamed`: Slack refuses this for ever, or fails only here.
    """

    about: object
    reason: str = ""
    tries: int = 0
    failed_at: float = -math.inf
    until: float = -math.inf
    is_blamed: bool = False


@dataclass(kw_only=True)
class Lane:
    """Delivers what is due, the most urgent first, one at a time.

    `due` lists it; `answers` asks Slack for a sign of life; `report` is called whenever `trouble`
    may have changed: the reason of what fails and is not to blame for it.
    """

    due: Callable[[], Awaitable[Sequence[Delivery]]]
    answers: Callable[[], Awaitable[None]]
    report: Callable[[], None]
    rng: Random
    first_wait: float  # seconds, after the first failed try
    counts: Counter[tuple[str, ...]]  # for metrics, by channel and result
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    setbacks: dict[Key, Setback] = field(default_factory=dict)
    logged: set[Key] = field(default_factory=set)  # what could only be shown in plain words
    trouble: str = ""

    async def run(self) -> None:
        """Delivers for ever, waiting until something is due again or `wake` is set."""
        clock = asyncio.get_running_loop().time
        while True:
            self.wake.clear()
            deliveries = await self.due()
            self.trouble = self.trouble_of(deliveries)
            self.report()
            ready = [each for each in deliveries if self.until(each) <= clock()]
            if ready:
                await self.attempt(ready[0])
            elif deliveries:
                soonest = min(map(self.until, deliveries))
                await pause(self.wake, soonest - clock())
            else:
                await pause(self.wake, None)

    def trouble_of(self, deliveries: Sequence[Delivery]) -> str:
        """Why Slack does not take the first that is set aside, and not itself to blame."""
        for each in deliveries:
            setback = self.setbacks.get(each.key)
            if setback and not setback.is_blamed:
                return setback.reason
        return ""

    def until(self, delivery: Delivery) -> float:
        """When it is to be tried, on the event loop's clock."""
        setback = self.setbacks.get(delivery.key)
        if setback and setback.about == delivery.about:
            return setback.until
        return -math.inf

    async def attempt(self, delivery: Delivery) -> None:
        """Delivers one thing, or sets it aside.

        1. What has failed often waits for a sign of life.
        2. It is sent.
        3. What fails, here or with the database, is set aside; all else is forgotten of it.
        """
        setback = self.setbacks.get(delivery.key)
        is_alive = False
        try:
            if setback and setback.tries >= ENOUGH:
                await self.answers()
                is_alive = True
            is_sent = await self.send(delivery)
        except Undelivered as trouble:
            self.set_aside(delivery, trouble, is_alive=is_alive)
        except sqlite3.Error as error:
            reason = f"the database says {error}"
            self.set_aside(delivery, Undelivered(reason), is_alive=False)
        else:
            self.counts["slack", "sent"] += is_sent
            self.setbacks.pop(delivery.key, None)
            if setback and setback.is_blamed:
                log.info("Slack: %s was delivered after all", delivery.name)

    async def send(self, delivery: Delivery) -> bool:
        """Sends it; what cannot be made, or has a form that Slack never takes, in plainer words.

        Raises Undelivered where Slack takes none of them, sqlite3.Error where it cannot be kept.
        """
        for fallback in (False, True):
            try:
                is_sent = await delivery.send(fallback)
            except sqlite3.Error:
                raise
            except Undelivered as refused:
                if not (isinstance(refused, SlackRefused) and refused.code in UNFIT):
                    raise
                if self.is_news(delivery):
                    # There is no news in a traceback of it.
                    log.error(UNSHOWN, delivery.name, refused.reason)  # noqa: TRY400
            # Supervision of single records: what is wrong with one must not end the telling of
            # others.
            except Exception:
                if self.is_news(delivery):
                    log.exception(UNSHOWN, delivery.name, "see the traceback, and please report it")
            else:
                if not fallback:
                    self.logged.discard(delivery.key)
                return is_sent
        reason = f"{delivery.name} cannot be shown, not even in plain words"
        raise Undelivered(reason, permanent=True)

    def is_news(self, delivery: Delivery) -> bool:
        """Counts what cannot be shown in its own words; the log is told of each once."""
        self.counts["slack", "dropped"] += 1
        is_news = delivery.key not in self.logged
        self.logged.add(delivery.key)
        return is_news

    def set_aside(self, delivery: Delivery, trouble: Undelivered, *, is_alive: bool) -> None:
        """Waits with this one thing; a limit is no failure of it."""
        now = asyncio.get_running_loop().time()
        setback = self.setbacks.setdefault(delivery.key, Setback(delivery.about))
        setback.about = delivery.about
        setback.reason = trouble.reason
        if trouble.retry_after is not None:
            setback.until = now + trouble.retry_after
            return
        self.counts["slack", "failed"] += 1
        setback.tries += 1
        setback.failed_at = now
        wait = backoff(setback.tries, self.rng, first=self.first_wait, longest=LONGEST)
        if trouble.permanent:
            wait = LONGEST
        setback.until = now + wait
        fails_alone = is_alive and trouble.ambiguous
        if not setback.is_blamed and (trouble.permanent or fails_alone):
            setback.is_blamed = True
            log.error(SET_ASIDE, trouble.reason, delivery.name)
