"""What people do: every verb, what it changes, and the sentence for those who cannot have it."""

from dataclasses import fields, replace
from typing import Any

from monostat.desk import Desk, Refused
from monostat.incidents import UNDER_WAY, VERB, Act, Changed, Incident, Policy, Post, Severity, Standing, Status, Verb


def act(desk: Desk, event: Act) -> None:
    """Does what somebody asked for, or raises Refused before anything has changed."""
    if event.verb in MAKERS:
        MAKERS[event.verb](desk, event)
        return
    if event.verb not in VERB and event.verb not in OTHERS:
        raise ValueError(f"unknown verb: {event.verb!r}")
    incident = desk.incidents.get(event.incident)
    if incident is None:
        raise Refused(f"There is no incident #{event.incident}.")
    if event.verb in VERB:
        follow(desk, VERB[event.verb], event, incident)
    else:
        OTHERS[event.verb](desk, event, incident)


def follow(desk: Desk, verb: Verb, act: Act, incident: Incident) -> None:
    """Does what a row of the table says."""
    if refusal := why_not(verb, incident, desk.policy):
        raise Refused(refusal)
    kind = KINDS.get(verb.name, verb.leads_to.value)
    sentence = "completed" if verb.name == "resolve" and incident.is_maintenance else verb.sentence
    more: dict[str, Any] = {"severity": act.severity} if act.severity else {}
    if verb.name == "was_real":
        more |= {"ended_at": incident.ended_at, "confirmed_at": incident.confirmed_at or desk.at}
    if verb.name == "start":
        more["started_at"] = desk.at
    if verb.name == "reopen" and incident.planned_end and incident.planned_end <= desk.at:
        more["planned_end"] = None
    moved = desk.move(incident, verb.leads_to, kind, act.text.strip() or desk.sentence(sentence), act.by, **more)
    moved = desk.undoable(moved, incident, announces=verb.leads_to is not Status.DISMISSED)
    if verb.mails:
        desk.hold_mail(moved, act.mail, usual=verb.leads_to is not Status.DISMISSED)


def create(desk: Desk, act: Act) -> None:
    if not act.title.strip():
        raise Refused("An incident needs a title.")
    start = act.start or desk.at
    if start > desk.at:
        raise Refused("The start lies in the future: plan it instead.")
    if act.end and not start <= act.end <= desk.at:
        raise Refused("The end must lie between the start and now.")
    incident = desk.open_incident(
        title=act.title.strip(),
        severity=act.severity or Severity.PARTIAL,
        status=Status.RESOLVED if act.end else Status.CONFIRMED,
        started_at=start,
        ended_at=act.end,
        by=act.by,
        summary=act.summary,
        confirmed_at=desk.at,
    )
    incident = desk.say(incident, act.text.strip() or desk.sentence("resolved" if act.end else "confirmed"))
    incident = desk.undoable(incident, None, announces=True)
    desk.hold_mail(incident, act.mail, usual=True)
    desk.made = incident.number


def plan(desk: Desk, act: Act) -> None:
    if not act.title.strip():
        raise Refused("A plan needs a title.")
    if act.start is None or act.end is None:
        raise Refused("A plan needs a start and an end.")
    if act.start <= desk.at:
        raise Refused("The planned start lies in the past.")
    if act.end <= act.start:
        raise Refused("The planned end must come after the start.")
    incident = desk.open_incident(
        title=act.title.strip(),
        severity=act.severity or Severity.MAINTENANCE,
        status=Status.PLANNED,
        started_at=act.start,
        planned_start=act.start,
        planned_end=act.end,
        by=act.by,
        summary=act.summary,
        ask=act.ask,
    )
    incident = desk.say(incident, act.text.strip() or desk.sentence("planned"))
    incident = desk.undoable(incident, None, announces=True)
    desk.hold_mail(incident, act.mail, usual=False)
    desk.made = incident.number


def update(desk: Desk, act: Act, incident: Incident) -> None:
    if incident.status not in (*UNDER_WAY, Status.PLANNED):
        raise Refused(f"#{incident.number} is {incident.status}: only an open or planned incident takes updates.")
    if not act.text.strip():
        raise Refused("An update needs words.")
    incident = desk.say(incident, act.text.strip())
    desk.log("updated", incident.number, act.by, text=act.text.strip())
    desk.changed = Changed(incident=incident.number, kind="updated")
    desk.hold_mail(incident, act.mail, usual=False)


def real_outage(desk: Desk, act: Act, incident: Incident) -> None:
    alerts = [a for a in desk.alerts.values() if a.incident == incident.number and a.closed_at is None]
    if first := next((i for i in desk.incidents.values() for u in i.undo if u.alerts_from == incident.number), None):
        raise Refused(f"{first.status_by} was first: #{first.number} is {first.status} ({first.severity}).")
    if not (incident.is_maintenance and incident.status in UNDER_WAY and alerts):
        raise Refused(f"#{incident.number} is no maintenance under way with open alerts.")
    noticed = min(min(a.created_at for a in alerts), desk.at)
    outage = desk.open_incident(
        title=act.title or desk.policy.incident_title,
        severity=Severity.OUTAGE,
        status=Status.CONFIRMED,
        started_at=noticed,
        by=act.by,
        noticed_at=noticed,
        confirmed_at=desk.at,
    )
    outage = desk.say(outage, act.text.strip() or desk.sentence("real_outage"))
    outage = desk.undoable(outage, None, announces=True, alerts_from=incident.number)
    for alert in alerts:
        desk.alerts[alert.id] = replace(alert, incident=outage.number, joined=outage.status_entry)
    desk.log("real_outage", incident.number, act.by, outage=str(outage.number))
    desk.hold_mail(outage, act.mail, usual=True)
    desk.made = outage.number


