"""The database as a file: its lock, schema and copies, and what its errors mean to an operator."""

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import aiosqlite

#: Migrations, oldest first; PRAGMA user_version counts those that a file has had.
SCHEMA = (
    """
    CREATE TABLE facts (kind TEXT, key, body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
    CREATE TABLE log (id INTEGER PRIMARY KEY, told INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE INDEX log_untold ON log (id) WHERE told = 0;
    """,
    # What incidents are looked for by, kept equal to their facts by SQLite itself, whoever writes
    # them: times as julianday() has them, an end far in the future where there is none yet.
    """
    CREATE TABLE incidents (
        number INTEGER PRIMARY KEY,
        is_unsettled INTEGER NOT NULL,  -- open, planned, or with an undo window
        is_listed INTEGER NOT NULL,     -- programs are told of it
        is_scheduled INTEGER NOT NULL,  -- as the Statuspage API has it
        is_placed INTEGER NOT NULL,     -- it has a place in the history
        changed REAL NOT NULL,
        started REAL NOT NULL,
        ended REAL NOT NULL,
        plan_ended REAL,                -- of what was planned: the last of all its ends
        episode TEXT NOT NULL           -- a JSON document: what a calendar shows of it
    );
    CREATE INDEX incidents_unsettled ON incidents (number) WHERE is_unsettled;
    CREATE INDEX incidents_changed ON incidents (changed);
    CREATE INDEX incidents_listed ON incidents (changed, number) WHERE is_listed;
    CREATE INDEX incidents_scheduled ON incidents (is_scheduled, number) WHERE is_listed;
    CREATE INDEX incidents_started ON incidents (started) WHERE is_placed;
    CREATE INDEX incidents_ended ON incidents (ended, started, number) WHERE is_placed;
    CREATE INDEX incidents_planned ON incidents (plan_ended) WHERE plan_ended IS NOT NULL;
    CREATE TRIGGER incident_written AFTER INSERT ON facts WHEN NEW.kind = 'Incident' BEGIN
        INSERT OR REPLACE INTO incidents
        WITH incident AS (SELECT
            json_extract(NEW.body, '$.status') AS status,
            json_extract(NEW.body, '$.severity') AS severity,
            json_extract(NEW.body, '$.started_at') AS started_at,
            json_extract(NEW.body, '$.ended_at') AS ended_at,
            json_extract(NEW.body, '$.planned_start') AS planned_start,
            json_extract(NEW.body, '$.planned_end') AS planned_end,
            json_extract(NEW.body, '$.unplanned[1]') AS unplanned_end
        )
        SELECT
            NEW.key,
            status NOT IN ('dismissed', 'resolved')
                OR coalesce(json_array_length(NEW.body, '$.undo'), 0) > 0,
            json_extract(NEW.body, '$.announced_at') IS NOT NULL AND status <> 'suspected',
            severity = 'maintenance' OR status = 'planned'
                OR (planned_start IS NOT NULL AND status = 'dismissed'),
            status NOT IN ('suspected', 'dismissed'),
            julianday(json_extract(NEW.body, '$.updated_at')),
            julianday(started_at),
            coalesce(julianday(ended_at), 1e9),
            CASE WHEN planned_start IS NOT NULL OR unplanned_end IS NOT NULL THEN
                max(
                    julianday(started_at),
                    coalesce(julianday(planned_start), 0),
                    coalesce(julianday(planned_end), 0),
                    coalesce(julianday(ended_at), 0),
                    coalesce(julianday(unplanned_end), 0)
                )
            END,
            json_object(
                'number', NEW.key,
                'title', json_extract(NEW.body, '$.title'),
                'severity', severity,
                'status', status,
                'status_by', json_extract(NEW.body, '$.status_by'),
                'started_at', started_at,
                'ended_at', ended_at,
                'planned_start', planned_start,
                'planned_end', planned_end
            )
        FROM incident;
    END;
    CREATE TRIGGER incident_altered AFTER UPDATE ON facts WHEN NEW.kind = 'Incident' BEGIN
        INSERT OR REPLACE INTO facts VALUES (NEW.kind, NEW.key, NEW.body);
    END;
    CREATE TRIGGER incident_gone AFTER DELETE ON facts WHEN OLD.kind = 'Incident' BEGIN
        DELETE FROM incidents WHERE number = OLD.key;
    END;
    INSERT OR REPLACE INTO facts SELECT * FROM facts WHERE kind = 'Incident';
    CREATE INDEX mails_unsettled ON facts (key) WHERE kind = 'Mail'
        AND json_extract(body, '$.state') IN ('held', 'claimed', 'handed_over', 'failed');
    CREATE INDEX alerts_closed ON facts (julianday(json_extract(body, '$.closed_at')))
        WHERE kind = 'Alert';
    CREATE INDEX alerts_joined ON facts (json_extract(body, '$.incident')) WHERE kind = 'Alert';
    """,
    # By where they come from.
    """
    CREATE INDEX incidents_imported ON facts (json_extract(body, '$.imported_from'))
        WHERE kind = 'Incident' AND json_extract(body, '$.imported_from') <> '';
    """,
)
#: Makes a file a copy, which takes another epoch when it is first opened.
MARK_AS_COPY = (
    "UPDATE facts SET body = json_set(body, '$.copied', json('true')) WHERE kind = 'Memory'"
)


