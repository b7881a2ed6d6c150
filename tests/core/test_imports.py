"""Incidents that were over before they came here: they alert nobody until somebody reopens one."""

from dataclasses import replace
from typing import Any

import pytest

from monostat.core.events import Sentence
from monostat.core.model import CONFIRMED, PLANNED, RESOLVED, WATCHING, Severity
from monostat.core.past import NEWEST
from tests.core.histories import NOON, Core, after, kinds, over_elsewhere

LAST_YEAR = NOON - after(300 * 86400)


def imported(**more: Any) -> Core:
    """A core with one incident of elsewhere, as #1."""
    core = Core()
    change = core.imports([replace(over_elsewhere("statuspage/a", LAST_YEAR), **more)], last=True)
    assert change.refused == ""
    return core


def test_an_import_is_over_says_what_was_said_and_is_told_in_one_line() -> None:
    core = Core(texts={"resolved": "It is over."})
    records = [over_elsewhere(f"statuspage/{n}", LAST_YEAR) for n in range(3)]
    assert kinds(core.imports(records[:2])) == []
    change = core.imports(records[2:], added=2, last=True)
    [line] = change.entries
    assert (line.kind, line.incident, line.detail) == ("imported", None, {"count": "3"})
    assert sorted(core.rows) == [1, 2, 3]
    incident = core.incident
    assert (incident.status, incident.ended_at) == (RESOLVED, LAST_YEAR)
    assert incident.updated_at == LAST_YEAR
    said = [update.text for update in incident.updates]
    assert said == ["We are looking into it.", "It is over."]
    assert len({update.id for each in core.rows.values() for update in each.updates}) == 6
    assert core.state.mails == {}


def test_the_home_tab_keeps_our_own_incidents_however_many_are_imported() -> None:
    core = Core()
    core.does("create", title="Our own", severity=Severity.PARTIAL, mail=False)
    core.does("resolve", 1, mail=False)
    core.passes(60)
    numbers = range(3 * NEWEST)
    core.imports([over_elsewhere(f"statuspage/{n}", LAST_YEAR) for n in numbers], last=True)
    core.passes(400 * 86400)
    assert [*core.state.incidents] == [1]
    made = core.does("create", title="Another", severity=Severity.PARTIAL, mail=False)
    core.does("resolve", made.number, mail=False)
    core.passes(400 * 86400)
    assert [*core.state.incidents] == [1, made.number]


def test_the_same_import_again_adds_nothing_and_overwrites_no_edit() -> None:
    core = imported()
    core.does("edit", 1, changes={"title": "What it was"})
    before = core.rows
    record = over_elsewhere("statuspage/a", LAST_YEAR)
    assert kinds(core.imports([record], last=True)) == []
    assert core.rows == before
    # Those that are known but not in memory, the store names.
    core.imports([over_elsewhere("statuspage/b", LAST_YEAR)], known=frozenset({"statuspage/b"}))
    # One's own export is here already.
    core.imports([over_elsewhere(f"monostat/{core.state.birth.page_id}/1", LAST_YEAR)])
    assert core.rows == before
    both = [over_elsewhere("statuspage/c", LAST_YEAR)] * 2
    core.imports(both)
    assert len(core.rows) == 2


def test_an_imported_incident_is_announced_once_it_is_reopened_and_not_before() -> None:
    core = imported()
    core.does("edit", 1, changes={"title": "What it was"})
    core.passes(60)
    assert core.of(1).announced_at is None
    assert core.does("reopen", 1).status is CONFIRMED
    core.does("undo", 1)
    core.passes(60)
    assert core.of(1).status is RESOLVED
    assert core.of(1).announced_at is None
    core.does("reopen", 1)
    assert len(core.state.mails) == 1
    core.passes(31)
    assert core.of(1).announced_at == core.at
    core.does("resolve", 1)
    assert core.of(1).ended_at == core.at


def test_what_was_touched_here_stays_in_mind_although_the_clock_is_set_back() -> None:
    core = imported()
    assert core.state.incidents == {}
    core.passes(-3600)
    core.does("reopen", 1)
    assert list(core.state.incidents) == [1]
    core.does("undo", 1)
    # Slack has to hear of that, too.
    assert list(core.state.incidents) == [1]


def test_who_said_nothing_gets_the_ready_sentence_of_the_kind_and_who_has_no_updates_the_end() -> (
    None
):
    texts = {"confirmed": "C", "watching": "W", "resolved": "R", "started": "S", "completed": "E"}
    core = Core(texts=texts | {"planned": "P"})
    record = over_elsewhere("statuspage/a", LAST_YEAR)
    statuses = (PLANNED, CONFIRMED, WATCHING, RESOLVED)
    silent = tuple(Sentence(status=status, at=LAST_YEAR) for status in statuses)
    works = replace(record, source="b", severity=Severity.MAINTENANCE, updates=silent)
    core.imports(
        [replace(record, updates=silent[1:]), works, replace(record, source="c", updates=())]
    )
    said = {n: [update.text for update in each.updates] for n, each in core.rows.items()}
    assert said[1] == ["C", "W", "R"]
    assert said[2][0] == "P"
    assert said[2][1:] == ["S", "W", "E"]
    assert said[3] == ["R"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ended_at": NOON + after(60)},
        {"started_at": LAST_YEAR + after(1)},
        {"title": ""},
        {"title": "x" * 151},
        {"summary": "x" * 20_001},
        {"started_at": LAST_YEAR.replace(tzinfo=None)},
    ],
    ids=str,
)
def test_what_cannot_be_kept_is_refused_with_the_whole_batch(wrong: dict[str, Any]) -> None:
    core = Core()
    good = over_elsewhere("statuspage/a", LAST_YEAR)
    bad = replace(over_elsewhere("statuspage/b", LAST_YEAR), **wrong)
    assert core.imports([good, bad], last=True).refused.startswith("statuspage/b:")
    assert core.rows == {}


def test_undo_and_send_of_an_imported_incident_are_refused_with_a_sentence() -> None:
    core = imported()
    assert "nothing to undo" in core.refuses("undo", 1)
