"""What people with bad intent send: never a 5xx of ours, never a word of a secret, and the page stays up."""

import asyncio
import json
import logging
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from aiohttp import ClientSession, UnixConnector
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from tests.waiting import eventually
from tests.world import World

END = b"Host: x\r\nConnection: close\r\n\r\n"
#: Raw requests, and what may come of them.
RAW: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", ("400",)),
    "a line without an end": (b"GET /" + b"a" * 70_000, ("400", "414")),
    "a header that is too long": (
        b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n" + END,
        ("400", "431"),
    ),
    "too many headers": (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + END, ("200", "400", "431")),
    "a header with a line break": (b"GET / HTTP/1.1\r\nX: a\rb\r\n" + END, ("400",)),
    "a name with a space": (b"GET / HTTP/1.1\r\nContent Length: 5\r\n" + END, ("400",)),
    "two lengths": (
        b"POST /subscribe HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n" + END,
        ("400",),
    ),
    "a negative length": (b"POST /subscribe HTTP/1.1\r\nContent-Length: -5\r\n" + END, ("400",)),
    "a length and chunks": (
        b"POST /subscribe HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"
        + END
        + b"0\r\n\r\n",
        ("400",),
    ),
    "an unknown coding": (
        b"POST /subscribe HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n" + END,
        ("400", "501"),
    ),
    "a bad chunk": (
        b"POST /subscribe HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"zz\r\n",
        ("400",),
    ),
    "an unknown method": (b"BREW / HTTP/1.1\r\n" + END, ("400", "405")),
    "CONNECT": (b"CONNECT evil.example:443 HTTP/1.1\r\n" + END, ("400", "404", "405")),
    "CONNECT without a path": (b"CONNECT evil:80 HTTP/1.1\r\n" + END, ("400", "404", "405")),
    "OPTIONS of everything": (b"OPTIONS * HTTP/1.1\r\n" + END, ("204", "400", "404", "405")),
    "an address without a path": (
        b"GET http://evil.example HTTP/1.1\r\n" + END,
        ("200", "400", "404"),
    ),
    "a key that is no text": (
        b"GET /feed/v1 HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nHost: x\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \xff\xfe\r\n\r\n",
        ("400",),
    ),
    "an absolute address": (b"GET http://evil.example/ HTTP/1.1\r\n" + END, ("200", "400", "404")),
    "a host with nonsense": (
        b"GET / HTTP/1.1\r\nHost: a b<>\"'\r\nConnection: close\r\n\r\n",
        ("200", "400"),
    ),
    "no host": (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", ("200", "400")),
    "an upgrade to nothing": (
        b"GET /feed/v1 HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nHost: x\r\n\r\n",
        ("426",),
    ),
    "a range": (b"GET / HTTP/1.1\r\nRange: bytes=0-18446744073709551615,-1\r\n" + END, ("200",)),
    "a tag with nonsense": (
        b'GET / HTTP/1.1\r\nIf-None-Match: W/"\xff, "\r\n' + END,
        ("200", "400"),
    ),
}
PATHS = (
    *(
        "/../../etc/passwd",
        "/static/../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2fetc",
    ),
    *(
        "/%00",
        "/%ff%fe",
        "/a%0d%0aSet-Cookie:%20a=b",
        "//evil.example/",
        "/\\evil.example",
        "/incidents/1;a=b",
    ),
    *(
        "/incidents/0",
        "/incidents/-1",
        "/incidents/99999999999999999999",
        "/incidents/٣",
        "/incidents/1e3",
    ),
    *(
        "/2026-02-30",
        "/0000-01-01",
        "/9999-12-31",
        "/2026-13-01/1",
        "/history?month=" + "9" * 3000,
        "/?" + "a=b&" * 1500,
    ),
    *(
        "/api/v2/",
        "/api/v2/../v2/summary.json",
        "/api/v2/summary.json%00",
        "/feed/v1/state.json/",
        "/hooks/opsgenie/x",
    ),
    *(
        "/.git/config",
        "/.env",
        "/wp-login.php",
        "/monostat.db",
        "/metrics",
        "/logo",
        "/static/",
        "/static",
    ),
)


