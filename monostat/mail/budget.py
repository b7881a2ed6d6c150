"""How many requests Rapidmail may be asked: mails first, visitors with a small part."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from monostat.vendor import Undelivered

CROWD = "more visitors subscribe at once than it may be asked about; they are told to try again"


class Budget:
    """When the next request may leave; all share it.

    Ten a second (https://developer.rapidmail.wiki), counted where they arrive, which is some time
    between leaving and the answer. So each counts until its answer is a second old.
    """

    MOST = 9  # requests
    SPAN = 1.05  # seconds
    SEATS = 3  # requests of visitors at once
    SEATED = 1.5  # seconds that each of these counts for at least: two a second
    WAITING = 20  # visitors who wait for a seat
    PATIENCE = 3.0  # seconds that they wait
    REST = 2.0  # seconds without any request; whoever is told a longer wait waits alone
    GLANCE = 0.05  # seconds after which to see whether another has made room

    def __init__(self) -> None:
        self._under_way = 0
        self._ended: deque[float] = deque(maxlen=self.MOST)
        self._rests_until = 0.0
        self._seats = asyncio.Semaphore(self.SEATS)
        self._mails_waiting = 0
        self._visitors_waiting = 0

    def rest(self, seconds: float) -> None:
        """Rapidmail says that it is asked too much."""
        until = asyncio.get_running_loop().time() + min(seconds, self.REST)
        self._rests_until = max(self._rests_until, until)

    def _wait(self, *, first: bool) -> float:
        """Seconds until it is worth asking again whether a request may leave; 0: it may now."""
        now = asyncio.get_running_loop().time()
        recent = [at for at in self._ended if at + self.SPAN > now]
        if now < self._rests_until:
            return self._rests_until - now
        if not first and self._mails_waiting:
            return self.GLANCE
        if self._under_way + len(recent) < self.MOST:
            return 0
        return min([self.GLANCE, *(at + self.SPAN - now for at in recent)])

    async def _begin(self, *, first: bool) -> None:
        self._mails_waiting += first
        try:
            while True:
                wait = self._wait(first=first)
                if wait <= 0:
                    break
                await asyncio.sleep(wait)
            self._under_way += 1
        finally:
            self._mails_waiting -= first

    def _end(self) -> None:
        self._under_way -= 1
        self._ended.append(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def turn(self, *, first: bool = True) -> AsyncIterator[None]:
        """Lets a request leave as soon as it may."""
        await self._begin(first=first)
        try:
            yield
        finally:
            self._end()

    @asynccontextmanager
    async def visitor(self) -> AsyncIterator[None]:
        """Lets a visitor's request leave in its turn; raises Undelivered where that is too late."""
        if self._visitors_waiting >= self.WAITING:
            raise Undelivered(CROWD)
        loop = asyncio.get_running_loop()
        patience_ends = loop.time() + self.PATIENCE
        self._visitors_waiting += 1
        try:
            await in_time(self._seats.acquire(), patience_ends)
        finally:
            self._visitors_waiting -= 1
        seat_ends = loop.time() + self.SEATED
        try:
            await in_time(self._begin(first=False), patience_ends)
            try:
                yield
            finally:
                self._end()
        finally:
            loop.call_at(seat_ends, self._seats.release)


async def in_time(turn: Awaitable[object], ends: float) -> None:
    """Waits for it until that time of the loop; raises Undelivered then."""
    try:
        async with asyncio.timeout_at(ends):
            await turn
    except TimeoutError:
        raise Undelivered(CROWD) from None
