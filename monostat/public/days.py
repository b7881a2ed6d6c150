"""What happened on which day, in the zone of the site."""

from calendar import Calendar
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from itertools import chain
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from monostat.core.model import PLANNED, SERIOUS, Episode, Incident, Severity
from monostat.core.past import DAY
from monostat.engine import Engine

GLANCE = 90  # days in the strip
MOST_DAYS = 5  # with outages, which the strip names
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


class Month(NamedTuple):
    """A month in which something happened: its weeks, the worst first of each day, and all.

    `counts` has how many incidents were serious.
    """

    first: date
    weeks: list[list[date]]
    days: dict[date, list[Episode]]
    happened: list[Episode]
    counts: Counter[Severity]


class Quiet(NamedTuple):
    """Months in which nothing happened, by the first days of the earliest and the latest."""

    first: date
    last: date


class Glance(NamedTuple):
    """The last ninety days: a kind for each, oldest first, "none" before records began.

    `counts` has how many incidents were serious, `still_open` how many of them go on; the last one
    ended `days_since` days ago, `worst_days` are the newest with one.
    """

    kinds: list[str]
    counts: Counter[Severity]
    still_open: int
    days_since: int
    worst_days: list[date]
    begun: date


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

    def months(self, newest: date, count: int, episodes: Sequence[Episode]) -> list[Month | Quiet]:
        """So many months down to the first that the page knows of, the newest first.

        Those in which nothing happened are one; the present month has its calendar anyway.
        """
        months: list[Month | Quiet] = []
        first = newest.replace(day=1)
        for _ in range(count):
            later = (first + 31 * DAY).replace(day=1)
            happened = self.between(first, later, episodes)
            if not happened and later <= self.begun:
                break
            if happened or first <= self.today < later:
                months.append(self._month(first, happened))
            elif months and isinstance(months[-1], Quiet):
                months[-1] = months[-1]._replace(first=first)
            else:
                months.append(Quiet(first, first))
            first = (first - DAY).replace(day=1)
        return months

    def _month(self, first: date, happened: list[Episode]) -> Month:
        weeks = Calendar().monthdatescalendar(first.year, first.month)
        days = {day: self.between(day, day + DAY, happened) for day in chain(*weeks)}
        newest_first = sorted(happened, key=_placed_at, reverse=True)
        return Month(
            first=first,
            weeks=weeks,
            days=days,
            happened=newest_first,
            counts=_count_serious(happened),
        )

    def glance(self, episodes: Iterable[Episode]) -> Glance:
        """The last ninety days, with the worst that people confirmed on each."""
        first = self.today - (GLANCE - 1) * DAY
        begun = self.begun
        worst: dict[date, Severity] = {}
        counts = Counter[Severity]()
        still_open = 0
        ends = []
        for incident in episodes:
            span = self._span(incident)
            start = max(self._day_of(span.start), first)
            end = min(self._day_of(span.over), self.today)
            if incident.status is PLANNED or start > end:
                continue
            for day in _days_between(start, end):
                known = worst.get(day, incident.severity)
                worst[day] = max(known, incident.severity, key=_severity_rank)
            if incident.severity in SERIOUS:
                counts[incident.severity] += 1
                if incident.ended_at is None:
                    still_open += 1
                ends.append(end)
        kinds = []
        for day in _days_between(first, self.today):
            kind = "none" if day < begun else "ok"
            kinds.append(worst.get(day) or kind)
        serious = sorted((day for day in worst if worst[day] in SERIOUS), reverse=True)
        return Glance(
            kinds=kinds,
            counts=counts,
            still_open=still_open,
            days_since=(self.today - max(ends, default=self.today)).days,
            worst_days=serious[:MOST_DAYS],
            begun=max(begun, first),
        )

    def _span(self, incident: Incident | Episode) -> Span:
        """From when to when it was; a plan counts by its planned time."""
        if incident.status is not PLANNED:
            over = incident.ended_at or self._now
            return Span(incident.started_at, over)
        start = incident.planned_start or incident.started_at
        over = incident.planned_end or start
        return Span(start, over)


def _count_serious(episodes: Iterable[Episode]) -> Counter[Severity]:
    """How many of these were serious, by their severities; what is only planned is not yet."""
    counts = Counter[Severity]()
    for episode in episodes:
        if episode.severity in SERIOUS and episode.status is not PLANNED:
            counts[episode.severity] += 1
    return counts


def _days_between(first: date, last: date) -> Iterator[date]:
    """Every day from the one to the other, both included."""
    day = first
    while day <= last:
        yield day
        day += DAY


def _placed_at(incident: Incident | Episode) -> tuple[datetime, int]:
    begin = incident.planned_start or incident.started_at
    return begin, incident.number


def _rank(incident: Incident | Episode) -> int:
    return incident.severity.rank


def _severity_rank(severity: Severity) -> int:
    return severity.rank
