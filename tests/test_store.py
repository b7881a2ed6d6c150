"""The file: what it holds is what was decided, whatever was decided."""

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from monostat.core.events import Act, AlertsSeen, Event, Imported, MailClaimed, MailSettled, Tick
from monostat.core.model import Alert, Fact, Incident, Severity
from monostat.core.past import NEWEST, without_past
from monostat.core.posted import Posted
from monostat.core.verbs import MOVES
from monostat.database import Unusable
from monostat.engine import Engine
from monostat.facts import KINDS
from monostat.store import open_store
from tests.boards import BRIEF, START, board_on, snapshot
from tests.core.histories import over_elsewhere
from tests.core.mails import due_mail

FIRST_EDITION = Path(__file__).parent / "data" / "first_edition.sql"
PEOPLE = ("Ada", "Bob")


def next_event(board: Engine, at: datetime, chance: Random) -> Event:
    """Something that may happen now: monitoring, people, the outbox, or nothing but time."""
    state = board.state
    if (mail := due_mail(state, at)) and chance.random() < 0.7:
        return MailClaimed(at=at, key=mail.key)
    if claimed := [m for m in state.mails.values() if m.state == "claimed"]:
        error = chance.choice(["", "", "it was busy"])
        return MailSettled(
            at=at, key=claimed[0].key, error=error, permanent=chance.random() < 0.3, retry_at=at
        )
    kind = chance.randrange(4)
    if kind == 0:
        closing = tuple(
            a for a in state.alerts.values() if a.closed_at is None and chance.random() < 0.5
        )
        fresh = Alert(id=f"a{chance.randrange(30)}", message="secret", created_at=at)
        return AlertsSeen(at=at, open=(fresh,), ended={a.id: at for a in closing})
    if kind == 1 and chance.random() < 0.5:
        return Tick(at=at)
    if kind == 1:
        ended = at - timedelta(seconds=chance.choice([0, 5, 900_000]))
        records = [over_elsewhere(f"statuspage/{chance.randrange(40)}", ended) for _ in range(2)]
        return Imported(at=at, by="Eve", records=tuple(records), last=chance.random() < 0.5)
    verb = chance.choice(
        [
            *(v.name for v in MOVES),
            "create",
            "plan",
            "update",
            "undo",
            "undo",
            "send",
            "retry",
            "real_outage",
        ]
    )
    return Act(
        at=at,
        verb=verb,
        by=chance.choice(PEOPLE),
        incident=chance.randrange(state.incidents_made + 1),
        severity=chance.choice([None, *Severity]) if verb in ("create", "confirm") else None,
        title="Slow <logins>",
        text=chance.choice(["", "We are on it."]) if verb != "update" else "We are on it.",
        start=at + timedelta(seconds=60) if verb == "plan" else None,
        end=at + timedelta(seconds=120) if verb == "plan" else None,
    )


async def everything(board: Engine) -> dict[int, Incident]:
    """By its number, whatever the engine finds by one."""
    numbers = range(board.state.incidents_made + 3)
    found = [await board.incident(number) for number in numbers]
    return {incident.number: incident for incident in found if incident}


async def make_numbers_pass(board: Engine, at: datetime) -> None:
    """Records what is over, then makes as many as always stay, and takes each back."""
    over = at - timedelta(seconds=5)
    await board.submit(
        Act(at=at, verb="create", by="Eve", title="An old story", start=over, end=over)
    )
    for _ in range(NEWEST):
        made = await board.submit(Act(at=at, verb="create", by="Eve", title="A slip"))
        await board.submit(Act(at=at, verb="undo", by="Eve", incident=made.made or 0))


