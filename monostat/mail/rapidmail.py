"""Hands mailings to Rapidmail, asks what has become of them, and adds subscribers."""

import asyncio
import base64
import io
import logging
import zipfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import aiohttp

from monostat import config
from monostat.slack.messages import Letter
from monostat.vendor import Undelivered, ask, retry_after

log = logging.getLogger(__name__)
MOST_PAGES = 100  # of two days' mailings; more are nonsense
# Contract rapidmail.md, section 4: times have no zone. It is the vendor's, or that of everybody.
ZONES = (UTC, ZoneInfo("Europe/Berlin"))
# Contract rapidmail.md, sections 3 and 10: these were surely not stored, and the same words will be
# refused again.
REFUSED = {
    400: "did not understand the mailing (400): please report this as a bug",
    401: "refused the user name or password (401): check rapidmail.username and rapidmail.password",
    403: "does not let this API user send (403): check its rights in Rapidmail",
    404: "knows nothing at this address (404): check rapidmail.url",
    409: "refused the mailing (409)",
    415: "did not understand the mailing (415): please report this as a bug",
    422: "refused the mailing (422): check rapidmail.from_email and rapidmail.recipientlist_id",
}
UNTITLED = (
    "its list of mailings names no titles, so that after an unclear end a mailing is known"
    " by its subject, list and time; please report this as a bug"
)
AGAIN = "tap Retry, which deletes it there and sends a new one"
# What keeps a mailing from being sent, and what to do about it.
DRAFT = f"Rapidmail made it a draft, which it does not send: release it in Rapidmail, or {AGAIN}"
PAUSED = f"it is paused in Rapidmail: let it go on there, or {AGAIN}"
CANCELED = "it was cancelled in Rapidmail: tap Retry to send a new one"
DELETED = "it was deleted in Rapidmail: tap Retry to send a new one"

CROWD = "more visitors subscribe at once than it may be asked about; they are told to try again"
KEPT = (
    "Rapidmail has the earlier mailing still, and does not delete it ({status}):"
    " release or delete it in Rapidmail, then tap Retry"
)


class Mailing(NamedTuple):
    """A mailing as Rapidmail has it; `stopped` says why it is not sent by itself, and the remedy."""

    id: int
    status: str
    stopped: str

    @property
    def left(self) -> bool:
        """Whether subscribers get it, or have it."""
        return not self.stopped and self.status in ("queueing", "sending", "sent", "sent_split")

    @property
    def gone(self) -> bool:
        """Whether it can be sent no more, whatever anybody does."""
        return self.stopped == DELETED


# Contract rapidmail.md, section 5: a pause is no status but a time; an unknown word is "not yet".
def mailing_of(entity: Mapping[str, Any]) -> Mailing:
    """Reads one leniently; raises TypeError, ValueError or OverflowError where it has no number."""
    number, status = int(entity["id"]), str(entity.get("status") or "")
    if not 0 < number < 2**63:
        raise ValueError("the number of a mailing is out of range")
    if status in ("sent", "sent_split"):
        return Mailing(number, status, "")
    over = [(DELETED, "deleted"), (CANCELED, "canceled"), (PAUSED, "paused")]
    reasons = [reason for reason, word in over if status == word or entity.get(word)]
    reasons += [DRAFT] if status == "draft" else []
    return Mailing(number, status, reasons[0] if reasons else "")


def is_final(status: int) -> bool:
    """Whether nothing was done, and the same request would fare no better."""
    return 400 <= status < 500 and status not in (408, 429)


