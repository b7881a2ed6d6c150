"""What makes a viewer of a request, whoever has read it: RFC 6455 section 4.2, contracts/feed.md
section 3.
"""

import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import parse_qsl

PROTOCOL = "monostat.v1"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
SWITCHING = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    **ANY_ORIGIN,
}


class Refusal(NamedTuple):
    """The answer, before any upgrade, to who cannot be a viewer: a status, an error in words, and
    headers.
    """

    status: int
    error: str
    headers: Mapping[str, str] = {}


class Handshake(NamedTuple):
    """Of a viewer that gets the field `kind` of live.Messages; `head` is what precedes its first
    frame.

    `known` is the version and the epoch that it has seen last, as it says itself.
    """

    kind: str
    head: bytes
    known: tuple[str, str]


def shaken(target: str, headers: Mapping[str, str], site: str) -> Handshake | Refusal:
    """What a GET of this path and query becomes; header names are lower-case, `site` is our page's
    address.
    """
    path, _, query = target.partition("?")
    kind, told = path.rpartition("/")[2], dict(parse_qsl(query))
    asked, origin, host = headers.get, headers.get("origin", ""), headers.get("host", "")
    wanted = (
        asked("upgrade", "").lower() == "websocket" and "upgrade" in asked("connection", "").lower()
    )
    if not wanted or asked("sec-websocket-version") != "13":
        return Refusal(
            426, "this is a websocket: connect with wss, or read /feed/v1/state.json", UPGRADE
        )
    # The page's own view is private, so it is only for pages of our own.
    if kind == "page" and not is_ours(origin, site, host):
        return Refusal(403, "this is for our own page: use /feed/v1")
    offered = {p.strip() for p in asked("sec-websocket-protocol", "").split(",")} - {""}
    if offered and PROTOCOL not in offered:
        return Refusal(400, f"offer the subprotocol {PROTOCOL}, or none")
    nonce = asked("sec-websocket-key", "").encode(errors="replace")
    if not is_nonce(nonce):
        return Refusal(400, "this is no websocket handshake: see RFC 6455 section 4.1")
    accept = base64.b64encode(hashlib.sha1(nonce + GUID, usedforsecurity=False).digest()).decode()
    chosen = f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n" if offered else ""
    head = f"{SWITCHING}Sec-WebSocket-Accept: {accept}\r\n{chosen}\r\n".encode()
    return Handshake(kind, head, (told.get("since", ""), told.get("epoch", "")))


def is_ours(origin: str, site: str, host: str) -> bool:
    """Whether a page of that Origin is one of the site, or of the host that was asked; an opaque
    one is not.
    """
    return origin in (site, f"http://{host}", f"https://{host}")


def is_nonce(key: bytes) -> bool:
    """16 bytes in base64, as a handshake has them."""
    with suppress(ValueError):
        return len(base64.b64decode(key, validate=True)) == 16
    return False
