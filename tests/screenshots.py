"""`make screenshots`: every page in every state, for somebody to look at, on one contact sheet.

In both languages, light and dark, from a phone to a wall, and what staff see in Slack. `make
screenshots` draws all; states, or "slack", may be named behind `python -m tests.screenshots`.
"""

import asyncio
import shutil
import sys
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from aiohttp import web
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from monostat.demo.faults import serve
from monostat.languages import LANGUAGES
from tests.slack.pictures import PICTURES, draw_slack
from tests.waiting import eventually
from tests.world import World

FOLDER = Path(__file__).parent.parent / "screenshots"
SIZES = {360: 780, 768: 1024, 1280: 800, 2560: 1300}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
#: Each state of the first page, with what looking at its pictures found, and what was mended.
STATES = {
    "ok": "The calm days of the strip took the band's tint; they are green in every state. On a wall"
    " (2560 px) the column was a third of the width, with signs of a phone's size; both grow.",
    "again": "What ended at once had lasted “0 s”; it is a second.",
    "suspected": "Card and headline said the same; a ready title is said once.",
    "outage": "The sign stood in the middle of two lines; it stands beside the first.",
    "overdue": "The late promise stood among the facts; it has a note of its own.",
    "partial": "“Next update by” broke in two on a desktop; the columns are wider.",
    "recovering": "Nothing.",
    "bug": "Nothing.",
    "maintenance": "A dot stood alone at the end of a line; it goes with what follows it.",
    "notice": "Nothing.",
    "unknown": "The German live line needed two lines of a phone; it is shorter.",
    "several": "The smaller cards shouted as loud as the first; their words are of common size.",
    "long": "Arabic stood on the wrong side, its full stops at the wrong end; texts have their direction.",
    "resolved": "Ten that are over needed six screens of a phone; they are rows of two lines.",
    "dismissed": "Nothing: the first page does not speak of it.",
    "byitself": "Nothing: the first page does not speak of it.",
}


class Shot(NamedTuple):
    """A page besides the first: in which state it is drawn, where it is, and what was found."""

    state: str
    path: str
    found: str


PAGES = {
    "incident": Shot("outage", "/incidents/7", "The title stood twice; it is the headline."),
    "ended": Shot(
        "outage", "/incidents/1", "A line of a phone began with a dot; there the dot falls away."
    ),
    "plan": Shot(
        "outage",
        "/incidents/6",
        "The summary stood too far below the edge of its card; it stands like all first words.",
    ),
    "history": Shot(
        "outage",
        "/history",
        "“Resolved” stood behind all that is over; it is left out. A line began with “· 3 Tage”; the"
        " dot falls away. Days before the records, and months without anything, are quiet.",
    ),
    "day": Shot(
        "outage",
        "/{day}",
        "The next day stood below the one before; the month stands below both. It led to a place on"
        " /history that was not there; it leads to the month.",
    ),
    "missing": Shot("outage", "/x", "Nothing."),
    "subscribe": Shot(
        "outage",
        "/subscribe",
        "The German top bar needed two lines, as its bold link is wider; none is bold.",
    ),
    "error": Shot("outage", "/broken", "Nothing."),
    "frame": Shot(
        "outage", "/embed/frame", "The sign was squeezed to nothing; the frame has no margins."
    ),
    "underway": Shot("maintenance", "/incidents/7", "The summary, as that of a plan."),
    "blindhistory": Shot("unknown", "/history", "The live line said “checked” all the same."),
    "suspicion": Shot("suspected", "/incidents/7", "Nothing."),
    "dismissed": Shot(
        "dismissed", "/incidents/7", "It had no live line, and its script ended with an error."
    ),
    "byitself": Shot(
        "byitself", "/incidents/7", "It had no live line, and its script ended with an error."
    ),
}
#: What is drawn in the state "outage" by the way, most of it on a phone alone.
OTHERS = {
    "sent": "Nothing.",
    "wrong": "Nothing.",
    "foreign": "It was a line of plain English; it is the form, with a sentence.",
    "banner": "With the frame in its own size. Nothing.",
    "plain": "Nothing.",
    "print": "Nothing.",
    "forced": "Nothing.",
    "lost": "Nothing.",
}
#: The email that subscribers get in these states.
MAILS = {
    "mail-outage": "A line began with the dot between two links; they have a line of their own.",
    "mail-recovering": "It named the severity nowhere; it stands beside the status.",
    "mail-again": "It named the severity nowhere; it stands beside the status.",
    "mail-maintenance": "Nothing.",
}


