"""Asks OpsGenie again and again which alerts are open, and believes only what it says of the very alert."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import ClientError, ClientSession, ClientTimeout
from yarl import URL

from monostat import config
from monostat.delivery import LONGEST, backoff, retry_after
from monostat.incidents import Alert, AlertEnded, AlertsSeen, one_line

log = logging.getLogger(__name__)
PAGE, OVERLAP, WINDOW, LOOKS, LARGEST = 100, 5, 20_000, 20, 5_000_000
# Contract opsgenie.md, section 1.5: the status decides, never the words.
ADVICE = {
    400: "the query is not understood: check opsgenie.query",
    401: "the key is unknown: check opsgenie.api_key",
    403: "the key may not read this: check the rights and teams of opsgenie.api_key",
    404: "nothing is at this address: check opsgenie.url",
    422: "the key is malformed or the query is wrong: check opsgenie.api_key and opsgenie.query",
    429: "too many requests: waiting as long as it asks",
}


BELIEVABLE = timedelta(days=3650)  # a time further away is nonsense, such as the year 1


class Unanswered(Exception):
    """OpsGenie did not say what it was asked; `wait` is how many seconds it wants to be left alone."""

    def __init__(self, reason: str, *, status: int = 0, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.status, self.wait = reason, status, wait


# Contract opsgenie.md, section 1.2: only `id` is sure to be there; closeTime is a duration in ms since createdAt.
def read_v2(item: dict[str, Any], now: datetime) -> Alert:
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
    told = Alert(id=item["id"], message=words("message"), created_at=created or now, closed_at=closed)
    return replace(told, source=words("source"), priority=words("priority"))


class Api(NamedTuple):
    """Where this API differs from its successor, contract opsgenie.md section 4."""

    path: str
    listed: str  # the key of the list
    single: str  # the key of a single alert
    size: str  # the parameter for the size of a page
    read: Callable[[dict[str, Any], datetime], Alert]


V2 = Api("/v2/alerts", "data", "data", "limit", read_v2)


@dataclass(kw_only=True)
class Source:
    """An account's alerts, and when those that are not listed were last asked for and first 404."""

    session: ClientSession
    settings: config.OpsGenie
    now: Callable[[], datetime]
    timing: config.Timing
    api: Api = V2
    asked: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)

    # Contract opsgenie.md, sections 1.1, 1.6 and 5: no redirects, a total timeout, neither key nor body in the log.
    async def ask(self, path: str = "", **params: str) -> dict[str, Any]:
        url = URL(self.settings.url + self.api.path + path, encoded=True).with_query(params)
        key = self.settings.api_key.get_secret_value()
        headers = {"Authorization": f"GenieKey {key}", "Accept": "application/json"}
        limit, body = ClientTimeout(total=self.timing.vendor_timeout), bytearray()
        try:
            async with self.session.get(url, headers=headers, allow_redirects=False, timeout=limit) as answer:
                if answer.status != 200:
                    asked, period = retry_after(answer.headers), answer.headers.get("X-RateLimit-Period-In-Sec", "")
                    asked = asked or min(float(period if period.isdecimal() else 60), LONGEST)
                    reason = f"{answer.status}, {ADVICE.get(answer.status, 'which is no answer')}"
                    raise Unanswered(reason, status=answer.status, wait=asked if answer.status == 429 else 0.0)
                async for part in answer.content.iter_chunked(65536):
                    body += part
                    if len(body) > LARGEST:
                        raise Unanswered("its answer is too long")
            return dict(json.loads(body))
        except TimeoutError:
            raise Unanswered("no answer in time") from None
        except ClientError as error:
            raise Unanswered(f"it cannot be reached ({type(error).__name__})") from None
        except (ValueError, TypeError, RecursionError):
            raise Unanswered("its answer is not understood") from None

    def read(self, item: object, alert_id: str | None = None) -> Alert:
        found = item.get("id") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(found, str) or not found:
            raise Unanswered("its answer is not understood")
        if found != (alert_id or one_line(found)):
            raise Unanswered("its answer is not understood")
        return self.api.read(item, self.now())

    async def listed(self) -> dict[str, Alert]:
        """All open alerts; pages overlap, because an alert that closes in between moves the later ones up."""
        query = f"status: open AND ({self.settings.query})" if self.settings.query else "status: open"
        ask = {"query": query, "sort": "createdAt", "order": "asc", self.api.size: str(PAGE)}
        found: dict[str, Alert] = {}
        for offset in range(0, WINDOW - PAGE, PAGE - OVERLAP):
            items = (await self.ask(offset=str(offset), **ask)).get(self.api.listed)
            if not isinstance(items, list):
                raise Unanswered("its answer is not understood")
            found |= {alert.id: alert for alert in map(self.read, items)}
            if len(items) < PAGE:
                break
        return {alert.id: alert for alert in found.values() if not alert.closed_at}

    # Contract opsgenie.md, section 5: absence from the list proves nothing, each alert is asked for by its id.
    async def poll(self, known: Callable[[], Iterable[str]]) -> tuple[AlertsSeen, Unanswered | None]:
        """The whole picture, and what kept it from being sharper."""
        span = self.settings.stale_after / 3
        deadline = time.monotonic() + span
        try:
            async with asyncio.timeout(span):
                found = await self.listed()
        except TimeoutError:
            raise Unanswered("no answer in time") from None
        trouble = Unanswered("too many alerts are open to see the newest") if len(found) >= WINDOW - PAGE else None
        missing = [alert_id for alert_id in known() if alert_id not in found]
        self.asked = {alert_id: self.asked.get(alert_id, 0.0) for alert_id in missing}
        self.gone = {alert_id: first for alert_id, first in self.gone.items() if alert_id in self.asked}
        ended = []
        for alert_id in sorted(missing, key=self.asked.__getitem__)[:LOOKS]:
            if (clock := time.monotonic()) > deadline or (trouble and trouble.wait):
                break
            self.asked[alert_id] = clock
            try:
                alert = self.read((await self.ask("/" + quote(alert_id, safe=""))).get(self.api.single), alert_id)
            except Unanswered as error:
                if error.status != 404:
                    trouble = error
                elif alert_id in self.gone and clock - self.gone[alert_id] >= self.timing.deleted_after:
                    ended.append(AlertEnded(id=alert_id, at=self.now(), deleted=True))
                else:
                    self.gone.setdefault(alert_id, clock)
                continue
            self.gone.pop(alert_id, None)
            if alert.closed_at:
                ended.append(AlertEnded(id=alert_id, at=alert.closed_at))
            else:
                found[alert_id] = alert
        return AlertsSeen(at=self.now(), open=tuple(found.values()), ended=tuple(ended)), trouble


async def watch(
    session: ClientSession,
    settings: config.OpsGenie,
    *,
    known: Callable[[], Iterable[str]],
    submit: Callable[[AlertsSeen], Awaitable[object]],
    now: Callable[[], datetime],
    rng: Random,
    timing: config.Timing,
    wake: asyncio.Event,
) -> None:
    """Polls for ever; `wake` ends every pause but one that OpsGenie asked for."""
    source, told, failures = Source(session=session, settings=settings, now=now, timing=timing), "", 0
    while True:
        wake.clear()
        try:
            seen, trouble = await source.poll(known)
        except Unanswered as error:
            trouble, failures = error, failures + 1
        else:
            failures = 0
            await submit(seen)
        if (reason := trouble.reason if trouble else "") != told:
            told = reason
            if reason:
                log.warning("OpsGenie: %s; keeping the last known state", reason)
            else:
                log.info("OpsGenie: answers again")
        pause = settings.poll_interval * rng.uniform(0.9, 1.1)
        if failures:
            pause = max(pause, backoff(failures, rng, longest=settings.stale_after / 2))
        asked = trouble.wait if trouble else 0.0
        await asyncio.sleep(asked)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause - asked):
                await wake.wait()
