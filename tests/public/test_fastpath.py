"""The shortest way to an answer, beside aiohttp's own: nobody can tell them apart."""

import asyncio
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from aiohttp import WSServerHandshakeError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from monostat.config import Timing
from monostat.public.live.fastpath import REMEMBERED
from monostat.public.live.plain_requests import MAX_REQUEST_BYTES, VIEWER, read, understand
from tests.hurry import Hurried
from tests.waiting import eventually
from tests.world import SHORT, World

PLAIN = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\n\r\n"
SWITCHING = (
    b"GET /feed/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
)
SWITCHING += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
LAST = b"GET /badge.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
PATHS: tuple[str, ...] = (
    "/",
    "//",
    "/?x=1",
    "/static/page.js",
    "/feed/v1/state.json",
    "/history",
    "/nothing",
    "/%2e",
    "/#x",
    "/\x7f",
    "*",
)
NAMES: tuple[str, ...] = (
    "Host",
    "host",
    "Accept",
    "Accept-Encoding",
    "accept-encoding",
    "Connection",
    "User-Agent",
    "Cookie",
    "Range",
)
NAMES += (
    "If-None-Match",
    "Content-Length",
    "Transfer-Encoding",
    "Upgrade",
    "Expect",
    "X-Odd",
    "Sec-Fetch-Mode",
    "A b",
)
VALUES: tuple[str, ...] = (
    "127.0.0.1",
    "gzip",
    "gzip;q=0",
    "GZIP;q=0.5, br",
    "identity",
    "keep-alive",
    "close",
    "0",
    "5",
    "chunked",
    "*",
)
VALUES += ("websocket", "100-continue", "bytes=0-5", "", " x ", "\xe9", "a\tb", "x" * 5000)
SHAKING = {
    "Host": ("127.0.0.1",),
    "Upgrade": ("websocket", "WebSocket"),
    "Connection": ("Upgrade", "keep-alive, Upgrade", "upgrade"),
    "Origin": ("http://127.0.0.1", "http://127.0.0.1", "https://evil.example"),
    "Sec-WebSocket-Key": ("AAAAAAAAAAAAAAAAAAAAAA==",),
    "Sec-WebSocket-Version": ("13",),
    "Sec-WebSocket-Protocol": ("monostat.v1", "other, monostat.v1"),
}
ODD: tuple[str, ...] = (
    "",
    "Upgrade: h2c",
    "Connection: close, Upgrade",
    "Origin: null",
    "Content-Length: 2",
    "X-Odd: 1",
)
ODD += (
    "Sec-WebSocket-Key: short",
    "Sec-WebSocket-Version: 8",
    "Sec-WebSocket-Protocol: other",
    "Cookie: a",
)
ODD += (
    "Transfer-Encoding: chunked",
    "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-For: 9.9.9.9, x",
    "Origin:null",
)
LINE = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from((": ", ":", " : ")),
    st.sampled_from(VALUES),
    st.just("\r\n"),
)


Said = tuple[bytes, frozenset[bytes], bytes]  # status, headers, body


@st.composite
def asked(draw: st.DrawFn) -> bytes:
    """Something like a request; often a good one, and often one that was changed somewhere."""
    method = draw(st.sampled_from(("GET", "GET", "GET", "HEAD", "POST", "get", "GE T")))
    version = draw(
        st.sampled_from(("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", ""))
    )
    lines = "".join(map("".join, draw(st.lists(LINE, max_size=4))))
    host = draw(st.sampled_from(("Host: 127.0.0.1\r\n", "Host: 127.0.0.1\r\n", "")))
    end = draw(
        st.sampled_from(("\r\n", "\r\n", "\r\n", "\n", "", "\r\nGET / HTTP/1.1\r\n", "\r\n12345"))
    )
    head = f"{method} {draw(st.sampled_from(PATHS))} {version}\r\n{host}{lines}{end}"
    return head.encode("latin-1")


@st.composite
def shaking(draw: st.DrawFn) -> bytes:
    """Something like a handshake; often a good one, and else with one or two lines that are odd, missing or doubled."""
    target = draw(
        st.sampled_from(
            ("/feed/v1", "/feed/page", "/feed/v1?since=1&epoch=x", "/feed/v1?since=1#x", "/Feed/v1")
        )
    )
    lines = [f"{name}: {draw(st.sampled_from(values))}" for name, values in SHAKING.items()]
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        at, odd = draw(st.integers(0, len(lines) - 1)), draw(st.sampled_from(ODD))
        lines[at : at + draw(st.integers(0, 1))] = [odd] if odd else []
    behind = draw(st.sampled_from(("", "", "\x89\x80\0\0\0\0", "GET / HTTP/1.1\r\n")))
    return "\r\n".join((f"GET {target} HTTP/1.1", *lines, "", behind)).encode("latin-1")


