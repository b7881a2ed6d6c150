"""What other sites show of us, in a real browser on another origin, and what machines read about us."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate
from playwright.async_api import Browser, Page, expect

from monostat.cautions import cautions
from monostat.config import Config, Site
from monostat.core import snapshot
from monostat.core.model import Severity
from monostat.demo.faults import serve
from monostat.languages import load_words
from monostat.public import statuspage
from monostat.public.pages import Pages
from tests.core.histories import Core, happens, histories
from tests.policies import POLICY
from tests.waiting import eventually
from tests.world import World

NASTY = "<img src=x onerror=alert(1)>{{7*7}}</script><b>&amp;"
SCRIPT = '<script async src="{url}/embed/script.js" referrerpolicy="no-referrer"{more}></script>'
STRICT = (
    "default-src 'none'; script-src {url}; connect-src {url}; require-trusted-types-for 'script'"
)
ENGLISH = load_words("en")
DOCUMENTS = Pages(
    web.Application(),
    ENGLISH,
    Site(name='Ex "<b>', url="https://status.example.com"),
    POLICY,
    "build",
)

GERMAN = Pages(web.Application(), load_words("de"), DOCUMENTS.site, POLICY, "build")


class Host:
    """A page of somebody else's site with this body, as open in a browser."""

    def __init__(self, page: Page, complaints: list[str]) -> None:
        self.page, self.complaints = page, complaints
        self.banner = page.get_by_role("status").get_by_role("link")

    async def idle(self) -> None:
        """The page is as complete as it gets, and the embed has been answered."""
        await self.page.wait_for_load_state("networkidle")


@asynccontextmanager
async def host(browser: Browser, body: str, policy: str, **headers: str) -> AsyncIterator[Host]:
    async def show(_request: web.Request) -> web.Response:
        text = f"<!doctype html><html lang=en><title>Shop</title><h1>Shop</h1>{body}"
        return web.Response(
            text=text,
            content_type="text/html",
            headers={"Content-Security-Policy": policy} | headers,
        )

    app = web.Application()
    app.router.add_get("/", show)
    async with serve(app) as address:
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(address)
        yield Host(page, complaints)
        await page.close()


async def at_will(page: Page) -> None:
    """Lets the test move the page's clock from its next load on; the browser's cache, which has its own, is off."""
    await page.clock.install()
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Network.enable")
    await devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})


def strict(world: World, body: str = "", *, more: str = "") -> tuple[str, str]:
    """A body with the embed, and a policy that allows nothing else."""
    return body + SCRIPT.format(url=world.url, more=more), STRICT.format(url=world.url)


async def outage(world: World, title: str = "Checkout fails") -> None:
    """One that is confirmed and announced."""
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.tap("verb:confirm:outage")
    await world.act("title", incident=1, title=title)
    await eventually(lambda: listed(world))
    await eventually(lambda: mailed(world))  # the last that raises the version by itself


async def mailed(world: World) -> bool:
    return "Subscribers were emailed" in await world.page("/incidents/1")


async def listed(world: World) -> bool:
    return '"incident_updates"' in await world.page("/api/v2/summary.json")


async def test_under_a_strict_policy_the_banner_tells_of_an_open_incident(
    world: World, browser: Browser
) -> None:
    await outage(world)
    async with host(browser, *strict(world)) as shop:
        await expect(shop.banner).to_have_text("Example is down: Checkout fails")
        await expect(shop.banner).to_have_attribute("href", f"{world.url}/")
        place = await shop.page.locator("body > div").bounding_box()
        assert place is not None
        assert place["x"] == 16
        await shop.page.set_viewport_size({"width": 320, "height": 600})
        narrow = await shop.page.locator("body > div").bounding_box()
        assert narrow is not None
        assert (narrow["x"], narrow["width"] <= 288) == (16, True)
        assert shop.complaints == []
        assert await shop.page.context.cookies() == []
        assert await shop.banner.evaluate(
            "link => getComputedStyle(link.closest('[lang]')).backgroundColor"
        ) == ("rgb(179, 38, 30)")