async def arrange(world: World, state: str) -> None:
    """Brings about a headline, and a past of some weeks."""
    act, now = world.act, datetime.now(UTC)
    past = (
        ("Search finds nothing", "partial", 6, 3),
        ("All requests fail", "outage", 6, 1),
        ("Slow logins", "bug", 30, 72),
        ("Old mails were sent twice", "notice", 80, 2),
        ("No orders were taken", "outage", 280, 5),
    )
    for title, severity, days, hours in past:
        start = now - timedelta(days=days)
        end = start + timedelta(hours=hours)
        await act(
            "create", title=title, severity=severity, text="It is solved.", start=start, end=end
        )
    plan = {"title": "Database upgrade", "severity": "maintenance", "summary": "Pages may be slow."}
    await act("plan", start=now + timedelta(hours=30), end=now + timedelta(hours=32), **plan)
    if state in ("suspected", "dismissed", "byitself"):
        alert = world.opsgenie.fire("disk full")
        await world.becomes("suspected", 7)
        if state == "dismissed":
            await act("dismiss", incident=7)
        if state == "byitself":
            world.opsgenie.close(alert)
    elif state == "unknown":
        world.opsgenie.faults.fail_next(503, times=100_000)
    elif state == "maintenance":
        start = now + timedelta(hours=1)
        end = start + timedelta(hours=1)
        number = await act("plan", start=start, end=end, mail=True, **plan)
        await eventually(
            lambda: any(plan["title"] in mail.subject for mail in world.rapidmail.mailings)
        )
        await act("start", incident=number)
    elif state == "long":
        title = "Schifffahrtsgesellschaftsdatenbankaktualisierung" * 3
        number = await act("create", title=title, severity="partial", text="This is it.")
        for count in range(40):
            await act("update", incident=number, text=f"We have tried it {count} times. " * 3)
        await act("update", incident=number, text="تعطل الخدمة منذ الصباح.\n\n- أولا\n- ثانيا")
    elif state == "resolved":
        for number in range(10):
            end = now - timedelta(minutes=20 * number + 3)
            start = end - timedelta(seconds=41 * (number + 1))
            title = f"Uploads failed for some, {number}"
            await act("create", title=title, severity="partial", start=start, end=end)
    elif state != "ok":
        severity = {"recovering": "outage", "overdue": "outage", "again": "outage"}.get(
            state, "partial" if state == "several" else state
        )
        text = "Checkout answers **only every third time**. Carts are kept. See [what still works](https://example.com)."
        if state == "several":
            await act("create", title="Mails come late", severity="bug", text="By an hour or so.")
            await act("create", title="Our office moves", severity="notice", text="Phones are off.")
            start = now + timedelta(minutes=5)
            end = start + timedelta(hours=2)
            moving = await act(
                "plan", title="Move to new disks", severity="maintenance", start=start, end=end
            )
            await act("start", incident=moving)
        number = await act(
            "create", title="Checkout fails for many customers", severity=severity, text=text
        )
        for more in (
            "We have found the cause: a broken disk.",
            "The disk is replaced. Orders of this morning are not lost: they arrive when the new one has caught up.",
            "We are starting it again.",
        ):
            await act("update", incident=number, text=more)
        if state in ("recovering", "again"):
            await act("watch", incident=number)
        if state == "again":
            await act("resolve", incident=number)


async def shoot(page: Page, folder: Path, name: str) -> None:
    """One page in all sizes and both schemes, as it is then; and without its script."""
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        for width, height in SIZES.items():
            await page.set_viewport_size({"width": width, "height": height})
            await page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)


async def draw(browser: Browser, world: World, folder: Path, state: str, language: str) -> None:
    """All pictures of a state in one language."""
    page = await browser.new_page(
        locale="de-DE" if language == "de" else "en-GB",
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
    )
    await page.goto(world.url)
    if state in ("unknown", "overdue"):
        await expect(page.locator("#since, .note").first).to_be_visible(timeout=20_000)
    await expect(page.locator("#live")).to_have_class("live on")
    await shoot(page, folder, f"{state}-{language}")
    day = (datetime.now(UTC) - timedelta(days=6)).date()
    for name, shot in PAGES.items():
        if shot.state == state:
            await page.goto(world.url + shot.path.format(day=day))
            if await page.locator("#live").count():
                await expect(page.locator("#live")).to_have_class("live on")
            await shoot(page, folder, f"{name}-{language}")
    if f"mail-{state}" in MAILS:
        await mailed(browser, world, folder, f"mail-{state}-{language}")
    if state == "outage":
        await answered(page, world, folder, language)
        await embedded(page, world, folder, language)
        await at_odds(browser, world, folder, language)
    await page.close()


async def mailed(browser: Browser, world: World, folder: Path, name: str) -> None:
    """The newest email of a state, as a phone shows it."""
    (*_, mailing) = await eventually(lambda: world.rapidmail.mailings)
    page = await browser.new_page(viewport={"width": 360, "height": 780})
    await page.set_content(mailing.html)
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        await page.screenshot(path=folder / f"{name}-360-{scheme}.png", full_page=True)
    await page.close()


