"""The websocket feed, as /feed/v1/asyncapi.json describes it."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from random import Random
from urllib.parse import urlsplit

import pytest
from aiohttp import (
    ClientConnectorError,
    ClientWebSocketResponse,
    WSMessage,
    WSMsgType,
    WSServerHandshakeError,
    web,
)

from monostat.config import Server
from monostat.ops.metrics import TELEMETRY
from monostat.public.clients import canonical
from monostat.public.live.handshake import Handshake
from monostat.public.live.hub import Hub, Messages
from tests.daemon import free_port, toml
from tests.waiting import eventually
from tests.world import SHORT, World

LONG = (
    "We are looking into it. " * 150_000
)  # more than the kernel holds for a socket that nobody reads
HANDSHAKE = (
    "GET /feed/v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def test_a_viewer_who_names_the_newest_version_gets_a_heartbeat_first(world: World) -> None:
    await world.start()
    state = await world.state()
    address = f"{world.url}/feed/v1?since={state['version']}&epoch={state['epoch']}"
    async with world.http.ws_connect(address) as ws:
        beat = await ws.receive_json(timeout=30)
    assert (beat["type"], beat["version"]) == ("heartbeat", state["version"])
    for query in ("since=x&epoch=y", f"since={state['version']}&epoch=other", "since=999&other=1"):
        async with world.http.ws_connect(f"{world.url}/feed/v1?{query}") as ws:
            assert (await ws.receive_json(timeout=30))["type"] == "state"


async def test_the_socket_and_state_json_carry_the_same_bytes(world: World) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        sent = await ws.receive_str(timeout=30)
    async with world.http.get(f"{world.url}/feed/v1/state.json") as answer:
        assert await answer.text() == sent
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        etag = answer.headers["ETag"]
    message = json.loads(sent)
    assert etag == f'W/"{message["epoch"]}-{message["version"]}"'
    async with world.http.get(
        f"{world.url}/feed/v1/state.json", headers={"If-None-Match": etag}
    ) as answer:
        assert answer.status == 304


async def test_a_quiet_feed_beats_and_says_when_monitoring_last_answered(world: World) -> None:
    await world.start(timing=replace(SHORT, heartbeat=0.2))
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        state = await ws.receive_json(timeout=30)
        assert state["heartbeat_ms"] == 200
        beats = [await ws.receive_json(timeout=30) for _ in range(4)]
    assert {beat["type"] for beat in beats} == {"heartbeat"}
    assert {beat["version"] for beat in beats} == {state["version"]}
    assert "checked_at" in beats[-1]


async def test_subprotocols_are_chosen_or_refused_before_the_upgrade(world: World) -> None:
    await world.start()
    async with world.http.ws_connect(
        f"{world.url}/feed/v1", protocols=["other", "monostat.v1"]
    ) as ws:
        assert ws.protocol == "monostat.v1"
    with pytest.raises(WSServerHandshakeError) as refused:
        await world.http.ws_connect(f"{world.url}/feed/v1", protocols=["other"])
    assert refused.value.status == 400
    async with world.http.get(f"{world.url}/feed/v1") as answer:
        assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")
        assert "state.json" in await answer.text()
    async with world.http.get(f"{world.url}/feed/v1", headers={"Upgrade": "websocket"}) as answer:
        assert answer.status == 426, "a proxy that drops Connection is told where to read instead"


async def test_nothing_is_compressed_per_viewer(world: World) -> None:
    await world.start()
    async with world.http.ws_connect(f"{world.url}/feed/v1", compress=15) as ws:
        assert ws.compress == 0


TEXT, BINARY, MORE, CLOSE, PING = (
    0x81,
    0x82,
    0x80,
    0x88,
    0x89,
)  # the first byte, of a frame that is the last of its message
BEGINS, GOES_ON = 0x01, 0x00
ABUSE = {
    "binary": ([(BINARY, b"x")], 1003),
    "a frame over 1 kB": ([(TEXT, b"x" * 1025)], 1009),
    "a length that says it is huge": (bytes([TEXT, 0xFF]) + b"\x7f" + b"\xff" * 7, 1009),
    "fragments over 1 kB together": ([(BEGINS, b"x" * 600), (MORE, b"x" * 600)], 1009),
    "no mask": (bytes([TEXT, 2]) + b"hi", 1002),
    "a reserved bit": ([(0xC1, b"hi")], 1002),
    "an unknown opcode": ([(0x83, b"hi")], 1002),
    "a ping over 125 bytes": ([(PING, b"x" * 126)], 1002),
    "a ping in fragments": ([(0x09, b"x")], 1002),
    "a fragment of nothing": ([(MORE, b"hi")], 1002),
    "a text inside a text": ([(BEGINS, b"hi"), (TEXT, b"hi")], 1002),
    "no UTF-8": ([(BEGINS, b"\xc3"), (MORE, b"\x28")], 1007),
    "a close code of one byte": ([(CLOSE, b"\x03")], 1002),
    "a close code that none may send": ([(CLOSE, b"\x03\xee")], 1002),
    "a close reason that is no UTF-8": ([(CLOSE, b"\x03\xe8\xff")], 1007),
    "eleven texts": ([(TEXT, b"hi")] * 11, 1008),
    "a flood of pings": ([(PING, b"hi")] * 1500, 1008),
    "a flood of empty fragments": ([(BEGINS, b"")] + [(GOES_ON, b"")] * 1500, 1008),
    "goodbye": ([(CLOSE, b"\x03\xe8bye")], 1000),
    "goodbye without a code": (
        [(TEXT, b"hi"), (BEGINS, b"h"), (PING, b""), (MORE, b"i"), (CLOSE, b"")],
        1000,
    ),
}


@pytest.mark.parametrize(("sent", "code"), ABUSE.values(), ids=ABUSE.keys())
async def test_a_client_that_breaks_the_rules_is_told_which(
    world: World, sent: bytes | list[tuple[int, bytes]], code: int
) -> None:
    await world.start()
    wire = (
        sent
        if isinstance(sent, bytes)
        else b"".join(masked(first, payload) for first, payload in sent)
    )
    for behind in (b"", wire):  # what comes right behind the handshake counts, too
        reader, writer = await handshake(world, behind)
        for at in range(0, len(b"" if behind else wire), size := 1 if len(wire) < 3000 else 3000):
            writer.write(wire[at : at + size])
            await asyncio.sleep(0)
        frames = [
            got async for got in frames_of(reader)
        ]  # to the end: the server hangs up by itself
        assert frames[0][0] == TEXT
        assert (frames[-1][0], int.from_bytes(frames[-1][1][:2])) == (CLOSE, code)
        writer.close()


async def test_pings_are_answered_and_texts_ignored(world: World) -> None:
    await world.start()
    reader, writer = await handshake(world, b"")
    writer.write(masked(TEXT, b'{"op": "subscribe"}') * 10 + masked(PING, b"there?"))
    assert (0x8A, b"there?") in [await next_frame(reader) for _ in range(2)]
    writer.close()


async def test_bytes_changed_at_random_never_hurt_another_viewer(world: World) -> None:
    """Whatever comes is answered by a frame of ours, and by nothing but a close code that is meant for it."""
    await world.start()
    chance, said = (
        Random(7),
        masked(TEXT, b"hello" * 30)
        + masked(PING, b"x")
        + masked(BEGINS, b"a")
        + masked(MORE, b"b"),
    )
    async with world.http.ws_connect(f"{world.url}/feed/v1") as neighbour:
        await neighbour.receive_json(timeout=30)
        for _ in range(100):
            wire = bytearray(said)
            for _ in range(chance.randrange(1, 5)):
                wire[chance.randrange(len(wire))] = chance.randrange(256)
            reader, writer = await handshake(world, bytes(wire) + masked(CLOSE, b"") * 200)
            *_, (first, payload) = [got async for got in frames_of(reader)]
            assert first == CLOSE
            assert int.from_bytes(payload[:2]) in (1000, 1002, 1003, 1007, 1008, 1009)
            writer.close()
        assert (await neighbour.receive_json(timeout=30))["type"] == "heartbeat"


async def handshake(
    world: World, behind: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A viewer made by hand, and what it says without waiting for the answer."""
    parts = urlsplit(world.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(HANDSHAKE.encode() + behind)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def masked(first: int, payload: bytes) -> bytes:
    mask, size = b"\x01\x02\x03\x04", len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2)
    return (
        bytes([first])
        + length
        + mask
        + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    )


