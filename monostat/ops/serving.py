"""Serves the application and its metrics until the daemon is told to stop."""

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Sequence

from aiohttp import web

from monostat.config import Config
from monostat.ops import systemd
from monostat.ops.metrics import TELEMETRY
from monostat.public.live.fastpath import Runner

log = logging.getLogger(__name__)
# A form may wait eight seconds for Rapidmail, and is answered.
LONGEST_REQUEST = 10.0  # seconds that a request which runs may still take when we stop
BACKLOG = 4096  # the kernel caps it at net.core.somaxconn: a reconnect storm must not be refused


async def serve(app: web.Application, config: Config, *, stop: asyncio.Event) -> None:
    """Serves until `stop` is set, on the sockets that systemd passes, else on the settings' own.

    1. The application starts: its store is opened, its loops run.
    2. The metrics listen, then the pages.
    3. systemd is told that we are ready, and later that we stop.
    4. Whoever still asks on an open connection is answered.
    5. The metrics end first, the pages and all loops after them.

    Raises OSError for an address that is taken.
    """
    passed = systemd.inherited(os.environ)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, ignore_sighup)
    pages = Runner(app, shutdown_timeout=LONGEST_REQUEST)
    await pages.setup()
    try:
        metrics = web.AppRunner(
            app[TELEMETRY].app(), access_log=None, shutdown_timeout=1.0, auto_decompress=False
        )
        await metrics.setup()
        try:
            for_metrics = [listening for name, listening in passed if name == "metrics"]
            for_pages = [listening for name, listening in passed if name != "metrics"]
            metrics_addresses = []
            if config.server.metrics_listen:
                metrics_addresses.append(config.server.metrics_listen)
            await listen(metrics, for_metrics, metrics_addresses)
            await listen(pages, for_pages, config.server.listen)
            addresses = ", ".join(sorted(site.name.rstrip(":") for site in pages.sites))
            where = config.database.path
            log.info("%s is served on %s; the database is %s", config.site.url, addresses, where)
            gc.collect()
            # What is there now stays: each collection in a storm of new viewers is spared looking
            # at it.
            gc.freeze()
            systemd.notify("READY=1")
            await stop.wait()
            systemd.notify("STOPPING=1", "STATUS=stopping")
            log.info("monostat stops")
            await pages.drain()
        finally:
            await metrics.cleanup()
    finally:
        await pages.cleanup()


async def listen(
    runner: web.AppRunner, passed: Sequence[socket.socket], addresses: Sequence[str]
) -> None:
    """Listens on the sockets that were passed, or where there are none at the addresses."""
    # A site listens anew on what it is given, so it must be told how long the queue is, or would
    # shorten it.
    sites: list[web.BaseSite] = [
        web.SockSite(runner, listening, backlog=BACKLOG) for listening in passed
    ]
    for site in sites or [site_at(runner, address) for address in addresses]:
        await site.start()
    if passed and addresses:
        log.info("systemd's sockets are used instead of %s", ", ".join(addresses))


def site_at(runner: web.AppRunner, address: str) -> web.BaseSite:
    """Where "HOST:PORT" or "unix:PATH" is."""
    if address.startswith("unix:"):
        # One left by a killed process is replaced; a living one holds the database's lock.
        return web.UnixSite(runner, address.removeprefix("unix:"), backlog=BACKLOG)
    host, _, port = address.rpartition(":")
    return web.TCPSite(runner, host.strip("[]"), int(port), backlog=BACKLOG)


def ignore_sighup() -> None:
    """Says once that settings are not read again."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log.info(
        "SIGHUP is ignored: settings are read only at the start, so restart monostat to apply them"
    )
