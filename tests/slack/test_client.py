"""What monostat does with Slack, against the simulated one over real sockets."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from slack_sdk.socket_mode.aiohttp import SocketModeClient

from monostat import config
from monostat.config import Timing
from monostat.core.events import Act, Unsaid
from monostat.core.model import Change, Incident, Monitoring, Severity, State
from monostat.demo.faults import serve
from monostat.demo.slack import Disconnected, SimulatedSlack, Unacknowledged
from monostat.ops.supervise import Loop, Watch
from monostat.slack.actions import StaffActions
from monostat.slack.client import SlackClient
from monostat.slack.listeners import SOON, Listeners
from monostat.slack.mentions import Mentions
from monostat.slack.messages import Message, button, row, section
from monostat.slack.slash import SlashCommand
from monostat.slack.socket import SocketMode, repeat
from monostat.slack.staff import CANNOT_CHECK, NOT_STAFF, Staff
from monostat.slack.text import SlackText
from monostat.vendor import Undelivered, turning
from tests.waiting import eventually

QUICK = Timing(
    vendor_timeout=3.0, slack_ping=0.3, slack_stale_url=0.8, staff_refresh=0.2, staff_trust=60.0
)
SLOW_LIST = Timing(
    vendor_timeout=3.0, slack_ping=0.3, slack_stale_url=0.8, staff_refresh=60.0, staff_trust=60.0
)
HANGS = replace(QUICK, vendor_timeout=0.5)
BUTTONS = [button("confirm:outage", 7), button("dismiss", 7)]
MESSAGE = Message("#7", [section("head", "Something"), *row("act", BUTTONS)])


def now() -> datetime:
    return datetime.now(UTC)


NOTHING = State(epoch="e", monitoring=Monitoring(since=now()), checked_at=now())


#: Incidents that cannot be found, for a bug: at once, or after a while.
BUG, LATE_BUG = 98, 99


@dataclass
class Office:
    """Simulated Slack, monostat's side of it, and what was asked of the core."""

    vendor: SimulatedSlack
    slack: SlackClient
    socket: SocketMode
    acts: list[Act] = field(default_factory=list)
    refused: str = ""
    wakes_vendor: bool = True  # before monostat shuts down

    async def submit(self, act: Act) -> Change:
        self.acts.append(act)
        return Change(state=NOTHING, refused=self.refused)

    async def ready(self) -> str:
        """Connected, with a list of staff and a message with buttons; its ts."""
        await eventually(lambda: self.socket.connected and self.vendor.connections)
        await eventually(
            lambda: any("users.info?user=U_EVE" in r for r in self.vendor.faults.requests)
        )
        return await self.slack.post(MESSAGE, key="e:incident:7")

    def told(self, user: str) -> list[str]:
        return [e.text for e in self.vendor.ephemerals if e.user == user]

    async def press_until_heard(self, ts: str) -> None:
        """A click in the moment of a reconnect is lost, as it is with Slack; the next one must not be."""

        async def heard() -> bool:
            try:
                await self.vendor.press("U_ADA", ts, "verb:dismiss")
            except (Unacknowledged, Disconnected):
                return False
            return True

        await eventually(heard)


