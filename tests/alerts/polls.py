"""What is seen of polls: how many there were, and what staff were told."""

from monostat.demo.slack import Message
from tests.waiting import eventually
from tests.world import World


def lists(world: World) -> int:
    """How often the list of alerts was asked for."""
    return sum("alerts?" in request for request in world.opsgenie.faults.requests)


def told(world: World, words: str) -> list[Message]:
    return [m for m in world.slack.timeline() if words in m.text]


async def lag(world: World, polls: int = 2) -> None:
    """Lets that many polls pass."""
    before = lists(world)
    await eventually(lambda: lists(world) >= before + polls)
