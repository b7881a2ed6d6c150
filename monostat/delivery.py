"""How telling a vendor can fail, and how long to wait before the next try."""

from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from random import Random

import aiohttp

#: Raised before a request has left: the vendor cannot have it.
UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
LONGEST = 3600.0  # seconds that a vendor may ask us to wait


class Undelivered(Exception):
    """A vendor did not take what it was told.

    `permanent`: the same words will be refused again. `ambiguous`: the vendor may have taken it all the same, so it
    must be asked before it is told again. `retry_after`: the seconds that the vendor asked for, or None.
    """

    def __init__(
        self, reason: str, *, permanent: bool = False, ambiguous: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.ambiguous = ambiguous
        self.retry_after = retry_after


def backoff(attempt: int, rng: Random, *, longest: float = 300.0) -> float:
    """Seconds to wait after the given failed attempt (1 is the first): doubling from one, half of it by chance."""
    span = min(longest, 2.0 ** min(attempt - 1, 30))
    return span / 2 + rng.random() * span / 2


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that an answer asks us to wait; a date counts from the answer's own, whatever our clock says."""
    asked = headers.get("Retry-After", "")
    if asked.isdecimal():
        return min(float(asked), LONGEST)
    with suppress(ValueError, TypeError):
        span = parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("Date", ""))
        return min(max(span.total_seconds(), 0.0), LONGEST)
    return None
