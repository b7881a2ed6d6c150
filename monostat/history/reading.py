"""What a document of elsewhere is, and the records in it."""

import json
from typing import Any

from monostat.core.events import Record
from monostat.core.lenient import objects_of
from monostat.history.django import read_dump
from monostat.history.fields import Reading, Unreadable
from monostat.history.statuspage import LISTS, read_list, read_lists


def read_one(reading: Reading, document: bytes) -> None:
    """Adds the records of a document.

    Raises Unreadable where it is none that we know, and nothing else whatever it holds.
    """
    try:
        found = json.loads(document)
    except (ValueError, RecursionError) as error:
        what = f"this is not JSON, or is incomplete: {error}."
        if document.lstrip().startswith(b"<"):
            what = "this is a web page, not JSON."
        raise Unreadable(
            f"{what} Give a file of Statuspage's API, of `monostat export`, or of"
            " `manage.py dumpdata`, or the address of a page that has Statuspage's API"
        ) from error
    if isinstance(found, dict) and any(isinstance(found.get(name), list) for name in LISTS):
        read_lists(reading, found)
    elif isinstance(found, list) and is_dump(found):
        read_dump(reading, objects_of(found))
    elif isinstance(found, list) and (not found or is_history(found)):
        read_list(reading, found)
    else:
        raise Unreadable(
            "this is JSON, but has no incidents in it: Statuspage's API has a list of incidents or"
            " of scheduled_maintenances, `manage.py dumpdata` one of models"
        )


def is_dump(rows: list[Any]) -> bool:
    """Whether these are rows of Django's models."""
    return any("model" in row and "fields" in row for row in objects_of(rows))


def is_history(rows: list[Any]) -> bool:
    """Whether these are incidents of Statuspage's private API."""
    return any("incident_updates" in row or "impact" in row for row in objects_of(rows))


def arrange(reading: Reading) -> None:
    """Puts the oldest first, and keeps one of each: pages saved at different times overlap."""
    once: dict[str, Record] = {}
    for record in reading.records:
        once.setdefault(record.source, record)
    repeated = len(reading.records) - len(once)
    if repeated:
        reading.left_out.append(
            f"Incidents that were there twice or more, and are imported once: {repeated}."
        )
    reading.records = sorted(once.values(), key=lambda record: (record.started_at, record.source))
    reading.hints = list(dict.fromkeys(reading.hints))
