"""What people do with incidents: every verb, what it changes, and the sentence of a refusal.

`verbs` has the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from monostat.core.alerts import ask_for_title, ask_if_over, real_outage
from monostat.core.draft import Draft, Refused, put_back
from monostat.core.events import Act
from monostat.core.mails import (
    hold_mail,
    last_left,
    outdate,
    retry,
    send,
    withdraw,
    withdraw_unwanted,
)
from monostat.core.markdown import MAX_TEXT_LENGTH
from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    OVER,
    PLANNED,
    RESOLVED,
    SERIOUS,
    SUSPECTED,
    UNCONFIRMED,
    UNDER_WAY,
    Course,
    Incident,
    Mail,
    MailState,
    Severity,
    Standing,
    Status,
    Subject,
    Undo,
)
from monostat.core.plans import (
    extend,
    plan,
    postpone,
    refuse_without_words,
    retime,
    sentence_of_move,
)
from monostat.core.rewording import retell, reword, take_down
from monostat.core.text import all_sound, exact, one_line
from monostat.core.verbs import VERB, Verb

#: Characters of a title, also Slack's limit.
LONGEST_TITLE = 150
#: A time further away than this is a slip of the keyboard.
BELIEVABLE = timedelta(days=36_500)
#: Messages of an incident that are known to have been obeyed.
MOST_HEARD = 500
#: What an edit can change, by the names that the thread has for it.
EDITABLE: Mapping[str, str] = {
    "title": "title",
    "severity": "severity",
    "started_at": "start",
    "ended_at": "end",
    "planned_end": "planned end",
    "summary": "summary",
    "silent": "silent",
}


def perform(draft: Draft, act: Act) -> None:
    """Does what somebody asked for, or raises Refused before anything has changed.

    Slack delivers again what was not acknowledged, also what was taken back meanwhile: what was
    heard before changes nothing.
    """
    draft.source = act.source
    changes = act.changes
    if changes.title is not None:
        changes = replace(changes, title=one_line(changes.title))
    act = replace(act, title=one_line(act.title), text=act.text.strip(), changes=changes)
    act = all_sound(act)
    _check_words(act)
    _check_times(draft, act)
    verb = VERB.get(act.verb)
    if verb is None:
        raise ValueError(f"unknown verb: {act.verb!r}")
    if act.mail and verb.mails_when_asked and not draft.policy.mails:
        raise Refused(
            "Nobody can be mailed, as the configuration has no [rapidmail] section:"
            " ask for it without a mail.",
            "mail",
        )
    if begin := BEGINNINGS.get(verb.name):
        begin(draft, act)
        return
    incident = draft.incidents.get(act.incident)
    if incident is None:
        raise Refused(f"There is no incident #{act.incident}.")
    if act.source in incident.heard:
        return
    _check_mail(verb, act, incident)
    if verb.leads_to:
        move(draft, verb, verb.leads_to, act, incident)
    else:
        ACTIONS[verb.name](draft, act, incident)
    hear(draft, act)


def hear(draft: Draft, act: Act) -> None:
    """Remembers what was obeyed, the newest MOST_HEARD messages, so that nothing is done twice."""
    incident = draft.incidents.get(act.incident)
    if act.source and incident:
        others = tuple(source for source in incident.heard if source != act.source)
        draft.put(replace(incident, heard=(*others, act.source)[-MOST_HEARD:]))


def _check_words(act: Act) -> None:
    """Raises Refused for what is longer than a title, an update or a summary may be."""
    if max(len(act.title), len(act.changes.title or "")) > LONGEST_TITLE:
        raise Refused(f"A title has at most {LONGEST_TITLE} characters.", "title")
    texts = [("text", act.text), ("summary", act.summary), ("summary", act.changes.summary)]
    texts += [("texts", text) for text in act.texts.values()]
    for field, text in texts:
        if text and len(text) > MAX_TEXT_LENGTH:
            raise Refused(
                f"An update or a summary has at most {MAX_TEXT_LENGTH:,} characters, and this has"
                f" {len(text):,}: shorten it, or say it in two.",
                field,
            )


def _check_times(draft: Draft, act: Act) -> None:
    """Raises Refused for a time that cannot be meant."""
    for field in ("start", "end"):
        for at in (getattr(act, field), getattr(act.changes, field)):
            if at and (at.tzinfo is None or abs(at - draft.at) > BELIEVABLE):
                raise Refused("This time is too far away, or has no zone.", field)


def _check_mail(verb: Verb, act: Act, incident: Incident) -> None:
    """Raises Refused where somebody asks for a mail that nobody may get."""
    number = incident.number
    is_silent = incident.silent
    if act.changes.silent is not None:
        is_silent = act.changes.silent
    if act.mail and verb.can_mail and is_silent:
        raise Refused(
            f"#{number} is silent, so that nobody is mailed: choose one of the two.", "mail"
        )
    if act.mail and verb.name == "edit" and incident.is_unconfirmed:
        raise Refused(
            f"#{number} is {incident.status}, and nobody is mailed about a suspicion."
            " Save it without a mail.",
            "mail",
        )


# -- Moves


def move(draft: Draft, verb: Verb, to: Status, act: Act, incident: Incident) -> None:
    """Does what a row of the table says, which leads `to` a status."""
    if refusal := why_not(verb, incident, act.by):
        raise Refused(refusal)
    severity = act.severity or incident.severity
    if severity is not incident.severity:
        refuse_without_words(act, severity)
    was_over = incident.status is DISMISSED and to in OVER
    held: tuple[Mail, ...] = ()
    # Of what will not take place nobody has to hear, nor of what somebody wants no mail about.
    if verb.name == "cancel" or act.mail is False:
        held = withdraw(draft, incident)
    moved = draft.change_status(
        _altered(verb, incident, draft.at),
        to,
        entry=verb.entry,
        text=draft.ready_sentence(sentence_of(verb, severity), severity),
        own=act.text,
        by=act.by,
        severity=act.severity,
        ended_at=incident.ended_at if was_over else None,
    )
    is_real = to is not DISMISSED
    draft.open_undo_window(moved, incident, announces=is_real, held=held)
    if verb.mails:
        hold_mail(draft, moved, act.mail, usual=is_real)
    if incident.status in UNCONFIRMED and is_real:
        ask_for_title(draft, moved.number)


def _altered(verb: Verb, incident: Incident, at: datetime) -> Incident:
    """The incident with what a move changes besides status, severity and end."""
    if verb.name == "was_real":
        return replace(incident, confirmed_at=incident.confirmed_at or at)
    if verb.name == "start":
        return replace(incident, started_at=at)
    if verb.name == "reopen" and incident.planned_end and incident.planned_end <= at:
        return replace(incident, planned_end=None)
    return incident


def sentence_of(verb: Verb, severity: Severity) -> str:
    """The key of the public sentence of a move, which for a maintenance may be another."""
    if severity is Severity.MAINTENANCE and verb.of_maintenance:
        return verb.of_maintenance
    return verb.sentence


def why_not(verb: Verb, incident: Incident, by: str) -> str:
    """Why the incident's present status does not allow a move; empty where it does."""
    if incident.status is DISMISSED and incident.was_plan and DISMISSED in verb.allowed:
        return f"#{incident.number} was cancelled, and that is final: plan a new one."
    is_final = incident.status is verb.leads_to and bool(incident.status_by)
    if incident.status in verb.allowed and not is_final:
        return ""
    since = exact(incident.status_at)
    if incident.status is verb.leads_to:
        who = "Nothing was changed"
        if incident.status_by not in ("", by):
            who = f"{incident.status_by} got there first"
        return (
            f"{who}: #{incident.number} has been {incident.status} ({incident.severity})"
            f" since {since}."
        )
    return (
        f"#{incident.number} has been {incident.status} since {since},"
        f" so “{verb.label}” is not possible now."
    )


