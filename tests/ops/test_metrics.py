"""What Prometheus reads, with its own parser."""

import json
import os
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric

from monostat.ops.metrics import CHANNELS, REASONS, RESULTS, ROWS, TELEMETRY
from monostat.public.live.hub import VIEWS
from monostat.public.routes import NAMES
from tests.daemon import daemon, free_port
from tests.ops.scrape import scraped, value
from tests.ops.tables import rename
from tests.waiting import eventually
from tests.world import World

DEPLOY = Path(__file__).parents[2] / "deploy"


async def test_every_row_is_there_from_the_start_with_no_name_in_a_label(world: World) -> None:
    await world.start()
    families = await scraped(world)
    assert len(families) == len(ROWS)
    assert all(family.documentation for family in families.values())
    assert all(family.samples for family in families.values())
    samples = [sample for family in families.values() for sample in family.samples]
    words = {
        word
        for sample in samples
        for label, word in sample.labels.items()
        if label not in ("version", "python")
    }
    assert all(re.fullmatch(r"[a-z_.-]+|\d{3}|[\d.]+|\+Inf", word) for word in words), words
    assert value(families, "monostat_status", level="ok") == 1
    assert value(families, "monostat_open_incidents", state="suspected", severity="outage") == 0
    assert value(families, "monostat_task_up", task="engine") == 1
    assert value(families, "process_resident_memory_bytes") > 1e6
    assert value(families, "process_open_fds") > 3


async def test_there_are_under_500_series_whatever_happens(world: World) -> None:
    answers = map(str, (101, 200, 204, 301, 304, 400, 403, 404, 405, 413, 422, 426, 429, 500, 503))
    world.settings["edge"] = {"publish_urls": [f"http://127.0.0.1:{port}" for port in range(1, 13)]}
    await world.start()
    seen = world.runner().app[TELEMETRY]
    await eventually(lambda: seen.source and seen.source.succeeded_at)
    seen.requests.update(product(NAMES, answers))
    seen.notifications.update(product(CHANNELS, ("sent", "failed", "dropped")))
    seen.hub.counts.update(product(("connections",), VIEWS.values(), RESULTS))
    seen.hub.counts.update(product(("disconnections",), REASONS))
    families = await scraped(world)
    assert all(family.samples for family in families.values())
    assert sum(len(family.samples) for family in families.values()) < 500


async def test_what_happens_is_counted(world: World) -> None:
    await world.start()
    before = await scraped(world)
    for _ in range(3):
        await world.page()
        await world.page("/static/style.css")
    families = await scraped(world)
    assert value(families, "monostat_http_requests_total", handler="home", code="200") == 3
    assert value(families, "monostat_http_requests_total", handler="static", code="200") == 3
    world.opsgenie.fire("disk full of ada@example.com")
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        await ws.receive_str(timeout=30)
        await world.becomes("suspected")
        await world.page("/incidents/1")
        await world.page("/nowhere/at/all/17")
        families = await scraped(world)
        assert value(families, "monostat_feed_clients", view="public") == 1
        assert (
            value(families, "monostat_feed_connections_total", view="public", result="accepted")
            == 1
        )
    assert value(families, "monostat_status", level="ok") == 0
    assert value(families, "monostat_open_incidents", state="suspected", severity="outage") == 1
    assert value(families, "monostat_http_requests_total", handler="incidents", code="200") == 1
    assert value(families, "monostat_http_requests_total", handler="other", code="404") == 1
    assert value(families, "monostat_state_version") > value(before, "monostat_state_version")
    assert value(families, "monostat_storage_write_duration_seconds_count") > 0
    await world.tap("verb:confirm:outage")
    await eventually(lambda: world.rapidmail.mailings)

    async def left() -> dict[str, Metric] | None:
        found = await scraped(world)
        sent = value(found, "monostat_notifications_total", channel="mail", result="sent")
        waiting = value(found, "monostat_notification_queue_length")
        gone = value(found, "monostat_feed_disconnections_total", reason="client")
        return found if (sent, waiting, gone) == (1, 0, 1) else None

    families = await eventually(left)
    assert value(families, "monostat_notifications_total", channel="slack", result="sent") > 1
    assert "ada" not in str(families)


async def test_metrics_are_served_on_a_listener_of_their_own_alone(world: World) -> None:
    port = free_port()
    async with daemon(world, metrics_listen=f"127.0.0.1:{port}"):
        async with world.http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert "monostat_build_info" in await answer.text()
        for url in (f"http://127.0.0.1:{port}/", f"{world.url}/metrics"):
            async with world.http.get(url) as answer:
                assert answer.status == 404


async def test_metrics_survive_the_loss_of_the_database(world: World) -> None:
    await world.start()
    await rename(world, "log", "lost")
    assert value(await scraped(world), "monostat_task_up", task="engine") == 1


def names() -> set[str]:
    made = {f"{'' if row.name.startswith('process_') else 'monostat_'}{row.name}" for row in ROWS}
    return (
        made | {f"{name}_{part}" for name in made for part in ("bucket", "sum", "count")} | {"up"}
    )


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:monostat|process)_\w+|\bup\b", expression))


def test_every_alert_asks_for_metrics_that_exist_and_says_what_to_do() -> None:
    groups = yaml.safe_load((DEPLOY / "alerts.rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 5
    for rule in rules:
        assert asked(rule["expr"]), rule
        assert asked(rule["expr"]) <= names(), rule
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")


def test_each_alert_fires_where_it_should_and_is_silent_where_it_should_be() -> None:
    if not shutil.which("promtool"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("apt-get install prometheus")
    cases = Path(__file__).with_name("alerts.test.yml")
    for command in (("check", "rules", str(DEPLOY / "alerts.rules.yml")), ("test", "rules", cases)):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    tried = [
        case
        for one in yaml.safe_load(cases.read_text())["tests"]
        for case in one["alert_rule_test"]
    ]
    groups = yaml.safe_load((DEPLOY / "alerts.rules.yml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        ends = {bool(case["exp_alerts"]) for case in tried if case["alertname"] == rule["alert"]}
        assert ends == {True, False}, rule["alert"]


async def test_who_is_not_reached_and_which_mails_wait_can_be_seen_and_make_no_probe_fail(
    world: World,
) -> None:
    world.settings["edge"] = {"publish_urls": ["http://127.0.0.1:1"]}
    for vendor in (world.slack, world.rapidmail):
        vendor.faults.fail_next(503, times=1000)
    await world.start()
    await world.act("create", title="Slow", mail=True)

    async def waits() -> dict[str, Metric] | None:
        found = await scraped(world)
        late = value(found, "monostat_mail_overdue_seconds")
        peers = [value(found, "monostat_peer_reached", task=task) for task in ("edge 1", "mails")]
        return found if late and peers == [0, 0] else None

    families = await eventually(waits)
    assert value(families, "monostat_peer_reached", task="slack") == 0
    assert value(families, "monostat_peer_reached", task="opsgenie") == 1
    assert value(families, "monostat_notification_queue_length") > 0
    async with world.http.get(f"{world.url}/healthz") as answer:
        lines = (await answer.text()).splitlines()
        assert answer.status == 200
    for line in (
        "edge 1: runs, not reached",
        "mails: runs, not reached",
        "slack: runs, not connected",
    ):
        assert line in lines


def test_every_panel_of_the_dashboard_asks_for_metrics_that_exist() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    targets = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(targets) >= 10
    for expression in targets:
        assert asked(expression), expression
        assert asked(expression) <= names(), expression
