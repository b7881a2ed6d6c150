"""What a scrape of /metrics finds."""

from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from monostat.ops.metrics import TELEMETRY
from tests.world import World


async def scraped(world: World) -> dict[str, Metric]:
    """By name, after a scrape of the app that runs in the world."""
    runner: Any = world._runner
    answer = await runner.app[TELEMETRY].show(None)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    [found] = [
        s.value
        for f in families.values()
        for s in f.samples
        if s.name == name and s.labels == labels
    ]
    return found
