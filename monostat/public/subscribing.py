"""Visitors leave an address, which Rapidmail gets and nobody keeps."""

import asyncio
import re
import time
from collections import OrderedDict
from urllib.parse import parse_qsl

from aiohttp import web
from markupsafe import escape

from monostat.core.text import one_line
from monostat.engine import Engine
from monostat.mail.rapidmail import RapidmailClient
from monostat.public.clients import Clients
from monostat.public.live.handshake import is_own_origin
from monostat.public.pages import Pages
from monostat.vendor import Condition, Undelivered

#: Takes the addresses; there from the start of the mail vendor's client on.
SUBSCRIBERS = web.AppKey("SUBSCRIBERS", RapidmailClient)
MAX_TRIES = 5  # of one network within an hour
HOUR = 3600  # seconds
MAX_NETWORKS = 50_000  # that are remembered
MAX_FORM_BYTES = 4096
MAX_FIELDS = 8  # of a form
FORM_TIMEOUT = 10.0  # seconds for a form to arrive
MARK = "(the address)"
_PART = r"[^\s@\"<>(),:;\[\]\\]"
#: Letters of all scripts are welcome, for domains have them; Rapidmail has the last word.
EMAIL = rf"(?=.{{6,254}}$){_PART}{{1,64}}@(?:(?![.]){_PART})+(?:[.](?:(?![.]){_PART})+)+"


class Tries:
    """Counts tries by network; the oldest are forgotten.

    Each costs the same, however many networks there are.
    """

    def __init__(self) -> None:
        # The network that tried last is the last; each has the times of its tries.
        self._times = OrderedDict[str, tuple[float, ...]]()

    def __len__(self) -> int:
        """How many networks are remembered."""
        return len(self._times)

    def is_one_too_many(self, network: str, now: float) -> bool:
        """Whether this try is refused; if not, it counts.

        `now` is in seconds of a clock that never goes back.
        """
        recent = tuple(at for at in self._times.get(network, ()) if now - at < HOUR)
        if len(recent) >= MAX_TRIES:
            return True
        self._times[network] = (*recent, now)
        self._times.move_to_end(network)
        while len(self._times) > MAX_NETWORKS or self._oldest_is_over(now):
            self._times.popitem(last=False)
        return False

    def _oldest_is_over(self, now: float) -> bool:
        oldest = next(iter(self._times.values()))
        return now - oldest[-1] >= HOUR


class Unread(Exception):
    """What came is not a form of ours, or not all of it: `said` is the word for it."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status
        self.said = said


class Subscribing:
    """The form at /subscribe."""

    def __init__(self, engine: Engine, pages: Pages, clients: Clients) -> None:
        self._engine = engine
        self._pages = pages
        self._clients = clients
        self._tries = Tries()
        self._trouble = Condition("subscribing")
        self._answers: dict[str, str] = {}  # what they look like, with MARK for the address

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Hands an address to Rapidmail and forgets it.

        What it answers does not tell who is known already. Steps, the cheap ones first: 1. other
        sites; 2. count the try; 3. read the form; 4. leave a robot in its belief; 5. look at the
        address; 6. hand it over.
        """
        vendor = request.app.get(SUBSCRIBERS)
        if not self._engine.policy.subscribe or not vendor:
            raise web.HTTPNotFound
        if self._is_foreign(request):
            return self._answer(403, "foreign")
        network = self._clients.network_of_request(request)
        if network and self._tries.is_one_too_many(network, time.monotonic()):
            answer = self._answer(429, "often")
            answer.headers["Retry-After"] = str(HOUR)
            return answer
        try:
            form = await read_form(request)
        except Unread as unread:
            return self._answer(unread.status, unread.said)
        email = form.get("email", "").strip()
        if form.get("website"):
            return self._answer(200, "sent")
        if not (email.isprintable() and re.fullmatch(EMAIL, email)):
            return self._answer(422, "wrong", email)
        return await self._hand_over(vendor, email)

    async def _hand_over(self, vendor: RapidmailClient, email: str) -> web.Response:
        try:
            is_taken = await vendor.subscribe(email)
        except Undelivered as failure:
            self._trouble.tell(failure.reason)
            return self._answer(503, "failed", email)
        self._trouble.tell("")
        if not is_taken:
            return self._answer(422, "wrong", email)
        return self._answer(200, "sent")

    def _is_foreign(self, request: web.Request) -> bool:
        """Whether another site had a browser send this; older ones say so by Origin alone."""
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return True
        if "Origin" not in request.headers:
            return False
        origin = request.headers["Origin"]
        host = request.headers.get("Host", "")
        return not is_own_origin(origin, self._pages.site.url, host)

    def renew(self) -> None:
        """The page has changed, around the form, too."""
        self._answers.clear()

    def _answer(self, status: int, said: str, email: str = "") -> web.Response:
        """The form with what came of it, in a word that its template knows."""
        if said not in self._answers:
            self._answers[said] = self._pages.subscribed(self._engine, said, MARK)
        text = self._answers[said].replace(MARK, escape(one_line(email)))
        return web.Response(status=status, text=text, content_type="text/html")


async def read_form(request: web.Request) -> dict[str, str]:
    """The form's fields; raises Unread, and then nothing more of it is read."""
    if "Content-Encoding" in request.headers:
        raise Unread(415, "unreadable")
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise Unread(413, "unreadable")
    try:
        async with asyncio.timeout(FORM_TIMEOUT):
            # The application's client_max_size is the limit for what comes in chunks.
            body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Unread(413, "unreadable") from error
    except TimeoutError as error:
        raise Unread(408, "unfinished") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Unread(400, "unfinished") from error
    try:
        return dict(parse_qsl(body.decode(), errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError:  # ours has two fields, of UTF-8
        return {}