@pytest.mark.parametrize("seed", range(4))
async def test_what_the_file_holds_equals_the_fold_of_the_events(tmp_path: Path, seed: int) -> None:
    chance, clock = Random(seed), [START]
    shown: list[int] = []
    async with open_store(tmp_path / "monostat.db", now=START, has_slack=True) as store:
        board = Engine(BRIEF, lambda: clock[0], "b", snapshot)
        board.watchers.add("page", lambda: shown.append(board.version.number))
        await board.start(store)
        for number in range(150):
            if number in (50, 100):
                await make_numbers_pass(board, clock[0])
            clock[0] += timedelta(seconds=chance.choice([0, 1, 5, 40, 40, 900, 700_000]))
            before, version = board.snapshot.digest, board.version
            change = await board.submit(next_event(board, clock[0], chance))
            held, held_version = await store.load(now=clock[0])
            live = replace(board.state, checked_at=held.checked_at, answered=held.answered)
            assert without_past(held, clock[0], BRIEF) == live
            assert held_version == board.version
            assert board.version.number - version.number == (before != board.snapshot.digest)
            assert change.state is board.state
        clock[0] += timedelta(days=8)
        await board.submit(Tick(at=clock[0]))
        rows = {row.number: row for row in await store.find(Incident)}
        assert board.state.incidents.items() <= rows.items()
        assert await everything(board) == rows
        assert len(board.state.incidents) < len(rows), "some of it is past"
        assert shown == sorted(shown)
        assert {v - u for u, v in pairwise(shown)} <= {0, 1}
        ids = [entry.id for entry in await store.untold()]
        assert ids == list(range(1, len(ids) + 1))


async def test_a_failed_write_changes_nothing_and_the_next_event_finds_the_truth(
    tmp_path: Path,
) -> None:
    path = tmp_path / "monostat.db"
    async with open_store(path, now=START, has_slack=True) as store:
        board = Engine(BRIEF, lambda: START, "b", snapshot)
        await board.start(store)
        create = Act(at=START, verb="create", by=PEOPLE[0], title="Slow")
        with sqlite3.connect(path, timeout=0) as other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT raise(ABORT, 'disk is full'); END"
            )
        with pytest.raises(sqlite3.DatabaseError):
            await board.submit(create)
        assert board.state.incidents == {}
        with sqlite3.connect(path, timeout=0) as other:
            other.execute("DROP TRIGGER full")
        other.close()
        assert (await board.submit(create)).made == 1
        assert (await store.load(now=START))[0].incidents.keys() == {1}


async def test_the_end_of_a_disks_trouble_is_noticed_although_nothing_happens(
    tmp_path: Path,
) -> None:
    full = "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT raise(ABORT, 'disk is full'); END"
    with closing(sqlite3.connect(tmp_path / "monostat.db")) as other:
        async with open_store(tmp_path / "monostat.db", now=START, has_slack=True) as store:
            board = await board_on(store)
            other.execute(full)
            with pytest.raises(sqlite3.Error):
                await board.submit(Act(at=START, verb="create", by="Ada", title="Slow"))
            assert "disk is full" in board.saving.trouble
            other.execute("DROP TRIGGER full")
            await board.submit(Tick(at=START + timedelta(seconds=60)))
            assert not board.saving.trouble


async def test_a_change_that_is_saved_stands_also_where_the_history_cannot_be_read_after_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "monostat.db"
    with closing(sqlite3.connect(path)) as other:
        async with open_store(path, now=START, has_slack=True) as store:
            board = await board_on(store)
            sql = "SELECT sql FROM sqlite_schema WHERE name = 'incidents_ended'"
            ((index,),) = other.execute(sql).fetchall()
            other.execute("DROP INDEX incidents_ended")  # by which the archive reads
            change = await board.submit(Act(at=START, verb="create", by="Ada", title="Slow"))
            assert change.made == 1
            assert not board.saving.trouble
            assert board.state.incidents.keys() == {1}
            assert board.episodes == []
            other.execute(index)
            await board.submit(Tick(at=START))
            assert [episode.number for episode in board.episodes] == [1]


