"""What people do: every verb, what it changes, and the sentence for those who cannot have it."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from monostat.core import events
from monostat.core import model as core
from monostat.core.desk import Desk, Refused
from monostat.core.events import Act
from monostat.core.markdown import LONGEST
from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    PLANNED,
    RESOLVED,
    SUSPECTED,
    UNDER_WAY,
    Incident,
    Post,
)


def act(desk: Desk, act: Act) -> None:
    """Does what somebody asked for, or raises Refused before anything has changed."""
    desk.source = act.source
    act = core.all_sound(replace(act, title=act.title.strip(), text=act.text.strip()))
    if max(len(act.title), len(act.changes.title or "")) > LONGEST_TITLE:
        raise Refused(f"A title has at most {LONGEST_TITLE} characters.", "title")
    texts = [("texts", text) for text in act.texts.values()]
    for name, text in (
        ("text", act.text),
        ("summary", act.summary),
        ("summary", act.changes.summary),
        *texts,
    ):
        if text and len(text) > LONGEST:
            words = f"at most {LONGEST:,} characters, and this has {len(text):,}: shorten it, or say it in two."
            raise Refused(f"An update or a summary has {words}", name)
    for name in ("start", "end"):
        for at in (getattr(act, name), getattr(act.changes, name)):
            if at and (at.tzinfo is None or abs(at - desk.at) > BELIEVABLE):
                raise Refused("This time is too far away, or has no zone.", name)
    if act.verb in MAKERS:
        MAKERS[act.verb](desk, act)
    elif act.verb not in core.VERB and act.verb not in OTHERS:
        raise ValueError(f"unknown verb: {act.verb!r}")
    elif (incident := desk.incidents.get(act.incident)) is None:
        raise Refused(f"There is no incident #{act.incident}.")
    elif act.source in incident.heard:
        return  # Slack delivers what was not acknowledged again, also what was taken back meanwhile
    elif (
        act.mail
        and would_mail(act)
        and (act.changes.silent if act.changes.silent is not None else incident.silent)
    ):
        raise Refused(
            f"#{incident.number} is silent, so that nobody is mailed: choose one of the two.",
            "mail",
        )
    elif act.verb in core.VERB:
        follow(desk, core.VERB[act.verb], act, incident)
    else:
        OTHERS[act.verb](desk, act, incident)


def would_mail(act: Act) -> bool:
    return core.VERB[act.verb].mails if act.verb in core.VERB else act.verb in ("update", "edit")


def follow(desk: Desk, verb: core.Verb, act: Act, incident: Incident) -> None:
    """Does what a row of the table says."""
    if refusal := why_not(verb, incident, act.by):
        raise Refused(refusal)
    text = act.text or desk.sentence(
        of_maintenance(verb.kind) if incident.is_maintenance else verb.kind
    )
    more: dict[str, Any] = {"severity": act.severity} if act.severity else {}
    if verb.name == "was_real":
        more |= {"ended_at": incident.ended_at, "confirmed_at": incident.confirmed_at or desk.at}
    if verb.name == "start":
        more["started_at"] = desk.at
    # Of what will not take place nobody has to hear.
    held = desk.withdraw(incident) if verb.name == "cancel" else ()
    if verb.name == "reopen" and incident.planned_end and incident.planned_end <= desk.at:
        more["planned_end"] = None
    moved, real = (
        desk.move(incident, verb.leads_to, verb.kind, text, act.by, **more),
        verb.leads_to is not DISMISSED,
    )
    desk.undoable(moved, incident, announces=real, held=held)
    if verb.mails:
        desk.hold_mail(moved, act.mail, usual=real)


def of_maintenance(text: str) -> str:
    """The sentence for a maintenance where the other is about a problem."""
    return {
        "confirmed": "started",
        "resolved": "completed",
        "reopened": "resumed",
        "not_fixed": "resumed",
    }.get(text, text)


def create(desk: Desk, act: Act) -> None:
    start = act.start or desk.at
    if not act.title:
        raise Refused("An incident needs a title.", "title")
    if start > desk.at:
        raise Refused("The start lies in the future: plan it instead.", "start")
    if act.end and not start <= act.end <= desk.at:
        raise Refused("The end must lie between the start and now.", "end")
    status, text = (RESOLVED, "resolved") if act.end else (CONFIRMED, "confirmed")
    text = of_maintenance(text) if act.severity is core.Severity.MAINTENANCE else text
    times: dict[str, Any] = {"started_at": start, "ended_at": act.end, "confirmed_at": desk.at}
    made = (
        act.title,
        act.severity or core.Severity.PARTIAL,
        status,
        act.text or desk.sentence(text),
        act.by,
    )
    incident = desk.open_incident(*made, summary=act.summary, **times)
    desk.undoable(incident, None, announces=True)
    desk.hold_mail(incident, act.mail, usual=True)


def plan(desk: Desk, act: Act) -> None:
    if not act.title:
        raise Refused("A plan needs a title.", "title")
    if act.start is None or act.end is None:
        raise Refused("A plan needs a start and an end.", "end" if act.start else "start")
    if act.start <= desk.at:
        raise Refused("The planned start lies in the past.", "start")
    if act.end <= act.start:
        raise Refused("The planned end must come after the start.", "end")
    times: dict[str, Any] = {
        "started_at": act.start,
        "planned_start": act.start,
        "planned_end": act.end,
    }
    text = act.text or desk.sentence("planned", start=act.start, end=act.end)
    made = (act.title, act.severity or core.Severity.MAINTENANCE, PLANNED, text, act.by)
    incident = desk.open_incident(*made, summary=act.summary, ask=act.ask, **times)
    desk.undoable(incident, None, announces=True)
    desk.hold_mail(incident, act.mail, usual=False)


def update(desk: Desk, act: Act, incident: Incident) -> None:
    if incident.status not in (*UNDER_WAY, PLANNED):
        raise Refused(
            f"#{incident.number} is {incident.status}: only an open or planned incident takes updates."
        )
    if not act.text and act.severity in (None, incident.severity):
        raise Refused(
            "An update needs words."
            if not act.severity
            else f"It is {act.severity} already: say more."
        )
    text, detail = act.text or desk.sentence("regraded"), {}
    if act.severity and act.severity is not incident.severity:
        incident, detail = regrade(incident, act.severity), {"severity": str(act.severity)}
        drop_unwanted(desk, incident)
    incident = desk.say(incident, text)
    desk.log("updated", incident.number, act.by, text=text, **detail)
    desk.changed = (incident.number, "updated")
    desk.hold_mail(incident, act.mail, usual=False)


def regrade(incident: Incident, severity: core.Severity) -> Incident:
    """Changes the severity; what becomes or was a maintenance has no planned times any more."""
    times: dict[str, Any] = {}
    other = severity is not incident.severity and core.Severity.MAINTENANCE in (
        severity,
        incident.severity,
    )
    if other and incident.was_plan and incident.status in (*UNDER_WAY, RESOLVED):
        times = {"planned_start": None, "planned_end": None, "unplanned": incident.window}
    return replace(incident, severity=severity, **times)


def drop_unwanted(desk: Desk, incident: Incident) -> None:
    """Of what is silent, or has become a maintenance, nobody is to hear what was held for them."""
    before = desk.incidents[incident.number]
    if incident.silent or (incident.is_maintenance and not before.is_maintenance):
        desk.withdraw(incident)


def edit(desk: Desk, act: Act, incident: Incident) -> None:
    """Changes what was said of an incident, and nothing of where it stands."""
    given = {
        k: v for k in ("title", "summary", "silent") if (v := getattr(act.changes, k)) is not None
    }
    if not given.get("title", incident.title).strip():
        raise Refused("An incident needs a title.", "title")
    changed = retime(desk, replace(incident, **given), act.changes, act.by)
    changed = reword(desk, regrade(changed, act.changes.severity or incident.severity), act.texts)
    told = what_changed(incident, changed)
    if not told and not act.mail:
        return
    drop_unwanted(desk, changed)
    changed = desk.alter(changed, touched=True)
    desk.log(
        "edited",
        incident.number,
        act.by,
        what="; ".join(told) or "nothing, to mail subscribers about it",
    )
    desk.changed = (incident.number, "edited")
    desk.hold_mail(changed, act.mail, usual=False)


def what_changed(before: Incident, after: Incident) -> list[str]:
    """Each thing with its old and its new value, for the thread."""

    def words(value: object) -> str:
        if isinstance(value, datetime):
            return core.exact(value)
        text = {True: "yes", False: "no", None: "none", "": "none"}.get(value, str(value))  # type: ignore[call-overload]
        return text if len(text) <= 80 else f"{text[:79]}…"

    pairs = [(name, getattr(before, key), getattr(after, key)) for key, name in EDITABLE.items()]
    now = {update.id: update.text for update in after.updates}
    pairs += [("update", update.text, now.get(update.id, "deleted")) for update in before.updates]
    return [f"{name}: {words(old)} → {words(new)}" for name, old, new in pairs if old != new]


def retime(desk: Desk, incident: Incident, changes: events.Changes, by: str) -> Incident:
    """Moves start and end: the planned ones of a plan, the planned end of what is under way, else
    the real ones.
    """
    plan, ends = (
        incident.status is PLANNED,
        "ended_at" if incident.status in core.OVER else "planned_end",
    )
    start, end = changes.start or incident.started_at, changes.end or getattr(incident, ends)
    if changes.start and plan and start != incident.started_at and start <= desk.at:
        raise Refused("A plan cannot be moved into the past.", "start")
    if changes.start and not plan and start > desk.at:
        raise Refused("The start lies in the future.", "start")
    if changes.end and not getattr(incident, ends):
        raise Refused("It is not over yet: its end comes with Resolve.", "end")
    if changes.end and (end > desk.at if ends == "ended_at" else end <= desk.at):
        raise Refused(
            f"The end must lie in the {'past' if ends == 'ended_at' else 'future'}.", "end"
        )
    if (changes.start or changes.end) and end and end <= start and (plan or end < start):
        raise Refused("The end must come after the start.", "end" if changes.end else "start")
    moved = {"started_at": start} if changes.start else {}
    moved |= {"planned_start": start} if changes.start and plan else {}
    moved |= {ends: end} if changes.end else {}
    return keep_times(replace(incident, planned_by=by) if moved else incident, **moved)


def keep_times(incident: Incident, **times: Any) -> Incident:
    """Sets times that Undo leaves alone: what it puts back has them too, where it has such times."""
    undo = []
    for each in incident.undo:
        known = {n: at for n, at in times.items() if each.before and getattr(each.before, n)}
        plan = each.before and each.before.status is PLANNED and incident.status is not PLANNED
        known = {n: at for n, at in known.items() if not plan or n == "planned_end"}
        undo.append(replace(each, before=replace(each.before, **known)) if each.before else each)
    return replace(incident, undo=tuple(undo), **times)


def reword(desk: Desk, incident: Incident, texts: Mapping[int, str]) -> Incident:
    """Gives updates new words, or deletes those that are left with none."""
    if any(
        text.strip() for id_, text in texts.items() if id_ not in [u.id for u in incident.updates]
    ):
        raise Refused(
            "Choose the update whose text this is: it may have been deleted meanwhile.", "other"
        )
    kept = []
    for update in incident.updates:
        text = texts.get(update.id, update.text).strip()
        edited_at = update.edited_at if text == update.text else desk.at
        kept += [replace(update, text=text, edited_at=edited_at)] if text else []
    if not kept:
        raise Refused(
            "The last update cannot be deleted: no status is ever without words.", "texts"
        )
    return replace(incident, updates=tuple(kept))


def postpone(desk: Desk, act: Act, incident: Incident) -> None:
    """Moves a plan half an hour on."""
    start, end = incident.planned_start, incident.planned_end
    if incident.status is not PLANNED or not start or not end:
        raise Refused(f"#{incident.number} is {incident.status}: only a plan can be postponed.")
    unless_moved(act, incident, start)
    begins = max(start, desk.at) + HALF_AN_HOUR
    ends = begins + (end - start)
    times: dict[str, Any] = {"started_at": begins, "planned_start": begins, "planned_end": ends}
    text = act.text or desk.sentence("postponed", start=begins, end=ends)
    desk.say(replace(incident, planned_by=act.by, **times), text)
    desk.log("postponed", incident.number, act.by, start=core.exact(begins))
    desk.changed = (incident.number, "postponed")


def extend(desk: Desk, act: Act, incident: Incident) -> None:
    """Gives a maintenance half an hour more."""
    if incident.status not in UNDER_WAY or not incident.is_maintenance or not incident.planned_end:
        raise Refused(f"#{incident.number} is no maintenance under way with a planned end.")
    unless_moved(act, incident, incident.planned_end)
    end = max(incident.planned_end, desk.at) + HALF_AN_HOUR
    text = act.text or desk.sentence("extended", end=end)
    desk.say(keep_times(replace(incident, planned_by=act.by), planned_end=end), text)
    desk.log("extended", incident.number, act.by, end=core.exact(end))
    desk.changed = (incident.number, "updated")


def unless_moved(act: Act, incident: Incident, planned: datetime) -> None:
    """Of two who would move the same planned time on, the second is told."""
    if act.planned and act.planned != planned.replace(microsecond=0):
        who = incident.planned_by or "Somebody"
        raise Refused(
            f"{who} was first: the planned time of #{incident.number} is {core.exact(planned)} by now."
        )


def real_outage(desk: Desk, act: Act, incident: Incident) -> None:
    alerts = desk.state.open_alerts(incident.number)
    if first := next(
        (i for i in desk.incidents.values() for u in i.undo if u.alerts_from == incident.number),
        None,
    ):
        raise Refused(
            f"{first.status_by} was first: #{first.number} is {first.status} ({first.severity})."
        )
    if not (incident.is_maintenance and incident.status in UNDER_WAY and alerts):
        raise Refused(f"#{incident.number} is no maintenance under way with open alerts.")
    noticed = min(desk.at, *(a.created_at for a in alerts))
    times: dict[str, Any] = {"started_at": noticed, "noticed_at": noticed, "confirmed_at": desk.at}
    title, text = act.title or desk.policy.incident_title, act.text or desk.sentence("real_outage")
    outage = desk.open_incident(title, core.Severity.OUTAGE, CONFIRMED, text, act.by, **times)
    desk.undoable(outage, None, announces=True, alerts_from=incident.number)
    for alert in alerts:
        desk.belongs(alert, outage.number, outage.status_entry)
    desk.log("real_outage", incident.number, act.by, outage=str(outage.number))
    desk.hold_mail(outage, act.mail, usual=True)


def undo(desk: Desk, act: Act, incident: Incident) -> None:
    """Takes the newest change back whose window still runs."""
    if not incident.undo:
        raise Refused(too_late(desk, incident))
    last = incident.undo[-1]
    if act.update not in (None, last.update):
        raise Refused(
            f"Somebody was first: #{incident.number} has changed since. Look at its message again."
        )
    others = (i for i in desk.incidents.values() if i.status is SUSPECTED and i != incident)
    if last.before and last.before.status is SUSPECTED and (other := next(others, None)):
        raise Refused(
            f"Monitoring has raised a new suspicion by now, #{other.number}: act on that one."
        )
    unsure = not last.before or last.before.status in (
        SUSPECTED,
        DISMISSED,
    )  # of these nobody is mailed
    for mail in desk.state.mails_of(incident.number):
        if mail.update == last.update or unsure:
            desk.drop(mail)
    desk.log("undone", incident.number, act.by, status=incident.status.value)
    desk.changed = (incident.number, "undone")
    if last.before:
        was = {f.name: getattr(last.before, f.name) for f in fields(core.Standing)}
        updates = tuple(u for u in incident.updates if u.id != last.update)
        incident = desk.announce(
            desk.alter(incident, **was, undo=incident.undo[:-1], updates=updates)
        )
        for mail in () if incident.silent else last.held:
            desk.mails[mail.key] = replace(mail, not_before=max(mail.not_before, desk.at))
        return
    del desk.incidents[incident.number]
    if last.alerts_from in desk.incidents:
        desk.log("no_outage", last.alerts_from, act.by, outage=str(incident.number))
    for alert in [a for a in desk.alerts.values() if a.incident == incident.number]:
        desk.belongs(
            alert, last.alerts_from if last.alerts_from in desk.incidents else None, alert.joined
        )


def too_late(desk: Desk, incident: Incident) -> str:
    """Why nothing can be undone any more."""
    waiting = [m for m in desk.state.mails_of(incident.number) if m.state is not Post.FAILED]
    if (left := last_left(desk, incident)) and left >= incident.status_at:
        return f"Too late to undo: the mail left at {core.exact(left)}."
    if any(m.attempts or m.not_before <= desk.at for m in waiting):
        return "Too late to undo: the mail is on its way."
    if not incident.status_by:
        return f"There is nothing to undo: #{incident.number} became {incident.status} by itself."
    if (
        incident.announced_at
        and (desk.at - incident.status_at).total_seconds() < desk.policy.undo_window
    ):
        when = core.exact(incident.announced_at)
        return f"Too late to undo: it was announced at {when}, by a tap or by an automatic change, and that ends Undo."
    return f"Too late to undo: the {desk.policy.undo_window:g} seconds for it are over."


def last_left(desk: Desk, incident: Incident) -> datetime | None:
    """When the last mail left for Rapidmail, whether or not that has begun to send it."""
    mails = [m for m in desk.mails.values() if m.incident == incident.number]
    left = [incident.mailed_at, *(m.handed_over_at for m in mails if m.state is Post.HANDED_OVER)]
    return max((at for at in left if at), default=None)


def send(desk: Desk, act: Act, incident: Incident) -> None:
    mails, left = desk.state.mails_of(incident.number), last_left(desk, incident)
    waiting = [m for m in mails if m.state is Post.HELD and m.not_before > desk.at]
    if not incident.undo and not waiting:
        when = f" The last mail left at {core.exact(left)}." if left else ""
        raise Refused(f"Nothing is waiting to be sent for #{incident.number}.{when}")
    for mail in waiting:
        desk.mails[mail.key] = replace(mail, not_before=desk.at)
    desk.end_windows(incident)
    desk.log("sent_now" if waiting else "announced_now", incident.number, act.by)


def retry(desk: Desk, act: Act, incident: Incident) -> None:
    failed = [m for m in desk.state.mails_of(incident.number) if m.state is Post.FAILED]
    if not failed:
        raise Refused(f"No mail of #{incident.number} has failed.")
    for mail in failed:
        # Of an unclear one the newest revision may be there: it is looked for under its title.
        known = bool(mail.mailing) and not mail.ambiguous
        again = replace(mail, state=Post.HELD, not_before=desk.at, first_tried=None, told=False)
        desk.mails[mail.key] = replace(again, revision=mail.revision + known, invalid=0)
    desk.log("retried", incident.number, act.by)


def why_not(verb: core.Verb, incident: Incident, by: str) -> str:
    """The sentence for a person whose verb the incident's present status does not allow; empty
    where it does.
    """
    if incident.status is DISMISSED and incident.was_plan and DISMISSED in verb.allowed:
        return f"#{incident.number} was cancelled, and that is final: plan a new one."
    if incident.status in verb.allowed:
        return ""
    since = core.exact(incident.status_at)
    if incident.status is verb.leads_to:
        who = (
            f"{incident.status_by} was first"
            if incident.status_by not in ("", by)
            else "That has already happened"
        )
        return (
            f"{who}: #{incident.number} is {incident.status} ({incident.severity}) since {since}."
        )
    return f"#{incident.number} is {incident.status} since {since}, so “{verb.label}” is not possible now."


MAKERS = {"create": create, "plan": plan}
OTHERS = {
    "update": update,
    "edit": edit,
    "postpone": postpone,
    "extend": extend,
    "real_outage": real_outage,
}
OTHERS |= {"undo": undo, "send": send, "retry": retry}
EDITABLE = {"title": "title", "severity": "severity", "started_at": "start", "ended_at": "end"}
EDITABLE |= {"planned_end": "planned end", "summary": "summary", "silent": "silent"}
LONGEST_TITLE = 150  # also Slack's
HALF_AN_HOUR = timedelta(minutes=30)
BELIEVABLE = timedelta(days=36_500)
