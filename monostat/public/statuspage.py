"""The public state as Statuspage's API v2 has it: https://metastatuspage.com/api/v2

Only what was announced is listed: programs alert people on every new id. A suspicion weighs in the
indicator alone.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from monostat.core import model as core
from monostat.core.markdown import plain_text
from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    PLANNED,
    RESOLVED,
    SUSPECTED,
    WATCHING,
    Incident,
    Severity,
)
from monostat.core.snapshot import FEED_RECENT, Snapshot, to_json
from monostat.core.words import Words

Json = dict[str, Any]
MAX_LISTED = 50  # incidents in a list


class StatusWords(NamedTuple):
    """Statuspage's words for one of our statuses."""

    incident: str
    maintenance: str


WORDS = {
    PLANNED: StatusWords(incident="identified", maintenance="scheduled"),
    SUSPECTED: StatusWords(incident="identified", maintenance="in_progress"),
    DISMISSED: StatusWords(incident="resolved", maintenance="completed"),
    CONFIRMED: StatusWords(incident="identified", maintenance="in_progress"),
    WATCHING: StatusWords(incident="monitoring", maintenance="verifying"),
    RESOLVED: StatusWords(incident="resolved", maintenance="completed"),
}


def is_scheduled(incident: Incident) -> bool:
    """Whether it is listed with the maintenances: a maintenance, or any plan that has not begun."""
    return (
        incident.is_maintenance
        or incident.status is PLANNED
        or (incident.was_plan and incident.status is DISMISSED)
    )


def public_updates(incident: Incident) -> list[core.Update]:
    """Its public sentences, newest first, without those of an unconfirmed suspicion."""
    unconfirmed = {SUSPECTED}
    if not incident.was_plan:
        unconfirmed.add(DISMISSED)
    shown = [update for update in incident.updates if update.status not in unconfirmed]
    return (shown or list(incident.updates))[::-1]


def status_of(incident: Incident, status: core.Status) -> str:
    """Statuspage's word for a status of this incident: maintenances have words of their own."""
    words = WORDS[status]
    if is_scheduled(incident):
        return words.maintenance
    return words.incident


def impact(incident: Incident) -> str:
    """Statuspage's word for the severity; what is resolved keeps the worst that it had."""
    if incident.status is DISMISSED:
        return "none"
    severities = [incident.severity]
    if incident.status is RESOLVED and not is_scheduled(incident):
        past = [update.severity for update in public_updates(incident)]
        severities += [severity for severity in past if severity is not Severity.MAINTENANCE]
    return max(severities, key=lambda severity: severity.rank).indicator


def incident_row(incident: Incident, updates: list[Json], url: str, page_id: str) -> Json:
    """An incident or a maintenance, in the order of Statuspage's own keys."""
    number = str(incident.number)
    resolved_at = incident.ended_at if incident.status in core.OVER else None
    watched = [update.at for update in incident.updates if update.status is WATCHING]
    answer: Json = {
        "id": number,
        "name": incident.title,
        "status": status_of(incident, incident.status),
        "created_at": incident.created_at,
        "updated_at": incident.updated_at,
        "monitoring_at": min(watched, default=None),
        "resolved_at": resolved_at,
        "impact": impact(incident),
        "shortlink": f"{url}/incidents/{number}",
        "started_at": incident.started_at,
        "page_id": page_id,
        "incident_updates": updates,
        "components": [],
        "reminder_intervals": None,
    }
    if is_scheduled(incident):
        answer["scheduled_for"], answer["scheduled_until"] = incident.window
    return answer


