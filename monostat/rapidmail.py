"""Hands mailings to Rapidmail, and looks whether it has one."""

import asyncio
import base64
import io
import zipfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import aiohttp

from monostat import config
from monostat.delivery import Undelivered, ask, retry_after
from monostat.messages import Letter

MOST_PAGES = 100  # of two days' mailings; more are nonsense
# Contract rapidmail.md, sections 3 and 10: these were surely not stored, and the same words will be refused again.
REFUSED = {
    400: "did not understand the mailing (400): please report this as a bug",
    401: "refused the user name or password (401): check rapidmail.username and rapidmail.password",
    403: "does not let this API user send (403): check its rights in Rapidmail",
    404: "knows nothing at this address (404): check rapidmail.url",
    409: "refused the mailing (409)",
    415: "did not understand the mailing (415): please report this as a bug",
    422: "refused the mailing (422): check rapidmail.from_email and rapidmail.recipientlist_id",
}


class Rapidmail(NamedTuple):
    """The account; a request may take so many `seconds`."""

    session: aiohttp.ClientSession
    settings: config.Rapidmail
    seconds: float

    # Contract rapidmail.md, section 5: without `status` nothing is sent, without `send_at` it is sent at once.
    async def send(self, title: str, letter: Letter) -> None:
        """Returns when Rapidmail has accepted the mailing; `title` is unique, and subscribers do not see it."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as parts:  # the same bytes at each try
            for name, part in (("content.html", letter.html), ("content.txt", letter.text)):
                parts.writestr(zipfile.ZipInfo(name), part.encode(), zipfile.ZIP_DEFLATED)
        content, settings = base64.b64encode(packed.getvalue()).decode(), self.settings
        readers = {"type": "recipientlist", "id": settings.recipientlist_id, "action": "include"}
        file = {"description": "content.zip", "type": "application/zip", "content": content}
        body: dict[str, Any] = {"title": title, "subject": letter.subject, "status": "scheduled", "file": file}
        body |= {"from_name": settings.from_name, "from_email": settings.from_email, "destinations": [readers]}
        if "id" not in await self.ask("POST", json=body):
            raise Undelivered("Rapidmail's answer is not understood", ambiguous=True)

    # Contract rapidmail.md, section 10: times have seconds and an unknown zone, so a day of margin; all pages count.
    async def find(self, title: str, *, since: datetime) -> bool:
        """Whether Rapidmail lists the mailing of this title, made at that time or later."""
        after, page, pages = f"{since - timedelta(days=1):%Y-%m-%d %H:%M:%S}", 1, 1
        while page <= min(pages, MOST_PAGES):
            answer = await self.ask("GET", params={"created_since": after, "page": str(page)})
            try:
                if title in [entity["title"] for entity in answer["_embedded"]["mailings"]]:
                    return True
                page, pages = page + 1, int(answer["page_count"])
                # Section 2: ten requests a second, and subscribers want some of them.
                await asyncio.sleep(0.15 if page <= pages else 0)
            except (KeyError, TypeError, ValueError, OverflowError):
                raise Undelivered("Rapidmail's list of mailings is not understood", ambiguous=True) from None
        if pages > MOST_PAGES:
            raise Undelivered("Rapidmail's list of mailings has no end", ambiguous=True)
        return False

    # Contract rapidmail.md, section 6: those who are `new` are asked to confirm, of those it knows it says 409.
    # No `created_ip`: who confirms tells Rapidmail from where, and who does not is none of its business.
    async def subscribe(self, email: str) -> bool:
        """Whether the address is with Rapidmail now, or is refused as none; raises Undelivered where nobody knows."""
        body = {"recipientlist_id": self.settings.recipientlist_id, "email": email, "status": "new"}
        status, _, _ = await self._ask(
            "POST", "recipients", min(self.seconds, 5), json=body, params={"send_activationmail": "yes"}
        )
        if status not in (409, 422) and not 200 <= status < 300:
            raise Undelivered(f"Rapidmail {REFUSED.get(status, f'is in trouble ({status})')}")
        return status != 422

    # Contract rapidmail.md, sections 1 and 7: this changes nothing.
    async def list_name(self) -> str:
        """What the list of subscribers is called; raises Undelivered."""
        list_id = self.settings.recipientlist_id
        status, _, body = await self._ask("GET", f"recipientlists/{list_id}", self.seconds)
        if status == 200 and isinstance(body, dict):
            return str(body.get("name"))
        lost = f"has no list {list_id} (404): check rapidmail.recipientlist_id and rapidmail.url"
        reason = lost if status == 404 else REFUSED.get(status, f"is in trouble ({status})")
        raise Undelivered(f"Rapidmail {reason}", status=status)

    async def _ask(self, method: str, path: str, seconds: float, **request: Any) -> tuple[int, Mapping[str, str], Any]:
        user, password = self.settings.username.get_secret_value(), self.settings.password.get_secret_value()
        request["headers"] = {"Authorization": aiohttp.encode_basic_auth(user, password), "Accept": "application/json"}
        return await ask(self.session, "Rapidmail", method, f"{self.settings.url}/{path}", seconds, **request)

    async def ask(self, method: str, **request: Any) -> dict[str, Any]:
        """The answer to a request; a look that failed leaves it as unclear as before whether the mailing is there."""
        look = method == "GET"
        try:
            status, headers, body = await self._ask(method, "mailings", self.seconds, **request)
        except Undelivered as failure:
            failure.ambiguous |= look
            raise
        said = body if isinstance(body, dict) else {}
        if 200 <= status < 300:
            return said
        reason = f"Rapidmail {REFUSED.get(status, f'is in trouble ({status})')}"
        if status == 422 and said:
            fields = said.get("validation_messages")
            words = f"{said.get('detail')} {', '.join(fields) if isinstance(fields, dict) else ''}"
            reason += f". It says: {' '.join(words.split())[:200]}"
        # Contract rapidmail.md, section 10: any 4xx was not stored; of everything else nobody knows.
        ambiguous = look or not 400 <= status < 500 or status == 408
        permanent = status in ((401, 403) if look else REFUSED)
        raise Undelivered(reason, permanent=permanent, ambiguous=ambiguous, retry_after=retry_after(headers))