async def test_what_people_wrote_stays_text_wherever_it_is_embedded(
    world: World, browser: Browser
) -> None:
    world.settings["site"]["name"] = NASTY
    await outage(world, NASTY)
    async with host(browser, *strict(world, "<a data-monostat></a>")) as shop:
        await expect(shop.banner).to_have_text(f"{NASTY} is down: {NASTY}")
        assert shop.complaints == []
    frame = await world.page("/embed/frame")
    assert "<img src=x" not in frame
    assert NASTY in unescape(frame)
    for path in ("/", "/badge.svg", "/openapi.json", "/feed/v1/asyncapi.json"):
        assert "<img src=x" not in await world.page(path), path


async def test_with_nothing_open_the_embed_adds_nothing_and_fills_a_link_of_the_page(
    world: World, browser: Browser
) -> None:
    await world.start()
    async with host(browser, *strict(world, "<p><a data-monostat>Service status</a></p>")) as shop:
        link = shop.page.locator("a[data-monostat]")
        await expect(link).to_have_text("Example is up and running")
        await expect(link).to_have_attribute("href", f"{world.url}/")
        assert await shop.page.locator("body > div").count() == 0
        assert shop.complaints == []


async def test_a_link_says_that_all_is_well_only_while_that_is_known(
    world: World, browser: Browser
) -> None:
    world.settings["opsgenie"]["stale_after"] = 1
    await world.start()
    async with host(browser, *strict(world, "<p><a data-monostat>Service status</a></p>")) as shop:
        link = shop.page.locator("a[data-monostat]")
        await expect(link).to_have_text("Example is up and running")
        await at_will(shop.page)
        world.opsgenie.faults.fail_next(503, times=10_000)
        await eventually(lambda: blind(world))
        await shop.page.reload()
        await expect(link).to_have_text("We cannot see our monitoring")
        await world.stop()
        for _ in range(2):
            await shop.page.clock.fast_forward(76_000)
        await expect(link).to_have_text("Service status")


async def blind(world: World) -> bool:
    return not (await world.state())["monitoring"]["ok"]


async def test_a_mere_suspicion_shows_only_where_the_page_asks_for_it(
    world: World, browser: Browser
) -> None:
    await world.start()
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    async with host(browser, *strict(world, "<a data-monostat></a>")) as shop:
        await expect(shop.page.locator("a[data-monostat]")).to_have_text("Example status")
        assert await shop.page.locator("body > div").count() == 0
    more = ' data-min="suspected" data-position="inline"'
    async with host(browser, *strict(world, more=more)) as shop:
        await expect(shop.banner).to_have_text("Example may be having problems")
        assert await shop.page.locator("script + div").count() == 1
        assert (
            await shop.page.locator("script + div").evaluate(
                "div => getComputedStyle(div).position"
            )
            == "static"
        )
    async with host(browser, *strict(world, more=' data-min="critical"')) as shop:
        await shop.idle()
        assert await shop.page.locator("body > div").count() == 0


async def test_a_dismissed_banner_stays_away_until_there_is_news(
    world: World, browser: Browser
) -> None:
    await outage(world)
    async with host(browser, *strict(world, more=' data-position="bottom-right"')) as shop:
        await expect(shop.banner).to_be_visible()
        await shop.page.get_by_role("button", name="Dismiss").click()
        await expect(shop.banner).to_have_count(0)
        await at_will(shop.page)
        async with shop.page.expect_response("**/summary.json"):
            await shop.page.reload()
        await shop.idle()
        await expect(shop.banner).to_have_count(0)
        await world.tap("verb:watch")
        await eventually(lambda: says(world, "monitoring"))
        await looks_again(shop, "Example is recovering: Checkout fails")
        await world.tap("verb:resolve")
        await eventually(lambda: says(world, "All Systems"))
        await shop.page.clock.fast_forward(76_000)
        await expect(shop.banner).to_have_count(0)
        await world.act("create", title="Checkout fails", severity="outage")
        await looks_again(shop, "Example is down: Checkout fails")  # in the words of the first
        assert shop.complaints == []


async def looks_again(shop: Host, text: str) -> None:
    """Lets the embed's minute pass, and again where it had not begun yet on a busy machine."""
    for patience in (2_000, 2_000, 5_000):
        await shop.page.clock.fast_forward(76_000)
        with suppress(AssertionError):
            return await expect(shop.banner).to_have_text(text, timeout=patience)
    raise AssertionError(f"the banner never said {text!r}")


