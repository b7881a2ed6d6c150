"""One viewer's socket after the handshake.

Frames go out as they are, and are read only to notice what must be answered. RFC 6455 sections 5
and 7. There is no task, timer or queue per viewer.
"""

import asyncio
import struct
import time
from typing import NamedTuple, Protocol

CHATTY = 10  # text messages a minute that a client may send; they are ignored
LARGEST_MESSAGE = 1024  # bytes that a client may send at once
# Opcodes, RFC 6455 section 11.8.
MORE = 0
TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9
PONG = 10
OPCODES = (MORE, TEXT, BINARY, CLOSE, PING, PONG)
# Bits and lengths of a frame's head, RFC 6455 section 5.2.
FINAL = MASKED = 0x80
RESERVED = 0x70
LONGEST_SHORT = 125  # bytes
#: What announces a longer one, and in how many bytes that length follows.
LENGTH_BYTES = {126: 2, 127: 8}
PING_FRAME = bytes((FINAL | PING, 0))
#: What each frame weighs against the allowance of a minute: a text as much as all pings, pongs and
#: fragments together.
LIGHT = 1
WEIGHT = 128
ALLOWED = CHATTY * WEIGHT + WEIGHT - 1


class Violation(Exception):
    """What a client sent ends the connection, with a close code and its reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Frame(NamedTuple):
    """What a client sent; `end` is where the next frame begins."""

    final: bool
    opcode: int
    payload: bytes
    end: int


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole message of the server in one frame."""
    first = FINAL | opcode
    size = len(payload)
    if size <= LONGEST_SHORT:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def close_frame(code: int, reason: str) -> bytes:
    """The frame that closes a connection, with one of the codes of RFC 6455 section 7.4."""
    return frame(struct.pack("!H", code) + reason.encode(), CLOSE)


def read_frame(data: bytes, at: int) -> Frame | None:
    """The client's frame that begins there, or None until all of it has come.

    Raises Violation, as early as the bytes say so.
    """
    if len(data) < at + 2:
        return None
    check_head(data[at], data[at + 1])
    length = data[at + 1] & 127
    start = at + 2
    if length > LONGEST_SHORT:
        start += LENGTH_BYTES[length]
        if len(data) < start:
            return None
        length = int.from_bytes(data[at + 2 : start])
    if length > LARGEST_MESSAGE:
        raise Violation(1009, f"at most {LARGEST_MESSAGE} bytes")
    end = start + 4 + length
    if len(data) < end:
        return None
    payload = unmask(data[start + 4 : end], key=data[start : start + 4])
    return Frame(final=bool(data[at] & FINAL), opcode=data[at] & 15, payload=payload, end=end)


def check_head(first: int, second: int) -> None:
    """Raises Violation for the two bytes that begin a frame which no client may send us."""
    opcode = first & 15
    if first & RESERVED or opcode not in OPCODES:
        raise Violation(1002, "no extension was agreed on")
    if not second & MASKED:
        raise Violation(1002, "a client must mask its frames")
    if opcode >= CLOSE and (second & 127 > LONGEST_SHORT or not first & FINAL):
        raise Violation(1002, "a control frame must be short, and whole")
    if opcode == BINARY:
        raise Violation(1003, "text only")