def planned_line(incident: Incident, words: Words) -> str:
    """When a plan is for, in UTC; empty for what is not a plan, or has no end of its own now."""
    if not (is_scheduled(incident) and incident.planned_start and incident.planned_end):
        return ""
    start, end = (f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" for at in incident.window)
    return words("feed.planned", start=start, end=end)


def update_row(incident: Incident, update: core.Update, words: Words) -> Json:
    """An update, in the order of Statuspage's own keys."""
    parts = (plain_text(update.text), planned_line(incident, words))
    return {
        "id": str(update.id),
        "status": status_of(incident, update.status),
        "body": "\n\n".join(filter(None, parts)),
        "incident_id": str(incident.number),
        "created_at": update.at,
        "updated_at": update.edited_at or update.at,
        "display_at": update.at,
        "affected_components": [],
        "deliver_notifications": True,
        "custom_tweet": None,
        "tweet_id": None,
    }


def newest(incidents: Sequence[Incident]) -> list[Incident]:
    """The first MAX_LISTED of these, and whatever of the rest is not over."""
    going_on = [i for i in incidents[MAX_LISTED:] if i.status not in core.OVER]
    return [*incidents[:MAX_LISTED], *going_on]


def documents(
    state: core.State,
    snapshot: Snapshot,
    announced: Sequence[Incident],
    *,
    words: Words,
    url: str,
    name: str,
    version: int,
    changed: datetime,
) -> dict[str, str]:
    """The eight answers by their paths, as JSON; the version is of the time `changed`.

    `announced` has the newest that programs are told of, and all that are not over, newest first.
    """
    page_id = state.birth.page_id
    page = {"id": page_id, "name": name, "url": url, "time_zone": "Etc/UTC", "updated_at": changed}
    status = {"indicator": snapshot.status["indicator"], "description": snapshot.status["text"]}
    for_embeds = embed_words(snapshot, words, name)
    extra = {"monostat": truth(state, snapshot, version, url) | {"words": for_embeds}}

    def rows(incidents: Iterable[Incident], *statuses: core.Status) -> list[Json]:
        """Of these incidents; where statuses are given, of those alone."""
        wanted = [i for i in incidents if not statuses or i.status in statuses]
        listing = []
        for incident in newest(wanted):
            updates = [update_row(incident, u, words) for u in public_updates(incident)]
            listing.append(incident_row(incident, updates, url, page_id))
        return listing

    texts = {}
    for path, answer in answers(announced, rows, status, extra).items():
        texts[f"/api/v2/{path}.json"] = to_json({"page": page} | answer)
    return texts


def answers(
    announced: Sequence[Incident], rows: Callable[..., list[Json]], status: Json, extra: Json
) -> dict[str, Json]:
    """What each answer has besides the page: `rows` makes its lists, `extra` is our own part."""
    plans = [i for i in announced if is_scheduled(i)]
    others = [i for i in announced if not is_scheduled(i)]
    unresolved = rows(others, *core.UNDER_WAY)
    active = rows(plans, *core.UNDER_WAY)
    upcoming = rows(plans, PLANNED)
    summary = {
        "components": [],
        "incidents": unresolved,
        "scheduled_maintenances": active + upcoming,
        "status": status,
    }
    return {
        "summary": summary | extra,
        "status": {"status": status},
        "components": {"components": [], "status": status},
        "incidents": {"incidents": rows(others)} | extra,
        "incidents/unresolved": {"incidents": unresolved} | extra,
        "scheduled-maintenances": {"scheduled_maintenances": rows(plans)} | extra,
        "scheduled-maintenances/upcoming": {"scheduled_maintenances": upcoming} | extra,
        "scheduled-maintenances/active": {"scheduled_maintenances": active} | extra,
    }


def embed_words(snapshot: Snapshot, words: Words, name: str) -> dict[str, str]:
    """What the banner and the link of other sites say, in the page's language.

    `quiet` is for those who do not want to hear what is open now.
    """
    return {
        "language": words.language,
        "banner": snapshot.sentence,
        "quiet": words("page.name", name=name),
        "dismiss": words("embed.dismiss"),
    }


def truth(state: core.State, snapshot: Snapshot, version: int, url: str) -> Json:
    """What Statuspage has no words for: the headline, and how every public incident really is."""
    incidents = {}
    for incident in (*snapshot.open, *snapshot.planned, *snapshot.recent[:FEED_RECENT]):
        row = {"state": incident.status, "severity": incident.severity}
        incidents[str(incident.number)] = row
    deciding = None
    if first := snapshot.deciding:
        number = str(first.number)
        deciding = {"id": number, "title": first.title, "url": f"{url}/incidents/{number}"}
    return {
        "headline": snapshot.headline.text,
        "deciding": deciding,
        "epoch": state.epoch,
        "version": version,
        "monitoring": {"ok": not snapshot.blind_since},
        "incidents": incidents,
    }
