"""Vendors that answer anything at all: any JSON, any bytes. What comes of it is `Undelivered`, or nothing."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiohttp import ClientSession, web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from monostat import config
from monostat.alerts.source import AlertSource
from monostat.config import Timing
from monostat.core.events import AlertsSeen
from monostat.core.model import State, Status
from monostat.demo.faults import serve
from monostat.mail.letter import Letter
from monostat.mail.rapidmail import RapidmailClient
from monostat.ops.metrics import TELEMETRY
from monostat.slack.client import SlackClient
from monostat.slack.messages import Message
from monostat.slack.staff import Staff
from monostat.vendor import Undelivered
from tests.hurry import Hurried
from tests.world import World

AT = datetime(2026, 11, 24, 10, tzinfo=UTC)
#: Words that mean something to one of the vendors, so that nonsense gets past the first question.
NAMED = (
    "data id status createdAt updatedAt message source report closeTime priority ok error messages metadata ts bot_id"
    " event_payload key members users user team_id profile display_name response_metadata next_cursor _embedded title"
    " mailings page_count detail validation_messages channel user_id is_bot"
)
NAMES = st.sampled_from(NAMED.split())
WORDS = (
    "open",
    "closed",
    "2026-11-24T10:00:00Z",
    "0001-01-01T00:00:00-14:00",
    "more",
    "a1",
    "B1",
    "U1",
    "k",
    "\ud800",
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(WORDS)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
SHAPES = st.dictionaries(NAMES, JSON, max_size=5).map(lambda more: {"ok": True} | more)
BODIES = (JSON | SHAPES).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
WAITS = st.sampled_from(
    ["", "0", "5", "-1", "soon", "٣", "1e9", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT"]
)
STATUS = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 404, 409, 422, 429, 500, 503])


ALERTS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from(["a1", "a2", "a3"]),
            "createdAt": st.sampled_from(["2026-11-24T10:00:00Z", "then"]),
        },
        optional={
            "message": JSON,
            "status": st.sampled_from(["open", "closed", "x"]),
            "priority": JSON,
            "closeTime": JSON,
        },
    ),
    max_size=3,
).map(lambda found: json.dumps({"data": found}).encode())
#: Examples are this many times more in a long run: `make fuzz`.
LONG = int(os.environ.get("FUZZ", "1"))


@dataclass
class Vendors:
    """All three, as monostat asks them, behind one server that answers what it is told."""

    url: str
    session: ClientSession
    answers: list[tuple[int, str, bytes]] = field(default_factory=list)

    async def answer(self, _request: web.Request) -> web.Response:
        status, wait, body = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return web.Response(status=status, headers={"Retry-After": wait}, body=body)

    def source(self) -> AlertSource:
        async def submit(_seen: object) -> None: ...

        asked = config.OpsGenieSettings(url=self.url, api_key="k", poll_interval=10)  # type: ignore[arg-type]
        return AlertSource(
            settings=asked,
            session=self.session,
            timing=Timing(),
            now=lambda: AT,
            rng=Random(1),
            alerts_to_follow=lambda: ["a1"],
            submit=submit,
        )

    def rapidmail(self) -> RapidmailClient:
        more: dict[str, Any] = {
            "username": "u",
            "password": "p",
            "recipientlist_id": 1,
            "from_name": "X",
        }
        asked = config.RapidmailSettings(url=f"{self.url}/v1", from_email="a@example.com", **more)
        return RapidmailClient(self.session, asked, 5)

    def slack(self) -> SlackClient:
        more: dict[str, Any] = {"bot_token": "xoxb-1", "app_token": "xapp-1", "channel": "C1"}
        return SlackClient(
            settings=config.SlackSettings(url=f"{self.url}/api/", **more),
            session=self.session,
            timing=Timing(),
        )


@pytest.fixture(scope="module")
def vendors() -> Iterator[tuple[asyncio.Runner, Vendors]]:
    with asyncio.Runner() as runner:
        stack, app = AsyncExitStack(), web.Application()

        async def open_all() -> Vendors:
            url, session = (
                await stack.enter_async_context(serve(app)),
                await stack.enter_async_context(ClientSession()),
            )
            return Vendors(url, session)

        async def late(request: web.Request) -> web.Response:
            return await made.answer(request)

        app.router.add_route("*", "/{path:.*}", late)
        made = runner.run(open_all())
        yield runner, made
        runner.run(stack.aclose())


def told(
    vendors: tuple[asyncio.Runner, Vendors], answers: list[tuple[int, str, bytes]], asking: str
) -> Any:
    """What comes of asking, or the Undelivered; it must come soon."""
    runner, all_ = vendors
    all_.answers[:] = answers

    async def ask() -> Any:
        async with asyncio.timeout(20):
            match asking:
                case "poll":
                    return (await all_.source().poll())[0]
                case "send":
                    return await all_.rapidmail().send("t", Letter("s", "h", "t"))
                case "find":
                    return await all_.rapidmail().find("monostat k", since=AT)
                case "subscribe":
                    return await all_.rapidmail().subscribe("a@example.com")
                case "post":
                    return await all_.slack().post(Message("text", []), key="k")
                case "update":
                    return await all_.slack().update("1.2", Message("text", []))
                case "look":
                    return await all_.slack().find("k", since=AT, thread="1.2")
                case "staff":
                    return await Staff(client=all_.slack()).refresh()
                case "learn":
                    return await all_.slack().identify()

    try:
        return runner.run(ask())
    except Undelivered as undelivered:
        return undelivered


ASKED = ("poll", "send", "find", "subscribe", "post", "update", "look", "staff", "learn")


@settings(max_examples=250 * LONG, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(answers=[(200, "", b'{"ok": true, "members": 5, "messages": true}')], asking="staff")
@example(
    answers=[(200, "", b'{"ok": true, "response_metadata": {"next_cursor": "more"}}')],
    asking="look",
)
@example(
    answers=[(200, "", b'{"ok": true, "response_metadata": "x", "messages": ["x"]}')], asking="look"
)
@example(
    answers=[(200, "", b'{"_embedded": {"mailings": []}, "page_count": Infinity}')], asking="find"
)
@example(
    answers=[(200, "", b'{"data": [{"id": "a1", "createdAt": "0001-01-01T00:00:00-14:00"}]}')],
    asking="poll",
)
@given(
    answers=st.lists(st.tuples(STATUS, WAITS, BODIES), min_size=1, max_size=3),
    asking=st.sampled_from(ASKED),
)
def test_any_answer_is_understood_or_undelivered(
    vendors: tuple[asyncio.Runner, Vendors], answers: list[tuple[int, str, bytes]], asking: str
) -> None:
    result = told(vendors, answers, asking)
    if isinstance(result, Undelivered):
        assert result.retry_after is None or 0 <= result.retry_after <= 3600
    elif isinstance(result, AlertsSeen):
        assert all(alert.created_at - AT < timedelta(days=3650) for alert in result.open)
        assert (
            "a1" not in result.ended
            or b"closed" in answers[-1][2]
            or 404 in [status for status, _, _ in answers]
        )
    elif asking == "send":
        assert b'"id"' in answers[0][2]


@settings(max_examples=4 * LONG, suppress_health_check=[*HealthCheck])
@given(
    answers=st.lists(
        st.tuples(STATUS, st.sampled_from(["", "0", "5", "soon"]), BODIES | ALERTS | ALERTS),
        min_size=30,
    )
)
def test_no_answer_ends_a_loop_or_changes_anything_without_cause(
    answers: list[tuple[int, str, bytes]],
) -> None:
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=lambda: Hurried(60)) as runner:
        state, restarts, failures = runner.run(two_minutes_of(answers, Path(folder)))
    assert (restarts, failures) == ({}, [])
    named = {
        found["id"] for status, _, body in answers for found in alerts_in(body) if status == 200
    }
    assert state.alerts.keys() <= named
    for incident in state.incidents.values():
        assert incident.status in (Status.SUSPECTED, Status.DISMISSED), (
            "nobody has confirmed anything"
        )
        assert [alert for alert in state.alerts.values() if alert.incident == incident.number]
    assert not state.mails


def alerts_in(body: bytes) -> list[dict[str, Any]]:
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        return [alert for alert in json.loads(body)["data"] if isinstance(alert["id"], str)]
    return []


async def two_minutes_of(
    answers: list[tuple[int, str, bytes]], folder: Path
) -> tuple[State, dict[str, int], list[str]]:
    """What monostat makes of vendors that answer so, one after the other: its state, and all that has failed."""
    given, failures = cycle(answers), list[str]()

    async def answer(_request: web.Request) -> web.Response:
        status, wait, body = next(given)
        return web.Response(status=status, headers={"Retry-After": wait}, body=body)

    class Failures(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failures.extend([record.getMessage()] if record.exc_info else [])

    loop, app, world = asyncio.get_running_loop(), web.Application(), World(folder)
    assert isinstance(loop, Hurried)
    app.router.add_route("*", "/{path:.*}", answer)
    handler = Failures()
    logging.getLogger().addHandler(handler)
    await world.open()
    async with serve(app) as url:
        for vendor, path in {"opsgenie": "", "slack": "/api/", "rapidmail": "/v1"}.items():
            world.settings[vendor]["url"] = url + path
        await world.start(timing=Timing(), now=loop.now)
        seen = world.app[TELEMETRY]
        await asyncio.sleep(120)
        restarts = {loop.name: loop.restarts for loop in seen.watch.loops if loop.restarts}
        await world.stop()
    await world.close()
    logging.getLogger().removeHandler(handler)
    return seen.engine.state, restarts, failures
