"""`monostat import` and `monostat export` against the real daemon: history comes, and alerts nobody."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import feedparser
import pytest
from aiohttp import ClientSession, ClientTimeout, web
from playwright.async_api import Browser, expect
from pydantic_core import to_jsonable_python
from yarl import URL

from monostat.demo.faults import serve
from monostat.ops.fetching import Unreachable, fetched
from monostat.ops.history import batches_of, read_all, send_batch
from tests.daemon import daemon, toml
from tests.ops.commands import shell
from tests.waiting import eventually
from tests.world import World

FILES = Path(__file__).parent.parent / "data" / "history"
ALL = [
    str(FILES / name) for name in ("incidents.json", "scheduled-maintenances.json", "django.json")
]
#: What programs read that tell people of new things.
ALERTING = (
    "/api/v2/summary.json",
    "/api/v2/incidents.json",
    "/api/v2/scheduled-maintenances.json",
    "/history.atom",
    "/history.rss",
    "/updates.atom",
    "/maintenance.ics",
)


@pytest.fixture(autouse=True)
def as_ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ada sits at a shell in the folder of the configuration."""
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def beside(world: World) -> AsyncIterator[None]:
    """The daemon runs, in this process, by the configuration that the shell finds."""
    await asyncio.to_thread((world.folder / "config.toml").write_text, toml(world.settings))
    await world.start()
    yield
    await world.stop()


async def brings(*words: str) -> str:
    """What an import prints that goes well."""
    code, out, err = await shell("import", *words)
    assert code == 0, err
    return out


async def alerting(world: World) -> list[str]:
    """What programs tell people of, without the time and number of the version."""
    return [without_version(await world.page(path)) for path in ALERTING]


def without_version(text: str) -> str:
    """A document without the time and number of its version, which tell nobody of anything."""
    return re.sub(r'(UTC","updated_at":"[^"]*"|"version":\d+)', "", text)


async def announced(world: World) -> bool:
    """Whether programs know of our own incident, and that it is over."""
    return '"status":"resolved"' in await world.page("/api/v2/incidents.json")


async def leads_to(world: World, old: str) -> str:
    """Where an old address sends whoever comes by it."""
    async with world.http.get(world.url + old, allow_redirects=False) as answer:
        assert answer.status == 301, old
        return answer.headers["Location"]


def lines(world: World) -> list[str]:
    """What Slack was told of imports."""
    return [message.text for message in world.slack.messages if "imported" in message.text]


async def test_what_is_imported_is_in_the_history_at_once_and_nobody_is_told_of_it_before_somebody_reopens_it(
    world: World,
) -> None:
    async with beside(world):
        await world.act("create", title="Our own", severity="partial", mail=False)
        await world.act("resolve", incident=1, mail=False)
        await eventually(lambda: "Our own" in str(world.slack.timeline()))
        await eventually(lambda: announced(world))
        before = await alerting(world)
        out = await brings(*ALL)
        assert "Read: 7 incidents that can be imported." in out
        assert "“Checkout is unavailable” (9xq2v7n4m1pk): it is investigating there" in out
        assert "Imported: 7 incidents." in out
        assert "Subscribers" in out
        assert await alerting(world) == before
        uploads = await leads_to(world, "/incidents/kctbh9vrtdwd")
        page = await world.page(uploads)
        for words in (
            "Elevated error rates on uploads",
            "Partial outage",
            "<strong>watching</strong>",
        ):
            assert words in page
        assert uploads in await world.page("/2025-10-14")
        shops = await leads_to(world, "/2021-03-01/1")
        assert "Ticket shops are down" in await world.page(shops)
        assert "Ticket shops are down" in await world.page("/2021-03-01")
        assert "Our own" in await world.page("/incidents/1")
        async with world.http.get(f"{world.url}/incidents/nowhere12345") as answer:
            assert answer.status == 404
        assert "Here already: 7." in await brings(*ALL)
        _, out, _ = await shell("incident", "show", uploads.rpartition("/")[2])
        assert "Imported from statuspage/kctbh9vrtdwd." in out
        assert await alerting(world) == before
        [line] = await eventually(lambda: lines(world))
        assert "ada (shell) imported incidents of the past: 7." in line
        assert len(world.slack.timeline()) == 2  # that line, and our own incident
        assert world.rapidmail.mailings == []
        number = int(uploads.rpartition("/")[2])
        await world.act("edit", incident=number, changes={"title": "Uploads failed"})
        await eventually(
            lambda: "imported from statuspage/kctbh9vrtdwd" in str(world.slack.timeline())
        )
        assert "Uploads failed" in await world.page(uploads)
        assert "Here already: 7." in await brings(*ALL)
        assert "Uploads failed" in await world.page(uploads)
        await world.act("reopen", incident=number)
        await eventually(lambda: world.rapidmail.mailings)
        assert "Uploads failed" in (await alerting(world))[3]
        told = feedparser.parse(await world.page("/updates.atom")).entries
        assert sum("Uploads failed" in entry.title for entry in told) == 1


