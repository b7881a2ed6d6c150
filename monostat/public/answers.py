"""Answers that are ready before anybody asks, and how a request gets one."""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from monostat.public.headers import GZIPPED

LINGERING = 1.0  # seconds to read the answer, for a client that is answered while it still sends
ETAG = re.compile('"[^"]*"')  # RFC 9110, 8.8.3, strong or weak
#: Named, and not with a weight of zero: RFC 9110, 12.5.3.
GZIP_ACCEPTED = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
NO_HEADERS: Mapping[str, str] = {}


class Prepared(NamedTuple):
    """A body, plain and zipped, with all its headers that do not depend on who asks."""

    body: bytes
    zipped: bytes
    headers: dict[str, str]

    @classmethod
    def of(
        cls,
        body: bytes,
        content_type: str,
        caching: str,
        *,
        etag: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> "Prepared":
        """Zips the body; without an `etag` it is a hash of the body.

        The ETag is weak: it is the same for the plain and the zipped bytes.
        """
        etag = etag or f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'
        own = {
            "Content-Type": content_type,
            "Cache-Control": caching,
            "Vary": "Accept-Encoding",
            "ETag": etag,
        }
        return cls(body, gzip.compress(body, 6, mtime=0), own | dict(headers))

    @property
    def size(self) -> int:
        """The bytes of both bodies."""
        return len(self.body) + len(self.zipped)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether this Accept-Encoding header welcomes gzip."""
    return bool(GZIP_ACCEPTED.search(accept_encoding.lower()))


def answer_with(request: web.Request, prepared: Prepared, status: int = 200) -> web.Response:
    """The prepared answer as this request wants it: zipped, plain, or 304 for those who have it."""
    wanted = request.headers.get("If-None-Match", "")
    if status == 200 and is_current(prepared.headers["ETag"], wanted):
        return web.Response(status=304, headers=prepared.headers)
    if accepts_gzip(request.headers.get("Accept-Encoding", "")):
        headers = prepared.headers | GZIPPED
        return web.Response(status=status, body=prepared.zipped, headers=headers)
    return web.Response(status=status, body=prepared.body, headers=prepared.headers)


def is_current(etag: str, if_none_match: str) -> bool:
    """Whether the header If-None-Match names this weak ETag."""
    opaque = etag.removeprefix("W/")
    return if_none_match.strip() == "*" or opaque in ETAG.findall(if_none_match)


def merged_path(request: web.Request) -> str:
    """The path without doubled slashes: some clients of Statuspage ask so."""
    return re.sub("/{2,}", "/", request.path)


class Detached(web.Response):
    """What an endpoint returns whose connection is no longer aiohttp's: it writes nothing."""

    async def prepare(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's call
    ) -> AbstractStreamWriter | None:
        """Writes no head."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Writes no end."""


async def leave_unread(request: web.Request, answer: web.StreamResponse) -> None:
    """Answers a request whose body has not arrived, takes no more of it, and ends the connection.

    It ends a little later: bytes still on their way to a closed socket would undo what was said.
    """
    transport = request.transport
    if transport is None or transport.is_closing() or request.content.is_eof():
        return
    transport.pause_reading()
    answer.force_close()
    with suppress(ConnectionError):  # whoever has hung up needs no answer
        await answer.prepare(request)
        await answer.write_eof()
        await asyncio.sleep(LINGERING)
