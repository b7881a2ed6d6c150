"""The one way to become a viewer: from a request that aiohttp has read, or the fast path has."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from aiohttp import web

from monostat.public.answers import Detached
from monostat.public.clients import Clients
from monostat.public.live.handshake import Handshake, Refusal, parse_handshake
from monostat.public.live.hub import Hub
from monostat.public.live.viewer import Viewer


class Entrance:
    """Checks handshakes, and has the hub take the connection.

    `site_url` is the address of our own page; `requests` counts by handler and status, for metrics.
    """

    def __init__(
        self, hub: Hub, clients: Clients, site_url: str, requests: Counter[tuple[str, ...]]
    ) -> None:
        self.hub = hub
        self._clients = clients
        self._site_url = site_url
        self._requests = requests

    def switch(
        self, target: str, headers: Mapping[str, str], transport: asyncio.Transport
    ) -> Viewer | Refusal:
        """Makes a viewer of whoever asks for this path and query, or says why not.

        The headers are by their lower-case names. Nothing is counted of a refusal.
        """
        handshake = parse_handshake(target, headers, self._site_url)
        if not isinstance(handshake, Handshake):
            return handshake
        forwarded = headers.get("x-forwarded-for", "")
        network = self._clients.network_of(peer_of(transport), forwarded)
        refusal = self.hub.refusal(network)
        if refusal:
            return refusal
        self._requests["feed", "101"] += 1
        return self.hub.join(transport, handshake, network)

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """The endpoint of the feed: aiohttp, which has read the handshake, lets go of a viewer."""
        transport = request.transport
        if transport is None:
            return Detached()
        target = f"{request.path}?{request.rel_url.raw_query_string}"
        outcome = self.switch(target, headers_of(request), transport)
        if isinstance(outcome, Refusal):
            self.hub.count_refusal(request.path.rpartition("/")[2], outcome)
            body = {"error": outcome.error}
            return web.json_response(body, status=outcome.status, headers=outcome.headers)
        protocol = request.protocol
        # aiohttp hands a parser what came right behind the handshake.
        protocol.set_parser(cast(Any, outcome))
        protocol.transport = None
        protocol.connection_lost(None)
        return Detached()


ENTRANCE = web.AppKey("ENTRANCE", Entrance)


def headers_of(request: web.Request) -> dict[str, str]:
    """The headers by lower-case names; none of a request that cannot be a handshake."""
    if request.method != "GET" or request.can_read_body:
        return {}
    return {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address of a client that has connected; all who come through a Unix socket are one."""
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        return str(name[0])
    return "unix"
