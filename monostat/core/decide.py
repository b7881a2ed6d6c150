"""The one decision: what follows from an event.

`decide(state, event, policy)` is the only place where anything changes. It reads no clock: every
event carries its time.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from monostat.core import events
from monostat.core.alerts import hear_monitoring, see_alerts, settle_alerts
from monostat.core.draft import Draft, Refused
from monostat.core.imports import take_in
from monostat.core.incidents import perform
from monostat.core.mails import bound_times, late_at, tell_late
from monostat.core.model import OVER, PLANNED, Change, Incident, Policy, State
from monostat.core.plans import ends_by_itself, follow_plan
from monostat.core.reminders import remind, reminders
from monostat.core.rewording import ask_to_take_down, said_until
from monostat.core.settling import claim_mail, settle_mail


def decide(state: State, event: events.Event, policy: Policy) -> Change:
    """Says what an event changes.

    1. Time passes: windows end, plans start and end, reminders are due.
    2. The event itself happens, or is refused.
    3. The rules about alerts are applied to whatever is true now.
    """
    refused = None
    draft = Draft(state, policy, event.at)
    pass_time(draft)
    try:
        happen(draft, event)
    except Refused as refusal:
        refused = refusal
    settle_alerts(draft)
    return draft.finish(refused)


def happen(draft: Draft, event: events.Event) -> None:
    """Does what the event is about; raises Refused for what cannot be done."""
    match event:
        case events.AlertsSeen():
            see_alerts(draft, event)
        case events.AlertsUnseen():
            draft.state.trouble = event.reason
        case events.MonitoringSilent():
            hear_monitoring(draft, ok=False)
        case events.Act():
            perform(draft, event)
        case events.Imported():
            take_in(draft, event)
        case events.Unsaid():
            ask_to_take_down(draft, event.incident, event.source)
        case events.Alerted():
            incident = draft.incidents.get(event.incident)
            if incident:
                incident = replace(incident, alerted_at=draft.at)
                draft.put(incident)
        case events.MailClaimed():
            claim_mail(draft, event)
        case events.MailSettled():
            settle_mail(draft, event)


def pass_time(draft: Draft) -> None:
    """Catches up with the time of the event, also where the clock went back."""
    for mail in list(draft.mails.values()):
        bound_times(draft, mail)
    tell_late(draft)
    for incident in list(draft.incidents.values()):
        if incident.undo:
            incident = end_windows(draft, incident)
        at = said_until(incident)
        if at and at <= draft.at:
            incident = replace(incident, spoken=0)
            draft.put(incident)
        # Most are over, and of the past.
        if incident.status not in OVER or incident.reminded_at > draft.at:
            incident = follow_plan(draft, incident)
            remind(draft, incident)
    draft.state.checked_at = min(draft.state.checked_at, draft.at)


def end_windows(draft: Draft, incident: Incident) -> Incident:
    """Ends the undo windows whose time is over; none runs longer than one that opens now."""
    latest = draft.at + timedelta(seconds=draft.policy.undo_window)
    windows = []
    for window in incident.undo:
        until = min(window.until, latest)
        windows.append(replace(window, until=until))
    incident = replace(incident, undo=tuple(windows))
    return draft.close_undo_windows(incident, until=draft.at)


def next_due(state: State, policy: Policy) -> datetime | None:
    """When the core must be asked again although nothing happened, or None."""
    due = [late_at(mail, policy) for mail in state.mails.values()]
    for incident in state.incidents.values():
        due += [window.until for window in incident.undo]
        due.append(said_until(incident))
        for reminder in reminders(incident, policy):
            if reminder.at > incident.reminded_at:
                due.append(reminder.at)
        if incident.status is PLANNED and not incident.ask:
            due.append(incident.planned_start)
        if ends_by_itself(incident):
            due.append(incident.planned_end)
    times = [at for at in due if at]
    return min(times, default=None)
