"""What everybody may know: one value derived from the state, and the feed's messages made of it.

The page, the feed, the badge and every API answer are functions of this snapshot.
`templates/schemas.json` has the shape of the messages.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    PLANNED,
    RESOLVED,
    SERIOUS,
    SUSPECTED,
    UNDER_WAY,
    WATCHING,
    Incident,
    Policy,
    Severity,
    State,
    Status,
    Update,
)
from monostat.core.past import DAY, leaves_calendar
from monostat.core.reminders import promised_by
from monostat.core.words import Words

#: For so long after an outage or partial outage the headline says that all works again.
AGAIN = timedelta(hours=1)
FEED_BYTES = 250_000  # of a message without its head
#: Updates of one incident, of which the first number that fits is taken.
FEED_UPDATES = (50, 20, 10, 5, 2, 1)
FEED_RECENT = 10  # incidents that are over
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
CALENDAR_MOST = 200  # plans


def instant(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and a Z, as every feed writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_json(value: object) -> str:
    """Compact, with instants as `instant` writes them."""
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
    sentence: str  # the headline with the title of what decides it
    feed: str  # the public part of the `state` message, as JSON
    status: dict[str, Any]  # the part of it about everything
    announced: tuple[Incident, ...]  # what programs may tell people of, newest first; none is past
    calendar: tuple[Incident, ...]  # the plans among them that calendars still show
    blind_since: datetime | None  # since when monitoring does not answer
    open: tuple[Incident, ...]  # by the headline's order, then newest
    deciding: Incident | None  # the open incident that the headline is about
    ended: Incident | None  # the outage that ended less than an hour ago, where all is well
    planned: tuple[Incident, ...]
    recent: tuple[Incident, ...]
    overdue: frozenset[int]  # incidents whose promised next word did not come
    unstarted: frozenset[int]  # plans whose start has come, and which wait to be started
    until: datetime | None  # when time alone makes another one of it
    revision: int  # of what programs are told, also of incidents that are past

    @property
    def title(self) -> str:
        """The title of what decides the headline, where a person has given it one."""
        return title_of(self.deciding)

    @property
    def digest(self) -> str:
        """Of all that is public, whatever shows it: pages that are open learn of it by the version
        alone.
        """
        measured = to_json([(i.alerted_at, i.first_mailed_at) for i in (*self.open, *self.recent)])
        public = f"{self.feed}{sorted(self.overdue)}{sorted(self.unstarted)}{measured}"
        public += f"{[i.number for i in self.calendar]}{self.revision}"
        return hashlib.sha256(public.encode()).hexdigest()[:16]


def take(
    state: State, at: datetime, policy: Policy, *, words: Words, name: str, url: str
) -> Snapshot:
    """Derives what is public at that time.

    `words`, `name` and `url` (without a slash at the end) are the site's.
    """
    incidents = sorted(state.incidents.values(), key=_start, reverse=True)
    now_open = tuple(in_headline_order(i for i in incidents if i.is_open))
    called_off = [incident for incident in incidents if _is_called_off(incident, at)]
    plans = [incident for incident in incidents if incident.status is PLANNED]
    upcoming = tuple(sorted([*plans, *called_off], key=planned_start))
    recent = tuple(sorted((i for i in incidents if _is_recent(i, at)), key=_end, reverse=True))
    announced = [i for i in incidents if i.announced_at and i.status is not SUSPECTED]
    announced.sort(key=lambda incident: incident.number, reverse=True)
    blind_since = _blind_since(state, policy)
    ended = next((i for i in recent if _is_just_over(i, at)), None)
    headline = _headline(now_open, blind_since, ended, words, name)
    deciding = None
    if now_open and _rule_of(now_open[0]).kind == headline.kind:
        deciding = now_open[0]
    status = _status(now_open, blind_since, headline)
    body: dict[str, Any] = {"page": {"name": name, "url": url}, "status": status}
    if policy.monitoring:
        body["monitoring"] = {"ok": state.monitoring.ok, "since": state.monitoring.since}
    lists = {"open": now_open, "planned": upcoming, "recent": recent[:FEED_RECENT]}
    promises = {i.number: by for i in now_open if (by := promised_by(i, policy))}
    starts = {plan.number: plan.planned_start for plan in plans if plan.planned_start}
    return Snapshot(
        headline=headline,
        sentence=_sentence(headline, deciding, words),
        feed=_feed(body, lists, promises, url),
        status=status,
        announced=tuple(announced),
        calendar=_calendar(announced, at),
        blind_since=blind_since,
        open=now_open,
        deciding=deciding,
        ended=ended if headline.kind == "ok" else None,
        planned=upcoming,
        recent=recent,
        overdue=frozenset(number for number, by in promises.items() if by <= at),
        unstarted=frozenset(number for number, start in starts.items() if start <= at),
        until=_until(incidents, [*promises.values(), *starts.values()], at),
        revision=state.revision,
    )


def _blind_since(state: State, policy: Policy) -> datetime | None:
    """Since when monitoring does not answer; None where it does, or there is none."""
    if policy.monitoring and not state.monitoring.ok:
        return state.monitoring.since
    return None


def _sentence(headline: Headline, deciding: Incident | None, words: Words) -> str:
    """The headline with the title of what decides it."""
    if title := title_of(deciding):
        return words("headline.with_title", headline=headline.text, title=title)
    return headline.text


def _calendar(announced: Iterable[Incident], at: datetime) -> tuple[Incident, ...]:
    """The plans that calendars still show."""
    shown = []
    for incident in announced:
        leaves = leaves_calendar(incident)
        is_gone = leaves is not None and leaves <= at
        if incident.is_in_calendars and not is_gone:
            shown.append(incident)
    return tuple(shown[:CALENDAR_MOST])


def _until(
    incidents: Iterable[Incident], expected: Iterable[datetime], at: datetime
) -> datetime | None:
    """When time alone makes another snapshot, by what is expected, or leaves what is shown."""
    times = [*expected]
    for incident in incidents:
        times += _expiries(incident, at)
    return min((time for time in times if time > at), default=None)


def _expiries(incident: Incident, at: datetime) -> list[datetime]:
    """When time alone takes it out of what is shown of plans, and of what is over."""
    expiries = []
    if _is_called_off(incident, at):
        expiries.append(incident.planned_end)
    if _is_recent(incident, at) and incident.ended_at:
        expiries += [incident.ended_at + AGAIN, incident.ended_at + DAY]
    if incident.announced_at:
        expiries.append(leaves_calendar(incident))
    return [expiry for expiry in expiries if expiry]


def title_of(incident: Incident | None) -> str:
    """Its title in a person's words; empty where it is a ready one, which only repeats."""
    if incident is None or incident.has_ready_title:
        return ""
    return incident.title


