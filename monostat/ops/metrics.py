"""What Prometheus reads of us: one table, a row for each metric, and as long as they are many.

https://prometheus.io/docs/instrumenting/exposition_formats/

Not prometheus_client: it would spare `exposition` alone, twenty lines. What we count lives where it
happens, so that a registry would be a copy; and its process_* need /proc/stat, which a unit with
ProcSubset=pid does not see.
"""

import asyncio
import os
import platform
import resource
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from monostat import __version__
from monostat.alerts.source import AlertSource
from monostat.core.model import GONE, OPEN, MailState, Severity
from monostat.engine import Engine, Showing
from monostat.histogram import Histogram
from monostat.ops.supervise import Watch
from monostat.public.live.hub import VIEWS, Hub
from monostat.public.routes import NAMES

TYPE = "text/plain; version=0.0.4; charset=utf-8"
CODES = ("200", "304", "404", "500", "503")
STATES = tuple(status.value for status in OPEN)
SEVERITIES = tuple(severity.value for severity in Severity)
LEVELS = ("ok", "unknown", *SEVERITIES)
RESULTS = ("accepted", "limited", "refused")
CHANNELS = ("slack", "mail")
MAIL_STATES = tuple(state.value for state in MailState if state not in GONE)
REASONS = ("client", "timeout", "slow", "policy", "shutdown")
#: The values of a row's labels, in their order.
Labels = tuple[str, ...]
Values = Mapping[Labels, float]


@dataclass(kw_only=True)
class Telemetry:
    """All that the rows read; the counters count from the start of the process.

    `shown` is what readers see, which may be older than what is saved. `requests` are by handler
    and code, `notifications` by channel and result; `unsent` are lines and mails that are due.
    """

    engine: Engine
    shown: Callable[[], Showing]
    hub: Hub
    watch: Watch
    requests: Counter[Labels]
    source: AlertSource | None = None
    notifications: Counter[Labels] = field(default_factory=Counter)
    unsent: int = 0
    started: float = field(default_factory=time.time)

    async def show(self, _request: web.Request) -> web.Response:
        """Answers /metrics, in Prometheus' text format 0.0.4."""
        with suppress(sqlite3.Error):  # the other rows say that something is wrong
            lines = await self.engine.store.waiting()
            self.unsent = lines + len(overdue(self))
        text = "".join(exposition(row, self) for row in ROWS)
        return web.Response(text=text, headers={"Content-Type": TYPE, "Cache-Control": "no-store"})

    def app(self) -> web.Application:
        """Serves /metrics and nothing else."""
        app = web.Application()
        app.add_routes([web.get("/metrics", self.show)])
        return app


TELEMETRY = web.AppKey("telemetry", Telemetry)


class Row(NamedTuple):
    """A metric without its prefix, and how it is read.

    Each set of labels in `initial` is there from the start, at zero.
    """

    name: str
    kind: str
    help: str
    read: Callable[[Telemetry], Values | Histogram | float]
    labels: tuple[str, ...] = ()
    initial: tuple[Labels, ...] = ()


# https://prometheus.io/docs/instrumenting/exposition_formats/
def exposition(row: Row, telemetry: Telemetry) -> str:
    """The row's lines."""
    name = row.name
    if not name.startswith("process_"):
        name = f"monostat_{name}"
    value = row.read(telemetry)
    lines = [f"# HELP {name} {row.help}", f"# TYPE {name} {row.kind}"]
    if isinstance(value, Histogram):
        lines += [f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in value.buckets()]
        lines += [f"{name}_sum {value.sum}", f"{name}_count {value.count}"]
    elif isinstance(value, Mapping):
        series = {**dict.fromkeys(row.initial, 0), **value}
        lines += [f"{name}{braced(row, labels)} {+number}" for labels, number in series.items()]
    else:
        lines.append(f"{name} {+value}")
    return "\n".join(lines) + "\n"


def braced(row: Row, labels: Labels) -> str:
    """The labels of one series in braces; empty where the row has none."""
    pairs = [f'{name}="{value}"' for name, value in zip(row.labels, labels, strict=True)]
    if not pairs:
        return ""
    return f"{{{','.join(pairs)}}}"


def each(*names: Labels) -> tuple[Labels, ...]:
    """All combinations of the labels' values."""
    return tuple(product(*names))


