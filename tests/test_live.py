"""The websocket feed as contracts/feed.md describes it."""

import asyncio
import json
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientWebSocketResponse, WSMessage, WSMsgType, WSServerHandshakeError

from monostat.live import canonical
from tests.conftest import SHORT, World
from tests.waiting import eventually

LONG = "We are looking into it. " * 400_000  # more than the kernel holds for a socket that nobody reads


async def test_a_viewer_who_names_the_newest_version_gets_a_heartbeat_first(world: World) -> None:
    await world.start()
    state = await world.state()
    address = f"{world.url}/feed/v1?since={state['version']}&epoch={state['epoch']}"
    async with world.http.ws_connect(address) as ws:
        beat = await ws.receive_json(timeout=5)
    assert (beat["type"], beat["version"]) == ("heartbeat", state["version"])
    for query in ("since=x&epoch=y", f"since={state['version']}&epoch=other", "since=999&other=1"):
        async with world.http.ws_connect(f"{world.url}/feed/v1?{query}") as ws:
            assert (await ws.receive_json(timeout=5))["type"] == "state"


async def test_the_socket_and_state_json_carry_the_same_bytes(world: World) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        sent = await ws.receive_str(timeout=5)
    async with world.http.get(f"{world.url}/feed/v1/state.json") as answer:
        assert await answer.text() == sent
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        etag = answer.headers["ETag"]
    message = json.loads(sent)
    assert etag == f'W/"{message["epoch"]}-{message["version"]}"'
    async with world.http.get(f"{world.url}/feed/v1/state.json", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304


async def test_a_quiet_feed_beats_and_says_when_monitoring_last_answered(world: World) -> None:
    await world.start(timing=replace(SHORT, heartbeat=0.2))
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        state = await ws.receive_json(timeout=5)
        assert state["heartbeat_ms"] == 200
        beats = [await ws.receive_json(timeout=5) for _ in range(4)]
    assert {beat["type"] for beat in beats} == {"heartbeat"}
    assert {beat["version"] for beat in beats} == {state["version"]}
    assert "checked_at" in beats[-1]


async def test_subprotocols_are_chosen_or_refused_before_the_upgrade(world: World) -> None:
    await world.start()
    async with world.http.ws_connect(f"{world.url}/feed/v1", protocols=["other", "monostat.v1"]) as ws:
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


@pytest.mark.parametrize(("sent", "code"), [(b"binary", 1003), ("x" * 2000, 1009)])
async def test_a_client_that_breaks_the_rules_is_told_which(world: World, sent: bytes | str, code: int) -> None:
    await world.start()
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        await (ws.send_bytes(sent) if isinstance(sent, bytes) else ws.send_str(sent))
        assert await closed(ws) == code


async def test_a_chatty_client_is_sent_away_and_a_polite_one_ignored(world: World) -> None:
    await world.start()
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        for _ in range(11):
            await ws.send_str('{"op": "subscribe"}')
        assert await closed(ws) == 1008


async def closed(ws: ClientWebSocketResponse) -> int | None:
    while (await ws.receive(timeout=5)).type is WSMsgType.TEXT:
        pass
    return ws.close_code


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
        message = await ws.receive_json(timeout=5)
    assert {"html", "title", "icon", "build", "epoch", "version"} <= message.keys()
    assert message["html"] in await world.page()
    async with world.http.ws_connect(f"{world.url}/feed/v1", origin="https://evil.example") as ws:
        assert (await ws.receive_json(timeout=5))["type"] == "state"


async def test_a_full_server_and_a_crowded_address_are_refused_before_the_upgrade(world: World) -> None:
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


async def reconnected(world: World) -> ClientWebSocketResponse | None:
    try:
        return await world.http.ws_connect(f"{world.url}/feed/v1")
    except WSServerHandshakeError:
        return None


def test_each_address_is_counted_once_however_it_is_spelled() -> None:
    assert canonical("::ffff:1.2.3.4") == canonical("1.2.3.4") != canonical("::ffff:9.9.9.9")
    assert canonical("2001:DB8::1") == canonical("2001:db8:0::1")


async def test_a_viewer_who_vanished_without_a_word_is_noticed(world: World) -> None:
    world.settings["server"] = {"max_viewers_per_ip": 1, "max_connects_per_ip": 10**6, "trusted_proxies": []}
    await world.start(timing=replace(SHORT, viewer_ping=0.2))
    raw = await stalled_viewer(world)
    await eventually(lambda: full(world))
    ws = await eventually(lambda: reconnected(world))
    await ws.close()
    raw.close()


async def stalled_viewer(world: World) -> socket.socket:
    """Connects, and then never reads again."""
    parts = urlsplit(world.url)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, (parts.hostname, parts.port))
    ask = (
        "GET /feed/v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(raw, ask.encode())
    return raw


async def test_viewers_who_never_read_delay_nobody_and_shutdown_tells_the_others(world: World) -> None:
    world.settings["opsgenie"]["incident_text"] = LONG
    await world.start()
    raw = [await stalled_viewer(world) for _ in range(5)]
    sockets = [await world.http.ws_connect(f"{world.url}/feed/v1", max_msg_size=0) for _ in range(10)]
    for ws in sockets:
        await ws.receive_json(timeout=5)
    world.opsgenie.fire("disk full")
    for ws in sockets:
        while (message := await ws.receive_json(timeout=5))["type"] == "heartbeat":
            pass
        assert message["open"][0]["state"] == "suspected"
    async with asyncio.timeout(3):
        ends = [asyncio.create_task(last(ws)) for ws in sockets]
        await world.stop()
        told = await asyncio.gather(*ends)
    assert {message.data for message in told} == {1001}
    assert all(0 <= int((message.extra or "").removeprefix("retry_ms=")) < 10_000 for message in told)
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
    world.settings["server"] = {"max_viewers_per_ip": 1, "max_connects_per_ip": 10**6, "trusted_proxies": []}
    await world.start(timing=replace(SHORT, viewer_patience=0.3))
    raw = await stalled_viewer(world)
    await eventually(lambda: full(world))
    world.opsgenie.fire("disk full")
    ws = await eventually(lambda: reconnected(world))
    await ws.close()
    raw.close()


async def full(world: World) -> bool:
    ws = await reconnected(world)
    if ws is not None:
        await ws.close()
    return ws is None