async def says(world: World, words: str) -> bool:
    return words in await world.page("/api/v2/summary.json")


async def test_a_dead_status_host_leaves_the_page_unharmed(world: World, browser: Browser) -> None:
    await world.start()
    body, policy = strict(world, "<a data-monostat>Service status</a>")
    await world.stop()
    async with host(browser, body + "<p id=end>The end</p>", policy) as shop:
        await expect(shop.page.locator("#end")).to_be_visible()
        await expect(shop.page.locator("a[data-monostat]")).to_have_text("Service status")
        await shop.idle()
        assert [
            c for c in shop.complaints if "Failed to load resource" not in c
        ] == []  # the browser's own line


async def test_a_status_host_that_dies_later_is_asked_ten_times_and_then_forgotten(
    world: World, browser: Browser
) -> None:
    await outage(world)
    async with host(browser, *strict(world)) as shop:
        asked: list[str] = []
        await expect(shop.banner).to_be_visible()
        await at_will(shop.page)
        async with shop.page.expect_response("**/summary.json"):
            await shop.page.reload()
        await shop.page.clock.fast_forward(100)
        await expect(shop.banner).to_be_visible()
        shop.page.on("requestfailed", lambda request: asked.append(request.url))
        await world.stop()
        for failures in range(1, 11):
            await shop.page.clock.fast_forward(76_000)
            await eventually(lambda wanted=failures: len(asked) >= wanted)  # type: ignore[misc]
            if failures < 10:
                await expect(shop.banner).to_be_visible()
        await shop.page.clock.fast_forward(76_000)
        await expect(shop.banner).to_have_count(0)
        await shop.page.clock.fast_forward(300_000)
        assert len(asked) == 10
        assert [c for c in shop.complaints if "Failed to load resource" not in c] == []


async def test_the_script_is_small_and_uses_nothing_that_policies_forbid(world: World) -> None:
    await world.start()
    async with world.http.get(f"{world.url}/embed/script.js") as answer:
        text = await answer.text()
        assert answer.headers["Cache-Control"] == "public, max-age=300, stale-if-error=604800"
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert len(text.encode()) < 3000
    for word in ("innerHTML", "eval", "cookie", "console", "WebSocket", "<style", "setAttribute"):
        assert word not in text


@pytest.mark.parametrize(
    "sandbox", ["", ' sandbox="allow-popups"', ' sandbox="allow-popups allow-scripts"']
)
async def test_the_frame_is_complete_inside_another_origins_page(
    world: World, browser: Browser, sandbox: str
) -> None:
    await outage(world, NASTY)
    body = f'<iframe src="{world.url}/embed/frame" title="Service status" width="320" height="115"{sandbox}></iframe>'
    policy, isolated = (
        f"default-src 'none'; frame-src {world.url}",
        {"Cross-Origin-Embedder-Policy": "require-corp"},
    )
    async with host(browser, body, policy, **isolated) as shop:
        frame = shop.page.frame_locator("iframe")
        await expect(frame.get_by_role("heading")).to_have_text("Example is down")
        await expect(frame.locator("main")).to_contain_text(NASTY)
        await expect(frame.get_by_role("link")).to_have_attribute("target", "_blank")
        box = await frame.locator("main").bounding_box()
        assert box is not None
        assert box["height"] <= 115
        inner = shop.page.frames[1]
        if sandbox != ' sandbox="allow-popups"':  # where no script may run, neither may ours
            await inner.evaluate("renew()")
            await expect(frame.locator("#old")).to_be_hidden()
            assert (
                await inner.evaluate("getComputedStyle(document.querySelector('main')).display")
                == "flex"
            )
            assert await inner.evaluate("document.querySelector('img').naturalWidth") > 0
        assert [c for c in shop.complaints if "allow-scripts" not in c] == []
    async with host(browser, f'<iframe src="{world.url}/"></iframe>', policy) as shop:
        await shop.idle()
        assert [c for c in shop.complaints if "frame-ancestors" in c or "X-Frame-Options" in c]


