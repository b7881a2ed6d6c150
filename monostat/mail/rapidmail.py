"""Asks Rapidmail: sends mailings, looks what has become of them, and adds subscribers."""

import base64
import io
import logging
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from monostat import config
from monostat.mail.budget import Budget
from monostat.mail.letter import Letter
from monostat.mail.mailing import (
    DELETED,
    READING_ERRORS,
    Entity,
    Mailing,
    created_after,
    entries_of,
    mailing_of,
)
from monostat.mail.refusals import REFUSED, fields_of, is_final, refusal
from monostat.vendor import Answer, Undelivered, ask, retry_after

log = logging.getLogger(__name__)
MOST_PAGES = 100  # of two days' mailings; more are nonsense
SUBSCRIBING = 5.0  # seconds, at most, that a visitor waits for the answer
UNTITLED = (
    "its list of mailings names no titles, so that after an unclear end a mailing is known"
    " by its subject, list and time; please report this as a bug"
)
NOT_TAKEN = (
    "takes no subscribers ({status}): check rapidmail.recipientlist_id, and the rights of the API"
    " user in Rapidmail"
)
NOT_DELETED = (
    "Rapidmail has the earlier mailing still, and does not delete it ({status}):"
    " release or delete it in Rapidmail, then tap Retry"
)
UNCLEAR = "Rapidmail's answer is not understood"
UNCLEAR_LIST = "Rapidmail's list of mailings is not understood"


