"""How Chromium is started for a test, and how it visits a page."""

from typing import Any

from playwright.async_api import Browser, Page

QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


async def visit(
    browser: Browser, url: str, *, script: bool = True, **options: Any
) -> tuple[Page, list[str]]:
    """A page, and what its console complains of: errors, and whatever the policy forbids."""
    page = await browser.new_page(java_script_enabled=script, **options)
    complaints: list[str] = []
    page.on(
        "console",
        lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    return page, complaints
