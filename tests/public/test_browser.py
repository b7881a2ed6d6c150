"""The page in a real browser, and the demo's Slack beside it."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Browser, Page, Route, expect

from monostat.demo.faults import serve
from monostat.demo.page import Vendors, demo_page
from monostat.languages import LANGUAGES
from tests.public.chrome import visit
from tests.waiting import eventually
from tests.world import SHORT, World

#: Every movement that Chromium saw and the reader had not asked for.
MEASURE = """window.shifts = [];
    new PerformanceObserver(list => shifts.push(...list.getEntries().map(e =>
        [e.value, ...e.sources.map(s => s.node?.id || s.node?.className || s.node?.nodeName)])))
        .observe({ type: "layout-shift", buffered: true })"""
#: Two frames later all that was written is shown, and measured.
SETTLED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def measured(
    browser: Browser,
    url: str,
    path: str = "/",
    *,
    width: int,
    height: int = 740,
    zone: str = "UTC",
    slow: bool = False,
) -> Page:
    """A live page that measures what moves; over a `slow` line its script comes late."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, timezone_id=zone, locale="en-GB"
    )
    await context.add_init_script(MEASURE)
    page = await context.new_page()

    async def late(route: Route) -> None:
        await page.evaluate(SETTLED)
        await route.continue_()

    if slow:
        await page.route("**/page.js*", late)
    await page.goto(url + path)
    await expect(page.locator("#live")).to_contain_text("Live")
    await page.evaluate(SETTLED)
    return page


async def test_an_open_page_shows_the_whole_story_without_a_reload(
    world: World, browser: Browser
) -> None:
    await world.start()
    page, complaints = await visit(browser, world.url)
    await page.evaluate("window.marker = 'the same page'")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example is up and running")
    world.opsgenie.fire("[prod] db-7 is gone")
    await expect(page.get_by_role("heading", level=1)).to_have_text(
        "Example may be having problems"
    )
    await expect(page.locator("main")).to_contain_text("Nobody has confirmed it yet")
    await expect(page).to_have_title(re.compile("may be having problems"))
    await world.tap("verb:confirm:outage")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example is down")
    await expect(page.locator("#icon")).to_have_attribute("href", re.compile("icon-outage"))
    await expect(page.locator("#say")).to_contain_text("Example is down")
    band = "getComputedStyle(document.querySelector('.top')).backgroundColor"
    bar = "document.querySelector('meta[name=theme-color]').content"
    await eventually(lambda: page.evaluate(f"{bar} === {band}"))
    await eventually(lambda: len(world.rapidmail.mailings) == 1)
    await world.tap("verb:resolve")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example is working again")
    await expect(page.locator("#incident-1")).to_have_attribute("open", "")
    await expect(page.locator("#incident-1")).to_have_attribute("data-new", "Resolved")
    await expect(page.locator("#incident-1")).to_contain_text("The problem is solved")
    assert await page.evaluate("window.marker") == "the same page"
    assert "db-7" not in await page.content()
    assert complaints == []


async def test_the_page_says_when_it_is_no_longer_live_and_finds_its_way_back(
    world: World, browser: Browser
) -> None:
    await world.start(timing=replace(SHORT, heartbeat=0.4))
    page, _ = await visit(browser, world.url)
    port = int(world.url.rpartition(":")[2])
    await expect(page.locator("#live")).to_contain_text("Live")
    await world.stop()
    await expect(page.locator("#stale")).to_contain_text("Connection lost", timeout=15_000)
    await expect(page).to_have_title(re.compile("not live"))
    world.port = port
    await world.start()
    world.opsgenie.fire("disk full")
    await expect(page.get_by_role("heading", level=1)).to_have_text(
        "Example may be having problems", timeout=20_000
    )
    await expect(page.locator("#stale")).to_be_empty()
    await expect(page).not_to_have_title(re.compile("not live"))