class Unusable(Exception):
    """The database cannot be used; `exit_code` is what the command then ends with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


NO_ROOM = ("free some disk space, or check whether the disk is failing", os.EX_TEMPFAIL)
NOT_OURS = ("the folder must exist and be writable, and the file too, for this user", os.EX_NOPERM)
UNSOUND = ("the file is not a sound SQLite database: restore a backup", os.EX_DATAERR)
A_LINK = "this is a symbolic link, which is not followed: remove it, and start again"
HELD = ("another program holds the database: end that program", os.EX_TEMPFAIL)
#: What SQLite's codes mean to an operator, and the exit code; https://www.sqlite.org/rescode.html
CAUSES = {
    sqlite3.SQLITE_NOTADB: UNSOUND,
    sqlite3.SQLITE_CORRUPT: UNSOUND,
    sqlite3.SQLITE_BUSY: HELD,
    sqlite3.SQLITE_LOCKED: HELD,
    sqlite3.SQLITE_PROTOCOL: HELD,
    sqlite3.SQLITE_FULL: NO_ROOM,
    sqlite3.SQLITE_IOERR: NO_ROOM,
    sqlite3.SQLITE_CANTOPEN: NOT_OURS,
    sqlite3.SQLITE_READONLY: NOT_OURS,
    sqlite3.SQLITE_PERM: NOT_OURS,
}
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def explain_error(path: Path, error: sqlite3.Error | OSError) -> Unusable | None:
    """What to tell an operator of an error with this file, or None where it is news to us."""
    if isinstance(error, OSError):
        if error.errno == errno.ELOOP:
            return Unusable(f"{error.filename}: {A_LINK}", NOT_OURS[1])
        remedy, code = NOT_OURS
        if error.errno in DISK_ERRORS:
            remedy, code = NO_ROOM
        return Unusable(f"{path}: {error.strerror}: {remedy}", code)
    cause = CAUSES.get(primary_code(error))
    if cause is None:
        return None
    remedy, code = cause
    return Unusable(f"{path}: {error}: {remedy}", code)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's code for the kind of error; 0 where it is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def explain_unsaved(error: sqlite3.Error) -> str:
    """What to tell an operator of a write that failed while monostat runs."""
    remedy, _ = CAUSES.get(primary_code(error), NO_ROOM)
    return f"nothing can be saved ({error}): {remedy}"


def lock(path: Path, locks: ExitStack, flags: int = 0) -> int:
    """Keeps every other monostat off a file until `locks` are closed; returns its descriptor.

    The file is made where it is missing. Raises BlockingIOError where another one has it, by
    whatever path.
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
def refuse_foreign_logs(path: Path, descriptor: int) -> None:
    """Raises Unusable where a log of another database lies beside this one, and would be obeyed.

    A copy of ours has no log of either kind. A rollback journal is our own only while the file has
    one page at most. What lies beside a raw copy of the file cannot be told from its own.
    """
    real = os.path.realpath(path)
    wal = f"{real}-wal"
    journal = f"{real}-journal"
    # Before the header is read: a daemon that starts just now may be making its own log.
    left = [log for log in (wal, journal) if os.path.exists(log) and os.path.getsize(log)]
    header = os.pread(descriptor, 20, 0)
    page_size = int.from_bytes(header[16:18], "big")
    is_foreign = {wal: header[18:20] == b"\1\1", journal: os.fstat(descriptor).st_size > page_size}
    for log in left:
        if is_foreign[log]:
            raise Unusable(
                f"{log}: another database has left this, and it would undo the copy that was"
                f" restored as {path}: move it away, and {real}-shm if there is one, then start"
                " again",
                os.EX_DATAERR,
            )


