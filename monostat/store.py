"""The one SQLite file: state, what must be told, and the feed's version, always changed in one transaction.

Facts are kept as JSON documents, so that a new field needs a default and no migration.
"""

import asyncio
import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from pydantic import TypeAdapter
from pydantic_core import to_json

from monostat.incidents import Alert, Birth, Change, Changed, Entry, Fact, Incident, Mail, Monitoring, State
from monostat.watch import Histogram

T = TypeVar("T")
SCHEMA = (
    """
    CREATE TABLE facts (kind TEXT, key, body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
    CREATE TABLE log (id INTEGER PRIMARY KEY, told INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE INDEX log_untold ON log (id) WHERE told = 0;
    """,
)


class Version(Fact):
    """The newest public version: its number, its time, what it is about, and a digest of what is public."""

    number: int = 0
    at: datetime
    changed: Changed | None = None
    digest: str = ""


class Memory(Fact):
    """What is kept once: all of the state that is no incident, alert, mail or log entry."""

    key: int = 0
    epoch: str
    birth: Birth = Birth()
    version: Version
    monitoring: Monitoring
    incidents_made: int = 0
    updates_made: int = 0


class Posted(Fact):
    """What Slack was given under a key: when we began to tell it, its ts once known, and what it showed last."""

    key: str
    claimed_at: datetime | None = None
    ts: str | None = None
    digest: str = ""
    asks: Entry | None = None  # the line whose buttons it shows


class Unusable(Exception):
    """The database cannot be used; `exit_code` is the one of PRODUCT.md section 7."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@asynccontextmanager
async def open_store(path: Path, *, now: datetime, tells: bool, host: str = "") -> AsyncIterator["Store"]:
    """Opens the database, alone, and brings its schema up to date; `tells`: there is a Slack to tell log lines to.

    `host` is the page's at the first start: programs know our ids by it, whatever it is called later.

    Raises Unusable for a file that is locked by another instance, not writable, corrupt, or of a newer version.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}: the folder must exist and be writable", 77) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # keeps a second instance off
        async with aiosqlite.connect(path, isolation_level=None) as db:
            await _prepare(db, path)
            store = Store(db, tells=tells)
            if not await store.find(Memory):
                birth = Birth(page_id=secrets.token_hex(6), host=host, at=now)
                epoch, version, monitoring = secrets.token_hex(3), Version(at=now), Monitoring(since=now)
                await store.put(Memory(epoch=epoch, birth=birth, version=version, monitoring=monitoring))
            yield store
    except BlockingIOError as error:
        raise Unusable(f"{path}: another monostat is running on this database: stop it first", 75) from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise Unusable(f"{path}: the file is no sound SQLite database: restore a backup", 65) from error
        raise
    finally:
        os.close(lock)


async def _prepare(db: aiosqlite.Connection, path: Path) -> None:
    try:
        ((found,),) = await db.execute_fetchall("PRAGMA user_version")
    except sqlite3.OperationalError as error:
        raise Unusable(f"{path}: {error}: the file must be readable and writable", 77) from error
    if found > len(SCHEMA):
        raise Unusable(f"{path}: written by a newer monostat (schema {found}): install that version or a backup", 78)
    await db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
    for number, script in enumerate(SCHEMA[found:], found + 1):
        await db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


