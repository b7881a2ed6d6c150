"""What is answered anew for every request: probes, the webhook, and old addresses."""

import hmac
import re
from collections.abc import Callable

from aiohttp import web

from monostat.core.text import one_line
from monostat.engine import Engine
from monostat.public.answers import merged_path
from monostat.public.headers import OPEN_TO_ALL, PREFLIGHT
from monostat.public.live.entrance import Entrance
from monostat.public.subscribing import Subscribing

#: What is for programs of any origin: their failures are JSON.
FOR_PROGRAMS = re.compile(r"/(api|feed|embed|\.well-known)/.*|/[^/]+\.(atom|rss|ics|json|svg)")


class Endpoints:
    """The live half of the table of routes.

    `checks` has a line for each loop. The webhook is open to those who know `webhook_secret`, and
    calls `poll_now`; without a secret there is none.
    """

    def __init__(
        self,
        engine: Engine,
        entrance: Entrance,
        subscribing: Subscribing,
        checks: Callable[[], list[str]],
        webhook_secret: str,
        poll_now: Callable[[], None],
    ) -> None:
        self.feed = entrance.feed
        self.subscribe = subscribing.post
        self._engine = engine
        self._hub = entrance.hub
        self._checks = checks
        self._webhook_secret = webhook_secret.encode()
        self._poll_now = poll_now

    async def older_feed(self, request: web.Request) -> web.StreamResponse:
        """Redirects from the addresses of older installations."""
        address = f"/history.{request.match_info['kind']}"
        raise web.HTTPMovedPermanently(address, headers=OPEN_TO_ALL)

    async def preflight(self, request: web.Request) -> web.StreamResponse:
        """Lets the scripts of other origins read what is for programs."""
        if not FOR_PROGRAMS.fullmatch(merged_path(request)):
            raise web.HTTPMethodNotAllowed("OPTIONS", ["GET", "HEAD"])
        return web.Response(status=204, headers=PREFLIGHT)

    # https://docs.opsgenie.com/v1.0/docs/webhook-integration
    # Webhooks are not signed, so what they say is not even read.
    async def webhook(self, request: web.Request) -> web.StreamResponse:
        """Has monitoring asked at once; whoever does not know the secret learns nothing."""
        secret = request.match_info["secret"].encode(errors="replace")
        known = self._webhook_secret
        if not known or not hmac.compare_digest(secret, known):
            return web.Response(status=404, text="There is nothing here.\n")
        self._poll_now()
        return web.Response(text="ok\n")

    async def healthz(self, _request: web.Request) -> web.StreamResponse:
        """Whether the store answers and saves, and what is saved is shown; a line a check."""
        saving = self._engine.saving.trouble
        behind = self._engine.watchers.behind
        answers = await self._engine.alive()
        database = "answers" if answers else "does not answer"
        lines = [f"database: {saving or database}"]
        for name, why in behind.items():
            lines.append(f"{name}: behind; retrying every second: {why}")
        lines += self._checks()
        return _health(lines, is_well=answers and not saving and not behind)

    async def readyz(self, _request: web.Request) -> web.StreamResponse:
        """Whether pages are served."""
        is_serving = self._hub.is_showing and not self._hub.closing
        lines = ["pages: served" if is_serving else "pages: not served"]
        if self._engine.saving.trouble:
            lines.append(f"database: {self._engine.saving.trouble}")
        return _health(lines, is_well=is_serving)


def _health(lines: list[str], *, is_well: bool) -> web.Response:
    verdict = "not ok"
    status = 503
    if is_well:
        verdict = "ok"
        status = 200
    text = "\n".join([verdict, *map(one_line, lines)])
    return web.Response(text=f"{text}\n", status=status)
