"""One viewer's socket after the handshake: frames out as they are, frames in only to notice what
must be answered.

RFC 6455 sections 5 and 7, contracts/feed.md sections 3 and 5. There is no task, timer or queue per
viewer.
"""

import asyncio
import struct
import time
from typing import NamedTuple, Protocol

CHATTY = 10  # text messages a minute that a client may send; they are ignored
LARGEST_MESSAGE = 1024  # bytes that a client may send at once
MORE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # opcodes, RFC 6455 section 11.8
PING_FRAME = b"\x89\x00"
#: What each frame weighs against the allowance of a minute: a text as much as all pings, pongs and
#: fragments together.
LIGHT, WEIGHT = 1, 128
ALLOWED = CHATTY * WEIGHT + WEIGHT - 1


class Refused(Exception):
    """What a client sent ends the connection, with a close code and its reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Frame(NamedTuple):
    final: bool
    opcode: int
    payload: bytes
    end: int  # where the next one begins


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole message of the server in one frame."""
    size, first = len(payload), 128 | opcode
    if size < 126:
        return bytes((first, size)) + payload
    return (
        struct.pack("!BBH", first, 126, size)
        if size < 65536
        else struct.pack("!BBQ", first, 127, size)
    ) + payload


def close_frame(code: int, reason: str) -> bytes:
    return frame(struct.pack("!H", code) + reason.encode(), CLOSE)


def read_frame(data: bytes, at: int) -> Frame | None:
    """The client's frame that begins there, or None until all of it has come; raises Refused."""
    if len(data) < at + 2:
        return None
    first, opcode, length, start = data[at], data[at] & 15, data[at + 1] & 127, at + 2
    if first & 0x70 or opcode not in (MORE, TEXT, BINARY, CLOSE, PING, PONG):
        raise Refused(1002, "no extension was agreed on")
    if not data[at + 1] & 128:
        raise Refused(1002, "a client must mask its frames")
    if opcode >= CLOSE and (length > 125 or not first & 128):
        raise Refused(1002, "a control frame must be short, and whole")
    if opcode == BINARY:
        raise Refused(1003, "text only")
    if length > 125:
        start += 2 if length == 126 else 8
        if len(data) < start:
            return None
        length = int.from_bytes(data[at + 2 : start])
    if length > LARGEST_MESSAGE:
        raise Refused(1009, f"at most {LARGEST_MESSAGE} bytes")
    end = start + 4 + length
    if len(data) < end:
        return None
    mask = data[start : start + 4] * (length // 4 + 1)
    plain = int.from_bytes(data[start + 4 : end]) ^ int.from_bytes(mask[:length])
    return Frame(bool(first & 128), opcode, plain.to_bytes(length), end)


class Viewers(Protocol):
    """What a viewer tells of itself, to whom it belongs."""

    def stuck(self, viewer: "Viewer") -> None: ...
    def flows(self, viewer: "Viewer") -> None: ...
    def leaves(self, viewer: "Viewer") -> None: ...
    def left(self, viewer: "Viewer") -> None: ...


class Viewer(asyncio.Protocol):
    """A protocol for a transport on which the handshake is done.

    `shown` is the version that was last written, `heard` whether anything came since the last ping,
    `ended` why the connection ends (a reason of monostat_feed_disconnections_total), and empty
    while it does not.
    """

    __slots__ = (
        "_allowed",
        "_partial",
        "_rest",
        "_since",
        "ended",
        "heard",
        "hub",
        "key",
        "kind",
        "shown",
        "slot",
        "transport",
    )

    def __init__(
        self, hub: Viewers, transport: asyncio.Transport, slot: "set[Viewer]", kind: str, key: str
    ) -> None:
        self.hub, self.transport, self.slot, self.kind, self.key = hub, transport, slot, kind, key
        self.shown, self.heard, self.ended = 0, True, ""
        self._rest, self._allowed, self._since = b"", ALLOWED, 0.0
        self._partial: bytes | None = None  # of a text that came in fragments

    def data_received(self, data: bytes) -> None:
        self.heard = True
        data, at = self._rest + data if self._rest else data, 0
        try:
            while not self.ended and (got := read_frame(data, at)):
                at = got.end
                self._take(got)
        except Refused as refused:
            self.end(refused.code, refused.reason, "policy")
        self._rest = b"" if self.ended else data[at:]

    # What aiohttp's protocol asks of a parser that it hands over to: bytes that came right behind
    # the handshake.
    feed_data, feed_eof = data_received, asyncio.Protocol.eof_received

    def _take(self, got: Frame) -> None:
        """Answers what must be answered, and counts."""
        if (now := time.monotonic()) - self._since >= 60:
            self._since, self._allowed = now, ALLOWED
        self._allowed -= WEIGHT if got.opcode == TEXT else LIGHT
        if self._allowed < 0:
            raise Refused(1008, "nothing needs to be sent here")
        if got.opcode == PING:
            if not self.transport.get_write_buffer_size():
                self.transport.write(frame(got.payload, PONG))
        elif got.opcode == CLOSE:
            self._closed(got.payload)
        elif got.opcode != PONG:
            self._read(got)

    def _read(self, got: Frame) -> None:
        """A part of a text, which is ignored, but must be one."""
        if (self._partial is None) == (got.opcode == MORE):
            raise Refused(1002, "a message must be over before the next begins")
        text = (self._partial or b"") + got.payload
        if len(text) > LARGEST_MESSAGE:
            raise Refused(1009, f"at most {LARGEST_MESSAGE} bytes")
        self._partial = None if got.final else text
        if got.final:
            _utf8(text)

    def _closed(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2]) if payload else 1000
        if (
            len(payload) == 1
            or code in (1004, 1005, 1006)
            or not (1000 <= code <= 1014 or 3000 <= code < 5000)
        ):
            raise Refused(1002, "this is no close code")
        _utf8(payload[2:])
        self.end(code, "", "client")

    def end(self, code: int, reason: str, why: str) -> None:
        """Says why, and waits for the other side to close: bytes still on their way would undo what
        was said.
        """
        self.ended = why
        self.transport.write(close_frame(code, reason))
        self.transport.write_eof()
        self.hub.leaves(self)

    def drop(self) -> None:
        """Ends it without a word: it would not take that either."""
        self.ended = self.ended or "slow"
        self.transport.abort()

    def pause_writing(self) -> None:
        self.hub.stuck(self)

    def resume_writing(self) -> None:
        self.hub.flows(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's call
        self.ended = self.ended or "client"
        self.hub.left(self)


def _utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Refused(1007, "this is no UTF-8") from None
