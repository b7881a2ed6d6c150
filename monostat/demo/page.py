"""The page of `monostat demo`: the simulated channel to tap in, and alerts, mails and bad days to
order.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from monostat.demo.clock import utcnow
from monostat.demo.faults import Faults
from monostat.demo.jsm import SimulatedJsm
from monostat.demo.opsgenie import SimulatedOpsgenie, v2_item
from monostat.demo.rapidmail import SimulatedRapidmail
from monostat.demo.slack import Disconnected, Message, SimulatedSlack, Unacknowledged

HERE = Path(__file__).parent
# Inline styles are for the mails, whose frames inherit this policy; nothing else is asked of any
# other host.
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src data:"
)
LOOK_EVERY = 0.2


@dataclass(frozen=True, kw_only=True)
class Vendors:
    """The three simulated vendors and the base URLs that a config names."""

    slack: SimulatedSlack
    opsgenie: SimulatedOpsgenie
    jsm: SimulatedJsm
    rapidmail: SimulatedRapidmail
    slack_url: str = ""
    opsgenie_url: str = ""
    rapidmail_url: str = ""

    @property
    def faults(self) -> dict[str, Faults]:
        """By the vendor's name, as the page has it."""
        return {
            "Slack": self.slack.faults,
            "OpsGenie": self.opsgenie.faults,
            "Rapidmail": self.rapidmail.faults,
        }

    def have_a_day(self, vendor: str, day: str) -> None:
        """Makes a vendor well, hanging, or failing, from now on."""
        faults = self.faults[vendor]
        faults.release()
        if day == "hangs":
            faults.hang()
        elif day == "503":
            faults.fail_next(503, times=10**9)


def day_of(faults: Faults) -> str:
    """What kind of day a vendor has."""
    if faults.hanging is not None:
        return "hangs"
    if faults.orders:
        return "503"
    return "fine"


def picture(vendors: Vendors, site: str) -> str:
    """Writes all that the page shows, for whoever looks; the browser picks what one person sees of
    it.
    """
    slack = vendors.slack
    channel = slack.channels["C1"]

    def shown(messages: list[Message]) -> list[dict[str, Any]]:
        here = [one for one in messages if one.channel == channel.id and not one.deleted]
        return [one.as_json() | {"reactions": one.reactions} for one in here]

    everything = {
        "site": site,
        "connected": slack.connections > 0,
        "channel": channel.as_json(),
        "users": {name: asdict(user) for name, user in slack.users.items()},
        "messages": shown(slack.messages),
        "ephemerals": shown([*slack.ephemerals]),
        "views": [
            view.as_json() | {"user": view.user, "errors": view.errors}
            for view in slack.views.values()
        ],
        "homes": {user: home.as_json() for user, home in slack.homes.items()},
        "alerts": [v2_item(alert, utcnow()) for alert in vendors.opsgenie.alerts.values()],
        "mails": [asdict(mailing) for mailing in vendors.rapidmail.mailings],
        "recipients": [asdict(recipient) for recipient in vendors.rapidmail.recipients.values()],
        "days": {name: day_of(faults) for name, faults in vendors.faults.items()},
        "violations": slack.violations,
    }
    return json.dumps(everything, default=str)


def verbs_of(vendors: Vendors) -> dict[str, Callable[..., Any]]:
    """What a person can do."""
    slack = vendors.slack
    opsgenie = vendors.opsgenie
    return {
        "press": slack.press,
        "say": slack.say,
        "edit": slack.edit_message,
        "delete": slack.delete_message,
        "slash": slack.slash,
        "shortcut": slack.shortcut,
        "message_shortcut": slack.message_shortcut,
        "open_home": slack.open_home,
        "press_in_view": slack.press_in_view,
        "submit_view": slack.submit_view,
        "close_view": slack.close_view,
        "fire": opsgenie.fire,
        "acknowledge": lambda alert: opsgenie.acknowledge(alert),
        "close": lambda alert: opsgenie.close(alert),
        "confirm": vendors.rapidmail.confirm,
        "day": vendors.have_a_day,
    }


async def warning_of(verb: Callable[..., Any], request: web.Request, patience: float) -> str:
    """Has a person do something; what they are warned of, empty where all went well."""
    try:
        done = verb(**await request.json())
        if hasattr(done, "__await__"):
            await done
    except Disconnected:
        return "Not delivered: monostat is not connected to Slack"
    except Unacknowledged:
        return f"No answer: monostat did not acknowledge within {patience:g} s"
    except LookupError:
        return "This is gone: it changed before you tapped"
    except (TypeError, ValueError) as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return ""


async def file(request: web.Request) -> web.FileResponse:
    """The page itself."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
    return web.FileResponse(HERE / (request.path[1:] or "page.html"), headers=headers)


def demo_page(vendors: Vendors, *, site: str) -> web.Application:
    """Serves the page, its picture on a websocket, and a POST for every verb."""
    verbs = verbs_of(vendors)

    async def carry_out(request: web.Request) -> web.Response:
        # Only a page of this origin can send JSON without asking first, so that no other site
        # presses here.
        verb = verbs.get(request.match_info["verb"])
        if verb is None or request.content_type != "application/json":
            raise web.HTTPNotFound
        warning = await warning_of(verb, request, vendors.slack.patience)
        return web.json_response({"warning": warning})

    async def live(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(heartbeat=10)
        sent = ""
        await ws.prepare(request)
        with suppress(ConnectionError):
            while not ws.closed:
                newest = picture(vendors, site)
                if newest != sent:
                    await ws.send_str(newest)
                    sent = newest
                with suppress(TimeoutError):
                    await ws.receive(timeout=LOOK_EVERY)  # a browser says nothing here but goodbye
        return ws

    app = web.Application()
    for path in ("/", "/page.css", "/page.js", "/blocks.js", "/modal.js"):
        app.router.add_get(path, file)
    app.router.add_get("/live", live)
    app.router.add_post("/{verb}", carry_out)
    return app
