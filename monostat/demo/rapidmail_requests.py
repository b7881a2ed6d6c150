"""What Rapidmail's API v3 wants of a request, and how it refuses what it does not like.

https://developer.rapidmail.wiki
"""

import base64
import re
import zipfile
import zlib
from datetime import UTC, datetime
from http import HTTPStatus
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
MAIL = r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+"
UNSUBSCRIBE = "{%link_unsubscribe}"
NOT_TWO_FILES = "The archive must hold one HTML file and at most one text file, without folders"
# What a request must and may hold: the type of a value, or the pattern its text has to match.
Fields = dict[str, str | type]
MAILING: Fields = {
    "from_name": ".+",
    "subject": r"((?!\{%).)+",
    "status": "draft|scheduled",
    "destinations": list,
    "file": dict,
}
MAILING_MORE: Fields = {
    "title": ".{0,99}",
    "send_at": DATE,
    "check_ecg": "yes|no",
    "check_robinson": "yes|no",
}
FILE: Fields = {"type": "application/(zip|x-zip-compressed)", "content": ".+"}
DESTINATION: Fields = {"type": "recipientlist", "id": int}
RECIPIENT: Fields = {"recipientlist_id": int, "email": MAIL}
# The vendor knows names, birthdays and more; monostat must never have any of them to send.
RECIPIENT_MORE: Fields = {"status": "new|active", "created_ip": "[0-9a-fA-F.:]+"}
FLAGS: Fields = {
    "send_activationmail": "yes|no",
    "track_stats": "yes|no",
    "get_extra_big_fields": "yes|no",
}
STATUS = "draft|scheduled|preparing|prepared|queueing|sending|sent_split|sent|canceled|deleted"
LIST: Fields = {"page": r"[1-9]\d{0,8}", "status": STATUS, "created_since": DATE}


def instant(field: str, body: dict[str, Any]) -> datetime:
    """A field as a time in Berlin's zone; raises RapidmailRefusal where it is none."""
    try:
        moment = datetime.strptime(body[field], "%Y-%m-%d %H:%M:%S").replace(tzinfo=BERLIN)
    except ValueError:
        raise invalid({field: "The input is not in the calendar"}) from None
    return moment.astimezone(UTC)


def wire(moment: datetime) -> str:
    """A time as the vendor writes it: Berlin's, without a zone."""
    return f"{moment.astimezone(BERLIN):%Y-%m-%d %H:%M:%S}"


class RapidmailRefusal(Exception):
    """The vendor refuses, with this status and these words."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.body: dict[str, Any] = {
            "type": "http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        }


def invalid(messages: dict[str, str]) -> RapidmailRefusal:
    """A 422 that names each wrong field."""
    refused = RapidmailRefusal(422, "Failed Validation")
    refused.body["validation_messages"] = {
        field: {"notValid": why} for field, why in messages.items()
    }
    return refused


def fits(value: object, rule: str | type) -> bool:
    """Whether a value is of a type, or a text that matches a pattern."""
    if isinstance(rule, type):
        return type(value) is rule
    return isinstance(value, str) and bool(re.fullmatch(rule, value))


def checked(body: object, required: Fields, optional: Fields) -> dict[str, Any]:
    """Refuses fields that are unknown with 400, and missing or malformed ones with 422, all at
    once.
    """
    if not isinstance(body, dict):
        raise RapidmailRefusal(400, "The body is not an object")
    fields = required | optional
    if unknown := body.keys() - fields.keys():
        raise RapidmailRefusal(400, f"Unrecognized fields: {', '.join(sorted(unknown))}")
    wrong = dict.fromkeys(required.keys() - body.keys(), "Value is required and can't be empty")
    for name, value in body.items():
        if not fits(value, fields[name]):
            wrong[name] = "The input is not valid"
    if wrong:
        raise invalid(wrong)
    return body


def unpack(content: str) -> tuple[str, str]:
    """Reads the HTML and the text out of a zip that holds nothing else."""
    try:
        archive = BytesIO(base64.b64decode(content, validate=True))
        with zipfile.ZipFile(archive) as packed:
            names = packed.namelist()
            files = {name: packed.read(name).decode() for name in names}
    except (ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise invalid({"file": f"The archive could not be read: {error}"}) from error
    html = [name for name in names if name.endswith(".html")]
    text = [name for name in names if name.endswith(".txt")]
    has_others = len(names) > len(html + text)
    has_folders = "/" in "".join(names)
    if len(html) != 1 or len(text) > 1 or has_others or has_folders:
        raise invalid({"file": NOT_TWO_FILES})
    if UNSUBSCRIBE not in files[html[0]]:
        raise invalid({"file": f"{UNSUBSCRIBE} is missing"})
    # What the vendor does with a placeholder it does not know is unconfirmed, so none may ever
    # leave monostat.
    if any("{%" in body.replace(UNSUBSCRIBE, "") for body in files.values()):
        raise invalid({"file": "Unknown placeholder"})
    return files[html[0]], "".join(files[name] for name in text)