@asynccontextmanager
async def office(timing: Timing = QUICK, *, running: bool = True) -> AsyncIterator[Office]:
    vendor = SimulatedSlack()
    vendor.patience = 1.0
    tokens: Any = {
        "bot_token": SecretStr(vendor.bot_token),
        "app_token": SecretStr(vendor.app_token),
    }
    limit = aiohttp.ClientTimeout(total=timing.vendor_timeout)
    async with serve(vendor.app) as url, aiohttp.ClientSession(timeout=limit) as session:
        settings = config.SlackSettings(channel="C1", url=f"{url}/api/", **tokens)

        async def submit(act: Act) -> Change:
            return await made.submit(act)

        async def thread_of(_ts: str) -> int | None:
            return None

        async def incident_of(number: int) -> Incident | None:
            if number == LATE_BUG:
                await asyncio.sleep(2 * SOON)
            if number in (BUG, LATE_BUG):
                raise RuntimeError("a bug")
            return None

        async def made_nothing(_event: Unsaid) -> None:
            pass

        def home_opened(user: str, *, may_act: bool) -> None:
            pass

        slack = SlackClient(settings=settings, session=session, timing=timing)
        staff = Staff(client=slack)
        places: Any = {
            "client": slack,
            "staff": staff,
            "wording": SlackText("https://status.example.com", UTC),
            "state": lambda: NOTHING,
        }
        actions = StaffActions(submit=submit, **places)
        mentions = Mentions(
            client=slack,
            actions=actions,
            incident_of=incident_of,
            now=now,
            thread_of=thread_of,
            submit=made_nothing,
        )
        listeners = Listeners(
            actions=actions,
            mentions=mentions,
            slash=SlashCommand(actions=actions, incident_of=incident_of, now=now),
            now=now,
            incident_of=incident_of,
            thread_of=thread_of,
            home_opened=home_opened,
            too_late_for=lambda _act, _ts, _name: "",
            **places,
        )
        socket = SocketMode(client=slack, staff=staff, listeners=listeners)
        made = Office(vendor, slack, socket)
        task = asyncio.create_task(socket.run()) if running else None
        try:
            yield made
        finally:
            if made.wakes_vendor:
                vendor.faults.release()
                vendor.speak()
            if task:
                assert not task.done(), task.exception()
                began = time.monotonic()
                task.cancel()
                await asyncio.wait([task])
                assert time.monotonic() - began < 3
            vendor.faults.release()
            vendor.speak()
        assert vendor.violations == []


async def test_a_tap_acts_once_with_its_person_and_its_severity() -> None:
    async with office() as o:
        before = now()
        await o.vendor.press("U_ADA", await o.ready(), "verb:confirm:outage")
        act = (await eventually(lambda: o.acts))[0]
        assert (act.verb, act.severity, act.incident) == ("confirm", Severity.OUTAGE, 7)
        assert act.by == "Ada"
        assert before <= act.at <= now()
        await o.vendor.press("U_BOB", o.vendor.messages[0].ts, "verb:dismiss")
        await eventually(lambda: len(o.acts) == 2)
        assert o.vendor.ephemerals == []


async def test_a_click_is_acknowledged_at_once_while_the_web_api_hangs() -> None:
    async with office(HANGS) as o:
        ts = await o.ready()
        o.vendor.faults.hang("/api/")
        ack = await o.vendor.press("U_ADA", ts, "verb:dismiss")
        assert ack.seconds < 3, "Slack's limit"
        await eventually(lambda: o.acts)  # the last list counts
        assert (await o.vendor.press("U_OLA", ts, "verb:dismiss")).seconds < 3


@pytest.mark.parametrize("user", ["U_GUS", "U_EVE", "UBOT"])
async def test_a_guest_a_stranger_and_a_bot_are_refused_privately(user: str) -> None:
    async with office() as o:
        await o.vendor.press(user, await o.ready(), "verb:dismiss")
        assert await eventually(lambda: o.told(user)) == [NOT_STAFF]
        assert o.acts == []


async def test_somebody_outside_the_channel_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with office() as o:
        await o.vendor.press("U_OLA", await o.ready(), "verb:dismiss")
        await eventually(lambda: "U_OLA was not told" in caplog.text)
        assert o.acts == []


async def test_somebody_new_in_the_channel_is_looked_up_before_being_refused() -> None:
    async with office(SLOW_LIST) as o:
        ts = await o.ready()
        o.vendor.channels["C1"].members += [f"U{n}" for n in range(1100)] + ["U_OLA"]
        await o.vendor.press("U_OLA", ts, "verb:dismiss")
        assert (await eventually(lambda: o.acts))[0].by == "Ola"


