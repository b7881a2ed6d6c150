"""The one SQLite file: state, what must be told, and the feed's version, always changed in one transaction."""

import asyncio
import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from pydantic import TypeAdapter

from monostat.incidents import Alert, Change, Changed, Entry, Incident, Mail, Monitoring, State, Update

T = TypeVar("T")

SCHEMA = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE incidents (
        number INTEGER PRIMARY KEY, title TEXT NOT NULL, severity TEXT NOT NULL, status TEXT NOT NULL,
        started_at TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, ended_at TEXT,
        planned_start TEXT, planned_end TEXT, summary TEXT NOT NULL, silent INTEGER NOT NULL, ask INTEGER NOT NULL,
        status_at TEXT NOT NULL, status_by TEXT NOT NULL, status_entry INTEGER NOT NULL,
        noticed_at TEXT, confirmed_at TEXT, first_mailed_at TEXT, mailed_at TEXT, announced_at TEXT, undo TEXT NOT NULL
    );
    CREATE TABLE updates (
        id INTEGER PRIMARY KEY, incident INTEGER NOT NULL, status TEXT NOT NULL, severity TEXT NOT NULL,
        at TEXT NOT NULL, text TEXT NOT NULL, edited_at TEXT
    );
    CREATE INDEX updates_of ON updates (incident);
    CREATE TABLE alerts (
        id TEXT PRIMARY KEY, message TEXT NOT NULL, created_at TEXT NOT NULL, source TEXT NOT NULL,
        priority TEXT NOT NULL, closed_at TEXT, incident INTEGER, joined INTEGER NOT NULL, ignored INTEGER NOT NULL
    );
    CREATE TABLE mails (
        key TEXT PRIMARY KEY, incident INTEGER NOT NULL, "update" INTEGER NOT NULL, at TEXT NOT NULL,
        not_before TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, first_tried TEXT,
        ambiguous INTEGER NOT NULL, told INTEGER NOT NULL, error TEXT NOT NULL, letter TEXT
    );
    CREATE TABLE log (
        id INTEGER PRIMARY KEY, incident INTEGER, at TEXT NOT NULL, kind TEXT NOT NULL, by TEXT NOT NULL,
        detail TEXT NOT NULL, told INTEGER NOT NULL
    );
    CREATE INDEX log_untold ON log (id) WHERE told = 0;
    CREATE TABLE posts (key TEXT PRIMARY KEY, claimed_at TEXT, ts TEXT, digest TEXT);
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The newest public version: its number, its time, what it is about, and a digest of what is public."""

    number: int
    at: datetime
    changed: Changed | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What Slack was given under a key: when we began to tell it, its ts once known, and what it showed last."""

    key: str
    claimed_at: datetime | None = None
    ts: str | None = None
    digest: str = ""


class Unusable(Exception):
    """The database cannot be used; `exit_code` is the one of PRODUCT.md section 7."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@asynccontextmanager
async def open_store(path: Path, *, now: datetime, tells: bool) -> AsyncIterator["Store"]:
    """Opens the database, alone, and brings its schema up to date; `tells`: there is a Slack to tell log lines to.

    Raises Unusable for a file that is locked by another instance, not writable, corrupt, or of a newer version.
    """
    with _alone(path):
        try:
            async with aiosqlite.connect(path, isolation_level=None) as db:
                await _prepare(db, path, now)
                yield Store(db, tells=tells)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise Unusable(f"{path}: the file is no sound SQLite database: restore a backup", 65) from error
            raise


class _alone:  # noqa: N801 - used like a function
    """Holds the lock that keeps a second instance off the same database."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        try:
            self.file = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unusable(f"{self.path}: {error.strerror}: the folder must exist and be writable", 77) from error
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self.file)
            raise Unusable(f"{self.path}: another monostat is running on this database: stop it first", 75) from error

    def __exit__(self, *_: object) -> None:
        os.close(self.file)


