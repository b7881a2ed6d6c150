"""What documents of elsewhere become: recorded shapes, odd ones, and any JSON at all."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monostat.core.events import Record
from monostat.core.model import CONFIRMED, PLANNED, RESOLVED, WATCHING, Severity
from monostat.history.bodies import markdown_of
from monostat.history.fields import Item, Reading, Unreadable
from tests.history.documents import read

FILES = Path(__file__).parent.parent / "data" / "history"
NOW = datetime(2025, 11, 4, tzinfo=UTC)


def read_file(name: str) -> tuple[Reading, dict[str, Record]]:
    """What is in a file, and its records by their ids there."""
    reading = read((FILES / name).read_bytes(), NOW)
    return reading, {record.source.rpartition("/")[2]: record for record in reading.records}


def test_an_answer_of_the_public_api_becomes_records_oldest_first() -> None:
    reading, records = read_file("incidents.json")
    assert list(records) == ["zt5n8d3c6w2r", "bq7s1f4ykx0l", "kctbh9vrtdwd"]
    assert reading.changed == []
    [left_out] = reading.left_out
    assert left_out.startswith("“Checkout is unavailable” (9xq2v7n4m1pk): it is investigating")
    uploads = records["kctbh9vrtdwd"]
    assert uploads.source == "statuspage/kctbh9vrtdwd"
    assert uploads.severity is Severity.PARTIAL
    assert uploads.started_at == datetime(2025, 10, 14, 9, 5, tzinfo=UTC)
    assert uploads.ended_at == datetime(2025, 10, 14, 10, 40, 2, 719000, tzinfo=UTC)
    assert [said.status for said in uploads.updates] == [CONFIRMED, CONFIRMED, WATCHING, RESOLVED]
    # What was shown counts, not when it was typed.
    assert uploads.updates[0].at == datetime(2025, 10, 14, 9, 8, tzinfo=UTC)
    assert uploads.updates[1].text == "One of our storage nodes is full &amp; was taken out."
    assert uploads.updates[2].text == (
        "A fix is in place.\n\nWe are **watching** the results,"
        " see [our notes](<https://northwind.example/docs?a=1&b=2>)."
    )
    logins = records["bq7s1f4ykx0l"]
    assert [said.status for said in logins.updates] == [CONFIRMED, RESOLVED]
    assert logins.updates[1].text == ""
    assert logins.summary.endswith("- A query lacked an index.\n- It has one now.")
    assert records["zt5n8d3c6w2r"].severity is Severity.NOTICE
    assert records["zt5n8d3c6w2r"].updates == ()


def test_a_maintenance_begins_when_it_was_planned_and_not_when_it_was_announced() -> None:
    reading, records = read_file("scheduled-maintenances.json")
    assert "plan it here" in reading.left_out[0]
    migration = records["3h5wq9j2x7vc"]
    assert migration.severity is Severity.MAINTENANCE
    assert migration.started_at == migration.planned_start == datetime(2025, 8, 9, 2, tzinfo=UTC)
    assert migration.planned_end == datetime(2025, 8, 9, 4, tzinfo=UTC)
    assert migration.ended_at == datetime(2025, 8, 9, 4, 10, tzinfo=UTC)
    statuses = [said.status for said in migration.updates]
    assert statuses == [PLANNED, CONFIRMED, WATCHING, RESOLVED]
    old = records["1d6kz4r8p0sf"]
    assert old.started_at == old.planned_start == datetime(2019, 5, 4, 3, tzinfo=UTC)


def test_a_list_of_the_private_api_is_read_whatever_stands_in_it_and_nothing_is_lost_unsaid() -> (
    None
):
    reading, records = read_file("v1.json")
    assert len(records["5m8x2q9v4c7n"].updates) == 300
    payments = records["2f9d6w1k8z3j"]
    assert payments.title == "Payments <EU> delayed"
    assert payments.summary == "### What happened\n\nA queue filled up."
    assert [said.text for said in payments.updates] == ["Resolved."]
    long = records["6r3t0y8u5i2o"]
    assert long.title == "x" * 149 + "…"
    assert long.ended_at == datetime(2022, 1, 1, 12, tzinfo=UTC)
    assert [len(said.text) for said in long.updates] == [5, 20_000]
    backwards = records["4b7n1m5v9c3x"]
    assert (backwards.started_at, backwards.severity) == (backwards.ended_at, Severity.NOTICE)
    assert records["3h5wq9j2x7vc"].started_at == datetime(2025, 8, 9, 2, tzinfo=UTC)
    notes = "\n".join(reading.changed)
    for words in (
        "'not a time' is not a time",
        "the title is shortened to 150",
        "the unknown status 'glowing'",
        "has 20,100 characters, and is shortened to 20,000",
        "the impact 'mysterious' is unknown",
        "ends before it starts",
    ):
        assert words in notes
    assert [line.partition(":")[0] for line in reading.left_out] == [
        "“Without an id”",
        "“Without a time” (8g5h2j9k6l3z)",
    ]


@pytest.mark.parametrize(
    ("body", "kept", "told"),
    [
        ("x" * 300_000, 20_000, "has 300,000 characters, and is shortened to 20,000"),
        ("<i> </i>" * 40_000, 1, "has 320,000 characters, and is shortened to 1"),
    ],
)
def test_a_text_that_is_cut_is_named_however_it_was_written(
    body: str, kept: int, told: str
) -> None:
    item = Item(fields={}, name="“It”", read_at=NOW)
    assert len(item.body(body, "an update")) == kept
    assert item.changed == [f"“It”: an update {told}."]


def test_a_dump_of_the_ancestor_brings_what_was_public_and_over() -> None:
    reading, records = read_file("django.json")
    assert list(records) == ["1", "2"]
    shops = records["1"]
    assert shops.source == "django/1"
    assert [(said.status, said.text) for said in shops.updates] == [
        (CONFIRMED, "We are looking into it."),
        (CONFIRMED, "We found the cause."),
        (RESOLVED, ""),
    ]
    upgrade = records["2"]
    assert upgrade.severity is Severity.MAINTENANCE
    assert upgrade.started_at == datetime(2021, 6, 10, 22, 30, tzinfo=UTC)
    assert upgrade.summary == "We *upgrade* our database."
    left_out = "\n".join(reading.left_out)
    for words in ("“Slow mails” (4)", "“Later” (5)", "nobody confirmed", "not in this file: 1"):
        assert words in left_out
    [hint] = reading.hints
    assert "Subscribers in this file: 2" in hint
    assert "Rapidmail" in hint
    assert "SECRET" not in str(reading)


def test_a_time_without_an_offset_is_one_of_the_pages_zone() -> None:
    row = {"id": "a", "name": "It", "status": "resolved", "created_at": "2025-07-01 10:00:00"}
    document = {"page": {"time_zone": "Europe/Berlin"}, "incidents": [row]}
    [record] = read(json.dumps(document).encode(), NOW).records
    assert record.started_at == datetime(2025, 7, 1, 8, tzinfo=UTC)


def test_what_is_later_than_now_is_no_history() -> None:
    row = {"id": "a", "name": "It", "status": "resolved", "created_at": "2098-07-01T10:00:00Z"}
    reading = read(json.dumps([row | {"impact": "none"}]).encode(), NOW)
    assert "is in the future" in reading.left_out[0]
    assert reading.records == []


def test_the_same_incident_twice_in_a_file_is_taken_once() -> None:
    row = {"id": "a", "name": "It", "status": "resolved", "created_at": "2025-07-01T10:00:00Z"}
    reading = read(json.dumps({"incidents": [row, row | {"name": "Older"}]}).encode(), NOW)
    assert [record.title for record in reading.records] == ["It"]
    assert reading.left_out == [
        "Incidents that were there twice or more, and are imported once: 1."
    ]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"\n <!DOCTYPE html><title>Login</title>", "this is a web page, not JSON"),
        (b'{"incidents": [{"id": "a', "not JSON, or is incomplete: Unterminated string"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"17", "no incidents in it"),
        (b'{"incidents": {}}', "no incidents in it"),
        (b'[{"name": "a list of something else"}]', "no incidents in it"),
    ],
)
def test_what_is_no_history_is_refused_with_what_to_give_instead(
    document: bytes, words: str
) -> None:
    with pytest.raises(Unreadable, match=words):
        read(document, NOW)


@pytest.mark.parametrize(
    ("body", "markdown"),
    [
        ("1 < 2 & *so* on\nand on", "1 < 2 & *so* on\nand on"),
        ("a<br />b<br/>\nc", "a\nb\nc"),
        ("a\n<b>b </b>c", "a\n**b** c"),
        ("So:\n- a\n- b<br />\nc", "So:\n- a\n- b\nc"),
        ("<p>a</p><p>b &lt;c&gt;</p>", "a\n\nb <c>"),
        ("<ul><li>a</li><li>b<ol><li>c</ol></ul>d", "- a\n- b\n\n  1. c\n\nd"),
        ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b"),
        ("<pre><code>x  = 1\ny</code></pre>", "```\nx  = 1\ny\n```"),
        ("<a href='javascript:x'>a</a> <a href='https://b.example'>https://b.example</a>", "a <https://b.example>"),
        ("<h2>A</h2><img alt='[b]' src='https://b.example/i.png'>", "**A**\n\n[\\[b\\]](<https://b.example/i.png>)"),
        ("<script>a()</script><!-- b --><p>c<![d[", "c<![d["),
        (f"&#{'9' * 5000};<p>", f"&#{'9' * 5000};<p>"),
    ],
)  # fmt: skip
def test_a_body_of_html_becomes_markdown(body: str, markdown: str) -> None:
    assert markdown_of(body) == markdown


TIMES = st.sampled_from(
    ["2025-01-01T10:00:00Z", "2025-01-01 11:00:00+0200", "9999-12-31T23:59:59-14:00", "soon"]
)
WORDS = st.sampled_from(
    ["resolved", "postmortem", "completed", "scheduled", "monitoring", "critical", "a", "<p>b", "1"]
)
KEYS = st.sampled_from(
    [
        *(
            "id",
            "pk",
            "name",
            "status",
            "impact",
            "created_at",
            "started_at",
            "resolved_at",
            "body",
        ),
        *("scheduled_for", "scheduled_until", "incident_updates", "incidents", "page", "time_zone"),
        *("metadata", "monostat", "updates", "planned_start", "planned_end", "state", "severity"),
        *(
            "model",
            "fields",
            "core.incident",
            "core.incidentupdate",
            "created",
            "start",
            "incident",
        ),
        *("source", "summary", "postmortem_body", "display_at", "scheduled_maintenances"),
    ]
)
LEAVES = TIMES | WORDS | KEYS | st.text() | st.none() | st.booleans() | st.integers() | st.floats()
ANYTHING = st.recursive(
    LEAVES,
    lambda deeper: st.lists(deeper, max_size=4) | st.dictionaries(KEYS, deeper, max_size=6),
    max_leaves=25,
)
ROW = st.fixed_dictionaries(
    {
        "id": WORDS | ANYTHING,
        "name": st.text() | ANYTHING,
        "status": WORDS | ANYTHING,
        "created_at": TIMES | ANYTHING,
        "incident_updates": st.lists(
            st.fixed_dictionaries({"status": WORDS, "body": st.text(), "display_at": TIMES})
            | ANYTHING,
            max_size=4,
        )
        | ANYTHING,
    },
    optional={"resolved_at": TIMES, "impact": ANYTHING, "metadata": ANYTHING},
)
DUMPED = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["core.incident", "core.incidentupdate"]),
        "pk": st.integers(0, 3) | ANYTHING,
        "fields": st.fixed_dictionaries(
            {"status": WORDS, "created": TIMES, "incident": st.integers(0, 3), "title": st.text()}
        )
        | ANYTHING,
    }
)


def is_sound(record: Record) -> bool:
    """Whether it can be kept: what the page, the strip and the store count on."""
    return (
        timedelta(0) <= record.ended_at - record.started_at
        and record.ended_at <= NOW
        and 0 < len(record.title) <= 150
        and all(len(said.text) <= 20_000 and said.at <= NOW for said in record.updates)
        and [said.at for said in record.updates] == sorted(said.at for said in record.updates)
        and not (record.planned_end and not record.planned_start)
    )


@settings(max_examples=60)
@given(ANYTHING | st.lists(ROW, max_size=3) | st.lists(DUMPED, max_size=6))
def test_whatever_json_comes_is_read_or_refused_and_every_record_is_sound(document: Any) -> None:
    try:
        reading = read(json.dumps(document).encode(), NOW)
    except Unreadable:
        return
    assert all(map(is_sound, reading.records))
    assert all(line.endswith(".") for line in (*reading.left_out, *reading.changed))


@settings(max_examples=150)
@given(st.lists(st.sampled_from(["<p>", "</p>", "<li>", "<b>", "</b>", "<pre>", "<a href=x>", "<![", "&#", "<!--", "a", " ", "\n"])).map("".join))  # fmt: skip
def test_no_body_is_too_broken_for_markdown(body: str) -> None:
    assert isinstance(markdown_of(body), str)