async def test_the_frame_renews_itself_and_says_when_it_cannot(
    world: World, browser: Browser
) -> None:
    await world.start()
    page = await browser.new_page()
    await at_will(page)
    await page.goto(f"{world.url}/embed/frame")
    await expect(page.get_by_role("heading")).to_have_text("Example is up and running")
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await page.clock.fast_forward(76_000)
    await expect(page.get_by_role("heading")).to_have_text("Example may be having problems")
    await expect(page.locator("main")).to_contain_text("Nobody has confirmed it yet")
    await expect(page.locator("#old")).to_be_hidden()
    await world.stop()
    await page.clock.fast_forward(76_000)
    await expect(page.locator("#old")).to_be_visible()


async def test_only_the_frame_may_be_framed(world: World) -> None:
    await world.start()
    async with world.http.get(f"{world.url}/embed/frame") as answer:
        assert answer.headers["Content-Security-Policy"] == (
            "default-src 'none'; style-src 'self'; img-src 'self' data:; connect-src 'self'; script-src 'self';"
            " base-uri 'none'; form-action 'none'; frame-ancestors *"
        )
        assert "X-Frame-Options" not in answer.headers
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.headers["Cache-Control"] == "public, max-age=30, stale-if-error=86400"
        assert 'content="noindex"' in await answer.text()
        again = {"If-None-Match": answer.headers["ETag"]}
    async with world.http.get(f"{world.url}/embed/frame?mobile=true", headers=again) as answer:
        assert answer.status == 304
        assert "X-Frame-Options" not in answer.headers
    for path in ("/", "/nothing", "/feed/v1/state.json", "/healthz"):
        async with world.http.get(world.url + path) as answer:
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("kind", "word", "german", "colour", "named"),
    [
        ("ok", "operational", "in Betrieb", "#2d7d32", "brightgreen"),
        ("notice", "operational", "in Betrieb", "#2d7d32", "brightgreen"),
        ("maintenance", "maintenance", "Wartung", "#1565c0", "blue"),
        ("suspected", "possible issue", "möglicherweise gestört", "#8a6100", "yellow"),
        ("bug", "known bug", "bekannter Fehler", "#8a6100", "yellow"),
        ("recovering", "recovering", "läuft wieder an", "#8a6100", "yellow"),
        ("partial", "partial outage", "Teilausfall", "#b3500b", "orange"),
        ("outage", "major outage", "Ausfall", "#b3261e", "red"),
        ("unknown", "cannot see monitoring", "Überwachung antwortet nicht", "#5f5f5f", "lightgrey"),
    ],
)
def test_both_badges_say_the_headline_in_its_word_and_colour(
    kind: str, word: str, german: str, colour: str, named: str
) -> None:
    shown = type("Snapshot", (), {"headline": snapshot.Headline(kind, "")})
    for pages, label, said in ((DOCUMENTS, "status", word), (GERMAN, "Status", german)):
        svg = pages.render("badge.svg.xml", snapshot=shown)
        image = ElementTree.fromstring(svg)
        texts = [e for e in image.iter() if e.tag.endswith("}text")]
        assert (image.get("height"), image.get("role"), image.get("aria-label")) == (
            "20",
            "img",
            f"{label}: {said}",
        )
        assert [e.text for e in texts] == [label, said]
        assert sum(int(e.get("textLength", 0)) for e in texts) + 20 == int(image.get("width", 0))
        assert re.findall('fill="(#[0-9a-f]{6})"', svg) == [colour]
        assert json.loads(pages.render("badge.json", snapshot=shown)) == {
            "schemaVersion": 1,
            "label": label,
            "message": said,
            "color": named,
            "cacheSeconds": 300,
        }


async def test_the_badge_is_an_image_under_the_strictest_policy(
    world: World, browser: Browser
) -> None:
    await world.start()
    body = f'<img src="{world.url}/badge.svg" alt="Service status">'
    isolated = {"Cross-Origin-Embedder-Policy": "require-corp"}
    async with host(browser, body, f"default-src 'none'; img-src {world.url}", **isolated) as shop:
        await expect(shop.page.get_by_role("img")).to_have_js_property("naturalHeight", 20)
        assert shop.complaints == []
    for path, kind in (
        ("/badge.svg", "image/svg+xml"),
        ("/badge.json", "application/json; charset=utf-8"),
    ):
        async with world.http.get(world.url + path) as answer:
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["Cache-Control"] == "public, max-age=60, stale-if-error=3600"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            if path == "/badge.svg":
                assert (
                    answer.headers["Content-Security-Policy"]
                    == "default-src 'none'; frame-ancestors 'none'"
                )


