"""What Prometheus reads of us: one table, a row for each metric; contracts/feeds_embeds.md section
7 has the names.
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
from monostat.alerts.source import Source
from monostat.core.model import OPEN, Post, Severity
from monostat.engine import Board, Showing
from monostat.ops.supervise import Histogram, Watch
from monostat.public.live.hub import VIEWS, Hub
from monostat.public.routes import NAMES

TYPE = "text/plain; version=0.0.4; charset=utf-8"
LEVELS = ("ok", "unknown", "notice", "maintenance", "bug", "partial", "outage")
CODES = ("200", "304", "404", "500", "503")
Values = Mapping[tuple[str, ...], float]


@dataclass(kw_only=True)
class Seen:
    """All that the rows read; the counters count from the start of the process.

    `shown` is what readers see, which may be older than what is saved. `requests` are by handler
    and code, `told` by channel and result; `unsent` are lines and mails that are due.
    """

    board: Board
    shown: Callable[[], Showing]
    hub: Hub
    watch: Watch
    source: Source | None = None  # once it is there
    requests: Counter[tuple[str, ...]] = field(default_factory=Counter)
    told: Counter[tuple[str, ...]] = field(default_factory=Counter)
    unsent: int = 0
    started: float = field(default_factory=time.time)

    async def show(self, _request: web.Request) -> web.Response:
        store, mails = self.board.store, self.board.state.mails.values()
        with suppress(sqlite3.Error):  # the other rows say that something is wrong
            self.unsent = await store.waiting() + sum(
                mail.state is not Post.FAILED for mail in mails
            )
        text = "".join(exposed(row, self) for row in ROWS)
        return web.Response(text=text, headers={"Content-Type": TYPE, "Cache-Control": "no-store"})

    def app(self) -> web.Application:
        """Serves /metrics and nothing else."""
        made = web.Application()
        made.add_routes([web.get("/metrics", self.show)])
        return made


SEEN = web.AppKey("seen", Seen)


class Row(NamedTuple):
    """A metric without its prefix: each set of labels that is `known` is there from the start, at
    zero.
    """

    name: str
    kind: str
    help: str
    read: Callable[[Seen], Values | Histogram | float]
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()


def exposed(row: Row, seen: Seen) -> str:
    """The row's lines; https://prometheus.io/docs/instrumenting/exposition_formats/ is obeyed."""
    name, found = (
        row.name if row.name.startswith("process_") else f"monostat_{row.name}",
        row.read(seen),
    )
    lines = [f"# HELP {name} {row.help}", f"# TYPE {name} {row.kind}"]
    if isinstance(found, Histogram):
        lines += [f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in found.buckets()]
        lines += [f"{name}_sum {found.sum}", f"{name}_count {found.count}"]
    else:
        values = dict.fromkeys(row.known, 0) | (
            dict(found) if isinstance(found, Mapping) else {(): found}
        )
        for told, value in values.items():
            pairs = ",".join(
                f'{label}="{word}"' for label, word in zip(row.labels, told, strict=True)
            )
            lines.append(f"{name}{{{pairs}}} {+value}" if pairs else f"{name} {+value}")
    return "\n".join(lines) + "\n"


def counted(what: str) -> Callable[[Seen], Values]:
    """What the hub has counted under this name."""
    return lambda seen: {
        labels: n
        for (name, *rest), n in seen.hub.counts.items()
        if name == what and (labels := (*rest,))
    }


def up(seen: Seen) -> Values:
    stuck = seen.watch.stuck()
    return {(loop.name,): loop.up and loop.name not in stuck for loop in seen.watch.loops}


def incidents(seen: Seen) -> Values:
    return Counter((i.status.value, i.severity.value) for i in seen.shown().snapshot.open)


def of_process(read: Callable[[], float]) -> Callable[[Seen], float | Values]:
    """What /proc/self has, which a hardened unit leaves us; nothing where there is no such folder."""

    def found(_seen: Seen) -> float | Values:
        with suppress(OSError):
            return read()
        return {}

    return found


def memory(number: int) -> Callable[[Seen], float | Values]:
    """proc_pid_statm(5): pages, reserved first, then resident."""
    return of_process(
        lambda: int(Path("/proc/self/statm").read_text().split()[number]) * resource.getpagesize()
    )


