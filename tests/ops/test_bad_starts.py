"""Bad places for a database: what is wrong and what to do in a sentence, an exit code, and a file left as it was."""

import asyncio
import fcntl
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monostat.core.events import Act
from monostat.database import Unusable
from monostat.store import open_store
from tests.boards import board_on
from tests.daemon import daemon, free_port, toml
from tests.waiting import eventually
from tests.world import World

START = datetime(2026, 11, 24, 10, tzinfo=UTC)


def filled(path: Path) -> bytes:
    """A database with a hundred pages of real rows; its bytes."""
    asyncio.run(fill(path))
    return path.read_bytes()


async def fill(path: Path) -> None:
    async with open_store(path, now=START, has_slack=True) as store:
        board = await board_on(store)
        for number in range(60):
            await board.submit(
                Act(
                    at=START,
                    verb="create",
                    by="Ada",
                    title=f"Slow {number}",
                    text="We look. " * 400,
                )
            )


def start(folder: Path, *before: str, database: str = "monostat.db") -> tuple[int, str]:
    """Exit code and last words of a daemon that cannot start there; `before` is what runs it."""
    settings: dict[str, dict[str, Any]] = {
        "site": {"name": "Example", "url": "http://127.0.0.1"},
        "server": {
            "listen": [f"127.0.0.1:{free_port()}"],
            "control_socket": str(folder / "monostat.sock"),
        },
        "database": {"path": str(folder / database)},
    }
    file = folder.parent / "config.toml"
    file.write_text(toml(settings))
    command = (*before, sys.executable, "-m", "monostat", "serve", "--config", str(file))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stderr.strip().splitlines()[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


#: Root may write everywhere; without these two it is a user like others.
AS_USER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


def test_a_folder_that_may_not_be_written_ends_the_start_with_77(folder: Path) -> None:
    folder.chmod(0o555)
    code, said = start(folder, *AS_USER)
    folder.chmod(0o755)
    assert (code, [*folder.iterdir()]) == (77, [])
    assert (
        said
        == f"monostat: {folder}/monostat.db: Permission denied: the folder must exist and be writable, "
        + ("and the file too, for this user")
    )


def test_a_file_that_may_not_be_written_ends_the_start_with_77_and_is_left_as_it_was(
    folder: Path,
) -> None:
    before = filled(folder / "monostat.db")
    (folder / "monostat.db").chmod(0o444)
    code, said = start(folder, *AS_USER)
    assert (code, (folder / "monostat.db").read_bytes() == before) == (77, True)
    assert "the folder must exist and be writable, and the file too, for this user" in said


def test_a_folder_in_place_of_the_file_ends_the_start_with_77(folder: Path) -> None:
    (folder / "monostat.db").mkdir()
    code, said = start(folder)
    assert (code, "must exist and be writable" in said) == (77, True)


def test_a_full_disk_ends_the_start_with_75_and_leaves_no_half_database(folder: Path) -> None:
    code, said = start(folder, "prlimit", "--fsize=0")
    assert (code, "free some disk space" in said) == (75, True)
    code, said = start(folder, "prlimit", "--fsize=6000")
    assert (code, "free some disk space" in said) == (75, True)


@pytest.mark.parametrize("where", [100, 5000, 150_000])
def test_a_damaged_file_ends_the_start_with_65_and_is_left_as_it_was(
    folder: Path, where: int
) -> None:
    path = folder / "monostat.db"
    damaged = bytearray(filled(path))
    assert len(damaged) > 160_000
    damaged[where : where + 3000] = b"\xa5" * 3000
    path.write_bytes(damaged)
    code, said = start(folder)
    assert (code, path.read_bytes() == damaged) == (65, True)
    assert "the file is not a sound SQLite database: restore a backup" in said


def test_half_a_file_ends_the_start_with_65(folder: Path) -> None:
    path = folder / "monostat.db"
    path.write_bytes((filled(path))[:100_000])
    code, said = start(folder)
    assert (code, "restore a backup" in said) == (65, True)


def test_a_file_that_another_program_holds_ends_the_start_with_75(folder: Path) -> None:
    path = folder / "monostat.db"
    before = filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        code, said = start(folder)
        other.execute("ROLLBACK")
    assert (code, path.read_bytes() == before) == (75, True)
    assert "another program holds the database: end that program" in said


async def test_a_stray_program_that_holds_the_database_is_told_from_a_full_disk_also_after_a_restart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for section in ("opsgenie", "slack", "rapidmail"):
        del world.settings[section]
    await world.start()
    await world.act("create", title="Slow")
    await world.stop()

    async def says(words: str) -> bool:
        async with world.http.get(f"{world.url}/healthz") as answer:
            return words in await answer.text()

    with closing(sqlite3.connect(world.folder / "monostat.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await world.start()
        assert "Slow" in await world.page(), "readers are served all the same"
        held = "nothing can be saved (database is locked): another program holds the database"
        await eventually(lambda: says(held))
        with pytest.raises(AssertionError, match="Nothing was changed: nothing can be saved"):
            await world.act("resolve", incident=1)
        other.execute("ROLLBACK")
    await world.act("resolve", incident=1)
    assert await says("database: answers")
    assert "Traceback" not in caplog.text


def another_path(way: str, there: Path) -> Path:
    """A second path to the same file."""
    other = there.parent / "elsewhere" / "other.db"
    other.parent.mkdir()
    if way == "a hard link":
        other.hardlink_to(there)
    elif way == "a link to a link":
        (other.parent / "between.db").symlink_to(there)
        other.symlink_to("between.db")
    else:
        other.symlink_to(os.path.relpath(there, other.parent))
    return other


@pytest.mark.parametrize("way", ["a symlink", "a link to a link", "a hard link"])
async def test_a_second_daemon_on_the_same_file_by_another_path_is_refused(
    tmp_path: Path, way: str
) -> None:
    path = tmp_path / "monostat.db"
    async with open_store(path, now=START, has_slack=True) as store:
        other = another_path(way, path)
        code, said = await asyncio.to_thread(start, other.parent, database=other.name)
        assert (code, "another monostat is running on this database" in said) == (75, True)
        await (await board_on(store)).submit(Act(at=START, verb="create", by="Ada", title="Slow"))


async def test_a_daemon_keeps_off_the_version_before_and_the_version_before_keeps_it_off(
    tmp_path: Path,
) -> None:
    """That one locks a file beside the database, and only that."""
    path = tmp_path / "monostat.db"
    with (tmp_path / "monostat.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(Unusable, match="another monostat is running on this database"):
            async with open_store(path, now=START, has_slack=True):
                pass
        fcntl.flock(lock, fcntl.LOCK_UN)
        async with open_store(path, now=START, has_slack=True):
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    async with open_store(path, now=START, has_slack=True):
        pass


def test_a_planted_link_in_place_of_the_lock_is_not_followed(folder: Path) -> None:
    planted = folder.parent / "planted"
    (folder / "monostat.db.lock").symlink_to(planted)
    code, said = start(folder)
    assert (code, planted.exists()) == (77, False)
    advice = "this is a symbolic link, which is not followed: remove it, and start again"
    assert said == f"monostat: {folder}/monostat.db.lock: {advice}"


@pytest.mark.parametrize("linked", [False, True], ids=["a file", "a link to a file"])
def test_what_lies_in_place_of_the_control_socket_and_is_none_is_kept(
    folder: Path, linked: bool
) -> None:
    place, victim = folder / "monostat.sock", folder / "precious"
    victim.write_text("precious")
    if linked:
        place.symlink_to(victim)
    else:
        place.write_text("precious")
    code, said = start(folder)
    assert (code, "server.control_socket" in said) == (69, True)
    assert (place.read_text(), victim.read_text()) == ("precious", "precious")


async def test_a_disk_that_fills_up_leaves_the_page_as_it_is_and_says_so(world: World) -> None:
    async with daemon(world) as process:
        world.opsgenie.fire("disk full")
        await world.becomes("suspected")
        await world.tap("verb:confirm:outage")
        before = await world.becomes("confirmed")
        await eventually(lambda: any("mailed" in line for line in world.thread()))

        async def says(words: str) -> bool:
            async with world.http.get(f"{world.url}/readyz") as answer:
                return answer.status == 200 and words in await answer.text()

        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, most))
        await world.tap("verb:watch")
        await eventually(
            lambda: says("database: nothing can be saved (disk I/O error): free some disk space")
        )
        await eventually(
            lambda: any("The status page stays as it is" in m.text for m in world.slack.timeline())
        )
        assert any("could not be saved" in told.text for told in world.slack.ephemerals)
        assert await world.incident() == before
        assert "Example is down" in await world.page()

        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        await world.act("watch", incident=1)
        await world.becomes("watching")
        await eventually(lambda: says("ok\n"))
        await eventually(
            lambda: any("saved and shown again" in m.text for m in world.slack.timeline()),
            within=30,
        )
        await eventually(lambda: len(world.rapidmail.mailings) == 2)
        assert not await says("database")