async def test_without_a_script_the_page_is_complete(world: World, browser: Browser) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:partial")
    await world.becomes("confirmed")
    page, complaints = await visit(browser, world.url, script=False)
    await expect(page.get_by_role("heading", level=1)).to_have_text(
        "Part of Example is not working"
    )
    await expect(page.locator("#live")).to_contain_text(re.compile(r"As of \d\d:\d\d \(UTC\)"))
    await page.get_by_role("link", name="Link to this incident").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Partial outage")
    assert complaints == []


async def test_the_demo_shows_the_whole_chain(world: World, browser: Browser) -> None:
    """A person fires an alert in the demo's Slack, taps once, and finds one mail in the list."""
    await world.start()
    vendors = Vendors(
        slack=world.slack,
        opsgenie=world.opsgenie,
        jsm=world.jsm,
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
        await expect(page.get_by_role("heading", level=1)).to_have_text(
            "Example may be having problems"
        )
        await demo.get_by_role("button", name="It is real: outage").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Example is down")
        await expect(demo.get_by_role("button", name="Watching")).to_be_visible()
        await eventually(lambda: world.rapidmail.mailings)
        await expect(demo.locator("body")).to_contain_text(world.rapidmail.mailings[0].subject)
        await asyncio.gather(page.close(), demo.close())
    assert len(world.rapidmail.mailings) == 1
    assert complaints == []


async def test_times_are_in_the_readers_zone_with_how_long_ago(
    world: World, browser: Browser
) -> None:
    world.settings["site"]["timezone"] = "Europe/Berlin"
    await world.start()
    start = datetime.now(UTC) - timedelta(hours=3, minutes=5)
    await world.act("create", title="Checkout is slow", start=start)
    page, _ = await visit(
        browser, f"{world.url}/incidents/1", timezone_id="Asia/Kolkata", locale="en-GB"
    )
    shown = page.locator("#incident-1-facts time").last
    local = start.astimezone(ZoneInfo("Asia/Kolkata"))
    assert f"{local:%H:%M}" in await shown.inner_text()
    assert f"{local:%a} {local.day} {local:%b %Y, %H:%M} (Asia/" in (
        await shown.get_attribute("title") or ""
    )
    await expect(page.locator(".ago")).to_have_text(", just now")
    await expect(page.locator("#zone")).to_contain_text("Asia/")


async def test_on_paper_no_time_runs_over_the_edge_of_its_box(
    world: World, browser: Browser
) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    page, _ = await visit(browser, world.url, viewport={"width": 320, "height": 740})
    await page.emulate_media(media="print")
    await expect(page.locator("#incident-1-facts time").first).to_have_attribute(
        "data-full", re.compile(r"\d{4}, \d")
    )
    wide = "box => box.scrollWidth - box.clientWidth"
    assert await page.locator("#headline").evaluate(wide) == 0
    assert await page.locator(".card").evaluate(wide) == 0


async def test_a_change_moves_nothing_that_is_read_and_is_announced_once(
    world: World, browser: Browser
) -> None:
    await world.start()
    for number in range(4):
        await world.act("create", title=f"Problem {number}", text="A long story. " * 40)
    for text in ("One.", "Two.", "Three.", "Four."):
        await world.act("update", incident=1, text=text)
    page, complaints = await visit(browser, world.url, viewport={"width": 360, "height": 640})
    await expect(page.locator("#live")).to_contain_text("Live")
    await page.locator("#incident-1-more").click()
    await page.locator("#incident-1-link").focus()
    await page.locator("#incident-1-link").scroll_into_view_if_needed()
    await page.evaluate("""() => { window.said = [];
        new MutationObserver(() => said.push(document.getElementById("say").textContent))
            .observe(document.getElementById("say"), { childList: true, characterData: true, subtree: true }); }""")
    where = (
        "() => Math.round(document.getElementById('incident-1-link').getBoundingClientRect().top)"
    )
    before = await page.evaluate(where)
    await world.act("update", incident=4, text="This came while you read.")
    await world.act("update", incident=1, text="This too.")
    await expect(page.locator("#incident-1")).to_contain_text("This too.")
    assert abs(await page.evaluate(where) - before) <= 1
    assert await page.evaluate("document.activeElement.id") == "incident-1-link"
    assert await page.locator("#incident-1-older").get_attribute("open") is not None
    assert await page.evaluate("said") == [
        "Problem 3: This came while you read.",
        "Problem 0: This too.",
    ]
    assert (
        await page.locator("[aria-live], [role=status], [role=alert]").evaluate_all(
            "all => all.filter(one => one.querySelector('time, .ago')).length"
        )
        == 0
    )
    assert complaints == []


@pytest.mark.parametrize("width", [360, 1280])
async def test_what_is_being_read_stays_where_it_is_whatever_comes_before_it(
    world: World, browser: Browser, width: int
) -> None:
    await world.start()
    await world.act(
        "create", title="Checkout fails", severity="partial", text="We are looking. " * 30
    )
    for number in range(6):
        await world.act("update", incident=1, text=f"Disk {number} is replaced. " * 40)
    page = await measured(browser, world.url, width=width, height=500)
    read = page.locator("#update-4")
    await read.evaluate("node => node.scrollIntoView({block: 'end', behavior: 'instant'})")
    await page.evaluate(SETTLED)
    await page.evaluate("window.shifts.length = 0")
    for text in ("This came while you read.", "This, too. " * 50):
        await world.act("update", incident=1, text=text)
        await expect(page.locator("#incident-1 .lead")).to_contain_text(text.strip())
    await page.evaluate(SETTLED)
    assert await page.evaluate("window.shifts") == []
    assert await page.locator("#incident-1-older").get_attribute("open") is None
    await expect(page.locator("#incident-1-more")).to_have_text("3 earlier updates")
    await expect(read).to_be_in_viewport()
    await world.act("resolve", incident=1)
    await expect(page.locator("#headline")).to_contain_text("is working again")
    await expect(read).to_be_in_viewport()


@pytest.mark.parametrize("width", [360, 1280])
async def test_at_the_top_only_what_stands_below_the_new_words_moves(
    world: World, browser: Browser, width: int
) -> None:
    await world.start()
    await world.act("create", title="Checkout fails", severity="outage", text="We are looking.")
    page = await measured(browser, world.url, width=width)
    fixed = ("#headline", "#live", "#incident-1-title", ".lead", ".top")
    where = "names => names.map(n => document.querySelector(n).getBoundingClientRect().top)"
    before = await page.evaluate(where, fixed)
    await page.locator(".top a").last.focus()
    await world.act("update", incident=1, text="The disk is replaced. " * 20)
    await expect(page.locator(".lead")).to_contain_text("The disk is replaced.")
    assert await page.evaluate(where, fixed) == before
    assert await page.evaluate("document.activeElement.textContent") == "Subscribe"


async def test_an_open_page_learns_what_only_time_changes(world: World, browser: Browser) -> None:
    world.settings["slack"]["remind_after"] = [1.5]
    await world.start()
    now = datetime.now(UTC)
    times = {"start": now + timedelta(seconds=3), "end": now + timedelta(hours=1)}
    await world.act("plan", title="Upgrade", ask=True, **times)
    home, _ = await visit(browser, world.url)
    plan, _ = await visit(browser, f"{world.url}/incidents/1")
    world.opsgenie.fire("disk full")
    for page in (home, plan):
        await expect(page.locator("main")).to_contain_text(
            "This has not started yet.", timeout=15_000
        )
    await expect(home.locator("main")).to_contain_text(
        "Our team was alerted again at", timeout=15_000
    )


async def test_nothing_jumps_while_the_page_loads_and_only_its_style_blocks_it(
    world: World, browser: Browser
) -> None:
    """On a slow line the script comes seconds after the page, and writes all times anew."""
    await world.start()
    now = datetime.now(UTC)
    await world.act(
        "create", title="Checkout fails", severity="partial", text="We are looking. " * 20
    )
    for number in range(3):
        await world.act("update", incident=1, text=f"Disk {number} is replaced.")
    for days in (2, 9):
        start = now + timedelta(days=days)
        await world.act("plan", title="Upgrade", start=start, end=start + timedelta(hours=4))
    await world.act("create", title="Over", start=now - timedelta(hours=2), end=now)
    for width, zone in ((360, "UTC"), (1280, "UTC"), (360, "Asia/Kolkata")):
        for path in ("/", "/incidents/1", "/history"):
            page = await measured(browser, world.url, path, width=width, zone=zone, slow=True)
            assert await page.evaluate("window.shifts") == [], (width, zone, path)
            loaded = "performance.getEntriesByType('resource').filter(e => e.renderBlockingStatus == 'blocking').map(e => e.name)"
            names = [name.partition("?")[0] for name in await page.evaluate(loaded)]
            assert [name.rpartition("/")[2] for name in names] == ["style.css"]
            await page.context.close()


async def test_where_sockets_do_not_pass_the_page_polls(world: World, browser: Browser) -> None:
    await world.start()
    page = await browser.new_page()
    await page.add_init_script("Math.random = () => 0.02")
    await page.route_web_socket(
        re.compile("/feed/page"), lambda ws: asyncio.ensure_future(ws.close())
    )
    await page.goto(world.url)
    world.opsgenie.fire("disk full")
    await expect(page.get_by_role("heading", level=1)).to_have_text(
        "Example may be having problems", timeout=20_000
    )
    await expect(page.locator("#live")).to_contain_text("updated every half minute")
    await expect(page.locator("#stale")).to_be_empty()


async def test_where_the_server_is_full_nobody_is_told_that_anything_is_wrong(
    world: World, browser: Browser
) -> None:
    world.settings["server"] = {"max_viewers": 1}
    await world.start(timing=replace(SHORT, heartbeat=60))
    async with world.http.ws_connect(f"{world.url}/feed/v1"):
        page = await browser.new_page()
        await page.add_init_script(
            """window.alarms = []
            new MutationObserver(() => { if (document.title.startsWith("(not live)")) alarms.push(document.title) })
                .observe(document, { childList: true, subtree: true, characterData: true })"""
        )
        await page.goto(world.url)
        await expect(page.locator("#live")).to_contain_text(
            "updated every half minute", timeout=15_000
        )
        await page.evaluate(
            "new Promise(done => setTimeout(done, 6500))"
        )  # longer than silence goes untold
        assert await page.evaluate("alarms") == []


async def test_another_build_reloads_the_page_at_a_random_moment(
    world: World, browser: Browser
) -> None:
    await world.start()
    page = await browser.new_page()
    await page.add_init_script("Math.random = () => 0.01")
    await page.goto(world.url)
    await expect(page.locator("#live")).to_contain_text("Live")
    build = await page.locator("html").get_attribute("data-build")
    world.port = int(world.url.rpartition(":")[2])
    await world.stop()
    world.settings["site"]["support_email"] = "other@example.com"
    await world.start()
    await expect(page.locator("html")).not_to_have_attribute(
        "data-build", build or "", timeout=20_000
    )
    await expect(page.locator("footer")).to_contain_text("other@example.com")


async def test_history_and_a_day_follow_what_happens(world: World, browser: Browser) -> None:
    await world.start()
    past, complaints = await visit(browser, f"{world.url}/history")
    day, _ = await visit(browser, f"{world.url}/{datetime.now(UTC).date()}")
    for page in (past, day):
        await expect(page.locator("#live")).to_contain_text("Live")
    await world.act("create", title="Checkout is slow")
    for page in (past, day):
        await expect(page.locator("main")).to_contain_text("Checkout is slow", timeout=10_000)
    assert complaints == []


async def test_a_visitor_subscribes_without_a_script(world: World, browser: Browser) -> None:
    await world.start()
    page, complaints = await visit(browser, world.url, script=False)
    await page.get_by_role("navigation").get_by_role("link", name="Subscribe").click()
    await page.get_by_label("Your email address").fill("ada@example.org")
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Check your inbox")
    assert "ada@example.org" in world.rapidmail.recipients
    assert complaints == []


async def faults(browser: Browser, url: str, *, wrong: bool = False) -> list[str]:
    """What axe finds wrong with a page; in the dark only the colours are others."""
    axe, found = (files("axe_playwright_python") / "axe.min.js").read_text(), []
    page, _ = await visit(
        browser, url, viewport={"width": 360, "height": 740}, reduced_motion="reduce"
    )
    if wrong:
        await page.locator("#email").fill("ada@nowhere")
        await page.locator("form button").click()
    await page.evaluate(axe)
    for scheme, rules in (
        ("light", "{}"),
        ("dark", "{runOnly: ['color-contrast', 'link-in-text-block']}"),
    ):
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        told = await page.evaluate(
            f"axe.run({rules}).then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))"
        )
        found += [f"{url} in {scheme}: {one}" for one in told]
    await page.close()
    return found


@pytest.mark.parametrize("language", LANGUAGES)
async def test_axe_finds_nothing_on_any_page(world: World, browser: Browser, language: str) -> None:
    world.settings["site"]["language"] = language
    await world.start()
    now = datetime.now(UTC)
    await world.act(
        "create",
        title="Checkout fails",
        severity="outage",
        text="Some `code`, [a link](https://x.org).",
    )
    for text in ("> said", "* one\n* two", "More.", "And more."):
        await world.act("update", incident=1, text=text)
    await world.act(
        "plan",
        title="Database upgrade",
        start=now + timedelta(hours=1),
        end=now + timedelta(hours=2),
    )
    await world.act(
        "create", title="Over", severity="partial", start=now - timedelta(days=40), end=now
    )
    for path in (
        "/",
        "/history",
        f"/{now.date()}",
        "/incidents/1",
        "/subscribe",
        "/nowhere",
        "/broken",
        "/embed/frame",
    ):
        assert await faults(browser, world.url + path) == []
    assert await faults(browser, f"{world.url}/subscribe", wrong=True) == []


async def test_axe_finds_nothing_under_any_headline(world: World, browser: Browser) -> None:
    world.settings["opsgenie"]["stale_after"] = 5
    await world.start()
    seen = []

    async def look() -> None:
        seen.append(re.findall('id="headline" class="k-(.*?)"', await world.page())[0])
        assert await faults(browser, world.url) == []

    await look()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await look()
    await world.act("confirm", incident=1, severity="outage")
    await look()
    await world.act("watch", incident=1)
    await look()
    await world.act("resolve", incident=1)
    for severity in ("partial", "bug", "maintenance", "notice"):
        number = await world.act(
            "create", title=f"A {severity}", severity=severity, text="Please read this."
        )
        await look()
        await world.act("resolve", incident=number)
    world.opsgenie.faults.fail_next(503, times=10_000)
    await eventually(lambda: _blind(world))
    await look()
    assert seen == [
        "ok",
        "suspected",
        "outage",
        "recovering",
        "partial",
        "bug",
        "maintenance",
        "notice",
        "unknown",
    ]


async def _blind(world: World) -> bool:
    return "We cannot see our monitoring" in await world.page()


#: The words of lines of parts that stand left of where these lines are cut off.
CUT_OFF = """[...document.querySelectorAll(".parts")].flatMap(line => {
    const edge = line.parentElement.getBoundingClientRect().left, cut = [];
    const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { parentElement: holder, data } = walker.currentNode, range = document.createRange();
        range.selectNodeContents(walker.currentNode);
        if (holder.tagName !== "I" && data.trim())
            cut.push(...[...range.getClientRects()].filter(box => box.left < edge - 1).map(() => data));
    }
    return cut;
})"""


async def test_only_the_dot_falls_off_the_edge_where_a_line_of_a_phone_begins_with_one(
    world: World, browser: Browser
) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    start = datetime.now(UTC) - timedelta(days=9)
    end = start + timedelta(days=3, hours=5, minutes=7)
    number = await world.act("create", title="Slow", severity="bug", start=start, end=end)
    page = await browser.new_page(viewport={"width": 320, "height": 740})
    for path in ("/", "/incidents/1", f"/incidents/{number}", "/history", f"/{start.date()}"):
        await page.goto(world.url + path)
        assert await page.evaluate(CUT_OFF) == [], path
        assert await page.evaluate("document.documentElement.scrollWidth") == 320, path
