"""The pure core: what follows from every fact.

`decide(state, event, policy)` is the only place where anything changes. It reads no clock: every
event carries its time. PRODUCT.md section 2 is its contract.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from monostat.core import events
from monostat.core import model as core
from monostat.core.acts import act
from monostat.core.desk import Desk, Refused
from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    PLANNED,
    RESOLVED,
    SUSPECTED,
    UNDER_WAY,
    Incident,
    Mail,
    Post,
)

RAREST_LOOK = 60  # seconds between two questions what has become of a mailing
MOST_INVALID = 3  # tries, of a mail that the vendor calls invalid without saying why


def decide(state: core.State, event: events.Tick, policy: core.Policy) -> core.Change:
    """Says what an event changes.

    1. Time passes: windows end, plans start and end.
    2. The event itself happens, or is refused.
    3. The rules about alerts are applied to whatever is true now.
    """
    desk, refused = Desk(state, policy, event.at), None
    pass_time(desk)
    try:
        match event:
            case events.AlertsSeen():
                see_alerts(desk, event)
            case events.AlertsUnseen():
                desk.state.trouble = event.reason
            case events.MonitoringSilent():
                hear_monitoring(desk, ok=False)
            case events.Act():
                act(desk, event)
            case events.Alerted() if incident := desk.incidents.get(event.incident):
                desk.put(replace(incident, alerted_at=desk.at))
            case events.MailClaimed():
                claim_mail(desk, event)
            case events.MailSettled():
                settle_mail(desk, event)
    except Refused as refusal:
        refused = refusal
    settle_alerts(desk)
    return desk.change(refused)


def next_due(state: core.State, policy: core.Policy) -> datetime | None:
    """When the core must be asked again although nothing happened, or None."""
    due = [undo.until for incident in state.incidents.values() for undo in incident.undo]
    for incident in state.incidents.values():
        due += [at for at, _ in reminders(incident, policy) if at > incident.reminded_at]
        if incident.status is PLANNED and not incident.ask and incident.planned_start:
            due.append(incident.planned_start)
        if _ends_by_itself(incident) and incident.planned_end:
            due.append(incident.planned_end)
    return min(due, default=None)


def promised_by(incident: Incident, policy: core.Policy) -> datetime | None:
    """When readers are to hear again of a confirmed or watching partial outage or outage; None
    elsewhere.
    """
    if (
        incident.status not in UNDER_WAY
        or incident.severity not in core.SERIOUS
        or not incident.updates
    ):
        return None
    return (incident.promised_from or incident.updates[-1].at) + timedelta(
        seconds=policy.update_every
    )


def reminders(incident: Incident, policy: core.Policy) -> list[tuple[datetime, str]]:
    """What staff have to be reminded of as things stand, and when, in its order."""
    found: list[tuple[datetime | None, float, str]] = []
    start, end = incident.planned_start, incident.planned_end
    if incident.status is SUSPECTED and not incident.touched:
        found += [(incident.status_at, span, "unattended") for span in policy.remind_after]
    if incident.status is PLANNED:
        found += [(start, -policy.soon, "starts_soon")] + [(start, 0, "asks_start")] * incident.ask
    if incident.status in UNDER_WAY and incident.is_maintenance:
        found += [(end, -policy.soon, "ends_soon")] + [(end, 0, "asks_end")] * incident.ask
    lead = 300 if policy.update_every >= 600 else policy.update_every / 2
    found.append((promised_by(incident, policy), -lead, "promise"))
    return sorted((at + timedelta(seconds=span), kind) for at, span, kind in found if at)


def due_mail(state: core.State, at: datetime) -> Mail | None:
    """The mail to hand over now: due, the newest of its incident, and with none of it on its way."""
    due = [mail for mail in _leaving(state) if mail.not_before <= at]
    return min(due, key=lambda mail: mail.not_before, default=None)


def next_mail(state: core.State) -> datetime | None:
    """When something is to be done with a mail, or None."""
    return min((mail.not_before for mail in waiting_mails(state)), default=None)


def waiting_mails(state: core.State) -> list[Mail]:
    """Those to hand over, then those to look after at the vendor; of each the first due first."""
    handed_over = [mail for mail in state.mails.values() if mail.state is Post.HANDED_OVER]
    both = [*_leaving(state), *handed_over]
    return sorted(both, key=lambda mail: (mail.state is Post.HANDED_OVER, mail.not_before))


def _leaving(state: core.State) -> list[Mail]:
    mails = {
        m.incident: m
        for m in sorted(state.mails.values(), key=lambda m: m.entry)
        if m.state is not Post.FAILED
    }
    on_their_way = {m.incident for m in state.mails.values() if m.state is Post.CLAIMED}
    return [m for m in mails.values() if m.state is Post.HELD and m.incident not in on_their_way]


def _ends_by_itself(incident: Incident) -> bool:
    return incident.is_maintenance and incident.status in UNDER_WAY and not incident.ask


def pass_time(desk: Desk) -> None:
    span = timedelta(seconds=desk.policy.undo_window)
    for mail in list(desk.mails.values()):
        longest = timedelta(seconds=3600) if mail.attempts else span
        longest = timedelta(seconds=RAREST_LOOK) if mail.state is Post.HANDED_OVER else longest
        if mail.not_before - desk.at > longest:  # the clock went back: the span counts from now
            desk.mails[mail.key] = replace(mail, not_before=desk.at + longest)
        if mail.handed_over_at and mail.handed_over_at > desk.at:
            desk.mails[mail.key] = replace(desk.mails[mail.key], handed_over_at=desk.at)
    for incident in list(desk.incidents.values()):
        if incident.undo:
            undo = tuple(replace(u, until=min(u.until, desk.at + span)) for u in incident.undo)
            incident = desk.end_windows(replace(incident, undo=undo), until=desk.at)
        if (
            incident.status not in core.OVER or incident.reminded_at > desk.at
        ):  # most are over, and of the past
            remind(desk, follow_plan(desk, incident))
    desk.state.checked_at = min(desk.state.checked_at, desk.at)


def remind(desk: Desk, incident: Incident) -> None:
    """Tells staff what is due, of each kind only the newest: after a time of silence one reminder
    is enough.
    """
    since = min(incident.reminded_at, desk.at)
    due = {kind: at for at, kind in reminders(incident, desk.policy) if since < at <= desk.at}
    planned = incident.planned_start if incident.status is PLANNED else incident.planned_end
    for kind, at in due.items():
        desk.log(
            kind,
            incident.number,
            due=at.isoformat(),
            **({"planned": core.exact(planned)} if planned else {}),
        )
    if due or since != incident.reminded_at:  # the latter where the clock went back
        said = incident.promised_from or incident.updates[-1].at
        times: dict[str, Any] = {
            "status_at": min(incident.status_at, desk.at),
            "reminded_at": desk.at,
        }
        desk.put(
            replace(
                incident,
                **times,
                promised_from=desk.at if said > desk.at else incident.promised_from,
            )
        )


def follow_plan(desk: Desk, incident: Incident) -> Incident:
    """Starts and ends a plan at its times; what was missed is caught up in one step with the
    planned times.
    """
    start, end = incident.planned_start, incident.planned_end
    starts = (
        incident.status is PLANNED and not incident.ask and start is not None and start <= desk.at
    )
    ends = (starts and incident.is_maintenance) or _ends_by_itself(incident)
    began: dict[str, Any] = {"started_at": start} if starts else {}
    if ends and end is not None and end <= desk.at:
        return desk.move(
            incident, RESOLVED, "resolved", desk.sentence("completed"), ended_at=end, **began
        )
    if starts:
        return desk.move(incident, CONFIRMED, "started", desk.sentence("started"), **began)
    return incident


def hear_monitoring(desk: Desk, *, ok: bool) -> None:
    if ok != desk.state.monitoring.ok:
        desk.state.monitoring = replace(desk.state.monitoring, ok=ok, since=desk.at)
        desk.changed = (None, "monitoring")
        why = desk.state.trouble or "It does not answer"
        desk.log("monitoring_back" if ok else "monitoring_silent", None, reason=why)


def see_alerts(desk: Desk, event: events.AlertsSeen) -> None:
    hear_monitoring(desk, ok=True)
    if event.refused and event.refused != desk.state.trouble:
        desk.log("monitoring_refuses", None, reason=event.refused)
    was, oldest = desk.state.monitoring, desk.at - timedelta(seconds=desk.policy.max_alert_age)
    if moved := was.source not in ("", event.source):
        leave_source(desk)
    for alert in event.open:
        known = desk.alerts.get(alert.id)
        if known is None:
            first = moved or not was.seeded
            desk.alerts[alert.id] = replace(alert, ignored=first and alert.created_at < oldest)
        elif known.closed_at is None:  # once it was over it stays over: lists lag
            told = replace(
                known, message=alert.message, source=alert.source, priority=alert.priority
            )
            desk.alerts[alert.id] = replace(told, ignored=known.ignored and known.incident is None)
    for id_, end in event.ended.items():
        if (known := desk.alerts.get(id_)) and known.closed_at is None:
            desk.alerts[id_] = replace(known, closed_at=min(max(end, known.created_at), desk.at))
    desk.state.checked_at, desk.state.answered, desk.state.trouble = desk.at, True, event.refused
    desk.state.monitoring = replace(desk.state.monitoring, seeded=True, source=event.source)


def leave_source(desk: Desk) -> None:
    """Asks no more for the alerts of a source that was left; they hold their incidents until others
    join those.
    """
    desk.log("monitoring_moved", None)
    for alert in [a for a in desk.alerts.values() if a.closed_at is None]:
        desk.alerts[alert.id] = replace(alert, ignored=True)


def claim_mail(desk: Desk, event: events.MailClaimed) -> None:
    mail = desk.mails.get(event.key)
    if (mail not in _leaving(desk.before) and mail not in _leaving(desk.state)) or mail is None:
        raise Refused(f"{event.key} is not to be sent now")
    first, letter = mail.first_tried or desk.at, mail.letter or event.letter
    claimed = replace(
        mail, state=Post.CLAIMED, attempts=mail.attempts + 1, first_tried=first, letter=letter
    )
    desk.mails[mail.key] = claimed


def settle_mail(desk: Desk, event: events.MailSettled) -> None:
    mail = desk.mails.get(event.key)
    if mail is None or mail.state not in (Post.CLAIMED, Post.HANDED_OVER):
        raise Refused(f"{event.key} is not on its way")
    if event.mailing not in (0, mail.mailing):
        mail = replace(mail, mailing=event.mailing, handed_over_at=desk.at, ambiguous=False)
    if event.absent:
        desk.drop(mail)
    elif not event.error and not event.waiting:
        leave(desk, mail)
    elif event.mailing or mail.state is Post.HANDED_OVER:
        follow_mail(desk, mail, event)
    else:
        try_again(desk, mail, event)


def leave(desk: Desk, mail: Mail) -> None:
    """Subscribers get it: counts from when it was handed over."""
    at = mail.handed_over_at or desk.at
    desk.mails[mail.key] = replace(mail, state=Post.SENT, error="")
    of_incident = [m for m in desk.mails.values() if m.incident == mail.incident]
    for older in [m for m in of_incident if m.entry < mail.entry]:
        desk.drop(older)
    if incident := desk.incidents.get(mail.incident):
        first = min(at, incident.first_mailed_at or at)
        last = max(at, incident.mailed_at or at)
        desk.put(replace(incident, first_mailed_at=first, mailed_at=last))
    desk.log("mail_sent", mail.incident)


def follow_mail(desk: Desk, mail: Mail, event: events.MailSettled) -> None:
    """Keeps an eye on what the vendor has, until it leaves, or is known not to."""
    patience = desk.policy.mail_leave
    again = event.retry_at or desk.at
    error = event.error
    since = (desk.at - (mail.handed_over_at or desk.at)).total_seconds()
    if event.waiting and since >= patience:
        error = f"Rapidmail has not begun to send it for {patience / 60:g} minutes"
        error += f" (“{event.waiting}”): look there what it waits for, or tap Retry,"
        error += " which deletes it there and sends a new one"
    unknown = bool(event.error) and not event.permanent
    given_up = unknown and since >= desk.policy.mail_give_up
    if given_up:
        error = (
            f"it is not known whether Rapidmail has sent it ({error}): look there, then tap Retry"
        )
    failed = event.permanent or given_up or (error and event.waiting)
    if failed and mail.unwanted:
        desk.mails[mail.key] = replace(mail, state=Post.DROPPED)
    elif failed:
        desk.log("mail_failed", mail.incident, error=error)
        desk.mails[mail.key] = replace(mail, state=Post.FAILED, error=error)
    elif error and mail.state is Post.CLAIMED:  # it was found, stopped: deleted, then sent anew
        anew = replace(mail, state=Post.HELD, not_before=again, error=error)
        desk.mails[mail.key] = replace(anew, revision=mail.revision + 1, ambiguous=False)
    else:
        tells = bool(error) and not mail.told and since >= patience
        if tells:
            desk.log("mail_unclear", mail.incident, error=error)
        followed = replace(mail, state=Post.HANDED_OVER, not_before=again, error=error)
        desk.mails[mail.key] = replace(followed, told=mail.told or tells)


def try_again(desk: Desk, mail: Mail, event: events.MailSettled) -> None:
    """Of a mail that the vendor did not take, or may have taken."""
    unclear = mail.ambiguous or event.ambiguous
    invalid = mail.invalid + event.invalid
    if mail.unwanted and not unclear:
        desk.drop(mail)
        return
    trying = (desk.at - (mail.first_tried or desk.at)).total_seconds()
    failed = event.permanent or trying >= desk.policy.mail_give_up or invalid >= MOST_INVALID
    late = not failed and not mail.told and trying >= desk.policy.mail_tell
    if failed or late:
        desk.log("mail_failed" if failed else "mail_late", mail.incident, error=event.error)
    state = Post.FAILED if failed else Post.HELD
    again = event.retry_at or desk.at
    tried = replace(mail, state=state, not_before=again, told=mail.told or late, error=event.error)
    desk.mails[mail.key] = replace(tried, ambiguous=unclear, invalid=invalid)


def settle_alerts(desk: Desk) -> None:
    """Gives every open alert its incident, dismisses what has none left, and reminds of what may be
    over.
    """
    waiting = [a for a in desk.alerts.values() if a.closed_at is None and not a.ignored]
    for alert in sorted(waiting, key=lambda a: (a.created_at, a.id)):
        if not stays(desk, alert):
            join(desk, alert)
    held = {a.incident for a in desk.alerts.values() if a.closed_at is None}
    for incident in [i for i in desk.incidents.values() if i.is_open and i.number not in held]:
        if incident.status is SUSPECTED:
            closed = [
                a.closed_at
                for a in desk.alerts.values()
                if a.incident == incident.number and a.closed_at
            ]
            end = max([*closed, incident.started_at]) if closed else desk.at
            desk.move(
                incident, DISMISSED, "dismissed", desk.sentence("over_by_itself"), ended_at=end
            )
        elif not incident.is_maintenance and desk.before.open_alerts(incident.number):
            desk.log("alerts_over", incident.number)


def stays(desk: Desk, alert: core.Alert) -> bool:
    """Whether an open alert belongs where it is: an open incident, or one that a human closed over
    its head.
    """
    own = desk.incidents.get(alert.incident or 0)
    closed_over = (
        own and own.status_by and not own.is_maintenance and alert.joined <= own.status_entry
    )
    return own is not None and (own.is_open or bool(closed_over))


def join(desk: Desk, alert: core.Alert) -> None:
    """Finds the first of section 2's list that exists, else opens a suspicion."""
    since = desk.at - timedelta(seconds=desk.policy.reopen_within)

    def place(i: Incident) -> tuple[int, ...] | None:
        """The order of the list, the best first; None: alerts do not belong there."""
        if i.status is SUSPECTED:
            return (4,)
        if i.status in UNDER_WAY and i.severity in core.SERIOUS:
            return (3, core.RANK(i.severity), i.number)
        if i.status in UNDER_WAY and i.is_maintenance:
            return (2, i.number)
        flapping = (
            i.status is DISMISSED and not i.status_by and not i.was_plan and i.status_at > since
        )
        return (1, i.status_entry) if flapping else None

    home = max(
        (i for i in desk.incidents.values() if place(i)), key=lambda i: place(i) or (), default=None
    )
    if home is None:
        noticed = min(alert.created_at, desk.at)
        found = (
            desk.policy.incident_title,
            core.Severity.OUTAGE,
            SUSPECTED,
            desk.policy.incident_text,
            "",
        )
        home = desk.open_incident(*found, started_at=noticed, noticed_at=noticed)
    elif home.status is DISMISSED:
        desk.move(home, SUSPECTED, "reopened", desk.sentence("suspected_again"))
    for left in [a for a in desk.state.open_alerts(home.number) if a.ignored]:
        desk.alerts[left.id] = replace(left, closed_at=desk.at)
    told = {"alert": alert.message, "source": alert.source, "maintenance": str(home.is_maintenance)}
    desk.belongs(alert, home.number, desk.log("joined", home.number, **told))
