"""The worst of days, in whole: loops that fail, vendors that hang for an hour, a process that is suspended, no DNS."""

import asyncio
import gc
import inspect
import logging
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from monostat.config import Timing
from monostat.core.events import Act
from monostat.ops.metrics import TELEMETRY
from tests.daemon import daemon
from tests.hurry import Virtual
from tests.waiting import eventually
from tests.world import World

LOOPS = (
    "engine",
    "watchers",
    "renew",
    "viewers",
    "edge 1",
    "opsgenie",
    "silence",
    "mails",
    "slack",
    "slack-outbox",
    "watch",
)


@pytest.mark.parametrize("name", LOOPS)
async def test_a_loop_that_a_bug_ends_comes_back_and_the_page_never_blinks(
    world: World, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.settings["edge"] = {"publish_urls": ["http://127.0.0.1:9"]}
    await world.start()
    await eventually(lambda: world.slack.connections)
    watch = world.app[TELEMETRY].watch
    assert {loop.name for loop in watch.loops} == {*LOOPS}
    loop = next(loop for loop in watch.loops if loop.name == name)
    before = await world.page()
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        task = next(task for task in asyncio.all_tasks() if task.get_name() == name)
        await eventually(lambda: hurt(task))
        await eventually(lambda: loop.restarts)
        assert without_time(await world.page()) == without_time(before)
        await eventually(lambda: loop.up)
        world.opsgenie.fire("disk full")
        await world.message("verb:confirm:outage")
        while (message := await ws.receive_json(timeout=30))["type"] != "state" or not message[
            "open"
        ]:
            pass
    assert loop.restarts == 1
    assert f'monostat_task_restarts_total{{task="{name}"}} 1\n' in await metrics(world)
    ours = [record for record in caplog.records if record.name.startswith("monostat")]
    (record,) = (record for record in ours if record.levelno == logging.ERROR)
    assert (record.getMessage(), bool(record.exc_info)) == (f"{name} failed", True)


def without_time(page: str) -> str:
    """A page but for the second that it is as of."""
    return re.sub('<p id="live".*?</p>', "", page)


def hurt(task: "asyncio.Task[Any]") -> bool:
    """Has a nap, or what else it does nothing in, raise a bug; where it is at work, whoever works for it would trip."""
    inner: Any = task.get_coro()
    while inspect.iscoroutine(inner) and inspect.iscoroutine(inner.cr_await):
        inner = inner.cr_await
    waiter: asyncio.Future[Any] | None = task._fut_waiter  # type: ignore[attr-defined]
    if (
        inner.__name__ not in ("sleep", "wait", "_wait", "__aexit__")
        or waiter is None
        or waiter.done()
    ):
        return False
    waiter.set_exception(RuntimeError("a bug"))
    return True


async def metrics(world: World) -> str:
    answer = await world.app[TELEMETRY].show(None)  # type: ignore[arg-type]
    return str(answer.text)


async def test_a_suspended_process_goes_on_where_it_was_and_does_nothing_twice(
    world: World,
) -> None:
    world.settings["rapidmail"]["undo_window"] = 1.5
    async with daemon(world) as process:
        world.opsgenie.fire("disk full")
        await world.tap("verb:confirm:outage")
        await world.becomes("confirmed")
        process.send_signal(signal.SIGSTOP)
        world.opsgenie.fire("disk fuller")
        await asyncio.sleep(3)  # the mail was due, and polls were missed
        assert world.rapidmail.mailings == []
        process.send_signal(signal.SIGCONT)
        await eventually(lambda: any("mailed" in line for line in world.thread()))
        await eventually(lambda: any("fuller" in line for line in world.thread()))
        await eventually(lambda: world.slack.connections)
        await world.tap("verb:resolve")
        await world.becomes("resolved")
        assert len(world.slack.timeline()) == len(world.rapidmail.mailings) == 1


async def test_without_dns_the_page_is_up_and_says_that_monitoring_is_silent(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for vendor, path in {"opsgenie": "", "slack": "/api/", "rapidmail": "/v1"}.items():
        world.settings[vendor]["url"] = f"https://{vendor}.invalid{path}"
    world.settings["opsgenie"]["stale_after"] = 0.6
    await world.start()
    await eventually(lambda: silent(world))
    assert await world.act("create", title="Checkout is slow") == 1
    assert "Checkout is slow" in await world.page()
    assert not [record for record in caplog.records if record.exc_info]
    await eventually(
        lambda: (
            {"OpsGenie", "Slack", "Rapidmail"}
            <= {m.split(":")[0] for m in caplog.messages if "DNS" in m}
        )
    )


async def silent(world: World) -> bool:
    return not (await world.state())["monitoring"]["ok"]


def test_while_every_vendor_hangs_for_an_hour_nothing_grows(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=Virtual) as runner:
        seen = runner.run(an_hour_of_silence(tmp_path))
    later = seen[2:]  # after a quarter
    assert all(one["connections tried"] > 20 for one in later)
    # A request under way holds two files here, and three loops make them; what was left behind by each would come
    # to hundreds.
    for what, most in {"files": 10, "tasks": 6, "objects": 0.01 * later[0]["objects"]}.items():
        assert max(one[what] for one in later) <= later[0][what] + most, (
            what,
            [one[what] for one in seen],
        )


async def an_hour_of_silence(folder: Path) -> list[dict[str, int]]:
    """What is held every five minutes, while whoever connects to a vendor is accepted and never answered."""
    tried = 0

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        tried += 1
        with suppress(ConnectionError):
            while await reader.read(65536):
                pass
        writer.close()

    loop = asyncio.get_running_loop()
    assert isinstance(loop, Virtual)
    hole = await asyncio.start_server(swallow, "127.0.0.1", 0)
    url, world = f"http://127.0.0.1:{hole.sockets[0].getsockname()[1]}", World(folder)
    await world.open()
    for vendor, path in {"opsgenie": "", "slack": "/api/", "rapidmail": "/v1"}.items():
        world.settings[vendor]["url"] = url + path
    await world.start(timing=Timing(), now=loop.now)
    board, seen = world.app[TELEMETRY].engine, []
    for number in range(5):
        await board.submit(
            Act(at=loop.now(), verb="create", by="Ada", title=f"Slow {number}", severity=None)
        )
    for _ in range(12):
        await asyncio.sleep(300)
        gc.collect()
        held = {"files": len(os.listdir("/proc/self/fd")), "tasks": len(asyncio.all_tasks())}
        seen.append(held | {"objects": len(gc.get_objects()), "connections tried": tried})
        tried = 0
    assert len(board.state.mails) == 5
    assert not [loop.name for loop in world.app[TELEMETRY].watch.loops if loop.restarts]
    await world.stop()
    await world.close()
    hole.close()
    return seen
