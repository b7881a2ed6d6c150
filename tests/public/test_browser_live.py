"""What an open page does with what the socket tells, on every kind of page."""

import json
import re
from datetime import UTC, datetime

from playwright.async_api import Browser, WebSocketRoute, expect

from tests.public.chrome import visit
from tests.world import World


async def test_a_suspicion_in_an_open_tab_stays_live_when_it_ends_and_when_it_comes_back(
    world: World, browser: Browser
) -> None:
    await world.start()
    alert = world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    page, complaints = await visit(browser, f"{world.url}/incidents/1")
    await expect(page.locator("#live")).to_contain_text("Live")
    world.opsgenie.close(alert)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Ended by itself")
    later, more_complaints = await visit(browser, f"{world.url}/incidents/1")
    for each in (page, later):
        await expect(each.locator("#live")).to_have_class("live on")
    world.opsgenie.fire("disk full")
    for each in (page, later):
        await expect(each.locator("#state")).to_contain_text("not confirmed yet")
        await expect(each.locator("#live")).to_have_class("live on")
    assert complaints + more_complaints == []


async def test_an_incidents_page_believes_only_a_hint_about_the_very_next_version(
    world: World, browser: Browser
) -> None:
    """A hint about another incident spares a request; none, or a gap before it, spares nothing."""
    await world.start()
    first = await world.act("create", title="Checkout is slow")
    second = await world.act("create", title="Search is slow")
    page = await browser.new_page()
    to_leave_out: list[str] = []

    def pass_on(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        def to_page(message: str | bytes) -> None:
            said = json.loads(message)
            changed = said.get("changed") or {}
            if changed.get("kind") not in to_leave_out and said["type"] == "state":
                if changed.get("kind") == "updated":
                    said["changed"] = None
                ws.send(json.dumps(said))

        server.on_message(to_page)

    await page.route_web_socket(re.compile("/feed/page"), pass_on)
    await page.goto(f"{world.url}/incidents/{first}")
    await world.act("update", incident=first, text="Told without a hint.")
    await expect(page.locator("main")).to_contain_text("Told without a hint.")
    to_leave_out.append("watching")
    await world.act("watch", incident=first, text="Told in the gap.")
    await world.act("resolve", incident=second)
    await expect(page.locator("main")).to_contain_text("Told in the gap.")


async def test_every_page_says_that_monitoring_is_silent_and_when_it_answers_again(
    world: World, browser: Browser
) -> None:
    world.settings["opsgenie"]["stale_after"] = 1
    await world.start()
    await world.act("create", title="Checkout is slow")
    paths = ("/incidents/1", "/history", f"/{datetime.now(UTC).date()}")
    pages = [(await visit(browser, world.url + path))[0] for path in paths]
    for page in pages:
        await expect(page.locator("#live")).to_contain_text("monitoring checked")
    world.opsgenie.faults.fail_next(503, times=100_000)
    late, _ = await visit(browser, f"{world.url}/history")
    for page in (*pages, late):
        await expect(page.locator("#live")).to_contain_text("last answered", timeout=15_000)
    later, _ = await visit(browser, f"{world.url}/history")
    await expect(later.locator("#live")).to_contain_text("last answered")
    world.opsgenie.faults.release()
    for page in (*pages, later):
        await expect(page.locator("#live")).to_contain_text("monitoring checked", timeout=15_000)