# -- Words


def create(draft: Draft, act: Act) -> None:
    """Opens an incident that somebody knows of, or records one that is over."""
    start = act.start or draft.at
    if not act.title:
        raise Refused("An incident needs a title.", "title")
    if start > draft.at:
        raise Refused("The start lies in the future: plan it instead.", "start")
    if act.end and not start <= act.end <= draft.at:
        raise Refused("The end must lie between the start and now.", "end")
    severity = act.severity or Severity.PARTIAL
    refuse_without_words(act, severity)
    verb = VERB["resolve" if act.end else "confirm"]
    course = Course(
        severity=severity,
        status=RESOLVED if act.end else CONFIRMED,
        status_by=act.by,
        started_at=start,
        ended_at=act.end,
    )
    incident = draft.open_incident(
        course,
        title=act.title,
        text=draft.ready_sentence(sentence_of(verb, severity), severity),
        own=act.text,
        summary=act.summary,
    )
    draft.open_undo_window(incident, None, announces=True)
    hold_mail(draft, incident, act.mail, usual=True)


def update(draft: Draft, act: Act, incident: Incident) -> None:
    """Publishes words, a new severity, or both."""
    number = incident.number
    if incident.status not in (*UNDER_WAY, PLANNED, RESOLVED):
        raise Refused(f"#{number} is {incident.status}: nothing can be added to it now.")
    is_regraded = bool(act.severity) and act.severity is not incident.severity
    if act.severity and not act.text and not is_regraded:
        raise Refused(f"The severity is already “{act.severity}”: add some words.")
    if not act.text and not is_regraded:
        raise Refused("An update needs words.")
    before = incident
    ready = ""
    if act.severity and is_regraded:
        incident = regrade(incident, act.severity)
        withdraw_unwanted(draft, incident)
        ready = draft.ready_sentence("regraded", incident.severity)
    incident = draft.publish(incident, ready, own=act.text)
    detail = {"text": act.text or ready}
    if is_regraded:
        detail["severity"] = str(act.severity)
    draft.log("updated", number, act.by, detail)
    draft.changed = Subject(number, "updated")
    is_worse = steps_up(before, incident)
    if is_worse:
        open_step_up(draft, before, incident, act)
    hold_mail(draft, draft.incidents[number], act.mail, usual=is_worse)


