"""How a test waits: for what it needs to see, and no longer."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T | None]], *, within: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T | None], *, within: float = ...) -> T: ...
async def eventually(check: Callable[[], object], *, within: float = 30.0) -> object:
    """Asks until the answer is truthy, and hands it over.

    It is patient: whether a machine is slow is no question of a test.
    """
    deadline = time.monotonic() + within
    while True:
        found = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within} s: the last answer was {found!r}"
        await asyncio.sleep(0.005)
