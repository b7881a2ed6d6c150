"""Planned work: it is announced, moved, and starts and ends by itself or by somebody's word."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from monostat.core.draft import Draft, Refused
from monostat.core.events import Act, Changes
from monostat.core.mails import hold_mail
from monostat.core.model import (
    CONFIRMED,
    OVER,
    PLANNED,
    RESOLVED,
    UNDER_WAY,
    Course,
    Fact,
    Incident,
    Severity,
    Standing,
    Subject,
)
from monostat.core.text import exact

HALF_AN_HOUR = timedelta(minutes=30)
S = TypeVar("S", bound=Standing)


class NewTimes(Fact):
    """The times that are moved; None leaves one as it is."""

    started_at: datetime | None = None
    ended_at: datetime | None = None
    planned_start: datetime | None = None
    planned_end: datetime | None = None


def plan(draft: Draft, act: Act) -> None:
    """Announces work for later."""
    if not act.title:
        raise Refused("A plan needs a title.", "title")
    if act.start is None or act.end is None:
        missing = "end" if act.start else "start"
        raise Refused("A plan needs a start and an end.", missing)
    if act.start <= draft.at:
        raise Refused("The planned start lies in the past.", "start")
    if act.end <= act.start:
        raise Refused("The planned end must come after the start.", "end")
    severity = act.severity or Severity.MAINTENANCE
    refuse_without_words(act, severity)
    course = Course(
        severity=severity,
        status=PLANNED,
        status_by=act.by,
        started_at=act.start,
        planned_start=act.start,
        planned_end=act.end,
    )
    incident = draft.open_incident(
        course,
        title=act.title,
        text=draft.ready_sentence("planned", severity),
        own=act.text,
        summary=act.summary,
        ask=act.ask,
    )
    draft.open_undo_window(incident, None, announces=True)
    hold_mail(draft, incident, act.mail, usual=False)


def refuse_without_words(act: Act, severity: Severity) -> None:
    """Raises Refused for a notice that says nothing: no ready sentence could say it."""
    if severity is not Severity.NOTICE or act.text or act.summary:
        return
    field = "text" if act.verb == "create" else "summary"
    raise Refused("A notice needs words of its own: write what readers should know.", field)


def postpone(draft: Draft, act: Act, incident: Incident) -> None:
    """Moves a plan half an hour on."""
    start = incident.planned_start
    end = incident.planned_end
    if incident.status is not PLANNED or not start or not end:
        raise Refused(f"#{incident.number} is {incident.status}: only a plan can be postponed.")
    refuse_if_moved(act, incident, start)
    begins = max(start, draft.at) + HALF_AN_HOUR
    ends = begins + (end - start)
    moved = replace(
        incident, planned_by=act.by, started_at=begins, planned_start=begins, planned_end=ends
    )
    draft.publish(moved, draft.ready_sentence("postponed", moved.severity))
    draft.log("postponed", incident.number, act.by, start=exact(begins))
    draft.changed = Subject(incident.number, "postponed")


def extend(draft: Draft, act: Act, incident: Incident) -> None:
    """Gives a maintenance half an hour more."""
    planned_end = incident.planned_end
    is_under_way = incident.status in UNDER_WAY and incident.is_maintenance
    if not is_under_way or not planned_end:
        raise Refused(f"#{incident.number} is not a maintenance under way with a planned end.")
    refuse_if_moved(act, incident, planned_end)
    end = max(planned_end, draft.at) + HALF_AN_HOUR
    moved = keep_times(replace(incident, planned_by=act.by), NewTimes(planned_end=end))
    draft.publish(moved, draft.ready_sentence("extended", moved.severity))
    draft.log("extended", incident.number, act.by, end=exact(end))
    draft.changed = Subject(incident.number, "updated")


def refuse_if_moved(act: Act, incident: Incident, planned: datetime) -> None:
    """Of two who would move the same planned time on, the second is refused."""
    if act.planned and act.planned != planned.replace(microsecond=0):
        who = incident.planned_by or "Somebody"
        raise Refused(
            f"{who} got there first: the planned time of #{incident.number}"
            f" is {exact(planned)} by now."
        )


def follow_plan(draft: Draft, incident: Incident) -> Incident:
    """Starts and ends a plan at its times.

    What was missed is caught up in one step with the planned times.
    """
    start = incident.planned_start
    end = incident.planned_end
    is_due = incident.status is PLANNED and not incident.ask
    starts = is_due and start is not None and start <= draft.at
    begun = replace(incident, started_at=start) if starts and start else incident
    ends = (starts and incident.is_maintenance) or ends_by_itself(incident)
    if ends and end is not None and end <= draft.at:
        return draft.change_status(
            begun,
            RESOLVED,
            entry="resolved",
            text=draft.ready_sentence("completed", incident.severity),
            ended_at=end,
        )
    if starts:
        return draft.change_status(
            begun,
            CONFIRMED,
            entry="started",
            text=draft.ready_sentence("started", incident.severity),
        )
    return incident


def ends_by_itself(incident: Incident) -> bool:
    """Whether it is a maintenance under way that nobody wants to be asked about."""
    return incident.is_maintenance and incident.status in UNDER_WAY and not incident.ask


def retime(draft: Draft, incident: Incident, changes: Changes, by: str) -> Incident:
    """Moves start and end by an edit.

    They are the planned ones of a plan, the planned end of what is under way, else the real ones.
    """
    is_plan = incident.status is PLANNED
    is_over = incident.status in OVER
    old_end = incident.ended_at if is_over else incident.planned_end
    start = changes.start or incident.started_at
    end = changes.end or old_end
    if changes.start:
        _check_start(draft, start, incident, is_plan=is_plan)
    if changes.end:
        if not old_end:
            raise Refused("It is not over yet: its end comes with Resolve.", "end")
        if is_over and changes.end > draft.at:
            raise Refused("The end must lie in the past.", "end")
        if not is_over and changes.end <= draft.at:
            raise Refused("The end must lie in the future.", "end")
    is_reversed = end is not None and (end < start or (is_plan and end == start))
    if is_reversed and (changes.start or changes.end):
        wrong = "end" if changes.end else "start"
        raise Refused("The end must come after the start.", wrong)
    times = NewTimes(
        started_at=changes.start,
        ended_at=changes.end if is_over else None,
        planned_start=changes.start if is_plan else None,
        planned_end=None if is_over else changes.end,
    )
    if changes.start or changes.end:
        incident = replace(incident, planned_by=by)
    return keep_times(incident, times)


def sentence_of_move(before: Incident, after: Incident) -> str:
    """The key of what is published where an edit has moved a plan's times; empty where none has."""
    if after.status is PLANNED and after.window != before.window:
        return "postponed"
    if before.planned_end and after.planned_end and after.planned_end > before.planned_end:
        return "extended"
    return ""


