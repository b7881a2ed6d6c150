"""A simulated Rapidmail: its API v3 for mailings and recipients, and what recipients do with their
mail.
"""

import json
import math
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from aiohttp import encode_basic_auth, web
from aiohttp.typedefs import Handler

from monostat.demo.clock import utcnow
from monostat.demo.faults import Faults
from monostat.demo.rapidmail_requests import (
    DESTINATION,
    FILE,
    FLAGS,
    LIST,
    MAILING,
    MAILING_MORE,
    RECIPIENT,
    RECIPIENT_MORE,
    Fields,
    RapidmailRefusal,
    checked,
    instant,
    invalid,
    unpack,
    wire,
)

ACCEPTED = re.compile(r"\*/\*|application/(\*|json|hal\+json)")
ELEVENTH = web.RequestKey("eleventh", bool)  # of a second
#: How a mailing moves on by itself, a step for each look at it.
NEXT = {"scheduled": "preparing", "preparing": "sending", "sending": "sent"}


@dataclass(frozen=True, kw_only=True)
class SimulatedMailing:
    """A mailing as the vendor keeps it."""

    id: int
    title: str
    subject: str
    from_name: str
    from_email: str
    status: str
    html: str
    text: str
    created: datetime
    send_at: str | None
    destinations: tuple[dict[str, Any], ...]
    paused: bool = False

    @property
    def lives(self) -> bool:
        """Whether subscribers have it, or get it without anybody's help."""
        return self.status not in ("draft", "canceled", "deleted") and not self.paused


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """A subscriber as the vendor keeps it."""

    id: int
    email: str
    created: datetime
    status: str = "new"
    created_ip: str = ""
    opt_in_mails: int = 0


def hal(body: dict[str, Any], *, status: int = 200) -> web.Response:
    """An answer in the vendor's own kind of JSON."""
    return web.json_response(body, status=status, content_type="application/hal+json")


