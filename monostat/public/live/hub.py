"""The newest messages, and everyone who waits for newer ones.

contracts/feed.md sections 3 to 7. One frame is built for all; a viewer who is slow skips versions,
and never has more than one waiting.
"""

import asyncio
import logging
import re
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from itertools import chain, islice
from random import Random
from typing import NamedTuple

from aiohttp import web

from monostat.config import Server, Timing
from monostat.ops.supervise import Histogram
from monostat.public.live.handshake import ANY_ORIGIN, Handshake, Refusal
from monostat.public.live.unsent import Unsent
from monostat.public.live.viewer import PING_FRAME, Viewer, close_frame, frame
from monostat.vendor import nap

log = logging.getLogger(__name__)
VIEWS = {"v1": "public", "page": "page"}  # the kinds of viewers, and their names in metrics
SPARE = 200  # files that may be open besides viewers' sockets: contracts/feed.md section 7
BEATS = 25  # groups of viewers, each with a heartbeat at a moment of its own
# viewers who are shown a change before others, such as readers of the page, have their turn
BATCH = 200


class Messages(NamedTuple):
    """What viewers are shown of one version: the public feed's message as `v1`, and the page's own."""

    epoch: str
    version: int
    v1: str
    page: str


class Hub:
    """Knows every viewer; `publish` is a plain call that cannot block, `beat` makes the heartbeat
    of now.

    For metrics: `counts` has connections by view and result and disconnections by reason; `states`
    and `beats` were sent, `spread` has the seconds from a change to its last viewer.
    """

    def __init__(
        self, server: Server, timing: Timing, rng: Random, beat: Callable[[], str]
    ) -> None:
        self._server, self._timing, self._rng, self.beat = server, timing, rng, beat
        self._here, self._came, self._window = Counter[str](), Counter[str](), 0.0  # by address
        self._groups: list[set[Viewer]] = [set() for _ in range(BEATS)]
        self._turn = 0
        self._waiting: dict[
            Viewer, float
        ] = {}  # until when they may take what they were sent, or leave
        self._most = room_for(server.max_viewers)
        self.unsent = Unsent(3 * timing.viewer_patience)  # of all connections, not only viewers'
        self.counts, self.states, self.beats = Counter[tuple[str, ...]](), 0, 0
        self.spread = Histogram()
        self.messages: Messages
        self._frames: dict[str, bytes] = {}  # by kind
        self.closing = False

    @property
    def count(self) -> int:
        """How many viewers there are."""
        return sum(map(len, self._groups))

    def views(self) -> Counter[str]:
        """How many viewers there are of each view."""
        return Counter(VIEWS[viewer.kind] for viewer in chain(*self._groups))

    def publish(self, messages: Messages) -> None:
        news = self._frames and messages.version != self.messages.version
        self.messages = messages
        self._frames = {"v1": frame(messages.v1.encode()), "page": frame(messages.page.encode())}
        if news:
            self._spread(iter(list(chain(*self._groups))), time.monotonic())

    def _spread(self, viewers: Iterator[Viewer], since: float) -> None:
        """Shows a batch of them the newest version, and sees to the others when the loop has been
        round.
        """
        version = self.messages.version
        batch = list(islice(viewers, BATCH))
        if not batch:
            self.spread.observe(time.monotonic() - since)
            return
        # First, so that whatever fails with one of these keeps nothing from the others.
        asyncio.get_running_loop().call_soon(self._spread, viewers, since)
        for viewer in batch:
            if viewer.shown != version and not viewer.ended and viewer not in self._waiting:
                self._show(viewer)

    def _show(self, viewer: Viewer) -> None:
        viewer.shown = self.messages.version
        self.states += 1
        try:
            viewer.transport.write(self._frames[viewer.kind])
        except RuntimeError:  # uvloop's word for a transport that is closed
            viewer.transport.abort()

    def refusal(self, key: str) -> Refusal | None:
        """Why nobody more can come, in all or from one address; said before the upgrade, which is
        cheaper.
        """
        limits, came, now = self._server, self._came, time.monotonic()
        if now - self._window >= 10:
            self._window = now
            came.clear()
        full = self.closing or self.count >= self._most
        crowded = (
            self._here[key] >= limits.max_viewers_per_ip or came[key] >= limits.max_connects_per_ip
        )
        if not full and not (key and crowded):
            return None
        why = "this server is full" if full else "too many connections from this address"
        headers = {"Retry-After": "30", "Cache-Control": "no-store", **ANY_ORIGIN}
        return Refusal(
            503 if full else 429, f"{why}: poll /feed/v1/state.json and try again later", headers
        )

    def turned_away(self, kind: str, refusal: Refusal) -> None:
        if refusal.status in (429, 503):
            self.counts[
                "connections", VIEWS[kind], "refused" if refusal.status == 503 else "limited"
            ] += 1

    def join(self, transport: asyncio.Transport, asked: Handshake, key: str) -> Viewer:
        """Greets and enters in one step, so that no version slips through; from now on the
        connection is the viewer's.

        Whoever has read the handshake lets go of it: all that a viewer needs is a socket.
        """
        # The heartbeat comes when the turn has been once around; many who come at once are spread a
        # little.
        group = min((self._groups[self._turn - back] for back in range(BEATS // 5)), key=len)
        viewer, now = Viewer(self, transport, group, asked.kind, key), self.messages
        transport.set_protocol(viewer)
        transport.set_write_buffer_limits(
            high=0
        )  # what the kernel does not take at once makes a viewer wait
        group.add(viewer)
        self._here[key] += 1
        self._came[key] += 1
        self.counts["connections", VIEWS[asked.kind], "accepted"] += 1
        viewer.shown = now.version
        same = asked.known == (str(now.version), now.epoch)
        transport.write(
            asked.head + (frame(self.beat().encode()) if same else self._frames[asked.kind])
        )
        if (
            transport.get_write_buffer_size()
        ):  # it may have been full before, of which nobody is told twice
            self.stuck(viewer)
        return viewer

    async def run(self) -> None:
        """Goes round the groups once a heartbeat: each gets one and a ping, and who did not answer
        the last is gone.
        """
        while True:
            await nap(self._timing.heartbeat / BEATS)
            self._turn = (self._turn + 1) % BEATS
            self._sweep(self._groups[self._turn], time.monotonic())
            self.unsent.drop_the_slow()

    def _sweep(self, group: set[Viewer], now: float) -> None:
        beat = frame(self.beat().encode()) + PING_FRAME if group else b""
        for viewer in [v for v in group if v not in self._waiting]:
            if viewer.heard:
                viewer.heard = False
                self.beats += 1
                viewer.transport.write(beat)
            else:
                viewer.ended = "timeout"
                viewer.transport.abort()
        for viewer in [v for v, until in self._waiting.items() if until <= now]:
            if viewer.ended:
                viewer.transport.abort()
            else:
                viewer.end(1013, self._later(), "slow")

    def _later(self) -> str:
        return f"retry_ms={self._rng.randrange(10_000)}"

    def stuck(self, viewer: Viewer) -> None:
        self._waiting.setdefault(viewer, time.monotonic() + self._timing.viewer_patience)
        self.unsent.waits(viewer)

    def flows(self, viewer: Viewer) -> None:
        """It has taken what it was sent: the newest is next, whatever it has missed."""
        self.unsent.takes(viewer)
        if not viewer.ended:
            self._waiting.pop(viewer, None)
            if viewer.shown != self.messages.version:
                self._show(viewer)

    def leaves(self, viewer: Viewer) -> None:
        viewer.slot.discard(viewer)
        self._waiting[viewer] = time.monotonic() + self._timing.viewer_patience

    def left(self, viewer: Viewer) -> None:
        self.unsent.takes(viewer)
        viewer.slot.discard(viewer)
        self._waiting.pop(viewer, None)
        self._here[viewer.key] -= 1
        if not self._here[viewer.key]:
            del self._here[viewer.key]
        self.counts["disconnections", viewer.ended] += 1

    async def close(self, _app: web.Application) -> None:
        """Tells everybody at once to come back later, and waits for nobody."""
        self.closing = True
        for viewer in list(chain(*self._groups)):
            viewer.ended = "shutdown"
            viewer.transport.write(close_frame(1001, self._later()))
            viewer.transport.close()
        # One that has not even taken what it was sent before is not waited for.
        for viewer in list(self._waiting):
            viewer.transport.abort()


def room_for(viewers: int) -> int:
    """How many of those can be held; raises the limit of open files as far as it goes, and says if
    that is low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed, most = viewers + SPARE, hard if hard != resource.RLIM_INFINITY else viewers + SPARE
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, most), hard))
    if most < needed:
        remedy = (
            f"raise it to {needed} (LimitNOFILE= in monostat.service), or lower server.max_viewers"
        )
        log.warning(
            "only %d viewers of %d can be held: %d files may be open: %s",
            most - SPARE,
            viewers,
            most,
            remedy,
        )
    return min(viewers, most - SPARE)


@lru_cache(4096)
def network(address: str) -> str:
    """One home or phone has a whole IPv6 /64."""
    with suppress(ValueError):
        return IPv6Address(canonical(address)).exploded[:19]
    return canonical(address)


@lru_cache(4096)
def canonical(address: str) -> str:
    """One spelling for each address, without a port, and IPv4 as IPv4 where IPv6 carries it."""
    with suppress(ValueError):
        ip = ip_address(re.sub(r"^\[(.*)\](:\d+)?$|^([\d.]+):\d+$", r"\1\3", address))
        return str(getattr(ip, "ipv4_mapped", None) or ip)
    return address
