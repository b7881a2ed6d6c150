"""Which alert belongs to which incident, and whether monitoring answers.

The rules are about states, not events, and are applied again after every change.
"""

from dataclasses import replace
from datetime import timedelta

from monostat.core.draft import Draft, Refused
from monostat.core.events import Act, AlertsSeen
from monostat.core.mails import hold_mail
from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    SERIOUS,
    SUSPECTED,
    UNDER_WAY,
    Alert,
    Course,
    Incident,
    Severity,
    Subject,
)

# -- What monitoring tells


def hear_monitoring(draft: Draft, *, ok: bool) -> None:
    """Tells everybody that monitoring has fallen silent, or answers again."""
    monitoring = draft.state.monitoring
    if ok == monitoring.ok:
        return
    draft.state.monitoring = replace(monitoring, ok=ok, since=draft.at)
    draft.changed = Subject(None, "monitoring")
    reason = draft.state.trouble or "It does not answer"
    kind = "monitoring_back" if ok else "monitoring_silent"
    draft.log(kind, None, reason=reason)


def see_alerts(draft: Draft, event: AlertsSeen) -> None:
    """Takes the whole picture of a successful poll.

    1. Monitoring answers.
    2. Another source than last time is a fresh start.
    3. What is listed is open; the first poll of a source leaves old alerts alone.
    4. What was said to be over by its id is over, for ever: lists lag.
    """
    hear_monitoring(draft, ok=True)
    if event.refused and event.refused != draft.state.trouble:
        draft.log("monitoring_refuses", None, reason=event.refused)
    before = draft.state.monitoring
    is_another_source = before.source not in ("", event.source)
    if is_another_source:
        _leave_source(draft)
    is_first_poll = is_another_source or not before.seeded
    for alert in event.open:
        _see_alert(draft, alert, is_first_poll=is_first_poll)
    for alert_id, ended_at in event.ended.items():
        known = draft.alerts.get(alert_id)
        if known is None or known.closed_at:
            continue
        closed_at = max(ended_at, known.created_at)
        closed_at = min(closed_at, draft.at)
        draft.alerts[alert_id] = replace(known, closed_at=closed_at)
    draft.state.checked_at = draft.at
    draft.state.answered = True
    draft.state.trouble = event.refused
    monitoring = draft.state.monitoring
    draft.state.monitoring = replace(monitoring, seeded=True, source=event.source)


def _see_alert(draft: Draft, alert: Alert, *, is_first_poll: bool) -> None:
    """Takes a new alert, or the newest words of one that is open."""
    known = draft.alerts.get(alert.id)
    if known is None:
        oldest = draft.at - timedelta(seconds=draft.policy.max_alert_age)
        is_ignored = is_first_poll and alert.created_at < oldest
        draft.alerts[alert.id] = replace(alert, ignored=is_ignored)
    elif known.is_open:
        draft.alerts[alert.id] = replace(
            known,
            message=alert.message,
            source=alert.source,
            priority=alert.priority,
            ignored=known.ignored and known.incident is None,
        )


def _leave_source(draft: Draft) -> None:
    """Asks no more for the alerts of a source that was left.

    They hold their incidents until alerts of the new source join those.
    """
    draft.log("monitoring_moved", None)
    for alert in list(draft.alerts.values()):
        if alert.is_open:
            left = replace(alert, ignored=True)
            draft.alerts[alert.id] = left


# -- Where alerts belong


def settle_alerts(draft: Draft) -> None:
    """Applies the rules to what is true now.

    1. Every open alert gets its incident.
    2. A suspicion without an open alert is dismissed.
    3. Staff are reminded of an incident whose last alert is over.
    """
    open_alerts = [alert for alert in draft.alerts.values() if alert.is_open]
    waiting = [alert for alert in open_alerts if not alert.ignored]
    waiting.sort(key=lambda alert: (alert.created_at, alert.id))
    for alert in waiting:
        if not _stays(draft, alert):
            _join(draft, alert)
    held = {alert.incident for alert in draft.alerts.values() if alert.is_open}
    for incident in list(draft.incidents.values()):
        if not incident.is_open or incident.number in held:
            continue
        if incident.status is SUSPECTED:
            _dismiss(draft, incident)
        elif not incident.is_maintenance and draft.before.open_alerts(incident.number):
            draft.log("alerts_over", incident.number)


def _dismiss(draft: Draft, incident: Incident) -> None:
    """A suspicion is over when its last alert has closed."""
    alerts = [alert for alert in draft.alerts.values() if alert.incident == incident.number]
    closed = [alert.closed_at for alert in alerts if alert.closed_at]
    ended_at = draft.at
    if closed:
        ended_at = max(incident.started_at, *closed)
    draft.change_status(
        incident,
        DISMISSED,
        entry="dismissed",
        text=draft.ready_sentence("over_by_itself", incident.severity),
        ended_at=ended_at,
    )