class Follower:
    """A program that asks one address again and again with the tag that it knows, and keeps all that it was told."""

    def __init__(self, world: World, path: str) -> None:
        self.world, self.path = world, path
        self.told: set[str] = set()
        self.statuses: list[int] = []

    async def follow(self) -> None:
        tag = ""
        while True:
            headers = {"If-None-Match": tag}
            async with self.world.http.get(self.world.url + self.path, headers=headers) as answer:
                if answer.status == 200:
                    tag = answer.headers["ETag"]
                    self.told.add(without_version(await answer.text()))
                self.statuses.append(answer.status)
            await asyncio.sleep(0.01)


async def test_programs_that_ask_before_during_and_after_an_import_are_told_nothing(
    world: World,
) -> None:
    many = history(250)
    lately = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    many["incidents"][7] |= {"created_at": lately, "incident_updates": [], "impact": "critical"}
    await asyncio.to_thread((world.folder / "many.json").write_text, json.dumps(many))
    batches = list(batches_of(read_all(["many.json"]).records))
    assert len(batches) == 3
    async with beside(world), asyncio.TaskGroup() as programs:
        await world.act("create", title="Our own", severity="partial", mail=False)
        await world.act("resolve", incident=1, mail=False)
        await eventually(lambda: announced(world))
        followers = [Follower(world, path) for path in ALERTING]
        asking = [programs.create_task(each.follow()) for each in followers]

        async def all_have_asked() -> None:
            before = [len(each.statuses) for each in followers]
            await eventually(
                lambda: all(
                    len(each.statuses) > count + 1
                    for each, count in zip(followers, before, strict=True)
                )
            )

        async with world.http.ws_connect(f"{world.url}/feed/v1") as feed:
            first = await feed.receive_json()
            await all_have_asked()
            added = 0
            for number, batch in enumerate(batches, start=1):
                body = {"records": to_jsonable_python(batch), "by": "ada", "added": added}
                body["last"] = number == len(batches)
                added = await asyncio.to_thread(send_batch, [world.folder / "monostat.sock"], body)
                await all_have_asked()
            assert added == 250
            heard = first
            while heard["version"] == first["version"]:
                heard = await feed.receive_json()
            assert heard["changed"] is None
            for part in ("status", "open", "planned", "recent"):
                assert heard[part] == first[part], part
        for task in asking:
            task.cancel()
        for follower in followers:
            assert len(follower.told) == 1, follower.path  # the same, byte for byte
            assert set(follower.statuses) == {200, 304}
        for message in world.slack.messages:
            assert "It 7" not in message.text


async def test_a_browser_follows_the_old_addresses_of_both_sources(
    world: World, browser: Browser
) -> None:
    async with beside(world):
        await brings(*ALL)
        page = await browser.new_page()
        for old, title in {
            "/incidents/3h5wq9j2x7vc": "Database migration",
            "/2021-06-10/2": "Database upgrade",
        }.items():
            await page.goto(world.url + old)
            await expect(page.get_by_role("heading", level=1)).to_have_text(title)
            assert re.fullmatch(r".*/incidents/\d+", page.url)


