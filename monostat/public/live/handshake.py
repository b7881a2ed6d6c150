"""What makes a viewer of a request, whoever has read it.

RFC 6455 section 4.2.
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
    """The HTTP answer, before any upgrade, to those who cannot be viewers."""

    status: int
    error: str
    headers: Mapping[str, str] = {}


NO_WEBSOCKET = Refusal(
    426, "this is a websocket: connect with wss, or read /feed/v1/state.json", UPGRADE
)
FOREIGN_PAGE = Refusal(403, "this is for our own page: use /feed/v1")
OTHER_PROTOCOL = Refusal(400, f"offer the subprotocol {PROTOCOL}, or none")
BAD_NONCE = Refusal(400, "this is not a websocket handshake: see RFC 6455 section 4.1")


class Handshake(NamedTuple):
    """Of a viewer that gets the field `kind` of hub.Messages.

    `response` is what precedes its first frame; `has` are the version and the epoch that it has
    already, by its own word.
    """

    kind: str
    response: bytes
    has: tuple[str, str]


def parse_handshake(target: str, headers: Mapping[str, str], site_url: str) -> Handshake | Refusal:
    """What a GET of this path and query becomes; `headers` are by their lower-case names.

    Steps: 1. a websocket of version 13; 2. the page's own feed for our own page alone; 3. our
    subprotocol, or none; 4. the nonce.
    """
    path, _, query = target.partition("?")
    kind = path.rpartition("/")[2]
    if not wants_websocket(headers):
        return NO_WEBSOCKET
    if kind == "page":
        origin = headers.get("origin", "")
        if not is_own_origin(origin, site_url, headers.get("host", "")):
            return FOREIGN_PAGE
    protocols = headers.get("sec-websocket-protocol", "").split(",")
    offered = {protocol.strip() for protocol in protocols} - {""}
    if offered and PROTOCOL not in offered:
        return OTHER_PROTOCOL
    nonce = headers.get("sec-websocket-key", "").encode(errors="replace")
    if not is_nonce(nonce):
        return BAD_NONCE
    values = dict(parse_qsl(query))
    return Handshake(
        kind=kind,
        response=switching(nonce, with_protocol=bool(offered)),
        has=(values.get("since", ""), values.get("epoch", "")),
    )


def wants_websocket(headers: Mapping[str, str]) -> bool:
    """Whether these headers ask for a websocket of the one version that there is."""
    return (
        headers.get("upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("connection", "").lower()
        and headers.get("sec-websocket-version") == "13"
    )


def switching(nonce: bytes, *, with_protocol: bool) -> bytes:
    """The server's side of the handshake, RFC 6455 section 4.2.2."""
    digest = hashlib.sha1(nonce + GUID, usedforsecurity=False).digest()
    head = f"{SWITCHING}Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n"
    if with_protocol:
        head += f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n"
    return f"{head}\r\n".encode()


def is_own_origin(origin: str, site_url: str, host: str) -> bool:
    """Whether a page of that Origin is one of the site, or of the host that was asked.

    An opaque one ("null") is not.
    """
    return origin in (site_url, f"http://{host}", f"https://{host}")


def is_nonce(key: bytes) -> bool:
    """Whether these are 16 bytes in base64, as a handshake has them."""
    with suppress(ValueError):
        return len(base64.b64decode(key, validate=True)) == 16
    return False
