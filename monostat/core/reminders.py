"""What staff are reminded of, and what readers were promised."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from monostat.core.draft import Draft
from monostat.core.model import PLANNED, SERIOUS, SUSPECTED, UNDER_WAY, Incident, Policy
from monostat.core.text import exact

#: Seconds before a promise is due, where there is as much time between two of them.
LEAD = 300


class Reminder(NamedTuple):
    """When staff are to be told something, and the kind of log entry that it is."""

    at: datetime
    kind: str


def promised_by(incident: Incident, policy: Policy) -> datetime | None:
    """When readers are to hear again of a confirmed or watching partial outage or outage.

    None where nothing is promised.
    """
    is_promised = incident.status in UNDER_WAY and incident.severity in SERIOUS
    if not is_promised or not incident.updates:
        return None
    since = incident.promised_from or incident.updates[-1].at
    return since + timedelta(seconds=policy.update_every)


def reminders(incident: Incident, policy: Policy) -> list[Reminder]:
    """What staff have to be reminded of as things stand, in the order of time."""
    found: list[Reminder] = []

    def add(at: datetime | None, seconds: float, kind: str) -> None:
        if at is None:
            return
        due = at + timedelta(seconds=seconds)
        found.append(Reminder(due, kind))

    if incident.status is SUSPECTED and not incident.touched:
        for seconds in policy.remind_after:
            add(incident.status_at, seconds, "unattended")
    if incident.status is PLANNED:
        add(incident.planned_start, -policy.soon, "starts_soon")
        if incident.ask:
            add(incident.planned_start, 0, "asks_start")
    if incident.status in UNDER_WAY and incident.is_maintenance:
        add(incident.planned_end, -policy.soon, "ends_soon")
        if incident.ask:
            add(incident.planned_end, 0, "asks_end")
    lead = min(LEAD, policy.update_every / 2)
    add(promised_by(incident, policy), -lead, "promise")
    return sorted(found)


def detail_of(draft: Draft, incident: Incident, kind: str, at: datetime) -> dict[str, str]:
    """What a reminder is about: the alerts that nobody has looked at, or the promise."""
    if kind == "promise":
        newest = incident.updates[-1]
        promised = promised_by(incident, draft.policy) or at
        return {"update": str(newest.id), "promised": exact(promised)}
    if kind != "unattended":
        return {}
    words = [alert.message for alert in draft.state.open_alerts(incident.number)]
    if not words:
        words = [incident.title]
    waited = at - incident.status_at
    minutes = waited.total_seconds() / 60
    return {"about": words[0], "others": str(len(words) - 1), "minutes": f"{minutes:.0f}"}


def remind(draft: Draft, incident: Incident) -> None:
    """Tells staff what is due, of each kind only the newest.

    After a time of silence one reminder is enough.
    """
    since = min(incident.reminded_at, draft.at)
    reminded = reminders(incident, draft.policy)
    due = {kind: at for at, kind in reminded if since < at <= draft.at}
    planned = incident.planned_end
    if incident.status is PLANNED:
        planned = incident.planned_start
    for kind, at in due.items():
        detail = {"due": at.isoformat()}
        if planned:
            detail["planned"] = exact(planned)
        detail.update(detail_of(draft, incident, kind, at))
        draft.log(kind, incident.number, about=detail)
    clock_went_back = since != incident.reminded_at
    if not due and not clock_went_back:
        return
    last_reminder = draft.at if due else incident.last_reminder
    newest = incident.updates[-1]
    promised_from = incident.promised_from
    since_promise = promised_from or newest.at
    if since_promise > draft.at:
        promised_from = draft.at
    status_at = min(incident.status_at, draft.at)
    incident = replace(
        incident,
        status_at=status_at,
        reminded_at=draft.at,
        last_reminder=last_reminder,
        promised_from=promised_from,
    )
    draft.put(incident)
