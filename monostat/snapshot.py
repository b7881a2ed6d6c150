"""What everybody may know: one value derived from the state, and the feed's messages made of it.

The page, the feed, the badge and every API answer are functions of this snapshot. contracts/feed.md section 3 is the
contract of the messages, contracts/statuspage_api.md section 4 that of indicator and text.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer

from monostat.decisions import promised_by
from monostat.incidents import SERIOUS, UNDER_WAY, Changed, Incident, Policy, Severity, State, Status

DAY = timedelta(days=1)
FEED_UPDATES = 50  # of one incident, contracts/feed.md section 7
FEED_RECENT = 10


def instant(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and a Z, as every feed writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[datetime, PlainSerializer(instant)]


class Public(BaseModel):
    model_config = ConfigDict(frozen=True)


class FeedUpdate(Public):
    id: str
    state: Status
    severity: Severity
    at: Instant
    edited_at: Instant | None
    text: str


class FeedIncident(Public):
    id: str
    url: str
    title: str
    state: Status
    severity: Severity
    summary: str | None
    started_at: Instant
    ended_at: Instant | None
    planned_start: Instant | None
    planned_end: Instant | None
    next_update_by: Instant | None
    created_at: Instant
    updated_at: Instant
    updates: tuple[FeedUpdate, ...]


class FeedPage(Public):
    name: str
    url: str


class FeedStatus(Public):
    level: str
    suspected: bool
    recovering: bool
    headline: str
    indicator: str
    text: str


class FeedMonitoring(Public):
    ok: bool
    since: Instant


class FeedState(Public):
    """Everything in a `state` message that is not about the message itself."""

    page: FeedPage
    status: FeedStatus
    monitoring: FeedMonitoring | None
    open: tuple[FeedIncident, ...]
    planned: tuple[FeedIncident, ...]
    recent: tuple[FeedIncident, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The first thing a visitor reads; `kind` names its icon and colour."""

    kind: str
    text: str
    detail: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is public at one moment; two that are equal need no new version."""

    headline: Headline
    feed: FeedState
    open: tuple[Incident, ...]
    planned: tuple[Incident, ...]
    recent: tuple[Incident, ...]
    overdue: frozenset[int]  # incidents whose promised next word did not come
    until: datetime | None  # when time alone makes another one of it

    def same_as(self, other: "Snapshot | None") -> bool:
        """Whether no address but the HTML pages would read differently."""
        return other is not None and (self.feed, self.overdue) == (other.feed, other.overdue)


def take(state: State, at: datetime, policy: Policy, *, name: str, url: str) -> Snapshot:
    """Derives what is public at that time; `name` and `url` (without a slash at the end) are the site's."""
    everything = sorted(state.incidents.values(), key=lambda i: (i.started_at, i.number), reverse=True)
    now_open = tuple(i for i in everything if i.is_open)
    planned = [i for i in everything if i.status is Status.PLANNED]
    gone = [
        i for i in everything if i.status is Status.DISMISSED and i.was_plan and i.planned_end and i.planned_end > at
    ]
    upcoming = tuple(sorted([*planned, *gone], key=lambda i: (i.planned_start or i.started_at, i.number)))
    over = [i for i in everything if i.status is Status.RESOLVED and i.ended_at and i.ended_at + DAY > at]
    recent = tuple(sorted(over, key=lambda i: (i.ended_at or i.started_at, i.number), reverse=True))
    promises = {i.number: by for i in now_open if (by := promised_by(i, policy))}
    overdue = frozenset(n for n, by in promises.items() if by <= at)
    cuts = [by for by in promises.values() if by > at] + [i.ended_at + DAY for i in recent if i.ended_at]
    cuts += [i.planned_end for i in gone if i.planned_end]
    headline = _headline(now_open, state, policy, name)

    def feed(incidents: tuple[Incident, ...]) -> tuple[FeedIncident, ...]:
        return tuple(_feed_incident(i, url, promises.get(i.number)) for i in incidents)

    ears = FeedMonitoring(ok=state.monitoring.ok, since=state.monitoring.since)
    return Snapshot(
        headline=headline,
        feed=FeedState(
            page=FeedPage(name=name, url=url),
            status=_status(now_open, state, policy, headline),
            monitoring=ears if policy.monitoring else None,
            open=feed(now_open),
            planned=feed(upcoming),
            recent=feed(recent[:FEED_RECENT]),
        ),
        open=now_open,
        planned=upcoming,
        recent=recent,
        overdue=overdue,
        until=min(cuts, default=None),
    )


def _feed_incident(incident: Incident, url: str, promised: datetime | None) -> FeedIncident:
    newest = incident.updates[: -FEED_UPDATES - 1 : -1]
    return FeedIncident(
        id=str(incident.number),
        url=f"{url}/incidents/{incident.number}",
        title=incident.title,
        state=incident.status,
        severity=incident.severity,
        summary=incident.summary or None,
        started_at=incident.started_at,
        ended_at=incident.ended_at,
        planned_start=incident.planned_start,
        planned_end=incident.planned_end,
        next_update_by=promised,
        created_at=incident.created_at,
        updated_at=incident.updated_at,
        updates=tuple(
            FeedUpdate(id=str(u.id), state=u.status, severity=u.severity, at=u.at, edited_at=u.edited_at, text=u.text)
            for u in newest
        ),
    )


