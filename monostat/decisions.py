"""The pure core: what follows from every fact.

`decide(state, event, policy)` is the only place where anything changes. It reads no clock: every event carries its
time. PRODUCT.md section 2 is its contract.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from monostat.acts import act
from monostat.desk import Desk, Refused
from monostat.incidents import (
    SERIOUS,
    UNDER_WAY,
    Act,
    Alert,
    AlertsSeen,
    Change,
    Changed,
    Event,
    Incident,
    Mail,
    MailClaimed,
    MailSettled,
    Policy,
    Post,
    Severity,
    State,
    Status,
    Tick,
)


def decide(state: State, event: Event, policy: Policy) -> Change:
    """Says what an event changes.

    1. Time passes: windows end, plans start and end, monitoring falls silent.
    2. The event itself happens, or is refused.
    3. The rules about alerts are applied to whatever is true now.
    """
    desk, refused = Desk(state, policy, event.at), ""
    pass_time(desk)
    try:
        happen(desk, event)
    except Refused as refusal:
        refused = str(refusal)
    settle_alerts(desk)
    return desk.change(refused)


def next_due(state: State, policy: Policy) -> datetime | None:
    """When the core must be asked again although nothing happened, or None."""
    due: list[datetime] = []
    for incident in state.incidents.values():
        due += [undo.until for undo in incident.undo]
        if incident.status is Status.PLANNED and not incident.ask and incident.planned_start:
            due.append(incident.planned_start)
        if _ends_by_itself(incident) and incident.planned_end:
            due.append(incident.planned_end)
    if policy.monitoring and state.monitoring.ok:
        due.append(state.checked_at + timedelta(seconds=policy.stale_after))
    return min(due, default=None)


def promised_by(incident: Incident, policy: Policy) -> datetime | None:
    """When readers are to hear again of a confirmed or watching partial outage or outage; None elsewhere."""
    if incident.status not in UNDER_WAY or incident.severity not in SERIOUS or not incident.updates:
        return None
    return incident.updates[-1].at + timedelta(seconds=policy.update_every)


def due_mail(state: State, at: datetime) -> Mail | None:
    """The mail to hand over now: due, and with no newer one of its incident still to leave."""
    return next(
        (m for m in state.mails.values() if m.state is Post.HELD and m.not_before <= at and not _newer(state, m)), None
    )


def next_mail(state: State) -> datetime | None:
    """When `due_mail` may have one, or None."""
    return min(
        (m.not_before for m in state.mails.values() if m.state is Post.HELD and not _newer(state, m)), default=None
    )


def _newer(state: State, mail: Mail) -> bool:
    return any(
        m.incident == mail.incident and m.update > mail.update and m.state is not Post.FAILED
        for m in state.mails.values()
    )


def _ends_by_itself(incident: Incident) -> bool:
    return incident.is_maintenance and incident.status in UNDER_WAY and not incident.ask


def pass_time(desk: Desk) -> None:
    span = timedelta(seconds=desk.policy.undo_window)
    for mail in list(desk.mails.values()):
        if not mail.attempts and mail.not_before - desk.at > span:  # the clock went back: the span counts from now
            desk.mails[mail.key] = replace(mail, not_before=desk.at + span)
    for incident in list(desk.incidents.values()):
        if incident.undo:
            undo = tuple(replace(u, until=min(u.until, desk.at + span)) for u in incident.undo)
            clamped = desk.put(replace(incident, undo=undo))
            desk.end_windows(clamped, tuple(u for u in undo if u.until <= desk.at))
        follow_plan(desk, desk.incidents[incident.number])
    desk.checked_at = min(desk.checked_at, desk.at)
    silent_from = desk.checked_at + timedelta(seconds=desk.policy.stale_after)
    if desk.policy.monitoring and desk.monitoring.ok and desk.at >= silent_from:
        hear_monitoring(desk, ok=False)


def follow_plan(desk: Desk, incident: Incident) -> None:
    """Starts and ends a plan at its times; what was missed is caught up in one step with the planned times."""
    start, end = incident.planned_start, incident.planned_end
    starts = incident.status is Status.PLANNED and not incident.ask and start is not None and start <= desk.at
    ends = (starts and incident.is_maintenance) or _ends_by_itself(incident)
    began: dict[str, Any] = {"started_at": start} if starts else {}
    if ends and end is not None and end <= desk.at:
        desk.move(incident, Status.RESOLVED, "resolved", desk.sentence("completed"), ended_at=end, **began)
    elif starts:
        desk.move(incident, Status.CONFIRMED, "started", desk.sentence("started"), **began)


def hear_monitoring(desk: Desk, *, ok: bool) -> None:
    if ok != desk.monitoring.ok:
        desk.monitoring = replace(desk.monitoring, ok=ok, since=desk.at)
        desk.changed = Changed(incident=None, kind="monitoring")
        desk.log("monitoring_back" if ok else "monitoring_silent", None)


def happen(desk: Desk, event: Event) -> None:
    match event:
        case AlertsSeen():
            see_alerts(desk, event)
        case Act():
            act(desk, event)
        case MailClaimed():
            claim_mail(desk, event)
        case MailSettled():
            settle_mail(desk, event)
        case Tick():
            pass  # time has passed already


def see_alerts(desk: Desk, event: AlertsSeen) -> None:
    desk.checked_at, desk.answered = desk.at, True
    hear_monitoring(desk, ok=True)
    oldest = desk.at - timedelta(seconds=desk.policy.max_alert_age)
    for alert in event.open:
        known = desk.alerts.get(alert.id)
        if known is None:
            ignored = not desk.monitoring.seeded and alert.created_at < oldest
            desk.alerts[alert.id] = replace(alert, ignored=ignored)
        elif known.closed_at is None:  # once it was over it stays over: lists lag
            desk.alerts[alert.id] = replace(known, message=alert.message, source=alert.source, priority=alert.priority)
    for end in event.ended:
        known = desk.alerts.get(end.id)
        if known is not None and known.closed_at is None:
            closed_at = min(max(end.at, known.created_at), desk.at)
            desk.alerts[end.id] = replace(known, closed_at=closed_at)
    desk.monitoring = replace(desk.monitoring, seeded=True)


def claim_mail(desk: Desk, event: MailClaimed) -> None:
    mail = desk.mails.get(event.key)
    if mail is None or mail.state is not Post.HELD or _newer(desk.before, mail):
        raise Refused(f"{event.key} is not to be sent now")
    tried = mail.first_tried or desk.at
    desk.mails[mail.key] = replace(mail, state=Post.CLAIMED, attempts=mail.attempts + 1, first_tried=tried)


def settle_mail(desk: Desk, event: MailSettled) -> None:
    mail = desk.mails.get(event.key)
    if mail is None or mail.state is not Post.CLAIMED:
        raise Refused(f"{event.key} is not on its way")
    if not event.error:
        desk.mails[mail.key] = replace(mail, state=Post.SENT, error="")
        for older in desk.mails_of(mail.incident):
            if older.update < mail.update:
                desk.mails[older.key] = replace(older, state=Post.DROPPED)
        if incident := desk.incidents.get(mail.incident):
            desk.put(replace(incident, mailed_at=desk.at, first_mailed_at=incident.first_mailed_at or desk.at))
        desk.log("mail_sent", mail.incident)
        return
    trying = (desk.at - (mail.first_tried or desk.at)).total_seconds()
    failed = event.permanent or trying >= desk.policy.mail_give_up
    late = not failed and not mail.told and trying >= desk.policy.mail_tell
    if failed or late:
        desk.log("mail_failed" if failed else "mail_late", mail.incident, error=event.error)
    desk.mails[mail.key] = replace(
        mail,
        state=Post.FAILED if failed else Post.HELD,
        not_before=event.retry_at or desk.at,
        ambiguous=mail.ambiguous or event.ambiguous,
        told=mail.told or late,
        error=event.error,
    )


def settle_alerts(desk: Desk) -> None:
    """Gives every open alert its incident, dismisses what has none left, and reminds of what may be over."""
    waiting = [a for a in desk.alerts.values() if a.closed_at is None and not a.ignored]
    for alert in sorted(waiting, key=lambda a: (a.created_at, a.id)):
        if not stays(desk, alert):
            join(desk, alert)
    held = {a.incident for a in desk.alerts.values() if a.closed_at is None}
    for incident in list(desk.incidents.values()):
        if incident.status is Status.SUSPECTED and incident.number not in held:
            closed = [a.closed_at for a in desk.alerts.values() if a.incident == incident.number and a.closed_at]
            end = max([*closed, incident.started_at]) if closed else desk.at
            text = desk.sentence("over_by_itself")
            desk.move(incident, Status.DISMISSED, "dismissed", text, ended_at=end)
        elif (
            incident.status in UNDER_WAY
            and not incident.is_maintenance
            and incident.number not in held
            and desk.before.open_alerts(incident.number)
        ):
            desk.log("alerts_over", incident.number)


def stays(desk: Desk, alert: Alert) -> bool:
    """Whether an open alert belongs where it is: an open incident, or one that a human closed over its head."""
    own = desk.incidents.get(alert.incident) if alert.incident else None
    if own is None:
        return False
    closed_over = bool(own.status_by) and not own.is_maintenance and alert.joined <= own.status_entry
    return own.is_open or closed_over


def join(desk: Desk, alert: Alert) -> None:
    """Finds the first of section 2's list that exists, else opens a suspicion."""
    incidents = desk.incidents.values()
    suspected = [i for i in incidents if i.status is Status.SUSPECTED]
    serious = [i for i in incidents if i.status in UNDER_WAY and i.severity in SERIOUS]
    maintained = [i for i in incidents if i.status in UNDER_WAY and i.is_maintenance]
    since = desk.at - timedelta(seconds=desk.policy.reopen_within)
    flapping = [
        i
        for i in incidents
        if i.status is Status.DISMISSED and not i.status_by and not i.was_plan and i.status_at > since
    ]
    serious.sort(key=lambda i: (i.severity.rank, i.number), reverse=True)
    maintained.sort(key=lambda i: i.number, reverse=True)
    flapping.sort(key=lambda i: i.status_entry, reverse=True)
    home = next(iter([*suspected, *serious, *maintained, *flapping]), None)
    if home is None:
        noticed = min(alert.created_at, desk.at)
        home = desk.open_incident(
            title=desk.policy.incident_title,
            severity=Severity.OUTAGE,
            status=Status.SUSPECTED,
            started_at=noticed,
            noticed_at=noticed,
            by=None,
        )
        desk.say(home, desk.policy.incident_text)
    elif home.status is Status.DISMISSED:
        desk.move(home, Status.SUSPECTED, "reopened", desk.sentence("suspected_again"))
    joined = desk.log(
        "joined", home.number, alert=alert.message, source=alert.source, maintenance=str(home.is_maintenance)
    )
    desk.alerts[alert.id] = replace(alert, incident=home.number, joined=joined)
