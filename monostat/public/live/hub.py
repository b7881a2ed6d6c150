"""The newest messages, and everyone who waits for newer ones.

One frame is built for all; a viewer who is slow skips versions, and never has more than one
waiting.
"""

import asyncio
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from random import Random
from typing import NamedTuple

from aiohttp import web

from monostat.config import Server, Timing
from monostat.histogram import Histogram
from monostat.public.live.handshake import ANY_ORIGIN, Handshake, Refusal
from monostat.public.live.unsent import Unsent
from monostat.public.live.viewer import PING_FRAME, Viewer, close_frame, frame
from monostat.vendor import nap

log = logging.getLogger(__name__)
VIEWS = {"v1": "public", "page": "page"}  # the kinds of viewers, and their names in metrics
SPARE = 200  # files that may be open besides viewers' sockets
BEATS = 25  # groups of viewers, each with a heartbeat at a moment of its own
NEWCOMERS = BEATS // 5  # groups that viewers who come at the same time are spread over
CONNECTS_WINDOW = 10  # seconds in which connections from one network are counted
#: Viewers who are shown a change before others, such as readers of the page, have their turn.
BATCH = 200
FULL, LIMITED = 503, 429


class Messages(NamedTuple):
    """What viewers get of a version: the public feed's message as `v1`, and the page's own."""

    epoch: str
    version: int
    v1: str
    page: str


