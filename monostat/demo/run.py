"""`monostat demo`: the daemon, three simulated vendors and the page to play with them, in one
process.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monostat.config import Config
from monostat.demo.clock import utcnow
from monostat.demo.faults import serve
from monostat.demo.jsm import SimulatedJsm
from monostat.demo.opsgenie import SimulatedOpsgenie
from monostat.demo.page import Vendors, demo_page
from monostat.demo.rapidmail import SimulatedRapidmail
from monostat.demo.slack import SimulatedSlack

HINTS = """\
Status page   {site}
Demo          {page}

Open both side by side, then
  - fire an alert: the status page suspects a problem, and #status-ops asks whether it is real
  - tap "It is real": the page says so at once, and a mail leaves ten seconds later \
unless you tap Undo
  - reply "@Status we found the broken disk" in its thread, publish a message with its ⋯ menu, \
open Home,
    try ⚡ or type "/statuspage Checkout is slow"
  - become Gus, a guest, and try the same
  - give a vendor a bad day and see that the page stays up

Ctrl-C ends the demo and leaves nothing behind.
"""


@asynccontextmanager
async def demo_vendors(*, now: Callable[[], datetime] = utcnow) -> AsyncIterator[Vendors]:
    """Runs the three vendors on free loopback ports."""
    slack = SimulatedSlack(now=now)
    opsgenie = SimulatedOpsgenie(now=now)
    rapidmail = SimulatedRapidmail(now=now)
    jsm = SimulatedJsm(opsgenie)
    async with serve(slack.app) as talk, serve(opsgenie.app) as watch, serve(rapidmail.app) as mail:
        yield Vendors(
            slack=slack,
            opsgenie=opsgenie,
            jsm=jsm,
            rapidmail=rapidmail,
            slack_url=f"{talk}/api/",
            opsgenie_url=watch,
            rapidmail_url=f"{mail}/v1",
        )


def demo_config(
    vendors: Vendors, *, port: int, database: Path, alerts: str = "opsgenie"
) -> dict[str, Any]:
    """Settings like those of the TOML, for the simulated vendors, that do not keep one waiting."""
    slack = vendors.slack
    rapidmail = vendors.rapidmail
    credentials = vendors.opsgenie.credentials
    if alerts == "jsm":
        credentials = vendors.jsm.credentials
    return {
        "site": {"name": "Example", "url": f"http://127.0.0.1:{port}"},
        "server": {"listen": [f"127.0.0.1:{port}"]},
        "database": {"path": database},
        "opsgenie": {
            "url": vendors.opsgenie_url,
            **credentials,
            "poll_interval": 1,
            "stale_after": 10,
        },
        "slack": {
            "url": vendors.slack_url,
            "bot_token": slack.bot_token,
            "app_token": slack.app_token,
            "channel": "C1",
            "texts": {
                "We are looking": "We see the problem and are looking for its cause.",
                "It is a supplier": (
                    "The cause lies with a supplier of ours. They are working on it."
                ),
            },
        },
        "rapidmail": {
            "url": vendors.rapidmail_url,
            "username": rapidmail.username,
            "password": rapidmail.password,
            "recipientlist_id": rapidmail.recipientlist_id,
            "from_email": rapidmail.from_email,
            "from_name": "Example",
            "undo_window": 10,
        },
    }


async def run_demo(port: int, *, alerts: str, stop: asyncio.Event) -> None:
    """Serves the status page on `port` and the demo page on the next one, until `stop` is set."""
    # Here, because the vendors are used without a daemon, too.
    from monostat.app import serve as serve_daemon

    site = f"http://127.0.0.1:{port}"
    with TemporaryDirectory(prefix="monostat-demo-") as folder:
        async with (
            demo_vendors() as vendors,
            serve(demo_page(vendors, site=site), port=port + 1) as page,
        ):
            database = Path(folder, "monostat.db")
            config = Config.model_validate(
                demo_config(vendors, port=port, database=database, alerts=alerts)
            )
            print(HINTS.format(site=site, page=page), flush=True)  # noqa: T201 - a command prints
            await serve_daemon(config, stop=stop)
