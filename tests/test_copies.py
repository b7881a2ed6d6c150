"""Copies of the database, and upgrades of it: consistent, marked, and never half of one."""

import asyncio
import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monostat.core.events import Act, MailClaimed
from monostat.core.model import Incident, Mail
from monostat.core.posted import Posted
from monostat.database import SCHEMA, Unusable, copy
from monostat.store import open_store
from tests.boards import board_on
from tests.daemon import daemon
from tests.waiting import eventually
from tests.world import World

START = datetime(2026, 11, 24, 10, tzinfo=UTC)


def command(folder: Path, *words: str) -> tuple[int, str]:
    asked = (sys.executable, "-m", "monostat", *words)
    here = os.environ | {"MONOSTAT_DATABASE__PATH": "monostat.db"}
    if (folder / "config.toml").exists():
        here = dict(os.environ)
    ended = subprocess.run(
        asked, cwd=folder, env=here, capture_output=True, text=True, timeout=50, check=False
    )
    return ended.returncode, (ended.stdout + ended.stderr).strip()


def rows(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT kind, key, body FROM facts UNION SELECT 'log', id, body FROM log ORDER BY 1, 2"
        ).fetchall()


async def written(path: Path) -> None:
    async with open_store(path, now=START, has_slack=True) as store:
        board = await board_on(store)
        for number in range(20):
            await board.submit(Act(at=START, verb="create", by="Ada", title=f"Slow {number}"))


async def test_a_copy_made_while_the_daemon_writes_is_sound_and_holds_only_whole_changes(
    world: World,
) -> None:
    target = world.folder / "copy.db"
    async with daemon(world):
        acting = asyncio.create_task(many(world, 40))
        for _ in range(20):
            await asyncio.to_thread(copy, world.folder / "monostat.db", target)
            with closing(sqlite3.connect(target)) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                ((made, epoch),) = db.execute(
                    "SELECT json_extract(body, '$.incidents_made'), json_extract(body, '$.copied')"
                    " FROM facts WHERE kind = 'Memory'"
                )
                ((held, mails),) = db.execute(
                    "SELECT sum(kind = 'Incident'), sum(kind = 'Mail') FROM facts"
                )
                entries = [id_ for (id_,) in db.execute("SELECT id FROM log ORDER BY id")]
            assert ((held or 0), (mails or 0), epoch) == (made, made, 1)
            assert entries == list(range(1, len(entries) + 1))
        await acting
        code, said = await asyncio.to_thread(command, world.folder, "backup", "copy.db")
        assert (code, said) == (0, f"copy.db: a copy of {world.folder}/monostat.db")
    assert not [*world.folder.glob("copy.db?*")]
    assert target.stat().st_mode & 0o777 == 0o600


async def many(world: World, count: int) -> None:
    for number in range(count):
        await world.act("create", title=f"Slow {number}")


def test_nothing_to_copy_exits_69_and_creates_nothing(tmp_path: Path) -> None:
    code, said = command(tmp_path, "backup", "copy.db")
    assert (code, [*tmp_path.iterdir()]) == (69, [])
    assert (
        said
        == "monostat: monostat.db: there is no database to copy: see database.path of the settings"
    )
    (tmp_path / "monostat.db").touch()
    assert command(tmp_path, "backup", "copy.db")[0] == 69
    assert [file.name for file in tmp_path.iterdir()] == ["monostat.db"]


def test_a_copy_goes_into_a_folder_but_never_over_the_database_nor_to_nowhere(
    tmp_path: Path,
) -> None:
    asyncio.run(written(tmp_path / "monostat.db"))
    before = rows(tmp_path / "monostat.db")
    (tmp_path / "kept").mkdir()
    assert command(tmp_path, "backup", "kept") == (0, "kept/monostat.db: a copy of monostat.db")
    assert len(rows(tmp_path / "kept" / "monostat.db")) == len(before)
    code, said = command(tmp_path, "backup", "monostat.db")
    assert (code, "this is the database itself" in said) == (64, True)
    code, said = command(tmp_path, "backup", "nowhere/copy.db")
    assert (code, "the folder must exist and be writable" in said) == (77, True)
    assert rows(tmp_path / "monostat.db") == before


