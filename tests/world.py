"""The world that tests run monostat in: the app that ships, on real sockets, among the simulated vendors."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import ClientSession, ClientTimeout, UnixConnector, web

from monostat.app import make_app, utcnow
from monostat.config import Config, Timing
from monostat.demo.faults import serve
from monostat.demo.jsm import SimulatedJsm
from monostat.demo.opsgenie import SimulatedOpsgenie
from monostat.demo.rapidmail import SimulatedRapidmail
from monostat.demo.slack import Message, SimulatedSlack
from monostat.public.live.fastpath import Runner
from tests.waiting import eventually

SHORT = Timing(
    heartbeat=1.0,
    viewer_patience=2.0,
    vendor_timeout=3.0,
    first_wait=0.1,
    slack_ping=1.0,
    slack_stale_url=2.0,
    staff_refresh=1.0,
    just_now=0.0,
    look_again=0.1,
    follow=0.1,
    deleted_after=0.3,
    index_lag=0.3,
    nudge_gap=0.05,
)


async def broken(_request: web.Request) -> web.Response:
    raise RuntimeError("a bug")


class World:
    """The vendors, and monostat among them; `settings` may be changed before `start`."""

    def __init__(self, folder: Path) -> None:
        self.slack, self.opsgenie, self.rapidmail = (
            SimulatedSlack(),
            SimulatedOpsgenie(),
            SimulatedRapidmail(),
        )
        self.slack.patience = 30.0  # Slack's three seconds say nothing on a machine that is busy
        self.jsm = SimulatedJsm(self.opsgenie)
        self.folder = folder
        self.settings: dict[str, Any] = {}
        self.url = ""
        self.port = 0
        self.http: ClientSession
        self.app: web.Application
        self._stack = AsyncExitStack()
        self._runner: Runner | None = None

    async def open(self) -> None:
        slack = await self._stack.enter_async_context(serve(self.slack.app))
        opsgenie = await self._stack.enter_async_context(serve(self.opsgenie.app))
        rapidmail = await self._stack.enter_async_context(serve(self.rapidmail.app))
        self.http = await self._stack.enter_async_context(
            ClientSession(timeout=ClientTimeout(total=10))
        )
        self.settings = {
            "site": {
                "name": "Example",
                "url": "http://127.0.0.1",
                "support_email": "help@example.com",
            },
            "database": {"path": self.folder / "monostat.db"},
            "opsgenie": {
                "url": opsgenie,
                "api_key": self.opsgenie.api_key,
                "poll_interval": 0.2,
                "stale_after": 30,
            },
            "slack": {
                "url": f"{slack}/api/",
                "bot_token": self.slack.bot_token,
                "app_token": self.slack.app_token,
                "channel": "C1",
            },
            "rapidmail": {
                "url": f"{rapidmail}/v1",
                "username": self.rapidmail.username,
                "password": self.rapidmail.password,
                "recipientlist_id": self.rapidmail.recipientlist_id,
                "from_name": "Example Status",
                "from_email": self.rapidmail.from_email,
                "undo_window": 0.3,
            },
        }

    def monitor(self, api: str, **more: Any) -> None:
        """Listens to the alerts by the API of this product."""
        self.settings["opsgenie"] |= (
            self.jsm if api == "jsm" else self.opsgenie
        ).credentials | more

    async def start(
        self,
        *,
        timing: Timing = SHORT,
        rng: Random | None = None,
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        self.app = app = make_app(
            Config.model_validate(self.settings), timing=timing, rng=rng or Random(1), now=now
        )
        for path in ("/broken", "/broken.json"):
            app.router.add_get(path, broken)
        self.rapidmail.forget_pace()
        self._runner = Runner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def runner(self) -> Runner:
        assert self._runner
        return self._runner

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def close(self) -> None:
        for vendor in (self.slack, self.opsgenie, self.rapidmail):
            vendor.faults.release()
        await self.stop()
        await self._stack.aclose()

    async def page(self, path: str = "/") -> str:
        async with self.http.get(self.url + path) as answer:
            return await answer.text()

    async def state(self) -> dict[str, Any]:
        async with self.http.get(f"{self.url}/feed/v1/state.json") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def incident(self, number: int = 1) -> dict[str, Any]:
        """As the feed has it, or nothing."""
        state = await self.state()
        both = [*state["open"], *state["planned"], *state["recent"]]
        return next((i for i in both if i["id"] == str(number)), {})

    async def message(self, action: str = "") -> Message:
        """The newest message of the channel, once it has a button of this name."""

        def shown() -> Message | None:
            found = self.slack.timeline()
            return found[-1] if found and action in str(found[-1].blocks) else None

        return await eventually(shown)

    async def tap(self, action: str, *, who: str = "U_ADA") -> None:
        """One tap on the button of the newest message in the channel, as soon as it is there."""
        await eventually(lambda: self.slack.connections)
        await self.slack.press(who, (await self.message(action)).ts, action)

    async def act(self, verb: str, **more: Any) -> int:
        """What staff do without Slack, through the control socket; answers the incident's number."""
        path = str(self.folder / "monostat.sock")
        asked = {"verb": verb, "by": "Ada"} | {
            k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in more.items()
        }
        async with (
            ClientSession(connector=UnixConnector(path)) as shell,
            shell.post("http://x/act", json=asked) as answer,
        ):
            said = await answer.json()
            assert not said["refused"], said
            return int(said["number"])

    async def becomes(self, state: str, number: int = 1) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            incident = await self.incident(number)
            return incident if incident.get("state") == state else None

        return await eventually(there)

    async def in_file(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        """Executes it beside monostat, as another program would: the loop goes on meanwhile, for locks to end."""

        def execute() -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(self.folder / "monostat.db", timeout=20)) as other, other:
                return other.execute(sql, args).fetchall()

        return await asyncio.to_thread(execute)

    def thread(self) -> list[str]:
        newest = self.slack.timeline()[-1:]
        return [m.text for m in self.slack.thread(newest[0].ts)] if newest else []
