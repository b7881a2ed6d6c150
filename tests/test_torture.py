"""A short torture; `make torture` is the long one, and docs/reliability.md tells what it found."""

import asyncio
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.torture.rounds import tortured
from tests.waiting import eventually
from tests.world import SHORT, World


async def test_kill_9_at_any_step_among_failing_vendors_loses_nothing_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    counts, _ = await tortured(tmp_path, seed=7, rounds=6)
    assert counts["crashes"] == 6
    assert (counts["duplicates"], counts["losses"]) == (0, 0)


async def test_while_every_vendor_hangs_neither_sockets_nor_tasks_pile_up(world: World) -> None:
    """Each request hangs until its time limit, over and over; only the vendors keep, here, what was given up."""
    world.settings["rapidmail"]["undo_window"] = 0.05
    for vendor in (world.opsgenie, world.slack, world.rapidmail):
        vendor.faults.hang()
    await world.start(timing=replace(SHORT, vendor_timeout=0.02))
    most: list[tuple[int, int]] = []
    for number in range(15):
        await world.act("create", title=f"Slow {number}")
        await world.page()
        asked = len(world.rapidmail.faults.requests)
        if number % 5 == 4:
            await eventually(partial(asked_since, world, asked))
            most.append(
                (
                    len(os.listdir("/proc/self/fd")),
                    sum("RequestHandler" not in repr(task) for task in asyncio.all_tasks()),
                )
            )
    (files, tasks), (files_later, tasks_later) = most[0], most[-1]
    assert files_later <= files + 10, most
    assert tasks_later <= tasks + 10, most
    assert "Part of Example is not working" in await world.page()


def asked_since(world: World, before: int) -> bool:
    """Whether Rapidmail had more requests than before."""
    return len(world.rapidmail.faults.requests) > before
