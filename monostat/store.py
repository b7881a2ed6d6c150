"""Reads and writes facts: state, what must be told, and the feed's version, in one transaction.

`facts.py` says how each is stored.
"""

import asyncio
import json
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from pydantic_core import to_json

from monostat import database
from monostat.archive import Archive
from monostat.core.model import Alert, Birth, Change, Entry, Fact, Incident, Mail, Monitoring, State
from monostat.core.past import KEPT_FOR, NEWEST
from monostat.core.posted import Posted
from monostat.database import Unusable
from monostat.facts import KINDS, Meta, Version, read_fact, rows_of
from monostat.histogram import Histogram

T = TypeVar("T")
Statement = tuple[str, list[tuple[Any, ...]]]


PATIENCE = 5.0  # seconds for an answer to whether it lives
# Each names its index: SQLite knows too little of the rows to choose it by itself. A key has no
# type, so that a number is compared with it without one, as +number.
UNSETTLED = """
    SELECT body, key, json_extract(body, '$.incident') AS number
    FROM facts INDEXED BY mails_unsettled WHERE kind = 'Mail'
    AND json_extract(body, '$.state') IN ('held', 'claimed', 'handed_over', 'failed')
"""
#: Alerts that are open, or have ended since.
RECENT_ALERTS = """
    SELECT body FROM facts INDEXED BY alerts_closed WHERE kind = 'Alert'
    AND julianday(json_extract(body, '$.closed_at')) IS NULL
    UNION SELECT body FROM facts INDEXED BY alerts_closed WHERE kind = 'Alert'
    AND julianday(json_extract(body, '$.closed_at')) > julianday(:since, '-1 second')
"""
#: These, and those of the present incidents.
OF_INTEREST = f"""
    {RECENT_ALERTS}
    UNION SELECT body FROM json_each(:numbers) CROSS JOIN facts INDEXED BY alerts_joined
    ON kind = 'Alert' AND json_extract(body, '$.incident') = +value
"""  # noqa: S608 - our own
#: What may not be past yet; `core/past.py` says what is. The calendars keep plans for 90 days.
PRESENT = f"""
    SELECT body FROM (
        SELECT number FROM incidents INDEXED BY incidents_unsettled WHERE is_unsettled
        UNION SELECT number FROM incidents WHERE changed > julianday(:since, '-1 second')
        UNION SELECT number FROM incidents WHERE plan_ended > julianday(:now, '-91 days')
        UNION SELECT value FROM json_each(:newest)
        UNION SELECT number FROM ({UNSETTLED})
        UNION SELECT json_extract(body, '$.incident') FROM ({RECENT_ALERTS})
    ) CROSS JOIN facts ON kind = 'Incident' AND key = +number
    ORDER BY number
"""  # noqa: S608 - our own
FORGET = "DELETE FROM facts WHERE kind = ? AND key = ?"
PUT = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)"
LOG = "INSERT INTO log VALUES (?, ?, ?)"


@asynccontextmanager
async def open_store(
    path: Path,
    *,
    now: datetime,
    has_slack: bool,
    host: str = "",
    schema: Sequence[str] = database.SCHEMA,
    before_long_step: Callable[[], None] = lambda: None,
) -> AsyncIterator["Store"]:
    """Opens the database, alone, and brings its schema up to date.

    `has_slack`: there is a Slack to tell log lines to. `host` is the page's at the first start:
    programs know our ids by it, whatever it is called later. `before_long_step` is called before
    each step that takes long where the file is large. Raises Unusable for a file that is locked,
    not writable, corrupt, or of a newer version, and for a full disk.
    """
    locks = ExitStack()
    is_open = False
    try:
        # The version before knows only the first lock.
        database.lock(Path(f"{path}.lock"), locks, os.O_NOFOLLOW)
        database.refuse_foreign_logs(path, database.lock(path, locks))
        async with (
            aiosqlite.connect(path, isolation_level=None) as db,
            aiosqlite.connect(path, isolation_level=None) as reading,
        ):
            await database.prepare(db, path, schema, before_long_step)
            await reading.execute("PRAGMA query_only = ON")
            store = Store(db, Archive(reading), has_slack=has_slack)
            await store.begin(now=now, host=host)
            is_open = True
            yield store
    except (sqlite3.Error, OSError) as error:
        if is_open and isinstance(error, OSError):
            raise  # of whoever uses the store: it is not about the database
        if isinstance(error, BlockingIOError):
            remedy = "another monostat is running on this database: stop it first"
            raise Unusable(f"{path}: {remedy}", os.EX_TEMPFAIL) from error
        if unusable := database.explain_error(path, error):
            raise unusable from error
        raise
    finally:
        locks.close()


