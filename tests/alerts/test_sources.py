"""monostat among its alert sources, with OpsGenie and with JSM alike: webhooks, hazards of polling, and silence."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monostat.config import Timing
from tests.alerts.polls import lag, lists, told
from tests.waiting import eventually
from tests.world import SHORT, World

SECRET = "a-Long_secret-1234567890"
QUIET: dict[str, Any] = {"poll_interval": 30, "stale_after": 90, "webhook_secret": SECRET}
both = pytest.mark.parametrize("api", ["opsgenie", "jsm"])


def payload(alert: str, action: str) -> dict[str, Any]:
    """What a webhook of either product says."""
    about = {
        "alertId": alert,
        "message": "forged",
        "createdAt": 1763800000123,
        "updatedAt": 1763800241009000000,
    }
    return {
        "action": action,
        "alert": about,
        "source": {"name": "web", "type": "API"},
        "integrationName": "Status",
    }


async def hook(world: World, secret: str = SECRET, **body: Any) -> int:
    async with world.http.post(f"{world.url}/hooks/opsgenie/{secret}", **body) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status


async def calm(world: World) -> int:
    """How often it was asked for by the time that nobody asks any more."""
    clock = asyncio.get_running_loop().time
    count, began = lists(world), clock()

    async def still() -> bool:
        nonlocal count, began
        if lists(world) != count:
            count, began = lists(world), clock()
        return clock() - began > 0.7

    await eventually(still)
    return count


async def nothing_open(world: World) -> bool:
    return not (await world.state())["open"]


async def suspected(world: World, api: str, *, timing: Timing = SHORT, **more: Any) -> str:
    """Monostat runs, and has seen the alert whose id this is."""
    world.monitor(api, **more)
    alert = world.opsgenie.fire("disk full")
    await world.start(timing=timing)
    await world.becomes("suspected")
    return alert


@both
async def test_a_webhook_makes_a_suspicion_visible_at_once(world: World, api: str) -> None:
    world.monitor(api, **QUIET)
    await world.start()
    await eventually(lambda: lists(world))
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        await ws.receive_json(timeout=30)
        alert = world.opsgenie.fire("disk full")
        assert await hook(world, json=payload(alert, "Create")) == 200
        async with asyncio.timeout(20):
            while (seen := await ws.receive_json())["type"] != "state":
                pass
        assert [i["state"] for i in seen["open"]] == ["suspected"]


async def test_a_wrong_secret_is_404_and_wakes_nothing(world: World) -> None:
    world.monitor("opsgenie", **QUIET)
    await world.start()
    await eventually(lambda: lists(world))
    for wrong in ("wrong", SECRET[:-1], SECRET + "0", SECRET.lower(), "%00", "%ff", "a/b", "é"):
        assert await hook(world, wrong, json=payload("a", "Create")) == 404
    async with world.http.get(f"{world.url}/hooks/opsgenie/{SECRET}") as answer:
        assert answer.status == 404
    assert await calm(world) == 1


async def test_without_a_secret_in_the_settings_there_is_no_hook(world: World) -> None:
    await world.start()
    for guess in ("None", SECRET):
        assert await hook(world, guess) == 404


@both
async def test_a_forged_body_changes_nothing(world: World, api: str) -> None:
    alert = await suspected(world, api, **QUIET)
    before = await world.state()
    for action in ("Close", "Delete", "Acknowledge"):
        assert await hook(world, json=payload(alert, action)) == 200
    assert await hook(world, json=payload("nobody", "Create")) == 200
    for junk in (b"", b"\xff" * 100, b"{" * 100_000, b" " * 900_000):
        assert await hook(world, data=junk) == 200
    assert await calm(world) > 1
    assert await world.state() == before


async def test_a_burst_of_webhooks_is_one_poll_and_one_more_later(world: World) -> None:
    world.monitor("opsgenie", **QUIET)
    await world.start()
    await eventually(lambda: lists(world))
    world.opsgenie.faults.hang("/v2/alerts")
    assert await hook(world) == 200
    await eventually(lambda: lists(world) == 2)
    assert set(await asyncio.gather(*(hook(world) for _ in range(50)))) == {200}
    world.opsgenie.faults.release()
    await eventually(lambda: lists(world) == 4)
    assert await calm(world) == 4  # the first one's, the other fifty's, and once more for the index


async def test_an_alert_that_the_index_does_not_know_when_the_webhook_comes_is_seen_soon_after(
    world: World,
) -> None:
    world.monitor("opsgenie", **QUIET)
    await world.start(timing=replace(SHORT, index_lag=0.6))
    await eventually(lambda: lists(world))
    alert = world.opsgenie.fire("disk full")
    world.opsgenie.hide_from_list(alert)
    await hook(world, json=payload(alert, "Create"))
    await eventually(lambda: lists(world) == 2)
    world.opsgenie.show_in_list(alert)
    await world.becomes("suspected")


async def test_the_secret_is_in_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.monitor("opsgenie", **QUIET)
    world.opsgenie.faults.fail_next(500)
    await world.start()
    await hook(world, data=b"\x00" * 900_000, headers={"Content-Type": "application/json"})
    await hook(world, SECRET + "0")
    async with world.http.get(f"{world.url}/hooks/opsgenie/{SECRET}") as answer:
        assert answer.status == 404
    await eventually(lambda: "works again" in caplog.text)
    assert SECRET not in caplog.text


@both
async def test_acknowledged_and_snoozed_alerts_are_open(world: World, api: str) -> None:
    world.monitor(api)
    world.jsm.spells_out = True  # in JSM they may even leave the list of open ones
    first, second = world.opsgenie.fire("a"), world.opsgenie.fire("b")
    await world.start()
    await world.becomes("suspected")
    world.opsgenie.acknowledge(first)
    world.opsgenie.snooze(second, datetime.now(UTC) + timedelta(hours=1))
    await lag(world)
    world.opsgenie.close(first)
    await lag(world)
    assert (await world.incident())["state"] == "suspected"
    world.opsgenie.close(second)
    await eventually(lambda: nothing_open(world))


@both
async def test_an_alert_that_is_over_stays_over_while_the_index_still_lists_it(
    world: World, api: str
) -> None:
    alert = await suspected(world, api)
    world.opsgenie.close(alert)
    await eventually(lambda: nothing_open(world))
    world.opsgenie.keep_in_list(alert)
    await lag(world, 3)
    assert await nothing_open(world)
    assert len(world.slack.timeline()) == 1


@both
async def test_a_closed_alert_counts_as_open_until_it_says_so_itself(
    world: World, api: str
) -> None:
    alert = await suspected(world, api)
    world.opsgenie.hide_from_list(alert)  # the index is ahead of the alert
    await lag(world, 3)
    assert (await world.incident())["state"] == "suspected"
    world.opsgenie.close(alert)
    await eventually(lambda: nothing_open(world))


@both
async def test_a_deleted_alert_ends_and_one_404_is_not_enough(world: World, api: str) -> None:
    alert = await suspected(world, api, timing=replace(SHORT, deleted_after=3600))
    world.opsgenie.delete(alert)
    await lag(world, 3)
    assert (await world.incident())["state"] == "suspected"
    await world.stop()
    await world.start()
    await eventually(lambda: nothing_open(world))


@both
async def test_lost_sight_ends_nothing_and_is_told_once_with_what_to_do(
    world: World, api: str
) -> None:
    await suspected(world, api)
    world.opsgenie.lose_sight()
    [line] = await eventually(lambda: told(world, "no longer shows us an alert"))
    assert ("check the rights" if api == "opsgenie" else "teams of Operations") in line.text
    await lag(world, 3)
    assert len(told(world, "no longer shows us an alert")) == 1
    assert (await world.incident())["state"] == "suspected"
    assert (await world.state())["monitoring"]["ok"]


@both
async def test_a_token_that_expires_after_months_is_told_with_what_to_do_and_so_is_the_new_one(
    world: World, api: str
) -> None:
    await suspected(world, api, stale_after=3)  # on a busy machine an answer may take a second
    key, token = world.opsgenie.api_key, world.jsm.api_token
    world.opsgenie.api_key, world.jsm.api_token = "00000000-0000-4000-8000-000000000000", "renewed"
    [line] = await eventually(lambda: told(world, "cannot see our monitoring"))
    assert ("opsgenie.api_key" if api == "opsgenie" else "opsgenie.api_token") in line.text
    assert (await world.incident())["state"] == "suspected"
    assert not (await world.state())["monitoring"]["ok"]
    assert key not in line.text
    assert token not in line.text
    world.opsgenie.api_key, world.jsm.api_token = key, token
    await eventually(lambda: told(world, "answers again"))
    assert len(told(world, "cannot see our monitoring")) == 1
    assert (await world.state())["monitoring"]["ok"]


@both
async def test_more_than_a_hundred_open_alerts_make_one_suspicion_that_the_last_one_ends(
    world: World, api: str
) -> None:
    world.monitor(api)
    fired = [world.opsgenie.fire(f"disk {n}") for n in range(130)]
    await world.start()
    await world.becomes("suspected")
    for alert in fired[1:]:
        world.opsgenie.close(alert)
    await lag(world, 8)  # twenty are asked for by id in a poll
    assert (await world.incident())["state"] == "suspected"
    world.opsgenie.close(fired[0])
    await eventually(lambda: nothing_open(world))
    assert len(world.slack.timeline()) == 1


@both
@pytest.mark.parametrize("hours", [-20, 20])
async def test_a_clock_of_theirs_that_is_wrong_makes_no_time_of_ours_wrong(
    world: World, api: str, hours: int
) -> None:
    world.monitor(api, max_alert_age=10**6)
    now = datetime.now(UTC)
    alert = world.opsgenie.fire("disk full", created_at=now + timedelta(hours=hours))
    await world.start()
    suspected = await world.becomes("suspected")
    assert datetime.fromisoformat(suspected["started_at"]) <= datetime.now(UTC)
    world.opsgenie.close(alert, at=now + timedelta(hours=hours - 1))
    await eventually(lambda: nothing_open(world))
    await world.act("was_real", incident=1)
    resolved = await world.becomes("resolved")
    assert resolved["started_at"] <= resolved["ended_at"] <= (await world.state())["time"]


@both
async def test_the_first_start_ignores_old_alerts_and_the_next_one_ignores_none(
    world: World, api: str
) -> None:
    world.monitor(api)
    old = datetime.now(UTC) - timedelta(hours=2)
    world.opsgenie.fire("for weeks", created_at=old)
    await world.start()
    await lag(world)
    assert await nothing_open(world)
    await world.stop()
    world.opsgenie.fire("while we were away", created_at=old)
    await world.start()
    await world.becomes("suspected")
    assert not any("for weeks" in line for line in world.thread())


@both
async def test_another_source_is_a_fresh_start_that_closes_nothing(world: World, api: str) -> None:
    gone = await suspected(world, {"opsgenie": "jsm", "jsm": "opsgenie"}[api])
    await world.stop()

    world.opsgenie.delete(gone)  # the new one knows nothing of it
    world.monitor(api)
    await world.start()
    await lag(world, 4)
    assert (await world.incident())["state"] == "suspected"
    assert len(told(world, "another source")) == 1
    asked = sum(gone in request for request in world.opsgenie.faults.requests)
    await lag(world, 2)
    assert asked == sum(gone in request for request in world.opsgenie.faults.requests)

    new = world.opsgenie.fire("disk full")
    await eventually(lambda: _joined(world) == 1)
    world.opsgenie.close(new)
    await eventually(lambda: nothing_open(world))


def _joined(world: World) -> int:
    return sum("Another alert" in m.text for m in world.slack.messages)


@both
async def test_at_rest_a_poll_is_one_request_and_writes_nothing(world: World, api: str) -> None:
    await suspected(world, api)
    await world.message("verb:confirm:outage")

    async def still() -> bool:
        files = written(world)
        await lag(world, 2)
        return written(world) == files

    await eventually(still)
    files, before = written(world), len(world.opsgenie.faults.requests)
    await lag(world, 4)
    assert written(world) == files
    assert all("alerts?" in request for request in world.opsgenie.faults.requests[before:])


def written(world: World) -> dict[str, tuple[int, int]]:
    """The database's files as they are on disk."""
    found = {path.name: path.stat() for path in world.folder.glob("monostat.db*")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


async def test_health_says_at_once_that_polls_fail_and_that_they_no_longer_do(world: World) -> None:
    await world.start()

    def says(words: str) -> Callable[[], Awaitable[bool]]:
        async def is_said() -> bool:
            return f"\nopsgenie: runs, {words}\n" in await world.page("/healthz")

        return is_said

    await eventually(says("answers"))
    world.opsgenie.faults.fail_next(503, times=1000)
    await eventually(says("the last poll failed"))
    world.opsgenie.faults.release()
    await eventually(says("answers"))
