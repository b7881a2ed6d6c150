"""What a service and systemd say to each other, through the environment, a datagram socket and the
journal.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html and sd_listen_fds.html there.

Not sdnotify: it would spare `notify` alone, its socket blocks, and of watchdog, passed sockets and
the journal it knows nothing.
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
PRIORITIES = {
    logging.ERROR: "<3>",
    logging.WARNING: "<4>",
    logging.INFO: "<6>",
    logging.NOTSET: "<7>",
}


def notify(*fields: str) -> bool:
    """Tells the service manager, in one message; whether there is one that took it.

    Never blocks, never raises.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    if path.startswith("@"):
        path = f"\0{path[1:]}"
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as manager:
        manager.setblocking(False)
        manager.connect(path)
        manager.sendall("\n".join(fields).encode())
        return True
    return False


# https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html#EXTEND_TIMEOUT_USEC=…
def extend_start_timeout() -> None:
    """Has the manager wait for our start ten minutes longer."""
    notify("EXTEND_TIMEOUT_USEC=600000000")


def watchdog(environ: Mapping[str, str]) -> float | None:
    """The seconds after which the manager misses a sign of life; None where it waits for none of
    ours.
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal():
        return None
    pid = environ.get("WATCHDOG_PID")
    if pid and pid != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 or None


def inherited(environ: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """Takes over the sockets of the socket unit, each with its FileDescriptorName, once."""
    pid = environ.pop("LISTEN_PID", "")
    count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    sockets = []
    for index in range(int(count)):
        descriptor = FIRST + index
        os.set_inheritable(descriptor, False)
        name = names[index] if index < len(names) else ""
        sockets.append((name, socket.socket(fileno=descriptor)))
    return sockets


def in_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the journal itself reads this stream.

    Children and redirections inherit the variable, too, so that it must name this very stream.
    """
    with suppress(OSError, ValueError):
        status = os.fstat(stream.fileno())
        stream_id = f"{status.st_dev}:{status.st_ino}"
        return environ.get("JOURNAL_STREAM") == stream_id
    return False


class LineFormatter(logging.Formatter):
    """One line for each record; the journal gets priorities, everybody else times in UTC.

    Only a traceback has more lines, which are indented: no words that somebody has chosen look like
    another record.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self, *, journal: bool) -> None:
        layout = "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s"
        if journal:
            layout = "%(message)s"
        super().__init__(layout, "%Y-%m-%dT%H:%M:%S")
        self.journal = journal

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The message alone, with nothing in it that steers a terminal."""
        return legible(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The message, and a traceback where there is one."""
        first, *traceback = super().format(record).split("\n")
        prefix = priority_of(record.levelno) if self.journal else ""
        lines = [first, *(f"  {legible(line)}" for line in traceback)]
        return "\n".join(prefix + line for line in lines)


def priority_of(levelno: int) -> str:
    """What a line of this level begins with for the journal."""
    for level, priority in PRIORITIES.items():
        if levelno >= level:
            return priority
    raise ValueError(f"unexpected level: {levelno}")


def log_to(stream: TextIO, environ: Mapping[str, str]) -> None:
    """Sends every log record to this stream, in the manner that suits its reader."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(journal=in_journal(stream, environ)))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("aiohttp.server").addFilter(is_server_error)


# https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#RestartMode=
def set_level(name: str, environ: Mapping[str, str]) -> None:
    """How much is logged, by the level's name; systemd may ask for all after a failure.

    Libraries never say more than "info": some would log what is secret.
    """
    level = name.upper()
    if environ.get("DEBUG_INVOCATION") == "1":
        level = "DEBUG"
    logging.getLogger("monostat").setLevel(level)
    logging.getLogger().setLevel(max(logging.INFO, logging.getLevelName(level)))


def is_server_error(record: logging.LogRecord) -> bool:
    """Whether it is an error of ours, not of a visitor's.

    What a visitor sent that is no HTTP is answered 400, and its bytes are nobody's business.
    """
    if not record.exc_info:
        return True
    return not isinstance(record.exc_info[1], HttpProcessingError)
