"""What happened on which day, in the zone of the site."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from monostat.core.model import PLANNED, Episode, Incident
from monostat.engine import Engine

DAY = timedelta(days=1)
#: Whatever staff wrote, no calendar begins earlier.
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
T = TypeVar("T", Incident, Episode)


class Span(NamedTuple):
    """When something was, or is planned to be."""

    start: datetime
    over: datetime

    def touches(self, begin: datetime, end: datetime) -> bool:
        """Whether it begins between these, or has begun before and is not over."""
        if self.start >= end:
            return False
        return self.start >= begin or self.over > begin


class Days:
    """Days from midnight to midnight in one zone, as they are known now.

    `first_start` is that of the oldest incident with a place in the history, if there is one.
    """

    def __init__(self, zone: ZoneInfo, engine: Engine, first_start: datetime | None) -> None:
        self._zone = zone
        self._now = engine.now()
        birth = engine.state.birth.at
        self._first = min(birth, first_start or birth)

    @property
    def today(self) -> date:
        """The present day."""
        return self._day_of(self._now)

    @property
    def begun(self) -> date:
        """The first day that the page knows of: of its own birth, or of an older incident."""
        return self._day_of(max(self._first, EARLIEST))

    def _day_of(self, at: datetime) -> date:
        return at.astimezone(self._zone).date()

    def midnight(self, day: date) -> datetime:
        """When it begins."""
        begin = datetime.combine(day, time(), self._zone)
        return begin.astimezone(UTC)

    def hours(self, day: date) -> float:
        """How long it is: 23 or 25 hours where the clocks are set."""
        begin = self.midnight(day)
        end = self.midnight(day + DAY)
        seconds = (end - begin).total_seconds()
        return round(seconds / 3600, 1)

    def between(self, first: date, later: date, among: Iterable[T]) -> list[T]:
        """Which of these happened from the one midnight to the other, the worst first."""
        begin = self.midnight(first)
        end = self.midnight(later)
        happened = [each for each in among if self._span(each).touches(begin, end)]
        happened.sort(key=_placed_at, reverse=True)
        happened.sort(key=_rank, reverse=True)
        return happened

    def _span(self, incident: Incident | Episode) -> Span:
        """From when to when it was; a plan counts by its planned time."""
        if incident.status is not PLANNED:
            over = incident.ended_at or self._now
            return Span(incident.started_at, over)
        start = incident.planned_start or incident.started_at
        over = incident.planned_end or start
        return Span(start, over)


def _placed_at(incident: Incident | Episode) -> tuple[datetime, int]:
    begin = incident.planned_start or incident.started_at
    return begin, incident.number


def _rank(incident: Incident | Episode) -> int:
    return incident.severity.rank
