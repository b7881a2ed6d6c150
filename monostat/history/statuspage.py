"""Statuspage's incidents and maintenances as records.

The public API's answers, and the bare lists of the private one: https://metastatuspage.com/api/v2
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from monostat.core.events import Record, Sentence
from monostat.core.lenient import object_of, objects_of
from monostat.core.model import CONFIRMED, PLANNED, RESOLVED, WATCHING, Severity, Status
from monostat.history.fields import (
    Item,
    Reading,
    Unreadable,
    id_of,
    member_of,
    name_of,
    words,
    zone_of,
)

SEVERITIES = {
    "none": Severity.NOTICE,
    "maintenance": Severity.MAINTENANCE,
    "minor": Severity.BUG,
    "major": Severity.PARTIAL,
    "critical": Severity.OUTAGE,
}
STATUSES = {
    "investigating": CONFIRMED,
    "identified": CONFIRMED,
    "monitoring": WATCHING,
    "resolved": RESOLVED,
    "scheduled": PLANNED,
    "in_progress": CONFIRMED,
    "verifying": WATCHING,
    "completed": RESOLVED,
}
OVER = ("resolved", "postmortem", "completed")
SOURCE = re.compile("(?:statuspage|django|monostat)/[A-Za-z0-9_/-]{1,140}")
POSTMORTEM = "the post-mortem"
PUBLIC = 50  # incidents in an answer of the public API
OLDER_ONES = (
    f"The public API has only the newest {PUBLIC}. Older ones come from the private one, page by"
    " page, with a key of the page's owner: curl -H 'Authorization: OAuth KEY'"
    " 'https://api.statuspage.io/v1/pages/PAGE_ID/incidents.json?limit=100&page=1' > 1.json, and so"
    " on, then monostat import *.json."
)
SUBSCRIBERS = (
    "Subscribers do not come along: the page's owner exports them as CSV, and Rapidmail imports"
    " that into the recipient list of rapidmail.recipientlist_id."
)
LISTS = ("incidents", "scheduled_maintenances")


class Line(NamedTuple):
    """An update as it stands there: when it was said, the word for its status, and the rest."""

    at: datetime
    word: str
    fields: Mapping[str, Any]


def read_lists(reading: Reading, document: Mapping[str, Any]) -> None:
    """Reads an answer of the public API: incidents, maintenances, or both."""
    zone_name = object_of(document.get("page")).get("time_zone")
    for name in LISTS:
        read_list(reading, document.get(name), words(zone_name))
        if len(objects_of(document.get(name))) == PUBLIC:
            reading.hints.append(OLDER_ONES)
    reading.hints.append(SUBSCRIBERS)


def read_list(reading: Reading, rows: object, zone_name: str = "") -> None:
    """Reads incidents and maintenances, each as a record, or a line that says why it is none."""
    zone = zone_of(zone_name)
    for row in objects_of(rows):
        title = words(row.get("name")).strip() or "an incident without a title"
        item = Item(
            fields=row,
            name=name_of(title, id_of(row.get("id"))),
            read_at=reading.read_at,
            zone=zone,
            ours=object_of(object_of(row.get("metadata")).get("monostat")),
        )
        try:
            reading.records.append(record_of(item))
        except Unreadable as problem:
            reading.left_out.append(f"{item.name}: {problem}.")
        else:
            reading.changed += item.changed


def record_of(item: Item) -> Record:
    """The record of an incident; raises Unreadable where it is none of the past."""
    fields = item.fields
    number = id_of(fields.get("id"))
    if not number:
        raise Unreadable("it has no id to be known by the next time: give it one in the file")
    refuse_what_is_not_over(item)
    severity = severity_of(item)
    lines = lines_of(item)
    start, end = item.span(start_of(item, severity, lines), end_of(item, lines))
    plan = item.plan("scheduled_for", "scheduled_until", fields)
    summary = item.body(fields.get("postmortem_body"), POSTMORTEM)
    for line in lines:
        if line.word == "postmortem" and not summary:
            summary = item.body(line.fields.get("body"), POSTMORTEM)
    record = Record(
        source=source_of(item, number),
        title=item.title(fields.get("name"), severity.label),
        severity=severity,
        started_at=start,
        ended_at=end,
        planned_start=plan[0],
        planned_end=plan[1],
        created_at=item.time("created_at") or start,
        updated_at=item.time("updated_at") or end,
        summary=summary,
        updates=tuple(said(item, lines)),
    )
    if item.ours:
        record = with_ours(item, record)
    return record


def source_of(item: Item, number: str) -> str:
    """What it is known by for ever; a bare number is one of another monostat, and of its page."""
    source = words(item.ours.get("source"))
    if SOURCE.fullmatch(source):
        return source
    page = id_of(item.fields.get("page_id"))
    if number.isdecimal() and page:
        return f"monostat/{page}/{number}"
    return f"statuspage/{number}"


def refuse_what_is_not_over(item: Item) -> None:
    """Raises Unreadable for what still goes on there, or is planned."""
    word = words(item.fields.get("status"))
    if word in OVER:
        return
    if word == "scheduled":
        start = item.time("scheduled_for")
        if start and start > item.read_at:
            raise Unreadable("it lies in the future: plan it here with `monostat incident plan`")
    if word in STATUSES:
        raise Unreadable(f"it is {word} there, and not over: import it once it is")
    raise Unreadable(f"nobody knows whether it is over, its status is {word[:40]!r}")


def severity_of(item: Item) -> Severity:
    """The inverse of the API's own mapping, `statuspage_api.md` section 4."""
    impact = item.fields.get("impact")
    if item.fields.get("scheduled_for"):
        return Severity.MAINTENANCE
    severity = SEVERITIES.get(words(impact))
    if severity is None and impact is not None:
        item.say(f"the impact {str(impact)[:40]!r} is unknown, so that it becomes a notice")
    return severity or Severity.NOTICE


