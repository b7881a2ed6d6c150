"""What feed readers and calendars are told: announced incidents alone.

RFC 4287 for Atom, https://www.rssboard.org/rss-specification, and RFC 5545 and 7986 for calendars.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from monostat.core.markdown import plain_text
from monostat.core.model import DISMISSED, PLANNED, Incident, Status, Update
from monostat.core.words import Words
from monostat.public.statuspage import WORDS, newest, public_updates, status_of

if TYPE_CHECKING:
    from icalendar import Event

MOST_UPDATES = 100  # in a feed


class FeedEntry(NamedTuple):
    """One item of a feed: readers know it for ever by `id`, and see these updates, newest first."""

    id: str
    title: str
    path: str
    published: datetime
    updated: datetime
    incident: Incident
    updates: list[Update]


def word_key(incident: Incident, status: Status) -> str:
    """Statuspage's word for a status, or that of a plan which will not take place."""
    if status is DISMISSED and incident.was_plan:
        return "cancelled"
    if status is PLANNED:  # whatever has come of it since
        return WORDS[PLANNED].maintenance
    return status_of(incident, status)


def word(incident: Incident, status: Status) -> str:
    """Statuspage's word, as its own feeds write it: programs look for it, in English."""
    return word_key(incident, status).replace("_", " ").capitalize()


def history(announced: Iterable[Incident]) -> list[FeedEntry]:
    """An entry per incident: of these, readers that look at new ids only never hear the end."""
    latest = sorted(announced, key=lambda i: (i.updated_at, i.number), reverse=True)
    return [
        FeedEntry(
            id=f"Incident/{incident.number}",
            title=incident.title,
            path=f"/incidents/{incident.number}",
            published=min(incident.started_at, incident.created_at),
            updated=incident.updated_at,
            incident=incident,
            updates=public_updates(incident),
        )
        for incident in newest(latest)
    ]


def updates(announced: Iterable[Incident], words: Words) -> list[FeedEntry]:
    """An entry per update, but for those of an import, which nobody is told of.

    With the status in the page's language: its title is read by people.
    """
    entries = [
        FeedEntry(
            id=f"Update/{update.id}",
            title=words(
                "feed.update",
                status=words(f"feed_status.{word_key(incident, update.status)}"),
                title=incident.title,
            ),
            path=f"/incidents/{incident.number}#{update.id}",
            published=update.at,
            updated=update.edited_at or update.at,
            incident=incident,
            updates=[update],
        )
        for incident in announced
        for update in public_updates(incident)
        if incident.imported_at is None or update.at > incident.imported_at
    ]
    entries.sort(key=lambda entry: (entry.updated, entry.updates[0].id), reverse=True)
    return entries[:MOST_UPDATES]


def calendar(plans: Iterable[Incident], *, words: Words, name: str, url: str, host: str) -> str:
    """The plans as iCalendar.

    Without METHOD, so that DTSTAMP is when each was last revised (RFC 5545, 3.8.7.2).
    """
    # Here, because it takes its time, and is seldom asked for.
    from icalendar import Calendar, Timezone

    calendar = Calendar()
    calendar["VERSION"] = "2.0"
    calendar["PRODID"] = "-//monostat//maintenance 1//EN"
    calendar["CALSCALE"] = "GREGORIAN"
    calendar["NAME"] = words("feed.calendar", name=name)
    calendar["X-WR-CALNAME"] = words("feed.calendar", name=name)
    calendar["X-PUBLISHED-TTL"] = "PT1H"
    calendar.add("SOURCE", f"{url}/maintenance.ics", {"VALUE": "URI"})
    calendar.add("REFRESH-INTERVAL", timedelta(hours=1), {"VALUE": "DURATION"})
    for plan in plans:
        calendar.add_component(_event(plan, words=words, url=url, host=host))
    if not calendar.subcomponents:  # RFC 5545 section 3.6: a calendar has at least one
        calendar.add_component(Timezone.from_tzid("Etc/UTC"))
    text: str = calendar.to_ical().decode()
    return text


def _event(plan: Incident, *, words: Words, url: str, host: str) -> "Event":
    """A plan; one that was given up is cancelled, and does not vanish."""
    from icalendar import Event

    address = f"{url}/incidents/{plan.number}"
    title = plan.title
    status = "CONFIRMED"
    if plan.status is DISMISSED or not plan.was_plan:
        title = words("feed.cancelled", title=plan.title)
        status = "CANCELLED"
    start, end = plan.window
    text = plain_text(plan.summary or public_updates(plan)[0].text)
    event = Event()
    event.add("DTSTAMP", plan.updated_at.astimezone(UTC))
    event.add("CREATED", plan.created_at.astimezone(UTC))
    event.add("LAST-MODIFIED", plan.updated_at.astimezone(UTC))
    event.add("DTSTART", start.astimezone(UTC))
    event.add("DTEND", end.astimezone(UTC))
    event.add("UID", f"{plan.number}@{host}")
    event.add("SEQUENCE", plan.sequence)
    event.add("SUMMARY", title)
    event.add("DESCRIPTION", f"{text}\n{address}")
    event.add("URL", address)
    event.add("STATUS", status)
    event.add("TRANSP", "TRANSPARENT")
    event.add("CLASS", "PUBLIC")
    return event