async def test_somebody_who_became_a_guest_or_left_may_not_act_after_the_next_refresh() -> None:
    async with office() as o:
        ts = await o.ready()
        o.vendor.users["U_ADA"].is_restricted = True
        o.vendor.users["U_BOB"].deleted = True
        seen = len(o.vendor.faults.requests)
        await eventually(
            lambda: sum("conversations.members" in r for r in o.vendor.faults.requests[seen:]) > 1
        )
        for user in ("U_ADA", "U_BOB"):
            await o.vendor.press(user, ts, "verb:dismiss")
            assert await eventually(lambda user=user: o.told(user)) == [NOT_STAFF]  # type: ignore[misc, arg-type]
        assert o.acts == []


async def test_without_a_list_and_without_slack_to_ask_nobody_may_act() -> None:
    async with office() as o:
        o.vendor.faults.fail_next(503, path="conversations.members", times=1000)
        await eventually(lambda: o.socket.connected)
        await o.vendor.press("U_ADA", await o.slack.post(MESSAGE, key="k"), "verb:dismiss")
        assert await eventually(lambda: o.told("U_ADA")) == [CANNOT_CHECK]
        assert o.acts == []


async def test_a_watch_that_hangs_is_not_hidden_by_the_list_of_staff_or_by_taps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs = asyncio.Event()

    async def alive() -> bool:
        return True

    async def is_connected(_client: SocketModeClient) -> bool:
        hangs.set()
        return await asyncio.Event().wait()

    async with office(running=False) as o:
        o.vendor.faults.fail_next(503, path="conversations.members", times=1000)
        loop = Loop(name="slack", run=o.socket.run)
        watch = Watch(loops=[loop], alive=alive, says=str, grace=0.5)
        task = asyncio.create_task(loop.supervised(Random(1)))
        await eventually(lambda: o.socket.connected and o.vendor.connections)
        ts = await o.slack.post(MESSAGE, key="k")
        monkeypatch.setattr(SocketModeClient, "is_connected", is_connected)
        await hangs.wait()

        async def is_stuck() -> bool:
            await o.vendor.press("U_ADA", ts, "verb:dismiss")
            return watch.stuck() == ["slack"]

        await eventually(is_stuck)
        task.cancel()
        await asyncio.wait([task])


async def test_what_is_repeated_tells_the_supervisor_when_it_goes_on() -> None:
    told: list[float | None] = []

    async def work() -> None:
        pass

    turning.set(told.append)
    task = asyncio.create_task(repeat("the list", work, every=60))
    await eventually(lambda: told == [60])
    task.cancel()
    await asyncio.wait([task])


async def test_a_refusal_by_the_core_is_told_only_to_the_person() -> None:
    async with office() as o:
        o.refused = "Bob got there first: #7 is <confirmed> & more."
        await o.vendor.press("U_ADA", await o.ready(), "verb:dismiss")
        assert await eventually(lambda: o.told("U_ADA")) == [
            "Bob got there first: #7 is &lt;confirmed&gt; &amp; more."
        ]


@pytest.mark.parametrize(
    ("action", "value"),
    [
        *(
            ("verb:confirm:worse", "7"),
            ("verb:create", "7"),
            ("verb:", "7"),
            ("verb:dismiss", "x"),
            ("nonsense", "7"),
        ),
        *(("verb:dismiss", "-1"), ("verb:dismiss", "9" * 30), ("verb:__init__", "7")),
    ],
)
async def test_a_button_that_makes_no_sense_is_acknowledged_and_changes_nothing(
    action: str, value: str
) -> None:
    async with office() as o:
        ts = await o.ready()
        await o.vendor.press_stale("U_ADA", ts, action, value)
        await o.vendor.press("U_ADA", ts, "verb:dismiss")
        await eventually(lambda: o.acts)
        assert [act.verb for act in o.acts] == ["dismiss"]


async def test_who_types_what_a_bug_stops_is_told_so_soon_or_late() -> None:
    async with office() as o:
        await o.ready()
        ack = await o.vendor.slash("U_ADA", "/statuspage", f"show {BUG}")
        assert "Something went wrong" in ack.payload["text"]
        ack = await o.vendor.slash("U_ADA", "/statuspage", f"show {LATE_BUG}")
        assert ack.payload == {}
        await eventually(lambda: "Something went wrong" in str(o.told("U_ADA")[1:]))


