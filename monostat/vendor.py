"""How asking and telling a vendor can fail, and how long to wait before the next try."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

import aiohttp

log = logging.getLogger(__name__)
#: Raised before a request has left: the vendor cannot have it.
UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
LONGEST = 3600.0  # seconds that a vendor may ask us to wait
LARGEST = 5_000_000  # bytes of an answer
#: What a loop tells its supervisor: within how many seconds it will turn again; None: when it is
#: woken.
turning: ContextVar[Callable[[float | None], None]] = ContextVar(
    "turning", default=lambda _seconds: None
)


@dataclass(eq=False)
class Undelivered(Exception):
    """A vendor did not take, or did not say, what was asked of it; `status` is its HTTP status, or
    0.

    `permanent`: the same words will be refused again. `ambiguous`: the vendor may have taken it all
    the same, so it must be asked before it is told again. `retry_after`: the seconds that the
    vendor asked for, or None.
    """

    reason: str
    permanent: bool = False
    ambiguous: bool = False
    retry_after: float | None = None
    status: int = 0


async def ask(
    session: aiohttp.ClientSession, vendor: str, method: str, url: Any, seconds: float, **more: Any
) -> tuple[int, Mapping[str, str], Any]:
    """Asks a vendor once, within so many seconds, following no redirect; raises Undelivered where
    nothing comes.

    Returns status, headers, and what the JSON of the body holds: None where it is no JSON.
    """
    # A connection that was never made is told from an answer that never came: only that is
    # ambiguous.
    more |= {
        "timeout": aiohttp.ClientTimeout(total=seconds, connect=seconds / 2),
        "allow_redirects": False,
    }
    body = bytearray()
    turning.get()(seconds)
    try:
        async with session.request(method, url, **more) as answer:
            async for part in answer.content.iter_chunked(65536):
                body += part
                if len(body) > LARGEST:
                    raise Undelivered(f"the answer of {vendor} is too long", ambiguous=True)
    except UNSENT as error:
        raise Undelivered(f"{vendor} cannot be reached ({type(error).__name__})") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Undelivered(
            f"{vendor} did not answer ({type(error).__name__})", ambiguous=True
        ) from None
    with suppress(ValueError, RecursionError):
        return answer.status, answer.headers, json.loads(body)
    return answer.status, answer.headers, None


class Condition:
    """Logs what is wrong once when it comes and once when it has gone."""

    def __init__(self, about: str) -> None:
        self.about, self.trouble = about, ""

    def tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.log(
                logging.WARNING if trouble else logging.INFO,
                "%s: %s",
                self.about,
                trouble or "works again",
            )
        self.trouble = trouble


def backoff(attempt: int, rng: Random, *, first: float = 1.0, longest: float = 300.0) -> float:
    """Seconds to wait after the given failed attempt (1 is the first): doubling from `first`, half
    of it by chance.
    """
    return min(longest, first * 2.0 ** min(attempt - 1, 30)) * rng.uniform(0.5, 1)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that an answer asks us to wait; a date counts from the answer's own, whatever our
    clock says.
    """
    asked = headers.get("Retry-After", "")
    if asked.isdecimal():
        return min(float(asked), LONGEST)
    with suppress(ValueError, TypeError):
        span = parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("Date", ""))
        return min(max(span.total_seconds(), 0.0), LONGEST)
    return None


async def pause(wake: asyncio.Event, seconds: float | None) -> None:
    """Until the event, or so many seconds."""
    turning.get()(seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds and max(seconds, 0)):
            await wake.wait()
    turning.get()(0)


async def nap(seconds: float) -> None:
    """Nothing ends this."""
    turning.get()(seconds)
    await asyncio.sleep(seconds)
    turning.get()(0)