class Store:
    """Every write goes through `write`: two tasks on one connection would commit each other's
    halves. The `archive` has incidents that are long over.
    """

    def __init__(self, db: aiosqlite.Connection, archive: Archive, *, has_slack: bool) -> None:
        self.archive = archive
        self._db = db
        self._has_slack = has_slack
        self._lock = asyncio.Lock()
        self.writes = Histogram()  # seconds that transactions took, for metrics
        self.errors = 0  # transactions that failed, for metrics

    async def write(self, *statements: Statement) -> None:
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
                # It does nothing where a cancelled COMMIT went through after all.
                await self._db.rollback()
                raise

    async def begin(self, *, now: datetime, host: str) -> None:
        """Makes a new file ours, gives a copy an epoch of its own, leaves any other as it is."""
        metas = await self.find(Meta)
        if not metas:
            meta = Meta(
                epoch=secrets.token_hex(3),
                birth=Birth(page_id=secrets.token_hex(6), host=host, at=now),
                version=Version(at=now),
                monitoring=Monitoring(since=now),
            )
            await self.put(meta)
        elif metas[0].copied:
            await self.adopt_copy(metas[0])

    async def adopt_copy(self, meta: Meta) -> None:
        """Gives a copy another epoch: what it had to tell, the original may have told since.

        1. Each message and line that is known or may have been told is looked for under its old key
           before it is posted under the new one.
        2. Mails that have not left count as unclear.
        3. All of it is one transaction.
        """
        old = meta.epoch
        new = secrets.token_hex(3)
        posts = {post.key: post for post in await self.find(Posted)}
        for incident in await self.find(Incident):
            if incident.as_it_came:  # nothing was ever posted of it
                continue
            key = f"{old}:incident:{incident.number}"
            posts.setdefault(key, Posted(key=key, claimed_at=incident.created_at))
        for entry in await self.untold(most=-1):
            key = f"{old}:line:{entry.id}"
            posts.setdefault(key, Posted(key=key, claimed_at=entry.at))
        renamed = [
            replace(
                post, key=key.replace(f"{old}:", f"{new}:", 1), digest="", sought=post.sought or key
            )
            for key, post in posts.items()
        ]
        unsettled = await self._read(Mail, UNSETTLED)
        mails = [replace(mail, ambiguous=True) for mail in unsettled]
        adopted = replace(meta, epoch=new, copied=False)
        await self.write(
            (FORGET, [(KINDS[Posted].name, key) for key in posts]),
            (PUT, rows_of(adopted, *renamed, *mails)),
        )

    async def load(self, *, now: datetime, kept: timedelta = KEPT_FOR) -> tuple[State, Version]:
        """Reads back what the last committed change left.

        Incidents that have not changed for as long as `kept`, and are over, stay in the file with
        their alerts, but for what may be shown or change by itself all the same.
        """
        (meta,) = await self.find(Meta)
        ((entries_made,),) = await self._db.execute_fetchall("SELECT coalesce(max(id), 0) FROM log")
        newest = meta.newest_own
        if newest is None:
            newest = tuple(range(1, meta.incidents_made + 1)[-NEWEST:])
        state = State(
            epoch=meta.epoch,
            birth=meta.birth,
            monitoring=meta.monitoring,
            checked_at=now,
            incidents_made=meta.incidents_made,
            newest_own=newest,
            updates_made=meta.updates_made,
            entries_made=entries_made,
            revision=meta.revision,
        )
        asked: dict[str, object] = {
            "now": now.isoformat(),
            "since": (now - kept).isoformat(),
            "newest": json.dumps(newest),
        }
        incidents = await self._read(Incident, PRESENT, asked)
        state.incidents = {incident.number: incident for incident in incidents}
        asked["numbers"] = json.dumps([*state.incidents])
        state.alerts = {alert.id: alert for alert in await self._read(Alert, OF_INTEREST, asked)}
        state.mails = {mail.key: mail for mail in await self._read(Mail, UNSETTLED)}
        return state, meta.version

    async def save(self, change: Change, version: Version) -> None:
        """Writes a decision and all that must be told of it, or nothing."""
        state = change.state
        meta = Meta(
            epoch=state.epoch,
            birth=state.birth,
            version=version,
            monitoring=state.monitoring,
            incidents_made=state.incidents_made,
            newest_own=state.newest_own,
            updates_made=state.updates_made,
            revision=state.revision,
        )
        entries = [
            (entry.id, not self._has_slack, to_json(entry).decode()) for entry in change.entries
        ]
        await self.write(
            (FORGET, [(KINDS[Incident].name, number) for number in change.gone]),
            (PUT, rows_of(meta, *change.incidents, *change.alerts, *change.mails)),
            (LOG, entries),
        )

    async def find(self, cls: type[T]) -> list[T]:
        """All facts of a class, by key."""
        return await self._find(cls, "1")

    async def _find(self, cls: type[T], where: str, *args: object) -> list[T]:
        """Those for which an SQL condition on `key` and `body` holds, which is our own."""
        sql = f"SELECT body FROM facts WHERE kind = ? AND {where} ORDER BY key"  # noqa: S608
        rows = await self._db.execute_fetchall(sql, (KINDS[cls].name, *args))
        return [read_fact(cls, body) for (body,) in rows]

    async def _read(
        self, cls: type[T], sql: str, asked: Mapping[str, object] | None = None
    ) -> list[T]:
        rows = await self._db.execute_fetchall(sql, asked or {})
        return [read_fact(cls, body) for body, *_ in rows]

    async def put(self, *facts: Fact) -> None:
        """Stores each under its key, in place of what was there."""
        await self.write((PUT, rows_of(*facts)))

    async def posted(self, key: str) -> Posted:
        """What Slack was given under this key; an empty one where it was given nothing."""
        posts = await self._find(Posted, "key = ?", key)
        return posts[0] if posts else Posted(key=key)

    async def posts(self, prefix: str) -> list[Posted]:
        """What Slack was given under keys that begin so."""
        return await self._find(Posted, "key LIKE ?", f"{prefix}%")

    async def post_of(self, ts: str, prefix: str) -> Posted | None:
        """The one of these that has or had this ts at Slack."""
        where = (
            "key LIKE ? AND (json_extract(body, '$.ts') = ?"
            " OR EXISTS (SELECT 1 FROM json_each(body, '$.earlier') WHERE value = ?))"
        )
        posts = await self._find(Posted, where, f"{prefix}%", ts, ts)
        return posts[0] if posts else None

    async def has_incident(self, number: int) -> bool:
        """Whether there is an incident of this number, present or past."""
        return bool(await self._find(Incident, "key = ?", number))

    async def forget(self, key: str) -> None:
        """Slack's post of this key is of no interest any more."""
        await self.write((FORGET, [(KINDS[Posted].name, key)]))

    async def untold(self, most: int = 100) -> list[Entry]:
        """The log lines that Slack has not been told yet, oldest first; a negative number is no
        limit.
        """
        rows = await self._db.execute_fetchall(
            "SELECT body FROM log WHERE told = 0 ORDER BY id LIMIT ?", (most,)
        )
        return [read_fact(Entry, body) for (body,) in rows]

    async def waiting(self) -> int:
        """How many log lines Slack has not been told yet."""
        ((count,),) = await self._db.execute_fetchall("SELECT count(*) FROM log WHERE told = 0")
        return int(count)

    async def tick_off(self, entry: Entry, key: str) -> None:
        """Slack has been told a log line; forgets the post of this key."""
        await self.write(
            ("UPDATE log SET told = 1 WHERE id = ?", [(entry.id,)]),
            (FORGET, [(KINDS[Posted].name, key)]),
        )

    async def alive(self) -> bool:
        """Whether it answers, and does so in time."""
        with suppress(sqlite3.Error, ValueError, TimeoutError):  # ValueError where it is closed
            async with asyncio.timeout(PATIENCE):
                sql = "SELECT key FROM facts WHERE kind = 'Memory'"
                return bool(await self._db.execute_fetchall(sql))
        return False
