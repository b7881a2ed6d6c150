"""Asks the daemon through its control socket: plain HTTP over a unix socket.

All that a shell needs, at a fraction of the time that aiohttp takes to be imported.
"""

import contextlib
import errno
import http.client
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any


class NoDaemon(Exception):
    """Nobody listens at any control socket, or whoever does cannot answer."""


class UnixConnection(http.client.HTTPConnection):
    """A connection to a path, at which nobody but root, ourselves or the service may listen."""

    def __init__(self, path: Path) -> None:
        super().__init__("monostat")
        self._path = path

    def connect(self) -> None:
        """Raises PermissionError where it is none of ours who listens."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))
        trusted = {0, os.geteuid()}
        # The settings or the system name it: its folder is the service's user's.
        if self._path.is_absolute():
            trusted.add(self._path.parent.stat().st_uid)
        user = self._listening_user()
        if user not in trusted:
            raise PermissionError(errno.EPERM, f"user {user} listens there")

    def _listening_user(self) -> int:
        # unix(7): the process, user and group of whoever called listen(2).
        size = struct.calcsize("3i")
        credentials = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        _, user, _ = struct.unpack("3i", credentials)
        return int(user)


def ask(paths: list[Path], method: str, address: str, body: dict[str, Any] | None = None) -> Any:
    """The answer of the daemon at the first of these sockets where one listens.

    Raises NoDaemon where none does, or this one cannot answer.
    """
    problems = []
    for path in paths:
        try:
            with contextlib.closing(UnixConnection(path)) as connection:
                headers = {"Content-Type": "application/json"}
                connection.request(method, address, json.dumps(body or {}), headers)
                return answer_of(connection.getresponse())
        except (http.client.HTTPException, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            problems.append(f"{path} ({reason})")
    raise NoDaemon(
        f"no daemon answers at {' or '.join(problems)}: is `monostat serve` running,"
        " and are you root, or its user?"
    )


def answer_of(response: http.client.HTTPResponse) -> Any:
    """What the JSON of an answer holds; raises NoDaemon, with a sentence, for a failure."""
    try:
        answer = json.load(response)
    except ValueError:
        raise NoDaemon(f"the daemon cannot answer ({response.status}): its log says why") from None
    if response.status >= 400:
        raise NoDaemon(f"the daemon cannot answer: {answer['refused']}")
    return answer
