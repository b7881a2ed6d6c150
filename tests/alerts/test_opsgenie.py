"""What is believed of a simulated Opsgenie and of a simulated JSM, over real sockets: the same in both."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession

from monostat.alerts.api import read_alert
from monostat.alerts.source import AlertSource
from monostat.config import OpsGenieSettings, Timing
from monostat.core.events import AlertsSeen, AlertsUnseen, MonitoringSilent
from monostat.demo.faults import serve
from monostat.demo.jsm import SimulatedJsm
from monostat.demo.opsgenie import SimulatedOpsgenie
from monostat.vendor import Undelivered, retry_after
from tests.hurry import Virtual
from tests.waiting import eventually
from tests.world import World

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
QUICK = Timing(vendor_timeout=3.0, deleted_after=0.05, nudge_gap=0.01)


class Desk:
    """A simulated vendor, a clock, and what a poller that knows `held` makes of them."""

    def __init__(
        self, origin: str, session: ClientSession, vendor: SimulatedOpsgenie, api: str
    ) -> None:
        self.vendor, self.jsm, self.session = vendor, SimulatedJsm(vendor), session
        self.held, self.seen = set[str](), list[AlertsSeen]()
        credentials = (self.jsm if api == "jsm" else vendor).credentials
        self.settings = OpsGenieSettings.model_validate(
            credentials | {"url": origin, "poll_interval": 0.2, "stale_after": 6}
        )
        self.source = AlertSource(
            session=session,
            settings=self.settings,
            timing=QUICK,
            now=lambda: NOON,
            rng=Random(1),
            alerts_to_follow=lambda: self.held,
            submit=self.submit,
        )
        self.wake = self.source.wake

    def list_of(self, items: object) -> bytes:
        """A list of the vendor's with these in it."""
        return json.dumps({self.source.api.items: items}).encode()

    def configure(self, **changes: Any) -> None:
        self.settings = self.source.settings = self.settings.model_copy(update=changes)

    async def poll(self) -> AlertsSeen:
        seen, self.trouble = await self.source.poll()
        return seen

    async def submit(self, seen: AlertsSeen | AlertsUnseen | MonitoringSilent) -> None:
        if isinstance(seen, AlertsSeen):
            self.seen.append(seen)

    @asynccontextmanager
    async def watching(self, **changes: Any) -> AsyncIterator[None]:
        self.configure(**changes)
        task = asyncio.create_task(self.source.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def ids(seen: AlertsSeen) -> list[str]:
    return [alert.id for alert in seen.open]


def asked(vendor: SimulatedOpsgenie) -> list[str]:
    """The ids of the alerts that were asked for one by one."""
    return [path.partition("/alerts/")[2] for path in vendor.faults.requests if "/alerts/" in path]


@pytest.fixture
def vendor() -> SimulatedOpsgenie:
    return SimulatedOpsgenie(now=lambda: NOON)


@pytest.fixture(params=["opsgenie", "jsm"])
async def desk(vendor: SimulatedOpsgenie, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    desk = Desk("", session := ClientSession(), vendor, request.param)
    async with serve(vendor.app) as origin, session:
        desk.configure(url=origin)
        yield desk
        vendor.faults.release()


one_product = pytest.mark.parametrize(
    "desk", ["opsgenie"], indirect=True
)  # where both cannot differ


async def test_an_open_alert_is_seen_with_its_words_and_time(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    new = vendor.fire("5xx <b>", priority="P2", source="Prometheus", created_at=NOON - MINUTE)
    vendor.close(vendor.fire("over"))
    seen = await desk.poll()
    [alert] = seen.open
    assert (seen.at, seen.ended, desk.trouble) == (NOON, {}, None)
    assert (alert.id, alert.message, alert.source, alert.priority) == (
        new,
        "5xx <b>",
        "Prometheus",
        "P2",
    )
    assert (alert.created_at, alert.closed_at) == (NOON - MINUTE, None)


async def test_the_query_is_put_in_brackets_beside_ours(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    desk.configure(query="priority: P1 OR tag: web")
    wanted = {vendor.fire("a", priority="P1"), vendor.fire("b", priority="P3", tags=["web"])}
    vendor.fire("c", priority="P3")
    vendor.close(vendor.fire("d", priority="P3", tags=["web"]))
    assert set(ids(await desk.poll())) == wanted


@pytest.mark.parametrize(("alerts", "requests"), [(0, 1), (99, 1), (100, 2), (300, 4)])
async def test_all_pages_are_read_once_each_alert_and_cost_what_the_manual_says(
    vendor: SimulatedOpsgenie, desk: Desk, alerts: int, requests: int
) -> None:
    fired = [vendor.fire(str(n), created_at=NOON + n * MINUTE) for n in range(-alerts, 0)]
    assert ids(await desk.poll()) == fired
    assert len(vendor.faults.requests) == desk.source.requests == requests


async def test_an_alert_that_closes_between_two_pages_hides_no_other(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    fired = [vendor.fire(str(n), created_at=NOON + n * MINUTE) for n in range(-150, 0)]

    def close_some(offset: int) -> None:
        if offset:
            for first in fired[:3]:
                vendor.close(first)

    vendor.before_page = close_some
    assert set(ids(await desk.poll())) == set(fired)


async def test_the_vendors_paging_addresses_are_never_followed(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    there = "http://127.0.0.1:1/"
    evil = {desk.source.api.items: [{"id": f"{n}"} for n in range(100)], "paging": {"next": there}}
    vendor.faults.answer_next(200, body=json.dumps(evil | {"links": {"next": there}}).encode())
    assert len(ids(await desk.poll())) == 100
    assert "offset=95" in vendor.faults.requests[1]


@one_product
async def test_past_the_window_of_the_api_polling_goes_on_and_says_so(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    desk.configure(stale_after=60.0)  # a poll may take a third of it
    for page in range(210):
        items = [{"id": f"{page * 95 + n}"} for n in range(100)]
        vendor.faults.answer_next(200, body=desk.list_of(items))
    seen = await desk.poll()
    assert len(seen.open) == 19_955
    assert len(vendor.faults.requests) == 210
    assert "too many" in str(desk.trouble)


async def test_an_alert_missing_from_the_list_is_kept_while_it_says_open(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    alert = vendor.fire("lags")
    desk.held = {alert}
    vendor.hide_from_list(alert)
    vendor.rename(alert, "lags behind")
    seen = await desk.poll()
    assert [alert.message for alert in seen.open] == ["lags behind"]
    assert seen.ended == {}


async def test_a_closed_alert_ends_at_the_time_it_was_closed(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    alert = vendor.fire("x", created_at=NOON - 10 * MINUTE)
    vendor.close(alert, at=NOON - 3 * MINUTE)
    desk.held = {alert}
    assert await desk.poll() == AlertsSeen(at=NOON, open=(), ended={alert: NOON - 3 * MINUTE})


async def test_a_deleted_alert_ends_at_the_second_404_and_not_too_soon(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    alert = vendor.fire("x")
    vendor.delete(alert)
    desk.held = {alert}
    assert (await desk.poll()).ended == {}
    assert (await desk.poll()).ended == {}
    desk.source.gone[alert] -= 0.05
    assert (await desk.poll()).ended == {alert: NOON}


async def test_404s_with_a_sign_of_life_in_between_end_nothing(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    desk.source.timing = Timing(deleted_after=0)
    alert = vendor.fire("x")
    desk.held = {alert}
    vendor.hide_from_list(alert)
    for _ in range(3):
        vendor.faults.fail_next(404, path=alert)
        assert await desk.poll() == AlertsSeen(at=NOON, open=())
        assert ids(await desk.poll()) == [alert]
    vendor.faults.fail_next(404, path=alert)
    await desk.poll()
    vendor.faults.fail_next(500, path=alert)
    assert (await desk.poll()).ended == {}
    vendor.faults.fail_next(404, path=alert)
    assert (await desk.poll()).ended == {alert: NOON}


async def test_an_empty_list_ends_nothing_where_the_key_lost_sight(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    desk.held = {vendor.fire("x")}
    vendor.lose_sight()
    assert await desk.poll() == AlertsSeen(at=NOON, open=())
    assert "403" in str(desk.trouble)


OTHER = b'{"id": "other", "status": "closed"}'


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"data": []}', OTHER, b'{"data": %b}' % OTHER]
)
async def test_nonsense_about_one_alert_ends_nothing(
    vendor: SimulatedOpsgenie, desk: Desk, body: bytes
) -> None:
    alert = vendor.fire("x")
    desk.held = {alert}
    vendor.close(alert)
    vendor.faults.answer_next(200, body=body, path="/alerts/")
    assert await desk.poll() == AlertsSeen(at=NOON, open=())
    assert "not understood" in str(desk.trouble)


async def test_at_most_twenty_are_asked_for_in_a_poll_and_all_in_turn(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    desk.held = {vendor.fire(str(n)) for n in range(50)}
    for alert in desk.held:
        vendor.hide_from_list(alert)
    counts = []
    for _ in range(3):
        await desk.poll()
        counts.append(len(asked(vendor)))
    assert counts == [20, 40, 60]
    assert set(asked(vendor)) == desk.held


async def test_an_id_of_odd_letters_reaches_the_vendor_whole(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    desk.held = {"a/b?c#d e%2F"}
    await desk.poll()
    assert asked(vendor) == ["a%2Fb%3Fc%23d%20e%252F"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        *({}, [None], [{}], [{"id": ""}], [{"id": 7}]),
        b"\xff",
        b"[" * 100_000,
    ],
)
async def test_a_list_that_makes_no_sense_is_no_picture(
    vendor: SimulatedOpsgenie, desk: Desk, body: object
) -> None:
    vendor.faults.answer_next(200, body=body if isinstance(body, bytes) else desk.list_of(body))
    with pytest.raises(Undelivered):
        await desk.poll()


async def test_an_oversized_answer_is_no_picture(vendor: SimulatedOpsgenie, desk: Desk) -> None:
    vendor.faults.answer_next(200, body=desk.list_of([]) + b" " * 6_000_000)
    with pytest.raises(Undelivered):
        await desk.poll()


async def test_a_failed_second_page_discards_the_first(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    for n in range(101):
        vendor.fire(str(n))
    vendor.before_page = lambda offset: vendor.faults.fail_next(503) if not offset else None
    with pytest.raises(Undelivered, match="503"):
        await desk.poll()


async def test_a_redirect_is_not_followed(vendor: SimulatedOpsgenie, desk: Desk) -> None:
    vendor.faults.answer_next(302, headers={"Location": "/v2/alerts"})
    with pytest.raises(Undelivered, match="302"):
        await desk.poll()
    assert len(vendor.faults.requests) == 1


@one_product
async def test_an_answer_that_never_comes_is_given_up(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    vendor.faults.hang()
    with pytest.raises(Undelivered, match=r"in time|did not answer"):
        await desk.poll()


@one_product
async def test_a_list_that_takes_for_ever_is_given_up_as_a_whole(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    desk.configure(stale_after=0.3)
    vendor.faults.answer_next(
        200, body=desk.list_of([{"id": str(n)} for n in range(100)]), times=1000
    )
    with pytest.raises(Undelivered, match=r"in time|did not answer"):
        await desk.poll()


async def test_nobody_listening_is_told_as_such(desk: Desk) -> None:
    desk.configure(url="http://127.0.0.1:1")
    with pytest.raises(Undelivered, match="cannot be reached"):
        await desk.poll()


@pytest.mark.parametrize(
    ("item", "created", "closed"),
    [
        ({}, NOON, None),
        ({"message": None, "source": 3, "createdAt": 5, "status": None, "report": []}, NOON, None),
        (
            {"createdAt": "2026-11-22T11:00:00.123456789Z"},
            datetime(2026, 11, 22, 11, 0, 0, 123456, tzinfo=UTC),
            None,
        ),
        ({"createdAt": "2026-11-22T13:00:00+02:00"}, NOON - 60 * MINUTE, None),
        ({"createdAt": "2026-11-22T11:00:00"}, NOON - 60 * MINUTE, None),
        ({"createdAt": "0001-01-01T00:00:00+14:00"}, NOON, None),
        (
            {"createdAt": "2027-01-01T00:00:00Z", "status": "snoozed"},
            datetime(2027, 1, 1, tzinfo=UTC),
            None,
        ),
        ({"status": "closed"}, NOON, NOON),
        (
            {"status": "closed", "updatedAt": "2026-11-22T11:59:00Z", "report": {"closeTime": 5}},
            NOON,
            NOON - MINUTE,
        ),
        (
            {
                "status": "closed",
                "createdAt": "2026-11-22T11:58:00Z",
                "report": {"closeTime": 60000},
            },
            None,
            NOON - MINUTE,
        ),
        (
            {
                "status": "closed",
                "createdAt": "2026-11-22T11:58:00Z",
                "report": {"closeTime": 10**30},
            },
            None,
            NOON,
        ),
        (
            {"status": "closed", "createdAt": "2026-11-22T11:58:00Z", "report": {"closeTime": "x"}},
            None,
            NOON,
        ),
        ({"status": "closed", "createdAt": "2026-11-22T11:58:00Z", "report": None}, None, NOON),
    ],
)
def test_missing_and_odd_fields_are_survived(
    item: dict[str, Any], created: datetime | None, closed: datetime | None
) -> None:
    alert = read_alert({"id": "a"} | item, NOON)
    assert (alert.message, alert.source, alert.closed_at) == ("", "", closed)
    assert alert.created_at == (created or NOON - 2 * MINUTE)


DATED = {"Date": "Sun, 22 Nov 2026 12:00:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "99999999999999999999"}, 3600),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"} | DATED, None),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:30 +99999999999999"} | DATED, None),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:30 GMT"} | DATED, 30),
        ({"Retry-After": "Sun, 22 Nov 2026 11:00:00 GMT"} | DATED, 0),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:30 GMT"}, None),
    ],
)
def test_a_wait_is_read_as_seconds_or_as_a_date(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {}, 60),
        (429, {"Retry-After": "7", "X-RateLimit-Period-In-Sec": "1"}, 7),
        (429, {"X-RateLimit-Period-In-Sec": "1"}, 1),
        (503, {"Retry-After": "2"}, 2),
        (503, {"Retry-After": "3600"}, 3),  # half of stale_after
        (503, {}, 0),
        (401, {"Retry-After": "7"}, None),
    ],
)
async def test_a_429_and_a_5xx_say_how_long_to_wait(
    vendor: SimulatedOpsgenie, desk: Desk, status: int, headers: dict[str, str], wait: float | None
) -> None:
    vendor.faults.fail_next(status, headers=headers)
    with pytest.raises(Undelivered) as caught:
        await desk.poll()
    assert caught.value.retry_after == wait


async def test_a_429_for_one_alert_ends_the_asking_but_not_the_picture(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    listed = vendor.fire("listed")
    desk.held = {vendor.fire("a"), vendor.fire("b")}
    for alert in desk.held:
        vendor.hide_from_list(alert)
    vendor.faults.fail_next(429, path="/alerts/")
    assert ids(await desk.poll()) == [listed]
    assert len(asked(vendor)) == 1
    assert desk.trouble is not None
    assert desk.trouble.retry_after == 60


async def test_watching_submits_each_picture_once_a_poll(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    async with desk.watching():
        await eventually(lambda: desk.seen)
        alert = vendor.fire("x")
        await eventually(lambda: ids(desk.seen[-1]) == [alert])
        desk.held = {alert}
        vendor.close(alert)
        await eventually(lambda: desk.seen[-1].ended)
    assert len(desk.seen) == len(vendor.faults.requests) - sum(
        bool(seen.ended) for seen in desk.seen
    )


async def test_a_nudge_ends_the_pause(vendor: SimulatedOpsgenie, desk: Desk) -> None:
    async with desk.watching(poll_interval=1000, stale_after=3000):
        await eventually(lambda: len(desk.seen) == 1)
        desk.wake.set()
        await eventually(lambda: len(desk.seen) == 2)


async def test_a_nudge_ends_a_back_off(vendor: SimulatedOpsgenie, desk: Desk) -> None:
    vendor.faults.fail_next(500)
    async with desk.watching(poll_interval=1000, stale_after=3000):
        await eventually(lambda: vendor.faults.requests)
        desk.wake.set()
        await eventually(lambda: desk.seen)


@one_product
async def test_a_nudge_does_not_end_a_wait_that_was_asked_for(
    vendor: SimulatedOpsgenie, desk: Desk
) -> None:
    vendor.faults.fail_next(429, headers={"Retry-After": "1"})
    clock = asyncio.get_running_loop().time
    async with desk.watching():
        await eventually(lambda: vendor.faults.requests)
        began = clock()
        desk.wake.set()
        await eventually(lambda: desk.seen)
    assert clock() - began > 0.9


async def test_what_changes_is_logged_once_and_nothing_secret(
    vendor: SimulatedOpsgenie, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "monostat")

    def waits(*lines: str) -> Callable[[], bool]:
        return lambda: (
            [
                record.getMessage()
                for record in caplog.records
                if record.name == "monostat.vendor" and record.levelno > logging.DEBUG
            ]
            == [*lines]
        )

    desk.held, name = {vendor.fire("the words of an alert")}, desk.source.api.name
    reason = desk.source.api.advice[401]
    assert (
        "opsgenie.api_key" if name == "OpsGenie" else "read:ops-alert:jira-service-management"
    ) in reason
    refused = f"{name}: 401, {reason}; keeping the last known state"
    key, vendor.api_key = vendor.api_key, "00000000-0000-4000-8000-000000000000"
    token, desk.jsm.api_token = desk.jsm.api_token, "expired"
    async with desk.watching():
        for polls in range(1, 4):
            await eventually(lambda polls=polls: len(vendor.faults.requests) == polls)  # type: ignore[misc]
            desk.wake.set()
        await eventually(waits(refused))
        vendor.api_key, desk.jsm.api_token = key, token
        desk.wake.set()
        await eventually(waits(refused, f"{name}: works again"))
    assert key not in caplog.text
    assert token not in caplog.text
    assert "the words of" not in caplog.text


def test_back_off_grows_and_never_exceeds_half_of_stale_after() -> None:
    async def pauses() -> list[float]:
        loop, times = asyncio.get_running_loop(), list[float]()
        vendor = SimulatedOpsgenie()
        vendor.faults.fail_next(500, times=1000)
        desk = Desk("", session := ClientSession(), vendor, "opsgenie")
        async with serve(vendor.app) as origin, session, desk.watching(url=origin, stale_after=60):
            while len(times) < 12:
                await asyncio.sleep(0.2)
                times.extend(loop.time() for _ in vendor.faults.requests[len(times) :])
        return [after - before for before, after in pairwise(times)]

    with asyncio.Runner(loop_factory=Virtual) as runner:
        found = runner.run(pauses())
    for number, pause in enumerate(found):
        longest = min(2.0**number, 30)
        assert longest / 2 - 0.3 <= pause <= longest + 0.3, (number, found)


UNREADABLE: tuple[object, ...] = (
    None,
    [],
    "x",
    7,
    {"id": None},
    {"id": ""},
    {"message": "no id at all"},
)


@pytest.mark.parametrize("item", UNREADABLE, ids=str)
async def test_an_entry_of_the_list_that_cannot_be_read_hides_no_other_alert(
    world: World, item: object, caplog: pytest.LogCaptureFixture
) -> None:
    alert = {"id": "a-1", "message": "disk full", "status": "open"}
    alert["createdAt"] = datetime.now(UTC).isoformat()
    body = json.dumps({"data": [item, alert, item]}).encode()
    world.opsgenie.faults.answer_next(200, body=body, path="/v2/alerts", times=3)
    await world.start()
    await world.becomes("suspected")
    await eventually(
        lambda: any("2 of the alerts in its list cannot be read" in m for m in caplog.messages)
    )
