"""What others' validators say of our pages and documents: the W3C's for HTML, CSS and SVG, and AsyncAPI's own parser.

They come from npm and need a JRE and node: `npm ci --prefix tests/npm`.
"""

import asyncio
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.world import World

HERE = Path(__file__).parents[1] / "npm"
MODULES = HERE / "node_modules"


async def run(*command: str | Path, given: str = "") -> str:
    """What a program of these words prints, on both its outputs."""
    pipe = asyncio.subprocess.PIPE
    started = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=pipe, stdout=pipe, stderr=pipe
    )
    out, err = await started.communicate(given.encode())
    return (out + err).decode()


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """The programs are there; only a laptop may be without them."""
    lacking = [name for name in ("java", "node") if shutil.which(name) is None]
    lacking += [] if MODULES.exists() else ["tests/npm/node_modules"]
    if lacking and os.environ.get("CI"):
        pytest.fail(
            f"missing: {', '.join(lacking)}; install a JRE and node, then: npm ci --prefix tests/npm"
        )
    if lacking:
        pytest.skip(
            f"missing: {', '.join(lacking)}; the validators need a JRE, node and: npm ci --prefix tests/npm"
        )


async def checked(folder: Path) -> list[str]:
    """What the validator complains of in the files of a folder, warnings included."""
    jar = MODULES / "vnu-jar" / "build" / "dist" / "vnu.jar"
    said = await run(
        "java", "-jar", jar, "--also-check-css", "--also-check-svg", "--format", "json", folder
    )
    found: list[dict[str, Any]] = json.loads(said[said.index("{") :])["messages"]
    return [
        f"{Path(m['url']).name}:{m.get('lastLine')}: {m['message']} {m.get('extract', '')}"
        for m in found
    ]


async def test_every_page_in_every_state_is_valid_html(world: World, tmp_path: Path) -> None:
    folder, now = tmp_path / "pages", datetime.now(UTC)
    folder.mkdir()
    today = f"/{now.date()}"
    world.settings["site"] |= {
        "privacy_url": "https://example.com/privacy",
        "legal_url": "https://example.com/legal",
    }
    world.settings["site"] |= {"support_phone": "+49 30 1234567", "colors": {"link": "#0b57d0"}}

    async def keep(state: str, *paths: str) -> None:
        for path in ("/", "/history", today, "/incidents/1", "/embed/frame", *paths):
            name = path.strip("/").replace("/", "-") or "home"
            (folder / f"{state}-{name}.html").write_text(await world.page(path))

    await world.start()
    await keep("ok", "/subscribe", "/nowhere", "/broken")
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await keep("suspected")
    await world.act("confirm", incident=1, severity="outage")
    await world.act(
        "edit",
        incident=1,
        summary="# A **list**\n\n1. `one`\n2. [two](https://x.org)\n\n> <b>said</b> \x07",
    )
    for text in (
        "* a\n* b",
        "---\n\n```\ncode\n```",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        '"&<>' + "x" * 300 + " and what follows it in plain English words" * 20,
    ):
        await world.act("update", incident=1, text=text)
    await world.act(
        "plan",
        title='An "upgrade" & <more>',
        start=now + timedelta(hours=1),
        end=now + timedelta(hours=2),
    )
    await world.act(
        "create", title="Long ago", severity="bug", start=now - timedelta(days=40), end=now
    )
    await keep("outage", "/incidents/2", "/incidents/3", f"/{(now - timedelta(days=40)).date()}")
    await world.act("watch", incident=1)
    await keep("watching")
    await world.act("resolve", incident=1)
    await world.act("cancel", incident=2)
    await keep("resolved", "/incidents/2")
    await world.stop()
    world.settings["site"]["language"] = "de"
    await world.start()
    await keep("de", "/incidents/2", "/subscribe", "/nowhere", "/broken")
    for path in (
        "/badge.svg",
        *[f"/static/{one.name}" for one in (HERE.parents[1] / "static").glob("*.svg")],
    ):
        (folder / path.rpartition("/")[2]).write_text(await world.page(path))
    (folder / "style.css").write_text(await world.page("/static/style.css"))
    async with world.http.post(f"{world.url}/subscribe", data={"email": "ada@nowhere"}) as answer:
        (folder / "refused.html").write_text(await answer.text())
    assert len(list(folder.iterdir())) > 35
    assert await checked(folder) == []


async def test_the_validator_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "wrong.html").write_text(
        "<!doctype html><html lang=en><title>x</title><p><h1>y</h1></p>"
    )
    assert any("p" in found for found in await checked(tmp_path))


async def test_asyncapis_own_parser_accepts_the_document_and_refuses_a_wrong_one(
    world: World,
) -> None:
    await world.start()
    document = await world.page("/feed/v1/asyncapi.json")
    program = HERE / "asyncapi.mjs"
    # Information only: 3.1.0 exists; we keep 3.0.0.
    said = [
        line
        for line in (await run("node", program, given=document)).splitlines()
        if "latest version" not in line
    ]
    assert said == []
    wrong = json.loads(document)
    del wrong["info"]
    assert "info" in await run("node", program, given=json.dumps(wrong))
