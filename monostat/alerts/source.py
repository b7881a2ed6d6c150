"""Asks OpsGenie or JSM again and again which alerts are open, and believes only what it says of the
very alert.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from aiohttp import ClientSession, encode_basic_auth
from yarl import URL

from monostat import config
from monostat.core.events import AlertsSeen, AlertsUnseen, MonitoringSilent
from monostat.core.model import Alert
from monostat.core.text import one_line
from monostat.vendor import LONGEST, Condition, Undelivered, ask, backoff, nap, pause, retry_after

PAGE, OVERLAP, WINDOW, LOOKS = 100, 5, 20_000, 20
BELIEVABLE = timedelta(days=3650)  # a time further away is nonsense, such as the year 1
OVER = ("closed", "resolved")  # every other word is open, whatever it is
NONSENSE = "its answer is not understood"


class Api(NamedTuple):
    """What differs between the two products; contract opsgenie.md, section 4.

    `advice` by status, which alone decides; `items` and `size` name the list and how much of it is
    wanted, `one` the envelope of a single alert, if it has one.
    """

    name: str
    origin: str
    path: str
    items: str
    size: str
    one: str
    advice: dict[int, str]


QUERY = "the query is not understood: check opsgenie.query"
THROTTLED = "too many requests: waiting as long as it asks"
# Contract opsgenie.md, sections 1.5 and 3.4: JSM says 401 for a missing scope too.
OPSGENIE = {
    400: QUERY,
    401: "the key is unknown: check opsgenie.api_key",
    403: "the key may not read this: check the rights and teams of opsgenie.api_key",
    404: "nothing is at this address: check opsgenie.url",
    422: "the key is malformed or the query is wrong: check opsgenie.api_key and opsgenie.query",
    429: THROTTLED,
}
JSM = {
    400: QUERY,
    401: "the token is unknown, has expired or lacks the scope read:ops-alert:jira-service-management: make a new one,"
    " and check opsgenie.email and opsgenie.api_token",
    403: "the account may not read this: check in which teams of Operations opsgenie.email is",
    404: "nothing is at this address: check opsgenie.cloud_id and opsgenie.url",
    422: QUERY,
    429: THROTTLED,
}
APIS = {
    "opsgenie": Api(
        "OpsGenie", "https://api.opsgenie.com", "/v2/alerts", "data", "limit", "data", OPSGENIE
    ),
    "jsm": Api(
        "JSM",
        "https://api.atlassian.com",
        "/jsm/ops/api/{cloud_id}/v1/alerts",
        "values",
        "size",
        "",
        JSM,
    ),
}


# Contract opsgenie.md, sections 1.2 and 3.2: only `id` is sure to be there. OpsGenie's closeTime is
# a duration in ms since createdAt and part of a report, JSM's is a time.
def read_alert(item: Any, now: datetime, alert_id: str | None = None) -> Alert:
    """One item of a list, which has to be the alert of this id; raises Undelivered for nonsense."""
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
    if words("status") in OVER:
        closed = instant("closeTime") or instant("updatedAt") or now
        with suppress(KeyError, TypeError, ValueError, OverflowError):
            closed = (
                created + timedelta(milliseconds=item["report"]["closeTime"]) if created else closed
            )
    told = Alert(id=found, message=words("message"), created_at=created or now, closed_at=closed)
    return replace(told, source=words("source"), priority=words("priority"))


@dataclass(kw_only=True)
class Source:
    """An account's alerts, and when those that are not listed were last asked for and first 404.

    `known` says which alerts are open as far as we know, `submit` takes each picture; `wake` ends
    every pause but one that was asked for, and makes us ask once more soon after. `unheard` are the
    seconds since the last answer, or the start, in which we were awake. The counters count from the
    start of the process.
    """

    session: ClientSession
    settings: config.OpsGenie
    timing: config.Timing
    now: Callable[[], datetime]
    rng: Random
    known: Callable[[], Iterable[str]]
    submit: Callable[[AlertsSeen | AlertsUnseen | MonitoringSilent], Awaitable[object]]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    asked: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    throttled: int = 0
    failures: int = 0  # of polls, in a row
    unheard: float = 0.0
    listing: int = 0  # open alerts in the last picture
    succeeded_at: datetime | None = None

    @property
    def api(self) -> Api:
        return APIS[self.settings.api]

    @property
    def base(self) -> str:
        """The address of its alerts; another one is another source."""
        return (self.settings.url or self.api.origin) + self.api.path.format(
            cloud_id=self.settings.cloud_id
        )

    # Contract opsgenie.md, sections 1.1, 1.6, 3.1, 5: no redirects, a total timeout, neither key
    # nor body in the log.
    async def ask(self, path: str = "", **params: str) -> dict[str, Any]:
        settings, api = self.settings, self.api
        key, token = settings.api_key.get_secret_value(), settings.api_token.get_secret_value()
        proof = (
            encode_basic_auth(settings.email, token) if settings.api == "jsm" else f"GenieKey {key}"
        )
        headers = {"Authorization": proof, "Accept": "application/json"}
        url, seconds = (
            URL(self.base + path, encoded=True).with_query(params),
            self.timing.vendor_timeout,
        )
        self.requests += 1
        status, said, body = await ask(self.session, "it", "GET", url, seconds, headers=headers)
        if status != 200:
            self.throttled += status == 429
            period = said.get("X-RateLimit-Period-In-Sec", "")
            wait = retry_after(said) or min(float(period if period.isdecimal() else 60), LONGEST)
            reason = f"{status}, {api.advice.get(status, 'which is no answer')}"
            raise Undelivered(reason, status=status, retry_after=wait if status == 429 else None)
        if not isinstance(body, dict):
            raise Undelivered(NONSENSE)
        return body

    async def listed(self) -> dict[str, Alert]:
        """All open alerts; pages overlap, because an alert that closes in between moves the later
        ones up.
        """
        query = (
            f"status: open AND ({self.settings.query})" if self.settings.query else "status: open"
        )
        ask = {"query": query, "sort": "createdAt", "order": "asc", self.api.size: str(PAGE)}
        found: dict[str, Alert] = {}
        for offset in range(0, WINDOW - PAGE, PAGE - OVERLAP):
            items = (await self.ask(offset=str(offset), **ask)).get(self.api.items)
            if not isinstance(items, list):
                raise Undelivered(NONSENSE)
            found |= {alert.id: alert for alert in (read_alert(item, self.now()) for item in items)}
            if len(items) < PAGE:
                break
        return {alert.id: alert for alert in found.values() if not alert.closed_at}

    async def one(self, alert_id: str) -> Alert:
        """What it says of the very alert, open or over."""
        answer = await self.ask("/" + quote(alert_id, safe=""))
        return read_alert(
            answer.get(self.api.one) if self.api.one else answer, self.now(), alert_id
        )

    # Contract opsgenie.md, section 5: absence from the list proves nothing, each alert is asked for
    # by its id.
    async def poll(self) -> tuple[AlertsSeen, Undelivered | None]:
        """The whole picture, and what kept it from being sharper."""
        span = self.settings.stale_after / 3
        deadline = time.monotonic() + span
        try:
            async with asyncio.timeout(span):
                found = await self.listed()
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        trouble = (
            Undelivered("too many alerts are open to see the newest")
            if len(found) >= WINDOW - PAGE
            else None
        )
        missing = [alert_id for alert_id in self.known() if alert_id not in found]
        self.asked = {alert_id: self.asked.get(alert_id, 0.0) for alert_id in missing}
        self.gone = {
            alert_id: first for alert_id, first in self.gone.items() if alert_id in self.asked
        }
        ended: dict[str, datetime] = {}
        for alert_id in sorted(missing, key=self.asked.__getitem__)[:LOOKS]:
            if (clock := time.monotonic()) > deadline or (trouble and trouble.retry_after):
                break
            self.asked[alert_id] = clock
            try:
                alert = await self.one(alert_id)
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

    def told(self, trouble: Undelivered) -> str:
        return f"{self.api.name}: {trouble.reason}"

    async def run(self) -> None:
        """Polls for ever."""
        condition = Condition(self.api.name)
        while True:
            nudged = self.wake.is_set()
            self.wake.clear()
            try:
                seen, trouble = await self.poll()
                self.unheard = 0.0
                self.failures, self.listing, self.succeeded_at = 0, len(seen.open), seen.at
                refused = self.told(trouble) if trouble and trouble.status in (401, 403) else ""
                await self.submit(replace(seen, source=self.base, refused=refused))
            except Undelivered as error:
                trouble, self.failures = error, self.failures + 1
                await self.submit(AlertsUnseen(at=self.now(), reason=self.told(error)))
            condition.tell(f"{trouble.reason}; keeping the last known state" if trouble else "")
            rest, longest = (
                self.settings.poll_interval * self.rng.uniform(0.9, 1.1),
                self.settings.stale_after / 2,
            )
            if self.failures:
                rest = max(
                    rest,
                    backoff(self.failures, self.rng, first=self.timing.first_wait, longest=longest),
                )
            rest = min(rest, self.timing.index_lag) if nudged else rest
            # A burst of nudges is one poll: none follows another closer than this.
            asked = max((trouble and trouble.retry_after) or 0.0, min(rest, self.timing.nudge_gap))
            await nap(asked)
            await pause(self.wake, rest - asked)

    async def count(self) -> None:
        """Counts the seconds without an answer for ever, and says so when they are too many.

        It counts its own naps: a clock that is set, or runs on while we are suspended, changes
        nothing. An answer that is there already when the last nap ends has one more to be read.
        """
        longest, clock = self.settings.stale_after, asyncio.get_running_loop().time
        span = min(1.0, longest / 20)
        while True:
            began = clock()
            await nap(span)
            if (
                clock() - began > longest / 3
            ):  # suspended for as long as a poll may take: its answer is given up by now
                self.unheard = min(self.unheard, longest / 2)
                self.wake.set()
            if self.unheard >= longest:
                await self.submit(MonitoringSilent(at=self.now()))
            self.unheard += span