async def next_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    size = int.from_bytes(await reader.readexactly(8 if size == 127 else 2)) if size > 125 else size
    return first, await reader.readexactly(size)


async def frames_of(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    with suppress(asyncio.IncompleteReadError):
        while True:
            yield await asyncio.wait_for(next_frame(reader), 5)


async def test_the_pages_own_feed_is_for_our_own_origin(world: World) -> None:
    await world.start()
    with pytest.raises(WSServerHandshakeError) as refused:
        await world.http.ws_connect(f"{world.url}/feed/page", origin="https://evil.example")
    assert refused.value.status == 403
    for strange in ("http://[", "null", f"{world.url}.evil.example"):
        with pytest.raises(WSServerHandshakeError) as refused:
            await world.http.ws_connect(f"{world.url}/feed/page", origin=strange)
        assert refused.value.status == 403
    async with world.http.ws_connect(f"{world.url}/feed/page", origin=world.url) as ws:
        message = await ws.receive_json(timeout=30)
    assert {"html", "title", "icon", "build", "epoch", "version"} <= message.keys()
    assert message["html"] in await world.page()
    async with world.http.ws_connect(f"{world.url}/feed/v1", origin="https://evil.example") as ws:
        assert (await ws.receive_json(timeout=30))["type"] == "state"


async def test_a_full_server_and_a_crowded_address_are_refused_before_the_upgrade(
    world: World,
) -> None:
    world.settings["server"] = {"max_viewers": 3, "max_viewers_per_ip": 2, "trusted_proxies": []}
    await world.start()
    sockets = [await world.http.ws_connect(f"{world.url}/feed/v1") for _ in range(2)]
    with pytest.raises(WSServerHandshakeError) as refused:
        await world.http.ws_connect(f"{world.url}/feed/v1")
    assert refused.value.status == 429
    assert refused.value.headers is not None
    assert int(refused.value.headers["Retry-After"]) > 0
    await sockets[0].close()
    sockets[0] = await eventually(lambda: reconnected(world))
    for ws in sockets:
        await ws.close()


async def test_one_address_is_limited_by_rate_and_an_ipv6_network_counts_as_one(
    world: World,
) -> None:
    world.settings["server"] = {"max_connects_per_ip": 3, "max_viewers_per_ip": 2}
    await world.start()

    async def status(client: str) -> int:
        """Of a handshake that a trusted proxy hands on; a viewer that was taken leaves again."""
        try:
            async with world.http.ws_connect(
                f"{world.url}/feed/v1", headers={"X-Forwarded-For": client}
            ):
                return 101
        except WSServerHandshakeError as refused:
            return refused.status

    assert [await status("1.2.3.4") for _ in range(4)] == [101, 101, 101, 429]
    assert await status("9.9.9.9, 127.0.0.1") == 101
    headers = ({"X-Forwarded-For": f"2001:db8:0:1::{host}"} for host in (1, 2))
    held = [await world.http.ws_connect(f"{world.url}/feed/v1", headers=each) for each in headers]
    assert await status("2001:db8:0:1:ffff::3") == 429
    assert await status("2001:db8:0:2::1") == 101
    for ws in held:
        await ws.close()


async def test_a_low_limit_of_open_files_is_told_at_start_and_kept_to(world: World) -> None:
    port = free_port()
    settings = {"site": world.settings["site"], "server": {"listen": [f"127.0.0.1:{port}"]}}
    file = world.folder / "config.toml"
    await asyncio.to_thread(file.write_text, toml(settings))
    world.url = f"http://127.0.0.1:{port}"
    command = f"ulimit -n 203; exec {sys.executable} -m monostat serve --config {file}"
    process = await asyncio.create_subprocess_shell(
        command, cwd=world.folder, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    try:
        lines = [await asyncio.wait_for(process.stderr.readline(), 20)]
        while b"only 3 viewers of 10000 can be held" not in lines[-1]:
            assert lines[-1], lines
            lines.append(await asyncio.wait_for(process.stderr.readline(), 20))
        assert b"raise it to 10200" in lines[-1]
        held = [await eventually(lambda: reconnected(world)) for _ in range(3)]
        with pytest.raises(WSServerHandshakeError) as refused:
            await world.http.ws_connect(f"{world.url}/feed/v1")
        assert refused.value.status == 503
        for ws in held:
            await ws.close()
    finally:
        process.kill()
        await process.communicate()


async def reconnected(world: World) -> ClientWebSocketResponse | None:
    try:
        return await world.http.ws_connect(f"{world.url}/feed/v1")
    except (WSServerHandshakeError, ClientConnectorError):
        return None


def test_each_address_is_counted_once_however_it_is_spelled() -> None:
    assert canonical("::ffff:1.2.3.4") == canonical("1.2.3.4") != canonical("::ffff:9.9.9.9")
    assert canonical("2001:DB8::1") == canonical("2001:db8:0::1") == canonical("[2001:db8::1]:443")
    assert canonical("1.2.3.4:5") == canonical("1.2.3.4")


async def test_a_viewer_who_vanished_without_a_word_is_noticed(world: World) -> None:
    world.settings["server"] = {
        "max_viewers_per_ip": 1,
        "max_connects_per_ip": 10**6,
        "trusted_proxies": [],
    }
    await world.start(timing=replace(SHORT, heartbeat=0.2))
    raw = await stalled_viewer(world)
    await eventually(lambda: full(world))
    ws = await eventually(lambda: reconnected(world))
    await ws.close()
    raw.close()


async def deaf(world: World) -> socket.socket:
    """A connection that has little room, and is never read from."""
    parts = urlsplit(world.url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (parts.hostname, parts.port))
    return raw


async def stalled_viewer(world: World) -> socket.socket:
    """Connects, and then never reads again."""
    raw = await deaf(world)
    await asyncio.get_running_loop().sock_sendall(raw, HANDSHAKE.encode())
    return raw


async def test_who_reads_nothing_before_the_handshake_is_slow_from_the_beginning(
    world: World,
) -> None:
    await world.start(timing=replace(SHORT, viewer_patience=0.5))
    raw, loop = await deaf(world), asyncio.get_running_loop()
    ask = b"GET /static/page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    runner, asked = world.runner(), 0
    while not any(front.paused for front in runner.open):
        await loop.sock_sendall(raw, ask)
        asked += 1
        await eventually(lambda asked=asked: runner.answered >= asked)  # type: ignore[misc]
    await loop.sock_sendall(raw, HANDSHAKE.encode())
    await eventually(lambda: world.app[TELEMETRY].hub.counts["disconnections", "slow"] == 1)
    raw.close()


async def test_viewers_who_never_read_delay_nobody_and_shutdown_tells_the_others(
    world: World,
) -> None:
    world.settings["opsgenie"]["incident_text"] = LONG
    await world.start(timing=replace(SHORT, viewer_patience=60))  # nobody is let go for slowness
    raw = [await stalled_viewer(world) for _ in range(5)]
    sockets = [
        # By itself the client answers the end, and fails where the connection has ended, too.
        await world.http.ws_connect(f"{world.url}/feed/v1", max_msg_size=0, autoclose=False)
        for _ in range(10)
    ]
    for ws in sockets:
        await ws.receive_json(timeout=30)
    world.opsgenie.fire("disk full")
    for ws in sockets:
        while (message := await ws.receive_json(timeout=30))["type"] == "heartbeat":
            pass
        assert message["open"][0]["state"] == "suspected"
        while (await ws.receive_json(timeout=30))["type"] != "heartbeat":
            pass  # after a heartbeat nothing is on its way: who is behind is not waited for
    async with asyncio.timeout(30):
        ends = [asyncio.create_task(last(ws)) for ws in sockets]
        await world.stop()
        told = await asyncio.gather(*ends)
    assert {message.data for message in told} == {1001}
    assert all(
        0 <= int((message.extra or "").removeprefix("retry_ms=")) < 10_000 for message in told
    )
    for one in raw:
        one.close()
    for ws in sockets:
        await ws.close()


async def last(ws: ClientWebSocketResponse) -> WSMessage:
    while (message := await ws.receive()).type is WSMsgType.TEXT:
        pass
    return message


async def test_a_viewer_who_takes_nothing_is_let_go(world: World) -> None:
    world.settings["opsgenie"]["incident_text"] = LONG
    world.settings["server"] = {
        "max_viewers_per_ip": 1,
        "max_connects_per_ip": 10**6,
        "trusted_proxies": [],
    }
    await world.start(
        timing=replace(SHORT, viewer_patience=0.3, heartbeat=10)
    )  # no ping is missed in time
    raw = await stalled_viewer(world)
    await eventually(lambda: full(world))
    world.opsgenie.fire("disk full")
    ws = await eventually(lambda: reconnected(world))
    await ws.close()
    raw.close()


async def test_a_slow_viewer_skips_what_it_missed_and_ends_on_the_newest(world: World) -> None:
    world.settings["opsgenie"]["incident_text"] = LONG
    world.settings["texts"] = dict.fromkeys(("confirmed", "watching", "not_fixed"), LONG)
    await world.start(timing=replace(SHORT, viewer_patience=60, heartbeat=60))
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    reader, writer = await handshake(world, b"")
    number = await world.act("confirm", incident=1)
    for verb in ("watch", "not_fixed", "watch", "not_fixed"):
        await world.act(verb, incident=number)
    newest, versions = (await world.state())["version"], [0]
    while versions[-1] < newest:
        first, payload = await next_frame(reader)
        assert first == TEXT
        versions.append(json.loads(payload)["version"])
    assert versions == sorted(set(versions))
    assert len(versions) <= 4, "what it was being sent when it stopped to read, and the newest"
    writer.close()


async def full(world: World) -> bool:
    ws = await reconnected(world)
    if ws is not None:
        await ws.close()
    return ws is None


class Wire(asyncio.Transport):
    """A transport that keeps what is written, until it is closed: then it raises, as uvloop's do."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.closed:
            raise RuntimeError(
                "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
            )
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write_eof(self) -> None:
        self.write(b"")

    def abort(self) -> None:
        self.closed = True

    close = abort


@pytest.mark.parametrize("broken", [[0], [199], [200, 201, 450], list(range(0, 500, 2))])
async def test_viewers_whose_connection_is_gone_keep_a_change_from_no_other(
    broken: list[int],
) -> None:
    hub = Hub(Server(), SHORT, Random(1), beat=lambda _: "{}")
    hub.publish(Messages("e", 1, '{"version":1}', ""))
    wires = [Wire() for _ in range(500)]
    for wire in wires:
        hub.join(wire, Handshake("v1", b"", ("", "")), "")
    for number in broken:
        wires[number].closed = True
    hub.publish(Messages("e", 2, '{"version":2}', ""))
    others = [wire for number, wire in enumerate(wires) if number not in broken]
    await eventually(lambda: all(b'{"version":2}' in wire.written[-1] for wire in others))


async def test_a_connection_that_is_gone_keeps_heartbeat_and_goodbye_from_no_other() -> None:
    hub = Hub(Server(), SHORT, Random(1), beat=lambda _: "beat")
    hub.publish(Messages("e", 1, '{"version":1}', ""))
    wires = [Wire() for _ in range(100)]
    viewers = [hub.join(wire, Handshake("v1", b"", ("", "")), "") for wire in wires]
    for wire in wires[::2]:
        wire.closed = True

    def beaten() -> bool:
        for viewer in viewers:
            viewer.heard = True
        return beating.done() or all(b"beat" in wire.written[-1] for wire in wires[1::2])

    beating = asyncio.create_task(hub.run())
    await eventually(beaten)
    beating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beating
    viewers[0].end(1013, "", "slow")
    for wire in wires[1::2]:
        wire.written.clear()
    await hub.close(web.Application())
    assert all(wire.written for wire in wires[1::2])