def changed_at_random(wire: bytearray, chance: Random) -> bytes:
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(wire))
        wire[at : at + chance.randrange(2)] = bytes(
            [chance.choice(b"\x00\r\n :;,/\x7f\xffGgHh019")] * chance.randrange(3)
        )
    return bytes(wire)


async def test_whatever_is_asked_is_answered_as_aiohttp_answers_it(world: World) -> None:
    world.settings["server"] = {"max_connects_per_ip": 10**6, "max_viewers_per_ip": 10**6}
    await world.start(timing=replace(SHORT, heartbeat=60))
    runner, requests, chance = world.runner(), [PLAIN], Random(3)
    await world.page("/history")  # made when it is first asked for, and ready from then on

    @settings(max_examples=200, database=None, derandomize=True, phases=[Phase.generate])
    @given(asked(), shaking())
    def collect(plain: bytes, switching: bytes) -> None:
        requests.extend((plain, switching))

    collect()
    requests += [
        changed_at_random(bytearray(chance.choice((PLAIN, SWITCHING))), chance) for _ in range(250)
    ]
    own = await asyncio.get_running_loop().create_server(runner.aiohttp_side, "127.0.0.1", 0)
    async with own:
        ports = (int(world.url.rpartition(":")[2]), own.sockets[0].getsockname()[1])
        room, before = asyncio.Semaphore(50), runner.answered
        answers = await asyncio.gather(
            *(said(port, request, room, 0.3) for request in requests for port in ports)
        )
        for at, request in enumerate(requests):
            if (
                answers[2 * at] != answers[2 * at + 1]
            ):  # a busy machine may have been silent for too long
                for _ in range(5):  # the page may be renewed between the two
                    one, other = [await said(port, request, room, 3) for port in ports]
                    if one == other:
                        break
                assert one == other, request
    assert runner.answered > before + 50, "some of them were answered before aiohttp"
    assert sum(b" 101 " in said[0][0] for said, _ in answers[::2] if said) > 50, (
        "and some became viewers"
    )


async def said(
    port: int, request: bytes, room: asyncio.Semaphore, silence: float
) -> tuple[list[Said], bytes]:
    """All that comes back for a request, and for a last one after it: answers, and bytes that are none."""
    got = b""
    async with room:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(TimeoutError, ConnectionError):
            for part in (request, LAST):
                writer.write(part)
                while chunk := await asyncio.wait_for(reader.read(65536), silence):
                    got += chunk
                    if part is request and (seen := parted(got))[0] and not seen[1]:
                        break
        writer.close()
    return parted(got)


def parted(got: bytes) -> tuple[list[Said], bytes]:
    """Status, headers in no order and without the time, and body of each answer; and what is left."""
    answers: list[Said] = []
    while (
        found := re.match(rb"(HTTP/1\.[01] \d+ [^\r]*)\r\n(.*?)\r\n\r\n", got, re.DOTALL)
    ) is not None:
        fields = {line for line in found[2].split(b"\r\n") if not line.startswith(b"Date: ")}
        size = next((int(f[16:]) for f in fields if f.startswith(b"Content-Length: ")), 0)
        if len(got) < found.end() + size:
            break
        answers.append((found[1], frozenset(fields), got[found.end() : found.end() + size]))
        got = got[found.end() + size :]
    return answers, re.sub(
        rb'"time":"[^"]*"', b"", got
    )  # a viewer's frames, or the beginning of an answer


