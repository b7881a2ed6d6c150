"""Asks OpsGenie or JSM again and again which alerts are open, and believes only what it says of the
very alert.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Any
from urllib.parse import quote

from aiohttp import ClientSession, encode_basic_auth
from yarl import URL

from monostat import config
from monostat.alerts.api import APIS, UNCLEAR, Api, read_alert
from monostat.core.events import AlertsSeen, AlertsUnseen, MonitoringSilent
from monostat.core.model import MAX_RETRY_AFTER, Alert
from monostat.vendor import Condition, Undelivered, ask, backoff, nap, pause, retry_after

PAGE = 100  # alerts in a page of the list
OVERLAP = 5  # alerts that two pages share
WINDOW = 20_000  # alerts that the list shows at all
LOOKS = 20  # alerts that are asked for one by one in a poll
THROTTLED_FOR = 60.0  # seconds to wait where an answer that throttles us says nothing


@dataclass(kw_only=True)
class AlertSource:
    """Polls an account for its alerts; those that are not listed are asked for one by one.

    `alerts_to_follow` returns the ids of those that are open as far as we know, `submit` takes each
    picture; `wake` ends every pause but one that was asked for, and makes us ask once more soon
    after. `unheard` are the seconds since the last answer, or the start, in which we were awake.
    The counters count from the start of the process.
    """

    session: ClientSession
    settings: config.OpsGenieSettings
    timing: config.Timing
    now: Callable[[], datetime]
    rng: Random
    alerts_to_follow: Callable[[], Iterable[str]]
    submit: Callable[[AlertsSeen | AlertsUnseen | MonitoringSilent], Awaitable[object]]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    looked_at: dict[str, float] = field(default_factory=dict)  # when each was last asked for
    gone: dict[str, float] = field(default_factory=dict)  # when each was first answered 404
    requests: int = 0
    throttled: int = 0
    failures: int = 0  # of polls, in a row
    unreadable: int = 0  # entries of the last list
    unheard: float = 0.0
    open_count: int = 0  # open alerts in the last picture
    succeeded_at: datetime | None = None

    @property
    def api(self) -> Api:
        """The product that is asked."""
        return APIS[self.settings.api]

    @property
    def base(self) -> str:
        """The address of its alerts; another one is another source."""
        origin = self.settings.url or self.api.origin
        return origin + self.api.path.format(cloud_id=self.settings.cloud_id)

    # No redirects, a total timeout, neither key nor body in the log.
    async def ask(self, path: str = "", params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The answer to a request below `base`; raises Undelivered with advice for the operator."""
        url = URL(self.base + path, encoded=True).with_query(params or {})
        headers = {"Authorization": self._authorization(), "Accept": "application/json"}
        self.requests += 1
        answer = await ask(
            self.session, "it", "GET", url, self.timing.vendor_timeout, headers=headers
        )
        status = answer.status
        if status != 200:
            wait = None
            if status == 429:
                self.throttled += 1
                wait = throttled_for(answer.headers)
            elif status >= 500:  # what is in trouble may be well before the hour it announces
                wait = min(retry_after(answer.headers) or 0.0, self.settings.stale_after / 2)
            advice = self.api.advice.get(status, "which is no answer")
            raise Undelivered(f"{status}, {advice}", status=status, retry_after=wait)
        if not isinstance(answer.body, dict):
            raise Undelivered(UNCLEAR)
        return answer.body

    def _authorization(self) -> str:
        if self.settings.api == "jsm":
            token = self.settings.api_token.get_secret_value()
            return encode_basic_auth(self.settings.email, token)
        return f"GenieKey {self.settings.api_key.get_secret_value()}"

    async def list_open(self) -> dict[str, Alert]:
        """All open alerts by their ids; raises Undelivered.

        Pages overlap, because an alert that closes in between moves the later ones up.
        """
        query = "status: open"
        if self.settings.query:
            query = f"status: open AND ({self.settings.query})"
        params = {"query": query, "sort": "createdAt", "order": "asc", self.api.size: str(PAGE)}
        alerts: dict[str, Alert] = {}
        self.unreadable = 0
        for offset in range(0, WINDOW - PAGE, PAGE - OVERLAP):
            answer = await self.ask(params={"offset": str(offset), **params})
            items = answer.get(self.api.items)
            if not isinstance(items, list):
                raise Undelivered(UNCLEAR)
            for item in items:
                try:
                    alert = read_alert(item, self.now())
                except Undelivered:  # it hides none of the others
                    self.unreadable += 1
                else:
                    alerts[alert.id] = alert
            if len(items) < PAGE:
                break
        if self.unreadable and not alerts:
            raise Undelivered(UNCLEAR)
        return {alert.id: alert for alert in alerts.values() if not alert.closed_at}

    async def look_at(self, alert_id: str) -> Alert:
        """What it says of the very alert, open or over; raises Undelivered."""
        item: Any = await self.ask("/" + quote(alert_id, safe=""))
        if self.api.envelope:
            item = item.get(self.api.envelope)
        return read_alert(item, self.now(), alert_id)

    # Absence from the list proves nothing, each alert is asked for
    # by its id.
    async def poll(self) -> tuple[AlertsSeen, Undelivered | None]:
        """The whole picture, and what kept it from being sharper; raises Undelivered.

        1. The list is read, all of it.
        2. Of the alerts that we know and that it does not name, the one that was asked for longest
           ago comes first, and a poll asks for so many as time and the vendor allow.
        3. One that is answered 404 twice, some time apart, is over.
        """
        span = self.settings.stale_after / 3
        deadline = time.monotonic() + span
        try:
            async with asyncio.timeout(span):
                alerts = await self.list_open()
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        trouble = None
        if self.unreadable:
            trouble = Undelivered(f"{self.unreadable} of the alerts in its list cannot be read")
        if len(alerts) >= WINDOW - PAGE:
            trouble = Undelivered("too many alerts are open to see the newest")
        ended: dict[str, datetime] = {}
        for alert_id in self._to_look_at(alerts):
            clock = time.monotonic()
            if clock > deadline or (trouble and trouble.retry_after):
                break
            self.looked_at[alert_id] = clock
            try:
                alert = await self.look_at(alert_id)
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
                alerts[alert_id] = alert
        return AlertsSeen(at=self.now(), open=tuple(alerts.values()), ended=ended), trouble

    def _to_look_at(self, listed: Mapping[str, Alert]) -> list[str]:
        """The known alerts to ask for one by one; what we remember of all others is forgotten."""
        missing = [alert_id for alert_id in self.alerts_to_follow() if alert_id not in listed]
        self.looked_at = {alert_id: self.looked_at.get(alert_id, 0.0) for alert_id in missing}
        self.gone = {
            alert_id: first for alert_id, first in self.gone.items() if alert_id in self.looked_at
        }
        return sorted(missing, key=self.looked_at.__getitem__)[:LOOKS]

    def in_words(self, trouble: Undelivered) -> str:
        """The trouble in a sentence that names the product."""
        return f"{self.api.name}: {trouble.reason}"

    def is_reached(self) -> bool:
        """Whether the last poll was answered."""
        return self.succeeded_at is not None and not self.failures

    async def run(self) -> None:
        """Polls for ever."""
        condition = Condition(self.api.name)
        while True:
            was_woken = self.wake.is_set()
            self.wake.clear()
            trouble = await self._poll_and_submit()
            rest = self._rest(was_woken=was_woken)
            # A burst of nudges is one poll: none follows another closer than this.
            undisturbed = min(rest, self.timing.nudge_gap)
            if trouble:
                condition.tell(f"{trouble.reason}; keeping the last known state")
                undisturbed = max(undisturbed, trouble.retry_after or 0)
            else:
                condition.tell("")
            await nap(undisturbed)
            await pause(self.wake, rest - undisturbed)

    async def _poll_and_submit(self) -> Undelivered | None:
        """Submits a picture, or that there is none; what is wrong, if anything is."""
        try:
            seen, trouble = await self.poll()
        except Undelivered as error:
            self.failures += 1
            await self.submit(AlertsUnseen(at=self.now(), reason=self.in_words(error)))
            return error
        self.unheard = 0.0
        self.failures = 0
        self.open_count = len(seen.open)
        self.succeeded_at = seen.at
        refused = ""
        if trouble and trouble.status in (401, 403):
            refused = self.in_words(trouble)
        await self.submit(replace(seen, source=self.base, refused=refused))
        return trouble

    def _rest(self, *, was_woken: bool) -> float:
        """Seconds until the next poll."""
        rest = self.settings.poll_interval * self.rng.uniform(0.9, 1.1)
        if self.failures:
            longest = self.settings.stale_after / 2
            first = self.timing.first_wait
            rest = max(rest, backoff(self.failures, self.rng, first=first, longest=longest))
        if was_woken:
            rest = min(rest, self.timing.index_lag)
        return rest

    async def count(self) -> None:
        """Counts the seconds without an answer for ever, and says so when they are too many.

        It counts its own naps: a clock that is set, or runs on while we are suspended, changes
        nothing. An answer that is there already when the last nap ends has one more to be read.
        """
        clock = asyncio.get_running_loop().time
        longest = self.settings.stale_after
        span = min(1.0, longest / 20)
        while True:
            began = clock()
            await nap(span)
            # Suspended for as long as a poll may take: its answer is given up by now.
            if clock() - began > longest / 3:
                self.unheard = min(self.unheard, longest / 2)
                self.wake.set()
            if self.unheard >= longest:
                await self.submit(MonitoringSilent(at=self.now()))
            self.unheard += span


def throttled_for(headers: Mapping[str, str]) -> float:
    """The seconds that an answer 429 asks us to wait.

    https://docs.opsgenie.com/docs/api-rate-limiting
    """
    period = headers.get("X-RateLimit-Period-In-Sec", "")
    seconds = THROTTLED_FOR
    if period.isdecimal():
        seconds = float(period)
    return retry_after(headers) or min(seconds, MAX_RETRY_AFTER)
