"""The real process, killed at the worst moment, and told to stop."""

import asyncio
import json
import os
import signal
import socket
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType

from tests.conftest import World
from tests.waiting import eventually


def toml(settings: dict[str, dict[str, Any]]) -> str:
    lines = []
    for section, keys in settings.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value, default=str)}" for key, value in keys.items())]
    text = "\n".join(lines)
    assert tomllib.loads(text)
    return text


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@asynccontextmanager
async def daemon(
    world: World, *, within: Sequence[str] = (), environ: Mapping[str, str] | None = None, **server: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`monostat serve` with the world's settings, ready; killed at the end if it still runs.

    `within` is a command that runs it, such as prlimit; `environ` is added to the environment.
    """
    port = free_port()
    world.url = f"http://127.0.0.1:{port}"
    world.settings["server"] = {"listen": [f"127.0.0.1:{port}"], **server}
    file = world.folder / "config.toml"
    await asyncio.to_thread(file.write_text, toml(world.settings))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MONOSTAT_")} | dict(environ or {})
    process = await asyncio.create_subprocess_exec(
        *(*within, sys.executable, "-m", "monostat", "serve", "--config", str(file)), cwd=world.folder, env=clean
    )

    async def ready() -> bool:
        assert process.returncode is None, process.returncode
        try:
            async with world.http.get(f"{world.url}/readyz") as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        await eventually(ready, within=40)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
        await eventually(lambda: any("mailed" in line for line in world.thread()), within=20)
        assert len(world.rapidmail.mailings) == 1
        assert len(world.slack.timeline()) == 1


async def test_a_message_found_after_kill_9_shows_what_happened_since_it_was_posted(world: World) -> None:
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
        await eventually(lambda: "Confirmed · Outage" in world.slack.timeline()[0].text, within=20)
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
        await eventually(lambda: len(world.rapidmail.mailings) == 1, within=20)


async def test_sigterm_with_a_hundred_viewers_ends_soon_with_0_and_tells_them(world: World) -> None:
    async with daemon(world) as process:
        sockets = [await world.http.ws_connect(f"{world.url}/feed/v1") for _ in range(100)]
        for ws in sockets:
            await ws.receive_json(timeout=5)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(3):
            for ws in sockets:
                while (told := await ws.receive()).type is WSMsgType.TEXT:
                    pass
                assert (told.type, told.data) == (WSMsgType.CLOSE, 1001)
            assert await process.wait() == 0
    for ws in sockets:
        await ws.close()


async def run(folder: Path, *words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monostat", *words), cwd=folder, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    return process.returncode, err.decode()


async def test_a_wrong_configuration_stops_the_start_with_a_line_per_problem(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[site]\nname = "X"\nurl = "https://x.example"\ncolour = "red"\n[opsgenie]\npoll_interval = "often"\n'
    )
    code, err = await run(tmp_path, "serve")
    assert code == 78
    lines = err.strip().splitlines()
    assert {line.split(": ")[1] for line in lines} == {"site.colour", "opsgenie.poll_interval", "opsgenie.api_key"}
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


async def test_a_database_of_a_newer_version_and_one_that_is_no_database_are_left_alone(world: World) -> None:
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
