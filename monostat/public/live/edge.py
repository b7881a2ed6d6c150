"""Keeps an nginx/nchan node equal to the hub: its viewers get each message and heartbeat, which are
posted to it once.

PRODUCT.md section 10; deploy/nginx-edge.conf is the other side.
"""

import asyncio
from random import Random

from aiohttp import ClientSession

from monostat.config import Timing
from monostat.public.live.hub import Hub
from monostat.vendor import Condition, Undelivered, ask, backoff, pause

TAKEN = (200, 201, 202)  # nchan's words for: some were told, and nobody was there to be told


class Edge:
    """One node, by the base of its publisher addresses: `news` is set when there is something to
    tell.
    """

    def __init__(
        self, base: str, hub: Hub, session: ClientSession, *, rng: Random, timing: Timing
    ) -> None:
        self.news, self._base, self._hub, self._session = asyncio.Event(), base, hub, session
        self._rng, self._timing, self._told, self._condition = (
            rng,
            timing,
            0,
            Condition(f"the edge at {base}"),
        )

    async def run(self) -> None:
        attempt = 0
        while True:
            self.news.clear()
            try:
                await self._make_equal()
                self._condition.tell("")
                attempt, wait = 0, self._timing.heartbeat
            except Undelivered as failure:
                self._condition.tell(
                    f"{failure.reason}: viewers there see what they were shown last, until it is back"
                )
                attempt, self._told = attempt + 1, 0
                wait = backoff(
                    attempt,
                    self._rng,
                    first=self._timing.first_wait,
                    longest=self._timing.heartbeat,
                )
            await pause(self.news, wait)

    async def _make_equal(self) -> None:
        """Tells what is new; otherwise that nothing is, unless the node has forgotten and must be
        told again.
        """
        messages = self._hub.messages
        if (
            messages.version == self._told
            and await self._ask("GET", "/feed/v1")
            and await self._ask("GET", "/feed/page")
        ):
            await self._ask("POST", "/heartbeat", self._hub.beat())
        else:
            for path, text in (("/feed/v1", messages.v1), ("/feed/page", messages.page)):
                if not await self._ask("POST", path, text):
                    raise Undelivered(f"there is no {path}")
            self._told = messages.version

    async def _ask(self, method: str, path: str, text: str = "") -> bool:
        """Posts, or looks whether the newest message is kept there."""
        # As JSON, or nchan would make binary frames of it.
        about = {"Content-Type": "application/json"} if text else {"Accept": "text/json"}
        status, _, answer = await ask(
            self._session,
            "the edge",
            method,
            self._base + path,
            self._timing.vendor_timeout,
            headers=about,
            data=text.encode() or None,
        )
        if status not in (*TAKEN, 404):
            raise Undelivered(f"it answers {status}")
        return status != 404 and (
            bool(text) or (isinstance(answer, dict) and bool(answer.get("messages")))
        )