async def test_an_export_that_is_imported_elsewhere_makes_the_same_pages(world: World) -> None:
    shown = []
    for name in ("here.db", "there.db"):
        world.settings["database"]["path"] = world.folder / name
        async with beside(world):
            if name == "here.db":
                assert await shell("export") == (0, "[]\n", "")
                await brings(str(FILES / "v1.json"), *ALL)
                number = await world.act(
                    "create", title="A <b>&amp;</b>", severity="outage", text="*We* know."
                )
                await world.act("resolve", incident=number, summary="", mail=False)
                await world.act("edit", incident=number, changes={"summary": "1. It\n2. Was"})
                assert (await shell("export", "all.json"))[1] == "all.json: 12 incidents\n"
            else:
                assert "Imported: 12 incidents." in await brings("all.json")
            code, out, _ = await shell("export")
            assert code == 0
            rows = sorted(json.loads(out), key=lambda row: (row["name"], row["started_at"]))
            pages = [await world.page(f"/incidents/{row['id']}") for row in rows]
            pages.append(await world.page("/2025-08-09"))
            shown.append([without_numbers(page) for page in pages])
            if name == "here.db":
                assert "Here already: 12." in await brings("all.json")
    assert shown[0] == shown[1]


def without_numbers(page: str) -> str:
    """What readers see inside a page, numbers, the ids of updates, and the time of rendering aside."""
    main = page[page.index("<main") : page.index("</main>")]
    main = re.sub(r'<p id="live".*', "", main)  # says when it was rendered
    main = re.sub(r"(incident|update)-\d+", r"\1", main)
    return re.sub(r'id="\d+"|/incidents/\d+', "", main)


async def test_a_dry_run_says_what_would_come_what_is_here_and_why_the_rest_would_not(
    world: World,
) -> None:
    async with beside(world):
        await brings(str(FILES / "django.json"))
        out = await brings("--dry-run", *ALL)
        assert (
            "would be imported: 2025-10-14 09:05 UTC  Partial outage: Elevated error rates" in out
        )
        assert "is here already: 2021-03-01 09:00 UTC  Outage: Ticket shops are down" in out
        assert "“Network upgrade” (7c2yb5t9n3gh): it is in the future" in out
        assert "this was a dry run.\n" in out
        assert await leads_to(world, "/2021-03-01/1")
        async with world.http.get(f"{world.url}/incidents/kctbh9vrtdwd") as answer:
            assert answer.status == 404
    assert "no daemon answers" in await brings("--dry-run", ALL[0])
    code, _, err = await shell("import", ALL[0])
    assert (code, "monostat serve" in err) == (69, True)
    code, _, err = await shell("export")
    assert (code, "monostat serve" in err) == (69, True)


@asynccontextmanager
async def other_page(answers: dict[str, Callable[[], web.Response]]) -> AsyncIterator[str]:
    """A page with the public API of Statuspage, which answers this."""

    async def answer(request: web.Request) -> web.Response:
        return answers[request.path]()

    app = web.Application()
    for path in answers:
        app.router.add_get(path, answer)
    async with serve(app) as url:
        yield url


def file(name: str) -> Callable[[], web.Response]:
    return lambda: web.Response(body=(FILES / name).read_bytes(), content_type="application/json")