def open_incidents(telemetry: Telemetry) -> Values:
    """Those that the page shows, by state and severity."""
    incidents = telemetry.shown().snapshot.open
    return Counter((incident.status.value, incident.severity.value) for incident in incidents)


def change_not_taken(telemetry: Telemetry) -> Values:
    """Whether each watcher has not taken the newest change."""
    watchers = telemetry.engine.watchers
    return {(name,): name in watchers.behind for name in watchers.names}


def of_hub(event: str) -> Callable[[Telemetry], Values]:
    """What the hub has counted of this kind of event, by its further labels."""

    def read(telemetry: Telemetry) -> Values:
        counts: dict[Labels, float] = {}
        for (name, *labels), count in telemetry.hub.counts.items():
            if name == event and labels:
                counts[tuple(labels)] = count
        return counts

    return read


def overdue(telemetry: Telemetry) -> list[float]:
    """For how many seconds each mail that is due has waited for Rapidmail to take it."""
    now = telemetry.engine.now()
    return [
        (now - (mail.first_tried or mail.not_before)).total_seconds()
        for mail in telemetry.engine.state.mails.values()
        if mail.state is MailState.CLAIMED
        or (mail.state is MailState.HELD and (mail.attempts or mail.not_before <= now))
    ]


def mails(telemetry: Telemetry) -> Values:
    """Those that have not left, by where they stand."""
    return Counter((mail.state.value,) for mail in telemetry.engine.state.mails.values())


def reached(telemetry: Telemetry) -> Values:
    """Whether those answer whom a loop speaks to."""
    loops = telemetry.watch.loops
    return {(loop.name,): loop.reaches() for loop in loops if loop.reaches}


def tasks_up(telemetry: Telemetry) -> Values:
    """Whether each loop runs and turns."""
    stuck = telemetry.watch.stuck()
    return {(loop.name,): loop.up and loop.name not in stuck for loop in telemetry.watch.loops}


def of_source(read: Callable[[AlertSource], float]) -> Callable[[Telemetry], Values | float]:
    """What the alert source has counted; nothing where there is no source."""

    def read_if_there(telemetry: Telemetry) -> Values | float:
        if telemetry.source is None:
            return {}
        return read(telemetry.source)

    return read_if_there


def last_success(source: AlertSource) -> float:
    """In seconds since 1970; 0 before the first."""
    if source.succeeded_at is None:
        return 0.0
    return source.succeeded_at.timestamp()


def of_process(read: Callable[[], float]) -> Callable[[Telemetry], Values | float]:
    """What /proc/self has, which a hardened unit leaves us; nothing where there is none."""

    def read_if_there(_telemetry: Telemetry) -> Values | float:
        with suppress(OSError):
            return read()
        return {}

    return read_if_there