class Hub:
    """Knows every viewer; `publish` is a plain call that cannot block.

    `beat` makes the heartbeat of now for those who have these messages. For metrics: `counts` has
    connections by view and result and disconnections by reason; `states` and `beats` were sent,
    `spread` has the seconds from a change to its last viewer.
    """

    def __init__(
        self, server: Server, timing: Timing, rng: Random, beat: Callable[[Messages], str]
    ) -> None:
        self._beat = beat
        self.closing = False
        self.messages: Messages
        self.unsent = Unsent(3 * timing.viewer_patience)  # of all connections, not only viewers'
        self.counts = Counter[tuple[str, ...]]()
        self.states = 0
        self.beats = 0
        self.spread = Histogram()
        self._server = server
        self._timing = timing
        self._rng = rng
        self._most = room_for(server.max_viewers)
        self._frames: dict[str, bytes] = {}  # by kind of viewer
        self._groups: list[set[Viewer]] = [set() for _ in range(BEATS)]
        self._group_index = 0  # the group that had the last heartbeat
        self._deadlines: dict[Viewer, float] = {}  # to take what they were sent, or to be gone
        self._present = Counter[str]()  # viewers by network
        self._connects = Counter[str]()  # connections by network, in the present window
        self._window_began = 0.0

    @property
    def count(self) -> int:
        """How many viewers there are."""
        return sum(map(len, self._groups))

    @property
    def is_showing(self) -> bool:
        """Whether there is anything yet that viewers can be shown."""
        return bool(self._frames)

    def views(self) -> Counter[str]:
        """How many viewers there are of each view."""
        return Counter(VIEWS[viewer.kind] for viewer in chain(*self._groups))

    def beat(self) -> str:
        """The heartbeat of now."""
        return self._beat(self.messages)

    def publish(self, messages: Messages) -> None:
        """Keeps the newest messages, and shows every viewer a version that is new."""
        is_new = self._frames and messages.version != self.messages.version
        self.messages = messages
        self._frames = {"v1": frame(messages.v1.encode()), "page": frame(messages.page.encode())}
        if is_new:
            self._spread(iter(list(chain(*self._groups))), time.monotonic())

    def _spread(self, viewers: Iterator[Viewer], began: float) -> None:
        """Shows a batch the newest version, and the others when the loop has been round."""
        version = self.messages.version
        batch = list(islice(viewers, BATCH))
        if not batch:
            self.spread.observe(time.monotonic() - began)
            return
        # First, so that whatever fails with one of these keeps nothing from the others.
        asyncio.get_running_loop().call_soon(self._spread, viewers, began)
        for viewer in batch:
            if viewer.shown != version and not viewer.end_reason and viewer not in self._deadlines:
                self._show(viewer)

    def _show(self, viewer: Viewer) -> None:
        viewer.shown = self.messages.version
        self.states += 1
        try:  # as Viewer.write does, without a call more for each of thousands
            viewer.transport.write(self._frames[viewer.kind])
        except RuntimeError:
            viewer.transport.abort()

    def refusal(self, network: str) -> Refusal | None:
        """Why nobody more can come, in all or from one network ("" is nobody's).

        Said before the upgrade, which is cheaper.
        """
        now = time.monotonic()
        if now - self._window_began >= CONNECTS_WINDOW:
            self._window_began = now
            self._connects.clear()
        if self.closing or self.count >= self._most:
            return no_room(FULL, "this server is full")
        if network and self._is_crowded(network):
            return no_room(LIMITED, "too many connections from this address")
        return None

    def _is_crowded(self, network: str) -> bool:
        return (
            self._present[network] >= self._server.max_viewers_per_ip
            or self._connects[network] >= self._server.max_connects_per_ip
        )

    def count_refusal(self, kind: str, refusal: Refusal) -> None:
        """Counts who was refused for want of room."""
        if refusal.status == FULL:
            self.counts["connections", VIEWS[kind], "refused"] += 1
        elif refusal.status == LIMITED:
            self.counts["connections", VIEWS[kind], "limited"] += 1

    def join(self, transport: asyncio.Transport, handshake: Handshake, network: str) -> Viewer:
        """Greets and enters in one step, so that no version slips through.

        From now on the connection is the viewer's: whoever has read the handshake lets go of it,
        for all that a viewer needs is a socket.
        """
        group = self._group_for_newcomer()
        viewer = Viewer(self, transport, group, handshake.kind, network)
        transport.set_protocol(viewer)
        # What the kernel does not take at once makes a viewer wait.
        transport.set_write_buffer_limits(high=0)
        group.add(viewer)
        self._present[network] += 1
        self._connects[network] += 1
        self.counts["connections", VIEWS[handshake.kind], "accepted"] += 1
        viewer.shown = self.messages.version
        if handshake.has == (str(self.messages.version), self.messages.epoch):
            first_frame = frame(self.beat().encode())
        else:
            first_frame = self._frames[handshake.kind]
        transport.write(handshake.response + first_frame)
        # It may have been full before, of which nobody is told twice.
        if transport.get_write_buffer_size():
            self.on_paused(viewer)
        return viewer

    def _group_for_newcomer(self) -> set[Viewer]:
        """The smallest of the groups whose heartbeat is when the turn has been once around.

        Many who come at once are spread a little.
        """
        groups = [self._groups[self._group_index - back] for back in range(NEWCOMERS)]
        return min(groups, key=len)

    async def run(self) -> None:
        """Goes round the groups once a heartbeat: each gets one and a ping.

        Who did not answer the last is gone.
        """
        while True:
            await nap(self._timing.heartbeat / BEATS)
            self._group_index = (self._group_index + 1) % BEATS
            self._sweep(self._groups[self._group_index], time.monotonic())
            self.unsent.drop_the_slow()

    def _sweep(self, group: set[Viewer], now: float) -> None:
        beat = b""
        if group:
            beat = frame(self.beat().encode()) + PING_FRAME
        for viewer in [viewer for viewer in group if viewer not in self._deadlines]:
            if viewer.heard:
                viewer.heard = False
                self.beats += 1
                viewer.write(beat)
            else:
                viewer.end_reason = "timeout"
                viewer.transport.abort()
        overdue = [viewer for viewer, deadline in self._deadlines.items() if deadline <= now]
        for viewer in overdue:
            if viewer.end_reason:
                viewer.transport.abort()
            else:
                viewer.end(1013, self._retry_later(), "slow")

    def _retry_later(self) -> str:
        """A close reason that spreads those who come back."""
        return f"retry_ms={self._rng.randrange(10_000)}"

    def _deadline(self) -> float:
        return time.monotonic() + self._timing.viewer_patience

    def on_paused(self, viewer: Viewer) -> None:
        """It does not take what it is sent: it is sent nothing more until it does."""
        self._deadlines.setdefault(viewer, self._deadline())
        self.unsent.add(viewer)

    def on_writable(self, viewer: Viewer) -> None:
        """It has taken what it was sent: the newest is next, whatever it has missed."""
        self.unsent.discard(viewer)
        if not viewer.end_reason:
            self._deadlines.pop(viewer, None)
            if viewer.shown != self.messages.version:
                self._show(viewer)

    def on_closing(self, viewer: Viewer) -> None:
        """It was told goodbye: the other side has a while to close."""
        viewer.group.discard(viewer)
        self._deadlines[viewer] = self._deadline()

    def on_lost(self, viewer: Viewer) -> None:
        """The connection is gone."""
        self.unsent.discard(viewer)
        viewer.group.discard(viewer)
        self._deadlines.pop(viewer, None)
        self._present[viewer.network] -= 1
        if not self._present[viewer.network]:
            del self._present[viewer.network]
        self.counts["disconnections", viewer.end_reason] += 1

    async def close(self, _app: web.Application) -> None:
        """Tells everybody at once to come back later, and waits for nobody."""
        self.closing = True
        for viewer in list(chain(*self._groups)):
            viewer.end_reason = "shutdown"
            viewer.write(close_frame(1001, self._retry_later()))
            viewer.transport.close()
        # One that has not even taken what it was sent before is not waited for.
        for viewer in list(self._deadlines):
            viewer.transport.abort()


def no_room(status: int, why: str) -> Refusal:
    """For want of room: the same is to be had by polling, and later here."""
    headers = {"Retry-After": "30", "Cache-Control": "no-store", **ANY_ORIGIN}
    return Refusal(status, f"{why}: poll /feed/v1/state.json and try again later", headers)


def room_for(viewers: int) -> int:
    """How many of those can be held, by the limit of open files.

    Raises the soft limit as far as it goes, and warns where that is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = viewers + SPARE
    most = needed if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, most), hard))
    if most < needed:
        log.warning(
            "only %d viewers of %d can be held: %d files may be open: raise it to %d"
            " (LimitNOFILE= in monostat.service), or lower server.max_viewers",
            most - SPARE,
            viewers,
            most,
            needed,
        )
    return min(viewers, most - SPARE)
