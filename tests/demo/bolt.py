"""An app of bolt's against the simulated Slack, and the blocks that it shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from monostat.demo.slack import SimulatedSlack
from monostat.demo.workspace import Json
from tests.waiting import eventually


def button(action_id: str = "confirm", **more: Any) -> Json:
    return {
        "type": "button",
        "action_id": action_id,
        "text": {"type": "plain_text", "text": action_id},
        **more,
    }


def actions(*elements: Json) -> list[Json]:
    return [{"type": "actions", "block_id": "act", "elements": list(elements)}]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


BODY = {
    "type": "input",
    "block_id": "body",
    "label": plain("Text"),
    "element": {"type": "plain_text_input", "action_id": "v"},
}


MODAL = {
    "type": "modal",
    "callback_id": "update",
    "title": plain("Update"),
    "submit": plain("Send"),
    "blocks": [BODY],
}


@asynccontextmanager
async def bolt(
    slack: SimulatedSlack, url: str, *, ping_interval: float = 1
) -> AsyncIterator[AsyncApp]:
    """Runs the real library against the simulation; register listeners on what it yields."""
    slack.patience = 30.0  # Slack's three seconds say nothing on a machine that is busy

    async def authorize() -> AuthorizeResult:
        return AuthorizeResult(
            enterprise_id=None,
            team_id=slack.team_id,
            bot_token=slack.bot_token,
            bot_id=slack.bot_id,
            bot_user_id=slack.bot_user_id,
        )

    client = AsyncWebClient(slack.bot_token, base_url=f"{url}/api/", retry_handlers=[])
    app = AsyncApp(client=client, authorize=authorize)
    socket = AsyncSocketModeHandler(app, slack.app_token, ping_interval=ping_interval)
    connecting = asyncio.create_task(socket.connect_async())  # type: ignore[no-untyped-call]
    try:
        await eventually(lambda: slack.connections or slack.dead_urls)
        yield app
    finally:
        connecting.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(socket.close_async(), 2)  # type: ignore[no-untyped-call]
        peer = socket.client
        tasks = [peer.message_processor, peer.current_session_monitor, peer.message_receiver]
        running = [connecting, *(task for task in tasks if task is not None)]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await peer.aiohttp_client_session.close()


def option(value: str) -> Json:
    return {"text": plain(value.title()), "value": value}


def asked(block_id: str, element: Json, **more: Any) -> Json:
    element = {"action_id": "v"} | element
    return {
        "type": "input",
        "block_id": block_id,
        "label": plain(block_id),
        "element": element,
    } | more


FORM: Json = MODAL | {
    "private_metadata": "inc-1",
    "notify_on_close": True,
    "blocks": [
        asked("title", {"type": "plain_text_input", "min_length": 3, "max_length": 10}),
        asked("more", {"type": "plain_text_input", "multiline": True}, optional=True),
        asked("severity", {"type": "static_select", "options": [option("partial"), option("outage")],
                           "initial_option": option("partial")}),
        asked("mail", {"type": "radio_buttons", "options": [option("yes"), option("no")]}, optional=True),
        asked("flags", {"type": "checkboxes", "options": [option("silent"), option("late")]}, optional=True),
        asked("start", {"type": "datetimepicker", "initial_date_time": 1_700_000_000}),
        {"type": "actions", "block_id": "ready", "elements": [
            {"type": "static_select", "action_id": "canned", "options": [option("disk")]}, button("fill")]},
    ],
}  # fmt: skip