async def test_reading_the_file_again_forgets_nothing_that_it_does_not_hold(tmp_path: Path) -> None:
    path = tmp_path / "monostat.db"
    seen = AlertsSeen(at=START, open=(), ended={}, refused="It has no right to read notes")
    with closing(sqlite3.connect(path)) as other:
        async with open_store(path, now=START, has_slack=True) as store:
            board = await board_on(store)
            await board.submit(seen)
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT raise(ABORT, 'disk is full'); END"
            )
            with pytest.raises(sqlite3.Error):
                await board.submit(Act(at=START, verb="create", by="Ada", title="Slow"))
            other.execute("DROP TRIGGER full")
            await board.submit(seen)
            kinds = [entry.kind for entry in await store.untold()]
            assert kinds.count("monitoring_refuses") == 1


async def test_the_version_goes_on_after_a_restart_and_rises_once_for_another_build(
    tmp_path: Path,
) -> None:
    path, numbers = tmp_path / "monostat.db", []
    for build in ("b1", "b1", "b2", "b2"):
        async with open_store(path, now=START, has_slack=True) as store:
            board = Engine(BRIEF, lambda: START, build, snapshot)
            await board.start(store)
            numbers.append(board.version.number)
    assert numbers == [1, 1, 2, 2]


async def test_what_was_posted_is_found_again_until_it_is_forgotten(tmp_path: Path) -> None:
    async with open_store(tmp_path / "monostat.db", now=START, has_slack=True) as store:
        assert await store.posted("e:incident:7") == Posted(key="e:incident:7")
        posted = Posted(key="e:incident:7", ts="1.2", digest="d", claimed_at=START)
        await store.put(posted)
        assert await store.posted("e:incident:7") == posted
        assert await store.posts("e:incident:") == [posted]
        await store.forget("e:incident:7")
        assert await store.find(Posted) == []


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="the folder must exist and be writable") as refused:
        async with open_store(tmp_path / "nowhere" / "monostat.db", now=START, has_slack=True):
            pass
    assert refused.value.exit_code == 77
    with suppress(FileNotFoundError):
        (tmp_path / "nowhere").rmdir()


def holds(new: object, old: object) -> bool:
    """Whether all of an old document is in a new one."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(holds(new.get(key), old[key]) for key in old)
    if isinstance(old, list):
        if not isinstance(new, list) or len(new) != len(old):
            return False
        return all(holds(*pair) for pair in zip(new, old, strict=True))
    return new == old


async def test_a_database_of_the_first_edition_opens_and_its_kinds_stay_as_they_are(
    tmp_path: Path,
) -> None:
    path = tmp_path / "monostat.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(FIRST_EDITION.read_text())
        before = file.execute("SELECT * FROM facts ORDER BY kind, key").fetchall()
    assert {kind for kind, _, _ in before} == {row.name for row in KINDS.values()}
    async with open_store(path, now=START, has_slack=True) as store:
        for cls, row in KINDS.items():
            facts: list[Fact] = await store.find(cls)
            assert len(facts) == sum(kind == row.name for kind, _, _ in before)
            await store.put(*facts)
        with closing(sqlite3.connect(path)) as file:
            now = file.execute("SELECT * FROM facts ORDER BY kind, key").fetchall()
        assert [row[:2] for row in now] == [row[:2] for row in before]
        for (_, _, old), (_, _, new) in zip(before, now, strict=True):
            assert holds(json.loads(new), json.loads(old))  # new fields have defaults
        assert len(await store.untold()) == 5
        board = await board_on(store)
        assert board.state.incidents.keys() == {1, 2, 3}
        await board.submit(Act(at=START, verb="resolve", by="Ada", incident=2))
        with closing(sqlite3.connect(path)) as file:
            kinds = {kind for (kind,) in file.execute("SELECT DISTINCT kind FROM facts")}
    assert kinds == {row.name for row in KINDS.values()}
