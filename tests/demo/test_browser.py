"""The demo's page in a real browser, with an app of a few lines behind it that asks, refuses and listens."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from monostat.demo.faults import serve
from monostat.demo.page import Vendors, demo_page
from monostat.demo.run import demo_vendors
from tests.demo.bolt import FORM, actions, bolt, button, plain
from tests.waiting import eventually

Json = dict[str, Any]
WIDTHS = {"desk": 1280, "phone": 360}


@pytest.fixture
async def vendors() -> AsyncIterator[Vendors]:
    async with demo_vendors() as vendors:
        yield vendors
        assert vendors.slack.violations == []


@pytest.fixture
async def heard(vendors: Vendors) -> AsyncIterator[list[Json]]:
    """What the app behind the page hears; it answers each thing with the least that Slack allows."""
    heard: list[Json] = []
    async with bolt(vendors.slack, vendors.slack_url.removesuffix("/api/")) as app:

        @app.event("app_home_opened")
        async def opened(event: Json, client: Any) -> None:
            blocks = [
                {"type": "header", "text": plain(f"For {event['user']}")},
                *actions(button("plan")),
            ]
            await client.views_publish(
                user_id=event["user"], view={"type": "home", "blocks": blocks}
            )

        @app.event("app_mention")
        @app.event("message")
        async def event(event: Json) -> None:
            heard.append(event)

        @app.shortcut("new_incident")
        @app.shortcut("to_update")
        @app.action("plan")
        async def ask(ack: Any, client: Any, body: Json) -> None:
            heard.append(body)
            await ack()
            await client.views_open(trigger_id=body["trigger_id"], view=FORM)

        @app.action("canned")
        async def fill(ack: Any, client: Any, body: Json) -> None:
            await ack()
            more = {
                "type": "plain_text_input",
                "action_id": "canned",
                "multiline": True,
                "initial_value": "The disk.",
            }
            form: list[Json] = FORM["blocks"]
            blocks = [
                block | {"element": more} if block["block_id"] == "more" else block
                for block in form
            ]
            await client.views_update(view_id=body["view"]["id"], view=FORM | {"blocks": blocks})

        @app.view("update")
        async def submitted(ack: Any, body: Json) -> None:
            heard.append(body)
            wrong = body["view"]["state"]["values"]["title"]["v"]["value"] == "Wrong"
            await ack(
                **{"response_action": "errors", "errors": {"title": "Not this"}} if wrong else {}
            )

        @app.view_closed("update")
        async def closed(ack: Any, body: Json) -> None:
            heard.append(body)
            await ack()

        @app.command("/statuspage")
        async def command(ack: Any, body: Json) -> None:
            await ack(text=f"You asked {body['text']!r} in <#C1>")

        await app.client.chat_postMessage(channel="C1", text="Is it real?")
        yield heard


@pytest.fixture(params=WIDTHS)
async def page(
    request: pytest.FixtureRequest, browser: Browser, vendors: Vendors
) -> AsyncIterator[Page]:
    complaints: list[str] = []
    async with serve(demo_page(vendors, site="http://127.0.0.1:1")) as address:
        page = await browser.new_page(viewport={"width": WIDTHS[request.param], "height": 740})
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(address)
        yield page
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            "it scrolls sideways"
        )
        await page.close()
    assert complaints == []


async def send(page: Page, label: str, text: str) -> None:
    box = page.get_by_label(label, exact=True)
    await box.fill(text)
    await box.press("Enter")


async def test_a_form_is_filled_in_refused_with_words_and_sent(
    page: Page, heard: list[Json], vendors: Vendors
) -> None:
    modal = page.get_by_role("dialog")
    await page.get_by_label("Shortcuts").click()
    await page.get_by_role("button", name="New incident").click()
    await expect(modal.get_by_label("title")).to_be_focused()
    await modal.get_by_label("title").fill("Wrong")
    await modal.get_by_label("severity").select_option("outage")
    await modal.get_by_label("No").check()
    await modal.get_by_label("Late").check()
    await modal.get_by_label("start").fill("2026-01-02T03:04")
    await modal.get_by_label("Choose…").select_option("disk")
    await expect(modal.get_by_label("more")).to_have_value("The disk.")
    await modal.get_by_role("button", name="Send").click()
    await expect(modal.get_by_role("alert").filter(has_text="Not this")).to_be_visible()
    await expect(modal.get_by_label("title")).to_be_focused()
    await modal.get_by_label("title").fill("Right")
    await modal.get_by_role("button", name="Send").click()
    await expect(modal).to_be_hidden()
    state = {
        block: next(iter(fields.values()))
        for block, fields in heard[-1]["view"]["state"]["values"].items()
    }
    start = await page.evaluate("new Date('2026-01-02T03:04') / 1000")
    assert state["title"]["value"] == "Right"
    assert state["more"]["value"] == "The disk."
    assert state["severity"]["selected_option"]["value"] == "outage"
    assert state["mail"]["selected_option"]["value"] == "no"
    assert [each["value"] for each in state["flags"]["selected_options"]] == ["late"]
    assert state["start"]["selected_date_time"] == start
    assert vendors.slack.views == {}


async def test_a_form_is_left_by_cancel_and_by_escape(
    page: Page, heard: list[Json], vendors: Vendors
) -> None:
    for way in ("Cancel", "Escape"):
        await page.get_by_label("Shortcuts").click()
        await page.get_by_role("button", name="New incident").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await (
            page.keyboard.press(way)
            if way == "Escape"
            else page.get_by_role("button", name=way).click()
        )
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await eventually(lambda: heard[-1]["type"] == "view_closed")
    assert vendors.slack.views == {}


async def test_a_mention_in_a_thread_is_sent_and_edited(
    page: Page, heard: list[Json], vendors: Vendors
) -> None:
    await page.get_by_label("Bob").check()
    await page.get_by_role("button", name="Reply", exact=True).click()
    await send(
        page,
        "Reply; @Status publishes",
        "@Status it is <the> disk, @Ada\nSee https://example.org/?a=1&b=2.",
    )
    said = page.locator(".message").filter(has_text="it is <the> disk")
    await expect(said.locator(".mention")).to_have_text(["@Status", "@Ada"])
    await said.get_by_label("More actions").click()
    await said.get_by_role("button", name="Edit message").click()
    written = "@Status it is <the> disk, @Ada\nSee https://example.org/?a=1&b=2."
    await expect(page.get_by_label("Edit message")).to_have_value(written)
    await send(page, "Edit message", "@Status it is the network")
    await expect(page.locator(".message").filter(has_text="it is the network")).to_contain_text(
        "(edited)"
    )
    await eventually(lambda: len(heard) == 3)
    root = vendors.slack.timeline()[0].ts
    assert sorted(event["type"] for event in heard[:2]) == ["app_mention", "message"]
    assert {(event["user"], event["thread_ts"]) for event in heard[:2]} == {("U_BOB", root)}
    delivered = "<@UBOT> it is &lt;the&gt; disk, <@U_ADA>\nSee <https://example.org/?a=1&amp;b=2>."
    assert heard[0]["text"] == delivered
    assert heard[2]["message"]["text"] == "<@UBOT> it is the network"


async def test_a_command_is_answered_in_private(page: Page, heard: list[Json]) -> None:
    await send(page, "Message", "/statuspage Checkout is slow")
    private = page.locator(".mine")
    await expect(private).to_contain_text("You asked 'Checkout is slow' in #status-ops")
    await page.get_by_label("Bob").check()
    await expect(private).to_be_hidden()
    await page.get_by_role("button", name="Reply", exact=True).click()
    await send(page, "Reply; @Status publishes", "/statuspage")
    await expect(
        page.get_by_role("alert").filter(has_text="no commands in threads")
    ).to_be_visible()


async def test_a_message_of_anybody_is_taken_as_a_shortcut(
    page: Page, heard: list[Json], vendors: Vendors
) -> None:
    await send(page, "Message", "the disk is full")
    said = page.locator(".message").filter(has_text="the disk is full")
    await page.get_by_label("Bob").check()
    await said.get_by_label("More actions").click()
    await expect(said.get_by_role("button", name="Edit message")).to_have_count(0)
    await said.get_by_role("button", name="Publish to status page").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert (heard[-1]["type"], heard[-1]["message"]["text"]) == (
        "message_action",
        "the disk is full",
    )
    assert (heard[-1]["user"]["id"], heard[-1]["message"]["user"]) == ("U_BOB", "U_ADA")


async def test_each_person_has_a_home_tab_of_their_own(page: Page, heard: list[Json]) -> None:
    await page.get_by_role("button", name="Home").click()
    home = page.get_by_label("Home tab of the app")
    await expect(home).to_contain_text("For U_ADA")
    await page.get_by_label("Gus").check()
    await expect(home).to_contain_text("For U_GUS")
    await home.get_by_role("button", name="plan").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert (heard[-1]["user"]["id"], heard[-1]["container"]["type"]) == ("U_GUS", "view")
