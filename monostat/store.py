"""The one SQLite file: state, what must be told, and the feed's version, always changed in one
transaction.

Facts are kept as JSON documents, so that a new field needs a default and no migration.
"""

import asyncio
import errno
import fcntl
import os
import re
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import quote

import aiosqlite
from pydantic import TypeAdapter
from pydantic_core import to_json

from monostat.core.model import (
    Alert,
    Birth,
    Change,
    Changed,
    Entry,
    Fact,
    Incident,
    Mail,
    Monitoring,
    State,
)
from monostat.core.posted import Posted
from monostat.core.text import UNSEEN, all_sound
from monostat.ops.supervise import Histogram

T = TypeVar("T")
SCHEMA = (
    """
    CREATE TABLE facts (kind TEXT, key, body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
    CREATE TABLE log (id INTEGER PRIMARY KEY, told INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE INDEX log_untold ON log (id) WHERE told = 0;
    """,
)


class Version(Fact):
    """The newest public version: its number, its time, what it is about, and a digest of what is
    public.
    """

    number: int = 0
    at: datetime
    changed: Changed | None = None
    digest: str = ""


class Memory(Fact):
    """What is kept once: all of the state that is no incident, alert, mail or log entry."""

    key: int = 0
    epoch: str
    copied: bool = False  # this file is a copy, which nobody has been started on yet
    birth: Birth = Birth()
    version: Version
    monitoring: Monitoring
    incidents_made: int = 0
    updates_made: int = 0