class SimulatedRapidmail:
    """Holds one account with one recipient list and one confirmed sender."""

    def __init__(
        self,
        *,
        username: str = "9c1b7d2e5f4a4b6c8d0e",
        password: str = "3f6a1d8c2b7e4950a1c3",  # noqa: S107 - made up
        recipientlist_id: int = 2199,
        from_email: str = "status@example.com",
        page_size: int = 25,
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        self.username = username
        self.password = password
        self.recipientlist_id = recipientlist_id
        self.from_email = from_email
        self.page_size = page_size
        self.faults = Faults()
        self.mailings: list[SimulatedMailing] = []
        self.recipients: dict[str, Recipient] = {}
        self.violations: list[str] = []  # what no client of this vendor may do
        self.drop_title = False
        self.untitled: set[int] = set()  # mailings whose entries in the list have no title
        self.listing_delay = 0
        self.moves = True  # mailings are sent by themselves
        self.made_as: str | None = None  # the status that new mailings get whatever is asked for
        self.made_paused = False
        self.keeps = False  # mailings cannot be deleted
        self._now = now
        self._unlisted: dict[int, int] = {}
        self._came: deque[float] = deque(maxlen=10)
        layers: list[Any] = [self._count, self.faults.middleware(), self._speak]
        self.app = web.Application(middlewares=layers)
        self.app.router.add_get("/v1/mailings", self._list_mailings)
        self.app.router.add_post("/v1/mailings", self._create_mailing)
        self.app.router.add_get(r"/v1/mailings/{id:\d+}", self._get_mailing)
        self.app.router.add_delete(r"/v1/mailings/{id:\d+}", self._delete_mailing)
        self.app.router.add_get("/v1/recipientlists", self._list_lists)
        self.app.router.add_get(r"/v1/recipientlists/{id:\d+}", self._get_list)
        self.app.router.add_post("/v1/recipients", self._subscribe)

    def confirm(self, address: str) -> None:
        """Clicks the link of the opt-in mail, which only those who got one can."""
        recipient = self.recipients[address]
        if recipient.status != "new" or not recipient.opt_in_mails:
            raise ValueError(f"nothing to confirm: {recipient!r}")
        self.recipients[address] = replace(recipient, status="active")

    def unsubscribe(self, address: str) -> None:
        """Deletes softly: the record stays, and the address may come back."""
        self.recipients[address] = replace(self.recipients[address], status="deleted")

    def advance(self, mailing_id: int, status: str, *, paused: bool = False) -> None:
        """Moves a mailing along its life cycle, and pauses it or lets it go on."""
        for place, one in enumerate(self.mailings):
            if one.id == mailing_id:
                self.mailings[place] = replace(one, status=status, paused=paused)

    @web.middleware
    async def _speak(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets ten requests a second in, checks credentials and media types, and words every
        refusal as a problem.
        """
        try:
            self._admit(request)
            return await handler(request)
        except RapidmailRefusal as refused:
            problem = refused
        except web.HTTPClientError as error:
            problem = RapidmailRefusal(error.status, error.reason)
        return web.json_response(
            problem.body, status=problem.status, content_type="application/problem+json"
        )

    def forget_pace(self) -> None:
        """Whoever asks next has asked nothing lately: an application that starts cannot know."""
        self._came.clear()

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts requests when they arrive, whatever becomes of them."""
        came = time.monotonic()
        request[ELEVENTH] = len(self._came) == 10 and came - self._came[0] < 1
        if request[ELEVENTH]:
            self.violations.append(f"the eleventh in a second: {request.method} {request.path}")
        else:
            self._came.append(came)
        return await handler(request)

    def _admit(self, request: web.Request) -> None:
        if request[ELEVENTH]:
            raise RapidmailRefusal(503, "Too many requests")
        if "Authorization" not in request.headers:
            raise RapidmailRefusal(403, "Forbidden")
        if request.headers["Authorization"] != encode_basic_auth(self.username, self.password):
            raise RapidmailRefusal(401, "Unauthorized")
        if not ACCEPTED.search(request.headers.get("Accept", "*/*")):
            raise RapidmailRefusal(406, "Cannot honor Accept type specified")
        if request.method == "POST" and request.content_type != "application/json":
            raise RapidmailRefusal(415, "Invalid content-type specified")

    async def _body(
        self, request: web.Request, required: Fields, optional: Fields
    ) -> dict[str, Any]:
        try:
            return checked(json.loads(await request.read()), required, optional)
        except ValueError as error:
            raise RapidmailRefusal(400, f"JSON decoding error: {error}") from error

    def _page(self, request: web.Request, key: str, entities: list[dict[str, Any]]) -> web.Response:
        page = int(request.query.get("page", "1"))
        count = math.ceil(len(entities) / self.page_size)
        last = max(count, 1)
        if page > last:
            raise RapidmailRefusal(409, "Invalid page provided")
        pages = {"self": page, "first": 1, "last": last}
        if page < count:
            pages["next"] = page + 1
        if page > 1:
            pages["prev"] = page - 1
        url = request.url.origin().with_path(request.path).with_query(request.query)
        links = {}
        for name, number in pages.items():
            links[name] = {"href": str(url.update_query(page=number))}
        end = page * self.page_size
        body = {
            "_links": links,
            "_embedded": {key: entities[end - self.page_size : end]},
            "page_count": count,
            "page_size": self.page_size,
            "total_items": len(entities),
            "page": min(page, count),
        }
        return hal(body)

    def _mailing(
        self, request: web.Request, mailing: SimulatedMailing, *, id_as: type = int
    ) -> dict[str, Any]:
        """Writes a mailing; the ids of lists come as numbers or strings, as they did in responses
        on record.
        """
        url = f"{request.url.origin()}/v1/mailings/{mailing.id}"
        entity: dict[str, Any] = {
            "id": mailing.id,
            "status": mailing.status,
            "subject": mailing.subject,
            "from_name": mailing.from_name,
            "title": mailing.title or None,
            "from_email": mailing.from_email,
            "send_at": mailing.send_at,
            "destinations": [to | {"id": id_as(to["id"])} for to in mailing.destinations],
            "recipients": 0,
            "created": wire(mailing.created),
            "updated": wire(mailing.created),
            "sent": None,
            "canceled": None,
            "paused": None,
            "deleted": None,
            "attachments": 0,
            "feature_mailingsplit": "no",
            "_links": {"self": {"href": url}},
        }
        if mailing.status == "canceled":
            entity["canceled"] = wire(self._now())
        if mailing.paused:
            entity["paused"] = wire(self._now())
        return entity

    async def _create_mailing(self, request: web.Request) -> web.Response:
        required = MAILING | {"from_email": re.escape(self.from_email)}
        body = await self._body(request, required, MAILING_MORE)
        file = checked(body["file"], FILE, {"description": ".*"})
        destinations = [
            checked(to, DESTINATION, {"action": "include|exclude"}) for to in body["destinations"]
        ]
        targets = {(to["id"], to.get("action", "include")) for to in destinations}
        # With a single list, one that excludes it has nobody left to go to.
        if targets != {(self.recipientlist_id, "include")}:
            raise invalid({"destinations": "There is no such recipient list, or nobody in it"})
        html, text = unpack(file["content"])
        if "send_at" in body:
            instant("send_at", body)
        title = body.get("title", "")
        if self.drop_title:
            title = ""
        mailing = SimulatedMailing(
            id=4711 + len(self.mailings),
            title=title,
            status=body["status"] if self.made_as is None else self.made_as,
            paused=self.made_paused,
            subject=body["subject"],
            from_name=body["from_name"],
            from_email=body["from_email"],
            html=html,
            text=text,
            created=self._now(),
            send_at=body.get("send_at"),
            destinations=tuple({"action": "include"} | to for to in destinations),
        )
        twins = [one for one in self.mailings if one.title == title and one.lives]
        if title and twins:
            self.violations.append(f"the mailing {mailing.title} is sent twice")
        self.mailings.append(mailing)
        self._unlisted[mailing.id] = self.listing_delay
        return hal(self._mailing(request, mailing), status=201)

    async def _list_mailings(self, request: web.Request) -> web.Response:
        """Lists the oldest first, so that whoever reads page 1 only misses the newest."""
        asked = checked(dict(request.query), {}, LIST)
        listed = [one for one in self.mailings if not self._unlisted.get(one.id)]
        self._unlisted = {number: max(0, left - 1) for number, left in self._unlisted.items()}
        if "created_since" in asked:
            since = instant("created_since", asked)
            listed = [one for one in listed if one.created.replace(microsecond=0) >= since]
        listed = [one for one in listed if asked.get("status", one.status) == one.status]
        listed = [one for one in listed if one.status != "deleted"]
        entries = [self._mailing(request, one, id_as=str) for one in listed]
        for entry in entries:
            if entry["id"] in self.untitled:
                del entry["title"]
        return self._page(request, "mailings", entries)

    def _known(self, request: web.Request) -> SimulatedMailing:
        for mailing in self.mailings:
            if str(mailing.id) == request.match_info["id"] and mailing.status != "deleted":
                return mailing
        raise RapidmailRefusal(404, "Entity not found.")

    async def _get_mailing(self, request: web.Request) -> web.Response:
        mailing = self._known(request)
        if self.moves and not mailing.paused:
            self.advance(mailing.id, NEXT.get(mailing.status, mailing.status))
        return hal(self._mailing(request, self._known(request)))

    async def _delete_mailing(self, request: web.Request) -> web.Response:
        """Deletes what nobody has got yet; whether others can be is not known."""
        mailing = self._known(request)
        on_its_way = mailing.status in ("queueing", "sending") and not mailing.paused
        if self.keeps or on_its_way or mailing.status in ("sent", "sent_split"):
            raise RapidmailRefusal(409, "The mailing cannot be deleted")
        self.advance(mailing.id, "deleted")
        return web.Response(status=204)

    async def _list_lists(self, request: web.Request) -> web.Response:
        checked(dict(request.query), {}, {"page": LIST["page"]})
        one = {"id": str(self.recipientlist_id), "name": "Status page"}
        return self._page(request, "recipientlists", [one])

    async def _get_list(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != str(self.recipientlist_id):
            raise RapidmailRefusal(404, "Entity not found.")
        return hal(
            {"id": self.recipientlist_id, "name": "Status page", "description": "", "default": "no"}
        )

    async def _subscribe(self, request: web.Request) -> web.Response:
        """Adds an address, or takes a deleted one back; the opt-in mail goes to those who are `new`
        only.
        """
        asked = checked(dict(request.query), {}, FLAGS)
        body = {"status": "new"} | await self._body(request, RECIPIENT, RECIPIENT_MORE)
        if body["recipientlist_id"] != self.recipientlist_id:
            raise invalid({"recipientlist_id": "There is no such recipient list"})
        key = body["email"].lower()
        known = self.recipients.get(key)
        if known and known.status != "deleted":
            raise RapidmailRefusal(409, "The recipient is in this list already")
        mailed = asked.get("send_activationmail") == "yes" and body["status"] == "new"
        recipient = known
        if recipient is None:
            new = len(self.recipients) + 1
            recipient = Recipient(id=new, email=body["email"], created=self._now())
        recipient = replace(
            recipient,
            status=body["status"],
            created_ip=body.get("created_ip", request.remote or ""),
            opt_in_mails=recipient.opt_in_mails + mailed,
        )
        self.recipients[key] = recipient
        entity = {
            "id": recipient.id,
            "email": recipient.email,
            "status": recipient.status,
            "recipientlist_id": str(self.recipientlist_id),
            "created": wire(recipient.created),
        }
        return hal(body | entity, status=201)
