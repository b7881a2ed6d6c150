"""What staff do again and again in tests, and what they see then."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from monostat.demo.slack import Message
from monostat.demo.socketmode import Ack
from monostat.demo.workspace import BOT_USER, View
from tests.waiting import eventually
from tests.world import SHORT, World

ME = f"<@{BOT_USER}>"


async def started(world: World, **timing: Any) -> World:
    """Monostat runs and hears what staff do."""
    await world.start(timing=replace(SHORT, **timing))
    await eventually(lambda: world.slack.connections)
    return world


async def suspected(world: World, words: str = "disk full", **timing: Any) -> Message:
    await started(world, **timing)
    world.opsgenie.fire(words)
    message = await world.message("verb:confirm:outage")
    await eventually(lambda: is_known(world, message.ts))
    return message


async def is_known(world: World, ts: str) -> bool:
    """Whether monostat knows what Slack calls the message that it has posted."""
    return bool(await world.in_file("SELECT 1 FROM facts WHERE body LIKE ?", f"%{ts}%"))


async def confirmed(world: World, **timing: Any) -> Message:
    message = await suspected(world, **timing)
    await world.slack.press("U_ADA", message.ts, "verb:confirm:outage")
    await world.becomes("confirmed")
    return await world.message("verb:watch")


async def opened(world: World, user: str = "U_ADA") -> View:
    """The dialog that this person has in front of them."""
    return await eventually(
        lambda: next((v for v in world.slack.views.values() if v.user == user), None)
    )


async def fills(world: World, user: str = "U_ADA", /, **values: Any) -> Ack:
    named = {name.replace("__", ":"): value for name, value in values.items()}
    return await world.slack.submit_view(user, (await opened(world, user)).id, named)


async def closed(world: World) -> None:
    await eventually(lambda: not world.slack.views)


async def told(world: World, user: str, words: str) -> str:
    """What this person alone was told: in the channel, or in a dialog."""

    def found() -> str | None:
        private = [m.text for m in world.slack.ephemerals if m.user == user]
        private += [str(v.content) for v in world.slack.views.values() if v.user == user]
        return next((text for text in private if words in text), None)

    return await eventually(found)


def texts(incident: Mapping[str, Any]) -> list[str]:
    return [update["text"] for update in incident["updates"]]


async def says(world: World, text: str, number: int = 1) -> dict[str, Any]:
    """The incident, once its newest public sentence is this."""

    async def there() -> dict[str, Any] | None:
        incident = await world.incident(number)
        return incident if incident and texts(incident)[0] == text else None

    return await eventually(there)