def _check_start(draft: Draft, start: datetime, incident: Incident, *, is_plan: bool) -> None:
    """Raises Refused for a plan that would begin in the past, and for what would in the future."""
    if is_plan and start != incident.started_at and start <= draft.at:
        raise Refused("A plan cannot be moved into the past.", "start")
    if not is_plan and start > draft.at:
        raise Refused("The start lies in the future.", "start")


def keep_times(incident: Incident, times: NewTimes) -> Incident:
    """Moves times that Undo leaves alone: what it puts back has them, too."""
    undo = []
    for each in incident.undo:
        before = each.before
        if before:
            was_plan = before.status is PLANNED and incident.status is not PLANNED
            kept = NewTimes(planned_end=times.planned_end) if was_plan else times
            before = _with_times(before, kept)
        undo.append(replace(each, before=before))
    return _with_times(replace(incident, undo=tuple(undo)), times)


def _with_times(standing: S, times: NewTimes) -> S:
    return replace(
        standing,
        started_at=times.started_at or standing.started_at,
        ended_at=_moved(standing.ended_at, times.ended_at),
        planned_start=_moved(standing.planned_start, times.planned_start),
        planned_end=_moved(standing.planned_end, times.planned_end),
    )


def _moved(old: datetime | None, new: datetime | None) -> datetime | None:
    """The new time in place of an old one; what never had one has none to be moved."""
    return new if old and new else old
