"""Hands mailings to Rapidmail, and looks whether it has one."""

import asyncio
import base64
import io
import json
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from monostat import config
from monostat.delivery import UNSENT, Undelivered, retry_after

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


@dataclass(frozen=True)
class Mailing:
    """One mail to everybody on the list; `title` is unique and is not shown to them."""

    title: str
    subject: str
    html: str
    text: str


def packed(mailing: Mailing) -> str:
    """The two parts as the zip that Rapidmail wants, the same bytes at each try."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        for name, part in (("content.html", mailing.html), ("content.txt", mailing.text)):
            parts.writestr(zipfile.ZipInfo(name), part.encode(), zipfile.ZIP_DEFLATED)
    return base64.b64encode(file.getvalue()).decode()


class Rapidmail:
    def __init__(self, session: aiohttp.ClientSession, settings: config.Rapidmail, *, timeout: float) -> None:
        self._session, self._settings = session, settings
        # A connection that was never made is told from an answer that never came: only that is ambiguous.
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout / 2)

    # Contract rapidmail.md, section 5: without `status` nothing is sent, without `send_at` it is sent at once.
    async def send(self, mailing: Mailing) -> None:
        """Returns when Rapidmail has accepted the mailing."""
        body = {
            "from_name": self._settings.from_name,
            "from_email": self._settings.from_email,
            "title": mailing.title,
            "subject": mailing.subject,
            "status": "scheduled",
            "destinations": [{"type": "recipientlist", "id": self._settings.recipientlist_id, "action": "include"}],
            "file": {"description": "content.zip", "type": "application/zip", "content": packed(mailing)},
        }
        if "id" not in await self._ask("POST", json=body):
            raise Undelivered("Rapidmail's answer is not understood", ambiguous=True)

    # Contract rapidmail.md, section 10: times have seconds and an unknown zone, so a day of margin; all pages count.
    async def find(self, title: str, *, since: datetime) -> bool:
        """Whether Rapidmail lists the mailing of this title, made at that time or later."""
        after, page, pages = f"{since - timedelta(days=1):%Y-%m-%d %H:%M:%S}", 1, 1
        while page <= pages:
            answer = await self._ask("GET", params={"created_since": after, "page": str(page)})
            try:
                if title in [entity["title"] for entity in answer["_embedded"]["mailings"]]:
                    return True
                page, pages = page + 1, int(answer["page_count"])
                # Section 2: ten requests a second, and subscribers want some of them.
                await asyncio.sleep(0.15 if page <= pages else 0)
            except (KeyError, TypeError, ValueError):
                raise Undelivered("Rapidmail's list of mailings is not understood", ambiguous=True) from None
        return False

    async def _ask(self, method: str, **request: Any) -> dict[str, Any]:
        """The answer to a request; a look that failed leaves it as unclear as before whether the mailing is there."""
        user, password = self._settings.username.get_secret_value(), self._settings.password.get_secret_value()
        headers = {"Authorization": aiohttp.encode_basic_auth(user, password), "Accept": "application/json"}
        request |= {"headers": headers, "timeout": self._timeout, "allow_redirects": False}
        look = method == "GET"
        try:
            async with self._session.request(method, f"{self._settings.url}/mailings", **request) as answer:
                status, wait, text = answer.status, retry_after(answer.headers), await answer.read()
        except UNSENT as error:
            raise Undelivered(f"Rapidmail cannot be reached ({type(error).__name__})", ambiguous=look) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Undelivered(f"Rapidmail did not answer ({type(error).__name__})", ambiguous=True) from None
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        if 200 <= status < 300:
            return body if isinstance(body, dict) else {}
        reason = f"Rapidmail {REFUSED.get(status, f'is in trouble ({status})')}"
        if status == 422 and isinstance(body, dict):
            fields = body.get("validation_messages")
            said = f"{body.get('detail')} {', '.join(fields) if isinstance(fields, dict) else ''}"
            reason += f". It says: {' '.join(said.split())[:200]}"
        # Contract rapidmail.md, section 10: any 4xx was not stored; of everything else nobody knows.
        ambiguous = look or not 400 <= status < 500 or status == 408
        permanent = status in ((401, 403) if look else REFUSED)
        raise Undelivered(reason, permanent=permanent, ambiguous=ambiguous, retry_after=wait)
