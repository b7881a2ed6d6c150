"""What a request may cost: limits come before bodies, bodies are never unpacked, and no list of visitors is walked."""

import asyncio
import gzip
import json
import re
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector, set_zlib_backend

from monostat.config import Timing
from monostat.core.markdown import MAX_TEXT_LENGTH
from monostat.ops.metrics import TELEMETRY
from monostat.public.clients import Clients
from monostat.public.site import MOST_KEPT, SITE
from monostat.public.subscribing import MAX_NETWORKS, Tries
from tests.hurry import Hurried
from tests.waiting import eventually
from tests.world import World

ZEROS = 16_000_000
BOMBS = {
    "gzip": gzip.compress(bytes(ZEROS)),
    "deflate": zlib.compress(bytes(ZEROS)),
    "x-gzip, gzip": gzip.compress(gzip.compress(bytes(ZEROS))),
}
TARGETS = (
    "POST /subscribe",
    "POST /",
    "GET /",
    "POST /hooks/opsgenie/wrong",
    "DELETE /feed/v1",
    "POST /nowhere",
)


async def connected(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))


async def head(reader: asyncio.StreamReader) -> bytes:
    """The first answer's status line and headers."""
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)


async def hung_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


class Unpacking:
    """zlib as aiohttp wants it, which counts the bytes that were unpacked."""

    def __init__(self) -> None:
        self.bytes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(zlib, name)

    def decompressobj(self, wbits: int) -> "Unpacking.One":
        return Unpacking.One(self, zlib.decompressobj(wbits))

    class One:
        def __init__(self, all_of_them: "Unpacking", real: "zlib._Decompress") -> None:
            self._all, self._real = all_of_them, real

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

        def decompress(self, data: bytes, *limit: int) -> bytes:
            made = self._real.decompress(data, *limit)
            self._all.bytes += len(made)
            return made


@pytest.fixture
def unpacking() -> Iterator[Unpacking]:
    counting = Unpacking()
    set_zlib_backend(counting)  # type: ignore[arg-type]
    yield counting
    set_zlib_backend(zlib)


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("coding", BOMBS)
async def test_a_body_is_never_unpacked(world: World, coding: str, unpacking: Unpacking) -> None:
    await world.start()
    body = BOMBS[coding]
    framings = (
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    )
    for target in TARGETS:
        for framed in framings:
            reader, writer = await connected(world)
            writer.write(
                f"{target} HTTP/1.1\r\nHost: x\r\nContent-Encoding: {coding}\r\n".encode() + framed
            )
            assert (await head(reader)).startswith(b"HTTP/1.1 "), target
            await hung_up(writer)
    assert unpacking.bytes == 0


CHUNKED = "Transfer-Encoding: chunked\r\n\r\nff\r\nabc"


async def test_the_control_socket_unpacks_nothing(world: World, unpacking: Unpacking) -> None:
    await world.start()
    bomb, coded = BOMBS["gzip"], {"Content-Encoding": "gzip"}
    async with ClientSession(connector=UnixConnector(str(world.folder / "monostat.sock"))) as shell:
        async with shell.post("http://x/act", data=bomb, headers=coded) as answer:
            assert "not understood" in json.loads(await answer.text())["refused"]
        async with shell.get("http://x/incidents", data=bomb, headers=coded) as answer:
            assert answer.status == 200
    assert unpacking.bytes == 0


@pytest.mark.parametrize("coding", ["gzip", "identity", "br"])
async def test_a_form_in_any_coding_is_refused_before_it_is_read(world: World, coding: str) -> None:
    await world.start()
    reader, writer = await connected(world)
    coded = f"Content-Encoding: {coding}\r\nContent-Length: 20\r\n\r\n".encode()
    writer.write(b"POST /subscribe HTTP/1.1\r\nHost: x\r\n" + coded)  # and no byte of the body
    assert b" 415 " in await head(reader)
    await hung_up(writer)


LARGE = {
    "too long by its own word": b"Content-Length: 4097\r\n\r\n",
    "far too long by its own word": b"Content-Length: 9999999999\r\n\r\nemail=",
    "long in chunks": b"Transfer-Encoding: chunked\r\n\r\n1001\r\n%b\r\n" % (b"a" * 4097),
}


@pytest.mark.parametrize("kind", LARGE)
async def test_a_form_over_four_kilobytes_is_refused_and_its_rest_never_read(
    world: World, kind: str
) -> None:
    await world.start()
    reader, writer = await connected(world)
    writer.write(b"POST /subscribe HTTP/1.1\r\nHost: x\r\n" + LARGE[kind])
    said = await head(reader)
    assert b" 413 " in said
    assert b"connection: close" in said.lower()
    await hung_up(writer)


