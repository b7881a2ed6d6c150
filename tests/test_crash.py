"""The real process, killed at the worst moment, and told to stop."""

import asyncio
import signal
from pathlib import Path

from aiohttp import WSMsgType

from tests.daemon import daemon, free_port, run, toml
from tests.waiting import eventually
from tests.world import World


async def test_a_mailing_accepted_just_before_kill_9_is_not_sent_again(world: World) -> None:
    world.rapidmail.faults.accept_then_hang(path="/mailings")
    async with daemon(world) as process:
        world.opsgenie.fire("disk full")
        await world.becomes("suspected")
        await world.tap("verb:confirm:outage")
        await eventually(lambda: world.rapidmail.mailings)
        process.kill()
        await process.wait()
    world.rapidmail.faults.release()
    async with daemon(world):
        await eventually(lambda: any("mailed" in line for line in world.thread()))
        assert len(world.rapidmail.mailings) == 1
        assert len(world.slack.timeline()) == 1


async def test_a_message_found_after_kill_9_shows_what_happened_since_it_was_posted(
    world: World,
) -> None:
    del world.settings["rapidmail"]
    world.slack.faults.accept_then_hang(path="/chat.postMessage")
    async with daemon(world) as process:
        world.opsgenie.fire("disk full")
        await world.becomes("suspected")
        await eventually(world.slack.timeline)
        await world.act("confirm", incident=1)
        process.kill()
        await process.wait()
    world.slack.faults.release()
    async with daemon(world):
        await eventually(lambda: "Confirmed · Outage" in world.slack.timeline()[0].text)
        assert len(world.slack.timeline()) == 1


async def test_a_confirmation_survives_kill_9_with_its_mail(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 1.5
    async with daemon(world) as process:
        world.opsgenie.fire("disk full")
        await world.becomes("suspected")
        await world.tap("verb:confirm:outage")
        before = await world.becomes("confirmed")
        process.kill()
        await process.wait()
    assert world.rapidmail.mailings == []
    async with daemon(world):
        assert await world.incident() == before
        await eventually(lambda: len(world.rapidmail.mailings) == 1)


async def test_sigterm_with_a_hundred_viewers_ends_soon_with_0_and_tells_them(world: World) -> None:
    async with daemon(world) as process:
        sockets = [
            await world.http.ws_connect(f"{world.url}/feed/v1", autoclose=False) for _ in range(100)
        ]
        for ws in sockets:
            await ws.receive_json(timeout=30)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            for ws in sockets:
                while (told := await ws.receive()).type is WSMsgType.TEXT:
                    pass
                assert (told.type, told.data) == (WSMsgType.CLOSE, 1001)
            assert await process.wait() == 0
    for ws in sockets:
        await ws.close()


async def test_a_wrong_configuration_stops_the_start_with_a_line_per_problem(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[site]\nname = "X"\nurl = "https://x.example"\ncolour = "red"\n[opsgenie]\npoll_interval = "often"\n'
    )
    code, err = await run(tmp_path, "serve")
    assert code == 78
    lines = err.strip().splitlines()
    assert {line.split(": ")[1] for line in lines} == {
        "site.colour",
        "opsgenie.poll_interval",
        "opsgenie.api_key",
    }
    assert all(line.startswith("config.toml: ") for line in lines)
    assert "Traceback" not in err
    assert (await run(tmp_path, "check"))[0] == 78
    assert (await run(tmp_path, "fly"))[0] == 64


async def test_a_second_instance_on_the_same_database_is_refused(world: World) -> None:
    async with daemon(world):
        world.settings["server"] = {"listen": [f"127.0.0.1:{free_port()}"]}
        (world.folder / "second.toml").write_text(toml(world.settings))
        code, err = await run(world.folder, "serve", "--config", "second.toml")
    assert (code, "another monostat is running" in err) == (75, True)


async def test_a_database_of_a_newer_version_and_one_that_is_no_database_are_left_alone(
    world: World,
) -> None:
    import sqlite3

    path = world.folder / "monostat.db"
    file = world.folder / "config.toml"
    file.write_text(toml(world.settings | {"server": {"listen": [f"127.0.0.1:{free_port()}"]}}))
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    untouched = path.read_bytes()
    code, err = await run(world.folder, "serve")
    assert (code, "newer monostat" in err, path.read_bytes()) == (78, True, untouched)
    path.write_bytes(b"this is a letter to my aunt, not a database" * 50)
    untouched = path.read_bytes()
    code, err = await run(world.folder, "serve")
    assert (code, "Traceback" in err, path.read_bytes()) == (65, False, untouched)