def _start(incident: Incident) -> tuple[datetime, int]:
    return incident.started_at, incident.number


def planned_start(incident: Incident) -> tuple[datetime, int]:
    """By which plans are sorted, the next one first."""
    return incident.planned_start or incident.started_at, incident.number


def _end(incident: Incident) -> tuple[datetime, int]:
    return incident.ended_at or incident.started_at, incident.number


def _is_called_off(incident: Incident, at: datetime) -> bool:
    """A cancelled plan, which is shown until it would have been over."""
    is_cancelled = incident.status is DISMISSED and incident.was_plan
    return is_cancelled and incident.planned_end is not None and incident.planned_end > at


def _is_recent(incident: Incident, at: datetime) -> bool:
    """Whether it was resolved in the last 24 hours."""
    ended_at = incident.ended_at
    return incident.status is RESOLVED and ended_at is not None and ended_at + DAY > at


def _is_just_over(incident: Incident, at: datetime) -> bool:
    """Whether it was an outage or partial outage that ended within the hour."""
    is_serious = incident.severity in SERIOUS
    return is_serious and incident.ended_at is not None and incident.ended_at + AGAIN > at


def _feed(
    body: Mapping[str, Any],
    lists: Mapping[str, tuple[Incident, ...]],
    promises: Mapping[int, datetime],
    url: str,
) -> str:
    """The public part of the message, with as many updates of each incident as fit."""
    text = ""
    for most in FEED_UPDATES:
        shown = {
            name: [feed_incident(i, url, promises.get(i.number), most) for i in incidents]
            for name, incidents in lists.items()
        }
        text = to_json({**body, **shown})
        if len(text.encode()) <= FEED_BYTES:
            break
    return text


