"""The public state as Statuspage's API v2 tells it; contracts/statuspage_api.md sections 1 to 5.

Only what was announced is listed: programs alert people on every new id. A suspicion weighs in the
indicator alone.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from monostat.core import model as core
from monostat.core.markdown import plain_text
from monostat.core.model import (
    DISMISSED,
    PLANNED,
    RESOLVED,
    SUSPECTED,
    WATCHING,
    Incident,
    Severity,
)
from monostat.core.snapshot import FEED_RECENT, Snapshot, to_json

Json = dict[str, Any]
MOST = 50
_INCIDENT = ("identified", "identified", "resolved", "identified", "monitoring", "resolved")
_MAINTENANCE = ("scheduled", "in_progress", "completed", "in_progress", "verifying", "completed")
WORDS = [dict(zip(core.Status, words, strict=True)) for words in (_INCIDENT, _MAINTENANCE)]


def is_scheduled(incident: Incident) -> bool:
    """Whether it is listed with the maintenances: a maintenance, or any plan that has not begun."""
    return (
        incident.is_maintenance
        or incident.status is PLANNED
        or (incident.was_plan and incident.status is DISMISSED)
    )


def told(incident: Incident) -> list[core.Update]:
    """Its public sentences, newest first, without those of an unconfirmed suspicion."""
    unsure = (SUSPECTED,) if incident.was_plan else (SUSPECTED, DISMISSED)
    known = [u for u in incident.updates if u.status not in unsure]
    return (known or list(incident.updates))[::-1]


def status_of(incident: Incident, status: core.Status) -> str:
    return WORDS[is_scheduled(incident)][status]


def impact(incident: Incident) -> str:
    """Statuspage's word for the severity; what is resolved keeps the worst that it had."""
    if incident.status is DISMISSED:
        return "none"
    severities = [incident.severity]
    if incident.status is RESOLVED and not is_scheduled(incident):
        severities += [u.severity for u in told(incident) if u.severity is not Severity.MAINTENANCE]
    return max(severities, key=lambda severity: severity.rank).indicator


def listed(incident: Incident, url: str, page_id: str) -> Json:
    """An incident or a maintenance, in the order of Statuspage's own keys."""
    number, ends = str(incident.number), incident.ended_at if incident.status in core.OVER else None
    updates: list[Json] = [
        {
            "id": str(u.id),
            "status": status_of(incident, u.status),
            "body": plain_text(u.text),
            "incident_id": number,
            "created_at": u.at,
            "updated_at": u.edited_at or u.at,
            "display_at": u.at,
            "affected_components": [],
            "deliver_notifications": True,
            "custom_tweet": None,
            "tweet_id": None,
        }
        for u in told(incident)
    ]
    found: Json = {
        "id": number,
        "name": incident.title,
        "status": status_of(incident, incident.status),
        "created_at": incident.created_at,
        "updated_at": incident.updated_at,
        "monitoring_at": min(
            (u.at for u in incident.updates if u.status is WATCHING), default=None
        ),
        "resolved_at": ends,
        "impact": impact(incident),
        "shortlink": f"{url}/incidents/{number}",
        "started_at": incident.started_at,
        "page_id": page_id,
        "incident_updates": updates,
        "components": [],
        "reminder_intervals": None,
    }
    if is_scheduled(incident):
        found["scheduled_for"], found["scheduled_until"] = incident.window
    return found


def newest(incidents: Sequence[Incident]) -> list[Incident]:
    """The first of these, and whatever of the rest is not over."""
    return [*incidents[:MOST], *(i for i in incidents[MOST:] if i.status not in core.OVER)]


def documents(
    state: core.State, snapshot: Snapshot, *, url: str, name: str, version: int, changed: datetime
) -> dict[str, str]:
    """The eight answers by their paths, as JSON; the version is of that time."""
    found = snapshot.announced
    page = {
        "id": state.birth.page_id,
        "name": name,
        "url": url,
        "time_zone": "Etc/UTC",
        "updated_at": changed,
    }
    status = {"indicator": snapshot.status["indicator"], "description": snapshot.status["text"]}
    public = (*snapshot.open, *snapshot.planned, *snapshot.recent[:FEED_RECENT])
    truth = {str(i.number): {"state": i.status, "severity": i.severity} for i in public}
    ours = {
        "epoch": state.epoch,
        "version": version,
        "monitoring": {"ok": not snapshot.blind_since},
        "incidents": truth,
    }

    def rows(*statuses: core.Status, plans: bool) -> list[Json]:
        wanted = [
            i for i in found if is_scheduled(i) is plans and (not statuses or i.status in statuses)
        ]
        return [listed(i, url, state.birth.page_id) for i in newest(wanted)]

    open_now, active, extra = (
        rows(*core.UNDER_WAY, plans=False),
        rows(*core.UNDER_WAY, plans=True),
        {"monostat": ours},
    )
    upcoming = rows(PLANNED, plans=True)
    summary = {
        "components": [],
        "incidents": open_now,
        "scheduled_maintenances": active + upcoming,
        "status": status,
    }
    answers: dict[str, Json] = {
        "summary": summary | extra,
        "status": {"status": status},
        "components": {"components": [], "status": status},
        "incidents": {"incidents": rows(plans=False)} | extra,
        "incidents/unresolved": {"incidents": open_now} | extra,
        "scheduled-maintenances": {"scheduled_maintenances": rows(plans=True)} | extra,
        "scheduled-maintenances/upcoming": {"scheduled_maintenances": upcoming} | extra,
        "scheduled-maintenances/active": {"scheduled_maintenances": active} | extra,
    }
    return {
        f"/api/v2/{path}.json": to_json({"page": page} | answer) for path, answer in answers.items()
    }
