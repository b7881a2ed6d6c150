"""The tables of severities, statuses and verbs: no cell is missing, and nobody else keeps one."""

import pytest

from monostat.core.incidents import ACTIONS, BEGINNINGS
from monostat.core.model import CONFIRMED, Severity, Status
from monostat.core.verbs import OFFERED, VERB, VERBS, Verb


@pytest.mark.parametrize("severity", Severity)
def test_a_severity_has_all_its_cells(severity: Severity) -> None:
    assert severity.label
    assert severity.mark
    assert severity.indicator
    assert severity.indicator_text
    assert list(Severity)[severity.rank] is severity


@pytest.mark.parametrize("status", Status)
def test_a_status_has_all_its_cells(status: Status) -> None:
    assert status.label
    assert bool(status.mark) is (status is not CONFIRMED), "what is confirmed shows how bad it is"
    assert OFFERED[status]


def test_no_two_rows_look_the_same() -> None:
    for rows in (list(Severity), list(Status)):
        assert len({row.label for row in rows}) == len(rows)
    marks = [row.mark for row in (*Severity, *Status)]
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_verb_has_all_its_cells_and_one_thing_that_it_does(verb: Verb) -> None:
    assert VERB[verb.name] is verb
    assert verb.label
    assert verb.entry
    assert "{by}" in verb.line
    assert bool(verb.leads_to) == bool(verb.allowed) == bool(verb.sentence)
    assert bool(verb.takes) == bool(verb.does) == bool(verb.done)
    assert verb.can_mail or not verb.mails
    does = [bool(verb.leads_to), verb.name in BEGINNINGS, verb.name in ACTIONS]
    assert sum(does) == 1


def test_whatever_is_offered_is_a_verb_that_the_status_allows() -> None:
    for status, names in OFFERED.items():
        for name in names:
            verb = VERB[name.partition(":")[0]]
            assert not verb.leads_to or status in verb.allowed
