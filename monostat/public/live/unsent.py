"""What was written to connections and not taken by them, all together: nobody's memory is theirs."""

import time
from typing import Any, Protocol

MOST = 64_000_000  # bytes: with all else that we hold, well below MemoryMax= of monostat.service
KERNEL = (
    16_384  # bytes that the kernel holds for each connection besides; it doubles them for itself
)


class Waiting(Protocol):
    """One side of a connection; `drop` ends it at once."""

    transport: Any

    def drop(self) -> None: ...


class Unsent:
    """Knows who has not taken what it was sent; where it is too much, those who have waited longest
    are dropped.

    So is, after `patience` seconds, everybody.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: dict[Waiting, tuple[float, int]] = {}  # since when, and bytes then
        self.bytes = 0

    def waits(self, one: Waiting) -> None:
        """It is told so when it has been sent more than the kernel takes."""
        if one in self._waiting:
            return
        size = one.transport.get_write_buffer_size()
        self._waiting[one] = (time.monotonic(), size)
        self.bytes += size
        if self.bytes > MOST:
            self.look_again()
            self._drop_the_oldest()

    def takes(self, one: Waiting) -> None:
        """It has taken everything, or is gone."""
        self.bytes -= self._waiting.pop(one, (0.0, 0))[1]

    def drop_the_slow(self) -> None:
        """Ends those who take nothing, or bytes one by one."""
        since = time.monotonic() - self._patience
        for one in [one for one, (began, _) in self._waiting.items() if began <= since]:
            self._drop(one)

    def look_again(self) -> None:
        """Some may have taken a part by now."""
        for one, (since, _) in self._waiting.items():
            self._waiting[one] = (since, one.transport.get_write_buffer_size())
        self.bytes = sum(size for _, size in self._waiting.values())

    def _drop_the_oldest(self) -> None:
        """Makes room for a quarter, so that not everybody who comes has all looked at."""
        for one in list(self._waiting):
            if self.bytes <= MOST * 3 // 4:
                break
            self._drop(one)

    def _drop(self, one: Waiting) -> None:
        self.takes(one)
        one.drop()
