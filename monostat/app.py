"""Where everything is put together: the web application and the loops that run beside it."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import ClientSession, ClientTimeout, web

from monostat import __version__, messages, opsgenie, snapshot
from monostat.board import Board
from monostat.config import Config, Timing
from monostat.delivery import backoff
from monostat.incidents import Incident, Policy, State
from monostat.live import Hub, Limits
from monostat.outbox import Mails, Telling
from monostat.pages import Pages, build_of
from monostat.rapidmail import Rapidmail
from monostat.slack import Slack
from monostat.store import Store, open_store
from monostat.web import Face

log = logging.getLogger(__name__)

GOOD_SPELL = 60.0  # seconds without a failure, after which a loop's troubles are forgotten
BACKLOG = 4096  # the kernel caps it at net.core.somaxconn: a reconnect storm must not be refused


def utcnow() -> datetime:
    return datetime.now(UTC)


def policy_of(config: Config, timing: Timing) -> Policy:
    """The part of the settings that decides what happens."""
    shared: dict[str, Any] = {
        "mails": config.rapidmail is not None,
        "monitoring": config.opsgenie is not None,
        "update_every": config.site.update_every,
        "mail_tell": timing.mail_tell,
        "mail_give_up": timing.mail_give_up,
        "texts": config.texts.model_dump(),
        "zone": ZoneInfo(config.site.timezone),
    }
    if watched := config.opsgenie:
        keys = ("reopen_within", "stale_after", "max_alert_age", "incident_title", "incident_text")
        shared |= {key: getattr(watched, key) for key in keys}
    if config.rapidmail:
        shared["undo_window"] = config.rapidmail.undo_window
    return Policy(**shared)


def make_app(
    config: Config, *, now: Callable[[], datetime] = utcnow, rng: Random | None = None, timing: Timing | None = None
) -> web.Application:
    """Makes the application; its store, sessions and loops live as long as it runs.

    Raises store.Unusable at start-up when the database cannot be used.
    """
    rng, timing = rng or Random(), timing or Timing()  # noqa: S311 - jitter, no secrets
    policy, build = policy_of(config, timing), build_of(config.site)
    pages = Pages(config.site, policy, build=build)
    server = config.server
    limits = Limits(
        most=server.max_viewers,
        per_address=server.max_viewers_per_ip,
        connects=server.max_connects_per_ip,
        clock=time.monotonic,
    )
    hub = Hub(
        heartbeat=timing.heartbeat,
        ping=timing.viewer_ping,
        patience=timing.viewer_patience,
        beat=lambda: face.beat(),
        limits=limits,
        rng=rng,
    )
    face = Face(pages, hub, site=config.site, server=server, build=build, beat=timing.heartbeat)
    app = web.Application(middlewares=[face.frame])
    app.add_routes(face.routes())

    def take(state: State, at: datetime) -> snapshot.Snapshot:
        return snapshot.take(state, at, policy, name=config.site.name, url=config.site.url)

    async def live(_app: web.Application) -> AsyncIterator[None]:
        wakes: list[asyncio.Event] = []

        def changed(board: Board) -> None:
            face.show(board)
            for wake in wakes:
                wake.set()

        async with _opened(config, timing, now=now) as (store, session):
            board = Board(store, policy, now=now, take=take, changed=changed, build=build)
            await board.start()
            loops = _loops(config, board, store, session, face=face, rng=rng, timing=timing, wakes=wakes)
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(supervised(name, loop, rng=rng)) for name, loop in loops.items()]
                yield
                for task in running:
                    task.cancel()

    async def close_viewers(_app: web.Application) -> None:
        hub.close()

    app.cleanup_ctx.append(live)
    app.on_shutdown.append(close_viewers)
    return app


@asynccontextmanager
async def _opened(
    config: Config, timing: Timing, *, now: Callable[[], datetime]
) -> AsyncIterator[tuple[Store, ClientSession]]:
    """The store, and the session that every vendor is asked with."""
    agent = {"User-Agent": f"monostat/{__version__}"}
    async with (
        open_store(config.database.path, now=now(), tells=config.slack is not None) as store,
        ClientSession(timeout=ClientTimeout(total=timing.vendor_timeout), headers=agent) as session,
    ):
        yield store, session


def _loops(
    config: Config,
    board: Board,
    store: Store,
    session: ClientSession,
    *,
    face: Face,
    rng: Random,
    timing: Timing,
    wakes: list[asyncio.Event],
) -> dict[str, Callable[[], Awaitable[None]]]:
    """Everything that runs beside the web server, by name."""
    url, zone = config.site.url, ZoneInfo(config.site.timezone)

    async def renew() -> None:
        """The page says "as of": it must not say so of a time long gone."""
        while True:
            await asyncio.sleep(timing.rerender)
            face.show(board)

    loops: dict[str, Callable[[], Awaitable[None]]] = {"board": board.run, "renew": renew}
    if watched := config.opsgenie:

        def open_alerts() -> list[str]:
            return [a.id for a in board.state.alerts.values() if a.closed_at is None]

        async def poll() -> None:
            await opsgenie.watch(
                session,
                watched,
                known=open_alerts,
                submit=board.submit,
                now=board.now,
                rng=rng,
                timing=timing,
                wake=asyncio.Event(),
            )

        loops["opsgenie"] = poll
    if config.rapidmail:

        def compose(incident: Incident) -> messages.Letter:
            return messages.mail(incident, site_name=config.site.name, url=url, zone=zone)

        vendor = Rapidmail(session, config.rapidmail, timeout=timing.vendor_timeout)
        mails = Mails(board, store, vendor, compose, rng=rng, timing=timing)
        wakes.append(mails.wake)
        loops["mails"] = mails.run
    if config.slack:
        slack = Slack(config.slack, session, submit=board.submit, now=board.now, timing=timing)
        telling = Telling(
            board,
            store,
            slack,
            show=lambda i, alerts, held: messages.incident_message(i, alerts=alerts, mails=held, url=url, zone=zone),
            vanished=messages.vanished_message,
            say=lambda entry, late: messages.thread_line(entry, url=url, zone=zone, late=late),
            rng=rng,
        )
        wakes.append(telling.wake)
        loops |= {"slack": slack.run, "telling": telling.run}
    return loops


async def supervised(name: str, loop: Callable[[], Awaitable[None]], *, rng: Random) -> None:
    """Runs a loop for ever: one that fails is logged, and started afresh after a while."""
    attempt = 0
    while True:
        began = time.monotonic()
        try:
            await loop()
            log.error("%s ended, which it never should", name)
        except Exception:
            log.exception("%s failed", name)
        attempt = 1 if time.monotonic() - began > GOOD_SPELL else attempt + 1
        await asyncio.sleep(backoff(attempt, rng, longest=60))


async def serve(
    config: Config,
    *,
    stop: asyncio.Event,
    now: Callable[[], datetime] = utcnow,
    rng: Random | None = None,
    timing: Timing | None = None,
) -> None:
    """Serves on every address of `server.listen` until `stop` is set; raises OSError for one that is taken."""
    app = make_app(config, now=now, rng=rng, timing=timing)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        for address in config.server.listen:
            await web.SockSite(runner, _listener(address), backlog=BACKLOG).start()
        log.info("monostat %s serves %s on %s", __version__, config.site.url, ", ".join(config.server.listen))
        await stop.wait()
        log.info("monostat stops")
    finally:
        await runner.cleanup()


def _listener(address: str) -> socket.socket:
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        if path.is_socket():
            path.unlink()  # left by a process that was killed; a living one holds the database's lock
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        return listener
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family)