def feed_incident(
    incident: Incident, url: str, promised: datetime | None, most: int = 50
) -> dict[str, Any]:
    """As the feed has it, with the newest of its updates, `most` of them."""
    newest_first = incident.updates[::-1]
    about = {
        "id": str(incident.number),
        "url": f"{url}/incidents/{incident.number}",
        "state": incident.status,
    }
    return {
        **about,
        **{key: getattr(incident, key) for key in INCIDENT},
        "summary": incident.summary or None,
        "next_update_by": promised,
        "updates": [feed_update(update) for update in newest_first[:most]],
    }


def feed_update(update: Update) -> dict[str, Any]:
    """As the feed has it."""
    about = {"id": str(update.id), "state": update.status}
    return {**about, **{key: getattr(update, key) for key in UPDATE}}


# -- The headline, and Statuspage's words


class Rule(NamedTuple):
    """A row of the headline's order: what incidents it is about; `kind` is the key of its words."""

    kind: str
    statuses: tuple[Status, ...]
    severities: tuple[Severity, ...]


#: The first match is the headline.
RULES = (
    Rule("outage", (CONFIRMED,), (Severity.OUTAGE,)),
    Rule("partial", (CONFIRMED,), (Severity.PARTIAL,)),
    Rule("suspected", (SUSPECTED,), tuple(Severity)),
    Rule("recovering", (WATCHING,), SERIOUS),
    Rule("bug", UNDER_WAY, (Severity.BUG,)),
    Rule("maintenance", UNDER_WAY, (Severity.MAINTENANCE,)),
    Rule("unknown", (), ()),
    Rule("notice", UNDER_WAY, (Severity.NOTICE,)),
)


def _rule_of(incident: Incident) -> Rule:
    """The row of the headline's order that an open incident falls under; there is one for each."""
    for rule in RULES:
        if incident.status in rule.statuses and incident.severity in rule.severities:
            return rule
    raise ValueError(f"no headline for {incident.status!r}, {incident.severity!r}")


def in_headline_order(incidents: Iterable[Incident]) -> list[Incident]:
    """Open incidents, the one that decides the headline first; those of one rule newest first."""
    newest_first = sorted(incidents, key=_start, reverse=True)
    return sorted(newest_first, key=lambda incident: RULES.index(_rule_of(incident)))


def _headline(
    now_open: tuple[Incident, ...],
    blind_since: datetime | None,
    ended: Incident | None,
    words: Words,
    name: str,
) -> Headline:
    """The first of the rules that something is true of."""
    for rule in RULES:
        since = [
            incident.started_at
            for incident in now_open
            if incident.status in rule.statuses and incident.severity in rule.severities
        ]
        if rule.kind == "unknown" and blind_since:
            since.append(blind_since)
        if since:
            return _written_headline(rule.kind, rule.kind, words, name, min(since))
    if ended:
        return _written_headline("ok", "again", words, name)
    return _written_headline("ok", "ok", words, name)


def _written_headline(
    kind: str, key: str, words: Words, name: str, since: datetime | None = None
) -> Headline:
    text = words(f"headline.{key}", name=name)
    detail = ""
    if f"detail.{key}" in words.entries:
        detail = words(f"detail.{key}", name=name)
    return Headline(kind, text, detail, since)


def _weight(incident: Incident) -> int:
    """How heavy it is: what is not confirmed counts as minor at most."""
    if incident.status is CONFIRMED:
        return incident.severity.rank
    return min(incident.severity.rank, Severity.BUG.rank)


def _status(
    now_open: tuple[Incident, ...], blind_since: datetime | None, headline: Headline
) -> dict[str, Any]:
    """The part of the message about everything."""
    by_rank = list(Severity)
    worst = max((i.severity for i in now_open), key=lambda s: s.rank, default=None)
    statuses = {incident.status for incident in now_open if incident.severity is worst}
    heaviest = by_rank[max(map(_weight, now_open), default=0)]
    certain = [incident for incident in now_open if incident.status is not SUSPECTED]
    heaviest_certain = by_rank[max(map(_weight, certain), default=0)]
    text = heaviest.indicator_text
    if heaviest is Severity.BUG and heaviest_certain.rank < Severity.BUG.rank:
        text = "Partially Degraded Service"
    level: str = worst or "ok"
    if blind_since and worst in (None, Severity.NOTICE):
        level = "unknown"
    return {
        "suspected": statuses == {SUSPECTED},
        "recovering": statuses == {WATCHING},
        "headline": headline.text,
        "level": level,
        "indicator": heaviest.indicator,
        "text": text,
    }
