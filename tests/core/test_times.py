"""Times, days and spans are written in one way, in each language by its own rules."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from monostat.core.times import Times
from monostat.languages import load_words

BERLIN = ZoneInfo("Europe/Berlin")
ENGLISH = Times(load_words("en"), BERLIN)
GERMAN = Times(load_words("de"), BERLIN)
NOW = datetime(2026, 11, 29, 13, 30, tzinfo=BERLIN)
PLAN = datetime(2026, 12, 5, 21, 52, tzinfo=BERLIN)


def test_today_is_told_by_the_clock_another_day_by_its_name_another_year_by_its_number() -> None:
    morning = datetime(2026, 11, 29, 12, 52, tzinfo=UTC)
    far = PLAN.replace(year=2027)
    assert ENGLISH.moment(morning, NOW) == GERMAN.moment(morning, NOW) == "13:52"
    assert ENGLISH.moment(PLAN, NOW) == "Sat 5 Dec, 21:52"
    assert GERMAN.moment(PLAN, NOW) == "Sa., 5. Dez., 21:52"
    assert ENGLISH.moment(far, NOW) == "Sun 5 Dec 2027, 21:52"
    assert GERMAN.moment(far, NOW) == "So., 5. Dez. 2027, 21:52"
    assert ENGLISH.dated(morning, NOW) == "Sun 29 Nov, 13:52"
    assert ENGLISH.long_day(date(2026, 3, 4)) == "Wednesday, 4 March 2026"
    assert GERMAN.long_day(date(2026, 3, 4)) == "Mittwoch, 4. März 2026"
    assert GERMAN.month(date(2026, 3, 4)) == "März 2026"


def test_a_range_shares_its_day_and_what_is_planned_always_has_one() -> None:
    assert ENGLISH.range(PLAN, PLAN + timedelta(hours=4), NOW) == "Sat 5 Dec, 21:52–01:52"
    assert GERMAN.range(PLAN, PLAN + timedelta(hours=4), NOW) == "Sa., 5. Dez., 21:52–01:52"
    later = NOW + timedelta(hours=1)
    assert ENGLISH.range(NOW, later, NOW) == "13:30–14:30"
    assert ENGLISH.range(NOW, later, NOW, planned=True) == "Sun 29 Nov, 13:30–14:30"
    assert (
        ENGLISH.range(NOW, NOW + timedelta(days=2), NOW, planned=True)
        == "Sun 29 Nov, 13:30–Tue 1 Dec, 13:30"
    )


def test_a_zone_has_the_name_that_readers_of_the_language_use() -> None:
    assert ENGLISH.zone_name(NOW) == "CET"
    assert GERMAN.zone_name(NOW) == "MEZ"
    assert Times(GERMAN.words, ZoneInfo("Asia/Riyadh")).zone_name(NOW) == "UTC+03"


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [
        (-3, "1 s", "1 s"),
        (0.2, "1 s", "1 s"),
        (59.4, "59 s", "59 s"),
        (89, "1 min 29 s", "1 min 29 s"),
        (120, "2 min", "2 min"),
        (3599, "59 min 59 s", "59 min 59 s"),
        (3600, "1 h", "1 h"),
        (7500, "2 h 5 min", "2 h 5 min"),
        (93_780, "26 h 3 min", "26 h 3 min"),
        (259_200, "3 days", "3 Tage"),
        (266_400, "3 days 2 h", "3 Tage 2 h"),
    ],
)
def test_a_length_of_time_is_told_in_two_units_at_most(
    seconds: float, english: str, german: str
) -> None:
    assert ENGLISH.span(seconds) == english
    assert GERMAN.span(seconds) == german


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [
        (-20, "just now", "gerade eben"),
        (20, "in less than a minute", "in weniger als einer Minute"),
        (-60, "1 minute ago", "vor 1 Minute"),
        (-7000, "1 hour ago", "vor 1 Stunde"),
        (7300, "in 2 hours", "in 2 Stunden"),
        (PLAN.timestamp() - NOW.timestamp(), "in 6 days", "in 6 Tagen"),
        (-16 * 86_400, "16 days ago", "vor 16 Tagen"),
    ],
)
def test_how_far_away_a_time_is_is_told_in_whole_units(
    seconds: float, english: str, german: str
) -> None:
    at = NOW + timedelta(seconds=seconds)
    assert ENGLISH.relative(at, NOW) == english
    assert GERMAN.relative(at, NOW) == german
