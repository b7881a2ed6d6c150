"""The ancestor's `manage.py dumpdata` as records."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monostat.core.events import Record, Sentence
from monostat.core.model import CONFIRMED, DISMISSED, PLANNED, RESOLVED, SUSPECTED, Severity, Status
from monostat.history.fields import Item, Reading, Unreadable, id_of, member_of, name_of, words

Row = Mapping[str, Any]
SUBSCRIBERS = "notifications.subscriber"
NO_HISTORY = (SUSPECTED, DISMISSED)


def read_dump(reading: Reading, rows: Sequence[Row]) -> None:
    """Reads the incidents with their updates; alerts were for staff, and stay behind."""
    updates = defaultdict[str, list[Row]](list)
    incidents = {}
    counts = Counter[str]()
    for row in rows:
        model = words(row.get("model"))
        fields = row.get("fields")
        if not isinstance(fields, dict):
            continue
        counts[model] += 1
        if model == "core.incident":
            incidents[id_of(row.get("pk"))] = fields
        if model == "core.incidentupdate":
            updates[id_of(fields.get("incident"))].append(fields)
    unconfirmed = 0
    for number, fields in incidents.items():
        if member_of(Status, fields.get("status")) in NO_HISTORY:
            unconfirmed += 1
        else:
            read_incident(reading, number, fields, updates[number])
    if unconfirmed:
        reading.left_out.append(
            f"Suspicions that nobody confirmed, which are no history: {unconfirmed}."
        )
    orphans = sum(len(rows) for number, rows in updates.items() if number not in incidents)
    if orphans:
        reading.left_out.append(f"Updates of incidents that are not in this file: {orphans}.")
    if counts[SUBSCRIBERS]:
        reading.hints.append(
            f"Subscribers in this file: {counts[SUBSCRIBERS]}. They are not taken: export their"
            " addresses as CSV, and import that in Rapidmail, into the recipient list of"
            " rapidmail.recipientlist_id."
        )


def read_incident(reading: Reading, number: str, fields: Row, updates: Iterable[Row]) -> None:
    """Reads one incident as a record, or a line that says why it is none."""
    title = words(fields.get("title")).strip() or "an incident without a title"
    item = Item(fields=fields, name=name_of(title, number), read_at=reading.read_at)
    try:
        reading.records.append(record_of(item, number, updates))
    except Unreadable as problem:
        reading.left_out.append(f"{item.name}: {problem}.")
    else:
        reading.changed += item.changed


def record_of(item: Item, number: str, updates: Iterable[Row]) -> Record:
    """The record of an incident; raises Unreadable where it is none of the past."""
    fields = item.fields
    if not number:
        raise Unreadable("it has no pk to be known by the next time")
    status = words(fields.get("status"))
    if status == PLANNED:
        raise Unreadable("it is planned there: plan it here with `monostat incident plan`")
    if status != RESOLVED:
        raise Unreadable(
            f"it is {status[:40]!r} there, and not over: import it once it is resolved"
        )
    severity = member_of(Severity, fields.get("severity"))
    if severity is None:
        item.say("its severity is unknown, so that it becomes a notice")
        severity = Severity.NOTICE
    sentences = tuple(said(item, updates))
    created = item.time("created")
    start = item.time("start") or created
    ends = [sentence.at for sentence in sentences if sentence.status is RESOLVED]
    end = item.time("end") or max(ends, default=item.time("updated") or created)
    start, end = item.span(start, end)
    return Record(
        source=f"django/{number}",
        title=item.title(fields.get("title"), severity.label),
        severity=severity,
        started_at=start,
        ended_at=end,
        created_at=created or start,
        updated_at=item.time("updated") or end,
        summary=item.body(fields.get("summary"), "the summary"),
        updates=sentences,
    )


def said(item: Item, updates: Iterable[Row]) -> Iterable[Sentence]:
    """Its updates, oldest first; one without a new status keeps the last."""
    timed = []
    for row in updates:
        at = item.time("created", row) or item.time("created")
        if at is None:
            item.say("an update has no time that can be read, and is left out")
            continue
        timed.append((min(at, item.read_at), row))
    timed.sort(key=lambda pair: pair[0])
    status: Status = CONFIRMED
    for at, row in timed:
        new = row.get("new_status")
        if new is not None and member_of(Status, new) is None:
            item.say(f"an update has the unknown status {str(new)[:40]!r}, and keeps the last one")
        status = member_of(Status, new) or status
        yield Sentence(status=status, at=at, text=item.body(row.get("message"), "an update"))
