"""Rows of incidents, also of those that are long over: what pages, feeds and people look up.

It reads by a connection of its own, which waits for no writing, and sees what is committed. Every
question has a limit or a span, and an index: the table `incidents` in `database.py`.
"""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime

import aiosqlite

from monostat.core.model import Alert, Episode, Incident
from monostat.facts import read_fact

BATCH = 100  # incidents that are read at once, where all are wanted
IMPORTED = """
    SELECT json_extract(body, '$.imported_from'), key FROM facts INDEXED BY incidents_imported
    WHERE kind = 'Incident' AND json_extract(body, '$.imported_from') <> ''
    AND json_extract(body, '$.imported_from') IN (SELECT value FROM json_each(?))
"""
PLACED = (
    "FROM incidents INDEXED BY incidents_ended WHERE is_placed"
    " AND ended >= julianday(?, '-1 second') AND started <= julianday(?, '+1 second')"
)


class Archive:
    """Answers from what is committed; every method raises sqlite3.Error where that fails."""

    def __init__(self, db: aiosqlite.Connection) -> None:
        self._db = db

    async def incident(self, number: int) -> Incident | None:
        """The incident of this number, if it exists."""
        found = await self._incidents("SELECT ? AS number", number)
        return found[0] if found else None

    async def imported(self, sources: Iterable[str]) -> dict[str, int]:
        """The numbers of those that came from one of these sources, by the source."""
        rows = await self._db.execute_fetchall(IMPORTED, (json.dumps(list(sources)),))
        return {str(source): int(number) for source, number in rows}

    async def alerts(self, number: int) -> list[Alert]:
        """All alerts that belong to this incident."""
        sql = (
            "SELECT body FROM facts INDEXED BY alerts_joined"
            " WHERE kind = 'Alert' AND json_extract(body, '$.incident') = ?"
        )
        rows = await self._db.execute_fetchall(sql, (number,))
        return [read_fact(Alert, body) for (body,) in rows]

    async def listed(self, most: int) -> list[Incident]:
        """The newest that programs are told of, at `most` of incidents and as many of plans."""
        numbers = (
            "SELECT * FROM (SELECT number FROM incidents INDEXED BY incidents_scheduled"
            " WHERE is_listed AND is_scheduled = {} ORDER BY number DESC LIMIT ?)"
        )
        both = f"{numbers.format(0)} UNION ALL {numbers.format(1)}"
        return await self._incidents(both, most, most)

    async def changed(self, most: int) -> list[Incident]:
        """Of those that programs are told of, the `most` whose last change is the newest."""
        numbers = (
            "SELECT number FROM incidents INDEXED BY incidents_listed WHERE is_listed"
            " ORDER BY changed DESC, number DESC LIMIT ?"
        )
        return await self._incidents(numbers, most)

    async def placed(self, begin: datetime, end: datetime) -> list[Incident]:
        """All that has a place in the history and happened between these, or may still."""
        return await self._incidents(f"SELECT number {PLACED}", *between(begin, end))

    async def episodes(self, begin: datetime, end: datetime) -> list[Episode]:
        """Of all that `placed` finds between these, as much as a calendar shows."""
        rows = await self._db.execute_fetchall(f"SELECT episode {PLACED}", between(begin, end))
        return [read_fact(Episode, episode) for (episode,) in rows]

    async def first_start(self) -> datetime | None:
        """When the oldest began that has a place in the history."""
        sql = "SELECT episode FROM incidents WHERE is_placed ORDER BY started LIMIT 1"
        rows = await self._db.execute_fetchall(sql)
        return next((read_fact(Episode, episode).started_at for (episode,) in rows), None)

    async def all(self) -> AsyncIterator[list[Incident]]:
        """Every incident that there is, the newest first, in batches that hold nobody up."""
        numbers = "SELECT number FROM incidents WHERE number < ? ORDER BY number DESC LIMIT ?"
        last = 1 << 62
        while found := await self._incidents(numbers, last, BATCH):
            yield found
            last = found[-1].number

    async def _incidents(self, numbers: str, *args: object) -> list[Incident]:
        """Those of these numbers, the newest first."""
        # The questions are our own. SQLite knows too little of the rows to choose this order, and a
        # key has no type: a number is compared with it without one, as +number.
        sql = f"SELECT body FROM ({numbers}) CROSS JOIN facts"  # noqa: S608
        sql += " ON kind = 'Incident' AND key = +number ORDER BY number DESC"
        rows = await self._db.execute_fetchall(sql, args)
        return [read_fact(Incident, body) for (body,) in rows]


def between(begin: datetime, end: datetime) -> Sequence[str]:
    """What PLACED is asked with; it answers with a second more than that on both sides."""
    return begin.isoformat(), end.isoformat()
