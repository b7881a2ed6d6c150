"""A clock that jumps, a process that slept, and the two nights on which a day has another length."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientSession

from monostat.alerts.source import AlertSource
from monostat.config import OpsGenieSettings, Timing
from monostat.core.events import (
    Act,
    AlertsSeen,
    Event,
    MailClaimed,
    MailSettled,
    MonitoringSilent,
    Tick,
)
from monostat.core.model import Alert, Status
from monostat.engine import Engine
from monostat.ops.metrics import TELEMETRY
from monostat.store import Store, open_store
from tests.alerts.polls import lag, told
from tests.boards import BRIEF, START, snapshot
from tests.core.mails import due_mail
from tests.daemon import daemon
from tests.hurry import Virtual
from tests.waiting import eventually
from tests.world import World

JUMPS = {
    "an hour back": -3600,
    "a day forward": 86_400,
    "a day back": -86_400,
    "a year forward": 31_536_000,
}


async def sent(board: Engine, at: datetime) -> list[str]:
    """Hands over all that is due, as the outbox does."""
    gone = []
    while mail := due_mail(board.state, at):
        await board.submit(MailClaimed(at=at, key=mail.key, letter="[]"))
        await board.submit(MailSettled(at=at, key=mail.key))
        gone.append(mail.key)
    return gone


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
async def test_a_held_mail_leaves_once_and_within_its_span_whatever_the_clock_does(
    tmp_path: Path, jump: int, restart: bool
) -> None:
    clock = [START]

    async def board_on(store: Store) -> Engine:
        made = Engine(BRIEF, lambda: clock[0], "b", snapshot)
        await made.start(store)
        return made

    async with open_store(tmp_path / "monostat.db", now=START, has_slack=True) as store:
        board = await board_on(store)
        alert = Alert(id="a1", message="disk", created_at=START)
        await board.submit(AlertsSeen(at=clock[0], open=(alert,)))
        await board.submit(Act(at=clock[0], verb="confirm", by="Ada", incident=1))
        version = board.version.number
        clock[0] += timedelta(seconds=jump)
        board = await board_on(store) if restart else board
        await board.submit(Tick(at=clock[0]))
        before = await sent(board, clock[0])
        clock[0] += timedelta(seconds=BRIEF.undo_window)
        await board.submit(Tick(at=clock[0]))
        assert len(before + await sent(board, clock[0])) == 1
        for _ in range(5):
            clock[0] += timedelta(seconds=60)
            await board.submit(AlertsSeen(at=clock[0], open=(alert,)))
            assert await sent(board, clock[0]) == []
        assert board.state.incidents[1].status is Status.CONFIRMED
        assert board.state.incidents.keys() == {1}
        assert board.state.monitoring.ok
        assert board.version.number >= version


@pytest.mark.parametrize(
    "night",
    [
        datetime(2026, 3, 29, 0, 30),  # noqa: DTZ001 - a wall clock of the site's
        datetime(2026, 10, 25, 1, 30),  # noqa: DTZ001 - the same
    ],
    ids=["short", "long"],
)
async def test_a_plan_over_a_changeover_night_starts_and_ends_at_its_instants(
    tmp_path: Path, night: datetime
) -> None:
    """Both nights in Berlin: 02:00 to 03:00 is missing in the one and there twice in the other."""
    zone = ZoneInfo("Europe/Berlin")
    start = night.replace(tzinfo=zone).astimezone(UTC)
    end, clock = start + timedelta(hours=3), [start - timedelta(hours=1)]
    async with open_store(tmp_path / "monostat.db", now=clock[0], has_slack=True) as store:
        board = Engine(BRIEF, lambda: clock[0], "b", snapshot)
        await board.start(store)
        await board.submit(
            Act(at=clock[0], verb="plan", by="Ada", title="Works", start=start, end=end)
        )
        seen = []
        while clock[0] < end + timedelta(minutes=20):
            clock[0] += timedelta(minutes=10)
            await board.submit(Tick(at=clock[0]))
            seen.append((clock[0], board.state.incidents[1].status))
        for at, status in seen:
            assert status is (
                Status.PLANNED if at < start else Status.CONFIRMED if at < end else Status.RESOLVED
            ), at
        incident = board.state.incidents[1]
        assert (incident.started_at, incident.ended_at) == (start, end)


SILENT = "cannot see our monitoring"
HOUR = 3600.0
CLOCKS = {
    "two hours forward": [2 * HOUR],
    "two hours back": [-2 * HOUR],
    "three days forward, and back again": [72 * HOUR, -72 * HOUR],
    "a month back": [-720 * HOUR],
    "many steps of half a minute": [30.0] * 8,
    "forth and back by minutes": [150.0, -140.0, 130.0, -150.0, 125.0, -121.0],
}


@pytest.mark.parametrize("steps", CLOCKS.values(), ids=CLOCKS)
async def test_no_clock_that_is_set_makes_monitoring_silent_while_it_answers(
    world: World, steps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    world.settings["opsgenie"]["stale_after"] = 120
    wrong = [timedelta()]
    await world.start(now=lambda: datetime.now(UTC) + wrong[0])
    board = world.app[TELEMETRY].engine
    await eventually(lambda: board.state.answered)
    for step in steps:
        wrong[0] += timedelta(seconds=step)
        await board.submit(
            Tick(at=board.now())
        )  # time has come, and the next answer is still on its way
        await lag(world)
        assert board.state.monitoring.ok
    assert not [line for line in caplog.messages if "monitoring_silent" in line]
    assert (await world.state())["monitoring"]["ok"]


@pytest.mark.parametrize("hours", [-72, -2, 0, 2])
async def test_silence_is_told_once_whatever_the_clock_does_meanwhile(
    world: World, hours: int
) -> None:
    world.settings["opsgenie"]["stale_after"] = 0.6
    world.opsgenie.faults.fail_next(503, times=10_000)
    wrong = [timedelta()]
    await world.start(now=lambda: datetime.now(UTC) + wrong[0])
    await lag(world, 1)
    wrong[0] += timedelta(hours=hours)
    await eventually(lambda: told(world, SILENT))
    world.opsgenie.faults.release()
    await eventually(lambda: told(world, "answers again"))
    assert len(told(world, SILENT)) == 1


@pytest.mark.parametrize(
    "asked", [False, True], ids=["between two polls", "while it was being asked"]
)
async def test_a_process_that_was_stopped_for_longer_than_silence_may_last_says_nothing(
    world: World, asked: bool
) -> None:
    """Where it was being asked, its answer came meanwhile, and is there already."""
    world.settings["opsgenie"]["stale_after"] = 4
    async with daemon(world) as process:
        await lag(world)
        if asked:
            world.opsgenie.faults.hang("/v2/alerts")
            await lag(world, 1)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(5)  # longer than that
        world.opsgenie.faults.release()
        process.send_signal(signal.SIGCONT)
        await lag(world, 4)
        assert (await world.state())["monitoring"]["ok"]
        assert await world.act("create", title="Slow") == 1
        await eventually(lambda: any("#1" in m.text for m in world.slack.timeline()))
        assert not told(world, SILENT)


@pytest.mark.parametrize(
    ("awake", "asleep", "left"),
    [(119, 0, 2), (100, 30, 21), (50, 3600, 71), (119, 7200, 61), (119, 30 * 86_400, 61)],
)
def test_the_seconds_without_an_answer_are_those_in_which_we_were_awake(
    awake: int, asleep: int, left: int
) -> None:
    """After a sleep in which an answer may have been lost there is half of `stale_after` at least to ask again."""

    async def said() -> tuple[int, int, int]:
        loop, heard = asyncio.get_running_loop(), list[Event]()
        assert isinstance(loop, Virtual)

        async def submit(event: Event) -> None:
            heard.append(event)

        async with ClientSession() as session:
            source = AlertSource(
                session=session,
                settings=OpsGenieSettings.model_validate({"api_key": "k", "stale_after": 120}),
                timing=Timing(),
                now=loop.now,
                rng=Random(1),
                alerts_to_follow=tuple,
                submit=submit,
            )
            counting = asyncio.create_task(source.count())
            counts = []
            for seconds in (awake, left - 2, 4):
                await asyncio.sleep(seconds)
                counts.append(len(heard))
                loop.suspend(asleep if not counts[1:] else 0)
            counting.cancel()
        assert all(type(event) is MonitoringSilent for event in heard)
        return counts[0], counts[1], min(counts[2], 1)

    with asyncio.Runner(loop_factory=Virtual) as runner:
        assert runner.run(said()) == (0, 0, 1)