def test_only_a_plain_request_is_understood() -> None:
    assert understand(PLAIN) == ("/", True)
    assert understand(PLAIN.replace(b"gzip", b"gzip;q=0")) == ("/", False)
    for strange in (
        *(
            PLAIN[:-2],
            PLAIN + b"x",
            PLAIN * 2,
            PLAIN.replace(b"GET", b"HEAD"),
            PLAIN.replace(b"1.1\r", b"1.0\r"),
        ),
        *(
            PLAIN.replace(b"\r\n", b"\n"),
            PLAIN.replace(b"keep-alive", b"close"),
            PLAIN.replace(b"Host", b"Hos t"),
        ),
        PLAIN.replace(b"Host", b"If-None-Match"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nHost: other\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        PLAIN.replace(b"gzip", b"g" * MAX_REQUEST_BYTES),
    ):
        assert understand(strange) is None, strange


def test_only_a_plain_handshake_is_understood() -> None:
    found = read(SWITCHING, VIEWER)
    assert found
    assert (found[0], found[1]["upgrade"], found[1]["sec-websocket-version"]) == (
        "/feed/v1",
        "websocket",
        "13",
    )
    for strange in (
        *(
            SWITCHING[:-2],
            SWITCHING + b"x",
            SWITCHING * 2,
            SWITCHING.replace(b"/feed/v1", b"/feed/V1"),
        ),
        *(SWITCHING.replace(b"GET", b"get"), SWITCHING.replace(b"/feed/v1", b"/feed/v1#x"), PLAIN),
        SWITCHING.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\n\r\n"),
        SWITCHING.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        SWITCHING.replace(b"Upgrade\r\n", b"close, Upgrade\r\n"),
    ):
        assert read(strange, VIEWER) is None, strange


async def test_a_browsers_handshake_is_answered_before_aiohttp_unless_it_is_refused(
    world: World,
) -> None:
    world.settings["server"] = {"max_viewers_per_ip": 1, "trusted_proxies": []}
    await world.start()
    runner, headers = (
        world.runner(),
        {"User-Agent": "Firefox", "Cookie": "a=b", "Accept-Language": "de"},
    )
    async with world.http.ws_connect(
        f"{world.url}/feed/page", origin=world.url, headers=headers, compress=15
    ) as ws:
        assert (await ws.receive_json(timeout=30))["html"]
        assert runner.answered == 1
        with pytest.raises(WSServerHandshakeError) as refused:
            await world.http.ws_connect(f"{world.url}/feed/v1")
        assert (refused.value.status, runner.answered) == (429, 1)


async def test_what_is_remembered_of_requests_stays_small(world: World) -> None:
    await world.start()
    runner = world.runner()
    for number in range(REMEMBERED + 10):
        assert runner.answer(PLAIN.replace(b"127.0.0.1", b"h%d" % number))
    assert len(runner._understood) <= REMEMBERED


async def test_a_connection_that_is_not_read_from_is_handed_over_and_everything_arrives(
    world: World,
) -> None:
    """Back-pressure is aiohttp's: answers wait at the client's side, not in memory."""
    await world.start()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(world.url.rpartition(":")[2]), limit=2**12
    )
    many = 3000
    ask = PLAIN.replace(b"GET / ", b"GET /static/page.js ").replace(b"gzip, ", b"")
    for _ in range(many):
        writer.write(ask)
        await asyncio.sleep(0)
    writer.write(LAST)
    answers = 0
    while line := await reader.readline():
        answers += line.endswith(b"HTTP/1.1 200 OK\r\n")
    assert answers == many + 1
    writer.close()


async def test_stopping_closes_connections_that_ask_nothing(world: World) -> None:
    await world.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    writer.write(PLAIN)
    await reader.readuntil(b"\r\n\r\n")
    await world.stop()
    async with asyncio.timeout(20):
        await reader.read(-1)
    writer.close()


def test_who_asks_nothing_is_closed_after_a_minute(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=lambda: Hurried(60)) as runner:
        assert 60 <= runner.run(silence(tmp_path)) < 600


async def silence(folder: Path) -> float:
    """For how many seconds a connection that asks nothing stays open."""
    loop, world = asyncio.get_running_loop(), World(folder)
    assert isinstance(loop, Hurried)
    await world.open()
    for vendor in ("opsgenie", "slack", "rapidmail"):
        del world.settings[vendor]
    await world.start(timing=Timing(), now=loop.now)
    began = loop.time()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    assert await reader.read() == b""
    writer.close()
    lasted = loop.time() - began
    await world.stop()
    await world.close()
    return lasted


async def test_while_the_daemon_stops_who_asks_on_an_open_connection_is_answered_and_told_it_is_the_last(
    world: World,
) -> None:
    """A proxy or browser that keeps its connection would otherwise find it closed under its request."""
    await world.start()
    asked = [PLAIN, PLAIN.replace(b"GET /", b"GET /healthz")]
    streams = [await asyncio.open_connection("127.0.0.1", port_of(world)) for _ in asked]
    for request, (reader, writer) in zip(asked, streams, strict=True):
        writer.write(request)
        assert b"close" not in (await answer_of(reader)).lower()
    draining = asyncio.create_task(world.runner().drain())
    await eventually(lambda: refused_at(world))
    for request, (reader, writer) in zip(asked, streams, strict=True):
        writer.write(request)
        head = await answer_of(reader)
        assert (head[:15], b"Connection: close" in head) == (b"HTTP/1.1 200 OK", True), head
        assert await reader.read() == b""
        writer.close()
    await draining


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """The head of the next answer; its body is read, too."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length
    await reader.readexactly(int(length[1]))
    return head


def port_of(world: World) -> int:
    return int(world.url.rpartition(":")[2])


async def refused_at(world: World) -> bool:
    """Whether nobody new is taken any more."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(world))
    except OSError:
        return True
    writer.close()
    return False
