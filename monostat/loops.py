"""What runs beside the web server: the engine, the viewers, and a loop for each vendor."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from zoneinfo import ZoneInfo

from aiohttp import ClientSession, web

from monostat.alerts.source import AlertSource
from monostat.config import Config, Timing
from monostat.core.model import Mail
from monostat.engine import Engine
from monostat.mail.outbox import MailOutbox
from monostat.mail.rapidmail import RapidmailClient
from monostat.ops.supervise import Loop, Watch
from monostat.public.live.edge import Edge
from monostat.public.live.hub import Hub
from monostat.public.pages import Pages
from monostat.public.site import PublicSite
from monostat.public.subscribing import SUBSCRIBERS
from monostat.slack.actions import StaffActions
from monostat.slack.client import SlackClient
from monostat.slack.listeners import Listeners
from monostat.slack.mentions import Mentions
from monostat.slack.outbox import SlackOutbox
from monostat.slack.slash import SlashCommand
from monostat.slack.socket import SocketMode
from monostat.slack.staff import Staff
from monostat.slack.text import SlackText
from monostat.vendor import nap

Loops = Iterator[Loop]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is there before the store is open."""

    config: Config
    timing: Timing
    rng: Random
    engine: Engine
    pages: Pages
    hub: Hub
    public_site: PublicSite
    requests: Counter[tuple[str, ...]]
    watch: Watch
    poll_now: asyncio.Event
    notifications: Counter[tuple[str, ...]] = field(default_factory=Counter)


def loops_of(
    parts: Parts, app: web.Application, session: ClientSession, source: AlertSource | None
) -> Loops:
    """Everything that runs beside the web server."""
    engine = parts.engine
    yield Loop(name="engine", run=engine.run)
    yield Loop(name="watchers", run=engine.watchers.run)
    yield Loop(name="renew", run=partial(renew, engine, parts.timing.rerender), vital=False)
    yield Loop(name="viewers", run=parts.hub.run)
    yield from edge_loops(parts, session)
    if source:
        says = partial(monitoring_status, engine, source)
        yield Loop(name="opsgenie", run=source.run, says=says, reaches=source.is_reached)
        yield Loop(name="silence", run=source.count)
    yield from mail_loops(parts, app, session)
    yield from slack_loops(parts, session)
    yield Loop(name="watch", run=parts.watch.run, vital=False)


async def renew(engine: Engine, every: float) -> None:
    """The page says "as of": it must not say so of a time long gone."""
    while True:
        await nap(every)
        engine.watchers.notify("page")


def edge_loops(parts: Parts, session: ClientSession) -> Loops:
    """One loop for each edge tier."""
    for number, base in enumerate(parts.config.edge.publish_urls, 1):
        name = f"edge {number}"
        edge = Edge(base, parts.hub, session, rng=parts.rng, timing=parts.timing)
        parts.engine.watchers.add(name, edge.news.set)
        yield Loop(name=name, run=edge.run, vital=False, reaches=edge.is_reached)


def alert_source(parts: Parts, session: ClientSession) -> AlertSource | None:
    """What polls for alerts, where there is anything to poll."""
    settings = parts.config.opsgenie
    if settings is None:
        return None
    return AlertSource(
        settings=settings,
        session=session,
        rng=parts.rng,
        timing=parts.timing,
        alerts_to_follow=partial(alerts_to_follow, parts.engine),
        now=parts.engine.now,
        submit=parts.engine.submit,
        wake=parts.poll_now,
    )


def alerts_to_follow(engine: Engine) -> list[str]:
    """The ids of open alerts, without those of a source that was left: nobody can say more."""
    return [
        alert.id
        for alert in engine.state.alerts.values()
        if alert.is_open and not (alert.ignored and alert.incident)
    ]


def monitoring_status(engine: Engine, source: AlertSource) -> str:
    """Whether the alert source answers, for `systemctl status`."""
    if not engine.state.monitoring.ok:
        return "silent"
    if source.failures:
        return "the last poll failed"
    if engine.state.answered:
        return "answers"
    return "not asked yet"


def mail_loops(parts: Parts, app: web.Application, session: ClientSession) -> Loops:
    """The mails, where there are any; visitors may subscribe from here on."""
    if parts.config.rapidmail is None:
        return
    engine = parts.engine
    timing = parts.timing
    vendor = RapidmailClient(session, parts.config.rapidmail, timing.vendor_timeout)
    app[SUBSCRIBERS] = vendor
    outbox = MailOutbox(
        state=lambda: engine.state,
        submit=engine.submit,
        all_mails=lambda: engine.store.find(Mail),
        now=engine.now,
        vendor=vendor,
        compose=parts.pages.mail,
        rng=parts.rng,
        look_again=timing.look_again,
        follow=timing.follow,
        first_wait=timing.first_wait,
        counts=parts.notifications,
    )
    engine.watchers.add("mails", outbox.wake.set)
    yield Loop(name="mails", run=outbox.run, reaches=lambda: outbox.is_reached)


def slack_loops(parts: Parts, session: ClientSession) -> Loops:
    """What Slack is told, and what is heard there."""
    config = parts.config
    if config.slack is None:
        return
    engine = parts.engine
    client = SlackClient(settings=config.slack, session=session, timing=parts.timing)
    staff = Staff(client=client)
    wording = SlackText(config.site.url, ZoneInfo(config.site.timezone))
    outbox = SlackOutbox(
        store=engine.store,
        state=lambda: engine.state,
        trouble=lambda: engine.trouble,
        submit=engine.submit,
        now=engine.now,
        policy=engine.policy,
        may_act=lambda user: user in staff.names,
        client=client,
        wording=wording,
        rng=parts.rng,
        counts=parts.notifications,
    )
    actions = StaffActions(
        client=client,
        staff=staff,
        wording=wording,
        state=lambda: engine.state,
        submit=engine.submit,
    )
    listeners = listeners_of(engine, outbox, actions)
    socket = SocketMode(client=client, staff=staff, listeners=listeners)
    engine.watchers.add("slack-outbox", outbox.wake)
    yield Loop(
        name="slack",
        run=socket.run,
        vital=False,
        says=socket.status,
        reaches=lambda: socket.connected,
    )
    yield Loop(name="slack-outbox", run=outbox.run)


def listeners_of(engine: Engine, outbox: SlackOutbox, actions: StaffActions) -> Listeners:
    """What hears staff in Slack."""
    thread_of = outbox.posts.thread_of
    mentions = Mentions(
        client=actions.client,
        actions=actions,
        incident_of=engine.incident,
        now=engine.now,
        thread_of=thread_of,
        submit=engine.submit,
    )
    return Listeners(
        client=actions.client,
        staff=actions.staff,
        wording=actions.wording,
        state=actions.state,
        actions=actions,
        mentions=mentions,
        slash=SlashCommand(actions=actions, incident_of=engine.incident, now=engine.now),
        incident_of=engine.incident,
        now=engine.now,
        thread_of=thread_of,
        home_opened=outbox.home_opened,
        too_late_for=outbox.posts.too_late_for,
    )