def killed(path: Path) -> None:
    """A daemon's last change is in the log beside the file when it is killed."""
    script = f"""
import asyncio, os
from pathlib import Path
from tests.boards import START, board_on
from monostat.store import open_store
from monostat.core.events import Act

async def live():
    async with open_store(Path({str(path)!r}), now=START, has_slack=True) as store:
        board = await board_on(store)
        await board.submit(Act(at=START, verb="create", by="Ada", title="The last change"))
        os._exit(9)

asyncio.run(live())
"""
    root = Path(__file__).parent.parent
    ended = subprocess.run(
        (sys.executable, "-c", script), cwd=root, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 9, ended.stderr
    assert Path(f"{path}-wal").stat().st_size > 0


def titles(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute(
            "SELECT json_extract(body, '$.title') FROM facts WHERE kind = 'Incident' ORDER BY key"
        )
        return [title for (title,) in found]


async def opened(path: Path) -> int:
    """How many incidents a start finds there."""
    async with open_store(path, now=START, has_slack=True) as store:
        return len(await store.find(Incident))


def test_the_log_that_kill_9_left_beside_its_own_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "monostat.db"
    asyncio.run(written(path))
    killed(path)
    assert asyncio.run(opened(path)) == 21


@pytest.mark.parametrize("renamed", [False, True], ids=["in its place", "through a symlink"])
def test_a_restored_copy_beside_a_left_over_log_is_refused_with_the_remedy_and_left_as_it_was(
    tmp_path: Path, renamed: bool
) -> None:
    path, target = tmp_path / "monostat.db", tmp_path / "copy.db"
    asyncio.run(written(path))
    copy(path, target)
    before = titles(target)
    killed(path)
    shutil.copy(target, path)
    name = tmp_path / "link.db" if renamed else path
    if renamed:
        name.symlink_to(path)
    with pytest.raises(Unusable, match="would undo the copy that was restored") as refused:
        asyncio.run(opened(name))
    assert refused.value.exit_code == 65
    assert f"{path}-wal" in str(refused.value)
    assert path.read_bytes() == target.read_bytes()
    (tmp_path / "config.toml").write_text(f'[database]\npath = "{name}"\n')
    code, said = command(tmp_path, "backup", "second.db")
    assert (code, "would undo the copy" in said, (tmp_path / "second.db").exists()) == (
        65,
        True,
        False,
    )
    for left in ("-wal", "-shm"):
        Path(f"{path}{left}").unlink()
    assert asyncio.run(opened(name)) == 20
    assert titles(path) == before


def test_a_restored_copy_beside_a_left_over_journal_is_refused_and_left_as_it_was(
    tmp_path: Path,
) -> None:
    path, target, journal = (
        tmp_path / "monostat.db",
        tmp_path / "copy.db",
        tmp_path / "monostat.db-journal",
    )
    asyncio.run(written(path))
    copy(path, target)
    with closing(
        sqlite3.connect(path, isolation_level=None)
    ) as db:  # as an editor that was killed leaves it
        db.execute("PRAGMA journal_mode = DELETE")
        db.executescript(
            "PRAGMA cache_size = 1; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; DELETE FROM facts;"
        )
        left = journal.read_bytes()
    journal.write_bytes(left)
    shutil.copy(target, path)
    with pytest.raises(Unusable, match=r"monostat\.db-journal: .* would undo the copy") as refused:
        asyncio.run(opened(path))
    assert refused.value.exit_code == 65
    assert path.read_bytes() == target.read_bytes()
    journal.unlink()
    assert asyncio.run(opened(path)) == 20


def test_an_empty_log_or_a_bare_index_beside_a_copy_is_no_reason_to_refuse_it(
    tmp_path: Path,
) -> None:
    path, target = tmp_path / "monostat.db", tmp_path / "copy.db"
    asyncio.run(written(path))
    copy(path, target)
    killed(path)
    shutil.copy(target, path)
    Path(f"{path}-wal").write_bytes(b"")
    Path(f"{path}-journal").write_bytes(b"")
    assert Path(f"{path}-shm").stat().st_size > 0
    assert asyncio.run(opened(path)) == 20


def plant(kind: str, place: Path, victim: Path) -> None:
    """What an enemy puts where a copy is about to be made."""
    if kind == "a symlink":
        place.symlink_to(victim)
    elif kind == "a hard link":
        place.hardlink_to(victim)
    elif kind == "a pipe":
        os.mkfifo(place)
    elif kind == "a file for all":
        place.touch()
        place.chmod(0o666)
    else:
        place.mkdir()


@pytest.mark.parametrize(
    "kind", ["a symlink", "a hard link", "a pipe", "a file for all", "a folder"]
)
def test_nothing_that_was_planted_beside_a_copy_is_followed_or_kept_from(
    tmp_path: Path, kind: str
) -> None:
    path, place, victim = tmp_path / "monostat.db", tmp_path / "copies", tmp_path / "victim"
    asyncio.run(written(path))
    place.mkdir()
    victim.write_text("precious")
    for end in (".part", ".part-journal", ".part-wal", ".part-shm"):
        plant(kind, place / f"copy.db{end}", victim)
    before = sorted(place.iterdir())
    assert command(tmp_path, "backup", "copies/copy.db")[0] == 0
    assert titles(place / "copy.db") == titles(path)
    assert victim.read_text() == "precious"
    assert sorted(place.iterdir()) == sorted([*before, place / "copy.db"])
    made = (place / "copy.db").lstat()
    assert stat.S_ISREG(made.st_mode)
    assert (stat.S_IMODE(made.st_mode), made.st_nlink) == (0o600, 1)


@pytest.mark.parametrize("kind", ["a symlink", "a hard link", "a file for all"])
def test_what_lies_at_the_name_of_a_copy_is_replaced_and_not_written_into(
    tmp_path: Path, kind: str
) -> None:
    path, target, victim = tmp_path / "monostat.db", tmp_path / "copy.db", tmp_path / "victim"
    asyncio.run(written(path))
    victim.write_text("precious")
    plant(kind, target, victim)
    assert command(tmp_path, "backup", "copy.db")[0] == 0
    assert victim.read_text() == "precious"
    assert stat.S_IMODE(target.lstat().st_mode) == 0o600
    assert titles(target) == titles(path)


def test_a_copy_replaces_no_pipe_no_socket_and_nothing_that_belongs_to_the_database(
    tmp_path: Path,
) -> None:
    asyncio.run(written(tmp_path / "monostat.db"))
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "socket", "link"):
        code, said = command(tmp_path, "backup", name)
        assert (code, "this is not a file: name one" in said) == (64, True), said
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    for end in ("-wal", "-shm", "-journal", ".lock"):
        code, said = command(tmp_path, "backup", f"monostat.db{end}")
        assert (code, "belongs to the database itself" in said) == (64, True), said
    assert asyncio.run(opened(tmp_path / "monostat.db")) == 20


async def test_the_first_start_on_a_copy_draws_a_new_epoch_and_doubts_all_that_was_to_be_told(
    tmp_path: Path,
) -> None:
    path, target = tmp_path / "monostat.db", tmp_path / "copy.db"
    async with open_store(path, now=START, has_slack=True) as store:
        board = await board_on(store)
        await board.submit(Act(at=START, verb="create", by="Ada", title="Slow"))
        (mail,) = board.state.mails.values()
        later = mail.not_before + timedelta(seconds=1)
        await board.submit(MailClaimed(at=later, key=mail.key, letter="[]"))
        old = board.state.epoch
        await store.put(Posted(key=f"{old}:incident:1", claimed_at=START, ts="1.2", digest="d"))
        await asyncio.to_thread(copy, path, target)
    async with open_store(target, now=START, has_slack=True) as store:
        state, _ = await store.load(now=later)
        posts = {posted.key: posted for posted in await store.find(Posted)}
        lines = [entry.id for entry in await store.untold()]
    new = state.epoch
    assert new != old
    assert [m.ambiguous for m in state.mails.values()] == [True]
    assert posts.pop(f"{new}:incident:1") == Posted(
        key=f"{new}:incident:1", claimed_at=START, ts="1.2", sought=f"{old}:incident:1"
    )
    assert {(p.key, p.sought) for p in posts.values()} == {
        (f"{new}:line:{n}", f"{old}:line:{n}") for n in lines
    }
    assert all(p.claimed_at for p in posts.values())
    async with open_store(target, now=START, has_slack=True) as store:
        assert (await store.load(now=START))[0].epoch == new
    async with open_store(path, now=START, has_slack=True) as store:
        assert (await store.load(now=START))[0].epoch == old


async def test_what_the_original_told_after_it_was_copied_is_not_told_again(world: World) -> None:
    """The copy was made before the mail left and before Slack heard of anything; the original told both."""
    copied = world.folder / "copy.db"
    world.settings["rapidmail"]["undo_window"] = 1.0
    world.slack.faults.hang("/chat.")
    async with daemon(world):
        await world.act("create", title="Slow")
        await asyncio.to_thread(copy, world.folder / "monostat.db", copied)
        world.slack.faults.release()
        await eventually(lambda: any("mailed" in line for line in world.thread()))
    before = [(message.ts, message.thread_ts) for message in world.slack.messages]
    world.settings["database"]["path"] = copied
    async with daemon(world):
        await world.act("watch", incident=1)
        await eventually(lambda: len(world.rapidmail.mailings) == 2, within=30)
        await eventually(lambda: "Fix in place" in world.slack.timeline()[0].text)
        await eventually(lambda: any("fix in place" in line for line in world.thread()))
    assert [m.title.split(":", 1)[1].rsplit(":", 1)[0] for m in world.rapidmail.mailings] == [
        "mail:1:confirmed",
        "mail:1:watching",
    ]
    assert [(m.ts, m.thread_ts) for m in world.slack.messages][: len(before)] == before
    assert len(world.slack.timeline()) == 1
    assert sum("opened this" in line for line in world.thread()) == 1


async def test_an_upgrade_keeps_every_row_and_leaves_a_copy_of_what_was_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "monostat.db"
    await written(path)
    before = rows(path)
    schema = (
        *SCHEMA,
        "CREATE TABLE more (key INTEGER PRIMARY KEY);",
        "CREATE INDEX kinds ON facts (kind);",
    )
    steps = list[bool]()
    kept = path.with_name(f"monostat.db.schema-{len(SCHEMA)}")

    def lasts() -> None:
        steps.append(kept.exists())

    async with open_store(
        path, now=START, has_slack=True, schema=schema, before_long_step=lasts
    ) as store:
        assert len(await store.find(Incident)) == 20
        assert steps == [False, False, True, True], "the check, the copy, and each script"
        assert len(await store.find(Mail)) == 20
    assert rows(path) == before
    assert [body for kind, _, body in rows(kept) if kind != "Memory"] == [
        b for kind, _, b in before if kind != "Memory"
    ]
    newer = rf"written by a newer monostat \(schema {len(schema)}\)"
    with pytest.raises(Unusable, match=newer) as refused:
        async with open_store(path, now=START, has_slack=True):
            pass
    assert refused.value.exit_code == 78
    assert rows(path) == before


async def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "monostat.db"
    await written(path)
    before = rows(path)
    with pytest.raises(sqlite3.OperationalError):
        async with open_store(
            path,
            now=START,
            has_slack=True,
            schema=(*SCHEMA, "DELETE FROM facts; DELETE FROM nowhere;"),
        ):
            pass
    assert rows(path) == before
    async with open_store(path, now=START, has_slack=True) as store:
        assert len(await store.find(Incident)) == 20


async def test_a_row_of_an_older_version_without_the_newer_fields_is_read(tmp_path: Path) -> None:
    """Facts are documents: what an older version wrote lacks fields, which then have their defaults."""
    path = tmp_path / "monostat.db"
    await written(path)
    newer = {
        "Incident": ("summary", "silent", "sequence", "undo", "alerted_at", "touched", "ask"),
        "Mail": ("told", "error"),
    }
    with closing(sqlite3.connect(path)) as db, db:
        for kind, fields in newer.items():
            for key, body in db.execute(
                "SELECT key, body FROM facts WHERE kind = ?", (kind,)
            ).fetchall():
                older = {
                    name: value for name, value in json.loads(body).items() if name not in fields
                }
                db.execute(
                    "UPDATE facts SET body = ? WHERE kind = ? AND key = ?",
                    (json.dumps(older), kind, key),
                )
    async with open_store(path, now=START, has_slack=True) as store:
        board = await board_on(store)
        assert replace(board.state.incidents[7], undo=()).title == "Slow 6"
        assert (await board.submit(Act(at=START, verb="watch", by="Ada", incident=7))).refused == ""
