"""Lanes side by side in one loop, which the supervisor sees as one."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random

from monostat.ops.supervise import Loop, Watch
from monostat.slack.lane import Delivery, Lane
from monostat.vendor import side_by_side
from tests.waiting import eventually

Due = Callable[[], Awaitable[Sequence[Delivery]]]


async def nothing() -> list[Delivery]:
    return []


async def hangs() -> list[Delivery]:
    await asyncio.Event().wait()
    return []


async def answers() -> None:
    pass


async def alive() -> bool:
    return True


def lane(due: Due) -> Lane:
    return Lane(
        due=due,
        answers=answers,
        report=lambda: None,
        rng=Random(1),
        first_wait=0.01,
        counts=Counter(),
    )


async def test_a_lane_that_hangs_is_not_hidden_by_those_that_turn() -> None:
    lanes = [lane(nothing), lane(hangs), lane(nothing)]
    loop = Loop(name="slack-outbox", run=partial(side_by_side, *(each.run for each in lanes)))
    watch = Watch(loops=[loop], alive=alive, says=str, grace=0.1)
    task = asyncio.create_task(loop.supervised(Random(1)))

    async def is_stuck() -> bool:
        for each in lanes:
            each.wake.set()
        return watch.stuck() == ["slack-outbox"]

    await eventually(is_stuck)
    task.cancel()
    await asyncio.wait([task])


async def test_lanes_that_wait_to_be_woken_are_not_stuck_and_one_that_fails_ends_all() -> None:
    failing = asyncio.Event()
    turns = []

    async def fails() -> list[Delivery]:
        turns.append(1)
        if failing.is_set():
            raise RuntimeError("a bug")
        return []

    lanes = [lane(nothing), lane(fails), lane(nothing)]
    loop = Loop(name="slack-outbox", run=partial(side_by_side, *(each.run for each in lanes)))
    watch = Watch(loops=[loop], alive=alive, says=str, grace=0.0)
    task = asyncio.create_task(loop.supervised(Random(1)))
    await eventually(lambda: turns and not watch.stuck())
    failing.set()
    lanes[1].wake.set()
    await eventually(lambda: loop.restarts == 1 and not loop.up)
    assert watch.stuck() == []  # it waits before it is started anew
    failing.clear()
    await eventually(lambda: loop.up and not watch.stuck())
    task.cancel()
    await asyncio.wait([task])


async def test_lanes_end_when_they_are_cancelled_until_they_do() -> None:
    """A time limit that ends at the same moment swallows a cancellation."""
    is_running = asyncio.Event()

    async def swallows_one() -> None:
        is_running.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(side_by_side(swallows_one))
    await is_running.wait()

    async def has_ended() -> bool:
        task.cancel()
        await asyncio.wait([task], timeout=0.01)
        return task.done()

    await eventually(has_ended)
