"""Asks OpsGenie again and again which alerts are open, and believes only what it says of the very alert."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote

from aiohttp import ClientSession
from yarl import URL

from monostat import config
from monostat.delivery import LONGEST, Condition, Undelivered, ask, backoff, pause, retry_after
from monostat.incidents import Alert, AlertsSeen, one_line

PAGE, OVERLAP, WINDOW, LOOKS = 100, 5, 20_000, 20
BELIEVABLE = timedelta(days=3650)  # a time further away is nonsense, such as the year 1
NONSENSE = "its answer is not understood"
# Contract opsgenie.md, section 1.5: the status decides, never the words.
ADVICE = {
    400: "the query is not understood: check opsgenie.query",
    401: "the key is unknown: check opsgenie.api_key",
    403: "the key may not read this: check the rights and teams of opsgenie.api_key",
    404: "nothing is at this address: check opsgenie.url",
    422: "the key is malformed or the query is wrong: check opsgenie.api_key and opsgenie.query",
    429: "too many requests: waiting as long as it asks",
}


# Contract opsgenie.md, section 1.2: only `id` is sure to be there; closeTime is a duration in ms since createdAt.
def read_alert(item: Any, now: datetime, alert_id: str | None = None) -> Alert:
    """One item of OpsGenie's, which has to be the alert of this id; raises Undelivered for nonsense."""
    found = item.get("id") if isinstance(item, dict) else None
    if not found or not isinstance(found, str) or found != (alert_id or one_line(found)):
        raise Undelivered(NONSENSE)

    def words(key: str) -> str:
        return one_line(value) if isinstance(value := item.get(key), str) else ""

    def instant(key: str) -> datetime | None:
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(words(key))
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
            return moment if abs(moment - now) < BELIEVABLE else None
        return None

    created, closed = instant("createdAt"), None
    if words("status") == "closed":
        closed = instant("updatedAt") or now
        with suppress(KeyError, TypeError, ValueError, OverflowError):
            closed = created + timedelta(milliseconds=item["report"]["closeTime"]) if created else closed
    told = Alert(id=found, message=words("message"), created_at=created or now, closed_at=closed)
    return replace(told, source=words("source"), priority=words("priority"))


@dataclass(kw_only=True)
class Source:
    """An account's alerts, and when those that are not listed were last asked for and first 404.

    `known` says which alerts are open as far as we know, `submit` takes each picture; `wake` ends every pause but one
    that OpsGenie asked for.
    """

    session: ClientSession
    settings: config.OpsGenie
    timing: config.Timing
    now: Callable[[], datetime]
    rng: Random
    known: Callable[[], Iterable[str]]
    submit: Callable[[AlertsSeen], Awaitable[object]]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    asked: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)

    # Contract opsgenie.md, sections 1.1, 1.6 and 5: no redirects, a total timeout, neither key nor body in the log.
    async def ask(self, path: str = "", **params: str) -> dict[str, Any]:
        url = URL(f"{self.settings.url}/v2/alerts{path}", encoded=True).with_query(params)
        key, seconds = self.settings.api_key.get_secret_value(), self.timing.vendor_timeout
        headers = {"Authorization": f"GenieKey {key}", "Accept": "application/json"}
        status, said, body = await ask(self.session, "it", "GET", url, seconds, headers=headers)
        if status != 200:
            period = said.get("X-RateLimit-Period-In-Sec", "")
            wait = retry_after(said) or min(float(period if period.isdecimal() else 60), LONGEST)
            reason = f"{status}, {ADVICE.get(status, 'which is no answer')}"
            raise Undelivered(reason, status=status, retry_after=wait if status == 429 else None)
        if not isinstance(body, dict):
            raise Undelivered(NONSENSE)
        return body

    async def listed(self) -> dict[str, Alert]:
        """All open alerts; pages overlap, because an alert that closes in between moves the later ones up."""
        query = f"status: open AND ({self.settings.query})" if self.settings.query else "status: open"
        ask = {"query": query, "sort": "createdAt", "order": "asc", "limit": str(PAGE)}
        found: dict[str, Alert] = {}
        for offset in range(0, WINDOW - PAGE, PAGE - OVERLAP):
            items = (await self.ask(offset=str(offset), **ask)).get("data")
            if not isinstance(items, list):
                raise Undelivered(NONSENSE)
            found |= {alert.id: alert for alert in (read_alert(item, self.now()) for item in items)}
            if len(items) < PAGE:
                break
        return {alert.id: alert for alert in found.values() if not alert.closed_at}

    # Contract opsgenie.md, section 5: absence from the list proves nothing, each alert is asked for by its id.
    async def poll(self) -> tuple[AlertsSeen, Undelivered | None]:
        """The whole picture, and what kept it from being sharper."""
        span = self.settings.stale_after / 3
        deadline = time.monotonic() + span
        try:
            async with asyncio.timeout(span):
                found = await self.listed()
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        trouble = Undelivered("too many alerts are open to see the newest") if len(found) >= WINDOW - PAGE else None
        missing = [alert_id for alert_id in self.known() if alert_id not in found]
        self.asked = {alert_id: self.asked.get(alert_id, 0.0) for alert_id in missing}
        self.gone = {alert_id: first for alert_id, first in self.gone.items() if alert_id in self.asked}
        ended: dict[str, datetime] = {}
        for alert_id in sorted(missing, key=self.asked.__getitem__)[:LOOKS]:
            if (clock := time.monotonic()) > deadline or (trouble and trouble.retry_after):
                break
            self.asked[alert_id] = clock
            try:
                answer = await self.ask("/" + quote(alert_id, safe=""))
                alert = read_alert(answer.get("data"), self.now(), alert_id)
            except Undelivered as error:
                if error.status != 404:
                    trouble = error
                elif clock - self.gone.setdefault(alert_id, clock) > self.timing.deleted_after:
                    ended[alert_id] = self.now()
                continue
            self.gone.pop(alert_id, None)
            if alert.closed_at:
                ended[alert_id] = alert.closed_at
            else:
                found[alert_id] = alert
        return AlertsSeen(at=self.now(), open=tuple(found.values()), ended=ended), trouble

    async def run(self) -> None:
        """Polls for ever."""
        condition, failures = Condition("OpsGenie"), 0
        while True:
            self.wake.clear()
            try:
                seen, trouble = await self.poll()
                failures = 0
                await self.submit(seen)
            except Undelivered as error:
                trouble, failures = error, failures + 1
            condition.tell(f"{trouble.reason}; keeping the last known state" if trouble else "")
            rest = self.settings.poll_interval * self.rng.uniform(0.9, 1.1)
            rest = max(rest, backoff(failures, self.rng, longest=self.settings.stale_after / 2) if failures else 0)
            asked = (trouble and trouble.retry_after) or 0.0
            await asyncio.sleep(asked)
            await pause(self.wake, rest - asked)
