"""An event loop whose clock runs faster than the real one: an hour of waiting passes in seconds."""

import asyncio
import selectors
import time
from datetime import UTC, datetime, timedelta


class Selector(selectors.DefaultSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout and timeout / self.speed)
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