PUBLIC = (
    "/",
    "/incidents/1",
    "/feed/v1/state.json",
    "/api/v2/summary.json",
    "/history.atom",
    "/healthz",
    "/readyz",
)


async def raw(world: World, request: bytes) -> bytes:
    """All that comes back on a connection of its own."""
    port, got = int(world.url.rpartition(":")[2]), b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        with suppress(TimeoutError, ConnectionError):
            while more := await asyncio.wait_for(reader.read(65536), 0.5):
                got += more
        return got
    finally:
        writer.close()


async def test_no_raw_request_gets_more_than_a_refusal(world: World) -> None:
    await world.start()
    for name, (request, allowed) in RAW.items():
        answer = await raw(world, request)
        status = (
            answer.split(b" ", 2)[1].decode()
            if answer.startswith(b"HTTP/")
            else answer.decode("latin-1")[:80]
        )
        assert status in allowed, f"{name}: {answer[:200]!r}"
        assert len(re.findall(rb"(?m)^HTTP/1[.]", answer)) <= 1, (
            f"{name}: two answers to one request"
        )
    assert "is up and running" in await world.page()


async def test_no_path_leads_out_of_the_house_or_into_an_error(world: World) -> None:
    await world.start()
    for path in PATHS:
        answer = await raw(world, f"GET {path} HTTP/1.1\r\n".encode() + END)
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert re.match(rb"http/1[.][01] (200|301|308|400|403|404|405)", head), (
            f"{path}: {head[:300]!r}"
        )
        assert b"set-cookie" not in head, path
        assert b"root:" not in answer, path
        assert not re.search(rb"location: (//|[a-z]+:)", head), f"{path}: {head!r}"


async def test_forms_of_any_shape_are_answered_and_nobody_is_subscribed_by_them(
    world: World,
) -> None:
    await world.start()
    bodies: list[tuple[bytes, int]] = [
        (b"", 422),
        (b"email=" + b"a" * 2_000_000, 413),
        (b"\xff\xfe\x00" * 99, 422),
    ]
    bodies += [
        (b"&".join(b"email=%d" % n for n in range(300)), 422),
        (b"email=a%40b%0d%0aBcc:%20c@example.com", 422),
    ]
    for body, status in bodies:
        async with world.http.post(f"{world.url}/subscribe", data=BytesIO(body)) as answer:
            assert answer.status in (status, 429), (body[:20], answer.status)
            assert answer.headers["Cache-Control"] == "no-store"
    assert world.rapidmail.recipients == {}


async def test_slow_clients_keep_nobody_waiting(world: World) -> None:
    await world.start()
    port = int(world.url.rpartition(":")[2])
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(150)]
    for _, writer in slow:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
    assert "is up and running" in await world.page()
    for _, writer in slow:
        writer.close()


async def test_the_control_socket_is_for_its_user_alone_and_takes_any_nonsense(
    world: World,
) -> None:
    await world.start()
    path = world.folder / "monostat.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    bodies = [
        b"",
        b"null",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"verb": {}}',
        b'{"verb": "create", "by": 7}',
        b"\xff",
    ]
    bodies += [
        b'{"verb": "resolve", "by": "x", "incident": %s}' % (b"9" * 400),
        b'{"verb": "__init__", "by": "x"}',
    ]
    bodies += [json.dumps({"verb": "create", "by": "x", "title": "\ud800"}).encode()]
    bodies += [
        b'{"verb": "plan", "by": "x", "title": "T", "start": "0001-01-01T00:00:00Z", "end": "9999-12-31T23:59:59Z"}'
    ]
    async with ClientSession(connector=UnixConnector(str(path))) as shell:
        for body in bodies:
            async with shell.post("http://x/act", data=body) as answer:
                assert answer.status in (200, 400, 413), body[:60]
                if answer.status == 200:
                    said = await answer.json()
                    assert said["refused"] or said["number"], body[:60]
    assert "Example" in await world.page()


