"""Where everything is put together: the web application and the loops that run beside it."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from aiohttp import ClientSession, ClientTimeout, web

from monostat import __version__
from monostat.alerts.source import Source
from monostat.config import Config, Timing
from monostat.core import snapshot
from monostat.core.model import Policy
from monostat.engine import Board
from monostat.mail.outbox import Mails
from monostat.mail.rapidmail import Rapidmail
from monostat.ops import systemd
from monostat.ops.control import control_socket
from monostat.ops.metrics import SEEN, Seen
from monostat.ops.supervise import Loop, Watch
from monostat.public.live.edge import Edge
from monostat.public.live.fastpath import FACE, Runner
from monostat.public.live.hub import Hub
from monostat.public.pages import Pages, build_of
from monostat.public.site import Face
from monostat.public.subscribing import LARGEST
from monostat.slack.actions import StaffActions
from monostat.slack.client import SlackClient
from monostat.slack.listeners import Listeners
from monostat.slack.outbox import SlackOutbox
from monostat.slack.socket import SocketMode
from monostat.slack.staff import Staff
from monostat.slack.text import SlackText
from monostat.store import open_store
from monostat.vendor import nap

log = logging.getLogger(__name__)
BACKLOG = 4096  # the kernel caps it at net.core.somaxconn: a reconnect storm must not be refused
utcnow = partial(datetime.now, UTC)
Loops = Iterator[Loop]


def policy_of(config: Config, timing: Timing) -> Policy:
    """The part of the settings that decides what happens."""
    sections = (config.site, config.opsgenie, config.rapidmail, config.slack, timing)
    known = {key: value for section in sections if section for key, value in vars(section).items()}
    told: dict[str, Any] = {
        "remind_after": (),
        **{f.name: known[f.name] for f in fields(Policy) if f.name in known},
    }
    told |= {"mails": config.rapidmail is not None, "monitoring": config.opsgenie is not None}
    told["texts"] = config.texts.model_dump()
    return Policy(**told, zone=ZoneInfo(config.site.timezone))


def make_app(
    config: Config,
    *,
    now: Callable[[], datetime] = utcnow,
    rng: Random | None = None,
    timing: Timing | None = None,
) -> web.Application:
    """Makes the application; its store, sessions and loops live as long as it runs.

    Raises store.Unusable at start-up when the database cannot be used.
    """
    rng, timing, site = rng or Random(), timing or Timing(), config.site  # noqa: S311 - jitter, no secrets
    policy, build = policy_of(config, timing), build_of(site)
    take = partial(snapshot.take, policy=policy, name=site.name, url=site.url)
    board, pages = Board(policy, now, build, take), Pages(site, policy, build)
    hub = Hub(config.server, timing, rng, beat=lambda: face.beat())
    face = Face(board, pages, hub, config.server, build, timing.heartbeat)
    board.watchers.add("page", face.show)
    watch = Watch(
        loops=[],
        alive=lambda: board.store.alive(),
        says=partial(doing, board, hub),
        grace=timing.grace,
    )
    face.checks = watch.checks
    seen = Seen(
        board=board, shown=lambda: face.showing, hub=hub, watch=watch, requests=face.requests
    )
    app = web.Application(middlewares=[face.frame], client_max_size=LARGEST)
    app.add_routes(face.routes())
    app.cleanup_ctx.append(lambda _app: live(config, seen, face, rng, timing))
    app.on_shutdown.append(hub.close)
    app[SEEN], app[FACE] = seen, face
    return app


async def live(
    config: Config, seen: Seen, face: Face, rng: Random, timing: Timing
) -> AsyncIterator[None]:
    """Opens the store, starts the loops, and ends both with the application."""
    board, loops, host = seen.board, seen.watch.loops, urlsplit(config.site.url).hostname or ""
    agent, total = (
        {"User-Agent": f"monostat/{__version__}"},
        ClientTimeout(total=timing.vendor_timeout),
    )
    async with (
        open_store(
            config.database.path, now=board.now(), tells=config.slack is not None, host=host
        ) as store,
        ClientSession(
            timeout=total, headers=agent, trust_env="HTTPS_PROXY" in os.environ
        ) as session,
        AsyncExitStack() as resources,
    ):
        await board.start(store)
        if board.watchers.behind:  # there is nothing older that could be shown
            raise RuntimeError("the page cannot be shown: the log says why")
        socket = config.server.control_socket or config.database.path.parent / "monostat.sock"
        await resources.enter_async_context(control_socket(board, config.site.url, socket))
        loops += loops_of(config, seen, face, session, rng, timing)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(loop.supervised(rng), name=loop.name) for loop in loops]
            yield
            # More than once: a time limit of aiohttp's that ends at this very moment swallows a
            # cancellation.
            while left := [task for task in running if not task.done()]:
                for task in left:
                    task.cancel()
                await asyncio.wait(left, timeout=1)


def doing(board: Board, hub: Hub) -> str:
    """What the daemon does, in a few words that have no name or address in them."""
    count = sum(incident.is_open for incident in board.state.incidents.values())
    return f"serving; open incidents: {count}; viewers: {hub.count}"


def monitoring(board: Board) -> str:
    return (
        "silent"
        if not board.state.monitoring.ok
        else "answers"
        if board.state.answered
        else "not asked yet"
    )


def loops_of(
    config: Config, seen: Seen, face: Face, session: ClientSession, rng: Random, timing: Timing
) -> list[Loop]:
    """Everything that runs beside the web server."""
    return [
        Loop(name="board", run=seen.board.run),
        Loop(name="show", run=seen.board.watchers.run),
        Loop(name="renew", run=partial(renew, seen.board, timing.rerender), vital=False),
        Loop(name="viewers", run=seen.hub.run),
        *edge_loops(config, seen, session, rng, timing),
        *alert_loops(config, seen, face, session, rng, timing),
        *mail_loops(config, seen, face, session, rng, timing),
        *slack_loops(config, seen, session, rng, timing),
        Loop(name="watch", run=seen.watch.run, vital=False),
    ]


async def renew(board: Board, every: float) -> None:
    """The page says "as of": it must not say so of a time long gone."""
    while True:
        await nap(every)
        board.watchers.tell("page")


def edge_loops(
    config: Config, seen: Seen, session: ClientSession, rng: Random, timing: Timing
) -> Loops:
    for number, base in enumerate(config.edge.publish_urls, 1):
        edge = Edge(base, seen.hub, session, rng=rng, timing=timing)
        seen.board.watchers.add(f"edge {number}", edge.news.set)
        yield Loop(name=f"edge {number}", run=edge.run, vital=False)


def alert_loops(
    config: Config, seen: Seen, face: Face, session: ClientSession, rng: Random, timing: Timing
) -> Loops:
    board = seen.board

    def known() -> list[str]:
        """Those to ask for: of a source that was left, nobody can say more."""
        return [
            a.id
            for a in board.state.alerts.values()
            if a.closed_at is None and not (a.ignored and a.incident)
        ]

    if config.opsgenie:
        asks: dict[str, Any] = {"known": known, "now": board.now, "submit": board.submit}
        seen.source = source = Source(
            settings=config.opsgenie, session=session, rng=rng, timing=timing, **asks
        )
        if secret := config.opsgenie.webhook_secret:
            face.hook = (secret.get_secret_value().encode(), source.wake.set)
        yield Loop(name="opsgenie", run=source.run, says=partial(monitoring, board))
        yield Loop(name="silence", run=source.count)


def mail_loops(
    config: Config, seen: Seen, face: Face, session: ClientSession, rng: Random, timing: Timing
) -> Loops:
    if config.rapidmail:
        face.subscribing.vendor = vendor = Rapidmail(
            session, config.rapidmail, timing.vendor_timeout
        )
        mails = Mails(
            board=seen.board,
            vendor=vendor,
            compose=face.pages.mail,
            rng=rng,
            look_again=timing.look_again,
            follow=timing.follow,
            first_wait=timing.first_wait,
            counts=seen.told,
        )
        seen.board.watchers.add("mails", mails.wake.set)
        yield Loop(name="mails", run=mails.run)


def slack_loops(
    config: Config, seen: Seen, session: ClientSession, rng: Random, timing: Timing
) -> Loops:
    if config.slack is None:
        return
    board = seen.board
    client = SlackClient(settings=config.slack, session=session, timing=timing)
    staff = Staff(client=client)
    text = SlackText(config.site.url, ZoneInfo(config.site.timezone))
    outbox = SlackOutbox(
        store=board.store,
        state=lambda: board.state,
        trouble=lambda: board.trouble,
        submit=board.submit,
        now=board.now,
        policy=board.policy,
        client=client,
        text=text,
        rng=rng,
        counts=seen.told,
    )
    actions = StaffActions(
        client=client, staff=staff, text=text, state=lambda: board.state, submit=board.submit
    )
    listeners = Listeners(
        client=client,
        staff=staff,
        text=text,
        state=lambda: board.state,
        actions=actions,
        now=board.now,
        thread_of=outbox.posts.thread_of,
        home_opened=outbox.home_opened,
    )
    socket = SocketMode(client=client, staff=staff, listeners=listeners)
    board.watchers.add("slack", outbox.wake)
    yield Loop(name="slack", run=socket.run, vital=False, says=socket.status)
    yield Loop(name="telling", run=outbox.run)


async def serve(config: Config, *, stop: asyncio.Event) -> None:
    """Serves until `stop` is set, on the sockets that systemd passes, else on the addresses of the
    settings.

    Raises OSError for an address that is taken.
    """
    passed, app = systemd.inherited(os.environ), make_app(config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, unmoved)
    pages = Runner(app, shutdown_timeout=2.0)
    metrics = web.AppRunner(
        app[SEEN].app(), access_log=None, shutdown_timeout=1.0, auto_decompress=False
    )
    await pages.setup()
    await metrics.setup()
    try:
        own, public = [a for a in (config.server.metrics_listen,) if a], config.server.listen
        for runner, addresses, is_metrics in ((metrics, own, True), (pages, public, False)):
            given = [each for name, each in passed if (name == "metrics") == is_metrics]
            # A site listens anew on what it is given, so it must be told how long the queue is, or
            # would shorten it.
            sites: list[web.BaseSite] = [
                web.SockSite(runner, each, backlog=BACKLOG) for each in given
            ]
            for site in sites or [_site(runner, address) for address in addresses]:
                await site.start()
            if given and addresses:
                log.info("sockets of systemd are used instead of %s", ", ".join(addresses))
        sockets = ", ".join(site.name for site in pages.sites)
        log.info(
            "%s is served on %s; the database is %s", config.site.url, sockets, config.database.path
        )
        gc.collect()
        # what is there now stays: each collection in a storm of new viewers is spared looking at it
        gc.freeze()
        systemd.notify("READY=1")
        await stop.wait()
        systemd.notify("STOPPING=1", "STATUS=stopping")
        log.info("monostat stops")
    finally:
        await metrics.cleanup()
        await pages.cleanup()


def unmoved() -> None:
    """Says so once."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log.info("SIGHUP is ignored: settings are read at the start, restart to have them read again")


def _site(runner: web.AppRunner, address: str) -> web.BaseSite:
    if address.startswith(
        "unix:"
    ):  # one left by a killed process is replaced; a living one holds the database's lock
        return web.UnixSite(runner, address.removeprefix("unix:"), backlog=BACKLOG)
    host, _, port = address.rpartition(":")
    return web.TCPSite(runner, host.strip("[]"), int(port), backlog=BACKLOG)