# proc_pid_statm(5): pages, reserved first, then resident.
def memory(column: int) -> float:
    """A column of /proc/self/statm in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[column]
    return int(pages) * resource.getpagesize()


ROWS = (
    Row(
        "build_info",
        "gauge",
        "1; its labels name the versions of monostat and of Python.",
        lambda _: {(__version__, platform.python_version()): 1},
        ("version", "python"),
    ),
    Row(
        "status",
        "gauge",
        "1 for the level that the page shows, 0 for each other level.",
        lambda t: {(t.shown().snapshot.status["level"],): 1},
        ("level",),
        each(LEVELS),
    ),
    Row(
        "open_incidents",
        "gauge",
        "Open incidents on the page.",
        open_incidents,
        ("state", "severity"),
        each(STATES, SEVERITIES),
    ),
    Row(
        "state_version",
        "gauge",
        "Version of the state that the page shows.",
        lambda t: t.shown().version.number,
    ),
    Row(
        "last_change_timestamp_seconds",
        "gauge",
        "When the shown version was made, in seconds since 1970.",
        lambda t: t.shown().version.at.timestamp(),
    ),
    Row(
        "change_not_taken",
        "gauge",
        "1 while the newest change is saved, but this part has not taken it.",
        change_not_taken,
        ("by",),
    ),
    Row(
        "http_requests_total",
        "counter",
        "HTTP requests answered.",
        lambda t: t.requests,
        ("handler", "code"),
        each(NAMES, CODES),
    ),
    Row(
        "feed_clients",
        "gauge",
        "Viewers connected now.",
        lambda t: {(view,): count for view, count in t.hub.views().items()},
        ("view",),
        each(tuple(VIEWS.values())),
    ),
    Row(
        "feed_connections_total",
        "counter",
        "Attempts of viewers to connect: accepted, limited or refused.",
        of_hub("connections"),
        ("view", "result"),
        each(tuple(VIEWS.values()), RESULTS),
    ),
    Row(
        "feed_disconnections_total",
        "counter",
        "Connections of viewers that ended, by reason.",
        of_hub("disconnections"),
        ("reason",),
        each(REASONS),
    ),
    Row(
        "feed_messages_total",
        "counter",
        "Messages sent to viewers.",
        lambda t: {("state",): t.hub.states, ("heartbeat",): t.hub.beats},
        ("type",),
    ),
    Row(
        "publish_duration_seconds",
        "histogram",
        "Time from a change until the last viewer has been sent it.",
        lambda t: t.hub.spread,
    ),
    Row("task_up", "gauge", "1 while this loop runs and is not stuck.", tasks_up, ("task",)),
    Row(
        "task_restarts_total",
        "counter",
        "Times this loop has failed and was started again.",
        lambda t: {(loop.name,): loop.restarts for loop in t.watch.loops},
        ("task",),
    ),
    Row(
        "notifications_total",
        "counter",
        "Attempts to notify people: sent, failed and to be retried, or dropped for good.",
        lambda t: t.notifications,
        ("channel", "result"),
        each(CHANNELS, ("sent", "failed", "dropped")),
    ),
    Row(
        "notification_queue_length",
        "gauge",
        "Mails and Slack lines that are due but not sent yet.",
        lambda t: t.unsent,
    ),
    Row(
        "mails", "gauge", "Mails still in progress, by state.", mails, ("state",), each(MAIL_STATES)
    ),
    Row(
        "mail_overdue_seconds",
        "gauge",
        "How long the oldest mail that is due has been waiting.",
        lambda t: max(overdue(t), default=0.0),
    ),
    Row(
        "peer_reached",
        "gauge",
        "1 while the peer of this loop answers: monitoring, Slack, Rapidmail or an edge node.",
        reached,
        ("task",),
    ),
    Row(
        "alert_source_requests_total",
        "counter",
        "Requests sent to the alert source.",
        of_source(lambda source: source.requests),
    ),
    Row(
        "alert_source_throttled_total",
        "counter",
        "Answers of the alert source that asked monostat to wait.",
        of_source(lambda source: source.throttled),
    ),
    Row(
        "alert_source_open_alerts",
        "gauge",
        "Open alerts in the last answer of the alert source.",
        of_source(lambda source: source.open_count),
    ),
    Row(
        "alert_source_last_success_timestamp_seconds",
        "gauge",
        "When the alert source last answered in full, in seconds since 1970; 0 if it has not yet.",
        of_source(last_success),
    ),
    Row(
        "storage_write_duration_seconds",
        "histogram",
        "Duration of database transactions.",
        lambda t: t.engine.store.writes,
    ),
    Row(
        "storage_errors_total",
        "counter",
        "Database transactions that failed.",
        lambda t: t.engine.store.errors,
    ),
    Row(
        "event_loop_lag_seconds",
        "gauge",
        "Longest event loop delay in the last minute.",
        lambda t: max(t.watch.lags),
    ),
    Row(
        "event_loop_tasks",
        "gauge",
        "Tasks of the event loop that have not ended.",
        lambda _: len(asyncio.all_tasks()),
    ),
    Row(
        "process_cpu_seconds_total",
        "counter",
        "CPU time used by the process.",
        lambda _: time.process_time(),
    ),
    Row(
        "process_start_time_seconds",
        "gauge",
        "When the process started, in seconds since 1970.",
        lambda t: t.started,
    ),
    Row(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory of the process.",
        of_process(lambda: memory(1)),
    ),
    Row(
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory of the process.",
        of_process(lambda: memory(0)),
    ),
    Row(
        "process_open_fds",
        "gauge",
        "Open file descriptors.",
        of_process(lambda: len(os.listdir("/proc/self/fd"))),
    ),
    Row(
        "process_max_fds",
        "gauge",
        "Limit of open file descriptors.",
        lambda _: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    ),
)
