"""The demo's page over real sockets: what a person does there reaches the vendors, and is seen by who looks."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from monostat.config import Config
from monostat.demo.faults import serve
from monostat.demo.page import Vendors, demo_page
from monostat.demo.run import demo_config, demo_vendors
from monostat.ops.online import look
from tests.demo.bolt import FORM, bolt

BUTTON = {
    "type": "button",
    "action_id": "confirm",
    "text": {"type": "plain_text", "text": "It is real"},
}
ASKING = {
    "channel": "C1",
    "text": "A problem?",
    "blocks": [{"type": "actions", "elements": [BUTTON]}],
}


@pytest.fixture
async def vendors() -> AsyncIterator[Vendors]:
    async with demo_vendors() as vendors:
        yield vendors


@pytest.fixture
async def page(vendors: Vendors) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serve(demo_page(vendors, site="http://127.0.0.1:1")) as url,
        aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(5)) as http,
    ):
        yield http


async def ask(page: aiohttp.ClientSession, vendors: Vendors, method: str, **args: Any) -> Any:
    auth = {"Authorization": f"Bearer {vendors.slack.bot_token}"}
    async with page.post(f"{vendors.slack_url}{method}", json=args, headers=auth) as response:
        return await response.json()


async def do(page: aiohttp.ClientSession, verb: str, **body: Any) -> Any:
    async with page.post(f"/{verb}", json=body) as response:
        assert response.status == 200, await response.text()
        return (await response.json())["warning"]


async def see(live: aiohttp.ClientWebSocketResponse, wanted: Callable[[Any], object]) -> Any:
    while not wanted(picture := json.loads((await live.receive(timeout=30)).data)):
        pass
    return picture


async def test_a_tap_that_reaches_nobody_is_told_with_words(
    page: aiohttp.ClientSession, vendors: Vendors
) -> None:
    posted = await ask(page, vendors, "chat.postMessage", **ASKING)
    warning = await do(page, "press", user="U_GUS", ts=posted["ts"], action_id="confirm")
    assert warning == "Not delivered: monostat is not connected to Slack"
    assert "gone" in await do(page, "press", user="U_GUS", ts=posted["ts"], action_id="dismiss")


async def test_a_tap_acts_as_the_chosen_person_and_waits_for_the_ack(
    page: aiohttp.ClientSession, vendors: Vendors
) -> None:
    vendors.slack.patience = 0.2
    posted = await ask(page, vendors, "chat.postMessage", **ASKING)
    app_token = {"Authorization": f"Bearer {vendors.slack.app_token}"}
    async with page.post(
        f"{vendors.slack_url}apps.connections.open", headers=app_token
    ) as response:
        address = (await response.json())["url"]
    async with page.ws_connect(address) as line:
        assert (await line.receive_json(timeout=30))["type"] == "hello"
        warning = await do(page, "press", user="U_GUS", ts=posted["ts"], action_id="confirm")
        payload = (await line.receive_json(timeout=30))["payload"]
    assert warning == "No answer: monostat did not acknowledge within 0.2 s"
    assert (payload["user"]["id"], payload["actions"][0]["action_id"]) == ("U_GUS", "confirm")


async def test_the_picture_follows_what_is_posted_said_and_whispered(
    page: aiohttp.ClientSession, vendors: Vendors
) -> None:
    async with page.ws_connect("/live") as live:
        await see(live, lambda picture: picture["messages"] == [] and not picture["connected"])
        posted = await ask(page, vendors, "chat.postMessage", **ASKING)
        shown = await see(live, lambda picture: picture["messages"])
        assert shown["messages"][0]["blocks"][0]["elements"][0]["action_id"] == "confirm"
        await do(page, "say", user="U_ADA", text="a &lt; b", thread_ts=posted["ts"])
        await ask(
            page, vendors, "chat.postEphemeral", channel="C1", user="U_EVE", text="You may not."
        )
        shown = await see(live, lambda picture: picture["ephemerals"])
        assert (shown["messages"][1]["text"], shown["messages"][1]["thread_ts"]) == (
            "a &lt; b",
            posted["ts"],
        )
        assert (shown["ephemerals"][0]["user"], shown["ephemerals"][0]["text"]) == (
            "U_EVE",
            "You may not.",
        )


async def test_a_modal_and_a_home_tab_are_shown_to_the_page_and_used_from_it(
    page: aiohttp.ClientSession, vendors: Vendors
) -> None:
    async with (
        page.ws_connect("/live") as live,
        bolt(vendors.slack, vendors.slack_url.removesuffix("/api/")) as app,
    ):

        @app.event("app_home_opened")
        async def opened(event: Any, client: Any) -> None:
            await client.views_publish(
                user_id=event["user"], view={"type": "home", "blocks": ASKING["blocks"]}
            )

        @app.shortcut("new_incident")
        @app.action("confirm")
        async def ask_more(ack: Any, client: Any, body: Any) -> None:
            await ack()
            await client.views_open(trigger_id=body["trigger_id"], view=FORM)

        @app.view("update")
        async def submitted(ack: Any) -> None:
            await ack(response_action="errors", errors={"title": "Say more"})

        @app.view_closed("update")
        async def closed(ack: Any) -> None:
            await ack()

        assert await do(page, "open_home", user="U_ADA") == ""
        home = (await see(live, lambda picture: picture["homes"]))["homes"]["U_ADA"]
        assert (
            await do(page, "press_in_view", user="U_ADA", view_id=home["id"], action_id="confirm")
            == ""
        )
        (view,) = (await see(live, lambda picture: picture["views"]))["views"]
        assert (view["user"], view["errors"]) == ("U_ADA", {})
        refused = await page.post(
            "/submit_view", json={"user": "U_ADA", "view_id": view["id"], "values": {}}
        )
        assert (refused.status, await refused.text()) == (
            400,
            "the form does not submit while title is empty",
        )
        await do(page, "submit_view", user="U_ADA", view_id=view["id"], values={"title": "Down"})
        shown = await see(live, lambda picture: picture["views"] and picture["views"][0]["errors"])
        assert shown["views"][0]["errors"] == {"title": "Say more"}
        assert shown["views"][0]["state"]["values"]["title"]["v"]["value"] == "Down"
        await do(page, "close_view", user="U_ADA", view_id=view["id"])
        await see(live, lambda picture: picture["views"] == [])
        assert "gone" in await do(page, "close_view", user="U_ADA", view_id=view["id"])
    assert vendors.slack.violations == []


async def test_alerts_are_fired_acknowledged_and_closed(
    page: aiohttp.ClientSession, vendors: Vendors
) -> None:
    async with page.ws_connect("/live") as live:
        for _ in range(2):
            await do(page, "fire", message="Checkout answers 500", alias="checkout", priority="P2")
        alert = (
            await see(
                live, lambda picture: picture["alerts"] and picture["alerts"][0]["count"] == 2
            )
        )["alerts"][0]
        assert (alert["message"], alert["priority"], alert["status"]) == (
            "Checkout answers 500",
            "P2",
            "open",
        )
        await do(page, "acknowledge", alert=alert["id"])
        await see(live, lambda picture: picture["alerts"][0]["acknowledged"])
        await do(page, "close", alert=alert["id"])
        await see(live, lambda picture: picture["alerts"][0]["status"] == "closed")
        assert "gone" in await do(page, "close", alert="unknown")


async def test_mails_and_subscribers_are_shown(
    page: aiohttp.ClientSession, vendors: Vendors
) -> None:
    mail = vendors.rapidmail
    auth = aiohttp.encode_basic_auth(mail.username, mail.password)
    body = {"recipientlist_id": mail.recipientlist_id, "email": "ada@example.org"}
    url, flags = f"{vendors.rapidmail_url}/recipients", {"send_activationmail": "yes"}
    async with (
        page.post(url, params=flags, json=body, headers={"Authorization": auth}) as response,
        page.ws_connect("/live") as live,
    ):
        assert response.status == 201
        await see(
            live,
            lambda picture: picture["recipients"][0]["status"] == "new" and picture["mails"] == [],
        )
        await do(page, "confirm", address="ada@example.org")
        await see(live, lambda picture: picture["recipients"][0]["status"] == "active")


@pytest.mark.parametrize("vendor", ["Slack", "OpsGenie", "Rapidmail"])
async def test_a_bad_day_lasts_until_it_is_ended(
    page: aiohttp.ClientSession, vendors: Vendors, vendor: str
) -> None:
    urls = {
        "Slack": vendors.slack_url,
        "OpsGenie": vendors.opsgenie_url,
        "Rapidmail": vendors.rapidmail_url,
    }
    async with page.ws_connect("/live") as live:
        await do(page, "day", vendor=vendor, day="503")
        await see(live, lambda picture: picture["days"][vendor] == "503")
        for _ in range(3):
            assert (await page.get(urls[vendor])).status == 503
        await do(page, "day", vendor=vendor, day="hangs")
        await see(live, lambda picture: picture["days"][vendor] == "hangs")
        with pytest.raises(TimeoutError):
            await page.get(urls[vendor], timeout=aiohttp.ClientTimeout(0.2))
        await do(page, "day", vendor=vendor, day="fine")
        await see(live, lambda picture: picture["days"][vendor] == "fine")
        assert (await page.get(urls[vendor])).status in (401, 403, 404)


async def test_the_page_asks_nothing_of_any_other_host(page: aiohttp.ClientSession) -> None:
    for path in ("/", "/page.css", "/page.js", "/blocks.js", "/modal.js"):
        async with page.get(path) as response:
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert "://" not in (await response.text()).replace(
                "ws://${location.host}", ""
            ).replace("https://docs.slack.dev", "")


@pytest.mark.parametrize(
    ("verb", "body", "status"), [("nonsense", {}, 404), ("press", {"user": "U_ADA"}, 400)]
)
async def test_what_is_no_deed_is_refused(
    page: aiohttp.ClientSession, verb: str, body: dict[str, str], status: int
) -> None:
    assert (await page.post(f"/{verb}", json=body)).status == status


async def test_another_site_cannot_press(page: aiohttp.ClientSession, vendors: Vendors) -> None:
    assert (
        await page.post("/fire", data=b'{"message": "Boo"}', headers={"Content-Type": "text/plain"})
    ).status == 404
    assert not vendors.opsgenie.alerts


@pytest.mark.parametrize("alerts", ["opsgenie", "jsm"])
async def test_the_demo_config_works_with_every_vendor(
    vendors: Vendors, tmp_path: Path, alerts: str
) -> None:
    asked = demo_config(vendors, port=8080, database=tmp_path / "monostat.db", alerts=alerts)
    assert [finding.code for finding in await look(Config.model_validate(asked))] == [0, 0, 0]