class Unusable(Exception):
    """The database cannot be used; `exit_code` is the one of PRODUCT.md section 7."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


NO_ROOM = ("nothing can be written there: make room on its disk, or look whether it fails", 75)
NOT_OURS = ("the folder must exist and be writable, and the file too, for this user", 77)
UNSOUND = ("the file is no sound SQLite database: restore a backup", 65)
A_LINK = "this is a symbolic link, which is not followed: remove it, and start again"
HELD = ("another program holds the database: end it there", 75)
#: What SQLite's codes mean to an operator, and the exit code; https://www.sqlite.org/rescode.html
CAUSES = {
    **dict.fromkeys((sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT), UNSOUND),
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL), HELD),
    **dict.fromkeys((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR), NO_ROOM),
    **dict.fromkeys(
        (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM), NOT_OURS
    ),
}


def unusable(path: Path, error: sqlite3.Error | OSError) -> Unusable | None:
    """What to tell an operator of it, or None where it is news to us."""
    if isinstance(error, OSError):
        if error.errno == errno.ELOOP:
            return Unusable(f"{error.filename}: {A_LINK}", NOT_OURS[1])
        words, code = (
            NO_ROOM
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
            else NOT_OURS
        )
        return Unusable(f"{path}: {error.strerror}: {words}", code)
    words, code = CAUSES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, ("", 0))
    return Unusable(f"{path}: {error}: {words}", code) if words else None


@asynccontextmanager
async def open_store(
    path: Path, *, now: datetime, tells: bool, host: str = "", schema: Sequence[str] = SCHEMA
) -> AsyncIterator["Store"]:
    """Opens the database, alone, and brings its schema up to date; `tells`: there is a Slack to
    tell log lines to.

    `host` is the page's at the first start: programs know our ids by it, whatever it is called
    later.

    Raises Unusable for a file that is locked, not writable, corrupt, or of a newer version, and for
    a full disk.
    """
    locks = ExitStack()
    is_open = False
    try:
        _lock(Path(f"{path}.lock"), locks, os.O_NOFOLLOW)  # the version before knows only this one
        look_beside(path, _lock(path, locks))
        async with aiosqlite.connect(path, isolation_level=None) as db:
            await _prepare(db, path, schema)
            store = Store(db, tells=tells)
            if not (kept := await store.find(Memory)):
                birth = Birth(page_id=secrets.token_hex(6), host=host, at=now)
                epoch, version, monitoring = (
                    secrets.token_hex(3),
                    Version(at=now),
                    Monitoring(since=now),
                )
                await store.put(
                    Memory(epoch=epoch, birth=birth, version=version, monitoring=monitoring)
                )
            elif kept[0].copied:
                await store.begin_anew(kept[0])
            is_open = True
            yield store
    except (sqlite3.Error, OSError) as error:
        if is_open and isinstance(error, OSError):
            raise  # of whoever uses the store: it is not about the database
        if isinstance(error, BlockingIOError):
            raise Unusable(
                f"{path}: another monostat is running on this database: stop it first", 75
            ) from error
        raise unusable(path, error) or error from error
    finally:
        locks.close()


def _lock(path: Path, locks: ExitStack, flags: int = 0) -> int:
    """Keeps every other monostat off a file, which is made where it is missing, until `locks` are
    closed.

    Raises BlockingIOError where another one has it, by whatever path.
    """
    # Not before SQLite is done with the file: closing any descriptor of it takes away SQLite's own
    # locks, which this one does not disturb (https://www.sqlite.org/howtocorrupt.html, section 2.2;
    # flock(2), "NOTES").
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    locks.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


# https://www.sqlite.org/fileformat2.html, section 1.3: bytes 18 and 19 are 1 in a file without a
# write-ahead log, and 16 and 17 hold the size of its pages. SQLite obeys any log that lies beside a
# file, whatever these bytes say.
def look_beside(path: Path, descriptor: int) -> None:
    """Raises Unusable where a log that another database has left there would be written into this
    one.

    A copy of ours has no log of either kind. A rollback journal is our own only while the file has
    one page at most. What lies beside a raw copy of the file cannot be told from its own.
    """
    real = os.path.realpath(path)
    wal, journal = f"{real}-wal", f"{real}-journal"
    # Before the header is read: a daemon that starts just now may be making its own log.
    left = [log for log in (wal, journal) if os.path.exists(log) and os.path.getsize(log)]
    header = os.pread(descriptor, 20, 0)
    is_foreign = {
        wal: header[18:20] == b"\1\1",
        journal: os.fstat(descriptor).st_size > int.from_bytes(header[16:18], "big"),
    }
    for log in left:
        if is_foreign[log]:
            why = f"another database has left this, and it would undo the copy that was restored as {path}"
            raise Unusable(
                f"{log}: {why}: move it away, and {real}-shm if there is one, then start again", 65
            )


async def _prepare(db: aiosqlite.Connection, path: Path, schema: Sequence[str]) -> None:
    ((found,),) = await db.execute_fetchall("PRAGMA user_version")
    if found > len(schema):
        raise Unusable(
            f"{path}: written by a newer monostat (schema {found}): install that version or a backup",
            78,
        )
    ((sound,),) = await db.execute_fetchall("PRAGMA quick_check(1)")
    if sound != "ok":
        raise Unusable(f"{path}: {' '.join(sound.split())}: {UNSOUND[0]}", UNSOUND[1])
    if 0 < found < len(schema):
        await asyncio.to_thread(copy, path, path.with_name(f"{path.name}.schema-{found}"))
    await db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
    for number, script in enumerate(schema[found:], found + 1):
        await db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def copy(path: Path, target: Path) -> None:
    """Writes a consistent copy, marked as one, whoever writes to the original meanwhile; there is
    never half of one.

    It is made in a folder that nobody else can look into, and then takes the target's place,
    whatever was there.

    Raises Unusable where there is nothing to copy, or nowhere to copy it to.
    """
    if not path.is_file():
        raise Unusable(
            f"{path}: there is no database to copy: see database.path of the settings", 69
        )
    if target.exists() and target.samefile(path):
        raise Unusable(f"{target}: this is the database itself: name another file", 64)
    real = os.path.realpath(path)
    if os.path.realpath(target) in {
        f"{real}{end}" for end in ("-wal", "-shm", "-journal", ".lock")
    }:
        raise Unusable(f"{target}: this belongs to the database itself: name another file", 64)
    if target.exists() and not target.is_file():
        raise Unusable(f"{target}: this is no file: name one, or a folder", 64)
    about = path
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as original:
            ((schema,),) = original.execute("PRAGMA user_version").fetchall()
            if not schema:
                raise Unusable(f"{path}: this is no database of monostat", 69)
            about = target
            with TemporaryDirectory(prefix=".monostat-", dir=target.parent) as private:
                part = Path(private, "part")
                os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                with closing(sqlite3.connect(part, isolation_level=None)) as made:
                    original.backup(made)
                    made.execute("PRAGMA journal_mode = DELETE")  # one file
                    made.execute(MARK)
                part.replace(target)
    except (sqlite3.Error, OSError) as error:
        raise unusable(about, error) or error from error


class Store:
    """Every write goes through `write`: two tasks on one connection would commit each other's
    halves.
    """

    def __init__(self, db: aiosqlite.Connection, *, tells: bool) -> None:
        self._db, self._tells, self._lock = db, tells, asyncio.Lock()
        self.writes, self.errors = (
            Histogram(),
            0,
        )  # for metrics: seconds, and transactions that failed

    async def write(self, *statements: tuple[str, list[tuple[Any, ...]]]) -> None:
        """Executes each statement for each of its rows, all of it or nothing."""
        async with self._lock:
            began = time.monotonic()
            try:
                await self._db.execute("BEGIN IMMEDIATE")
                for sql, rows in statements:
                    await self._db.executemany(sql, rows)
                await self._db.execute("COMMIT")
                self.writes.observe(time.monotonic() - began)
            except BaseException:
                self.errors += 1
                await (
                    self._db.rollback()
                )  # does nothing where a cancelled COMMIT went through after all
                raise

    async def begin_anew(self, kept: Memory) -> None:
        """Gives a copy an epoch of its own; what it had still to tell may have been told by the
        original since.
        """
        epoch, old = secrets.token_hex(3), kept.epoch

        def renewed(key: str) -> str:
            return key.replace(f"{old}:", f"{epoch}:", 1)

        posts = {posted.key: posted for posted in await self.find(Posted)}
        known = [(f"{old}:incident:{i.number}", i.created_at) for i in await self.find(Incident)]
        known += [(f"{old}:line:{e.id}", e.at) for e in await self.untold(most=-1)]
        for key, at in known:
            posts.setdefault(key, Posted(key=key, claimed_at=at))
        told = [
            replace(p, key=renewed(k), digest="", sought=p.sought or k) for k, p in posts.items()
        ]
        mails = [replace(mail, ambiguous=True) for mail in await self.find(Mail, UNSENT)]
        facts = _rows_of(replace(kept, epoch=epoch, copied=False), *told, *mails)
        await self.write((FORGET, [("Posted", key) for key in posts]), (PUT, facts))

    async def load(self, *, now: datetime) -> tuple[State, Version]:
        """Reads back what the last committed change left; alerts that ended over a week ago stay in
        the file.
        """
        (kept,), week = await self.find(Memory), (now - timedelta(days=7)).isoformat()
        recent = "(coalesce(json_extract(body, '$.closed_at'), '9') > ? OR json_extract(body, '$.incident') IN (SELECT"
        recent += " key FROM facts WHERE json_extract(body, '$.status') IN ('suspected', 'confirmed', 'watching')))"
        state = State(
            epoch=kept.epoch, birth=kept.birth, monitoring=kept.monitoring, checked_at=now
        )
        state.incidents = {i.number: i for i in await self.find(Incident)}
        state.alerts = {a.id: a for a in await self.find(Alert, recent, week)}
        state.mails = {m.key: m for m in await self.find(Mail, UNSENT)}
        state.incidents_made, state.updates_made = kept.incidents_made, kept.updates_made
        ((state.entries_made,),) = await self._db.execute_fetchall(
            "SELECT coalesce(max(id), 0) FROM log"
        )
        return state, kept.version

    async def save(self, change: Change, version: Version) -> None:
        """Writes a decision and all that must be told of it, or nothing."""
        state, gone = change.state, [("Incident", number) for number in change.gone]
        made: dict[str, Any] = {
            "incidents_made": state.incidents_made,
            "updates_made": state.updates_made,
        }
        kept = Memory(
            epoch=state.epoch,
            birth=state.birth,
            version=version,
            monitoring=state.monitoring,
            **made,
        )
        facts = _rows_of(kept, *change.incidents, *change.alerts, *change.mails)
        entries = [(entry.id, not self._tells, to_json(entry).decode()) for entry in change.entries]
        await self.write(
            (FORGET, gone), (PUT, facts), ("INSERT INTO log VALUES (?, ?, ?)", entries)
        )

    async def find(self, kind: type[T], where: str = "1", *args: object) -> list[T]:
        """All facts of a kind for which an SQL condition holds, by their keys."""
        sql = f"SELECT body FROM facts WHERE kind = ? AND {where} ORDER BY key"  # noqa: S608 - conditions of our own
        rows = await self._db.execute_fetchall(sql, (kind.__name__, *args))
        return [_read(kind, body) for (body,) in rows]

    async def put(self, *facts: Fact) -> None:
        await self.write((PUT, _rows_of(*facts)))

    async def posted(self, key: str) -> Posted:
        return next(iter(await self.find(Posted, "key = ?", key)), Posted(key=key))

    async def forget(self, key: str) -> None:
        """Slack's post of this key is of no interest any more."""
        await self.write((FORGET, [("Posted", key)]))

    async def untold(self, most: int = 100) -> list[Entry]:
        """The log lines that Slack has not been told yet, oldest first; a negative number is no
        limit.
        """
        rows = await self._db.execute_fetchall(
            "SELECT body FROM log WHERE told = 0 ORDER BY id LIMIT ?", (most,)
        )
        return [_read(Entry, body) for (body,) in rows]

    async def waiting(self) -> int:
        """How many log lines Slack has not been told yet."""
        ((count,),) = await self._db.execute_fetchall("SELECT count(*) FROM log WHERE told = 0")
        return int(count)

    async def told(self, entry: Entry, key: str) -> None:
        await self.write(
            ("UPDATE log SET told = 1 WHERE id = ?", [(entry.id,)]), (FORGET, [("Posted", key)])
        )

    async def alive(self) -> bool:
        """Whether it answers, and does so in time."""
        with suppress(sqlite3.Error, ValueError, TimeoutError):  # ValueError where it is closed
            async with asyncio.timeout(PATIENCE):
                return bool(
                    await self._db.execute_fetchall("SELECT key FROM facts WHERE kind = 'Memory'")
                )
        return False


PATIENCE = 5.0  # seconds for an answer to whether it lives
UNSENT = "json_extract(body, '$.state') IN ('held', 'claimed', 'handed_over', 'failed')"
MARK = "UPDATE facts SET body = json_set(body, '$.copied', json('true')) WHERE kind = 'Memory'"
FORGET = "DELETE FROM facts WHERE kind = ? AND key = ?"
PUT = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)"
KEYS = {Incident: "number", Alert: "id"}  # of the others the key is called so
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


#: In JSON, of what incidents.UNSEEN has; a version before that was kept out may have written it.
_UNSEEN = re.compile(r"\\u00[01]|\\[bf]|" + UNSEEN.pattern)


def _read(kind: type[T], body: str) -> T:
    fact: T = _adapter(kind).validate_json(body)
    return all_sound(fact) if _UNSEEN.search(body) else fact


def _rows_of(*facts: Fact) -> list[tuple[Any, ...]]:
    return [
        (type(f).__name__, getattr(f, KEYS.get(type(f), "key")), to_json(f).decode()) for f in facts
    ]