def undo(desk: Desk, act: Act, incident: Incident) -> None:
    """Takes the newest change back whose window still runs."""
    if not incident.undo:
        raise Refused(too_late(desk, incident))
    last = incident.undo[-1]
    if act.update not in (None, last.update):
        raise Refused(f"Somebody was first: #{incident.number} has changed since. Look at its message again.")
    others = (i for i in desk.incidents.values() if i.status is Status.SUSPECTED and i != incident)
    if last.before and last.before.status is Status.SUSPECTED and (other := next(others, None)):
        raise Refused(f"Monitoring has raised a new suspicion by now, #{other.number}: act on that one.")
    unsure = last.before and last.before.status in (Status.SUSPECTED, Status.DISMISSED)  # of these nobody is mailed
    for mail in desk.mails_of(incident.number):
        if mail.update == last.update or unsure:
            desk.mails[mail.key] = replace(mail, state=Post.DROPPED)
    desk.log("undone", incident.number, act.by, status=incident.status.value)
    desk.changed = Changed(incident=incident.number, kind="undone")
    if last.before is None:
        vanish(desk, incident, last.alerts_from)
        return
    was = {f.name: getattr(last.before, f.name) for f in fields(Standing)}
    updates = tuple(u for u in incident.updates if u.id != last.update)
    desk.put(replace(incident, **was, undo=incident.undo[:-1], updates=updates, updated_at=desk.at))


def vanish(desk: Desk, incident: Incident, alerts_to: int | None) -> None:
    del desk.incidents[incident.number]
    for mail in desk.mails_of(incident.number):
        desk.mails[mail.key] = replace(mail, state=Post.DROPPED)
    for alert in list(desk.alerts.values()):
        if alert.incident == incident.number:
            desk.alerts[alert.id] = replace(alert, incident=alerts_to if alerts_to in desk.incidents else None)


def too_late(desk: Desk, incident: Incident) -> str:
    """Why nothing can be undone any more."""
    if incident.mailed_at and incident.mailed_at >= incident.status_at:
        return f"Too late to undo: the mail left at {desk.policy.clock(incident.mailed_at)}."
    waiting = [m for m in desk.mails_of(incident.number) if m.state is not Post.FAILED]
    if any(m.attempts or m.not_before <= desk.at for m in waiting):
        return "Too late to undo: the mail is on its way."
    if not incident.status_by:
        return f"There is nothing to undo: #{incident.number} became {incident.status} by itself."
    if (desk.at - incident.status_at).total_seconds() < desk.policy.undo_window:
        return "Too late to undo: it was announced before its time was over."
    return f"Too late to undo: the {desk.policy.undo_window:g} seconds for it are over."


def send(desk: Desk, act: Act, incident: Incident) -> None:
    waiting = [m for m in desk.mails_of(incident.number) if m.state is Post.HELD and m.not_before > desk.at]
    if not incident.undo and not waiting:
        left = incident.mailed_at
        when = f" The last mail left at {desk.policy.clock(left)}." if left else ""
        raise Refused(f"Nothing is waiting to be sent for #{incident.number}.{when}")
    for mail in waiting:
        desk.mails[mail.key] = replace(mail, not_before=desk.at)
    desk.end_windows(incident)
    desk.log("sent_now" if waiting else "announced_now", incident.number, act.by)


def retry(desk: Desk, act: Act, incident: Incident) -> None:
    failed = [m for m in desk.mails_of(incident.number) if m.state is Post.FAILED]
    if not failed:
        raise Refused(f"No mail of #{incident.number} has failed.")
    for mail in failed:
        desk.mails[mail.key] = replace(mail, state=Post.HELD, not_before=desk.at, first_tried=None, told=False)
    desk.log("retried", incident.number, act.by)


def why_not(verb: Verb, incident: Incident, policy: Policy) -> str:
    """The sentence for a person whose verb the incident's present status does not allow; empty where it does."""
    if incident.status is Status.DISMISSED and incident.was_plan and Status.DISMISSED in verb.allowed:
        return f"#{incident.number} was cancelled, and that is final: plan a new one."
    if incident.status in verb.allowed:
        return ""
    since = policy.clock(incident.status_at)
    if incident.status is verb.leads_to:
        who = f"{incident.status_by} was first" if incident.status_by else "That has already happened"
        return f"{who}: #{incident.number} is {incident.status} ({incident.severity}) since {since}."
    return f"#{incident.number} is {incident.status} since {since}, so “{verb.label}” is not possible now."


MAKERS = {"create": create, "plan": plan}
OTHERS = {"update": update, "real_outage": real_outage, "undo": undo, "send": send, "retry": retry}
#: What the log calls a verb that is not called like the status it leads to.
KINDS = {
    "start": "started",
    "cancel": "cancelled",
    "reopen": "reopened",
    "not_fixed": "not_fixed",
    "was_real": "was_real",
}
