"""Socket Mode: the connection over which Slack says what people do.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import importlib
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp

from monostat.slack.client import SlackClient, undelivered
from monostat.slack.listeners import Listeners
from monostat.slack.messages import ACTION
from monostat.slack.staff import Staff
from monostat.vendor import Condition, Undelivered, nap, side_by_side, unsupervised

# slack_bolt is imported where it is first needed: it takes most of a second.
PATIENCE = 1.0  # at shutdown, once for clicks that are being obeyed and once for Slack's goodbye
FIRST_WAIT = 0.5  # seconds before the second try of what has to be done
LONGEST_WAIT = 30.0
log = logging.getLogger(__name__)
ANYTHING = re.compile(".*")
SHARED = (
    "Slack: %d connections of this app are open, and each tap reaches only one of them: if another"
    " monostat runs with this app token, stop it, or give it an app of its own"
)


@dataclass(kw_only=True)
class SocketMode:
    """Brings what people do to the listeners; `connected` says whether clicks reach us."""

    client: SlackClient
    staff: Staff
    listeners: Listeners
    connected: bool = False
    has_warned: bool = False
    condition: Condition = field(default_factory=lambda: Condition("Slack's socket"))

    def status(self) -> str:
        """A word for the operator."""
        if self.connected:
            return "connected"
        return "not connected"

    async def run(self) -> None:
        """Listens, for ever.

        1. Bolt is imported, outside of the event loop.
        2. It is learned who we are: without that nobody can be checked.
        3. The list of staff is kept fresh while the socket is listened to.
        """
        bolt = "slack_bolt.adapter.socket_mode.async_handler"
        await asyncio.to_thread(importlib.import_module, bolt)
        await repeat("Slack", self.client.identify)
        refresh = self.client.timing.staff_refresh
        await side_by_side(
            partial(repeat, "the list of staff", self.staff.refresh, every=refresh),
            partial(self._listen, self._bolt_app()),
        )

    def _bolt_app(self) -> Any:
        """Bolt's application, with a listener for whatever Slack may send."""
        from slack_bolt.async_app import AsyncApp
        from slack_bolt.authorization import AuthorizeResult
        from slack_bolt.response import BoltResponse

        # Without this bolt would ask Slack who we are before its first ack.
        async def authorize() -> AuthorizeResult:
            return AuthorizeResult(
                enterprise_id=None,
                team_id=self.client.team,
                bot_id=self.client.bot,
                bot_user_id=self.client.bot_user,
                bot_token=self.client.web.token,
            )

        quiet = logging.getLogger(f"{__name__}.bolt")
        quiet.setLevel(logging.ERROR)  # it warns that `authorize` wins over the token: it should
        app = AsyncApp(client=self.client.web, authorize=authorize, logger=quiet)

        # An event without an inner event, which no listener gets.
        async def on_rate_limited(body: dict[str, Any], next_: Callable[[], Awaitable[Any]]) -> Any:
            if body.get("type") != "app_rate_limited":
                return await next_()
            log.warning("Slack has left out events: there were too many; check what is missing")
            return BoltResponse(status=200)

        listeners = self.listeners
        app.middleware(on_rate_limited)
        app.action(re.compile(f"{ACTION}.*"))(listeners.on_button)
        app.view(ANYTHING)(listeners.on_view_submission)
        app.command(self.client.settings.command)(listeners.on_slash_command)
        app.shortcut("new_incident")(listeners.on_global_shortcut)
        app.shortcut("to_update")(listeners.on_message_shortcut)
        app.event("app_mention")(listeners.on_mention)
        app.event("message")(listeners.on_message)
        app.event("app_home_opened")(listeners.on_home_opened)
        for listen in (app.action, app.event, app.shortcut, app.command, app.view, app.view_closed):
            listen(ANYTHING)(listeners.on_anything_else)
        return app

    # Of the SDK: connecting never ends while Slack is dead, nor does it
    # drop a dead URL.
    async def _listen(self, app: Any) -> None:
        """Connects, and again with a new client whenever one stays deaf."""
        from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler

        # The library would trace every failed try.
        silent = logging.Logger(f"{__name__}.socket", logging.ERROR)
        silent.addFilter(self._overhear)
        token = self.client.settings.app_token.get_secret_value()
        ping = self.client.timing.slack_ping
        while True:
            # What taps ask of Slack must not hide that the watch hangs.
            with unsupervised():
                handler: Any = AsyncSocketModeHandler(app, token, logger=silent, ping_interval=ping)
                handler.client.message_listeners.append(self._on_hello)
                connecting = asyncio.create_task(handler.connect_async())
            try:
                await self._watch(handler.client)
            finally:
                self.connected = False
                await self._hang_up(handler, connecting)

    # Each click goes to one of the connections, nobody knows which.
    async def _on_hello(self, _client: Any, message: dict[str, Any], _raw: str) -> None:
        """Warns, once, of another program that takes some of the clicks."""
        if message.get("type") != "hello":
            return
        number = message.get("num_connections")
        is_shared = isinstance(number, int) and number > 1
        if is_shared and not self.has_warned:
            log.warning(SHARED, number)
            self.has_warned = True

    def _overhear(self, record: logging.LogRecord) -> bool:
        """Tells in one line, and once, what the library would log.

        Its own words contain the secret address.
        """
        error = record.exc_info and record.exc_info[1]
        if error:
            self.condition.tell(undelivered("our connection", error).reason)
        return False

    async def _watch(self, client: Any) -> None:
        """Returns when the client has been deaf for so long that a new one should try."""
        clock = asyncio.get_running_loop().time
        stale = self.client.timing.slack_stale_url
        connected_at = clock()
        while clock() - connected_at < 5 * stale:
            self.connected = await client.is_connected()
            if self.connected:
                connected_at = clock()
                self.condition.tell("")
            elif clock() - connected_at > stale:
                client.wss_uri = None
            await nap(min(1.0, stale / 4))

    # Of the SDK: the order matters, and `close_async` only asks its tasks to end.
    async def _hang_up(self, handler: Any, connecting: asyncio.Task[None]) -> None:
        """Ends a connection.

        1. It no longer tries to connect.
        2. What people did is finished, for as long as patience lasts.
        3. Slack is told goodbye.
        4. The tasks that are left are cancelled, and the library's HTTP session is closed.
        """
        connecting.cancel()
        await asyncio.wait([connecting])
        if self.listeners.tasks:
            await asyncio.wait(self.listeners.tasks, timeout=PATIENCE)
        with suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
            await asyncio.wait_for(handler.close_async(), PATIENCE)
        client = handler.client
        of_client = (
            client.message_processor,
            client.current_session_monitor,
            client.message_receiver,
        )
        tasks = [task for task in (*of_client, *self.listeners.tasks) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aiohttp_client_session.close()


async def repeat(
    what: str, work: Callable[[], Awaitable[None]], *, every: float | None = None
) -> None:
    """Does it until it succeeds once, or for ever, with so many seconds between two successes.

    A trouble is told when it comes and when it goes.
    """
    condition = Condition(what)
    wait = FIRST_WAIT
    while True:
        try:
            await work()
        except Undelivered as failure:
            condition.tell(failure.reason)
            await nap(failure.retry_after or wait)
            wait = min(2 * wait, every or LONGEST_WAIT, LONGEST_WAIT)
        else:
            condition.tell("")
            if every is None:
                return
            wait = FIRST_WAIT
            await nap(every)