async def test_no_address_of_a_subscriber_and_no_secret_is_in_log_database_or_answer(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Every vendor refuses in turn, and the app has a bug: none of what it says gives a secret away."""
    caplog.set_level(logging.DEBUG, logger="monostat")
    reader, secret = "canary.reader@example.com", "canary-alert-words"
    world.rapidmail.faults.fail_next(500, path="/recipients")
    world.rapidmail.faults.answer_next(400, body=b'{"detail": "no"}', path="/mailings")
    world.opsgenie.faults.fail_next(401)
    await world.start()
    shown = []
    for _ in range(2):
        async with world.http.post(f"{world.url}/subscribe", data={"email": reader}) as answer:
            assert answer.status in (200, 503)
    await eventually(lambda: reader in world.rapidmail.recipients)
    world.opsgenie.fire(secret)
    await world.becomes("suspected")
    await world.act("confirm", incident=1)
    await eventually(lambda: any("could not be sent" in line for line in world.thread()))
    async with world.http.get(f"{world.url}/broken") as answer:
        assert answer.status == 500
        shown.append(await answer.text())
    shown += [await world.page(path) for path in PUBLIC]
    secrets = [
        world.slack.bot_token,
        world.slack.app_token,
        world.rapidmail.password,
        world.opsgenie.api_key,
    ]
    log = caplog.text + "".join(str(record.exc_text) for record in caplog.records)
    held = b"".join(file.read_bytes() for file in files(world.folder)).decode("latin-1")
    assert "a bug" in log
    for canary in [reader, "canary.reader", *secrets]:
        assert canary not in log, canary
        assert canary not in held, canary
        assert canary not in "".join(shown), canary
    assert secret not in "".join(shown)
    assert secret not in log


def files(folder: Path) -> Iterator[Path]:
    return folder.glob("monostat.db*")


async def test_nothing_that_the_openapi_document_allows_is_answered_with_a_5xx(
    world: World,
) -> None:
    await world.start()
    await world.act("create", title="Slow")

    def explore() -> int:
        schema, seen = schemathesis.openapi.from_url(f"{world.url}/openapi.json"), 0
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()

            @settings(max_examples=8, database=None, suppress_health_check=[*HealthCheck])
            @given(case=operation.as_strategy())
            def ask(case: schemathesis.Case[Any]) -> None:
                nonlocal seen
                answer = case.call(base_url=world.url)
                assert answer.status_code < 500 or answer.status_code == 503, (
                    case.path,
                    answer.status_code,
                )
                seen += 1

            ask()
        return seen

    assert await asyncio.to_thread(explore) > 20


async def test_the_cookies_of_a_parent_domain_are_no_reason_to_refuse_anybody(world: World) -> None:
    """Theirs, up to 32 kB; ours has none."""
    await world.start()
    cookies = "; ".join(f"consent{number}={'x' * 4000}" for number in range(8))
    headers = {"Cookie": cookies}
    for path in ("/", "/history", "/static/page.js"):
        async with world.http.get(world.url + path, headers=headers) as answer:
            assert answer.status == 200
    async with world.http.ws_connect(f"{world.url}/feed/v1", headers=headers) as feed:
        assert (await feed.receive_json())["type"] == "state"


async def test_what_cannot_be_read_is_refused_without_telling_what_reads_it(world: World) -> None:
    await world.start()
    headers = {"Cookie": "x" * 60_000}
    async with world.http.get(world.url, headers=headers) as answer:
        assert answer.status in (400, 431)
        assert answer.headers["Server"] == "monostat"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
