"""What is saved is shown: whatever fails after the commit fails alone, and is tried again until all have the change."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError

import monostat
from monostat import RESOURCES
from monostat.core.events import Act
from monostat.core.model import Severity
from monostat.ops.metrics import TELEMETRY
from tests.daemon import daemon, free_port
from tests.ops.scrape import scraped, value
from tests.slack.texts import NO_INSTANTS
from tests.waiting import eventually
from tests.world import World


async def health(world: World) -> tuple[int, str]:
    async with world.http.get(f"{world.url}/healthz") as answer:
        return answer.status, await answer.text()


async def becomes_well(world: World) -> None:
    async def well() -> bool:
        try:
            return (await health(world))[0] == 200
        except (ClientError, OSError):
            return False

    await eventually(well)


@contextlib.contextmanager
def connections(world: World, many: int) -> Iterator[None]:
    """So many that are open and ask nothing."""
    host, _, port = world.url.removeprefix("http://").partition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(many):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect((host, int(port)))
        yield


@pytest.mark.parametrize("happens", ["an alert opens", "an alert closes", "somebody acts"])
async def test_what_happens_while_the_table_of_files_is_full_is_shown_and_told_afterwards(
    world: World, happens: str
) -> None:
    alert = world.opsgenie.fire("disk full") if happens != "an alert opens" else ""
    async with daemon(world, within=("prlimit", "--nofile=400:400")) as process:
        full = Path(f"/proc/{process.pid}/fd")
        await eventually(lambda: world.slack.connections)
        if alert:
            await world.message("verb:confirm:outage")
        with connections(world, 500):
            await eventually(lambda: len(os.listdir(full)) >= 395)
            match happens:
                case "an alert opens":
                    world.opsgenie.fire("disk full")
                case "an alert closes":
                    world.opsgenie.close(alert)
                case _:
                    await world.slack.press("U_ADA", world.slack.timeline()[-1].ts, "verb:dismiss")
            # Polls and taps that come over connections made before are heard all the while.
            await eventually(
                lambda: (
                    saved(world) == ("suspected" if happens == "an alert opens" else "dismissed")
                )
            )
        await becomes_well(world)
        if happens == "an alert opens":
            await eventually(lambda: may_be_having_problems(world))
            await eventually(world.slack.timeline, within=40)
        else:
            await eventually(lambda: is_working(world))
            await eventually(
                lambda: "verb:was_real" in str(world.slack.timeline()[-1].blocks), within=40
            )


def incidents(world: World) -> list[dict[str, Any]]:
    """What the file holds, the newest first."""
    with contextlib.closing(
        sqlite3.connect(f"file:{world.folder / 'monostat.db'}?mode=ro", uri=True)
    ) as file:
        rows = file.execute(
            "SELECT body FROM facts WHERE kind = 'Incident' ORDER BY key DESC"
        ).fetchall()
    return [json.loads(body) for (body,) in rows]


def saved(world: World) -> str:
    """The status of the newest incident in the file."""
    return next((str(incident["status"]) for incident in incidents(world)), "")


async def may_be_having_problems(world: World) -> bool:
    return "may be having problems" in await world.page()


async def is_working(world: World) -> bool:
    return "is up and running" in await world.page()


def unpack(folder: Path) -> dict[str, str]:
    """A copy of the program that an upgrade may replace; the environment in which it runs."""
    for name, source in {
        "monostat": Path(monostat.__file__).parent,
        "templates": RESOURCES / "templates",
        "static": RESOURCES / "static",
    }.items():
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("folder", ["templates", "static", "monostat"])
async def test_files_that_an_upgrade_takes_away_are_not_missed(
    world: World, tmp_path: Path, folder: str
) -> None:
    environ = unpack(tmp_path / "program")
    async with daemon(world, environ=environ):
        style = (await world.page()).partition('rel="stylesheet" href="')[2].partition('"')[0]
        (tmp_path / "program" / folder).rename(tmp_path / "program" / "gone")
        world.opsgenie.fire("disk full")
        await eventually(lambda: may_be_having_problems(world))
        await world.tap("verb:confirm:outage")
        await eventually(lambda: world.rapidmail.mailings)
        for path in (
            "/history",
            "/incidents/1",
            "/subscribe",
            "/nothing",
            "/history.atom",
            "/badge.svg",
            style,
        ):
            async with world.http.get(world.url + path) as answer:
                assert answer.status == (404 if path == "/nothing" else 200), path
        assert (await health(world))[0] == 200


async def test_files_that_an_upgrade_replaces_are_not_read(world: World, tmp_path: Path) -> None:
    environ = unpack(tmp_path / "program")
    async with daemon(world, environ=environ):
        for path in (tmp_path / "program" / "templates").iterdir():
            path.write_text("{{ no_template_of_ours.at_all }}")
        world.opsgenie.fire("disk full")
        await eventually(lambda: may_be_having_problems(world))
        await world.tap("verb:confirm:outage")
        assert "no_template_of_ours" not in await world.page("/incidents/1")


async def test_a_watcher_that_fails_does_so_alone_and_is_told_again_until_it_succeeds(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await world.start()
    await eventually(lambda: world.slack.connections)
    watchers = world.app[TELEMETRY].engine.watchers
    failing = True
    calls = 0

    def shows() -> None:
        nonlocal calls
        calls += 1
        if failing:
            raise RuntimeError("a bug")

    # In front of the page, so that all the others come after it.
    others = [(name, watchers._calls.pop(name)) for name in watchers.names]
    for name, call in [("screen", shows), *others]:
        watchers.add(name, call)
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:outage")
    await eventually(lambda: world.rapidmail.mailings)
    status, text = await health(world)
    assert (status, text.splitlines()[0]) == (503, "not ok")
    assert "screen: behind; retrying every second: a bug" in text
    assert value(await scraped(world), "monostat_change_not_taken", by="screen") == 1
    assert value(await scraped(world), "monostat_change_not_taken", by="page") == 0

    before = calls
    await eventually(lambda: calls >= before + 2)
    failing = False
    await becomes_well(world)
    assert value(await scraped(world), "monostat_change_not_taken", by="screen") == 0
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "screen has not taken a change, is told again every second: a bug"
    ]
    assert "screen has taken the newest change" in caplog.messages


async def test_while_the_page_cannot_be_rendered_metrics_and_heartbeats_name_the_version_that_is_shown(
    world: World, tmp_path: Path
) -> None:
    environ = unpack(tmp_path / "program")
    main = tmp_path / "program" / "templates" / "main.html"
    bug = '{% for incident in snapshot.open if incident.title == "Poison" %}{{ incident.title / 0 }}{% endfor %}'
    main.write_text(bug + main.read_text())
    listen = f"127.0.0.1:{free_port()}"
    async with daemon(world, environ=environ, metrics_listen=listen):
        before = await world.state()
        shown = before["version"]
        async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
            await ws.receive_json(timeout=30)
            await world.act("create", title="Poison")
            status, text = await health(world)
            assert status == 503
            assert "page: behind; retrying every second" in text
            async with world.http.get(f"http://{listen}/metrics") as answer:
                metrics = await answer.text()
            assert f"monostat_state_version {shown}\n" in metrics
            assert 'monostat_status{level="ok"} 1\n' in metrics
            assert 'monostat_change_not_taken{by="page"} 1\n' in metrics
            assert (await world.state())["version"] == shown
            await eventually(
                lambda: any(
                    "does not show the latest change" in m.text for m in world.slack.messages
                )
            )
            known = f"since={shown}&epoch={before['epoch']}"
            async with world.http.ws_connect(f"{world.url}/feed/v1?{known}") as back:
                heartbeat = await back.receive_json(timeout=30)
                assert (heartbeat["type"], heartbeat["version"]) == ("heartbeat", shown)
            await world.act("edit", incident=1, changes={"title": "Checkout is slow"})
            assert (await ws.receive_json(timeout=30))["open"][0]["title"] == "Checkout is slow"
        assert (await health(world))[0] == 200
        assert "Checkout is slow" in await world.page()
        await eventually(
            lambda: any("saved and shown again" in m.text for m in world.slack.messages)
        )


async def test_a_change_whose_maker_is_cancelled_while_it_is_saved_is_shown_if_it_was(
    world: World,
) -> None:
    await world.start()
    board = world.app[TELEMETRY].engine
    for turns in range(25):
        act = Act(
            at=board.now(), verb="create", by="Ada", title=f"Slow {turns}", severity=Severity.NOTICE
        )
        making = asyncio.create_task(board.submit(act))
        for _ in range(turns):
            await asyncio.sleep(0)
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        await eventually(lambda: not board._doubtful)
        shown = {incident["title"] for incident in (await world.state())["open"]}
        assert shown == {incident["title"] for incident in incidents(world)}, turns


async def test_a_page_that_cannot_be_rendered_at_the_start_ends_the_start_with_the_reason(
    world: World, tmp_path: Path
) -> None:
    environ = unpack(tmp_path / "program")
    (tmp_path / "program" / "templates" / "main.html").write_text("{{ 1 / 0 }}")
    with pytest.raises(AssertionError, match="70"):
        async with daemon(world, environ=environ):
            pass


@pytest.mark.parametrize("words", NO_INSTANTS[:3])
async def test_words_that_only_look_like_an_instant_hold_nothing_back_over_restarts(
    world: World, words: str
) -> None:
    world.settings["site"]["timezone"] = "America/New_York"
    for number in (1, 2):
        await world.start()
        assert await world.act("create", title=words) == number
        await world.act(
            "edit", incident=number, changes={"title": f"{words} again", "summary": words}
        )
        await world.act("update", incident=number, text=words, mail=True)
        await eventually(lambda: any("posted an update" in line for line in world.thread()))
        await eventually(lambda: world.rapidmail.mailings)
        world.rapidmail.mailings.clear()
        assert words in await world.page()
        await world.stop()
