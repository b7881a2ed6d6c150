"""Times, days and spans in the words of one language and the zone of one reader.

Names and patterns stand in the catalogue's [time] and [relative]: that is all a public page needs,
and Babel would bring 30 MB of other languages and patterns that differ from the ones we chose. What
`now` is decides what may be left out: of today only the clock is told, of this year not the year.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

from monostat.core.words import Words

MINUTE = 60
HOUR = 3600
DAY = 86_400


class Unit(NamedTuple):
    """A unit of spans: from how many seconds on they are told in it, and how many it has.

    `key` is its own in the catalogue's [time]; the rest is told in units of `part` seconds.
    """

    least: int
    seconds: int
    key: str
    part: int
    part_key: str


#: The largest first.
UNITS = (
    Unit(2 * DAY, DAY, "days", HOUR, "hours"),
    Unit(HOUR, HOUR, "hours", MINUTE, "minutes"),
    Unit(MINUTE, MINUTE, "minutes", 1, "seconds"),
)


class Range(NamedTuple):
    """Both ends of a range in words; of the end only the clock where `shares_day`."""

    start: str
    end: str
    shares_day: bool


@dataclass(frozen=True)
class Times:
    """Writes times in `words`, as clocks in `zone` show them."""

    words: Words
    zone: tzinfo

    def clock(self, at: datetime) -> str:
        """The time of day in 24 hours, as "13:52"."""
        local = at.astimezone(self.zone)
        return f"{local:%H:%M}"

    def zone_name(self, at: datetime) -> str:
        """What the zone is called at that time, as "CET", or "UTC+03" where it has no name."""
        local = at.astimezone(self.zone)
        name = local.tzname() or ""
        if name.startswith(("+", "-")):
            name = f"UTC{name}"
        called = self.words.entries.get(f"zones.{name}", name)
        return str(called)

    def day(self, day: date, today: date) -> str:
        """A day as "Sat 5 Dec", with its year where that is another one than today's."""
        key = "time.day" if day.year == today.year else "time.day_of_year"
        return self._named(key, day, "short_weekdays", "short_months")

    def long_day(self, day: date) -> str:
        """A day as "Saturday, 5 December 2026"."""
        return self._named("time.long_day", day, "weekdays", "months")

    def month(self, day: date) -> str:
        """The month of a day, as "December 2026"."""
        return self._named("time.month", day, "weekdays", "months")

    def _named(self, key: str, day: date, weekdays: str, months: str) -> str:
        names_of_days = self.words.names(f"time.{weekdays}")
        names_of_months = self.words.names(f"time.{months}")
        return self.words(
            key,
            weekday=names_of_days[day.weekday()],
            day=day.day,
            month=names_of_months[day.month - 1],
            year=day.year,
        )

    def dated(self, at: datetime, now: datetime) -> str:
        """A time with its day, as "Sat 5 Dec, 21:52"; today's, too."""
        today = self._day_of(now)
        day = self.day(self._day_of(at), today)
        clock = self.clock(at)
        return self.words("time.dated", day=day, clock=clock)

    def moment(self, at: datetime, now: datetime) -> str:
        """A time as "13:52" where it is today, else with its day."""
        if self._day_of(at) == self._day_of(now):
            return self.clock(at)
        return self.dated(at, now)

    def ends(
        self, start: datetime, end: datetime, now: datetime, *, planned: bool = False
    ) -> Range:
        """Both ends of a range, which share their day where it lasts less than one.

        What is `planned` has its day also where that is today.
        """
        write = self.dated if planned else self.moment
        lasts = end - start
        begin = write(start, now)
        if lasts < timedelta(days=1):
            return Range(start=begin, end=self.clock(end), shares_day=True)
        return Range(start=begin, end=write(end, now), shares_day=False)

    def range(self, start: datetime, end: datetime, now: datetime, *, planned: bool = False) -> str:
        """A range of times, as "Sat 5 Dec, 21:52–01:52"."""
        ends = self.ends(start, end, now, planned=planned)
        return self.words("time.range", start=ends.start, end=ends.end)

    def span(self, seconds: float) -> str:
        """A length of time, as "41 s", "1 min 29 s", "2 h 5 min" or "3 days": two units at most.

        What took no time that anybody could have measured took a second.
        """
        whole = max(round(seconds), 1)
        for unit in UNITS:
            if whole >= unit.least:
                return self._in_units(whole, unit)
        return self.words("time.seconds", n=whole)

    def _in_units(self, whole: int, unit: Unit) -> str:
        """How many of the unit it is, and of its part where there is a rest."""
        count, rest = divmod(whole, unit.seconds)
        more = self.words(f"time.{unit.key}", n=count)
        parts = rest // unit.part
        if not parts:
            return more
        less = self.words(f"time.{unit.part_key}", n=parts)
        return self.words("time.two_units", more=more, less=less)

    def relative(self, at: datetime, now: datetime) -> str:
        """How long ago, or in how long, as "in 6 days", "3 minutes ago" or "just now".

        Of times over two days away the days are counted, as people count nights.
        """
        span = at - now
        size = abs(span.total_seconds())
        tense = "in" if at > now else "ago"
        for unit in UNITS:
            if size >= unit.least:
                key = unit.key
                count = int(size // unit.seconds)
                break
        else:
            return self.words(f"relative.{tense}_a_moment")
        if key == "days":
            nights = self._day_of(at) - self._day_of(now)
            count = abs(nights.days)
        return self.words(f"relative.{tense}_{key}", n=count)

    def _day_of(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()
