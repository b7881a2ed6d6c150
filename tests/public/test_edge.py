"""The configurations of deploy/ with the real nginx, nchan, Redis and Caddy, and monostat behind them."""

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError, web

from monostat.demo.faults import serve
from tests.daemon import free_port
from tests.waiting import eventually
from tests.world import SHORT, World

DEPLOY = Path(__file__).parents[2] / "deploy"
MODULES = Path("/etc/nginx/modules-enabled")
MAIN = """
daemon off; user root; worker_processes 1; error_log {folder}/error.log; pid {folder}/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;
events {{ worker_connections 1000; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/site.conf;
}}
"""
FAST = replace(SHORT, heartbeat=0.5)


def needs(*programs: str, there: bool = True) -> None:
    """Only a laptop may be without them."""
    missing = [
        name for name in programs if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    ]
    if missing or not there:
        why = f"apt-get install nginx libnginx-mod-nchan redis-server caddy (without {', '.join(missing) or 'nchan'})"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)


class Node:
    """One nginx of its own, with a file of deploy/ as it ships, but for ports and folders."""

    def __init__(
        self, world: World, file: str, *, redis: int = 0, edits: Mapping[str, str] | None = None
    ) -> None:
        self.folder = world.folder / f"node{free_port()}"
        self.folder.mkdir(mode=0o777)
        self.port, self.publisher = free_port(), free_port()
        text = (DEPLOY / file).read_text().replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        text = text.replace("    listen [::]:80;\n", "")
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{world.port}").replace(
            "/var/cache/nginx", str(self.folder)
        )
        text = text.replace("127.0.0.1:8081", f"127.0.0.1:{self.publisher}")
        text = text.replace("127.0.0.1:8082", f"127.0.0.1:{free_port()}")
        for old, new in (edits or {}).items():
            assert old in text
            text = text.replace(old, new)
        if redis:
            text = text.replace("# upstream redis", "upstream redis").replace(
                "127.0.0.1:6379", f"127.0.0.1:{redis}"
            )
            text = text.replace("# nchan_redis_pass", "nchan_redis_pass")
        (self.folder / "site.conf").write_text(text)
        (self.folder / "nginx.conf").write_text(MAIN.format(folder=self.folder))
        self.url, self.base = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.publisher}"
        self.command = ("nginx", "-c", str(self.folder / "nginx.conf"))

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # its workers, too
        await self.process.wait()

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(*self.command, start_new_session=True)
        await eventually(lambda: listening(self.port))