def still_working(draft: Draft, act: Act, incident: Incident) -> None:
    """Renews the promise to readers with a ready sentence."""
    number = incident.number
    if incident.status not in UNDER_WAY or incident.severity not in SERIOUS:
        raise Refused(f"#{number} is {incident.status}: readers are promised nothing of it.")
    if act.update not in (None, incident.updates[-1].id):
        raise Refused(f"Somebody got there first: #{number} has had an update meanwhile.")
    draft.publish(incident, draft.ready_sentence("still_working", incident.severity))
    draft.log("still_working", number, act.by)
    draft.changed = Subject(number, "updated")


def steps_up(before: Incident, now: Incident) -> bool:
    """Whether it has become a partial outage or an outage, and was less."""
    is_under_way = now.status in UNDER_WAY and before.status in UNDER_WAY
    return is_under_way and now.severity in SERIOUS and now.severity.rank > before.severity.rank


def open_step_up(draft: Draft, before: Incident, incident: Incident, act: Act) -> None:
    """What becomes worse is held as a confirmation is, and can be undone."""
    if act.mail is False:
        withdraw(draft, incident)
    draft.open_undo_window(incident, before, announces=False)


def regrade(incident: Incident, severity: Severity) -> Incident:
    """Changes the severity; what becomes or was a maintenance has no planned times any more."""
    is_other_kind = Severity.MAINTENANCE in (severity, incident.severity)
    was_planned = incident.was_plan and incident.status in (*UNDER_WAY, RESOLVED)
    if severity is not incident.severity and is_other_kind and was_planned:
        unplanned = incident.window
        incident = replace(incident, planned_start=None, planned_end=None, unplanned=unplanned)
    return replace(incident, severity=severity)


def give_title(draft: Draft, act: Act, incident: Incident) -> None:
    """Says in a few words what is broken; a suspicion stays one."""
    if not act.title:
        raise Refused("Say in a few words what is broken.", "title")
    if act.title == incident.title and not incident.has_ready_title:
        raise Refused("That is its title already.", "title")
    draft.touch(replace(incident, title=act.title, has_ready_title=False, touched=True))
    draft.log("titled", incident.number, act.by, title=act.title)
    draft.changed = Subject(incident.number, "edited")


def edit(draft: Draft, act: Act, incident: Incident) -> None:
    """Changes what was said of an incident, and nothing of where it stands."""
    changes = act.changes
    changed = incident
    if changes.title is not None and changes.title != incident.title:
        changed = replace(changed, title=changes.title, has_ready_title=False)
    if changes.summary is not None:
        changed = replace(changed, summary=changes.summary)
    if changes.silent is not None:
        changed = replace(changed, silent=changes.silent)
    if not changed.title.strip():
        raise Refused("An incident needs a title.", "title")
    changed = retime(draft, changed, changes, act.by)
    changed = regrade(changed, changes.severity or incident.severity)
    changed = reword(draft, changed, act.texts)
    differences = differences_of(incident, changed)
    if not differences and not act.mail:
        return
    withdraw_unwanted(draft, changed)
    is_worse = steps_up(incident, changed)
    if is_worse:
        changed = draft.publish(changed, draft.ready_sentence("regraded", changed.severity))
    changed = draft.touch(replace(changed, touched=True))
    outdate(draft, incident.number)
    if act.texts:
        changed = retell(draft, changed)
    if moved := sentence_of_move(incident, changed):
        changed = draft.publish(changed, draft.ready_sentence(moved, changed.severity))
    what = "; ".join(differences) or "nothing, to mail subscribers about it"
    draft.log("edited", incident.number, act.by, what=what)
    draft.changed = Subject(incident.number, "edited")
    if is_worse:
        draft.open_undo_window(changed, incident, announces=False)
    hold_mail(draft, draft.incidents[incident.number], act.mail or is_worse, usual=False)