async def _prepare(db: aiosqlite.Connection, path: Path, now: datetime) -> None:
    try:
        row = await (await db.execute("PRAGMA user_version")).fetchone()
    except sqlite3.OperationalError as error:
        raise Unusable(f"{path}: {error}: the file must be readable and writable", 77) from error
    found = row[0] if row else 0
    if found > len(SCHEMA):
        raise Unusable(f"{path}: written by a newer monostat (schema {found}): install that version or a backup", 78)
    await db.execute("PRAGMA journal_mode = WAL")
    await db.execute("PRAGMA synchronous = FULL")
    for number, script in enumerate(SCHEMA[found:], found + 1):
        await db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
    made = {"epoch": secrets.token_hex(3), "version": "0", "version_at": now.isoformat()}
    await db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", made.items())


class Store:
    """Every write goes through `transaction`: two tasks on one connection would commit each other's halves."""

    def __init__(self, db: aiosqlite.Connection, *, tells: bool) -> None:
        self._db, self._tells, self._lock = db, tells, asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._lock:
            try:
                await self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                await self._db.execute("COMMIT")
            except BaseException:
                await self._db.rollback()  # does nothing where a cancelled COMMIT went through after all
                raise

    async def load(self, *, now: datetime) -> tuple[State, Version]:
        """Reads back what the last committed change left; alerts that ended over a week ago stay in the file."""
        meta = dict(await self._rows("SELECT key, value FROM meta"))
        updates: dict[int, list[Update]] = {}
        for update in await self._read(Update, "SELECT * FROM updates ORDER BY id"):
            updates.setdefault(update.incident, []).append(update)
        incidents = {
            i.number: replace(i, updates=tuple(updates.get(i.number, ())))
            for i in await self._read(Incident, "SELECT * FROM incidents ORDER BY number")
        }
        week = (now - timedelta(days=7)).isoformat()
        alerts = await self._read(
            Alert,
            "SELECT * FROM alerts WHERE closed_at IS NULL OR closed_at > ? OR incident IN"
            " (SELECT number FROM incidents WHERE status IN ('suspected', 'confirmed', 'watching'))",
            week,
        )
        mails = await self._read(
            Mail, "SELECT * FROM mails WHERE state IN ('held', 'claimed', 'failed') ORDER BY \"update\""
        )
        entries = await self._rows("SELECT coalesce(max(id), 0) FROM log")
        told = meta.get("monitoring")
        monitoring = _adapter(Monitoring).validate_json(told) if told else Monitoring(since=now)
        state = State(
            epoch=meta["epoch"],
            incidents=incidents,
            alerts={a.id: a for a in alerts},
            mails={m.key: m for m in mails},
            monitoring=monitoring,
            checked_at=now,
            incidents_made=int(meta.get("incidents_made", 0)),
            updates_made=int(meta.get("updates_made", 0)),
            entries_made=entries[0][0],
        )
        changed = _adapter(Changed).validate_json(meta["changed"]) if meta.get("changed") else None
        at = datetime.fromisoformat(meta["version_at"])
        return state, Version(number=int(meta["version"]), at=at, changed=changed, digest=meta.get("digest", ""))

    async def save(self, change: Change, version: Version) -> None:
        """Writes a decision and all that must be told of it, or nothing."""
        meta = {
            "version": str(version.number),
            "version_at": version.at.isoformat(),
            "changed": _adapter(Changed).dump_json(version.changed).decode() if version.changed else "",
            "digest": version.digest,
            "monitoring": _adapter(Monitoring).dump_json(change.state.monitoring).decode(),
            "incidents_made": str(change.state.incidents_made),
            "updates_made": str(change.state.updates_made),
        }
        touched = [(i.number,) for i in change.incidents] + [(n,) for n in change.gone]
        async with self.transaction() as db:
            await db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
            await db.executemany("DELETE FROM updates WHERE incident = ?", touched)
            await db.executemany("DELETE FROM incidents WHERE number = ?", [(n,) for n in change.gone])
            await self._write("incidents", "number", Incident, change.incidents, leave=("updates",))
            await self._write("updates", "id", Update, [u for i in change.incidents for u in i.updates])
            await self._write("alerts", "id", Alert, change.alerts)
            await self._write("mails", "key", Mail, change.mails)
            await self._write("log", "id", Entry, change.entries, told=not self._tells)

    async def letter(self, key: str) -> str | None:
        """The frozen text of a mail that was tried before."""
        rows = await self._rows("SELECT letter FROM mails WHERE key = ?", key)
        return rows[0][0] if rows else None

    async def freeze(self, key: str, letter: str) -> None:
        async with self.transaction() as db:
            await db.execute("UPDATE mails SET letter = ? WHERE key = ?", (letter, key))

    async def untold(self) -> list[Entry]:
        """The log lines that Slack has not been told yet, oldest first."""
        return await self._read(Entry, "SELECT * FROM log WHERE told = 0 ORDER BY id LIMIT 100")

    async def told(self, entry: Entry) -> None:
        async with self.transaction() as db:
            await db.execute("UPDATE log SET told = 1 WHERE id = ?", (entry.id,))

    async def posted(self, key: str) -> Posted:
        rows = await self._read(Posted, "SELECT * FROM posts WHERE key = ?", key)
        return rows[0] if rows else Posted(key=key)

    async def record(self, posted: Posted) -> None:
        async with self.transaction():
            await self._write("posts", "key", Posted, [posted])

    async def vanished(self, prefix: str) -> list[Posted]:
        """What Slack still shows of incidents that were taken back, by the prefix of the keys of incidents' posts."""
        return await self._read(
            Posted,
            "SELECT * FROM posts WHERE substr(key, 1, length(?1)) = ?1 AND ts IS NOT NULL AND digest != 'gone'"
            " AND CAST(substr(key, length(?1) + 1) AS INTEGER) NOT IN (SELECT number FROM incidents)",
            prefix,
        )

    async def alive(self) -> bool:
        return bool(await self._rows("SELECT 1"))

    async def _rows(self, sql: str, *args: object) -> list[Any]:
        return list(await self._db.execute_fetchall(sql, args))

    async def _read(self, kind: type[T], sql: str, *args: object) -> list[T]:
        cursor = await self._db.execute(sql, args)
        names = [column[0] for column in cursor.description]
        known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
        found = []
        async for row in cursor:
            values = {name: value for name, value in zip(names, row, strict=True) if name in known}
            for name in ("undo", "detail"):
                if name in values:
                    values[name] = json.loads(values[name])
            found.append(_adapter(kind).validate_python(values))
        return found

    async def _write(
        self, table: str, key: str, kind: type[T], rows: Iterable[T], *, leave: tuple[str, ...] = (), **more: object
    ) -> None:
        """Inserts rows or updates them, leaving columns alone that the dataclass does not have."""
        names = [f.name for f in fields(kind) if f.name not in leave]  # type: ignore[arg-type]
        columns = [*names, *more]
        quoted = ", ".join(f'"{c}"' for c in columns)
        sets = ", ".join(f'"{c}" = excluded."{c}"' for c in names)
        sql = (
            f"INSERT INTO {table} ({quoted})"  # noqa: S608 - names of our own fields
            f" VALUES ({', '.join('?' * len(columns))}) ON CONFLICT ({key}) DO UPDATE SET {sets}"
        )
        dumped: list[Mapping[str, Any]] = [_adapter(kind).dump_python(row, mode="json") for row in rows]
        flat = [[json.dumps(v) if isinstance(v := row[n], (list, dict)) else v for n in names] for row in dumped]
        await self._db.executemany(sql, [[*row, *more.values()] for row in flat])


#: How rows become values, and values rows.
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