@dataclass
class RapidmailClient:
    """The account; a request may take so many `seconds`."""

    session: aiohttp.ClientSession
    settings: config.RapidmailSettings
    seconds: float
    budget: Budget = field(default_factory=Budget)
    has_warned: bool = False  # that its list names no titles

    # Without `status` nothing is sent, without `send_at` it is sent at once.
    async def send(self, title: str, letter: Letter) -> Mailing:
        """What Rapidmail has made of it; `title` is unique, and subscribers do not see it."""
        settings = self.settings
        readers = {"type": "recipientlist", "id": settings.recipientlist_id, "action": "include"}
        file = {"description": "content.zip", "type": "application/zip", "content": pack(letter)}
        body = {
            "title": title,
            "subject": letter.subject,
            "status": "scheduled",
            "file": file,
            "from_name": settings.from_name,
            "from_email": settings.from_email,
            "destinations": [readers],
        }
        answer = await self.ask("POST", "mailings", json=body)
        try:
            return mailing_of(answer)
        except READING_ERRORS:
            raise Undelivered(UNCLEAR, ambiguous=True) from None

    # Times have seconds and an unknown zone, so a day of margin; all pages count.
    async def find(
        self, title: str, *, since: datetime, subject: str = "", others: Collection[int] = ()
    ) -> Mailing | None:
        """The mailing of this title, of that time or later; one that is stopped where no other is.

        Where no entry of the list has a title, it is one of this subject, to our list, of that
        time, and none of the `others`, which are known for other mails.
        """
        try:
            entries = await self._entries_since(since - timedelta(days=1))
            candidates = self.ours(entries, title=title, subject=subject, since=since)
            mailings = [mailing_of(entity) for entity in candidates]
        except READING_ERRORS:
            raise Undelivered(UNCLEAR_LIST, ambiguous=True) from None
        mailings = [mailing for mailing in mailings if mailing.id not in others]
        for mailing in mailings:
            if not mailing.stopped:
                return mailing
        if mailings:
            return mailings[-1]
        return None

    async def _entries_since(self, since: datetime) -> list[Entity]:
        """The entries of all pages; raises Undelivered, or an error of READING_ERRORS."""
        entries: list[Entity] = []
        for page in range(1, MOST_PAGES + 1):
            params = {"created_since": f"{since:%Y-%m-%d %H:%M:%S}", "page": str(page)}
            answer = await self.ask("GET", "mailings", params=params)
            entries += entries_of(answer)
            if page >= int(answer["page_count"]):
                return entries
        raise Undelivered("Rapidmail's list of mailings has no end", ambiguous=True)

    def ours(
        self, entries: Sequence[Entity], *, title: str, subject: str, since: datetime
    ) -> list[Entity]:
        """Those of this title, or like it where the list names none; ValueError for nonsense."""
        if not entries or any(entity.get("title") for entity in entries):
            return [entity for entity in entries if entity.get("title") == title]
        if not any(entity.get("subject") for entity in entries):
            raise ValueError("nothing tells these mailings apart")
        if not self.has_warned:
            self.has_warned = True
            log.warning("Rapidmail: %s", UNTITLED)
        return [e for e in entries if self.looks_like(e, subject=subject, since=since)]

    def looks_like(self, entity: Entity, *, subject: str, since: datetime) -> bool:
        """Whether an entry without a title may be ours by all that it tells."""
        if entity.get("subject") != subject:
            return False
        lists = [int(destination["id"]) for destination in entity.get("destinations") or []]
        if lists not in ([], [self.settings.recipientlist_id]):
            return False
        created = entity.get("created")
        return created is None or created_after(created, since)

    async def status(self, number: int) -> Mailing:
        """How the mailing of this number stands; one that is not known any more was deleted."""
        try:
            entity = await self.ask("GET", f"mailings/{number}")
            return mailing_of({**entity, "id": number})
        except Undelivered as failure:
            failure.ambiguous = False  # a mailing that is known
            if failure.status != 404:
                raise
            return Mailing(number, "deleted", DELETED)
        except READING_ERRORS:
            raise Undelivered(UNCLEAR) from None

    async def delete(self, number: int) -> None:
        """Returns when a mailing cannot be sent any more."""
        try:
            await self.ask("DELETE", f"mailings/{number}")
        except Undelivered as failure:
            failure.ambiguous = False  # another try does no harm
            if is_final(failure.status):
                failure.reason = NOT_DELETED.format(status=failure.status)
                failure.permanent = True
            if failure.status != 404:
                raise

    # Those who are `new` are asked to confirm, of those it knows it says 409. No `created_ip`:
    # whoever confirms tells Rapidmail from where, and who does not is
    # none of its business.
    async def subscribe(self, email: str) -> bool:
        """Whether the address is with Rapidmail now, or is refused as none.

        Raises Undelivered where nobody knows.
        """
        body = {"recipientlist_id": self.settings.recipientlist_id, "email": email, "status": "new"}
        async with self.budget.visitor():
            answer = await self._request(
                "POST",
                "recipients",
                min(self.seconds, SUBSCRIBING),
                json=body,
                params={"send_activationmail": "yes"},
            )
        status = answer.status
        if status == 409 or 200 <= status < 300:
            return True
        fields = fields_of(answer.body)
        if status == 422 and (not fields or "email" in fields):
            return False
        reason = f"is in trouble ({status})"
        if status == 401:
            reason = REFUSED[status]
        elif is_final(status):
            reason = NOT_TAKEN.format(status=status)
        raise Undelivered(f"Rapidmail {reason}", status=status)

    # This changes nothing.
    async def list_name(self) -> str:
        """What the list of subscribers is called; raises Undelivered."""
        list_id = self.settings.recipientlist_id
        async with self.budget.turn():
            answer = await self._request("GET", f"recipientlists/{list_id}", self.seconds)
        status = answer.status
        if status == 200 and isinstance(answer.body, dict):
            return str(answer.body.get("name"))
        reason = REFUSED.get(status, f"is in trouble ({status})")
        if status == 404:
            remedy = "check rapidmail.recipientlist_id and rapidmail.url"
            reason = f"has no list {list_id} (404): {remedy}"
        raise Undelivered(f"Rapidmail {reason}", status=status)

    async def names_titles(self) -> bool:
        """Whether the first page of its mailings has a title, or no mailing; raises Undelivered."""
        answer = await self.ask("GET", "mailings", params={"page": "1"})
        try:
            entries = entries_of(answer)
        except READING_ERRORS:
            raise Undelivered(UNCLEAR_LIST) from None
        return not entries or any(entity.get("title") for entity in entries)

    async def _request(
        self,
        method: str,
        path: str,
        seconds: float,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Asks once, as the API user; lets all requests rest where Rapidmail asks for that."""
        user = self.settings.username.get_secret_value()
        password = self.settings.password.get_secret_value()
        headers = {
            "Authorization": aiohttp.encode_basic_auth(user, password),
            "Accept": "application/json",
        }
        answer = await ask(
            self.session,
            "Rapidmail",
            method,
            f"{self.settings.url}/{path}",
            seconds,
            headers=headers,
            params=params,
            json=json,
        )
        if answer.status in (429, 503):
            self.budget.rest(retry_after(answer.headers) or 1.0)
        return answer

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The answer to a request about mailings.

        Raises Undelivered; a look that fails leaves all as unclear as before.
        """
        is_look = method == "GET"
        try:
            async with self.budget.turn():
                answer = await self._request(method, path, self.seconds, json=json, params=params)
        except Undelivered as failure:
            failure.ambiguous |= is_look
            raise
        body: dict[str, Any] = {}
        if isinstance(answer.body, dict):
            body = answer.body
        if 200 <= answer.status < 300:
            return body
        raise refusal(answer, body, is_look=is_look)


def pack(letter: Letter) -> str:
    """Both parts as a ZIP file in base64; the same bytes at each try."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in (("content.html", letter.html), ("content.txt", letter.text)):
            archive.writestr(zipfile.ZipInfo(name), part.encode(), zipfile.ZIP_DEFLATED)
    return base64.b64encode(file.getvalue()).decode()
