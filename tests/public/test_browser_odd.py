"""What readers' browsers do to the page: odd languages and zones, translation, the back button, small screens."""

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from tests.world import World

PHONE: ViewportSize = {"width": 360, "height": 780}
#: Chromium takes only zones that it knows: what others report is put in its place.
REPORTS = """([languages, zone]) => {
    Object.defineProperty(Navigator.prototype, "languages", { get: () => languages });
    const real = Intl.DateTimeFormat.prototype.resolvedOptions;
    if (zone) Intl.DateTimeFormat.prototype.resolvedOptions = function () {
        return { ...real.call(this), timeZone: zone };
    };
}"""


def _note(errors: list[str], error: object) -> None:
    errors.append(str(error))


async def goes_on(world: World, page: Page, number: int = 1, words: str = "It goes on.") -> None:
    """The page still shows what happens."""
    await world.act("update", incident=number, text=words)
    await expect(page.locator("main")).to_contain_text(words)


@pytest.mark.parametrize("language", ["en", "de"])
async def test_no_language_or_zone_of_a_browser_ends_what_is_live(
    world: World, browser: Browser, language: str
) -> None:
    world.settings["site"] |= {"language": language, "timezone": "Europe/Berlin"}
    await world.start()
    await world.act("create", title="Checkout fails", severity="outage")
    for tags, zone, shown in (
        (["en-US@posix"], "", "UTC"),
        (["tr-TR"], "", "UTC"),
        (["ar-EG"], "", "UTC"),
        ([], "Etc/Unknown", "Europe/Berlin"),
        (["en"], "Mars/Olympus_Mons", "UTC"),
    ):
        context = await browser.new_context(locale="ar-EG", timezone_id="UTC")
        await context.add_init_script(f"({REPORTS})({json.dumps([tags, zone])})")
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", partial(_note, errors))
        await page.goto(world.url)
        await goes_on(world, page, words=f"It goes on for {tags} {zone}.")
        assert errors == []
        assert await page.locator("#live").get_attribute("class") == "live on"
        assert re.fullmatch(r"\d\d:\d\d", await page.locator(".facts time").first.inner_text())
        if zone == "Etc/Unknown":
            await expect(page.locator("#zone")).to_contain_text(shown)
            await expect(page.locator("#zone")).not_to_contain_text("Unknown")
        await context.close()


async def test_twelve_hours_are_shown_to_those_whose_english_has_them(
    world: World, browser: Browser
) -> None:
    await world.start()
    await world.act("create", title="Checkout fails", severity="outage")
    for locale, pattern in (("en-US", r"\d{1,2}:\d\d\s[AP]M"), ("en-GB", r"\d\d:\d\d")):
        page = await browser.new_page(locale=locale)
        await page.goto(world.url)
        await expect(page.locator(".facts time").first).to_have_text(re.compile(f"^{pattern}$"))
        await page.close()


async def test_a_page_that_was_translated_or_taken_apart_stays_live(
    world: World, browser: Browser
) -> None:
    """As Google Translate does it: every text in elements of its own, another language on top."""
    await world.start()
    await world.act("create", title="Checkout fails", severity="outage")
    page = await browser.new_page()
    await page.goto(world.url)
    await expect(page.locator("#live")).to_contain_text("Live")
    await page.evaluate("""() => {
        document.documentElement.lang = "fr"; document.documentElement.className = "translated-ltr";
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), all = [];
        while (texts.nextNode()) all.push(texts.currentNode);
        for (const text of all) if (!text.parentElement.closest("script")) {
            const outer = document.createElement("font"), inner = document.createElement("font");
            text.replaceWith(outer); outer.append(inner); inner.append(text);
        }
    }""")
    await goes_on(world, page)
    await page.evaluate("document.getElementById('incident-1').replaceChildren()")
    await page.evaluate("document.getElementById('live').remove()")
    await goes_on(world, page, words="An extension took it apart.")
    await world.act("resolve", incident=1)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example is working again")
    await expect(page.locator("#live")).to_contain_text("Live")
    await page.close()


async def test_a_page_that_was_frozen_or_comes_back_is_live_again(
    world: World, browser: Browser
) -> None:
    await world.start()
    await world.act("create", title="Checkout fails", severity="outage")
    page = await browser.new_page()
    await page.goto(world.url)
    for asleep, awake, on in (("pagehide", "pageshow", "window"), ("freeze", "resume", "document")):
        await expect(page.locator("#live")).to_contain_text("Live")
        await page.evaluate(f"{on}.dispatchEvent(new Event('{asleep}'))")
        await expect(page.locator("#live")).to_contain_text("Not live since")
        await expect(page).to_have_title(re.compile("not live"))
        await page.evaluate(f"{on}.dispatchEvent(new Event('{awake}'))")
        await goes_on(world, page, words=f"After {asleep}.")
        await expect(page).not_to_have_title(re.compile("not live"))
    await page.goto(f"{world.url}/history")
    await page.go_back()
    await goes_on(world, page, words="After the back button.")
    await page.close()


async def test_the_focus_is_never_lost_to_what_goes_away(world: World, browser: Browser) -> None:
    world.settings["rapidmail"]["undo_window"] = 30
    await world.start()
    page = await browser.new_page()
    await page.goto(world.url)
    await expect(page.locator("#live")).to_contain_text("Live")
    await world.act("create", title="Checkout fails", text="See [there](https://example.com).")
    link = page.get_by_role("link", name="there")
    await link.focus()
    await world.act("undo", incident=1)
    await expect(link).to_have_count(0)
    assert await page.evaluate("document.activeElement.id") == "main"
    await page.close()


async def test_a_phone_shows_the_newest_word_at_once_and_ten_resolved_on_two_screens(
    world: World, browser: Browser
) -> None:
    world.settings["site"]["name"] = "Northwind"
    await world.start()
    now = datetime.now(UTC)
    for number in range(10):
        end = now - timedelta(minutes=30 * number + 5)
        await world.act(
            "create",
            title=f"Uploads failed for some, {number}",
            severity="partial",
            text="This was long.\n\nAnd has many words." * 5,
            start=end - timedelta(minutes=7),
            end=end,
        )
    page = await browser.new_page(viewport=PHONE)
    await page.goto(world.url)
    rows = page.locator("#recent .row")
    await expect(rows).to_have_count(10)
    first = await rows.first.bounding_box()
    last = await rows.last.bounding_box()
    assert first is not None
    assert last is not None
    assert last["y"] + last["height"] - first["y"] < 2 * PHONE["height"]
    await world.act(
        "create", title="Uploads fail for many customers", severity="partial", text="We look."
    )
    lead = page.locator(".lead")
    await expect(lead).to_have_text("We look.")
    box = await lead.bounding_box()
    assert box is not None
    assert box["y"] <= 400
    arabic = "تعطل الخدمة"
    await world.act("update", incident=11, text=f"{arabic} {'x' * 200}")
    await world.act("create", title="Schifffahrt" * 12, severity="bug", text="`y`" * 200)
    await expect(page.locator(".card")).to_have_count(2)
    await expect(lead.first).to_contain_text(arabic)
    direction = "text => getComputedStyle(text).direction"
    assert await lead.first.locator(".text").evaluate(direction) == "rtl"
    wide = "document.documentElement.scrollWidth - innerWidth"
    for width in (320, 768, 2560):
        await page.set_viewport_size({"width": width, "height": 780})
        assert await page.evaluate(wide) <= 0
    await page.close()
