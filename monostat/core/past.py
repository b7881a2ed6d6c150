"""What is long over: it cannot change by itself any more, and is shown nowhere as news.

The state that `decide` works on does not hold it. Its row is asked for when somebody reads of it,
or acts on it, and then it is of the present again for as long as after any other change.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from monostat.core.model import DISMISSED, OVER, RESOLVED, Alert, Incident, Policy, State

DAY = timedelta(days=1)
#: After the last change of an incident, and after the end of an alert: as long as Slack's messages
#: are kept equal to now.
KEPT_FOR = timedelta(days=7)
#: The newest incidents that began here stay: Slack's Home tab lists the last that are over.
NEWEST = 20
#: How long a calendar shows what is over.
CALENDAR = {RESOLVED: 90 * DAY, DISMISSED: 30 * DAY}


def leaves_calendar(incident: Incident) -> datetime | None:
    """When a plan that is over is no longer shown in calendars; None while it stays."""
    if not incident.is_in_calendars:
        return None
    status = incident.status if incident.was_plan else DISMISSED
    kept = CALENDAR.get(status)
    if kept is None:
        return None
    _, end = incident.window
    return end + kept


def past_from(incident: Incident, policy: Policy) -> datetime | None:
    """When an incident will be past, if nothing happens to it; None while it is not over.

    Then no alert reopens it any more, no list of news has it, and a plan has left the calendars.
    What was over elsewhere is past from the beginning.
    """
    if incident.as_it_came:
        return incident.status_at
    if incident.status not in OVER or incident.undo:
        return None
    may_reopen = timedelta(seconds=policy.reopen_within)
    reopens_until = incident.status_at + may_reopen
    past = max(incident.updated_at + KEPT_FOR, reopens_until)
    leaves = leaves_calendar(incident)
    for planned in (incident.planned_end, leaves):
        if planned:
            past = max(past, planned)
    return past


def without_past(state: State, at: datetime, policy: Policy) -> State:
    """The state without incidents that are past, and without alerts that are of no interest.

    An incident stays while an alert of it is open or has ended lately, or a mail of it is not
    settled; the alerts of what stays do, too.
    """
    held = {mail.incident for mail in state.mails.values()}
    recent = set()
    lately = at - KEPT_FOR
    for alert in state.alerts.values():
        if alert.closed_at is None or alert.closed_at > lately:
            recent.add(alert.id)
            held.add(alert.incident or 0)
    incidents = {}
    for number, incident in state.incidents.items():
        since = past_from(incident, policy)
        is_past = since is not None and since <= at
        is_held = number in held or number in state.newest_own
        if is_held or not is_past:
            incidents[number] = incident
    alerts = {}
    for alert in state.alerts.values():
        if alert.id in recent or alert.incident in incidents:
            alerts[alert.id] = alert
    return replace(state, incidents=incidents, alerts=alerts)


def with_past(state: State, incident: Incident, alerts: Iterable[Alert]) -> State:
    """The state with an incident whose row was asked for, and with its alerts."""
    incidents = {**state.incidents, incident.number: incident}
    incidents = dict(sorted(incidents.items()))
    known = {alert.id: alert for alert in alerts}
    known.update(state.alerts)
    return replace(state, incidents=incidents, alerts=known)
