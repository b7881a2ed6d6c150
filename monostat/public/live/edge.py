"""Keeps an nginx/nchan node equal to the hub: it is posted each message and heartbeat once.

deploy/nginx-edge.conf is the other side.
"""

import asyncio
from random import Random

from aiohttp import ClientSession

from monostat.config import Timing
from monostat.public.live.hub import Hub
from monostat.vendor import Condition, Undelivered, ask, backoff, pause

TAKEN = (200, 201, 202)  # nchan's words for: some were told, and nobody was there to be told
MISSING = 404
STALE = "viewers there see what they were shown last, until it is back"


class Edge:
    """One node, by the `base` of its publisher addresses.

    `news` is set when there is something to tell.
    """

    def __init__(
        self, base: str, hub: Hub, session: ClientSession, *, rng: Random, timing: Timing
    ) -> None:
        self.news = asyncio.Event()
        self._base = base
        self._hub = hub
        self._session = session
        self._rng = rng
        self._timing = timing
        self._version = 0  # the one that the node has
        self._next_beat = 0.0  # on the loop's clock
        self._condition = Condition(f"the edge at {base}")

    def is_reached(self) -> bool:
        """Whether the node has taken what it was told last."""
        return not self._condition.trouble

    async def run(self) -> None:
        """Makes the node equal at every change and once a heartbeat, for ever."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            self.news.clear()
            try:
                await self._make_equal()
                self._condition.tell("")
                failures = 0
                wait = max(self._next_beat - loop.time(), 0.0)
            except Undelivered as failure:
                self._condition.tell(f"{failure.reason}: {STALE}")
                self._version = 0
                failures += 1
                wait = backoff(
                    failures,
                    self._rng,
                    first=self._timing.first_wait,
                    longest=self._timing.heartbeat,
                )
            await pause(self.news, wait)

    async def _make_equal(self) -> None:
        """Posts what is new, or what the node has forgotten; and a heartbeat, when it is time."""
        messages = self._hub.messages
        if messages.version != self._version or not await self._keeps_both():
            for path, text in (("/feed/v1", messages.v1), ("/feed/page", messages.page)):
                if not await self._post(path, text):
                    raise Undelivered(f"there is no {path}")
            self._version = messages.version
        # It names the newest version, which the node may not have yet: then that comes first.
        now = asyncio.get_running_loop().time()
        if now >= self._next_beat and self._hub.messages.version == self._version:
            await self._post("/heartbeat", self._hub.beat())
            self._next_beat = now + self._timing.heartbeat

    async def _keeps_both(self) -> bool:
        return await self._keeps("/feed/v1") and await self._keeps("/feed/page")

    async def _keeps(self, path: str) -> bool:
        """Whether the newest message is still kept there."""
        status, answer = await self._ask("GET", path, {"Accept": "text/json"}, None)
        return status != MISSING and isinstance(answer, dict) and bool(answer.get("messages"))

    async def _post(self, path: str, text: str) -> bool:
        """Whether there is such a channel; as JSON, or nchan would make binary frames of it."""
        headers = {"Content-Type": "application/json"}
        status, _ = await self._ask("POST", path, headers, text.encode())
        return status != MISSING

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], data: bytes | None
    ) -> tuple[int, object]:
        """The node's status and answer; raises Undelivered for any other status than nchan's."""
        status, _, answer = await ask(
            self._session,
            "the edge",
            method,
            self._base + path,
            self._timing.vendor_timeout,
            headers=headers,
            data=data,
        )
        if status not in (*TAKEN, MISSING):
            raise Undelivered(f"it answers {status}")
        return status, answer
