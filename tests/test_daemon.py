"""The whole main job, through the three simulated vendors, on real sockets."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientWebSocketResponse, web
from pytest_aiohttp.plugin import AiohttpClient

from monostat.app import make_app
from monostat.config import Config
from monostat.demo.slack import Message
from tests.waiting import eventually
from tests.world import SHORT, World

SECRET = "[prod] db-7.internal <!channel> <@U1> & <https://x|y> *b* {%x}"


async def frame(ws: ClientWebSocketResponse, state: str) -> dict[str, object]:
    """The next message in which the newest incident has this state."""
    while True:
        message: dict[str, list[dict[str, object]]] = await ws.receive_json(timeout=30)
        incidents = [*message.get("open", []), *message.get("recent", [])]
        if incidents and incidents[0]["state"] == state:
            return incidents[0]


@pytest.mark.parametrize("api", ["opsgenie", "jsm"])
async def test_an_alert_becomes_a_suspicion_one_tap_confirms_it_and_one_mail_leaves(
    world: World, api: str
) -> None:
    world.monitor(api)
    await world.start()
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        assert (await ws.receive_json(timeout=30))["status"]["level"] == "ok"
        alert = world.opsgenie.fire(SECRET)
        suspected = await frame(ws, "suspected")
        assert suspected["severity"] == "outage"
        assert world.rapidmail.mailings == []

        await world.tap("verb:confirm:outage")
        await frame(ws, "confirmed")
        assert "Example is down" in await world.page()
        (mailing,) = await eventually(lambda: world.rapidmail.mailings)
        confirmed = (await world.incident())["updates"][0]
        assert confirmed["state"] == "confirmed"
        window = timedelta(seconds=world.settings["rapidmail"]["undo_window"])
        # Both in milliseconds: the window was over before anything left.
        assert mailing.created >= datetime.fromisoformat(confirmed["at"]) + window

        await world.tap("verb:watch")
        await frame(ws, "watching")
        world.opsgenie.close(alert)
        await eventually(lambda: any("over" in line for line in world.thread()))
        await world.tap("verb:resolve")
        await frame(ws, "resolved")
        await eventually(lambda: len(world.rapidmail.mailings) >= 2)
    await eventually(lambda: sum(": Ada" in line for line in world.thread()) == 3)
    assert world.slack.pings == []
    assert len(world.slack.timeline()) == 1


async def test_nothing_public_ever_contains_an_alerts_text(world: World) -> None:
    await world.start()
    seen: list[str] = []
    async with (
        world.http.ws_connect(f"{world.url}/feed/v1") as feed,
        world.http.ws_connect(f"{world.url}/feed/page", origin=world.url) as page,
    ):
        world.opsgenie.fire(SECRET, source="db-7.internal", description="db-7.internal")
        for state, button in (
            ("suspected", "verb:confirm:partial"),
            ("confirmed", "verb:resolve"),
            ("resolved", ""),
        ):
            await world.becomes(state)
            seen += [
                await world.page(),
                await world.page("/incidents/1"),
                json.dumps(await world.state()),
            ]
            if button:
                await world.tap(button)
        for ws in (feed, page):
            while not seen or '"kind":"resolved"' not in seen[-1]:
                seen.append(await ws.receive_str(timeout=30))
            seen.append("")
    await eventually(lambda: world.rapidmail.mailings)
    mails = [f"{m.subject} {m.text} {m.html}" for m in world.rapidmail.mailings]
    assert mails
    for text in seen + mails:
        assert "db-7" not in text
        assert "[prod]" not in text
    assert any("db-7" in json.dumps(m.blocks) for m in world.slack.messages), "staff do see it"


async def test_undo_takes_the_confirmation_and_its_mail_back(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 3
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:partial")
    assert (await world.becomes("confirmed"))["severity"] == "partial"
    await world.tap("verb:undo")
    assert (await world.becomes("suspected"))["severity"] == "outage"
    await world.message("verb:confirm:outage")
    await eventually(lambda: any("undid that" in line for line in world.thread()))
    await world.tap("verb:dismiss")
    await eventually(
        lambda: (
            world.slack.timeline()[-1].blocks
            and "verb:was_real" in str(world.slack.timeline()[-1].blocks)
        )
    )
    assert world.rapidmail.mailings == []


async def test_the_undo_button_of_an_older_change_does_not_take_the_next_one_back(
    world: World,
) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:partial")
    await world.tap("verb:watch")
    await world.becomes("watching")
    message = await world.message("verb:not_fixed")
    both = [button for block in message.blocks or [] for button in block.get("elements", [])]
    value = next(b["value"] for b in both if b.get("action_id") == "verb:undo")
    await world.slack.press("U_ADA", message.ts, "verb:undo")
    await world.becomes("confirmed")
    await world.slack.press_stale("U_BOB", message.ts, "verb:undo", value)
    assert (
        "Somebody got there first"
        in (await eventually(lambda: next(iter(world.slack.ephemerals), None))).text
    )
    assert (await world.incident())["state"] == "confirmed"


async def test_send_now_lets_the_mail_leave_at_once_and_ends_the_window(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 3600
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:outage")
    await world.tap("verb:send")
    await eventually(lambda: len(world.rapidmail.mailings) == 1)
    message = world.slack.timeline()[-1]
    await world.slack.press_stale("U_ADA", message.ts, "verb:undo", "1")
    refusal = await eventually(lambda: next(iter(world.slack.ephemerals), None))
    assert "Too late to undo: the mail left at" in json.dumps(refusal.blocks or []) + refusal.text
    assert (await world.incident())["state"] == "confirmed"


async def test_the_second_of_two_who_tap_at_once_is_told_who_was_first(world: World) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    message = await world.message("verb:confirm:outage")
    await eventually(lambda: world.slack.connections)
    await world.slack.press("U_ADA", message.ts, "verb:confirm:outage")
    await world.becomes("confirmed")
    await world.slack.press_stale("U_BOB", message.ts, "verb:confirm:partial", "1")
    refusal = await eventually(lambda: next(iter(world.slack.ephemerals), None))
    assert refusal.user == "U_BOB"
    assert "Ada got there first" in refusal.text
    assert (await world.incident())["severity"] == "outage"


@pytest.mark.parametrize("who", ["U_GUS", "U_EVE", "U_OLA"])
async def test_guests_strangers_and_people_outside_the_channel_change_nothing(
    world: World, who: str
) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:outage", who=who)
    if who != "U_OLA":  # Slack shows nothing to somebody who is not in the channel
        refusal = await eventually(lambda: next(iter(world.slack.ephemerals), None))
        assert refusal.user == who
    await eventually(lambda: any("chat.postEphemeral" in r for r in world.slack.faults.requests))
    assert (await world.incident())["state"] == "suspected"
    await world.tap("verb:dismiss")
    await eventually(lambda: world.slack.timeline()[-1].edited)


async def test_an_alert_that_ends_before_anybody_looked_dismisses_the_suspicion_and_asks(
    world: World,
) -> None:
    await world.start()
    alert = world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    world.opsgenie.close(alert)
    await world.tap("verb:was_real")
    resolved = await world.becomes("resolved")
    assert resolved["ended_at"]
    assert world.rapidmail.mailings == []


async def test_flapping_makes_one_incident_in_one_thread(world: World) -> None:
    await world.start()
    for _ in range(3):
        alert = world.opsgenie.fire("disk full", alias="disk")
        await world.becomes("suspected")
        world.opsgenie.close(alert)
        await eventually(lambda: _is_closed(world))
    assert len(world.slack.timeline()) == 1
    assert (await world.state())["open"] == []


async def _is_closed(world: World) -> bool:
    return not (await world.state())["open"]


@pytest.mark.parametrize("fault", ["500", "429", "nothing", "broken", "empty", "list-of-nonsense"])
async def test_monitoring_having_a_bad_day_dismisses_nothing(world: World, fault: str) -> None:
    await world.start()
    alert = world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    faults, many = world.opsgenie.faults, 1000
    before = len(faults.requests)
    match fault:
        case "500":
            faults.fail_next(500, times=many)
        case "429":
            faults.answer_next(429, headers={"X-RateLimit-Period-In-Sec": "1"}, times=many)
        case "nothing":
            faults.hang()
        case "broken":
            faults.answer_next(
                200,
                body=b'{"data": [{"id"',
                headers={"Content-Type": "application/json"},
                times=many,
            )
        case "empty":
            world.opsgenie.hide_from_list(alert)
        case "list-of-nonsense":
            faults.answer_next(
                200,
                body=b'{"data": [7, null]}',
                headers={"Content-Type": "application/json"},
                times=many,
            )
    await eventually(
        lambda: len(faults.requests) >= before + (1 if fault == "nothing" else 2), within=30
    )
    assert (await world.incident())["state"] == "suspected"
    faults.release()
    world.opsgenie.show_in_list(alert)
    world.opsgenie.close(alert)
    await eventually(lambda: _is_closed(world))


async def test_slack_that_is_dead_at_start_delays_nothing_and_is_right_when_it_comes(
    world: World,
) -> None:
    world.slack.faults.hang()
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    assert "may be having problems" in await world.page()
    world.slack.faults.release()
    message = await world.message("verb:confirm:outage")
    assert len(world.slack.timeline()) == 1
    await eventually(lambda: world.slack.connections)
    await world.slack.press("U_ADA", message.ts, "verb:confirm:outage")
    await world.becomes("confirmed")


async def test_a_restart_keeps_the_state_the_version_and_the_one_message(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 2
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:outage")
    await world.message("verb:undo")
    before = await world.state()
    await world.stop()
    await world.start()
    assert await world.state() == before
    await eventually(lambda: len(world.rapidmail.mailings) == 1)
    await eventually(lambda: any("mailed" in line for line in world.thread()))
    assert len(world.slack.timeline()) == 1


async def test_the_page_says_so_when_monitoring_is_silent_and_slack_is_told_once(
    world: World,
) -> None:
    world.settings["opsgenie"]["stale_after"] = 1
    world.opsgenie.faults.fail_next(503, times=10_000)
    await world.start()
    await eventually(lambda: _cannot_see(world))
    state = await world.state()
    assert (state["status"]["level"], state["monitoring"]["ok"]) == ("unknown", False)

    def told(words: str) -> list[Message]:
        return [m for m in world.slack.timeline() if words in m.text]

    await eventually(lambda: told("cannot see our monitoring"))
    world.opsgenie.faults.release()
    await eventually(lambda: told("answers again"))
    assert (await world.state())["status"]["level"] == "ok"
    assert len(world.slack.timeline()) == 2


async def test_a_nonsense_time_or_text_of_an_alert_harms_neither_the_page_nor_the_next_alert(
    world: World,
) -> None:
    world.settings["site"]["timezone"] = "America/New_York"
    await world.start()
    world.opsgenie.fire("from the year 1", created_at=datetime(1, 1, 1, tzinfo=UTC))
    suspected = await world.becomes("suspected")
    assert not suspected["started_at"].startswith("0001")
    assert "may be having problems" in await world.page()
    world.opsgenie.fire("half a character \ud800 and\n16:00 Ada resolved this.")
    world.opsgenie.fire("a good one")
    lines = await eventually(
        lambda: (
            found
            if len(
                found := [
                    str(m.blocks) for m in world.slack.messages if "good one" in str(m.blocks)
                ]
            )
            >= 2
            else None
        )
    )
    assert any("a good one" in line for line in lines)
    await world.stop()
    await world.start()
    assert "may be having problems" in await world.page()


async def test_an_incident_that_opens_while_slack_is_slow_loses_no_line(world: World) -> None:
    await world.start(timing=replace(SHORT, vendor_timeout=5.0))
    world.opsgenie.fire("first")
    await world.becomes("suspected")
    await world.message("verb:dismiss")
    await eventually(lambda: world.slack.connections)
    world.slack.faults.hang("/api/chat")
    await world.tap("verb:dismiss")
    await eventually(lambda: _is_closed(world))
    world.opsgenie.fire("second")
    await world.becomes("suspected", 2)
    world.slack.faults.release()
    await eventually(lambda: len(world.slack.timeline()) == 2)
    await eventually(lambda: "second" in world.slack.timeline()[-1].text)
    first = world.slack.timeline()[0]
    await eventually(lambda: any("false" in m.text for m in world.slack.thread(first.ts)))


async def test_the_time_to_the_first_mail_stays_what_it_was_after_the_second(world: World) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:outage")
    await eventually(lambda: any("mailed" in line for line in world.thread()))
    first = [
        line
        for line in (await world.page("/incidents/1")).splitlines()
        if "Subscribers were emailed" in line
    ]
    await world.tap("verb:resolve")
    await eventually(lambda: sum("mailed" in line for line in world.thread()) == 2)
    assert first
    assert first == [
        line
        for line in (await world.page("/incidents/1")).splitlines()
        if "Subscribers were emailed" in line
    ]


async def test_a_maintenance_has_words_of_its_own_and_no_figure_that_means_nothing(
    world: World,
) -> None:
    await world.start()
    begins = datetime.now(UTC) + timedelta(seconds=2)
    number = await world.act(
        "plan", title="Move", start=begins, end=begins + timedelta(hours=1), mail=True
    )
    await eventually(lambda: world.rapidmail.mailings)
    await world.becomes("confirmed")
    page = await world.page(f"/incidents/{number}")
    await world.act("resolve", incident=number)
    await world.act("reopen", incident=number)
    page += await world.page(f"/incidents/{number}")
    assert "Subscribers were emailed" not in page
    assert all(
        words in page
        for words in ("Under way", "Maintenance is complete.", "Maintenance has resumed.")
    )
    assert not any(
        word in page.lower()
        for word in ("confirmed</strong>", "resolved</strong>", "problem is back")
    )


async def test_a_suspicion_that_went_by_itself_is_no_false_alarm_when_it_turns_out_real(
    world: World,
) -> None:
    await world.start()
    alert = world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    world.opsgenie.close(alert)
    await eventually(lambda: any("Was it real" in line for line in world.thread()))
    await world.act("confirm", incident=1, severity="outage")
    page = await world.page("/incidents/1")
    assert "<strong>Ended by itself</strong>" in page
    assert "False alarm" not in page


async def test_missing_pages_look_like_the_rest_and_say_404(world: World) -> None:
    await world.start()
    for path in (
        "/nowhere",
        "/incidents/1",
        "/incidents/0",
        "/incidents/99999999999999999999",
        "/static/../config.toml",
    ):
        async with world.http.get(world.url + path) as answer:
            assert answer.status == 404
            assert "Page not found" in await answer.text()
            assert answer.headers["Cache-Control"] == "public, max-age=5"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_page_comes_zipped_with_a_weak_tag_and_is_not_sent_twice(world: World) -> None:
    await world.start()
    async with world.http.get(world.url, headers={"Accept-Encoding": "gzip;q=1.0, br"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        tag = answer.headers["ETag"]
        assert tag.startswith('W/"')
        assert "s-maxage=5" in answer.headers["Cache-Control"]
    async with world.http.get(world.url, headers={"Accept-Encoding": "gzip;q=0"}) as answer:
        assert "Content-Encoding" not in answer.headers

    async def is_known() -> bool:
        async with world.http.get(world.url) as answer:
            tag = answer.headers["ETag"]
        async with world.http.get(world.url, headers={"If-None-Match": tag}) as answer:
            return answer.status == 304

    await eventually(is_known)  # unless something changes between the two


async def _cannot_see(world: World) -> bool:
    return "We cannot see our monitoring" in await world.page()


@pytest.mark.parametrize(
    "fault", ["reset", "time-out", "503 after accepting", "503", "refused connection"]
)
async def test_exactly_one_mailing_exists_whatever_rapidmail_does(world: World, fault: str) -> None:
    faults, path = world.rapidmail.faults, "/mailings"
    match fault:
        case "reset":
            faults.accept_then_drop(path=path)
        case "time-out":
            faults.accept_then_hang(path=path)
        case "503 after accepting":
            faults.fail_next(503, path=path, carry_out=True)
        case "503":
            faults.fail_next(503, path=path, times=2)
        case "refused connection":
            faults.drop_next(path=path)
    world.rapidmail.listing_delay = 1
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:outage")
    await eventually(lambda: any("mailed" in line for line in world.thread()))
    assert len(world.rapidmail.mailings) == 1


@pytest.mark.parametrize("accepted", [True, False])
async def test_an_unclear_mail_of_what_became_silent_is_looked_for_and_not_sent_again(
    world: World, accepted: bool
) -> None:
    await world.start()
    if accepted:
        world.rapidmail.faults.accept_then_drop(path="mailings")
    else:
        world.rapidmail.faults.fail_next(503, path="mailings")
    number = await world.act("create", title="It", severity="outage")
    await eventually(lambda: any(r.startswith("POST") for r in world.rapidmail.faults.requests))
    await world.act("edit", incident=number, changes={"silent": True})
    await eventually(
        lambda: sum("GET" in r for r in world.rapidmail.faults.requests) >= 2 - accepted
    )
    await world.act("create", title="Another", severity="outage")
    await eventually(lambda: len(world.rapidmail.mailings) == 1 + accepted)
    assert [m.subject for m in world.rapidmail.mailings if ": It" in m.subject] == [
        "[Example] Outage: It"
    ] * accepted


async def test_a_mail_that_is_refused_waits_for_a_retry(world: World) -> None:
    world.settings["rapidmail"]["password"] = "wrong"
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:outage")
    line = await eventually(
        lambda: next((m for m in world.slack.messages if "could not be sent" in m.text), None)
    )
    assert "rapidmail.password" in line.text
    assert world.rapidmail.mailings == []
    world.rapidmail.password = "wrong"
    await world.slack.press("U_ADA", line.ts, "verb:retry")
    await eventually(lambda: len(world.rapidmail.mailings) == 1)


async def test_our_own_failure_is_a_page_that_looks_like_the_rest_and_says_500(
    tmp_path: Path, aiohttp_client: AiohttpClient
) -> None:
    site = {"name": "Example", "url": "https://status.example.com"}
    app = make_app(
        Config.model_validate({"site": site, "database": {"path": tmp_path / "monostat.db"}})
    )

    async def broken(_request: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    app.router.add_get("/broken", broken)
    client = await aiohttp_client(app)
    answer = await client.get("/broken")
    assert (answer.status, answer.headers["Cache-Control"]) == (500, "no-store")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    text = await answer.text()
    assert "The fault is ours" in text
    assert "a bug" not in text


async def test_health_asks_the_store_and_readiness_whether_pages_are_served(world: World) -> None:
    await world.start()

    async def asked(path: str) -> tuple[int, list[str]]:
        async with world.http.get(world.url + path) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, (await answer.text()).splitlines()

    loops = ["engine", "watchers", "renew", "viewers", "opsgenie", "silence", "mails", "slack"]
    loops += ["slack-outbox", "watch"]
    says = {"opsgenie": "runs, answers", "slack": "runs, connected"}
    well = ["ok", "database: answers", *(f"{name}: {says.get(name, 'runs')}" for name in loops)]

    async def is_well() -> bool:
        return await asked("/healthz") == (200, well)

    await eventually(is_well)
    assert await asked("/readyz") == (200, ["ok", "pages: served"])

    def lose() -> None:
        with closing(sqlite3.connect(world.folder / "monostat.db", timeout=5)) as other:
            other.execute("ALTER TABLE facts RENAME TO lost")

    await asyncio.to_thread(lose)
    lost = await asked("/healthz")
    assert (lost[0], lost[1][:2]) == (503, ["not ok", "database: does not answer"])
    assert (await asked("/readyz"))[0] == 200
    assert "is up and running" in await world.page()
