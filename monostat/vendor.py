"""How asking and telling a vendor can fail, and how long to wait before the next try."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from json import loads
from random import Random
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from monostat.core.model import MAX_RETRY_AFTER

log = logging.getLogger(__name__)
#: Raised before a request has left: the vendor cannot have it.
CONNECT_ERRORS = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
MAX_ANSWER_BYTES = 5_000_000
GOODBYE = 3.0  # seconds that a part may take to end before it is cancelled once more
#: Who is told by `expect_turn`; set by those that supervise loops.
turning: ContextVar[Callable[[float | None], None]] = ContextVar(
    "turning", default=lambda _seconds: None
)


def expect_turn(seconds: float | None) -> None:
    """Tells the supervisor of this loop that it turns again within so many seconds; None: when it
    is woken.
    """
    tell_supervisor = turning.get()
    tell_supervisor(seconds)


async def side_by_side(*runs: Callable[[], Awaitable[None]]) -> None:
    """Runs these in one supervised loop, which is stuck as soon as one of them is.

    Raises what the first of them raises that fails, when the others have ended.
    """
    clock = asyncio.get_running_loop().time
    tell_supervisor = turning.get()
    due_at = dict.fromkeys(range(len(runs)), clock())  # when each has to turn again

    async def run(number: int) -> None:
        def turn(seconds: float | None) -> None:
            due_at[number] = math.inf
            if seconds is not None:
                due_at[number] = clock() + seconds
            earliest = min(due_at.values())
            if earliest == math.inf:
                tell_supervisor(None)
            else:
                tell_supervisor(earliest - clock())

        turning.set(turn)  # for this task alone
        await runs[number]()

    running = [asyncio.create_task(run(number)) for number in range(len(runs))]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
    finally:  # a task group would cancel them only once
        ending = asyncio.create_task(end(running, again_after=GOODBYE))
        while not ending.done():
            with suppress(asyncio.CancelledError):  # whoever says it again waits for this, too
                await asyncio.wait([ending])
    for task in done:
        task.result()


async def end(running: Collection[asyncio.Task[None]], *, again_after: float = 1.0) -> None:
    """Cancels tasks until they have ended, each so many seconds once more.

    A time limit of aiohttp's that ends at this very moment swallows a cancellation.
    """
    while left := [task for task in running if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=again_after)


@contextmanager
def unsupervised() -> Iterator[None]:
    """Tasks that are made in here, and all that these make, tell no supervisor of their turns."""
    token = turning.set(lambda _seconds: None)
    try:
        yield
    finally:
        turning.reset(token)


@dataclass(eq=False)
class Undelivered(Exception):
    """A vendor did not take, or did not say, what was asked of it; `status` is HTTP's, or 0.

    `permanent`: the same words will be refused again. `ambiguous`: the vendor may have taken it all
    the same, so it must be asked before it is told again. `retry_after`: the seconds that the
    vendor asked for, or None.
    """

    reason: str
    permanent: bool = False
    ambiguous: bool = False
    retry_after: float | None = None
    status: int = 0


class Answer(NamedTuple):
    """What a vendor answered; `body` is what its JSON holds, None where it is not JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


async def ask(
    session: aiohttp.ClientSession,
    vendor: str,
    method: str,
    url: str | URL,
    seconds: float,
    *,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    json: object = None,
    data: Mapping[str, str] | bytes | None = None,
) -> Answer:
    """Asks a vendor once, within so many seconds, following no redirect.

    Raises Undelivered where no answer comes; any status is an answer.
    """
    expect_turn(seconds)
    # A connection that was never made is told from an answer that never came: only the latter is
    # ambiguous.
    timeout = aiohttp.ClientTimeout(total=seconds, connect=seconds / 2)
    try:
        async with session.request(
            method,
            url,
            headers=headers,
            params=params,
            json=json,
            data=data,
            timeout=timeout,
            allow_redirects=False,
        ) as answer:
            body = await _read_limited(answer, vendor)
    except CONNECT_ERRORS as error:
        raise Undelivered(f"{vendor} cannot be reached ({type(error).__name__})") from None
    except (aiohttp.ClientError, TimeoutError) as error:
        reason = f"{vendor} did not answer ({type(error).__name__})"
        raise Undelivered(reason, ambiguous=True) from None
    log.debug("%s %s: %s", method, URL(url).host, answer.status)
    return Answer(answer.status, answer.headers, _json_of(body))


async def _read_limited(answer: aiohttp.ClientResponse, vendor: str) -> bytes:
    body = bytearray()
    async for part in answer.content.iter_chunked(65536):
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise Undelivered(f"the answer of {vendor} is too long", ambiguous=True)
    return bytes(body)


def _json_of(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return loads(body)
    return None


class Condition:
    """Logs what is wrong once when it comes and once when it has gone."""

    def __init__(self, about: str) -> None:
        self.about = about
        self.trouble = ""

    def tell(self, trouble: str) -> None:
        """Takes what is wrong now; empty where nothing is."""
        if trouble != self.trouble:
            level = logging.WARNING if trouble else logging.INFO
            log.log(level, "%s: %s", self.about, trouble or "works again")
        self.trouble = trouble


def backoff(attempt: int, rng: Random, *, first: float = 1.0, longest: float = 300.0) -> float:
    """Seconds to wait after so many failed tries: doubling from `first`, half of it by chance."""
    doubled = first * 2.0 ** min(attempt - 1, 30)
    return min(longest, doubled) * rng.uniform(0.5, 1)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that an answer asks us to wait, or None.

    A date counts from the answer's own Date, whatever our clock says.
    """
    period = headers.get("Retry-After", "")
    if period.isdecimal():
        return min(float(period), MAX_RETRY_AFTER)
    with suppress(ValueError, TypeError, OverflowError):
        span = parsedate_to_datetime(period) - parsedate_to_datetime(headers.get("Date", ""))
        return min(max(span.total_seconds(), 0.0), MAX_RETRY_AFTER)
    return None


async def pause(wake: asyncio.Event, seconds: float | None) -> None:
    """Waits for the event, or so many seconds; None: for the event alone."""
    expect_turn(seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds and max(seconds, 0)):
            await wake.wait()
    expect_turn(0)


async def nap(seconds: float) -> None:
    """Waits so many seconds; nothing ends this."""
    expect_turn(seconds)
    await asyncio.sleep(seconds)
    expect_turn(0)