@pytest.mark.parametrize("target", TARGETS)
async def test_a_body_that_nobody_wants_is_not_waited_for_and_not_read(
    world: World, target: str
) -> None:
    """The answer comes before the body, and then the kernel's buffers fill: what is sent is not taken."""
    await world.start()
    reader, writer = await connected(world)
    writer.write(f"{target} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n".encode())
    if target != "POST /subscribe":
        assert b"\r\nconnection: close\r\n" in (await head(reader)).lower()
    sent = 0
    with suppress(ConnectionError):
        for _ in range(1000):
            writer.write(bytes(100_000))
            await writer.drain()
            sent += 100_000
    assert sent < 50_000_000
    await hung_up(writer)


FORM = b"POST /subscribe HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nContent-Length: "
NO_FORMS = (b"email=x", b"\xff\x00", b"&" * 4000, b"%c3=%&" * 600, b"=" * 4000)


async def test_who_has_tried_too_often_is_told_so_before_the_form_is_read(world: World) -> None:
    await world.start()
    reader, writer = await connected(world)
    for no_form in NO_FORMS:
        writer.write(FORM + b"%d\r\n\r\n%b" % (len(no_form), no_form))
        said = await head(reader)
        assert b" 422 " in said, no_form[:9]
        await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", said)[0]))
    writer.write(FORM + b"4000\r\n\r\n")  # and no byte of it
    said = await head(reader)
    assert b" 429 " in said
    assert b"Retry-After: 3600" in said
    await hung_up(writer)


async def test_a_try_that_is_refused_later_counts(world: World) -> None:
    await world.start()
    for refused in (
        *LARGE.values(),
        b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\n",
        b"\r\n",
    ):
        reader, writer = await connected(world)
        writer.write(
            b"POST /subscribe HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n" + refused
        )
        assert b" 429 " not in await head(reader)
        await hung_up(writer)
    form = {"email": "ada@example.org"}
    async with world.http.post(
        f"{world.url}/subscribe", data=form, headers={"X-Forwarded-For": "203.0.113.9"}
    ) as answer:
        assert answer.status == 429
    assert world.rapidmail.recipients == {}


def test_tries_are_counted_for_an_hour_and_in_bounded_memory() -> None:
    tries, address = Tries(), (f"2001:db8:{n:x}" for n in count())
    assert [tries.is_one_too_many("a", 60.0 * n) for n in range(6)] == [False] * 5 + [True]
    assert [tries.is_one_too_many("a", 3599), tries.is_one_too_many("a", 3600)] == [True, False]
    assert [tries.is_one_too_many("a", 3659), tries.is_one_too_many("a", 3661)] == [True, False]
    for _ in range(2 * MAX_NETWORKS):
        tries.is_one_too_many(next(address), 4000)
    assert len(tries) == MAX_NETWORKS
    tries.is_one_too_many("b", 4000 + 3600)
    assert len(tries) == 1


def test_a_form_that_does_not_arrive_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=lambda: Hurried(60)) as runner:
        assert 10 <= runner.run(waiting(tmp_path)) < 100


async def waiting(folder: Path) -> float:
    """For how many seconds a form that stops in the middle is waited for."""
    loop, world = asyncio.get_running_loop(), World(folder)
    assert isinstance(loop, Hurried)
    await world.open()
    for vendor in ("opsgenie", "slack"):
        del world.settings[vendor]
    await world.start(timing=Timing(), now=loop.now)
    began = loop.time()
    reader, writer = await connected(world)
    writer.write(FORM + b"20\r\n\r\nemail=")
    assert b" 408 " in await reader.readuntil(b"\r\n\r\n")
    lasted = loop.time() - began
    await reader.readuntil(b"did not arrive in full")
    await hung_up(writer)
    await world.stop()
    await world.close()
    return lasted


# What else a request can have much of.


async def test_a_long_list_of_proxies_is_not_read_to_its_beginning(world: World) -> None:
    """The client is the last who is no proxy; of a list of nothing but proxies nobody is the client."""
    await world.start()
    trusted = b"X-Forwarded-For: " + b"::1," * 1500 + b"::1\r\n"
    for forwarded, statuses in (
        (b"X-Forwarded-For: 203.0.113.1, 198.51.100.1\r\n", [422] * 5 + [429] * 2),
        (b"X-Forwarded-For: 203.0.113.2, ::1, ::1\r\n", [422] * 5 + [429] * 2),
        (b"X-Forwarded-For: 203.0.113.3\r\n" + trusted * 90, [422] * 7),
    ):
        found = []
        for _ in statuses:
            reader, writer = await connected(world)
            writer.write(
                b"POST /subscribe HTTP/1.1\r\nHost: x\r\n"
                + forwarded
                + b"Content-Length: 0\r\n\r\n"
            )
            found.append(int((await head(reader)).split()[1]))
            await hung_up(writer)
        assert found == statuses


