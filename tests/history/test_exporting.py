"""Our history in Statuspage's shape, and back again: nothing that readers see is lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from monostat.core.model import RESOLVED, Incident, Severity, Status, Update
from monostat.core.text import one_line, sound
from monostat.history.exporting import export_row, row_to_json
from monostat.public.statuspage import Json
from tests.core.histories import NOON, Core
from tests.history.documents import read

PAGE = "k3v9x2m4q7ab"
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).map(
    lambda text: sound(text).strip() or "<p>a &amp; b</p>"
)
OFFSETS = st.integers(0, 10**9).map(lambda ms: timedelta(milliseconds=ms))
#: What does not come along: numbers, who did it here, and what only Slack needs.
OURS = (
    "number",
    "as_it_came",
    "imported_from",
    "imported_at",
    "status_at",
    "status_entry",
    "reminded_at",
)


def at(offset: timedelta) -> datetime:
    return NOON - timedelta(days=30) + offset


@st.composite
def incidents(draw: Any) -> Incident:
    """One that is over, with whatever a long life here may have left it."""
    number = draw(st.integers(1, 10**6))
    begun, over = sorted([draw(OFFSETS), draw(OFFSETS)])
    some = st.none() | OFFSETS.map(at)
    times = sorted(draw(st.lists(OFFSETS, min_size=1, max_size=5)))
    start = draw(some)
    updates = tuple(
        Update(
            id=1000 + index,
            incident=number,
            status=draw(st.sampled_from(Status)),
            severity=draw(st.sampled_from(Severity)),
            at=at(time),
            text=draw(WORDS),
            edited_at=draw(some),
        )
        for index, time in enumerate(times)
    )
    return Incident(
        number=number,
        title=one_line(draw(WORDS)) or "&lt;",
        severity=draw(st.sampled_from(Severity)),
        status=RESOLVED,
        status_at=at(over),
        status_entry=7,
        started_at=at(begun),
        ended_at=at(over),
        created_at=at(draw(OFFSETS)),
        updated_at=at(draw(OFFSETS)),
        reminded_at=at(over),
        planned_start=start,
        planned_end=start and start + timedelta(hours=draw(st.integers(1, 50))),
        summary=draw(WORDS | st.just("")),
        noticed_at=draw(some),
        confirmed_at=draw(some),
        first_mailed_at=draw(some),
        updates=updates,
    )


def document(rows: list[Json]) -> bytes:
    """What `monostat export` writes."""
    return f"[{','.join(map(row_to_json, rows))}]".encode()


def as_readers_see(incident: Incident) -> Incident:
    """The incident without what is not theirs, and with ids that count from one."""
    updates = tuple(
        replace(update, id=index, incident=0, by="")
        for index, update in enumerate(incident.updates)
    )
    same = {name: getattr(BLANK, name) for name in OURS}
    return replace(incident, **same, updates=updates)


BLANK = Incident(
    number=0,
    title="",
    severity=Severity.BUG,
    status=RESOLVED,
    status_at=NOON,
    status_entry=0,
    started_at=NOON,
    created_at=NOON,
    updated_at=NOON,
    reminded_at=NOON,
)


@settings(max_examples=60)
@given(st.lists(incidents(), max_size=4, unique_by=lambda incident: incident.number))
def test_what_is_exported_and_imported_elsewhere_reads_there_as_it_did_here(
    ours: list[Incident],
) -> None:
    rows = [export_row(each, url="https://status.example", page_id=PAGE) for each in ours]
    reading = read(document(rows), NOON)
    assert (reading.left_out, reading.changed, reading.hints) == ([], [], [])
    elsewhere = Core()
    elsewhere.imports(reading.records)
    theirs = {each.imported_from: each for each in elsewhere.rows.values()}
    assert sorted(theirs) == sorted(f"monostat/{PAGE}/{each.number}" for each in ours)
    for each in ours:
        assert as_readers_see(theirs[f"monostat/{PAGE}/{each.number}"]) == as_readers_see(each)
    # What comes from elsewhere keeps the name it had there, however often it is handed on.
    again = [export_row(each, url="https://b.example", page_id="b") for each in theirs.values()]
    handed_on = read(document(again), NOON).records
    assert sorted(record.source for record in handed_on) == sorted(theirs)
    before = elsewhere.rows
    elsewhere.imports(handed_on)
    assert elsewhere.rows == before


def test_the_export_is_what_clients_of_statuspage_read() -> None:
    incident = replace(
        BLANK,
        number=17,
        title="Uploads fail",
        severity=Severity.OUTAGE,
        ended_at=datetime(2026, 3, 1, 12, 0, 0, 719000, UTC),
        updates=(
            Update(
                id=41,
                incident=17,
                status=RESOLVED,
                severity=Severity.OUTAGE,
                at=NOON,
                text="It *works*.",
            ),
        ),
    )
    row = export_row(incident, url="https://status.example", page_id=PAGE)
    assert row["impact"] == "critical"
    assert row["shortlink"] == "https://status.example/incidents/17"
    assert row["incident_updates"][0]["body"] == "It *works*."
    assert row["metadata"]["monostat"]["number"] == 17
    assert '"resolved_at": "2026-03-01T12:00:00.719000Z"' in row_to_json(row)
