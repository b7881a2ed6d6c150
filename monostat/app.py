"""The composition root: every part, in the order of what each needs of the ones before."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from random import Random
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientTimeout, web

from monostat import __version__
from monostat.config import Config, Timing
from monostat.core import snapshot
from monostat.engine import Engine
from monostat.languages import load_words
from monostat.loops import Parts, alert_source, loops_of
from monostat.ops import serving, systemd
from monostat.ops.control import control_socket
from monostat.ops.metrics import TELEMETRY, Telemetry
from monostat.ops.supervise import Watch
from monostat.policy import policy_of
from monostat.public import routes
from monostat.public.clients import Clients
from monostat.public.endpoints import Endpoints
from monostat.public.live.entrance import ENTRANCE, Entrance
from monostat.public.live.hub import Hub
from monostat.public.pages import Pages, build_of
from monostat.public.site import SITE, PublicSite, heartbeat
from monostat.public.subscribing import MAX_FORM_BYTES, Subscribing
from monostat.store import open_store
from monostat.vendor import end

utcnow = partial(datetime.now, UTC)


async def serve(config: Config, *, stop: asyncio.Event) -> None:
    """Serves until `stop` is set; raises OSError for an address that is taken, and Unusable."""
    await serving.serve(make_app(config), config, stop=stop)


def make_app(
    config: Config,
    *,
    now: Callable[[], datetime] = utcnow,
    rng: Random | None = None,
    timing: Timing | None = None,
) -> web.Application:
    """Makes the application; its store, session and loops live as long as it runs.

    Raises Unusable at start-up when the database cannot be used.
    """
    rng = rng or Random()  # noqa: S311 - jitter, no secrets
    timing = timing or Timing()
    words = load_words(config.site.language)
    policy = policy_of(config, timing, words)
    build = build_of(config.site)
    take = partial(
        snapshot.take, policy=policy, words=words, name=config.site.name, url=config.site.url
    )
    engine = Engine(policy, now, build, take)
    app = web.Application(client_max_size=MAX_FORM_BYTES)
    pages = Pages(app, words, config.site, policy, build)
    hub = Hub(config.server, timing, rng, beat=partial(heartbeat, engine))
    watch = Watch(alive=engine.alive, says=partial(activity, engine, hub), grace=timing.grace)
    requests = Counter[tuple[str, ...]]()
    clients = Clients(config.server.trusted_proxies)
    poll_now = asyncio.Event()
    subscribing = Subscribing(engine, pages, clients)
    entrance = Entrance(hub, clients, config.site.url, requests)
    public_site = PublicSite(
        engine, pages, hub, subscribing, requests=requests, build=build, heartbeat=timing.heartbeat
    )
    endpoints = Endpoints(
        engine,
        entrance,
        subscribing,
        checks=watch.checks,
        webhook_secret=webhook_secret(config),
        poll_now=poll_now.set,
    )
    engine.watchers.add("page", public_site.show)
    parts = Parts(
        config=config,
        timing=timing,
        rng=rng,
        engine=engine,
        pages=pages,
        hub=hub,
        public_site=public_site,
        requests=requests,
        watch=watch,
        poll_now=poll_now,
    )
    app.middlewares.append(public_site.finish_answer)
    app.add_routes(routes.for_router(endpoints, public_site.read))
    app.cleanup_ctx.append(partial(run_parts, parts))
    app.on_shutdown.append(hub.close)
    app[SITE] = public_site
    app[ENTRANCE] = entrance
    return app


def webhook_secret(config: Config) -> str:
    """What the alert source has to know to have us ask at once; empty where it cannot."""
    secret = config.opsgenie and config.opsgenie.webhook_secret
    if secret:
        return secret.get_secret_value()
    return ""


async def run_parts(parts: Parts, app: web.Application) -> AsyncIterator[None]:
    """Runs everything for as long as the application does.

    1. The store is opened, alone, and the state read; the page is shown from here on.
    2. The control socket is opened.
    3. The loops start; the application serves.
    4. The loops end, then the control socket, the session, and the store.
    """
    config = parts.config
    engine = parts.engine
    async with (
        open_store(
            config.database.path,
            now=engine.now(),
            has_slack=config.slack is not None,
            host=urlsplit(config.site.url).hostname or "",
            before_long_step=systemd.extend_start_timeout,
        ) as store,
        ClientSession(
            timeout=ClientTimeout(total=parts.timing.vendor_timeout),
            headers={"User-Agent": f"monostat/{__version__}"},
            trust_env="HTTPS_PROXY" in os.environ,
        ) as session,
    ):
        await engine.start(store)
        if engine.watchers.behind:  # there is nothing older that could be shown
            raise RuntimeError("the page cannot be shown: the log says why")
        socket = config.server.control_socket or config.database.path.parent / "monostat.sock"
        async with control_socket(engine, config.site.url, socket), asyncio.TaskGroup() as tasks:
            source = alert_source(parts, session)
            app[TELEMETRY] = Telemetry(
                engine=engine,
                shown=lambda: parts.public_site.showing,
                hub=parts.hub,
                watch=parts.watch,
                requests=parts.requests,
                notifications=parts.notifications,
                source=source,
            )
            loops = parts.watch.loops
            loops.extend(loops_of(parts, app, session, source))
            running = [
                tasks.create_task(loop.supervised(parts.rng), name=loop.name) for loop in loops
            ]
            yield
            await end(running)


def activity(engine: Engine, hub: Hub) -> str:
    """What the daemon does, in a few words that have no name or address in them."""
    count = sum(incident.is_open for incident in engine.state.incidents.values())
    return f"serving; open incidents: {count}; viewers: {hub.count}"