def _headline(now_open: tuple[Incident, ...], state: State, policy: Policy, name: str) -> Headline:
    """PRODUCT.md section 2, "Headline": the first match wins."""

    def first(*statuses: Status, among: tuple[Severity, ...] = tuple(Severity)) -> datetime | None:
        return min((i.started_at for i in now_open if i.status in statuses and i.severity in among), default=None)

    confirmed, watching, suspected = Status.CONFIRMED, Status.WATCHING, Status.SUSPECTED
    silent = state.monitoring.since if policy.monitoring and not state.monitoring.ok else None
    rows = (
        ("outage", f"{name} is down", "Our team has confirmed it.", first(confirmed, among=(Severity.OUTAGE,))),
        (
            "partial",
            f"Part of {name} is not working",
            "Our team has confirmed it.",
            first(confirmed, among=(Severity.PARTIAL,)),
        ),
        (
            "suspected",
            f"{name} may be having problems",
            "Our monitoring detected this automatically. Nobody has confirmed it yet.",
            first(suspected),
        ),
        (
            "recovering",
            f"{name} is recovering",
            "A fix is in place. We are watching whether it holds.",
            first(watching, among=SERIOUS),
        ),
        ("bug", f"{name} has a known problem", "", first(*UNDER_WAY, among=(Severity.BUG,))),
        ("maintenance", f"{name} is under maintenance", "", first(*UNDER_WAY, among=(Severity.MAINTENANCE,))),
        ("unknown", "We cannot see our monitoring", f"This alone does not mean that {name} is down.", silent),
        ("notice", f"{name} is working", "Please see the notices below.", first(*UNDER_WAY, among=(Severity.NOTICE,))),
    )
    for kind, text, detail, since in rows:
        if since:
            return Headline(kind=kind, text=text, detail=detail, since=since)
    return Headline(kind="ok", text=f"{name} is working", detail="We know of no problems.")


#: Statuspage's words, by weight: contracts/statuspage_api.md section 4.
INDICATORS = {
    "none": "All Systems Operational",
    "maintenance": "Service Under Maintenance",
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}
IMPACT = {
    Severity.NOTICE: "none",
    Severity.MAINTENANCE: "maintenance",
    Severity.BUG: "minor",
    Severity.PARTIAL: "major",
    Severity.OUTAGE: "critical",
}


def _status(now_open: tuple[Incident, ...], state: State, policy: Policy, headline: Headline) -> FeedStatus:
    worst = max((i.severity for i in now_open), key=lambda s: s.rank, default=None)
    blind = policy.monitoring and not state.monitoring.ok and worst in (None, Severity.NOTICE)
    holding = {i.status for i in now_open if i.severity is worst}
    ranks = list(INDICATORS)

    def weight(incident: Incident) -> int:
        full = ranks.index(IMPACT[incident.severity])
        return full if incident.status is Status.CONFIRMED else min(full, ranks.index("minor"))

    indicator = max((weight(i) for i in now_open), default=0)
    known = max((weight(i) for i in now_open if i.status is not Status.SUSPECTED), default=0)
    only_suspected = ranks[indicator] == "minor" and known < indicator
    return FeedStatus(
        level="unknown" if blind else str(worst or "ok"),
        suspected=holding == {Status.SUSPECTED},
        recovering=holding == {Status.WATCHING},
        headline=headline.text,
        indicator=ranks[indicator],
        text="Partially Degraded Service" if only_suspected else INDICATORS[ranks[indicator]],
    )


def envelope(*, epoch: str, version: int, time: datetime, heartbeat: float, changed: Changed | None) -> dict[str, Any]:
    """What every `state` message begins with, on the public feed and on the page's own."""
    about = {"incident": changed.incident and str(changed.incident), "kind": changed.kind} if changed else None
    return {
        "type": "state",
        "protocol": "monostat.v1",
        "epoch": epoch,
        "version": version,
        "time": instant(time),
        "heartbeat_ms": round(heartbeat * 1000),
        "changed": about,
    }


def feed_body(snapshot: Snapshot) -> dict[str, Any]:
    """The public part of the `state` message; `monitoring` is absent where nothing is monitored."""
    body = snapshot.feed.model_dump(mode="json")
    return body if snapshot.feed.monitoring else {k: v for k, v in body.items() if k != "monitoring"}


def heartbeat(*, epoch: str, version: int, time: datetime, checked_at: datetime | None) -> dict[str, Any]:
    """`checked_at`: when monitoring last answered; None leaves it out."""
    beat = {"type": "heartbeat", "epoch": epoch, "version": version, "time": instant(time)}
    return beat | ({"checked_at": instant(checked_at)} if checked_at else {})
