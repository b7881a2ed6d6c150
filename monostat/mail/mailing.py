"""A mailing as Rapidmail has it, read leniently from its answers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

#: An object of Rapidmail's JSON.
Entity = Mapping[str, Any]
# Its times have no zone: it is the vendor's, or that of everybody.
ZONES = (UTC, ZoneInfo("Europe/Berlin"))
ON_THEIR_WAY = ("queueing", "sending", "sent", "sent_split")
RETRY = "tap Retry, which deletes it there and sends a new one"
# What keeps a mailing from being sent, and what to do about it.
DRAFT = f"Rapidmail made it a draft, which it does not send: release it in Rapidmail, or {RETRY}"
PAUSED = f"it is paused in Rapidmail: let it go on there, or {RETRY}"
CANCELED = "it was cancelled in Rapidmail: tap Retry to send a new one"
DELETED = "it was deleted in Rapidmail: tap Retry to send a new one"
#: By the status or the time that says so; the first that holds counts.
STOPPED = {"deleted": DELETED, "canceled": CANCELED, "paused": PAUSED}
#: What reading nonsense raises.
READING_ERRORS = (KeyError, TypeError, ValueError, OverflowError)


class Mailing(NamedTuple):
    """`stopped` says why it is not sent by itself, and the remedy; empty where nothing stops it."""

    id: int
    status: str
    stopped: str

    @property
    def left(self) -> bool:
        """Whether subscribers get it, or have it."""
        return not self.stopped and self.status in ON_THEIR_WAY

    @property
    def gone(self) -> bool:
        """Whether it can be sent no more, whatever anybody does."""
        return self.stopped == DELETED


# A pause is no status but a time; an unknown word is "not yet".
def mailing_of(entity: Entity) -> Mailing:
    """Reads one; raises an error of READING_ERRORS where it has no number."""
    number = int(entity["id"])
    if not 0 < number < 2**63:
        raise ValueError("the number of a mailing is out of range")
    return Mailing(number, str(entity.get("status") or ""), reason_stopped(entity))


def reason_stopped(entity: Entity) -> str:
    """Why it is not sent by itself; empty where it is, or was."""
    status = str(entity.get("status") or "")
    if status in ("sent", "sent_split"):
        return ""
    for word, reason in STOPPED.items():
        if status == word or entity.get(word):
            return reason
    if status == "draft":
        return DRAFT
    return ""


def entries_of(answer: Entity) -> list[Entity]:
    """The mailings of a page; raises an error of READING_ERRORS where it is none.

    What is no object hides none of the others.
    """
    entries = list(answer["_embedded"]["mailings"])
    readable = [entry for entry in entries if isinstance(entry, Mapping)]
    if entries and not readable:
        raise TypeError("none of the entries is a mailing")
    return readable


def created_after(created: object, since: datetime) -> bool:
    """Whether a time of Rapidmail's may be that one or later; a minute is left to the clocks."""
    at = datetime.strptime(str(created), "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the zone comes below
    earliest = since - timedelta(minutes=1)
    return any(at.replace(tzinfo=zone) >= earliest for zone in ZONES)
