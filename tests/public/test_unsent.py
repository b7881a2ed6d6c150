"""Who asks and never reads holds little of our memory, all of them together no more than a bound, and not for ever."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import pytest

from monostat.ops.metrics import TELEMETRY
from monostat.public.live import unsent
from tests.waiting import eventually
from tests.world import SHORT, World

HANDSHAKE = (
    b"GET /feed/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
)
HANDSHAKE += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
PLAIN = b"GET /feed/v1/state.json HTTP/1.1\r\nHost: x\r\n\r\n"
ASKING = {
    "viewers": HANDSHAKE,
    "plain requests": PLAIN,
    "requests that aiohttp reads": PLAIN.replace(b"Host", b"X-Odd: 1\r\nHost"),
    "requests behind requests": PLAIN * 40,
}
MILLION = 1_000_000


@asynccontextmanager
async def mutes(world: World, asked: bytes, many: int) -> AsyncIterator[list[socket.socket]]:
    """So many connections with little room that ask and never read."""
    parts, loop, made = urlsplit(world.url), asyncio.get_running_loop(), list[socket.socket]()
    try:
        for _ in range(many):
            one = socket.socket()
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setblocking(False)
            await loop.sock_connect(one, (parts.hostname, parts.port))
            await loop.sock_sendall(one, asked)
        yield made
    finally:
        for one in made:
            one.close()


async def wordy(world: World, *, patience: float) -> None:
    """Starts with a message of a megabyte."""
    world.settings["opsgenie"]["incident_text"] = "a" * MILLION
    world.settings["server"] = {"max_viewers_per_ip": 10**6, "max_connects_per_ip": 10**6}
    await world.start(timing=replace(SHORT, viewer_patience=patience, heartbeat=60))
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")


@pytest.mark.parametrize("kind", ASKING)
async def test_all_who_never_read_hold_no_more_than_a_bound_together(
    world: World, kind: str
) -> None:
    await wordy(world, patience=60)
    held, many = world.app[TELEMETRY].hub.unsent, 2 * unsent.MAX_UNSENT_BYTES // MILLION
    async with mutes(world, ASKING[kind], many) as connected:
        await eventually(lambda: held.bytes > unsent.MAX_UNSENT_BYTES // 2)
        first = connected[0]
        await eventually(lambda: ended(first))
        assert held.bytes <= unsent.MAX_UNSENT_BYTES
        assert (await world.incident())["state"] == "suspected"
    await eventually(lambda: held.bytes == 0)


def ended(one: socket.socket) -> bool:
    """Whether the other side has hung up; reads what there is."""
    with suppress(BlockingIOError):
        try:
            while one.recv(1 << 20):
                pass
        except ConnectionError:
            pass
        return True
    return False


@pytest.mark.parametrize("kind", ASKING)
async def test_who_takes_nothing_is_let_go_after_a_while(world: World, kind: str) -> None:
    await wordy(world, patience=0.3)
    held = world.app[TELEMETRY].hub.unsent
    async with mutes(world, ASKING[kind], 3) as connected:
        await eventually(lambda: held.bytes > 0)
        await eventually(lambda: held.bytes == 0)
        for one in connected:
            await eventually(partial(ended, one))


async def test_who_reads_slowly_gets_all_of_it(world: World) -> None:
    await wordy(world, patience=60)
    loop, got = asyncio.get_running_loop(), 0
    held = world.app[TELEMETRY].hub.unsent
    async with mutes(world, PLAIN, 1) as (one,):
        await eventually(lambda: held.bytes > 0)
        while got < MILLION:
            got += len(await loop.sock_recv(one, 10_000))
        await eventually(lambda: held.bytes == 0)
        await loop.sock_sendall(one, PLAIN)
        rest = await loop.sock_recv(one, 10_000)
        assert b"HTTP/1.1 200 OK" in rest or (await loop.sock_recv(one, 10_000)).startswith(
            b"HTTP/1.1 200 OK"
        )


@pytest.mark.parametrize("asked", ["HEAD /", "OPTIONS /api/x", "GET /nowhere", "POST /"])
async def test_small_answers_do_not_pile_up_behind_each_other(world: World, asked: str) -> None:
    """Whoever does not take its answers gets no more of them, however many it asks for."""
    await world.start(timing=replace(SHORT, viewer_patience=60, heartbeat=60))
    loop, held = asyncio.get_running_loop(), world.app[TELEMETRY].hub.unsent
    async with mutes(world, b"", 1) as (one,):
        request = f"{asked} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
        sending = asyncio.create_task(loop.sock_sendall(one, request * 200_000))
        await eventually(lambda: held.bytes > 0)
        seen = answered(world)
        for _ in range(20):
            await world.page("/healthz")
        assert answered(world) <= seen + 40
        held.measure()
        assert 0 < held.bytes < 100_000
        sending.cancel()


def answered(world: World) -> int:
    return sum(world.app[TELEMETRY].requests.values())
