"""Incidents that are long over: out of the state, and still read, acted on and told of."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from monostat.app import utcnow
from monostat.core.decide import decide
from monostat.core.events import Act, Changes, Tick
from monostat.core.model import Monitoring, State
from monostat.core.past import NEWEST
from monostat.demo.slack import Message
from monostat.engine import LAST_DAYS, Engine
from monostat.languages import load_words
from monostat.ops.metrics import TELEMETRY
from monostat.public import feeds, statuspage
from monostat.public.days import Span
from monostat.store import open_store
from tests.boards import BRIEF, START, board_on, snapshot
from tests.slack.flows import ME, confirmed, told
from tests.waiting import eventually
from tests.world import World

ENGLISH = load_words("en")
YEARS = timedelta(days=800)


async def stories(board: Engine, many: int) -> datetime:
    """So many of every kind, one a day, all over; the time then."""
    at = START
    for number in range(1, many + 1):
        at = START + timedelta(days=number)
        verb = ("create", "plan", "create")[number % 3]
        ends = at + timedelta(hours=2) if verb == "plan" else None
        starts = at + timedelta(hours=1) if verb == "plan" else None
        for step in (
            Act(
                at=at,
                verb=verb,
                by="Ada",
                title=f"Story {number}",
                start=starts,
                end=ends,
                mail=False,
            ),
            Act(at=at + timedelta(hours=3), verb="resolve", by="Ada", incident=number, mail=False),
            Tick(at=at + timedelta(hours=4)),
        ):
            await board.submit(step)
        if number % 4 == 0:
            later = at + timedelta(hours=5)
            await board.submit(
                Act(at=later, verb="edit", by="Bob", incident=number // 2, changes=rename(number))
            )
    return at


def rename(number: int) -> Changes:
    return Changes(title=f"Another title, {number}")


async def test_rows_answer_like_a_walk_through_all_incidents(tmp_path: Path) -> None:
    async with open_store(tmp_path / "monostat.db", now=START, has_slack=False) as store:
        board = await board_on(store)
        at = await stories(board, 130)
        rows = {row.number: row async for some in store.archive.all() for row in some}
        assert [*rows] == [*range(130, 0, -1)]
        assert len(board.state.incidents) < 130 / 2
        announced = [row for row in rows.values() if row.announced_at]
        assert len(announced) == 130
        listed = await store.archive.listed(statuspage.MAX_LISTED)
        for is_plan in (True, False):
            of_kind = [row for row in announced if statuspage.is_scheduled(row) is is_plan]
            found = [row for row in listed if statuspage.is_scheduled(row) is is_plan]
            assert found == of_kind[: statuspage.MAX_LISTED]
        changed = await store.archive.changed(50)
        assert feeds.history(changed) == feeds.history(announced)
        assert await store.archive.first_start() == rows[1].started_at == board.first_start
        last_days = [row for row in rows.values() if row.ended_at and row.ended_at > at - LAST_DAYS]
        assert {(each.number, each.title) for each in board.episodes} == {
            (row.number, row.title) for row in last_days
        }
        for begin in (START, START + timedelta(days=60), at):
            end = begin + timedelta(days=9)
            happened = {
                row.number
                for row in rows.values()
                if Span(row.started_at, row.ended_at or at).touches(begin, end)
            }
            placed = await store.archive.placed(begin, end)
            assert happened <= {row.number for row in placed}
            assert len(placed) <= len(happened) + 2, "a second more on both sides"
            assert all(row == rows[row.number] for row in placed)
            episodes = await store.archive.episodes(begin, end)
            assert {(each.number, each.title) for each in episodes} == {
                (row.number, row.title) for row in placed
            }


async def test_a_past_incident_is_acted_on_and_makes_versions_only_where_it_changes(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path / "monostat.db", now=START, has_slack=False) as store:
        board = await board_on(store)
        at = await stories(board, NEWEST + 5)
        at += YEARS
        await board.submit(Tick(at=at))
        assert 3 not in board.state.incidents
        version = board.version.number

        async def act(verb: str, number: int = 3, **more: Any) -> str:
            event = Act(at=at, verb=verb, by="Eve", incident=number, mail=False, **more)
            return (await board.submit(event)).refused

        assert await act("resolve") == (
            "Ada got there first: #3 has been resolved (partial) since 2026-11-27T13:00:00Z."
        )
        assert "Too late to undo" in await act("undo")
        assert "There is no incident #99." in await act("watch", 99)
        assert (3 in board.state.incidents, board.version.number) == (False, version)
        assert await act("edit", changes=rename(3)) == ""
        assert board.version.number == version + 1
        assert board.state.incidents[3].title == "Another title, 3"
        at += timedelta(days=8)
        await board.submit(Tick(at=at))
        assert (3 in board.state.incidents, board.version.number) == (False, version + 1)
        assert await act("reopen") == ""
        assert await act("undo") == ""
        assert await act("reopen") == ""
        at += YEARS
        await board.submit(Tick(at=at))
        assert board.state.incidents[3].is_open
        assert [incident.number for incident in board.snapshot.open] == [3]


async def test_a_clock_that_was_a_year_ahead_takes_nothing_off_the_page(tmp_path: Path) -> None:
    clock = [START]
    async with open_store(tmp_path / "monostat.db", now=START, has_slack=False) as store:
        board = Engine(BRIEF, lambda: clock[0], "b", snapshot)
        await board.start(store)
        at = await stories(board, 1)
        for _ in range(NEWEST):
            made = await board.submit(
                Act(at=at, verb="create", by="Eve", title="A slip", mail=False)
            )
            await board.submit(Act(at=at, verb="undo", by="Eve", incident=made.made or 0))
        clock[0] = at + timedelta(hours=6)
        await board.submit(Tick(at=clock[0]))
        assert [incident.number for incident in board.snapshot.recent] == [1]
        await board.submit(Tick(at=clock[0] + YEARS))
        assert not board.state.incidents
        await board.submit(Tick(at=clock[0] + timedelta(minutes=1)))
        assert [incident.number for incident in board.snapshot.recent] == [1]


def test_what_is_over_costs_a_decision_nothing() -> None:
    state = State(epoch="e", monitoring=Monitoring(since=START), checked_at=START)
    for at in weeks(60):
        act = Act(at=at, verb="create", by="Ada", title="Slow", start=at, end=at, mail=False)
        state = decide(state, act, BRIEF).state
    assert state.incidents_made == 60
    assert len(state.incidents) == NEWEST


def weeks(many: int) -> Iterator[datetime]:
    for number in range(many):
        yield datetime(2020, 1, 1, tzinfo=UTC) + timedelta(weeks=number)


async def is_on(world: World, words: str, path: str = "/") -> bool:
    return words in await world.page(path)


async def long_over(world: World) -> tuple[Message, Message]:
    """Years ago there was an outage; its message, and what Ada said in its thread."""
    top = await confirmed(world)
    said = await world.slack.say("U_ADA", f"{ME} We know more.", thread_ts=top.ts)
    await eventually(partial(is_on, world, "We know more."))
    await world.tap("verb:resolve")
    await world.becomes("resolved")
    await eventually(lambda: "Resolved" in world.slack.timeline()[0].text)
    engine = world.app[TELEMETRY].engine
    [alert] = world.opsgenie.alerts
    world.opsgenie.close(alert)
    await eventually(lambda: not engine.state.mails and engine.state.alerts[alert].closed_at)
    await world.stop()
    await world.in_file(  # newer ones were taken back
        "UPDATE facts SET body = json_set(body, '$.newest_own', json('[]')) WHERE kind = 'Memory'"
    )
    await world.start(now=lambda: utcnow() + YEARS)
    await eventually(lambda: world.slack.connections)
    engine = world.app[TELEMETRY].engine
    assert not engine.state.incidents
    return top, said


async def test_staff_and_readers_find_what_is_long_over(world: World) -> None:
    top, said = await long_over(world)
    for path in ("/incidents/1", "/history.atom", "/updates.atom", "/api/v2/incidents.json"):
        assert "We know more." in await world.page(path), path
    await world.slack.edit_message("U_ADA", said.ts, f"{ME} We know it all.")
    await eventually(partial(is_on, world, "We know it all.", "/incidents/1"))
    assert "We know it all." in await world.page("/history.atom")
    await world.slack.say("U_BOB", f"{ME} And one more.", thread_ts=top.ts)
    await eventually(partial(is_on, world, "And one more.", "/incidents/1"))
    await world.act("reopen", incident=1)
    await world.becomes("confirmed")
    await eventually(lambda: "Confirmed" in str(world.slack.timeline()[0].blocks))
    assert len(world.slack.timeline()) == 1


async def test_words_of_long_ago_are_shown_privately_and_can_be_taken_down(world: World) -> None:
    top, said = await long_over(world)
    answer = (await world.slack.slash("U_ADA", "/statuspage", "1")).payload
    assert "verb:reopen" in str(answer["blocks"])
    assert "Post update" in str(answer["blocks"])
    await world.slack.delete_message("U_ADA", said.ts)
    asks = await eventually(
        lambda: next((m for m in world.slack.thread(top.ts) if "Also remove it" in m.text), None)
    )
    await world.slack.press("U_GUS", asks.ts, "verb:take_down")
    await told(world, "U_GUS", "Only full members")
    assert "We know more." in await world.page("/incidents/1")
    await world.slack.press("U_ADA", asks.ts, "verb:take_down")
    await eventually(partial(lacks, world, "We know more.", "/incidents/1"))
    await eventually(lambda: "verb:" not in str(asks.blocks))


async def lacks(world: World, words: str, path: str) -> bool:
    return not await is_on(world, words, path)
