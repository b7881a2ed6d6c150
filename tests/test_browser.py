"""The page in a real browser, and the demo's Slack beside it."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from monostat.demo.faults import serve
from monostat.demo.page import Vendors, demo_page
from tests.conftest import SHORT, World
from tests.waiting import eventually

QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield opened
        await opened.close()


async def visit(browser: Browser, url: str, **options: bool) -> tuple[Page, list[str]]:
    """A page, and what its console complains of: errors, and whatever the policy forbids."""
    page = await browser.new_page(java_script_enabled=options.get("script", True))
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    return page, complaints


async def test_an_open_page_shows_the_whole_story_without_a_reload(world: World, browser: Browser) -> None:
    await world.start()
    page, complaints = await visit(browser, world.url)
    await page.evaluate("window.marker = 'the same page'")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example is working")
    world.opsgenie.fire("[prod] db-7 is gone")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example may be having problems")
    await expect(page.locator("main")).to_contain_text("not yet confirmed")
    await expect(page).to_have_title(re.compile("may be having problems"))
    await world.tap("verb:confirm:outage")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example is down")
    await expect(page.locator("#icon")).to_have_attribute("href", re.compile("icon-outage"))
    await expect(page.locator("#say")).to_contain_text("Example is down")
    await eventually(lambda: len(world.rapidmail.mailings) == 1)
    await world.tap("verb:resolve")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example is working")
    await expect(page.locator("main")).to_contain_text("Resolved")
    assert await page.evaluate("window.marker") == "the same page"
    assert "db-7" not in await page.content()
    assert complaints == []


async def test_the_page_says_when_it_is_no_longer_live_and_finds_its_way_back(world: World, browser: Browser) -> None:
    await world.start(timing=replace(SHORT, heartbeat=0.4))
    page, _ = await visit(browser, world.url)
    port = int(world.url.rpartition(":")[2])
    await expect(page.locator("#asof")).to_contain_text("Live")
    await world.stop()
    await expect(page.locator("#stale")).to_contain_text("Not live", timeout=15_000)
    await expect(page).to_have_title(re.compile("not live"))
    world.port = port
    await world.start()
    world.opsgenie.fire("disk full")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example may be having problems", timeout=20_000)
    await expect(page.locator("#stale")).to_be_empty()
    await expect(page).not_to_have_title(re.compile("not live"))


async def test_without_a_script_the_page_is_complete(world: World, browser: Browser) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:partial")
    await world.becomes("confirmed")
    page, complaints = await visit(browser, world.url, script=False)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Part of Example is not working")
    await expect(page.locator("#asof")).to_contain_text(re.compile(r"As of \d+ \w+ \d{4}, \d\d:\d\d UTC"))
    await page.get_by_role("link", name="Problem detected").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Problem detected by our monitoring")
    assert complaints == []


async def test_the_demo_shows_the_whole_chain(world: World, browser: Browser) -> None:
    """A person fires an alert in the demo's Slack, taps once, and finds one mail in the list."""
    await world.start()
    vendors = Vendors(
        slack=world.slack,
        opsgenie=world.opsgenie,
        rapidmail=world.rapidmail,
        slack_url=world.settings["slack"]["url"],
        opsgenie_url=world.settings["opsgenie"]["url"],
        rapidmail_url=world.settings["rapidmail"]["url"],
    )
    async with serve(demo_page(vendors, site=world.url)) as address:
        page, _ = await visit(browser, world.url)
        demo, complaints = await visit(browser, address)
        await eventually(lambda: world.slack.connections)
        await demo.get_by_role("button", name="Fire").first.click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Example may be having problems")
        await demo.get_by_role("button", name="It is real: outage").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Example is down")
        await expect(demo.get_by_role("button", name="Watching")).to_be_visible()
        await eventually(lambda: world.rapidmail.mailings)
        await expect(demo.locator("body")).to_contain_text(world.rapidmail.mailings[0].subject)
        await asyncio.gather(page.close(), demo.close())
    assert len(world.rapidmail.mailings) == 1
    assert complaints == []