async def test_another_program_that_takes_some_of_the_taps_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with office() as o:
        await o.ready()
        o.vendor.elsewhere = 1
        for _ in range(2):
            await o.vendor.disconnect()
            await eventually(lambda: o.vendor.connections)
            await o.press_until_heard(await o.slack.post(MESSAGE, key="e:incident:7"))
    assert caplog.text.count("2 connections of this app are open") == 1


async def test_whatever_else_slack_sends_is_acknowledged() -> None:
    async with office() as o:
        await o.ready()
        await o.vendor.say("U_ADA", "<@UBOT> hello")
        await o.vendor.slash("U_ADA", "/statuspage")
        await o.vendor.shortcut("U_ADA", "new_incident")
        assert len(o.vendor.acks) == 4


async def refresh(o: Office) -> None:
    await o.vendor.disconnect()


async def cut(o: Office) -> None:
    await o.vendor.cut()


async def mute(o: Office) -> None:
    o.vendor.go_mute()
    await eventually(lambda: not o.socket.connected)
    o.vendor.speak()


async def dead_url(o: Office) -> None:
    o.vendor.dead_urls = True
    await o.vendor.cut()
    await eventually(lambda: not o.socket.connected)
    await asyncio.sleep(1)
    o.vendor.dead_urls = False


@pytest.mark.parametrize("trouble", [refresh, cut, mute, dead_url])
async def test_clicks_work_again_after(trouble: Callable[[Office], Any]) -> None:
    async with office() as o:
        ts = await o.ready()
        await trouble(o)
        await o.press_until_heard(ts)
        await eventually(lambda: o.acts)


async def test_slack_dead_at_the_start_is_told_once_and_used_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with office(running=False) as o:
        o.vendor.faults.fail_next(503, times=3)
        task = asyncio.create_task(o.socket.run())
        try:
            await o.vendor.press("U_ADA", await o.ready(), "verb:dismiss")
            await eventually(lambda: o.acts)
        finally:
            task.cancel()
            await asyncio.wait([task])
    assert [r.message for r in caplog.records if "auth.test" in r.message] == [
        "Slack: Slack did not answer auth.test: 503"
    ]
    assert "Slack: works again" in caplog.text