async def test_the_head_names_every_other_form_and_stays_neutral_where_it_is_kept(
    world: World,
) -> None:
    await outage(world, NASTY)
    home, incident = await world.page(), await world.page("/incidents/1")
    for link in (
        'type="application/atom+xml" href="/history.atom"',
        'type="application/atom+xml" href="/updates.atom"',
        'type="application/rss+xml" href="/history.rss"',
        'type="text/calendar" href="/maintenance.ics"',
        'rel="service-desc" type="application/json" href="/openapi.json"',
        'property="og:type" content="website"',
    ):
        assert link in home
        assert link in incident
    assert 'property="og:description" content="Current status of Example: ' in home
    assert "down" not in "".join(re.findall('property="og:[^>]*>', home))
    assert re.search(
        r'og:description" content="As of \w+ \d+ \w+, \d\d:\d\d UTC: Confirmed"', incident
    )
    assert 'property="og:url" content="http://127.0.0.1/incidents/1"' in incident
    assert 'rel="canonical" href="http://127.0.0.1/incidents/1"' in incident
    assert 'name="robots" content="noindex"' in await world.page("/nothing")


async def test_security_txt_is_there_once_somebody_can_be_reached(world: World) -> None:
    await world.start()
    async with world.http.get(f"{world.url}/.well-known/security.txt") as answer:
        assert answer.status == 404
    await world.stop()
    soon = f"{datetime.now(UTC) + timedelta(days=10):%Y-%m-%dT%H:%M:%SZ}"
    world.settings["site"] |= {
        "security_contact": "mailto:security@example.com",
        "security_expires": soon,
    }
    await world.start()
    async with world.http.get(f"{world.url}/.well-known/security.txt") as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["Cache-Control"] == "public, max-age=86400"
        text = await answer.text()
    assert text.splitlines()[:2] == ["Contact: mailto:security@example.com", f"Expires: {soon}"]
    assert any(
        "site.security_expires" in line for line in cautions(Config.model_validate(world.settings))
    )


