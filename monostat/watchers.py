"""Who must know of every change: the page, the mails, Slack, the edge tiers."""

import asyncio
import logging
from collections.abc import Callable

from monostat.vendor import pause

log = logging.getLogger(__name__)
RETRY_EVERY = 1.0  # seconds until one who has failed is called again


class Watchers:
    """Callbacks by name; each fails alone, and is called again until it succeeds.

    They are called in the order in which they were added, under the lock of the engine: they must
    not block.
    """

    def __init__(self) -> None:
        self._calls: dict[str, Callable[[], None]] = {}
        self._failed = asyncio.Event()
        self.behind: dict[str, str] = {}  # who has not taken the newest change, and why

    @property
    def names(self) -> list[str]:
        """The names of all, in the order in which they are called."""
        return list(self._calls)

    def add(self, name: str, call: Callable[[], None]) -> None:
        """Has `call` called after every change."""
        self._calls[name] = call

    def notify_all(self) -> None:
        """Tells everybody that something has changed."""
        for name in self._calls:
            self.notify(name)

    def notify(self, name: str) -> None:
        """Calls one of them; a failure is logged when it comes and when it is over."""
        try:
            self._calls[name]()
        except Exception as error:  # noqa: BLE001 - supervised: the others must hear of it as well
            if name not in self.behind:
                self._log_failure(name, error)
            self.behind[name] = str(error) or type(error).__name__
            self._failed.set()
        else:
            if self.behind.pop(name, None) is not None:
                log.info("%s has taken the newest change", name)

    def _log_failure(self, name: str, error: Exception) -> None:
        line = f"{name} has not taken a change, is told again every second: {error}"
        if isinstance(error, OSError):  # a full table of files is not a bug
            log.error(line)
        else:
            log.error(line, exc_info=error)

    async def run(self) -> None:
        """Calls those that have failed once a second, for as long as there are any."""
        while True:
            self._failed.clear()
            wait = RETRY_EVERY if self.behind else None
            await pause(self._failed, wait)
            if self._failed.is_set():
                continue
            for name in list(self.behind):
                self.notify(name)
            if not self.behind:
                self.notify_all()  # so that staff hear of it, too
