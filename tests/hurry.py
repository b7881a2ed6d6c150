"""Event loops on which an hour of waiting passes in seconds."""

import asyncio
import selectors
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Selector(selectors.DefaultSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(
            timeout and timeout / self.speed
        )
        return found


class Hurried(asyncio.SelectorEventLoop):
    """All that waits for this loop's time waits `speed` times shorter; `now` is the wall clock that goes with it."""

    def __init__(self, speed: float) -> None:
        self.speed, self.began, self.birth = speed, time.monotonic(), datetime.now(UTC)
        super().__init__(Selector(speed))

    def time(self) -> float:
        return self.began + (time.monotonic() - self.began) * self.speed

    def now(self) -> datetime:
        return self.birth + timedelta(seconds=self.time() - self.began)


class Patient(selectors.DefaultSelector):
    """Waits for a moment only; when nothing comes, `pass_` is told how long it was to wait."""

    MOMENT = 0.001  # seconds, for threads and the kernel to have their say

    def __init__(self, pass_: Callable[[float], None]) -> None:
        super().__init__()
        self._pass = pass_

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(timeout and min(timeout, self.MOMENT))
        if timeout and not found:
            self._pass(timeout)
        return found


class Virtual(asyncio.SelectorEventLoop):
    """Its clock stands while there is anything to do, and goes on to the next appointment when there is nothing.

    However busy the machine is, nothing comes too late here; `now` is the wall clock that goes with it.
    """

    def __init__(self) -> None:
        self.passed, self.birth = 0.0, datetime.now(UTC)
        super().__init__(Patient(self.suspend))

    def suspend(self, seconds: float) -> None:
        """The clock goes on, and nobody notices."""
        self.passed += seconds

    def time(self) -> float:
        return self.passed

    def now(self) -> datetime:
        return self.birth + timedelta(seconds=self.passed)
