"""What an incident is called and drawn as on pages: keys of the catalogue, and kinds of icons."""

from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup

from monostat.core.model import (
    DISMISSED,
    RESOLVED,
    SERIOUS,
    SUSPECTED,
    UNDER_WAY,
    WATCHING,
    Incident,
    Severity,
    Update,
)
from monostat.core.words import Words


def kind_of(incident: Incident) -> str:
    """The icon and colour of where it stands now, by the name of their file."""
    if incident.status is RESOLVED:
        return "ok"
    if incident.status is SUSPECTED:
        return "suspected"
    if incident.status is DISMISSED and incident.was_plan:
        return "maintenance"
    if incident.status is DISMISSED:
        return "notice"
    if incident.status is WATCHING and incident.severity in SERIOUS:
        return "recovering"
    return incident.severity


def status_key(incident: Incident) -> str:
    """The catalogue's key of where it stands, in the words of its kind."""
    status = incident.status
    if status is DISMISSED and incident.was_plan:
        return "status.cancelled"
    if status is DISMISSED and incident.status_by:
        return "status.false_alarm"
    if status is DISMISSED:
        return "status.by_itself"
    if incident.is_maintenance and status is RESOLVED:
        return "status.completed"
    if incident.is_maintenance and status in UNDER_WAY:
        return "status.under_way"
    if incident.severity is Severity.NOTICE and status is RESOLVED:
        return "status.ended"
    return f"status.{status}"


def outages_in_words(words: Words, counts: Mapping[Severity, int]) -> Markup:
    """How many serious incidents there were of each kind, the worst first; empty without any."""
    text = Markup()
    for severity in reversed(SERIOUS):
        if counts.get(severity):
            more = words.html(f"counted.{severity}", n=counts[severity])
            text = words.html("counted.both", outages=text, more=more) if text else more
    return text


class Step(NamedTuple):
    """What an update changed: its icon's kind, and the catalogue's key of its word."""

    kind: str
    key: str


def step_of(incident: Incident, update: Update) -> Step | None:
    """What changed with this update; None where it is but words."""
    then = incident.as_of(update)
    step = Step(kind_of(then), status_key(then))
    older = [other for other in incident.updates if other.id < update.id]
    if older and older[-1].status is update.status:
        if older[-1].severity is update.severity:
            return None
        return step._replace(key=f"severity.{update.severity}")
    return step


def measured_key(incident: Incident) -> str:
    """The catalogue's key of the sentence about its measured seconds; empty where it has none."""
    if incident.is_maintenance:
        return ""
    confirmed_at = incident.confirmed_at
    mailed_at = incident.first_mailed_at
    was_mailed = bool(confirmed_at and mailed_at and confirmed_at <= mailed_at)
    if was_mailed and not incident.noticed_at:
        return "article.only_mailed"
    if not incident.noticed_at:
        return ""
    if not confirmed_at:
        return "article.shown"
    if was_mailed:
        return "article.mailed"
    return "article.confirmed"
