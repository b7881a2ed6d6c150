"""What happened on which day, in the zone of the site."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from monostat.core.model import DISMISSED, PLANNED, RANK, SUSPECTED, Incident

DAY = timedelta(days=1)
#: Whatever staff wrote, no calendar begins earlier.
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)


def past_incidents(incidents: Iterable[Incident]) -> list[Incident]:
    """What has a place in the calendar, newest first: no suspicion, and nothing cancelled."""
    placed = [i for i in incidents if i.status not in (SUSPECTED, DISMISSED)]
    return sorted(placed, key=lambda i: (i.planned_start or i.started_at, i.number), reverse=True)


class Days:
    """Days from midnight to midnight in one zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    def day_of(self, at: datetime) -> date:
        """The day of this moment."""
        return at.astimezone(self._zone).date()

    def midnight(self, day: date) -> datetime:
        """When the day begins, in UTC."""
        return datetime.combine(day, time(), self._zone).astimezone(UTC)

    def hours(self, day: date) -> float:
        """How long it is: 23 or 25 hours where the clocks are set."""
        length = self.midnight(day + DAY) - self.midnight(day)
        return round(length.total_seconds() / 3600, 1)

    def first(self, birth: datetime, past: Iterable[Incident]) -> date:
        """The first day that the page knows of: of its own birth, or of an older incident."""
        earliest = min([birth, *(incident.started_at for incident in past)])
        return self.day_of(max(earliest, EARLIEST))

    def between(
        self, first: date, later: date, incidents: Iterable[Incident], now: datetime
    ) -> list[Incident]:
        """What happened from the one midnight to the other, the worst first."""
        begin = self.midnight(first)
        end = self.midnight(later)
        touching = [i for i in incidents if touches(i, begin, end, now)]
        return sorted(touching, key=lambda i: RANK(i.severity), reverse=True)


def touches(incident: Incident, begin: datetime, end: datetime, now: datetime) -> bool:
    """Whether any of it lies between; a plan counts by its planned time."""
    if incident.status is PLANNED:
        start = incident.planned_start or incident.started_at
        over = incident.planned_end or start
    else:
        start = incident.started_at
        over = incident.ended_at or now
    return start < end and (start >= begin or over > begin)
