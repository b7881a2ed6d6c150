"""The shortest way to an answer, beside aiohttp's own: nobody can tell them apart."""

import asyncio
import re
from contextlib import suppress
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from monostat.front import LONGEST, REMEMBERED, understand
from tests.conftest import World

PLAIN = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\n\r\n"
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
NAMES += ("If-None-Match", "Content-Length", "Transfer-Encoding", "Upgrade", "Expect", "X-Odd", "Sec-Fetch-Mode", "A b")
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
LINE = st.tuples(st.sampled_from(NAMES), st.sampled_from((": ", ":", " : ")), st.sampled_from(VALUES), st.just("\r\n"))


@st.composite
def asked(draw: st.DrawFn) -> bytes:
    """Something like a request; often a good one, and often one that was changed somewhere."""
    method = draw(st.sampled_from(("GET", "GET", "GET", "HEAD", "POST", "get", "GE T")))
    version = draw(st.sampled_from(("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "")))
    lines = "".join(map("".join, draw(st.lists(LINE, max_size=4))))
    host = draw(st.sampled_from(("Host: 127.0.0.1\r\n", "Host: 127.0.0.1\r\n", "")))
    end = draw(st.sampled_from(("\r\n", "\r\n", "\r\n", "\n", "", "\r\nGET / HTTP/1.1\r\n", "\r\n12345")))
    head = f"{method} {draw(st.sampled_from(PATHS))} {version}\r\n{host}{lines}{end}"
    return head.encode("latin-1")


def changed_at_random(chance: Random) -> bytes:
    wire = bytearray(PLAIN)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(wire))
        wire[at : at + chance.randrange(2)] = bytes(
            [chance.choice(b"\x00\r\n :;,/\x7f\xffGgHh019")] * chance.randrange(3)
        )
    return bytes(wire)


async def test_whatever_is_asked_is_answered_as_aiohttp_answers_it(world: World) -> None:
    await world.start()
    runner, requests, chance = world.runner(), [PLAIN], Random(3)
    await world.page("/history")  # made when it is first asked for, and ready from then on

    @settings(max_examples=250, database=None, deadline=None, derandomize=True, phases=[Phase.generate])
    @given(asked())
    def collect(request: bytes) -> None:
        requests.append(request)

    collect()
    requests += [changed_at_random(chance) for _ in range(250)]
    own = await asyncio.get_running_loop().create_server(runner.plain, "127.0.0.1", 0)
    async with own:
        ports = (int(world.url.rpartition(":")[2]), own.sockets[0].getsockname()[1])
        room, before = asyncio.Semaphore(50), runner.answered
        answers = await asyncio.gather(*(said(port, request, room, 0.3) for request in requests for port in ports))
        for at, request in enumerate(requests):
            if answers[2 * at] != answers[2 * at + 1]:  # a busy machine may have been silent for too long
                alone = [[await said(port, request, room, 3) for port in ports] for _ in range(2)]
                assert any(one == other for one, other in alone), request  # the page may be renewed between the two
    assert runner.answered > before + 20, "some of them were answered before aiohttp"


async def said(port: int, request: bytes, room: asyncio.Semaphore, silence: float) -> tuple[list[object], bytes]:
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


def parted(got: bytes) -> tuple[list[object], bytes]:
    """Status, headers in no order and without the time, and body of each answer; and what is left."""
    answers: list[object] = []
    while (found := re.match(rb"(HTTP/1\.[01] \d+ [^\r]*)\r\n(.*?)\r\n\r\n", got, re.DOTALL)) is not None:
        fields = {line for line in found[2].split(b"\r\n") if not line.startswith(b"Date: ")}
        size = next((int(f[16:]) for f in fields if f.startswith(b"Content-Length: ")), 0)
        if len(got) < found.end() + size:
            break
        answers.append((found[1], frozenset(fields), got[found.end() : found.end() + size]))
        got = got[found.end() + size :]
    return answers, got


def test_only_a_plain_request_is_understood() -> None:
    assert understand(PLAIN) == ("/", True)
    assert understand(PLAIN.replace(b"gzip", b"gzip;q=0")) == ("/", False)
    for strange in (
        *(PLAIN[:-2], PLAIN + b"x", PLAIN * 2, PLAIN.replace(b"GET", b"HEAD"), PLAIN.replace(b"1.1\r", b"1.0\r")),
        *(PLAIN.replace(b"\r\n", b"\n"), PLAIN.replace(b"keep-alive", b"close"), PLAIN.replace(b"Host", b"Hos t")),
        PLAIN.replace(b"Host", b"If-None-Match"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nHost: other\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        PLAIN.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        PLAIN.replace(b"gzip", b"g" * LONGEST),
    ):
        assert understand(strange) is None, strange


async def test_what_is_remembered_of_requests_stays_small(world: World) -> None:
    await world.start()
    runner = world.runner()
    for number in range(REMEMBERED + 10):
        assert runner.answer(PLAIN.replace(b"127.0.0.1", b"h%d" % number))
    assert len(runner._known) <= REMEMBERED


async def test_a_connection_that_is_not_read_from_is_handed_over_and_everything_arrives(world: World) -> None:
    """Back-pressure is aiohttp's: answers wait at the client's side, not in memory."""
    await world.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]), limit=2**12)
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
    async with asyncio.timeout(2):
        await reader.read(-1)
    writer.close()