async def answered(page: Page, world: World, folder: Path, language: str) -> None:
    """What visitors are answered who subscribe."""
    for name, address in (("sent", "ada@example.org"), ("wrong", "ada@nowhere")):
        await page.goto(f"{world.url}/subscribe")
        await page.locator("#email").fill(address)
        await page.locator("form button").click()
        await shoot(page, folder, f"{name}-{language}")
    await page.set_extra_http_headers({"Origin": "https://shop.example"})
    await page.goto(f"{world.url}/subscribe")
    await page.locator("#email").fill("ada@example.org")
    await page.locator("form button").click()
    await shoot(page, folder, f"foreign-{language}")
    await page.set_extra_http_headers({})


async def embedded(page: Page, world: World, folder: Path, language: str) -> None:
    """The banner, the link and the frame, on a page of somebody else."""

    async def shop(_request: web.Request) -> web.Response:
        frame = f"<iframe src={world.url}/embed/frame width=320 height=115></iframe>"
        link = "<p><a data-monostat href=/>Status</a>"
        body = f"<h1>Shop</h1>{'<p>What we sell.' * 6}{link}<p>{frame}"
        head = "<!doctype html><meta name=viewport content=width=device-width><title>Shop</title>"
        script = f"<script async src={world.url}/embed/script.js></script>"
        return web.Response(text=head + body + script, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", shop)
    async with serve(app) as address:
        await page.goto(address)
        await expect(page.get_by_role("status").get_by_role("link")).to_be_visible()
        await shoot(page, folder, f"banner-{language}")


async def at_odds(browser: Browser, world: World, folder: Path, language: str) -> None:
    """What is seen without a script, on paper, in forced colours, and with no server."""
    phone: ViewportSize = {"width": 360, "height": 780}
    plain = await browser.new_page(java_script_enabled=False, viewport=phone)
    await plain.goto(world.url)
    await plain.screenshot(path=folder / f"plain-{language}-360-light.png", full_page=True)
    page = await browser.new_page(
        timezone_id="Europe/Berlin", reduced_motion="reduce", viewport=phone
    )
    await page.goto(world.url)
    await expect(page.locator("#live")).to_have_class("live on")
    await page.emulate_media(media="print")
    await page.screenshot(path=folder / f"print-{language}-360-light.png", full_page=True)
    await page.emulate_media(media="screen", forced_colors="active")
    await page.screenshot(path=folder / f"forced-{language}-360-light.png", full_page=True)
    await page.emulate_media(forced_colors="none")
    await world.stop()
    await expect(page.locator("#stale p")).to_be_visible(timeout=20_000)
    await page.screenshot(path=folder / f"lost-{language}-360-light.png")
    await plain.close()
    await page.close()


async def main(folder: Path, wanted: list[str]) -> None:
    """Draws all states, or those that are wanted."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        if not wanted or "slack" in wanted:
            await draw_slack(browser, folder)
        for state in wanted or STATES:
            if state not in STATES:
                continue
            for language in LANGUAGES:
                with TemporaryDirectory() as place:
                    world = World(Path(place))
                    await world.open()
                    world.settings["site"] |= {
                        "name": "Northwind",
                        "language": language,
                        "timezone": "Europe/Berlin",
                        "support_phone": "+49 30 1234",
                        "legal_url": "/",
                        "update_every": 2 if state == "overdue" else 1800,
                    }
                    world.settings["opsgenie"]["stale_after"] = 1 if state == "unknown" else 600
                    await world.start()
                    await arrange(world, state)
                    await draw(browser, world, folder, state, language)
                    await world.close()
        await browser.close()


def sheet(folder: Path) -> None:
    """The index: every state with what was found and mended, and its pictures."""
    found = STATES | {name: shot.found for name, shot in PAGES.items()} | MAILS | OTHERS | PICTURES
    parts = []
    for name, words in found.items():
        figures = [
            f"<figure><img src={file.name} loading=lazy><figcaption>{file.stem}</figcaption></figure>"
            for file in sorted([*folder.glob(f"{name}-*.png"), *folder.glob(f"{name}.png")])
        ]
        parts.append(f"<h2>{name}</h2><p>{escape(words)}</p><div>{''.join(figures)}</div>")
    style = "<style>body{font:1em sans-serif;background:#888}div{display:flex;flex-wrap:wrap;gap:1em;align-items:start}img{width:20em}figure{margin:0}</style>"
    page = f"<!doctype html><title>Screenshots</title>{style}{''.join(parts)}"
    (folder / "index.html").write_text(page)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    asyncio.run(main(FOLDER, sys.argv[1:]))
    sheet(FOLDER)
