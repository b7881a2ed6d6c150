"""Our history in Statuspage's shape, for others and for us."""

import json
from datetime import UTC, datetime

from monostat.core.model import RESOLVED, Incident
from monostat.public.statuspage import Json, incident_row, status_of

#: What Statuspage has no place for, by the names of the fields.
OURS = (
    "number",
    "severity",
    "summary",
    "planned_start",
    "planned_end",
    "noticed_at",
    "confirmed_at",
    "first_mailed_at",
)


def is_history(incident: Incident) -> bool:
    """Whether it is exported: what is over, and was real."""
    return incident.status is RESOLVED


def export_row(incident: Incident, *, url: str, page_id: str) -> Json:
    """An incident as the private API has it, with all its updates and their Markdown."""
    updates = []
    truth = {}
    for update in incident.updates[::-1]:
        number = str(update.id)
        word = status_of(incident, update.status)
        updates.append(
            {
                "id": number,
                "incident_id": str(incident.number),
                "status": word,
                "body": update.text,
                "created_at": update.at,
                "updated_at": update.edited_at or update.at,
                "display_at": update.at,
            }
        )
        truth[number] = {
            "state": update.status,
            "severity": update.severity,
            "edited_at": update.edited_at,
        }
    ours = {name: getattr(incident, name) for name in OURS}
    if incident.imported_from:
        ours["source"] = incident.imported_from
    ours["updates"] = truth
    return incident_row(incident, updates, url, page_id) | {"metadata": {"monostat": ours}}


def row_to_json(row: Json) -> str:
    """A row as JSON, with instants as exact as they are known."""
    return json.dumps(row, default=exactly, ensure_ascii=False)


def exactly(at: datetime) -> str:
    """ISO 8601 in UTC, with a Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