async def test_connecting_in_vain_is_one_line_without_a_trace_or_a_ticket(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with office() as o:
        o.vendor.dead_urls = True
        await eventually(
            lambda: sum("/link/" in r for r in o.vendor.faults.requests) > 3, within=30
        )
    assert "Traceback" not in caplog.text
    assert "ticket" not in caplog.text
    assert sum("our connection" in r.message for r in caplog.records) == 1
    assert "xoxb" not in caplog.text
    assert "xapp" not in caplog.text


async def test_a_wrong_token_says_what_to_do_and_is_tried_again_after_that() -> None:
    async with office(running=False) as o:
        o.vendor.bot_token = "xoxb-other"
        with pytest.raises(Undelivered) as failure:
            await o.slack.post(MESSAGE, key="k")
        assert not failure.value.permanent
        assert not failure.value.ambiguous
        assert "slack.bot_token" in failure.value.reason


async def test_a_post_that_was_accepted_and_then_reset_is_found_and_no_other() -> None:
    async with office(running=False) as o:
        began = now()
        top = await o.slack.post(MESSAGE, key="e:incident:7")
        o.vendor.faults.accept_then_drop(path="chat.postMessage")
        with pytest.raises(Undelivered) as failure:
            await o.slack.post(MESSAGE, key="e:incident:8")
        assert failure.value.ambiguous
        for _ in range(210):
            await o.vendor.say("U_ADA", "chat") if o.vendor.connections else None
            await o.slack.post(Message("more", []), key="other")
        found = await o.slack.find("e:incident:8", since=began)
        assert found == o.vendor.timeline()[1].ts != top
        assert await o.slack.find("e:incident:9", since=began) is None
        assert len(o.vendor.timeline()) == 212


async def test_a_line_is_found_in_its_thread_and_not_elsewhere() -> None:
    async with office(running=False) as o:
        top = await o.slack.post(MESSAGE, key="top")
        line = await o.slack.post(Message("line", []), key="line", thread=top)
        assert await o.slack.find("line", since=now(), thread=top) == line
        assert await o.slack.find("line", since=now()) is None
        body = b'{"ok":false,"error":"missing_scope","needed":"channels:history"}'
        o.vendor.faults.answer_next(
            200,
            body=body,
            headers={"Content-Type": "application/json"},
            path="conversations.replies",
        )
        assert await o.slack.find("line", since=now(), thread=top) is None


async def test_a_message_that_slack_no_longer_lets_us_edit_is_reported_so() -> None:
    async with office(running=False) as o:
        ts = await o.slack.post(MESSAGE, key="k")
        assert await o.slack.update(ts, Message("changed", []))
        o.vendor.uneditable(ts)
        assert not await o.slack.update(ts, MESSAGE)
        assert not await o.slack.update("1.000001", MESSAGE)


@pytest.mark.parametrize(
    ("status", "body", "kind", "ambiguous"),
    [
        (429, b'{"ok":false,"error":"ratelimited"}', "application/json", False),
        (500, b"<html>", "text/html", True),
        (200, b'{"ok":false,"error":"fatal_error"}', "application/json", True),
        (200, b'{"ok":tr', "application/json", True),
        (200, b"[1]", "application/json", True),
        (200, b"fine", "text/plain", True),
        (200, b'{"ok":true}', "application/json", True),
        (200, b"\xff\xfe", "application/json", True),
    ],
)
async def test_every_nonsense_is_an_undelivered(
    status: int, body: bytes, kind: str, ambiguous: bool
) -> None:
    async with office(running=False) as o:
        o.vendor.faults.answer_next(
            status, body=body, headers={"Content-Type": kind, "Retry-After": "7"}
        )
        with pytest.raises(Undelivered) as failure:
            await o.slack.post(MESSAGE, key="k")
        assert (failure.value.ambiguous, failure.value.permanent) == (ambiguous, False)
        assert failure.value.retry_after == (7.0 if status == 429 else None)


async def test_a_time_out_is_ambiguous_and_a_closed_door_is_not() -> None:
    async with office(HANGS, running=False) as o:
        o.vendor.faults.hang()
        with pytest.raises(Undelivered) as failure:
            await o.slack.post(MESSAGE, key="k")
        assert failure.value.ambiguous
        o.slack.web.base_url = "http://127.0.0.1:1/api/"
        with pytest.raises(Undelivered) as failure:
            await o.slack.post(MESSAGE, key="k")
        assert not failure.value.ambiguous


async def test_shutdown_leaves_no_task_even_when_slack_is_mute_and_a_click_hangs() -> None:
    async with office(HANGS) as o:
        ts = await o.ready()
        o.vendor.faults.hang("/api/")
        await o.vendor.press("U_OLA", ts, "verb:dismiss")
        o.vendor.go_mute()
        o.wakes_vendor = False
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert [
        task for task in left if "slack_" in repr(task) or "monostat/slack.py" in repr(task)
    ] == []
    assert not o.socket.connected


@pytest.mark.parametrize("asked", ["0", "", "-1", "1"])
async def test_a_limit_that_asks_for_no_wait_is_no_invitation_to_ask_at_once(asked: str) -> None:
    async with office(running=False) as o:
        o.vendor.faults.answer_next(429, headers={"Retry-After": asked})
        with pytest.raises(Undelivered) as failure:
            await o.slack.post(MESSAGE, key="k")
        assert (failure.value.retry_after or 0) >= 1


@pytest.mark.parametrize(
    "code", ["restricted_action", "cannot_reply_to_message", "ekm_access_denied"]
)
async def test_a_refusal_says_what_to_do_and_nothing_that_is_not_there(code: str) -> None:
    async with office(running=False) as o:
        body = json.dumps({"ok": False, "error": code}).encode()
        o.vendor.faults.answer_next(200, body=body, headers={"Content-Type": "application/json"})
        with pytest.raises(Undelivered) as failure:
            await o.slack.post(MESSAGE, key="k")
        assert code in failure.value.reason
        assert "None" not in failure.value.reason
