"""`make screenshots`: every page in every state, for somebody to look at, on one contact sheet."""

import asyncio
import shutil
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import Browser, async_playwright

from tests.waiting import eventually
from tests.world import World

FOLDER = Path(__file__).parent.parent / "screenshots"
SIZES = {360: 740, 768: 1024, 1280: 800}
STATES = (
    "ok",
    "suspected",
    "outage",
    "overdue",
    "partial",
    "recovering",
    "bug",
    "maintenance",
    "notice",
    "unknown",
)
HEADLINES = {
    "suspected": "may be having problems",
    "unknown": "We cannot see our monitoring",
    "overdue": "are late with it",
}


async def arrange(world: World, state: str) -> None:
    """Brings about a headline, and a past of some weeks."""
    act, now = world.act, datetime.now(UTC)
    past = (
        ("Search finds nothing", "partial", 6, 3),
        ("All requests fail", "outage", 6, 1),
        ("Slow logins", "bug", 30, 72),
    )
    for title, severity, days, hours in (*past, ("Old mails were sent twice", "notice", 80, 2)):
        start = now - timedelta(days=days)
        start = now - timedelta(days=days)
        end = start + timedelta(hours=hours)
        await act(
            "create", title=title, severity=severity, text="It is solved.", start=start, end=end
        )
    plan = {"title": "Database upgrade", "severity": "maintenance", "summary": "Pages may be slow."}
    await act("plan", start=now + timedelta(hours=30), end=now + timedelta(hours=32), **plan)
    if state == "suspected":
        world.opsgenie.fire("disk full")
    elif state == "unknown":
        world.opsgenie.faults.fail_next(503, times=100_000)
    elif state == "maintenance":
        number = await act(
            "plan", start=now + timedelta(hours=1), end=now + timedelta(hours=2), **plan
        )
        await act("start", incident=number)
    elif state != "ok":
        severity = "outage" if state in ("recovering", "overdue") else state
        text = "Checkout answers **only every third time**. Carts are kept. See [what still works](https://example.com)."
        number = await act(
            "create", title="Checkout fails for many customers", severity=severity, text=text
        )
        for more in (
            "We have found the cause: a broken disk.",
            "The disk is replaced.",
            "We are starting it again.",
        ):
            await act("update", incident=number, text=more)
        if state == "recovering":
            await act("watch", incident=number)


async def shoot(
    browser: Browser, url: str, name: str, folder: Path, *, path: str = "/", words: str = ""
) -> None:
    for script in (True, False):
        for scheme in ("light", "dark"):
            for width, height in SIZES.items() if script else [(360, 740)]:
                page = await browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                    java_script_enabled=script,
                )
                await page.goto(url + path)
                await page.get_by_text(words).first.wait_for()
                file = folder / f"{name}-{width}-{scheme}{'' if script else '-plain'}.png"
                await page.screenshot(path=file, full_page=True)
                await page.close()


async def main(folder: Path, wanted: list[str]) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for state in [
            s for s in STATES if not wanted or s in wanted or ("pages" in wanted and s == "outage")
        ]:
            with TemporaryDirectory() as place:
                world = World(Path(place))
                await world.open()
                world.settings["site"] |= {
                    "timezone": "Europe/Berlin",
                    "support_phone": "+49 30 1234",
                    "legal_url": "/",
                }
                world.settings["opsgenie"]["stale_after"] = 1 if state == "unknown" else 600
                world.settings["site"]["update_every"] = 2 if state == "overdue" else 1800
                await world.start()
                await arrange(world, state)
                words = HEADLINES.get(state, "Example")
                await eventually(partial(_says, world, words), within=20)
                if not wanted or state in wanted:
                    await shoot(browser, world.url, f"home-{state}", folder, words=words)
                if state == "outage":
                    day = (datetime.now(UTC) - timedelta(days=6)).date()
                    pages = {
                        "incident": "/incidents/6",
                        "history": "/history",
                        "day": f"/{day}",
                        "missing": "/x",
                    }
                    pages |= {
                        "subscribe": "/subscribe",
                        "error": "/broken",
                        "frame": "/embed/frame",
                    }
                    for name, path in pages.items():
                        await shoot(browser, world.url, name, folder, path=path)
                    await told(browser, world, folder)
                await world.close()
        await browser.close()


async def told(browser: Browser, world: World, folder: Path) -> None:
    """What visitors are answered, what paper shows, and a page whose server is gone."""
    page = await browser.new_page(viewport={"width": 360, "height": 740})
    for name, address in (("sent", "ada@example.org"), ("wrong", "ada@nowhere")):
        await page.goto(f"{world.url}/subscribe")
        await page.get_by_label("Your mail address").fill(address)
        await page.get_by_role("button", name="Subscribe").click()
        await page.screenshot(path=folder / f"subscribe-{name}-360-light.png", full_page=True)
    await page.goto(world.url)
    await page.get_by_text("Live, as of").wait_for()
    await page.emulate_media(media="print")
    await page.screenshot(path=folder / "home-outage-print.png", full_page=True)
    await page.emulate_media(media="screen", forced_colors="active")
    await page.screenshot(path=folder / "home-outage-forced-colors.png", full_page=True)
    await page.emulate_media(forced_colors="none")
    await world.stop()
    await page.get_by_text("Not live").wait_for()
    await page.screenshot(path=folder / "home-outage-not-live.png")
    await page.close()


def sheet(folder: Path) -> None:
    figures = "".join(
        f"<figure><img src={escape(f.name)} loading=lazy><figcaption>{escape(f.stem)}</figcaption></figure>"
        for f in sorted(folder.glob("*.png"))
    )
    style = "<style>body{display:flex;flex-wrap:wrap;gap:1em;background:#888}img{width:22em}figure{margin:0}</style>"
    (folder / "index.html").write_text(f"<!doctype html><title>Screenshots</title>{style}{figures}")


async def _says(world: World, words: str) -> bool:
    return words in await world.page()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    asyncio.run(main(FOLDER, sys.argv[1:]))
    sheet(FOLDER)