async def test_pages_of_thousands_of_days_are_remembered_up_to_a_bound(world: World) -> None:
    """Each incident is a page of its own, too: with words of the greatest length it is large."""
    for vendor in ("slack", "opsgenie", "rapidmail"):  # nothing changes while the pages are read
        del world.settings[vendor]
    await world.start()
    before = datetime.now(UTC) - timedelta(days=9)
    for _ in range(3):
        long = {"text": "😀" * MAX_TEXT_LENGTH, "summary": "😀" * MAX_TEXT_LENGTH}
        await world.act(
            "create", title="Long ago", start=before, end=before + timedelta(hours=1), **long
        )
    await world.stop()
    with closing(sqlite3.connect(world.folder / "monostat.db")) as db:
        ((body,),) = db.execute(
            "SELECT body FROM facts WHERE kind = 'Incident' AND key = 3"
        ).fetchall()
        for number in range(4, 150):
            known = json.loads(body) | {"number": number}
            db.execute("INSERT INTO facts VALUES ('Incident', ?, ?)", (number, json.dumps(known)))
        db.commit()
    await world.start()
    site = world.app[SITE]
    held = []
    for number in range(1, 150):
        page = await world.page(f"/incidents/{number}")
        assert "Long ago" in page
        held.append(sum(len(made.body) + len(made.zipped) for made in site.shown.values()))
    assert 150 * len(page.encode()) > MOST_KEPT
    assert held[0] + MOST_KEPT > max(held) > MOST_KEPT // 2
    assert await world.page("/incidents/1") == await world.page("/incidents/1")


async def test_an_address_over_four_kilobytes_is_refused(world: World) -> None:
    await world.start()
    for path in (
        "/" + "a/" * 2500,
        "/" * 5000,
        "/" + "../" * 1700,
        "/?" + "a=b&" * 1300,
        "/feed/v1?" + "a=b&" * 1300,
    ):
        reader, writer = await connected(world)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b" 400 " in await head(reader), path[:9]
        await hung_up(writer)


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ("ETAG", 304),
        ('"x", ETAG', 304),
        ("*", 304),
        ('W/"x"', 200),
        ("x", 200),
        ('"' * 4001, 200),
        ('"a",' * 1000, 200),
    ],
)
async def test_a_page_that_is_known_already_is_not_sent_again(
    world: World, tags: str, status: int
) -> None:
    await world.start()

    async def answered(weak: str) -> bool:
        async with world.http.get(world.url) as answer:
            etag = answer.headers["ETag"].removeprefix("W/")
        asked = {"If-None-Match": tags.replace("ETAG", weak + etag)}
        async with world.http.get(world.url, headers=asked) as answer:
            return answer.status == status

    for weak in ("W/", ""):
        await eventually(partial(answered, weak))  # unless something changes between the two


@pytest.mark.parametrize(
    "address", ["%ff@example.com", "%E0%80%80@example.com", "a%C3@example.com"]
)
async def test_bytes_that_are_no_text_are_no_address(world: World, address: str) -> None:
    await world.start()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with world.http.post(
        f"{world.url}/subscribe", data=f"email={address}", headers=headers
    ) as answer:
        assert answer.status == 422
    assert world.rapidmail.recipients == {}


@pytest.mark.parametrize("rest", ["Content-Length: 30\r\n\r\nemail=", CHUNKED])
async def test_who_hangs_up_in_the_middle_of_a_form_is_no_fault_of_ours(
    world: World, rest: str, caplog: pytest.LogCaptureFixture
) -> None:
    await world.start()
    host, _, port = world.url.removeprefix("http://").partition(":")
    for _ in range(3):
        _, writer = await asyncio.open_connection(host, int(port))
        kind = "Content-Type: application/x-www-form-urlencoded"
        writer.write(f"POST /subscribe HTTP/1.1\r\nHost: x\r\n{kind}\r\n{rest}".encode())
        await writer.drain()
        await world.page()
        writer.close()
        await writer.wait_closed()
    requests = world.app[TELEMETRY].requests
    await eventually(
        lambda: sum(n for (name, _), n in requests.items() if name == "subscribe") >= 3
    )
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_network_of_proxies_is_believed_and_what_is_outside_of_it_is_not() -> None:
    clients = Clients(["10.0.0.0/8", "2001:db8::/32", "::1"])
    assert clients.network_of("10.1.2.3", "203.0.113.9, 10.9.9.9, 2001:db8::7") == "203.0.113.9"
    assert clients.network_of("::ffff:10.1.2.3", "203.0.113.9") == "203.0.113.9"
    assert clients.network_of("10.1.2.3", "") == ""
    assert clients.network_of("11.1.2.3", "203.0.113.9") == "11.1.2.3"
    assert clients.network_of("unix", "203.0.113.9") == "unix"
    assert Clients(["unix"]).network_of("unix", "203.0.113.9") == "203.0.113.9"


async def test_cookies_of_the_parent_domain_do_no_harm(world: World) -> None:
    await world.start()
    cookies = {"Cookie": "a=" + "x" * 32_700}
    for path in ("/", "/history", "/feed/v1/state.json", "/nothing"):
        async with world.http.get(world.url + path, headers=cookies) as answer:
            assert answer.status == (404 if path == "/nothing" else 200)
    async with world.http.ws_connect(f"{world.url}/feed/v1", headers=cookies) as ws:
        assert (await ws.receive_json(timeout=30))["type"] == "state"