def differences_of(before: Incident, after: Incident) -> list[str]:
    """Each thing with its old and its new value, for the thread."""
    pairs = [(name, getattr(before, key), getattr(after, key)) for key, name in EDITABLE.items()]
    texts = {update.id: update.text for update in after.updates}
    pairs += [("update", old.text, texts.get(old.id, "deleted")) for old in before.updates]
    return [f"{name}: {_short(old)} → {_short(new)}" for name, old, new in pairs if old != new]


def _short(value: object) -> str:
    """A value in a line of the thread."""
    if isinstance(value, datetime):
        return exact(value)
    if value in (None, ""):
        return "none"
    if value is True:
        return "yes"
    if value is False:
        return "no"
    text = str(value)
    if len(text) > 80:
        text = f"{text[:79]}…"
    return text


# -- Undo


def undo(draft: Draft, act: Act, incident: Incident) -> None:
    """Takes the newest change back whose window still runs.

    1. Refuse what is too late, what has changed since, and a second open suspicion.
    2. Let go of the mails of what is taken back.
    3. Put back what was before, or let what was only just made vanish.
    """
    if not incident.undo:
        raise Refused(why_too_late(draft, incident))
    last = incident.undo[-1]
    if act.update not in (None, last.update):
        raise Refused(
            f"Somebody got there first: #{incident.number} has changed since."
            " Look at its message again."
        )
    before = last.before
    if before and before.status is SUSPECTED:
        for other in draft.incidents.values():
            if other.status is SUSPECTED and other is not incident:
                raise Refused(
                    f"Monitoring has raised a new suspicion by now, #{other.number}:"
                    " act on that one."
                )
    # Of a suspicion, and of what never was, nobody is mailed.
    was_unconfirmed = before is None or before.status in UNCONFIRMED
    for mail in draft.state.mails_of(incident.number):
        if mail.update == last.update or was_unconfirmed:
            draft.drop(mail)
    detail = {"status": incident.status.value}
    if before:
        detail |= {"to": before.status.value, "degree": before.severity.value}
    draft.log("undone", incident.number, act.by, detail)
    draft.changed = Subject(incident.number, "undone")
    if before:
        _put_back(draft, incident, last, before)
    else:
        _vanish(draft, incident, last, act.by)


def _put_back(draft: Draft, incident: Incident, last: Undo, before: Standing) -> None:
    """Has the incident stand where it stood, without the sentence that said otherwise."""
    updates = tuple(update for update in incident.updates if update.id != last.update)
    last_status = incident.status
    incident = replace(put_back(incident, before), undo=incident.undo[:-1], updates=updates)
    incident = draft.touch(incident)
    outdate(draft, incident.number)
    incident = draft.announce(retell(draft, incident))
    if last_status in OVER:
        ask_if_over(draft, incident)
    if not incident.silent:
        for mail in last.held:
            not_before = max(mail.not_before, draft.at)
            draft.mails[mail.key] = replace(mail, not_before=not_before)


def _vanish(draft: Draft, incident: Incident, last: Undo, by: str) -> None:
    """Takes back what was only just made; the alerts that it was lent go back."""
    del draft.incidents[incident.number]
    lender = None
    if last.alerts_from in draft.incidents:
        lender = last.alerts_from
        number = str(incident.number)
        draft.log("no_outage", lender, by, outage=number, maintenance="True")
    for alert in list(draft.alerts.values()):
        if alert.incident == incident.number:
            draft.attach(alert, lender, alert.joined)


def why_too_late(draft: Draft, incident: Incident) -> str:
    """Why nothing can be undone any more."""
    left = last_left(draft, incident)
    if left and left >= incident.status_at:
        return f"Too late to undo: the mail left at {exact(left)}."
    mails = draft.state.mails_of(incident.number)
    waiting = [mail for mail in mails if mail.state is not MailState.FAILED]
    if any(mail.attempts or mail.not_before <= draft.at for mail in waiting):
        return "Too late to undo: the mail is on its way."
    if not incident.status_by:
        return f"There is nothing to undo: #{incident.number} became {incident.status} by itself."
    since = (draft.at - incident.status_at).total_seconds()
    if incident.announced_at and since < draft.policy.undo_window:
        return (
            f"Too late to undo: it was announced at {exact(incident.announced_at)},"
            " by a tap or by an automatic change, and that ends Undo."
        )
    return f"Too late to undo: the {draft.policy.undo_window:g} seconds for it are over."


#: What makes an incident, by the names of verbs.
BEGINNINGS: Mapping[str, Callable[[Draft, Act], None]] = {"create": create, "plan": plan}
#: What changes one without being a move.
ACTIONS: Mapping[str, Callable[[Draft, Act, Incident], None]] = {
    "update": update,
    "still_working": still_working,
    "take_down": take_down,
    "title": give_title,
    "edit": edit,
    "postpone": postpone,
    "extend": extend,
    "real_outage": real_outage,
    "undo": undo,
    "send": send,
    "retry": retry,
}