def lines_of(item: Item) -> list[Line]:
    """Its updates, oldest first, by the times that the page showed."""
    lines = []
    for row in reversed(objects_of(item.fields.get("incident_updates"))):
        at = item.time("display_at", row) or item.time("created_at", row)
        at = at or item.time("created_at")
        if at is None:
            item.say("an update has no time that can be read, and is left out")
            continue
        lines.append(Line(min(at, item.read_at), words(row.get("status")), row))
    return sorted(lines, key=lambda line: line.at)


def start_of(item: Item, severity: Severity, lines: list[Line]) -> datetime | None:
    """When it began; a maintenance no earlier than planned or said: it was announced before."""
    start = item.time("started_at")
    if severity is Severity.MAINTENANCE and not item.ours:
        begun = [line.at for line in lines if line.word in ("in_progress", "verifying")]
        if planned := item.time("scheduled_for"):
            begun.append(planned)
        if begun and (start is None or start < min(begun)):
            return min(begun)
    return start or min((line.at for line in lines), default=item.time("created_at"))


def end_of(item: Item, lines: list[Line]) -> datetime | None:
    """When it was over: as it says, or its last update of that kind, or its last change."""
    if end := item.time("resolved_at"):
        return end
    ends = [line.at for line in lines if line.word in ("resolved", "completed")]
    return max(ends, default=item.time("updated_at") or item.time("created_at"))


def said(item: Item, lines: Iterable[Line]) -> Iterable[Sentence]:
    """Its public sentences; a post-mortem is none, it becomes the summary."""
    states = object_of(item.ours.get("updates"))
    status: Status = CONFIRMED
    for line in lines:
        if line.word == "postmortem":
            continue
        if line.word not in STATUSES:
            item.say(f"an update has the unknown status {line.word[:40]!r}, and keeps the last one")
        status = STATUSES.get(line.word, status)
        ours = object_of(states.get(id_of(line.fields.get("id"))))
        yield Sentence(
            status=member_of(Status, ours.get("state")) or status,
            severity=member_of(Severity, ours.get("severity")),
            at=line.at,
            text=item.body(line.fields.get("body"), "an update"),
            edited_at=item.time("edited_at", ours),
        )


def with_ours(item: Item, record: Record) -> Record:
    """The record with what Statuspage's shape cannot hold, as `exporting.py` wrote it."""
    ours = item.ours
    plan = item.plan("planned_start", "planned_end", ours)
    return replace(
        record,
        severity=member_of(Severity, ours.get("severity")) or record.severity,
        summary=item.body(ours.get("summary"), "the summary"),
        planned_start=plan[0],
        planned_end=plan[1],
        noticed_at=item.time("noticed_at", ours),
        confirmed_at=item.time("confirmed_at", ours),
        first_mailed_at=item.time("first_mailed_at", ours),
    )