class Store:
    """Every write goes through `write`: two tasks on one connection would commit each other's halves."""

    def __init__(self, db: aiosqlite.Connection, *, tells: bool) -> None:
        self._db, self._tells, self._lock = db, tells, asyncio.Lock()
        self.writes, self.errors = Histogram(), 0  # for metrics: seconds, and transactions that failed

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
                await self._db.rollback()  # does nothing where a cancelled COMMIT went through after all
                raise

    async def load(self, *, now: datetime) -> tuple[State, Version]:
        """Reads back what the last committed change left; alerts that ended over a week ago stay in the file."""
        (kept,), week = await self.find(Memory), (now - timedelta(days=7)).isoformat()
        recent = "(coalesce(json_extract(body, '$.closed_at'), '9') > ? OR json_extract(body, '$.incident') IN (SELECT"
        recent += " key FROM facts WHERE json_extract(body, '$.status') IN ('suspected', 'confirmed', 'watching')))"
        unsent = "json_extract(body, '$.state') IN ('held', 'claimed', 'failed')"
        state = State(epoch=kept.epoch, birth=kept.birth, monitoring=kept.monitoring, checked_at=now)
        state.incidents = {i.number: i for i in await self.find(Incident)}
        state.alerts = {a.id: a for a in await self.find(Alert, recent, week)}
        state.mails = {m.key: m for m in await self.find(Mail, unsent)}
        state.incidents_made, state.updates_made = kept.incidents_made, kept.updates_made
        ((state.entries_made,),) = await self._db.execute_fetchall("SELECT coalesce(max(id), 0) FROM log")
        return state, kept.version

    async def save(self, change: Change, version: Version) -> None:
        """Writes a decision and all that must be told of it, or nothing."""
        state, gone = change.state, [("Incident", number) for number in change.gone]
        made = {"incidents_made": state.incidents_made, "updates_made": state.updates_made}
        kept = Memory(epoch=state.epoch, birth=state.birth, version=version, monitoring=state.monitoring, **made)
        facts = _rows_of(kept, *change.incidents, *change.alerts, *change.mails)
        entries = [(entry.id, not self._tells, to_json(entry).decode()) for entry in change.entries]
        await self.write((FORGET, gone), (PUT, facts), ("INSERT INTO log VALUES (?, ?, ?)", entries))

    async def find(self, kind: type[T], where: str = "1", *args: object) -> list[T]:
        """All facts of a kind for which an SQL condition holds, by their keys."""
        sql = f"SELECT body FROM facts WHERE kind = ? AND {where} ORDER BY key"  # noqa: S608 - conditions of our own
        rows = await self._db.execute_fetchall(sql, (kind.__name__, *args))
        return [_adapter(kind).validate_json(body) for (body,) in rows]

    async def put(self, *facts: Fact) -> None:
        await self.write((PUT, _rows_of(*facts)))

    async def posted(self, key: str) -> Posted:
        return next(iter(await self.find(Posted, "key = ?", key)), Posted(key=key))

    async def forget(self, key: str) -> None:
        """Slack's post of this key is of no interest any more."""
        await self.write((FORGET, [("Posted", key)]))

    async def untold(self) -> list[Entry]:
        """The log lines that Slack has not been told yet, oldest first."""
        rows = await self._db.execute_fetchall("SELECT body FROM log WHERE told = 0 ORDER BY id LIMIT 100")
        return [_adapter(Entry).validate_json(body) for (body,) in rows]

    async def waiting(self) -> int:
        """How many log lines Slack has not been told yet."""
        ((count,),) = await self._db.execute_fetchall("SELECT count(*) FROM log WHERE told = 0")
        return int(count)

    async def told(self, entry: Entry, key: str) -> None:
        await self.write(("UPDATE log SET told = 1 WHERE id = ?", [(entry.id,)]), (FORGET, [("Posted", key)]))

    async def alive(self) -> bool:
        with suppress(sqlite3.Error, ValueError):  # the last where it is closed
            return bool(await self._db.execute_fetchall("SELECT key FROM facts WHERE kind = 'Memory'"))
        return False


FORGET = "DELETE FROM facts WHERE kind = ? AND key = ?"
PUT = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)"
KEYS = {Incident: "number", Alert: "id"}  # of the others the key is called so
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def _rows_of(*facts: Fact) -> list[tuple[Any, ...]]:
    return [(type(f).__name__, getattr(f, KEYS.get(type(f), "key")), to_json(f).decode()) for f in facts]
