"""What feed readers and calendars are told: announced incidents alone; contracts/feeds_embeds.md
sections 1 and 2.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from monostat.core.markdown import plain_text
from monostat.core.model import DISMISSED, Incident, Status, Update
from monostat.public.statuspage import newest, status_of, told


class Entry(NamedTuple):
    """One item of a feed; readers know it for ever by `id`, and are told of these updates, newest
    first.
    """

    id: str
    title: str
    path: str
    published: datetime
    updated: datetime
    incident: Incident
    updates: list[Update]


def word(incident: Incident, status: Status) -> str:
    """Statuspage's word, as its own feeds write it."""
    cancelled = status is DISMISSED and incident.was_plan
    return "Cancelled" if cancelled else status_of(incident, status).replace("_", " ").capitalize()


def history(announced: Iterable[Incident]) -> list[Entry]:
    """An entry per incident: of these, readers that look at new ids only never hear the end."""
    latest = newest(sorted(announced, key=lambda i: (i.updated_at, i.number), reverse=True))
    return [
        Entry(
            f"Incident/{i.number}",
            i.title,
            f"/incidents/{i.number}",
            i.started_at,
            i.updated_at,
            i,
            told(i),
        )
        for i in latest
    ]


def updates(announced: Iterable[Incident]) -> list[Entry]:
    """An entry per update."""
    found = (
        Entry(
            f"Update/{u.id}",
            f"[{word(i, u.status)}] {i.title}",
            f"/incidents/{i.number}#{u.id}",
            u.at,
            edited,
            i,
            [u],
        )
        for i in announced
        for u in told(i)
        for edited in [u.edited_at or u.at]
    )
    return sorted(found, key=lambda e: (e.updated, e.updates[0].id), reverse=True)[:100]


def calendar(plans: Iterable[Incident], *, name: str, url: str, host: str) -> str:
    """The plans as iCalendar; without METHOD, so that DTSTAMP is when each was last revised (RFC
    5545, 3.8.7.2).
    """
    from icalendar import (
        Calendar,
        Event,
        Timezone,
    )  # here: it takes its time, and is seldom asked for

    made = Calendar(
        {"VERSION": "2.0", "PRODID": "-//monostat//maintenance 1//EN", "CALSCALE": "GREGORIAN"}
    )
    made |= dict.fromkeys(("NAME", "X-WR-CALNAME"), f"{name} maintenance") | {
        "X-PUBLISHED-TTL": "PT1H"
    }
    made.add("SOURCE", f"{url}/maintenance.ics", {"VALUE": "URI"})
    made.add("REFRESH-INTERVAL", timedelta(hours=1), {"VALUE": "DURATION"})
    for plan in plans:
        address, cancelled = (
            f"{url}/incidents/{plan.number}",
            plan.status is DISMISSED or not plan.was_plan,
        )
        start, end = plan.window
        times = {
            "DTSTAMP": plan.updated_at,
            "CREATED": plan.created_at,
            "LAST-MODIFIED": plan.updated_at,
        }
        words = {
            "UID": f"{plan.number}@{host}",
            "SEQUENCE": plan.sequence,
            "SUMMARY": f"Cancelled: {plan.title}" if cancelled else plan.title,
            "DESCRIPTION": f"{plain_text(plan.summary or told(plan)[0].text)}\n{address}",
            "URL": address,
            "STATUS": "CANCELLED" if cancelled else "CONFIRMED",
            "TRANSP": "TRANSPARENT",
            "CLASS": "PUBLIC",
        }
        event = Event()
        for key, at in (times | {"DTSTART": start, "DTEND": end}).items():
            event.add(key, at.astimezone(UTC))
        for key, value in words.items():
            event.add(key, value)
        made.add_component(event)
    if not made.subcomponents:  # RFC 5545 section 3.6: a calendar has at least one
        made.add_component(Timezone.from_tzid("Etc/UTC"))
    text: str = made.to_ical().decode()
    return text
