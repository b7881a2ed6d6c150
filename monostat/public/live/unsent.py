"""What was written to connections and not taken by them: bounded for all of them together."""

import time
from typing import Any, NamedTuple, Protocol

#: With all else that we hold, well below MemoryMax= of monostat.service.
MAX_UNSENT_BYTES = 64_000_000
#: What the kernel holds for each connection besides; it doubles it for itself.
SEND_BUFFER_BYTES = 16_384


class Connection(Protocol):
    """Our side of a connection."""

    transport: Any

    def drop(self) -> None:
        """Ends it at once, without a word."""


class Backlog(NamedTuple):
    """Since when (monotonic seconds) a connection takes nothing, and the bytes it had then."""

    since: float
    size: int


class Unsent:
    """Knows the connections that have not taken what they were sent, the longest waiting first.

    Those who wait longest are dropped where it is too much, and everybody after `patience` seconds.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._backlogs: dict[Connection, Backlog] = {}
        self.bytes = 0

    def add(self, connection: Connection) -> None:
        """It has been sent more than the kernel takes."""
        if connection in self._backlogs:
            return
        size = connection.transport.get_write_buffer_size()
        self._backlogs[connection] = Backlog(time.monotonic(), size)
        self.bytes += size
        if self.bytes > MAX_UNSENT_BYTES:
            self.measure()
            self._drop_the_oldest()

    def discard(self, connection: Connection) -> None:
        """It has taken everything, or is gone."""
        backlog = self._backlogs.pop(connection, None)
        if backlog:
            self.bytes -= backlog.size

    def drop_the_slow(self) -> None:
        """Drops those who take nothing, or bytes one by one."""
        latest = time.monotonic() - self._patience
        for connection, backlog in list(self._backlogs.items()):
            if backlog.since <= latest:
                self._drop(connection)

    def measure(self) -> None:
        """Looks again at everybody: some may have taken a part by now."""
        self.bytes = 0
        for connection, backlog in self._backlogs.items():
            size = connection.transport.get_write_buffer_size()
            self._backlogs[connection] = Backlog(backlog.since, size)
            self.bytes += size

    def _drop_the_oldest(self) -> None:
        """Makes room for a quarter, so that not everybody who comes has all looked at."""
        for connection in list(self._backlogs):
            if self.bytes <= MAX_UNSENT_BYTES * 3 // 4:
                break
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self.discard(connection)
        connection.drop()
