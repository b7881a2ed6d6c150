"""The plainest requests, read byte for byte: what is not understood is for aiohttp to read."""

import re
from typing import NamedTuple

from monostat.public.answers import accepts_gzip

MAX_REQUEST_BYTES = 4096  # also of the first line that aiohttp takes
#: No header but these can come; none of them changes the answer, Accept-Encoding aside.
HEADERS = "|".join(
    (
        "host",
        "user-agent",
        "accept",
        "accept-language",
        "accept-encoding",
        "cache-control",
        "pragma",
        "referer",
        "cookie",
        "dnt",
        "priority",
        "sec-[a-z-]+",
        "upgrade-insecure-requests",
        "x-forwarded-(?:for|proto|host)",
        "x-real-ip",
        "via",
    )
)


def request_pattern(path: str, more_lines: str) -> re.Pattern[bytes]:
    """Of a request for such a path, with HEADERS and such lines besides."""
    line = rf"(?:{HEADERS}): [!-~][ -~]*+\r\n|(?:{more_lines})\r\n"
    return re.compile(rf"GET ({path}) HTTP/1\.1\r\n((?i:{line})++)\r\n".encode())


PAGE = request_pattern("/[!-~]*", "connection: keep-alive")
VIEWER = request_pattern(
    '/feed/(?:v1|page)(?:[?][!-"$-~]*)?',
    "origin: [!-~]+|connection: (?:keep-alive, )?upgrade|upgrade: websocket",
)


class PlainRequest(NamedTuple):
    """The path with its query, and whether the answer may be zipped."""

    path: str
    gzip: bool


def read(request: bytes, pattern: re.Pattern[bytes]) -> tuple[str, dict[str, str]] | None:
    """The path with its query, and the headers by lower-case names.

    None for what aiohttp should read.
    """
    if len(request) > MAX_REQUEST_BYTES:
        return None
    matched = pattern.fullmatch(request)
    if not matched:
        return None
    headers: dict[str, str] = {}
    lines = matched[2].decode().splitlines()
    for line in lines:
        name, value = line.split(": ", 1)
        headers[name.lower()] = value.rstrip()
    if len(headers) < len(lines) or "host" not in headers:
        return None
    return matched[1].decode(), headers


def understand(request: bytes) -> PlainRequest | None:
    """What a plain request asks for; None for what aiohttp should read."""
    understood = read(request, PAGE)
    if understood is None:
        return None
    path, headers = understood
    return PlainRequest(path, accepts_gzip(headers.get("accept-encoding", "")))
