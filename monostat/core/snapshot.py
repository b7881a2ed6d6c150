"""What everybody may know: one value derived from the state, and the feed's messages made of it.

The page, the feed, the badge and every API answer are functions of this snapshot. contracts/feed.md
section 3 is the contract of the messages, contracts/statuspage_api.md section 4 that of indicator
and text.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from monostat.core import model as core
from monostat.core.decide import promised_by
from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    SUSPECTED,
    UNDER_WAY,
    WATCHING,
    Incident,
    Severity,
)

DAY = timedelta(days=1)
#: contracts/feed.md section 7: bytes of a message without its head, the updates of one incident, of
#: which the first number that fits is taken, and the incidents that are over.
FEED_BYTES, FEED_UPDATES, FEED_RECENT = 250_000, (50, 20, 10, 5, 2, 1), 10
#: What the feed tells as it is.
UPDATE = ("severity", "at", "edited_at", "text")
INCIDENT = (
    "title",
    "severity",
    "started_at",
    "ended_at",
    "planned_start",
    "planned_end",
    "created_at",
    "updated_at",
)
#: Statuspage's words, by weight: contracts/statuspage_api.md section 4.
INDICATORS = {
    "none": "All Systems Operational",
    "maintenance": "Service Under Maintenance",
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}  # in the order of the severities
MINOR = 2
#: How long a calendar shows what is over, and how many at most: contracts/feeds_embeds.md section
#: 2.
CALENDAR, CALENDAR_MOST = {core.RESOLVED: 90 * DAY, DISMISSED: 30 * DAY}, 200


def instant(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and a Z, as every feed writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_json(value: object) -> str:
    return json.dumps(value, default=instant, ensure_ascii=False, separators=(",", ":"))


class Headline(NamedTuple):
    """The first thing a visitor reads; `kind` names its icon and colour."""

    kind: str
    text: str
    detail: str = ""
    since: datetime | None = None


class Snapshot(NamedTuple):
    """All that is public at one moment; two whose `digest` is equal need no new version."""

    headline: Headline
    feed: str  # the public part of the `state` message, as JSON
    status: dict[str, Any]  # the part of it about everything
    announced: tuple[Incident, ...]  # what programs may tell people of, newest first
    calendar: tuple[Incident, ...]  # the plans among them that calendars still show
    blind_since: datetime | None  # since when monitoring does not answer
    open: tuple[Incident, ...]
    planned: tuple[Incident, ...]
    recent: tuple[Incident, ...]
    overdue: frozenset[int]  # incidents whose promised next word did not come
    unstarted: frozenset[int]  # plans whose start has come, and who wait to be started
    until: datetime | None  # when time alone makes another one of it

    @property
    def digest(self) -> str:
        """Of all that is public, whatever shows it: pages that are open learn of it by the version
        alone.
        """
        keys = ("number", "sequence", "status", *INCIDENT)
        announced = to_json([[getattr(i, key) for key in keys] for i in self.announced])
        measured = to_json([(i.alerted_at, i.first_mailed_at) for i in (*self.open, *self.recent)])
        public = f"{self.feed}{sorted(self.overdue)}{sorted(self.unstarted)}{announced}{measured}"
        public += str([i.number for i in self.calendar])
        return hashlib.sha256(public.encode()).hexdigest()[:16]


def take(state: core.State, at: datetime, policy: core.Policy, *, name: str, url: str) -> Snapshot:
    """Derives what is public at that time; `name` and `url` (without a slash at the end) are the
    site's.
    """
    everything = sorted(
        state.incidents.values(), key=lambda i: (i.started_at, i.number), reverse=True
    )
    now_open = tuple(i for i in everything if i.is_open)
    planned = [i for i in everything if i.status is core.PLANNED]
    gone = [
        i
        for i in everything
        if i.status is DISMISSED and i.was_plan and i.planned_end and i.planned_end > at
    ]
    upcoming = tuple(
        sorted([*planned, *gone], key=lambda i: (i.planned_start or i.started_at, i.number))
    )
    over = [
        i for i in everything if i.status is core.RESOLVED and i.ended_at and i.ended_at + DAY > at
    ]
    recent = tuple(sorted(over, key=lambda i: (i.ended_at or at, i.number), reverse=True))
    promises = {i.number: by for i in now_open if (by := promised_by(i, policy))}
    cuts = [by for by in promises.values() if by > at] + [
        i.ended_at + DAY for i in recent if i.ended_at
    ]
    cuts += [i.planned_end for i in gone if i.planned_end]
    starts = {i.number: i.planned_start for i in planned if i.planned_start}
    cuts += [start for start in starts.values() if start > at]
    blind_since = state.monitoring.since if policy.monitoring and not state.monitoring.ok else None
    headline = _headline(now_open, blind_since, name)

    def feed(incidents: Iterable[Incident], most: int) -> list[dict[str, Any]]:
        return [feed_incident(i, url, promises.get(i.number), most) for i in incidents]

    status = _status(now_open, blind_since, headline)
    body: dict[str, Any] = {"page": {"name": name, "url": url}, "status": status}
    if policy.monitoring:
        body["monitoring"] = {"ok": state.monitoring.ok, "since": state.monitoring.since}
    for most in FEED_UPDATES:
        lists = {"open": now_open, "planned": upcoming, "recent": recent[:FEED_RECENT]}
        text = to_json(body | {name: feed(incidents, most) for name, incidents in lists.items()})
        if len(text.encode()) <= FEED_BYTES:
            break
    overdue = frozenset(number for number, by in promises.items() if by <= at)
    unstarted = frozenset(number for number, start in starts.items() if start <= at)
    told = (i for i in state.incidents.values() if i.announced_at and i.status is not SUSPECTED)
    announced = tuple(sorted(told, key=lambda i: i.number, reverse=True))
    plans = [i for i in announced if i.was_plan or i.unplanned]
    spans = {i.number: CALENDAR.get(i.status if i.was_plan else DISMISSED) for i in plans}
    goes = {i.number: i.window[1] + span for i in plans if (span := spans[i.number])}
    calendar = tuple(i for i in plans if goes.get(i.number, at + DAY) > at)[:CALENDAR_MOST]
    until = min([*cuts, *(then for then in goes.values() if then > at)], default=None)
    public = (
        announced,
        calendar,
        blind_since,
        now_open,
        upcoming,
        recent,
        overdue,
        unstarted,
        until,
    )
    return Snapshot(headline, text, status, *public)


def feed_incident(
    incident: Incident, url: str, promised: datetime | None, most: int = 50
) -> dict[str, Any]:
    """As the feed has it, with its newest updates."""
    updates = [
        {"id": str(u.id), "state": u.status} | {key: getattr(u, key) for key in UPDATE}
        for u in incident.updates[: -most - 1 : -1]
    ]
    about = {
        "id": str(incident.number),
        "url": f"{url}/incidents/{incident.number}",
        "state": incident.status,
    }
    about |= {key: getattr(incident, key) for key in INCIDENT}
    return about | {
        "summary": incident.summary or None,
        "next_update_by": promised,
        "updates": updates,
    }


def _headline(now_open: tuple[Incident, ...], blind_since: datetime | None, name: str) -> Headline:
    """PRODUCT.md section 2, "Headline": the first match wins."""
    sure, recovering = (
        "Our team has confirmed it.",
        "A fix is in place. We are watching whether it holds.",
    )
    unsure = "Our monitoring detected this automatically. Nobody has confirmed it yet."
    rows: tuple[tuple[str, str, str, Iterable[core.Status], Iterable[Severity]], ...] = (
        ("outage", f"{name} is down", sure, [CONFIRMED], [Severity.OUTAGE]),
        ("partial", f"Part of {name} is not working", sure, [CONFIRMED], [Severity.PARTIAL]),
        ("suspected", f"{name} may be having problems", unsure, [SUSPECTED], Severity),
        ("recovering", f"{name} is recovering", recovering, [WATCHING], core.SERIOUS),
        ("bug", f"{name} has a known problem", "", UNDER_WAY, [Severity.BUG]),
        ("maintenance", f"{name} is under maintenance", "", UNDER_WAY, [Severity.MAINTENANCE]),
        (
            "unknown",
            "We cannot see our monitoring",
            f"This alone does not mean that {name} is down.",
            [],
            [],
        ),
        (
            "notice",
            f"{name} is working",
            "Please see the notices below.",
            UNDER_WAY,
            [Severity.NOTICE],
        ),
    )
    for kind, text, detail, statuses, severities in rows:
        since = [
            i.started_at for i in now_open if i.status in statuses and i.severity in severities
        ]
        since += [blind_since] if kind == "unknown" and blind_since else []
        if since:
            return Headline(kind, text, detail, min(since))
    return Headline("ok", f"{name} is working", "We know of no problems.")


def _status(
    now_open: tuple[Incident, ...], blind_since: datetime | None, headline: Headline
) -> dict[str, Any]:
    worst = max((i.severity for i in now_open), key=core.RANK, default=None)
    holding = {i.status for i in now_open if i.severity is worst}

    def weight(incident: Incident) -> int:
        return min(
            core.RANK(incident.severity),
            core.RANK(Severity.OUTAGE) if incident.status is CONFIRMED else MINOR,
        )

    heaviest = max((weight(i) for i in now_open), default=0)
    known = max((weight(i) for i in now_open if i.status is not SUSPECTED), default=0)
    indicator, text = list(INDICATORS.items())[heaviest]
    about = {
        "suspected": holding == {SUSPECTED},
        "recovering": holding == {WATCHING},
        "headline": headline.text,
    }
    about["level"] = (
        "unknown" if blind_since and worst in (None, Severity.NOTICE) else worst or "ok"
    )
    text = "Partially Degraded Service" if heaviest == MINOR and known < MINOR else text
    return about | {"indicator": indicator, "text": text}
