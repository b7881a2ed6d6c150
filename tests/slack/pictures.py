"""Pictures of what staff see in Slack, drawn by the page of `monostat demo`: for `make screenshots`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import Browser, Page, expect

from monostat.demo.faults import serve
from monostat.demo.page import Vendors, demo_page
from tests.slack.flows import ME, started
from tests.waiting import eventually
from tests.world import World

#: Each picture, with what looking at it found, and what was mended.
PICTURES = {
    "slack-suspicion": "Nothing.",
    "slack-window": "Nothing.",
    "slack-thread": "The mention that gave the title had no mark; it has.",
    "slack-reminder": "The ping in the channel did not say which incident; it has its number.",
    "slack-home": "An outage stood below a later notice; the headline's order decides.",
    "slack-refusal": "Nothing.",
}


@asynccontextmanager
async def channel(
    browser: Browser, *, undo_window: float, update_every: float, remind_after: list[float]
) -> AsyncIterator[tuple[World, Page]]:
    """A world that has just begun, and the page that shows its channel."""
    with TemporaryDirectory() as place:
        world = World(Path(place))
        await world.open()
        world.settings["site"] |= {
            "name": "Northwind",
            "url": "https://status.northwind.example",
            "timezone": "Europe/Berlin",
            "update_every": update_every,
        }
        world.settings["rapidmail"]["undo_window"] = undo_window
        world.settings["slack"]["remind_after"] = remind_after
        vendors = Vendors(
            slack=world.slack, opsgenie=world.opsgenie, jsm=world.jsm, rapidmail=world.rapidmail
        )
        async with serve(demo_page(vendors, site=world.url)) as address:
            page = await browser.new_page(
                viewport={"width": 760, "height": 1000},
                timezone_id="Europe/Berlin",
                reduced_motion="reduce",
            )
            await page.goto(address)
            await started(world)
            yield world, page
            await page.close()
        await world.close()


async def draw_slack(browser: Browser, folder: Path) -> None:
    """All of them."""
    async with channel(browser, undo_window=600, update_every=1800, remind_after=[600]) as (
        world,
        page,
    ):
        await draw_first_minutes(world, page, folder)
        await draw_home(world, page, folder)
    async with channel(browser, undo_window=0.3, update_every=1800, remind_after=[600]) as (
        world,
        page,
    ):
        await draw_thread(world, page, folder)
    async with channel(browser, undo_window=0.3, update_every=3, remind_after=[0.5]) as (
        world,
        page,
    ):
        await draw_reminders(world, page, folder)


async def draw_first_minutes(world: World, page: Page, folder: Path) -> None:
    """An alert, a guest who taps, and somebody of the staff who does."""
    world.opsgenie.fire("Checkout answers 500", priority="P1", source="Prometheus")
    message = await world.message("verb:confirm:outage")
    first = page.locator("#feed article.message").first
    await expect(first.get_by_role("button", name="False alarm")).to_be_visible()
    await first.screenshot(path=folder / "slack-suspicion.png")
    await page.get_by_label("Gus").check()
    await world.slack.press("U_GUS", message.ts, "verb:dismiss")
    private = page.locator("#feed article.mine")
    await expect(private).to_be_visible()
    await private.screenshot(path=folder / "slack-refusal.png")
    await page.get_by_label("Ada").check()
    await world.slack.press("U_ADA", message.ts, "verb:confirm:partial")
    await expect(first.get_by_role("button", name="Send now")).to_be_visible()
    await first.screenshot(path=folder / "slack-window.png")


async def draw_home(world: World, page: Page, folder: Path) -> None:
    """Some of each kind."""
    now = datetime.now(UTC)
    start = now + timedelta(hours=30)
    end = start + timedelta(hours=2)
    await world.act("plan", title="Database upgrade", severity="maintenance", start=start, end=end)
    for title, severity in (("Mails come late", "bug"), ("All requests fail", "outage")):
        await world.act("create", title=title, severity=severity, text="We are on it.")
    over = now - timedelta(hours=3)
    begun = over - timedelta(hours=1)
    await world.act(
        "create", title="Search finds nothing", severity="partial", start=begun, end=over
    )
    await page.locator("[data-tab=home]").click()
    await expect(page.locator("#home")).to_contain_text("Search finds nothing")
    await grown(page)
    await page.locator("#home").screenshot(path=folder / "slack-home.png")


async def draw_thread(world: World, page: Page, folder: Path) -> None:
    """From the alert to its end."""
    alert = world.opsgenie.fire("Checkout answers 500", priority="P1", source="Prometheus")
    message = await world.message("verb:confirm:outage")
    await world.tap("verb:confirm:partial")
    feed = page.locator("#feed")
    await expect(feed).to_contain_text("emailed")
    say = world.slack.say
    await say("U_ADA", f"{ME} title: Uploads fail", thread_ts=message.ts)
    await expect(feed).to_contain_text("Title: Uploads fail")
    await say("U_ADA", f"{ME} we found a *broken disk*", thread_ts=message.ts)
    await say("U_BOB", f"{ME} watching: it is replaced", thread_ts=message.ts)
    await expect(feed).to_contain_text("✉")
    world.opsgenie.close(alert)
    await expect(feed).to_contain_text("All alerts are over")
    await world.tap("verb:resolve")
    await expect(feed).to_contain_text("Ada resolved this.")
    await eventually(lambda: "emailed" in str(world.slack.thread(message.ts)[-1]))
    await expect(feed.get_by_text("emailed")).to_have_count(2)
    await grown(page)
    await feed.screenshot(path=folder / "slack-thread.png")


async def draw_reminders(world: World, page: Page, folder: Path) -> None:
    """Of a suspicion that nobody looks at, and of words that were promised."""
    world.opsgenie.fire("Checkout answers 500", priority="P1", source="Prometheus")
    feed = page.locator("#feed")
    await expect(feed).to_contain_text("Unanswered for")
    await world.tap("verb:confirm:outage")
    await expect(feed).to_contain_text("You promised an update")
    await grown(page)
    await feed.screenshot(path=folder / "slack-reminder.png")


async def grown(page: Page) -> None:
    """What is drawn is as tall as what it has, not as the window."""
    whole = "body, main, #feed, #home { height: auto !important; max-height: none !important }"
    await page.add_style_tag(content=whole)
