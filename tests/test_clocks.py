"""A clock that jumps, a process that slept, and the two nights on which a day has another length."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from monostat.board import Board
from monostat.decisions import due_mail
from monostat.events import Act, AlertsSeen, MailClaimed, MailSettled, Tick
from monostat.incidents import Alert, Status
from monostat.store import Store, open_store
from tests.test_store import POLICY, START, snapshot

JUMPS = {"an hour back": -3600, "a day forward": 86_400, "a day back": -86_400, "a year forward": 31_536_000}


async def sent(board: Board, at: datetime) -> list[str]:
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

    async def board_on(store: Store) -> Board:
        made = Board(POLICY, lambda: clock[0], "b", snapshot)
        await made.start(store)
        return made

    async with open_store(tmp_path / "monostat.db", now=START, tells=True) as store:
        board = await board_on(store)
        alert = Alert(id="a1", message="disk", created_at=START)
        await board.submit(AlertsSeen(at=clock[0], open=(alert,)))
        await board.submit(Act(at=clock[0], verb="confirm", by="Ada", incident=1))
        version = board.version.number
        clock[0] += timedelta(seconds=jump)
        board = await board_on(store) if restart else board
        await board.submit(Tick(at=clock[0]))
        before = await sent(board, clock[0])
        clock[0] += timedelta(seconds=POLICY.undo_window)
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


@pytest.mark.parametrize("night", [datetime(2026, 3, 29, 0, 30), datetime(2026, 10, 25, 1, 30)], ids=["short", "long"])  # noqa: DTZ001
async def test_a_plan_over_a_changeover_night_starts_and_ends_at_its_instants(tmp_path: Path, night: datetime) -> None:
    """Both nights in Berlin: 02:00 to 03:00 is missing in the one and there twice in the other."""
    zone = ZoneInfo("Europe/Berlin")
    start = night.replace(tzinfo=zone).astimezone(UTC)
    end, clock = start + timedelta(hours=3), [start - timedelta(hours=1)]
    async with open_store(tmp_path / "monostat.db", now=clock[0], tells=True) as store:
        board = Board(POLICY, lambda: clock[0], "b", snapshot)
        await board.start(store)
        await board.submit(Act(at=clock[0], verb="plan", by="Ada", title="Works", start=start, end=end))
        seen = []
        while clock[0] < end + timedelta(minutes=20):
            clock[0] += timedelta(minutes=10)
            await board.submit(Tick(at=clock[0]))
            seen.append((clock[0], board.state.incidents[1].status))
        for at, status in seen:
            assert status is (Status.PLANNED if at < start else Status.CONFIRMED if at < end else Status.RESOLVED), at
        incident = board.state.incidents[1]
        assert (incident.started_at, incident.ended_at) == (start, end)