async def test_from_the_address_of_a_page_both_lists_are_taken_and_what_cannot_be_had_is_said(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.toml").write_text('[site]\nname = "X"\nurl = "http://x"\n')
    many = {"incidents": [{"id": f"a{n}", "name": "It", "status": "resolved", "created_at": "2020-01-01T00:00:00Z"} for n in range(50)]}  # fmt: skip
    answers = {
        "/api/v2/incidents.json": file("incidents.json"),
        "/api/v2/scheduled-maintenances.json": file("scheduled-maintenances.json"),
        "/many.json": lambda: web.json_response(many),
        "/login.json": lambda: web.Response(text="<html>", content_type="text/html"),
        "/private.json": lambda: web.Response(status=401),
    }
    async with other_page(answers) as url:
        out = await brings("--dry-run", url)
        assert "Read: 5 incidents" in out
        assert "Database migration" in out
        assert "the newest 50" not in out
        assert "Read: 50 incidents" in (out := await brings("--dry-run", f"{url}/many.json"))
        assert "api.statuspage.io/v1" in out
        failures = {
            f"{url}/login.json": (1, "this is a web page, not JSON"),
            f"{url}/private.json": (69, "answers 401"),
            f"{url}/missing.json": (69, "answers 404"),
            "http://127.0.0.1:1": (69, "cannot be reached"),
            "http://[": (69, "is not an address"),
            "nowhere.json": (1, "nowhere.json: No such file"),
            "status.x.com": (1, "The address of a page begins with https://"),
            str(tmp_path): (1, "Is a directory"),
        }
        for source, (code, words) in failures.items():
            found, _, err = await shell("import", "--dry-run", source)
            assert (found, words in err) == (code, True), err
    assert (await shell("import"))[0] == 64


async def test_an_address_that_never_answers_or_answers_half_is_told_as_that() -> None:
    async def never(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "99"})
        await answer.prepare(request)
        await answer.write(b"[")
        assert request.transport
        request.transport.close()
        return answer

    app = web.Application()
    app.add_routes([web.get("/never", never), web.get("/half", half)])
    async with serve(app) as url, ClientSession(timeout=ClientTimeout(total=0.3)) as session:
        with pytest.raises(Unreachable, match=r"/never did not answer within 0\.3 seconds"):
            await fetched(session, URL(f"{url}/never"))
    async with serve(app) as url, ClientSession() as session:
        with pytest.raises(
            Unreachable, match="/half stopped in the middle of its answer: try again"
        ):
            await fetched(session, URL(f"{url}/half"))


def history(count: int) -> dict[str, Any]:
    """So many incidents of one page."""
    rows = []
    for number in range(count):
        at = datetime(2020, 1, 1 + number % 28, number % 24, tzinfo=UTC).isoformat()
        row = {"id": f"{number:012}a"[1:], "name": f"It {number}", "status": "resolved"}
        update = {"id": "u", "status": "resolved", "body": "Words. " * 50, "display_at": at}
        rows.append(row | {"impact": "minor", "created_at": at, "incident_updates": [update]})
    return {"incidents": rows}


async def test_an_import_that_the_disk_ends_half_way_says_how_far_it_came_and_goes_on_from_there(
    world: World,
) -> None:
    await asyncio.to_thread((world.folder / "many.json").write_text, json.dumps(history(200)))
    async with beside(world):
        await world.in_file(
            "CREATE TRIGGER full BEFORE INSERT ON incidents"
            " WHEN (SELECT count(*) FROM incidents) = 150 BEGIN"
            " SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        code, _, err = await shell("import", "many.json")
        assert err.startswith("monostat: after 100 of 200: nothing can be saved (database or disk")
        assert "run this command again: it carries on where it stopped." in err
        assert code == 69
        await world.in_file("DROP TRIGGER full")
        assert "Imported: 100 incidents. Here already: 100." in await brings("many.json")
        await world.in_file("ALTER TABLE facts RENAME TO lost")
        for words in (["export"], ["incident", "list", "--all"], ["incident", "show", "9"]):
            code, out, err = await shell(*words)
            assert (code, out) == (69, "")
            assert (
                err
                == "monostat: the daemon cannot answer: its database says no such table: facts\n"
            )


async def test_a_half_import_is_finished_by_running_it_again_after_kill_9(world: World) -> None:
    for section in ("slack", "opsgenie", "rapidmail"):
        del world.settings[section]
    await asyncio.to_thread((world.folder / "many.json").write_text, json.dumps(history(600)))

    async def count() -> int:
        rows = await world.in_file("SELECT count(*) FROM facts WHERE kind = 'Incident'")
        return int(rows[0][0])

    async with daemon(world) as process:
        bringing = asyncio.create_task(shell("import", "many.json"))
        taken = await eventually(count)
        process.send_signal(signal.SIGKILL)
        code, _, err = await bringing
    if code:  # it may have been too fast to be killed within
        assert code == 69
        assert "run this command again" in err or "monostat serve" in err
    async with beside(world):
        code, out, err = await shell("import", "many.json")
        assert code == 0, err
        assert "500 of 600 …" in err
        found = re.search(r"Imported: (\d+) incidents?\.(?: Here already: (\d+)\.)?", out)
        assert found
        assert int(found[1]) + int(found[2] or 0) == 600
        assert int(found[2] or 0) >= taken
        assert await count() == 600
        assert await leads_to(world, f"/incidents/{599:012}a".replace("/0", "/", 1))