def each(*words: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(product(*words))


STATES, SEVERITIES = tuple(s.value for s in OPEN), tuple(s.value for s in Severity)
RESULTS, CHANNELS = ("accepted", "limited", "refused"), ("slack", "mail")
REASONS = ("client", "timeout", "slow", "policy", "shutdown", "error")
BUILD = (__version__, platform.python_version())
# fmt: off
ROWS = (
    Row("build_info", "gauge", "The program.", lambda _: {BUILD: 1}, ("version", "python")),
    Row("status", "gauge", "1 for the level of the page.", lambda s: {(s.shown().snapshot.status["level"],): 1},
        ("level",), each(LEVELS)),
    Row("open_incidents", "gauge", "Incidents that are open.", incidents, ("state", "severity"),
        each(STATES, SEVERITIES)),
    Row("state_version", "gauge", "The version that is shown.", lambda s: s.shown().version.number),
    Row("last_change_timestamp_seconds", "gauge", "When it came.", lambda s: s.shown().version.at.timestamp()),
    Row("change_not_taken", "gauge", "1 while the newest change is saved, but not shown, sent or woken there.",
        lambda s: {(name,): name in s.board.watchers.behind for name in s.board.watchers.names}, ("by",)),
    Row("http_requests_total", "counter", "Requests answered.", lambda s: s.requests, ("handler", "code"),
        each(NAMES, CODES)),
    Row("feed_clients", "gauge", "Viewers who are here.", lambda s: {(view,): n for view, n in s.hub.views().items()},
        ("view",), each(tuple(VIEWS.values()))),
    Row("feed_connections_total", "counter", "Viewers who came.", counted("connections"), ("view", "result"),
        each(tuple(VIEWS.values()), RESULTS)),
    Row("feed_disconnections_total", "counter", "Viewers who left.", counted("disconnections"), ("reason",),
        each(REASONS)),
    Row("feed_messages_total", "counter", "Messages to viewers.",
        lambda s: {("state",): s.hub.states, ("heartbeat",): s.hub.beats}, ("type",)),
    Row("publish_duration_seconds", "histogram", "From a change to its last viewer.", lambda s: s.hub.spread),
    Row("task_up", "gauge", "1 while a loop runs and turns.", up, ("task",)),
    Row("task_restarts_total", "counter", "Failures of a loop.",
        lambda s: {(loop.name,): loop.restarts for loop in s.watch.loops}, ("task",)),
    Row("notifications_total", "counter", "What was told, or not.", lambda s: s.told, ("channel", "result"),
        each(CHANNELS, ("sent", "failed", "dropped"))),
    Row("notification_queue_length", "gauge", "Mails and Slack lines that have not left.", lambda s: s.unsent),
    Row("alert_source_requests_total", "counter", "Requests to the alert source.",
        lambda s: s.source.requests if s.source else {}),
    Row("alert_source_throttled_total", "counter", "Its answers that asked us to wait.",
        lambda s: s.source.throttled if s.source else {}),
    Row("alert_source_open_alerts", "gauge", "Open alerts in its last picture.",
        lambda s: s.source.listing if s.source else {}),
    Row("alert_source_last_success_timestamp_seconds", "gauge", "When it last answered in full.",
        lambda s: s.source.succeeded_at.timestamp() if s.source and s.source.succeeded_at else {}),
    Row("storage_write_duration_seconds", "histogram", "Transactions.", lambda s: s.board.store.writes),
    Row("storage_errors_total", "counter", "Transactions that failed.", lambda s: s.board.store.errors),
    Row("event_loop_lag_seconds", "gauge", "Its longest delay in a minute.", lambda s: max(s.watch.lags)),
    Row("event_loop_tasks", "gauge", "Tasks that have not ended.", lambda _: len(asyncio.all_tasks())),
    Row("process_cpu_seconds_total", "counter", "Processor time.", lambda _: time.process_time()),
    Row("process_start_time_seconds", "gauge", "When we started.", lambda s: s.started),
    Row("process_resident_memory_bytes", "gauge", "Memory that is in use.",
        memory(1)),
    Row("process_virtual_memory_bytes", "gauge", "Memory that is reserved.",
        memory(0)),
    Row("process_open_fds", "gauge", "Open descriptors.", of_process(lambda: len(os.listdir("/proc/self/fd")))),
    Row("process_max_fds", "gauge", "Descriptors that may be open.",
        lambda _: resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
)
# fmt: on