def unmask(masked: bytes, key: bytes) -> bytes:
    """The payload, RFC 6455 section 5.3."""
    length = len(masked)
    mask = key * (length // 4 + 1)
    plain = int.from_bytes(masked) ^ int.from_bytes(mask[:length])
    return plain.to_bytes(length)


class ViewerEvents(Protocol):
    """What a viewer tells of itself, to whom it belongs."""

    def on_paused(self, viewer: "Viewer") -> None:
        """More was written than the kernel takes."""

    def on_writable(self, viewer: "Viewer") -> None:
        """All that was written has been taken."""

    def on_closing(self, viewer: "Viewer") -> None:
        """A close frame was sent."""

    def on_lost(self, viewer: "Viewer") -> None:
        """The connection is gone."""


class Viewer(asyncio.Protocol):
    """A protocol for a transport on which the handshake is done.

    `shown` is the version that was last written, `heard` whether anything came since the last ping,
    `end_reason` why the connection ends (a reason of monostat_feed_disconnections_total), and empty
    while it does not. `group` gets its heartbeats together; limits count by `network`.
    """

    __slots__ = (
        "_allowed",
        "_events",
        "_fragments",
        "_minute_began",
        "_rest",
        "end_reason",
        "group",
        "heard",
        "kind",
        "network",
        "shown",
        "transport",
    )

    def __init__(
        self,
        events: ViewerEvents,
        transport: asyncio.Transport,
        group: "set[Viewer]",
        kind: str,
        network: str,
    ) -> None:
        self._events = events
        self.transport = transport
        self.group = group
        self.kind = kind
        self.network = network
        self.shown = 0
        self.heard = True
        self.end_reason = ""
        self._rest = b""
        self._allowed = ALLOWED
        self._minute_began = 0.0
        self._fragments: bytes | None = None  # of a text that has not come in whole

    def data_received(self, data: bytes) -> None:
        """Reads frames until the connection ends; a part of one is kept for later."""
        self.heard = True
        if self._rest:
            data = self._rest + data
        at = 0
        try:
            while not self.end_reason:
                received = read_frame(data, at)
                if received is None:
                    break
                at = received.end
                self._take(received)
        except Violation as violation:
            self.end(violation.code, violation.reason, "policy")
        self._rest = b"" if self.end_reason else data[at:]

    # What aiohttp's protocol asks of a parser that it hands over to: bytes that came right behind
    # the handshake.
    feed_data = data_received
    feed_eof = asyncio.Protocol.eof_received

    def _take(self, received: Frame) -> None:
        """Answers what must be answered, and counts."""
        self._count(received.opcode)
        if received.opcode == PING:
            if not self.transport.get_write_buffer_size():
                self.transport.write(frame(received.payload, PONG))
        elif received.opcode == CLOSE:
            self._take_close(received.payload)
        elif received.opcode != PONG:
            self._take_text(received)

    def _count(self, opcode: int) -> None:
        """Raises Violation where a client sends more than is allowed in a minute."""
        now = time.monotonic()
        if now - self._minute_began >= 60:
            self._minute_began = now
            self._allowed = ALLOWED
        weight = WEIGHT if opcode == TEXT else LIGHT
        self._allowed -= weight
        if self._allowed < 0:
            raise Violation(1008, "nothing needs to be sent here")

    def _take_text(self, received: Frame) -> None:
        """A part of a text, which is ignored, but must be one."""
        goes_on = received.opcode == MORE
        if goes_on == (self._fragments is None):
            raise Violation(1002, "a message must be over before the next begins")
        text = (self._fragments or b"") + received.payload
        if len(text) > LARGEST_MESSAGE:
            raise Violation(1009, f"at most {LARGEST_MESSAGE} bytes")
        self._fragments = text
        if received.final:
            self._fragments = None
            check_utf8(text)

    def _take_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2]) if payload else 1000
        if len(payload) == 1 or not is_close_code(code):
            raise Violation(1002, "not a close code")
        check_utf8(payload[2:])
        self.end(code, "", "client")

    def end(self, code: int, reason: str, why: str) -> None:
        """Says why, and waits for the other side to close.

        Bytes still on their way would undo what was said.
        """
        self.end_reason = why
        self.write(close_frame(code, reason), last=True)
        self._events.on_closing(self)

    def write(self, data: bytes, *, last: bool = False) -> None:
        """Writes, unless the connection is closed already: then it is seen to end."""
        try:
            self.transport.write(data)
            if last:
                self.transport.write_eof()
        except RuntimeError:  # uvloop's word for a transport that is closed
            self.transport.abort()

    def drop(self) -> None:
        """Ends it without a word: it would not take that either."""
        self.end_reason = self.end_reason or "slow"
        self.transport.abort()

    def pause_writing(self) -> None:
        """asyncio's call."""
        self._events.on_paused(self)

    def resume_writing(self) -> None:
        """asyncio's call."""
        self._events.on_writable(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's call
        """asyncio's call."""
        self.end_reason = self.end_reason or "client"
        self._events.on_lost(self)


def is_close_code(code: int) -> bool:
    """Whether a client may send it, RFC 6455 section 7.4."""
    if code in (1004, 1005, 1006):
        return False
    return 1000 <= code <= 1014 or 3000 <= code < 5000


def check_utf8(text: bytes) -> None:
    """Raises Violation for what is not a text."""
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Violation(1007, "not UTF-8") from None