def closed(schema: Any) -> Any:
    """The schema with every object complete: what it does not name may not be there."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    return (
        found | {"additionalProperties": False}
        if isinstance(schema.get("properties"), dict)
        else found
    )


def checker(document: dict[str, Any]) -> Callable[[str, Any], None]:
    """Raises where a value is not what the schema of that name says."""
    schemas = {name: closed(schema) for name, schema in document["components"]["schemas"].items()}
    whole = {"components": {"schemas": schemas}}
    made = {n: Draft202012Validator(whole | {"$ref": f"#/components/schemas/{n}"}) for n in schemas}

    def fits(name: str, value: Any) -> None:
        made[name].validate(value)

    return fits


OPENAPI = json.loads(DOCUMENTS.render("openapi.json"))
ASYNCAPI = json.loads(DOCUMENTS.render("asyncapi.json"))


def test_openapi_is_valid_and_its_examples_are_what_its_schemas_say() -> None:
    validate(OPENAPI)
    assert OPENAPI["openapi"] == "3.1.0"
    assert OPENAPI["servers"] == [{"url": "https://status.example.com"}]
    fits = checker(OPENAPI)
    for path, found in OPENAPI["paths"].items():
        [(kind, content)] = found["get"]["responses"]["200"]["content"].items()
        if kind == "application/json" and path not in ("/openapi.json", "/feed/v1/asyncapi.json"):
            fits(content["schema"]["$ref"].rpartition("/")[2], content["example"])


async def test_every_documented_path_answers_with_its_type(world: World) -> None:
    world.settings["site"] |= {
        "security_contact": "https://example.com/s",
        "security_expires": "2099-01-01T00:00:00Z",
    }
    await outage(world)
    async with world.http.get(f"{world.url}/openapi.json") as answer:
        document = await answer.json()
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert document["servers"] == [{"url": world.settings["site"]["url"]}]
    fits = checker(document)
    for path in document["paths"]:
        [(kind, content)] = document["paths"][path]["get"]["responses"]["200"]["content"].items()
        address = world.url + path.replace("{id}", "1")
        async with world.http.get(address) as answer:
            assert (answer.status, answer.content_type) == (200, kind), path
            if kind == "application/json" and "$ref" in content["schema"]:
                fits(content["schema"]["$ref"].rpartition("/")[2], await answer.json())
            again = {"If-None-Match": answer.headers["ETag"]}
        async with world.http.get(address, headers=again) as answer:
            assert answer.status == 304, path
        async with world.http.head(address) as answer:
            assert answer.status == 200, path


async def test_the_asyncapi_document_accepts_the_messages_of_a_real_socket(world: World) -> None:
    await outage(world)
    async with world.http.get(f"{world.url}/feed/v1/asyncapi.json") as answer:
        document = await answer.json()
    assert document["asyncapi"] == "3.0.0"
    assert document["servers"]["public"] | {"protocolVersion": ""} == {
        "host": "127.0.0.1",
        "protocol": "ws",
        "protocolVersion": "",
    }
    fits = checker(document)
    seen: set[str] = set()
    async with world.http.ws_connect(f"{world.url}/feed/v1") as ws:
        while seen != {"state", "heartbeat"}:
            message = await ws.receive_json(timeout=30)
            fits(message["type"].title(), message)
            seen.add(message["type"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_both_documents_accept_what_any_history_leads_to(history: list[tuple[Any, ...]]) -> None:
    core, fits, lists = Core(), checker(ASYNCAPI), checker(OPENAPI)
    head = OPENAPI["paths"]["/feed/v1/state.json"]["get"]["responses"]["200"]["content"][
        "application/json"
    ]["example"]
    head = {
        key: head[key]
        for key in ("type", "protocol", "epoch", "version", "time", "heartbeat_ms", "changed")
    }
    names = {
        path: found["get"]["responses"]["200"]["content"]
        for path, found in OPENAPI["paths"].items()
    }
    for step in history:
        happens(core, step)
        taken = snapshot.take(
            core.state,
            core.at,
            core.policy,
            words=ENGLISH,
            name="Ex",
            url="https://status.example.com",
        )
        fits("State", head | json.loads(taken.feed))
        made = statuspage.documents(
            core.state,
            taken,
            taken.announced,
            words=ENGLISH,
            url="https://status.example.com",
            name="Ex",
            version=1,
            changed=core.at,
        )
        for path, text in made.items():
            lists(
                names[path]["application/json"]["schema"]["$ref"].rpartition("/")[2],
                json.loads(text),
            )


def voice(core: Core) -> tuple[dict[str, Any], str]:
    """What the API's own object says now, and what stands in the frame."""
    url = "https://status.example.com"
    taken = snapshot.take(core.state, core.at, core.policy, words=ENGLISH, name="Ex", url=url)
    answers = statuspage.documents(
        core.state,
        taken,
        taken.announced,
        words=ENGLISH,
        url=url,
        name="Ex",
        version=1,
        changed=core.at,
    )
    said: dict[str, Any] = json.loads(answers["/api/v2/summary.json"])["monostat"]
    return said, DOCUMENTS.render("frame.html", snapshot=taken)


def test_frame_banner_and_api_say_the_headline_and_what_decides_it() -> None:
    core = Core()
    said, frame = voice(core)
    assert (said["headline"], said["deciding"]) == ("Ex is up and running", None)
    core.does("create", title="Slow logins", severity=Severity.PARTIAL)
    core.does("create", title="Typos", severity=Severity.BUG)
    said, frame = voice(core)
    assert said["headline"] == "Part of Ex is not working"
    assert said["deciding"] == {
        "id": "1",
        "title": "Slow logins",
        "url": "https://status.example.com/incidents/1",
    }
    assert said["words"]["banner"] == "Part of Ex is not working: Slow logins"
    assert "<p>Slow logins, and 1 more</p>" in frame
    ready = core.of(1)
    core.state.incidents[1] = replace(ready, title="Partial outage", has_ready_title=True)
    said, frame = voice(core)
    assert said["words"]["banner"] == said["headline"]
    assert "Partial outage" not in frame