async def listening(port: int) -> bool:
    with suppress(OSError):
        (await asyncio.open_connection("127.0.0.1", port))[1].close()
        return True
    return False


Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def node(world: World) -> AsyncIterator[Start]:
    """Starts nodes in front of the world's monostat, which gets a port for it, but is not started."""
    world.port = free_port()
    async with AsyncExitStack() as stack:

        async def start(
            file: str = "nginx-edge.conf", *, redis: int = 0, edits: Mapping[str, str] | None = None
        ) -> Node:
            needs("nginx", there=(MODULES / "50-mod-nchan.conf").exists())
            made = Node(world, file, redis=redis, edits=edits)
            await made.start()
            stack.push_async_callback(made.kill)
            return made

        yield start


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[int]:
    needs("redis-server")
    port = free_port()
    quiet = ("--save", "", "--appendonly", "no", "--dir", str(folder), "--loglevel", "warning")
    process = await asyncio.create_subprocess_exec(
        "redis-server", "--port", str(port), *quiet, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await eventually(lambda: listening(port))
        yield port
    finally:
        process.kill()
        await process.wait()


async def newest(ws: ClientWebSocketResponse, version: int) -> dict[str, Any]:
    """The state of that version, after states that rise, whatever heartbeats come between."""
    last = 0
    while True:
        message: dict[str, Any] = await ws.receive_json(timeout=10)
        if message["type"] == "state":
            assert message["version"] > last
            last = message["version"]
            if last >= version:
                return message


async def heartbeat(ws: ClientWebSocketResponse) -> dict[str, Any]:
    while (message := await ws.receive_json(timeout=10))["type"] != "heartbeat":
        pass
    beat: dict[str, Any] = message
    return beat


async def at_once(world: World, node: Node) -> int:
    """The version that a new viewer of this node is shown first."""
    try:
        async with world.http.ws_connect(f"{node.url}/feed/v1") as ws:
            message = json.loads(await ws.receive_str(timeout=2))
    except (
        TimeoutError,
        TypeError,
        OSError,
        WSServerHandshakeError,
    ):  # also a node that does not know yet
        return 0
    return int(message["version"]) if message["type"] == "state" else 0


async def shows(world: World, node: Node, version: int) -> None:
    """Waits until a new viewer of this node is shown that version at once, or a later one."""

    async def there() -> bool:
        return await at_once(world, node) >= version  # time alone may have made another

    await eventually(there)


async def test_viewers_at_the_edge_see_the_newest_at_once_then_each_change_and_heartbeats(
    world: World, node: Start
) -> None:
    edge = await node()
    world.settings["edge"] = {"publish_urls": [edge.base]}
    await world.start(timing=FAST)
    first = (await world.state())["version"]
    await shows(world, edge, first)
    async with (
        world.http.ws_connect(f"{edge.url}/feed/v1", protocols=["other", "monostat.v1"]) as ws,
        world.http.ws_connect(f"{edge.url}/feed/page", origin=edge.url) as page,
    ):
        assert ws.protocol == "monostat.v1"
        assert (await newest(ws, first))["version"] == first
        assert "html" in await newest(page, first)
        assert (await heartbeat(ws))["version"] == (await heartbeat(page))["version"] == first
        world.opsgenie.fire("disk full")
        assert (await newest(ws, first + 1))["status"]["suspected"] is True
        assert "may be having problems" in (await newest(page, first + 1))["html"]
    with pytest.raises(WSServerHandshakeError) as refused:
        await world.http.ws_connect(f"{edge.url}/feed/page", origin="https://evil.example")
    assert refused.value.status == 403
    with pytest.raises(WSServerHandshakeError) as refused:
        await world.http.ws_connect(f"{edge.url}/feed/v1", protocols=["other"])
    assert refused.value.status == 400
    async with world.http.get(f"{edge.url}/feed/v1") as answer:
        assert answer.status == 426
    async with world.http.get(f"{edge.url}/feed/v1/state.json") as answer:
        assert (await answer.json())["type"] == "state"


async def test_a_heartbeat_comes_in_time_however_fast_the_changes_come(world: World) -> None:
    posted: list[str] = []

    async def take(request: web.Request) -> web.Response:
        if request.method == "POST":
            posted.append(request.path)
        return web.json_response({"messages": 1}, status=202)

    node = web.Application()
    node.router.add_route("*", "/{path:.*}", take)
    async with serve(node) as address:
        for vendor in ("opsgenie", "slack", "rapidmail"):  # nothing changes but what the test does
            del world.settings[vendor]
        world.settings["edge"] = {"publish_urls": [address]}
        await world.start()
        number = await world.act("create", title="Slow")
        await eventually(lambda: "/heartbeat" in posted)
        posted.clear()

        async def told() -> bool:
            await world.act("update", incident=number, text="Still slow.")
            return "/heartbeat" in posted

        await eventually(told)
        assert {"/feed/v1", "/feed/page"} < set(posted)
        await world.stop()


async def test_one_of_two_nodes_is_killed_and_the_others_viewers_miss_nothing(
    world: World, node: Start
) -> None:
    nodes = [await node(), await node()]
    world.settings["edge"] = {"publish_urls": [each.base for each in nodes]}
    await world.start(timing=FAST)
    version = (await world.state())["version"]
    for each in nodes:
        await shows(world, each, version)
    async with (
        world.http.ws_connect(f"{nodes[0].url}/feed/v1") as dying,
        world.http.ws_connect(f"{nodes[1].url}/feed/v1") as living,
    ):
        for ws in (dying, living):
            assert (await newest(ws, version))["version"] == version
        await nodes[0].kill()
        number = await world.act("create", title="Slow")
        for count in range(3):
            await world.act("update", incident=number, text=f"Update {count}")
        version = (await world.state())["version"]
        assert (await newest(living, version))["version"] == version
    await nodes[0].start()
    await shows(world, nodes[0], version)


async def test_nodes_that_share_a_redis_are_told_by_one_post_and_remember_for_each_other(
    world: World, node: Start
) -> None:
    async with redis(world.folder) as port:
        nodes = [await node(redis=port), await node(redis=port)]
        world.settings["edge"] = {"publish_urls": [nodes[0].base]}
        await world.start(timing=FAST)
        version = (await world.state())["version"]
        for each in nodes:
            await shows(world, each, version)
        async with (
            world.http.ws_connect(f"{nodes[0].url}/feed/v1") as living,
            world.http.ws_connect(f"{nodes[1].url}/feed/v1") as dying,
        ):
            for ws in (living, dying):
                await newest(ws, version)
                await heartbeat(ws)
            await world.act("create", title="Slow")
            for ws in (living, dying):
                assert (await newest(ws, version + 1))["open"][0]["title"] == "Slow"
            await nodes[1].kill()
            await world.act("update", incident=1, text="Still slow")
            assert (await newest(living, version + 2))["version"] == version + 2
        await nodes[1].start()
        await shows(world, nodes[1], version + 2)


async def test_the_edge_serves_the_last_state_while_monostat_is_down(
    world: World, node: Start
) -> None:
    edge = await node()
    world.settings["edge"] = {"publish_urls": [edge.base]}
    await world.start(timing=FAST)
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    version = (await world.state())["version"]
    await shows(world, edge, version)
    async with world.http.get(edge.url) as answer:
        page = await answer.text()
    await world.stop()
    assert await at_once(world, edge) >= version
    async with world.http.get(edge.url) as answer:
        assert (answer.status, await answer.text()) == (200, page)


def test_nginx_keeps_nothing_longer_than_the_headers_of_a_page_allow_while_monostat_answers() -> (
    None
):
    """With `updating` its cache would hand out what is stale however old it is, once, to whoever asks first."""
    for file in ("nginx.conf", "nginx-edge.conf"):
        kept = re.findall(r"proxy_cache_use_stale ([^;]+);", (DEPLOY / file).read_text())
        assert kept
        assert not any("updating" in words.split() for words in kept)


async def test_behind_nginx_pages_outlive_monostat_and_viewers_pass_through(
    world: World, node: Start
) -> None:
    await world.start()
    proxy = await node("nginx.conf")
    async with world.http.ws_connect(f"{proxy.url}/feed/page", origin=proxy.url) as ws:
        assert (await ws.receive_json(timeout=30))["type"] == "state"
    kept = []
    for encoding in ("gzip", "identity"):
        async with world.http.get(proxy.url, headers={"Accept-Encoding": encoding}) as answer:
            kept.append((answer.headers.get("Content-Encoding"), timeless(await answer.text())))
    assert [encoding for encoding, _ in kept] == ["gzip", None]
    assert kept[0][1] == kept[1][1]
    await world.stop()
    async with world.http.get(proxy.url) as answer:
        assert (answer.status, timeless(await answer.text())) == (200, kept[0][1])


def timeless(page: str) -> str:
    """A page without the second at which monitoring was asked: the two may be of different ones."""
    return re.sub(r"\d\d:\d\d:\d\dZ", "", page)


@pytest.mark.parametrize("file", ["nginx.conf", "nginx-edge.conf"])
async def test_nginx_passes_big_cookies_and_keeps_the_webhooks_secret_out_of_its_logs(
    world: World, node: Start, file: str
) -> None:
    world.settings["opsgenie"]["webhook_secret"] = "hush-hush"
    await world.start()
    log = world.folder / "access.log"
    proxy = await node(file, edits={"server_name": f"access_log {log}; server_name"})
    cookies = {"Cookie": "a=" + "x" * 32_700, "Accept-Encoding": "br, gzip;q=0"}
    async with world.http.get(proxy.url, headers=cookies) as answer:
        assert (answer.status, answer.headers.get("Content-Encoding")) == (200, None)
    async with world.http.post(f"{proxy.url}/hooks/opsgenie/hush-hush", data=b"x" * 70_000) as hook:
        assert (hook.status, await hook.text()) == (200, "ok\n")
    await world.stop()
    async with world.http.post(f"{proxy.url}/hooks/opsgenie/hush-hush") as hook:
        assert hook.status == 502
    assert "GET / HTTP" in log.read_text()
    assert "hush" not in log.read_text() + (proxy.folder / "error.log").read_text()


async def test_behind_a_cdn_each_visitor_counts_for_itself_and_nobody_else_can_claim_an_address(
    world: World, node: Start
) -> None:
    await world.start()
    edits = {"# set_real_ip_from 173.245.48.0/20;": "set_real_ip_from 127.0.0.1;"}
    proxy = await node("nginx.conf", edits=edits | {"# real_ip_": "real_ip_"})

    async def tried(*addresses: str) -> int:
        headers = {"X-Forwarded-For": ", ".join(addresses)}
        async with world.http.post(f"{proxy.url}/subscribe", headers=headers) as answer:
            return answer.status

    claimed = [f"198.51.100.{number}" for number in range(6)]
    assert [await tried(one, "203.0.113.9") for one in claimed] == [422] * 5 + [429]
    assert await tried("203.0.113.9", "203.0.113.8") == 422


HIDDEN = b"GET /badge.svg HTTP/1.1\r\nHost: x\r\nX-Ignore: "
SMUGGLING = {
    "a length and chunks": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%b"
    % (len(HIDDEN) + 5, HIDDEN),
    "chunks and a short length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(HIDDEN), HIDDEN),
    "a coding with a space before its colon": b"Content-Length: %d\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n%b"
    % (len(HIDDEN) + 5, HIDDEN),
    "a coding that is nearly chunked": b"Content-Length: %d\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n%b"
    % (len(HIDDEN) + 5, HIDDEN),
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
    "a length with a sign": b"Content-Length: +%d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
    "a length on a line of its own": b"Content-Length:\r\n %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
    "a body where none is read": b"Content-Length: %d\r\n\r\n%b" % (len(HIDDEN), HIDDEN),
    "a chunk with a bare line feed": b"Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n%b" % HIDDEN,
    "a chunk of 2^64 bytes": b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n%b\r\n0\r\n\r\n"
    % HIDDEN,
    "an upgrade that fails": b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 7\r\n\r\n%b"
    % HIDDEN,
    "an upgrade with a body": b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nContent-Length: %d\r\n\r\n%b"
    % (len(HIDDEN), HIDDEN),
}


async def test_no_request_smuggled_through_nginx_is_answered_to_somebody_else(
    world: World, node: Start
) -> None:
    await world.start()
    proxy, number = await node("nginx.conf"), count(1000)
    for name, rest in SMUGGLING.items():
        for first in (b"POST /subscribe", b"GET /history?%d" % len(name), b"GET /feed/v1"):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(first + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + rest)
            with suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(reader.read(65536), 0.2)
            await asyncio.gather(
                *(own_answer(world, proxy, f"/incidents/{next(number)}") for _ in range(8))
            )
            writer.close()


async def own_answer(world: World, proxy: Node, path: str) -> None:
    """Of an address that was never asked for, so that it is not from nginx's cache."""
    async with world.http.get(proxy.url + path) as answer:
        assert (answer.status, "Page not found" in await answer.text()) == (404, True), path


async def test_behind_caddy_viewers_and_pages_pass_through(world: World) -> None:
    needs("caddy")
    world.port, port = free_port(), free_port()
    await world.start()
    text = (
        (DEPLOY / "Caddyfile").read_text().replace("status.example.com", f"http://127.0.0.1:{port}")
    )
    file = world.folder / "Caddyfile"
    quiet = "{\n\tadmin off\n\tauto_https off\n}\n"
    await asyncio.to_thread(
        file.write_text, quiet + text.replace("127.0.0.1:8080", f"127.0.0.1:{world.port}")
    )
    home = {"HOME": str(world.folder), "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        *("caddy", "run", "--adapter", "caddyfile", "--config", str(file)),
        stderr=asyncio.subprocess.DEVNULL,
        env=home,
    )
    try:
        await eventually(lambda: listening(port))
        origin = f"http://127.0.0.1:{port}"
        async with world.http.ws_connect(f"{origin}/feed/page", origin=origin) as ws:
            assert (await ws.receive_json(timeout=30))["type"] == "state"
        async with world.http.get(origin) as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        await process.wait()