def entries_of(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The mailings of a page; raises KeyError or TypeError where it is none."""
    return [{**entity} for entity in answer["_embedded"]["mailings"]]


def made_after(made: object, since: datetime) -> bool:
    """Whether a time of Rapidmail's may be that one or later; a minute is left to the clocks."""
    at = datetime.strptime(str(made), "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the zone comes below
    return any(at.replace(tzinfo=zone) >= since - timedelta(minutes=1) for zone in ZONES)


class Budget:
    """When the next request may leave: all share it, mails first, visitors with a small part.

    Contract rapidmail.md, section 2: ten a second, counted where they arrive, which is some time
    between leaving and the answer. So each counts until its answer is a second old.
    """

    MOST = 9  # requests
    SPAN = 1.05  # seconds
    SEATS = 3  # requests of visitors at once
    SEATED = 1.5  # seconds that each of these counts for at least: two a second
    WAITING = 20  # visitors who wait for a seat
    PATIENCE = 3.0  # seconds that they wait
    REST = 2.0  # seconds without any request; whoever is told a longer wait waits alone
    GLANCE = 0.05  # seconds after which to see whether another has made room

    def __init__(self) -> None:
        self._under_way = 0
        self._ended: deque[float] = deque(maxlen=self.MOST)
        self._rests_until = 0.0
        self._seats = asyncio.Semaphore(self.SEATS)
        self._mails_waiting = 0
        self._visitors_waiting = 0

    def rest(self, seconds: float) -> None:
        """Rapidmail says that it is asked too much."""
        until = asyncio.get_running_loop().time() + min(seconds, self.REST)
        self._rests_until = max(self._rests_until, until)

    def _wait(self, *, first: bool) -> float:
        now = asyncio.get_running_loop().time()
        recent = [at for at in self._ended if at + self.SPAN > now]
        if now < self._rests_until:
            return self._rests_until - now
        if not first and self._mails_waiting:
            return self.GLANCE
        if self._under_way + len(recent) < self.MOST:
            return 0
        return min([self.GLANCE, *(at + self.SPAN - now for at in recent)])

    async def _begin(self, *, first: bool) -> None:
        self._mails_waiting += first
        try:
            while True:
                wait = self._wait(first=first)
                if wait <= 0:
                    break
                await asyncio.sleep(wait)
            self._under_way += 1
        finally:
            self._mails_waiting -= first

    def _end(self) -> None:
        self._under_way -= 1
        self._ended.append(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def turn(self, *, first: bool = True) -> AsyncIterator[None]:
        """Lets a request leave as soon as it may."""
        await self._begin(first=first)
        try:
            yield
        finally:
            self._end()

    @asynccontextmanager
    async def visitor(self) -> AsyncIterator[None]:
        """Lets a visitor's request leave in its turn; raises Undelivered where that is too late."""
        if self._visitors_waiting >= self.WAITING:
            raise Undelivered(CROWD)
        loop = asyncio.get_running_loop()
        patience_ends = loop.time() + self.PATIENCE
        self._visitors_waiting += 1
        try:
            await in_time(self._seats.acquire(), patience_ends)
        finally:
            self._visitors_waiting -= 1
        seat_ends = loop.time() + self.SEATED
        try:
            await in_time(self._begin(first=False), patience_ends)
            try:
                yield
            finally:
                self._end()
        finally:
            loop.call_at(seat_ends, self._seats.release)


async def in_time(turn: Awaitable[object], ends: float) -> None:
    """Waits for it until that time of the loop; raises Undelivered then."""
    try:
        async with asyncio.timeout_at(ends):
            await turn
    except TimeoutError:
        raise Undelivered(CROWD) from None


@dataclass(frozen=True)
class Rapidmail:
    """The account; a request may take so many `seconds`."""

    session: aiohttp.ClientSession
    settings: config.RapidmailSettings
    seconds: float
    budget: Budget = field(default_factory=Budget)
    untitled: asyncio.Event = field(default_factory=asyncio.Event)  # the log knows of it

    # Contract rapidmail.md, section 5: without `status` nothing is sent, without `send_at` it is
    # sent at once.
    async def send(self, title: str, letter: Letter) -> Mailing:
        """What Rapidmail has made of it; `title` is unique, and subscribers do not see it."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as parts:  # the same bytes at each try
            for name, part in (("content.html", letter.html), ("content.txt", letter.text)):
                parts.writestr(zipfile.ZipInfo(name), part.encode(), zipfile.ZIP_DEFLATED)
        content, settings = base64.b64encode(packed.getvalue()).decode(), self.settings
        readers = {"type": "recipientlist", "id": settings.recipientlist_id, "action": "include"}
        file = {"description": "content.zip", "type": "application/zip", "content": content}
        body: dict[str, Any] = {
            "title": title,
            "subject": letter.subject,
            "status": "scheduled",
            "file": file,
        }
        body |= {
            "from_name": settings.from_name,
            "from_email": settings.from_email,
            "destinations": [readers],
        }
        answer = await self.ask("POST", "mailings", json=body)
        try:
            return mailing_of(answer)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise Undelivered("Rapidmail's answer is not understood", ambiguous=True) from None

    # Contract rapidmail.md, section 10: times have seconds and an unknown zone, so a day of margin;
    # all pages count.
    async def find(
        self, title: str, *, since: datetime, subject: str = "", others: Collection[int] = ()
    ) -> Mailing | None:
        """The mailing of this title, of that time or later; one that is stopped where no other is.

        Where no entry of the list has a title, it is one of this subject, to our list, of that
        time, and none of the `others`, which are known for other mails.
        """
        after = f"{since - timedelta(days=1):%Y-%m-%d %H:%M:%S}"
        page = pages = 1
        entries: list[Mapping[str, Any]] = []
        try:
            while page <= min(pages, MOST_PAGES):
                params = {"created_since": after, "page": str(page)}
                answer = await self.ask("GET", "mailings", params=params)
                entries += entries_of(answer)
                pages = int(answer["page_count"])
                page += 1
            found = self.ours(entries, title=title, subject=subject, since=since)
            mailings = [made for entity in found if (made := mailing_of(entity)).id not in others]
        except (KeyError, TypeError, ValueError, OverflowError):
            reason = "Rapidmail's list of mailings is not understood"
            raise Undelivered(reason, ambiguous=True) from None
        if pages > MOST_PAGES:
            raise Undelivered("Rapidmail's list of mailings has no end", ambiguous=True)
        return next((m for m in mailings if not m.stopped), mailings[-1] if mailings else None)

    def ours(
        self, entries: Sequence[Mapping[str, Any]], *, title: str, subject: str, since: datetime
    ) -> list[Mapping[str, Any]]:
        """Those of this title, or like it where the list names none; ValueError for nonsense."""
        if not entries or any(entity.get("title") for entity in entries):
            return [entity for entity in entries if entity.get("title") == title]
        if not any(entity.get("subject") for entity in entries):
            raise ValueError("nothing tells these mailings apart")
        if not self.untitled.is_set():
            self.untitled.set()
            log.warning("Rapidmail: %s", UNTITLED)
        return [e for e in entries if self.looks_like(e, subject=subject, since=since)]

    def looks_like(self, entity: Mapping[str, Any], *, subject: str, since: datetime) -> bool:
        """Whether an entry without a title may be ours by all that it tells."""
        if entity.get("subject") != subject:
            return False
        lists = [int(each["id"]) for each in entity.get("destinations") or []]
        made = entity.get("created")
        ours = lists in ([], [self.settings.recipientlist_id])
        return ours and (made is None or made_after(made, since))

    async def status(self, number: int) -> Mailing:
        """How the mailing of this number stands; one that is not known any more was deleted."""
        try:
            return mailing_of({**await self.ask("GET", f"mailings/{number}"), "id": number})
        except Undelivered as failure:
            failure.ambiguous = False  # a mailing that is known
            if failure.status != 404:
                raise
            return Mailing(number, "deleted", DELETED)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise Undelivered("Rapidmail's answer is not understood") from None

    async def delete(self, number: int) -> None:
        """Returns when a mailing cannot be sent any more."""
        try:
            await self.ask("DELETE", f"mailings/{number}")
        except Undelivered as failure:
            failure.ambiguous = False  # another try does no harm
            if is_final(failure.status):
                failure.reason, failure.permanent = KEPT.format(status=failure.status), True
            if failure.status != 404:
                raise

    # Contract rapidmail.md, section 6: those who are `new` are asked to confirm, of those it knows
    # it says 409. No `created_ip`: who confirms tells Rapidmail from where, and who does not is
    # none of its business.
    async def subscribe(self, email: str) -> bool:
        """Whether the address is with Rapidmail now, or is refused as none; raises Undelivered
        where nobody knows.
        """
        body = {"recipientlist_id": self.settings.recipientlist_id, "email": email, "status": "new"}
        async with self.budget.visitor():
            status, _, _ = await self._ask(
                "POST",
                "recipients",
                min(self.seconds, 5),
                json=body,
                params={"send_activationmail": "yes"},
            )
        if status not in (409, 422) and not 200 <= status < 300:
            raise Undelivered(f"Rapidmail {REFUSED.get(status, f'is in trouble ({status})')}")
        return status != 422

    # Contract rapidmail.md, sections 1 and 7: this changes nothing.
    async def list_name(self) -> str:
        """What the list of subscribers is called; raises Undelivered."""
        list_id = self.settings.recipientlist_id
        async with self.budget.turn():
            status, _, body = await self._ask("GET", f"recipientlists/{list_id}", self.seconds)
        if status == 200 and isinstance(body, dict):
            return str(body.get("name"))
        lost = f"has no list {list_id} (404): check rapidmail.recipientlist_id and rapidmail.url"
        reason = lost if status == 404 else REFUSED.get(status, f"is in trouble ({status})")
        raise Undelivered(f"Rapidmail {reason}", status=status)

    async def names_titles(self) -> bool:
        """Whether the first page of its mailings has a title, or no mailing; raises Undelivered."""
        try:
            entries = entries_of(await self.ask("GET", "mailings", params={"page": "1"}))
            return not entries or any(entity.get("title") for entity in entries)
        except (KeyError, TypeError):
            raise Undelivered("Rapidmail's list of mailings is not understood") from None

    async def _ask(
        self, method: str, path: str, seconds: float, **request: Any
    ) -> tuple[int, Mapping[str, str], Any]:
        user, password = (
            self.settings.username.get_secret_value(),
            self.settings.password.get_secret_value(),
        )
        request["headers"] = {
            "Authorization": aiohttp.encode_basic_auth(user, password),
            "Accept": "application/json",
        }
        answer = await ask(
            self.session, "Rapidmail", method, f"{self.settings.url}/{path}", seconds, **request
        )
        if answer[0] in (429, 503):
            self.budget.rest(retry_after(answer[1]) or 1.0)
        return answer

    async def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The answer to a request about mailings; a look that fails leaves all as unclear as
        before.
        """
        look = method == "GET"
        try:
            async with self.budget.turn():
                status, headers, body = await self._ask(method, path, self.seconds, **request)
        except Undelivered as failure:
            failure.ambiguous |= look
            raise
        said = body if isinstance(body, dict) else {}
        if 200 <= status < 300:
            return said
        # Contract rapidmail.md, section 10: any 4xx was not stored; of everything else nobody
        # knows.
        final = is_final(status)
        reason = f"is in trouble ({status})" if not final else f"refused the mailing ({status})"
        reason = f"Rapidmail {REFUSED.get(status, reason)}"
        fields = said.get("validation_messages")
        if said.get("detail") and (status == 422 or status not in REFUSED):
            words = f"{said['detail']} {', '.join(fields) if isinstance(fields, dict) else ''}"
            reason += f". It says: {' '.join(words.split())[:200]}"
        # Section 13: a 422 that names no field has been seen to pass at another try.
        permanent = status in (401, 403) if look else final and (status != 422 or bool(fields))
        raise Undelivered(
            reason,
            permanent=permanent,
            ambiguous=look or not (final or status == 429),
            retry_after=retry_after(headers),
            status=status,
        )
