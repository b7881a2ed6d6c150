"""Visitors leave an address, which Rapidmail gets and nobody keeps.

PRODUCT.md section 5, and section 9, "Small requests cost little".
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qsl

from aiohttp import web
from markupsafe import escape

from monostat.core.text import one_line
from monostat.engine import Board
from monostat.mail.rapidmail import Rapidmail
from monostat.public.live.handshake import is_ours
from monostat.public.pages import Pages
from monostat.vendor import Condition, Undelivered

TRIES, HOUR, KEPT = (
    5,
    3600,
    50_000,
)  # tries of one address within so many seconds; addresses that are remembered
LARGEST, FIELDS, PATIENCE = (
    4096,
    8,
    10.0,
)  # bytes of a form, its fields, and seconds for it to arrive
MARK = "(the address)"
_PART = r"[^\s@\"<>(),:;\[\]\\]"
#: Letters of all scripts are welcome, for domains have them; Rapidmail has the last word.
EMAIL = rf"(?=.{{6,254}}$){_PART}{{1,64}}@(?:(?![.]){_PART})+(?:[.](?:(?![.]){_PART})+)+"


class Tries:
    """Counts tries by address; each costs the same, however many addresses there are, and the
    oldest are forgotten.
    """

    def __init__(self) -> None:
        self._at: OrderedDict[str, tuple[float, ...]] = (
            OrderedDict()
        )  # the address that tried last is the last

    def __len__(self) -> int:
        return len(self._at)

    def is_one_too_many(self, address: str, now: float) -> bool:
        """Whether this try is refused; if not, it counts. `now` is in seconds of a clock that never
        goes back.
        """
        recent = tuple(at for at in self._at.get(address, ()) if now - at < HOUR)
        if len(recent) >= TRIES:
            return True
        self._at[address] = (*recent, now)
        self._at.move_to_end(address)
        while len(self._at) > KEPT or now - next(iter(self._at.values()))[-1] >= HOUR:
            self._at.popitem(last=False)
        return False


class Subscribing:
    """The form at /subscribe; `vendor` takes the addresses, once it is there.

    `network_of` says by what the limit counts a request, or nothing where nobody knows from where
    it comes.
    """

    def __init__(
        self, board: Board, pages: Pages, network_of: Callable[[web.Request], str]
    ) -> None:
        self._board, self._pages, self._network_of = board, pages, network_of
        self.vendor: Rapidmail | None = None
        self._tries = Tries()
        self._trouble = Condition("subscribing")
        self._pages_of: dict[str, str] = {}  # what answers look like, with MARK for the address

    async def post(self, request: web.Request) -> web.Response:
        """Hands an address to Rapidmail and forgets it; what it answers does not tell who is known
        already.

        Steps, the cheap ones first: 1. other sites; 2. count the try; 3. read the form; 4. leave a
        robot in its belief;
        5. look at the address; 6. hand it over.
        """
        if not self._board.policy.subscribe or not self.vendor:
            raise web.HTTPNotFound
        if self._is_foreign(request):
            raise web.HTTPForbidden(text="Please subscribe on this page itself: /subscribe\n")
        network = self._network_of(request)
        if network and self._tries.is_one_too_many(network, time.monotonic()):
            return self._answer(429, "often")
        form = await _read(request)
        email = form.get("email", "").strip()
        if form.get("website"):
            return self._answer(200, "sent")
        if not (email.isprintable() and re.fullmatch(EMAIL, email)):
            return self._answer(422, "wrong", email)
        try:
            taken = await self.vendor.subscribe(email)
        except Undelivered as failure:
            self._trouble.tell(failure.reason)
            return self._answer(503, "failed", email)
        self._trouble.tell("")
        return self._answer(200, "sent") if taken else self._answer(422, "wrong", email)

    def _is_foreign(self, request: web.Request) -> bool:
        """Whether another site had a browser send this; older ones say so by Origin alone."""
        headers, site = request.headers, self._pages.site.url
        if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return True
        return "Origin" in headers and not is_ours(headers["Origin"], site, headers.get("Host", ""))

    def renew(self) -> None:
        """The page has changed, around the form, too."""
        self._pages_of.clear()

    def _answer(self, status: int, said: str, email: str = "") -> web.Response:
        if said not in self._pages_of:
            made = self._pages.subscribe(self._board, said=said, email=MARK) or b""
            self._pages_of[said] = made.decode()
        text = self._pages_of[said].replace(MARK, escape(one_line(email)))
        answer = web.Response(status=status, text=text, content_type="text/html")
        if status == 429:
            answer.headers["Retry-After"] = str(HOUR)
        return answer


async def _read(request: web.Request) -> dict[str, str]:
    """The form's fields; raises web.HTTPException where it is no form of ours, and then nothing
    more of it is read.
    """
    if "Content-Encoding" in request.headers:
        raise web.HTTPUnsupportedMediaType(
            text="Please send the form as it is, without a Content-Encoding.\n"
        )
    if (request.content_length or 0) > LARGEST:
        raise web.HTTPRequestEntityTooLarge(
            LARGEST, text=f"The form has at most {LARGEST} bytes.\n"
        )
    try:
        async with asyncio.timeout(PATIENCE):
            body = (
                await request.read()
            )  # the application's client_max_size is the limit for what comes in chunks
    except TimeoutError:
        raise web.HTTPRequestTimeout(
            text="The form did not arrive in time: please try again.\n"
        ) from None
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest(
            text="The form did not arrive whole: please try again.\n"
        ) from error
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=FIELDS))
    except ValueError:  # ours has two
        return {}
