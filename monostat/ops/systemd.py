"""What a service and systemd say to each other, through the environment, a datagram socket and the
journal.

contracts/systemd.md is obeyed. Own code, because nothing of it is longer than the call of a library
would be.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import TextIO

from aiohttp.http_exceptions import HttpProcessingError

from monostat.core.text import legible

#: sd_listen_fds(3): the descriptors that are passed begin here.
FIRST = 3
#: sd-daemon(3): what a line begins with for the journal to know how bad it is.
PRIORITIES = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"), (0, "<7>"))


def notify(*fields: str) -> bool:
    """Tells the service manager, in one message; whether there is one that took it. Never blocks,
    never raises.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager,
    ):
        manager.setblocking(False)
        manager.connect("\0" + path[1:] if path.startswith("@") else path)
        manager.sendall("\n".join(fields).encode())
        return True
    return False


def watchdog(environ: Mapping[str, str]) -> float | None:
    """The seconds after which the manager misses a sign of life; None where it waits for none of
    ours.
    """
    microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    ours = microseconds.isdecimal() and int(microseconds) and pid in ("", str(os.getpid()))
    return int(microseconds) / 1e6 if ours else None


def inherited(environ: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Takes over the listening sockets of the socket unit, each with its FileDescriptorName, once."""
    pid, count, names = (environ.pop(f"LISTEN_{key}", "") for key in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    known = names.split(":") + [""] * int(count)
    for number in range(int(count)):
        os.set_inheritable(FIRST + number, False)
    return [(known[number], socket.socket(fileno=FIRST + number)) for number in range(int(count))]


def in_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the journal itself reads this stream: children and redirections inherit the variable,
    too.
    """
    with suppress(OSError, ValueError):
        found = os.fstat(stream.fileno())
        return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False


class Lines(logging.Formatter):
    """One line for each record; the journal gets priorities, everybody else times in UTC.

    Only a traceback has more lines, which are indented: no words that somebody has chosen look like
    another record.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self, *, journal: bool) -> None:
        times = "" if journal else "%(asctime)s.%(msecs)03dZ %(levelname)s "
        super().__init__(f"{times}%(message)s", "%Y-%m-%dT%H:%M:%S")
        self.journal = journal

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return legible(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        first, *more = super().format(record).split("\n")
        priority = (
            next(word for level, word in PRIORITIES if record.levelno >= level)
            if self.journal
            else ""
        )
        return "\n".join(
            priority + line for line in (first, *(f"  {legible(line)}" for line in more))
        )


def log_to(stream: TextIO, environ: Mapping[str, str]) -> None:
    """Sends every log record to this stream, in the manner that suits its reader."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(journal=in_journal(stream, environ)))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("aiohttp.server").addFilter(news)


def news(record: logging.LogRecord) -> bool:
    """Whether it is any: what a visitor sent that is no HTTP is answered 400, and its bytes are
    nobody's business.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