async def prepare(
    db: aiosqlite.Connection,
    path: Path,
    schema: Sequence[str],
    before_long_step: Callable[[], None],
) -> None:
    """Checks the file, and brings its schema up to date.

    1. One of a newer version is refused, and one that is not sound.
    2. Before a migration a copy is kept beside it.
    3. Each script is one transaction with the number that says so.
    """
    ((version,),) = await db.execute_fetchall("PRAGMA user_version")
    if version > len(schema):
        remedy = f"written by a newer monostat (schema {version}): install that version or a backup"
        raise Unusable(f"{path}: {remedy}", os.EX_CONFIG)
    before_long_step()
    ((verdict,),) = await db.execute_fetchall("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise Unusable(f"{path}: {' '.join(verdict.split())}: {UNSOUND[0]}", UNSOUND[1])
    if 0 < version < len(schema):
        before_long_step()
        await asyncio.to_thread(copy, path, path.with_name(f"{path.name}.schema-{version}"))
    await db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
    for number, script in enumerate(schema[version:], version + 1):
        before_long_step()
        await db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def copy(path: Path, target: Path) -> None:
    """Writes a consistent copy, marked as one, whoever writes to the original meanwhile.

    There is never half of one: it is made in a folder that nobody else can look into, and then
    takes the target's place, whatever was there. Raises Unusable where there is nothing to copy, or
    nowhere to copy it to.
    """
    _refuse_target(path, target)
    about = path
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as original:
            ((schema,),) = original.execute("PRAGMA user_version").fetchall()
            if not schema:
                raise Unusable(f"{path}: this is not a database of monostat", os.EX_UNAVAILABLE)
            about = target
            with TemporaryDirectory(prefix=".monostat-", dir=target.parent) as private:
                part = Path(private, "part")
                os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                with closing(sqlite3.connect(part, isolation_level=None)) as duplicate:
                    original.backup(duplicate)
                    duplicate.execute("PRAGMA journal_mode = DELETE")  # one file
                    duplicate.execute(MARK_AS_COPY)
                part.replace(target)
    except (sqlite3.Error, OSError) as error:
        if unusable := explain_error(about, error):
            raise unusable from error
        raise


def _refuse_target(path: Path, target: Path) -> None:
    if not path.is_file():
        remedy = "there is no database to copy: see database.path of the settings"
        raise Unusable(f"{path}: {remedy}", os.EX_UNAVAILABLE)
    if target.exists() and target.samefile(path):
        raise Unusable(f"{target}: this is the database itself: name another file", os.EX_USAGE)
    real = os.path.realpath(path)
    belongings = {f"{real}{end}" for end in ("-wal", "-shm", "-journal", ".lock")}
    if os.path.realpath(target) in belongings:
        raise Unusable(
            f"{target}: this belongs to the database itself: name another file", os.EX_USAGE
        )
    if target.exists() and not target.is_file():
        raise Unusable(f"{target}: this is not a file: name one, or a folder", os.EX_USAGE)