def _stays(draft: Draft, alert: Alert) -> bool:
    """Whether an open alert belongs where it is.

    That is an open incident, or one that a human closed over its head.
    """
    own = draft.incidents.get(alert.incident or 0)
    if own is None:
        return False
    closed_by_human = bool(own.status_by) and not own.is_maintenance
    had_joined = alert.joined <= own.status_entry
    return own.is_open or (closed_by_human and had_joined)


def _join(draft: Draft, alert: Alert) -> None:
    """Finds its incident, as `_home` orders them, or opens a suspicion."""
    home = _home(draft)
    is_told = home is not None and home.status is not DISMISSED
    if home is None:
        noticed = min(alert.created_at, draft.at)
        home = draft.open_incident(
            Course(severity=Severity.OUTAGE, status=SUSPECTED, started_at=noticed),
            title="",
            text=draft.policy.incident_text,
            noticed_at=noticed,
        )
    elif home.status is DISMISSED:
        text = draft.ready_sentence("suspected_again", home.severity)
        draft.change_status(home, SUSPECTED, entry="reopened", text=text)
    for other in draft.state.open_alerts(home.number):
        if other.ignored:
            closed = replace(other, closed_at=draft.at)
            draft.alerts[other.id] = closed
    entry = draft.log(
        "joined",
        home.number,
        alert=alert.message,
        source=alert.source,
        maintenance=str(home.is_maintenance),
        priority=alert.priority,
        told=str(is_told),
    )
    draft.attach(alert, home.number, entry)


def _home(draft: Draft) -> Incident | None:
    """The incident that a new alert belongs to.

    In this order: the open suspicion; the most severe, then newest partial outage or outage under
    way; the newest maintenance under way; what was dismissed by itself a short while ago.
    """
    since = draft.at - timedelta(seconds=draft.policy.reopen_within)

    def place(incident: Incident) -> tuple[int, ...] | None:
        """Its order, the best the highest; None: alerts do not belong there."""
        status = incident.status
        if status is SUSPECTED:
            return (4,)
        if status in UNDER_WAY and incident.severity in SERIOUS:
            return (3, incident.severity.rank, incident.number)
        if status in UNDER_WAY and incident.is_maintenance:
            return (2, incident.number)
        by_itself = status is DISMISSED and not incident.status_by and not incident.was_plan
        if by_itself and incident.status_at > since:
            return (1, incident.status_entry)
        return None

    places = {number: place(incident) for number, incident in draft.incidents.items()}
    homes = {number: order for number, order in places.items() if order}
    if not homes:
        return None
    return draft.incidents[max(homes, key=homes.__getitem__)]


# -- What people do


def real_outage(draft: Draft, act: Act, incident: Incident) -> None:
    """Makes an outage of its own of the alerts that have joined a maintenance."""
    for other in draft.incidents.values():
        if any(undo.alerts_from == incident.number for undo in other.undo):
            raise Refused(
                f"{other.status_by} got there first:"
                f" #{other.number} is {other.status} ({other.severity})."
            )
    alerts = draft.state.open_alerts(incident.number)
    is_under_way = incident.is_maintenance and incident.status in UNDER_WAY
    if not is_under_way or not alerts:
        raise Refused(f"#{incident.number} is not a maintenance under way with open alerts.")
    noticed = min(draft.at, *(alert.created_at for alert in alerts))
    outage = draft.open_incident(
        Course(severity=Severity.OUTAGE, status=CONFIRMED, status_by=act.by, started_at=noticed),
        title=act.title,
        text=draft.ready_sentence("real_outage", Severity.OUTAGE),
        own=act.text,
        noticed_at=noticed,
    )
    draft.open_undo_window(outage, None, announces=True, alerts_from=incident.number)
    for alert in alerts:
        draft.attach(alert, outage.number, outage.status_entry)
    draft.log("real_outage", incident.number, act.by, outage=str(outage.number))
    hold_mail(draft, outage, act.mail, usual=True)
    ask_for_title(draft, outage.number)


def ask_for_title(draft: Draft, number: int) -> None:
    """Asks what is broken, where nobody has said so of what is real."""
    incident = draft.incidents[number]
    if incident.has_ready_title:
        draft.log("asks_title", number, title=incident.title)


def ask_if_over(draft: Draft, incident: Incident) -> None:
    """Asks whether what is under way again is over: its alerts are, where it has had any."""
    if incident.status not in UNDER_WAY or incident.is_maintenance:
        return
    number = incident.number
    alerts = draft.alerts.values()
    has_had_some = any(alert.incident == number for alert in alerts)
    if has_had_some and not draft.state.open_alerts(number):
        draft.log("alerts_over", number)
