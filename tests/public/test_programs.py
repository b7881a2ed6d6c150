"""What programs read: Statuspage's API, the feeds and the calendar, on real sockets and through real clients."""

import asyncio
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import feedparser
import pytest
from aiohttp import ClientSession, UnixConnector
from discordstatus import DiscordStatus
from github_status import github_status
from hypothesis import HealthCheck, example, given, settings
from icalendar import Calendar

from monostat.core.model import SERIOUS, Birth, Incident, Severity, State, Status, Update
from monostat.core.snapshot import CALENDAR_MOST, Snapshot, take
from monostat.languages import load_words
from monostat.public import feeds, statuspage
from tests.core.histories import NOON, Core, after, happens, histories
from tests.waiting import eventually
from tests.world import World

SITE, LATER = "https://status.example.com", timedelta(hours=1)
ENGLISH = load_words("en")
API = (
    *(
        "summary",
        "status",
        "components",
        "incidents",
        "incidents/unresolved",
        "scheduled-maintenances",
    ),
    *("scheduled-maintenances/upcoming", "scheduled-maintenances/active"),
)
ALL = (
    *(f"/api/v2/{name}.json" for name in API),
    "/history.atom",
    "/history.rss",
    "/updates.atom",
    "/maintenance.ics",
)
TYPES = {
    "json": (
        "application/json; charset=utf-8",
        "public, max-age=10, s-maxage=10, stale-while-revalidate=20, stale-if-error=3600",
    ),
    "atom": ("application/atom+xml; charset=utf-8", "public, max-age=60, stale-if-error=86400"),
    "rss": ("application/rss+xml; charset=utf-8", "public, max-age=60, stale-if-error=86400"),
    "ics": ("text/calendar; charset=utf-8", "public, max-age=300, stale-if-error=86400"),
}
# These keys, in this order, and no other.
PAGE = ["id", "name", "url", "time_zone", "updated_at"]
INCIDENT = [
    *(
        "id",
        "name",
        "status",
        "created_at",
        "updated_at",
        "monitoring_at",
        "resolved_at",
        "impact",
        "shortlink",
    ),
    *("started_at", "page_id", "incident_updates", "components", "reminder_intervals"),
]
UPDATE = [
    *(
        "id",
        "status",
        "body",
        "incident_id",
        "created_at",
        "updated_at",
        "display_at",
        "affected_components",
    ),
    *("deliver_notifications", "custom_tweet", "tweet_id"),
]
DESCRIPTIONS = {
    "none": {"All Systems Operational"},
    "maintenance": {"Service Under Maintenance"},
    "minor": {"Minor Service Outage", "Partially Degraded Service"},
    "major": {"Partial System Outage"},
    "critical": {"Major Service Outage"},
}
OPEN, RUNNING = {"identified", "monitoring"}, {"in_progress", "verifying"}
ATOM = "{http://www.w3.org/2005/Atom}"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ANGRY = '<script>alert(1)</script> & "it\'s" ]]> <b onclick=x>'


async def does(world: World, verb: str, **more: Any) -> int:
    """Acts through the control socket, and is not refused."""
    connector = UnixConnector(str(world.folder / "monostat.sock"))
    asked = {"verb": verb, "by": "Ada", **more}
    async with (
        ClientSession(connector=connector) as http,
        http.post("http://monostat/act", json=asked) as answer,
    ):
        found = await answer.json()
    assert found["refused"] == ""
    number: int = found["number"]
    return number


async def plans(world: World, title: str = "Move", **more: Any) -> int:
    start = datetime.now(UTC) + LATER
    times = {"start": start.isoformat(), "end": (start + LATER).isoformat()}
    return await does(world, "plan", title=title, **times | more)


async def everything(world: World) -> dict[str, str]:
    return {path: await world.page(path) for path in ALL}


async def asks(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await world.page(f"/api/v2/{name}.json"))
    return found


def listed(bodies: dict[str, str]) -> Counter[str]:
    """How many incidents each address tells of; those without any are left out."""
    found: Counter[str] = Counter()
    for path, body in bodies.items():
        if path.endswith(".json"):
            found[path] = sum(
                len(json.loads(body).get(kind, []))
                for kind in ("incidents", "scheduled_maintenances")
            )
        else:
            found[path] = body.count("<entry>") + body.count("<item>") + body.count("BEGIN:VEVENT")
    return +found


async def listed_now(world: World) -> Counter[str]:
    return listed(await everything(world))


async def all_listed(world: World) -> None:
    """Waits for an incident and a plan to stand wherever they belong."""

    async def there() -> bool:
        return len(await listed_now(world)) == 9

    await eventually(there)


def names(*paths: str) -> dict[str, int]:
    return {path if path.startswith("/") else f"/api/v2/{path}.json": 1 for path in paths}


# Looked at, or alerted.


async def test_a_suspicion_weighs_in_the_indicator_and_stands_in_no_list_feed_or_calendar(
    world: World,
) -> None:
    await world.start()
    assert (await asks(world, "status"))["status"]["indicator"] == "none"
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    summary = await asks(world, "summary")
    assert summary["status"] == {"indicator": "minor", "description": "Partially Degraded Service"}
    assert summary["monostat"]["incidents"] == {"1": {"state": "suspected", "severity": "outage"}}
    assert summary["monostat"]["monitoring"] == {"ok": True}
    assert await listed_now(world) == {}


async def test_what_is_confirmed_is_told_to_programs_when_its_window_is_over_and_without_the_suspicion(
    world: World,
) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    await world.start()
    world.opsgenie.fire("disk full")
    suspected = await world.becomes("suspected")
    await does(world, "confirm", incident=1)
    assert (await asks(world, "status"))["status"]["indicator"] == "critical"
    assert await listed_now(world) == {}
    await does(world, "send", incident=1)
    told = await everything(world)
    feeds_of_it = ("/history.atom", "/history.rss", "/updates.atom")
    assert listed(told) == names("summary", "incidents", "incidents/unresolved", *feeds_of_it)
    for body in told.values():
        assert suspected["updates"][0]["text"] not in body
    (incident,) = (await asks(world, "incidents"))["incidents"]
    assert [u["status"] for u in incident["incident_updates"]] == ["identified"]


async def test_what_is_undone_within_its_window_leaves_no_trace(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    await world.start()
    number = await does(world, "create", title="A mistake")
    plan = await plans(world, "Another mistake")
    assert await listed_now(world) == {}
    assert "major" in await world.page("/api/v2/status.json")
    await does(world, "undo", incident=number)
    await does(world, "undo", incident=plan)
    bodies = await everything(world)
    assert listed(bodies) == {}
    for body in bodies.values():
        assert "istake" not in body
    summary = json.loads(bodies["/api/v2/summary.json"])
    assert (summary["status"]["indicator"], summary["monostat"]["incidents"]) == ("none", {})


async def test_a_plan_is_announced_when_its_window_ends_and_stays_as_cancelled(
    world: World,
) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    await world.start()
    await plans(world, summary="Read-only, for ten minutes.")
    assert await listed_now(world) == {}
    await does(world, "send", incident=1)
    every = (
        "scheduled-maintenances",
        "/history.atom",
        "/history.rss",
        "/updates.atom",
        "/maintenance.ics",
    )
    assert await listed_now(world) == names(*every, "summary", "scheduled-maintenances/upcoming")
    before = event(await world.page("/maintenance.ics"))
    assert (before["STATUS"], before["SEQUENCE"], before["SUMMARY"]) == ("CONFIRMED", 0, "Move")
    address = "http://127.0.0.1/incidents/1"
    assert (before["DESCRIPTION"], before["URL"]) == (
        f"Read-only, for ten minutes.\n{address}",
        address,
    )
    await does(world, "postpone", incident=1)
    moved = event(await world.page("/maintenance.ics"))
    assert moved["DTSTART"].dt == before["DTSTART"].dt + timedelta(minutes=30)
    assert (moved["SEQUENCE"], moved["UID"]) == (1, before["UID"])
    await does(world, "cancel", incident=1)
    after_it = event(await world.page("/maintenance.ics"))
    told = (after_it["STATUS"], after_it["SEQUENCE"], after_it["SUMMARY"], after_it["UID"])
    assert told == ("CANCELLED", 2, "Cancelled: Move", before["UID"])
    (entry,) = feedparser.parse(await world.page("/history.atom")).entries
    assert re.findall("<strong>(.*?)</strong>", entry.content[0].value)[0] == "Cancelled"
    (maintenance,) = (await asks(world, "scheduled-maintenances"))["scheduled_maintenances"]
    assert (maintenance["status"], maintenance["resolved_at"] is None) == ("completed", False)


def event(body: str) -> Any:
    (found,) = Calendar.from_ical(body).walk("VEVENT")
    return found


async def test_a_client_that_heard_of_a_version_finds_it_on_every_address(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 0
    await world.start()
    async with world.http.ws_connect(f"{world.url}/feed/v1") as feed:
        await feed.receive_json(timeout=30)
        await does(world, "create", title="Slow logins")
        version = 0
        while not version or len(await listed_now(world)) < 6:
            message = await feed.receive_json(timeout=30)
            version = message.get("version", version)
            assert (await asks(world, "incidents"))["monostat"]["version"] >= version


# Headers.


@pytest.mark.parametrize("path", ALL)
async def test_every_address_for_programs_has_its_headers(world: World, path: str) -> None:
    await world.start()
    kind, caching = TYPES[path.rpartition(".")[2]]
    async with world.http.get(world.url + path, headers={"Accept-Encoding": "identity"}) as answer:
        body = await answer.read()
        assert answer.status == 200
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (kind, caching)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert "Set-Cookie" not in answer.headers
        assert "X-StatusPage-Version" not in answer.headers
        tag = answer.headers["ETag"]
    state = await world.state()
    assert tag == f'W/"{state["epoch"]}-{state["version"]}"'
    for known in (tag, tag.removeprefix("W/"), "*", f'"other", {tag}'):
        async with world.http.get(world.url + path, headers={"If-None-Match": known}) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (304, "*")
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (tag, caching)
    async with world.http.head(world.url + path, headers={"Accept-Encoding": "identity"}) as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(body)))
    for asked in (path + "?cachebuster=1&callback=x", f"/{path}", path.replace("/", "//")):
        async with world.http.get(world.url + asked, headers={"Accept-Encoding": "gzip"}) as answer:
            assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
            assert await answer.read() == body
    preflight = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
    async with world.http.options(world.url + path, headers=preflight) as answer:
        assert (answer.status, await answer.read()) == (204, b"")
        allowed = {
            k.rpartition("-")[2]: v
            for k, v in answer.headers.items()
            if k.startswith("Access-Control")
        }
    assert allowed == {
        "Origin": "*",
        "Methods": "GET, HEAD, OPTIONS",
        "Headers": "*",
        "Age": "86400",
    }


async def test_what_programs_ask_wrongly_is_answered_in_json_for_any_origin(world: World) -> None:
    await world.start()
    asked = [
        ("GET", path, 404)
        for path in ("/api/v2/nothing.json", "/api/v2/", "//api/v2/Incidents.json", "/api/v1/x")
    ]
    for method, path, status in [
        *asked,
        ("POST", "/api/v2/summary.json", 405),
        ("DELETE", "/history.atom", 405),
        ("GET", "/broken.json", 500),
    ]:
        async with world.http.request(method, world.url + path) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")
            assert answer.content_type == "application/json"
            assert [*(await answer.json())] == ["error"]
            assert ("Allow" in answer.headers) == (status == 405)
    async with world.http.options(f"{world.url}/") as answer:
        assert answer.status == 405
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_addresses_of_older_installations_lead_to_the_feeds(world: World) -> None:
    await world.start()
    for kind in ("atom", "rss"):
        async with world.http.get(f"{world.url}/feed/{kind}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (301, f"/history.{kind}")
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_the_bytes_are_the_same_after_a_restart_while_nothing_has_changed(
    world: World,
) -> None:
    await world.start()
    await does(world, "create", title="Slow logins", summary="Some **users**")
    await plans(world)
    await all_listed(world)
    await eventually(lambda: mailed(world))
    before = await everything(world)
    await asyncio.sleep(1.1)  # the clock of feeds and calendars goes in seconds
    assert await everything(world) == before
    await world.stop()
    await world.start()
    assert await everything(world) == before


async def mailed(world: World) -> bool:
    return "Subscribers were emailed" in await world.page("/incidents/1")


async def test_ids_keep_the_host_of_the_first_start_when_the_page_moves(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 0
    world.settings["site"]["url"] = "https://old.example.com"
    await world.start()
    await does(world, "create", title="Slow logins")
    await plans(world)
    await all_listed(world)
    page_id = (await asks(world, "status"))["page"]["id"]
    assert re.fullmatch("[a-z0-9]{12}", page_id)
    await world.stop()
    world.settings["site"]["url"] = "https://new.example.com"
    await world.start()
    assert (await asks(world, "status"))["page"]["id"] == page_id
    parsed = feedparser.parse(await world.page("/history.atom"))
    assert parsed.feed.id == "tag:old.example.com,2005:/history"
    assert {e.id for e in parsed.entries} == {
        f"tag:old.example.com,2005:Incident/{n}" for n in (1, 2)
    }
    assert {e.link for e in parsed.entries} == {
        f"https://new.example.com/incidents/{n}" for n in (1, 2)
    }
    assert event(await world.page("/maintenance.ics"))["UID"] == "2@old.example.com"


# Parsers and clients.


async def eventful(world: World) -> None:
    """A watched outage with words that would harm a careless reader, and a plan with them."""
    world.settings["rapidmail"]["undo_window"] = 0
    await world.start()
    await does(world, "create", title=ANGRY, summary=ANGRY, severity="outage")
    await does(
        world, "update", incident=1, text=f"{ANGRY}\nsecond line\x00\x0b\x1b\ufffe\U0001f4a5"
    )
    await does(world, "watch", incident=1, text="A fix is in.")
    await plans(world, f"{ANGRY}; a, b\\c", summary=f"{ANGRY}\r\n{'ö' * 100}\x07\rEND:VEVENT")
    await all_listed(world)


async def test_a_feed_reader_finds_nothing_to_complain_of_and_no_markup_of_ours(
    world: World,
) -> None:
    await eventful(world)
    for path, count in (("/history.atom", 2), ("/history.rss", 2), ("/updates.atom", 4)):
        async with world.http.get(world.url + path) as answer:
            body = await answer.read()
            parsed = feedparser.parse(
                body, response_headers={"content-type": answer.headers["Content-Type"]}
            )
        assert parsed.bozo is False
        assert len(parsed.entries) == count == len({entry.id for entry in parsed.entries})
        assert {link.rel: link.href for link in parsed.feed.links}[
            "self"
        ] == f"http://127.0.0.1{path}"
        assert b"<script" not in body
        for entry in parsed.entries:
            html = entry.content[0].value if "content" in entry else entry.summary
            assert set(re.findall(r"<(\w+)", html)) <= {"p", "small", "var", "br", "strong"}, (
                "feedparser's sanitizer"
            )
        changed = "published_parsed" if "rss" in path else "updated_parsed"
        assert parsed.feed.updated_parsed == max(entry[changed] for entry in parsed.entries)


async def test_the_entries_carry_statuspages_ids_words_and_order(world: World) -> None:
    await eventful(world)
    history = feedparser.parse(await world.page("/history.atom"), sanitize_html=False)
    assert (history.feed.title, history.feed.author) == ("Example - Incident History", "Example")
    plan, outage = history.entries
    assert (plan.id, outage.id) == (
        "tag:127.0.0.1,2005:Incident/2",
        "tag:127.0.0.1,2005:Incident/1",
    )
    assert [re.findall("<strong>(.*?)</strong>", e.content[0].value) for e in (plan, outage)] == [
        ["Scheduled"],
        ["Monitoring", "Identified", "Identified"],
    ]
    (_, html) = [
        e.text or ""
        for e in ElementTree.fromstring(await world.page("/history.atom")).iter(f"{ATOM}content")
    ]
    at = datetime.now(UTC)
    assert f"<p><small>{at:%b} <var data-var='date'>{at.day}</var>, <var data-var='time'>" in html
    assert "&lt;b onclick=x&gt;<br>second line\U0001f4a5</p>" in html
    assert "<script" not in html
    updates = feedparser.parse(await world.page("/updates.atom"), sanitize_html=False)
    assert [e.id.rpartition("/")[2] for e in updates.entries] == ["4", "3", "2", "1"]
    assert updates.entries[1].title == f"[Monitoring] {ANGRY}"
    assert updates.entries[1].link == "http://127.0.0.1/incidents/1#3"
    assert 'id="3"' in await world.page("/incidents/1")
    raw = await world.page("/history.rss")
    assert raw.count('isPermaLink="true"') == 2
    rss = feedparser.parse(raw)
    assert [e.id for e in rss.entries] == [f"http://127.0.0.1/incidents/{n}" for n in (2, 1)]
    assert all(
        re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", e.published)
        for e in rss.entries
    )


async def test_a_calendar_client_reads_the_plan_whatever_its_words(world: World) -> None:
    await eventful(world)
    body = await world.page("/maintenance.ics")
    lines = body.encode().split(b"\r\n")
    assert max(len(line) for line in lines) <= 75
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", body)
    assert "\n" not in body.replace("\r\n", "")
    assert body.count("END:VEVENT\r\n") == 1
    calendar = Calendar.from_ical(body)
    assert "METHOD" not in calendar
    assert (calendar["VERSION"], calendar["PRODID"]) == ("2.0", "-//monostat//maintenance 1//EN")
    assert "REFRESH-INTERVAL;VALUE=DURATION:PT1H\r\n" in body
    assert "SOURCE;VALUE=URI:http://127.0.0.1/maintenance.ics\r\n" in body
    found = event(body)
    assert found.errors == []
    assert (found["UID"], found["SUMMARY"]) == ("2@127.0.0.1", f"{ANGRY}; a, b\\c")
    assert found["DTEND"].dt - found["DTSTART"].dt == LATER
    assert (found["TRANSP"], found["CLASS"], found["STATUS"]) == (
        "TRANSPARENT",
        "PUBLIC",
        "CONFIRMED",
    )
    assert found["DTSTAMP"].dt == found["LAST-MODIFIED"].dt


async def test_a_calendar_without_plans_is_one_all_the_same(world: World) -> None:
    await world.start()
    (only,) = Calendar.from_ical(await world.page("/maintenance.ics")).subcomponents
    assert only.name == "VTIMEZONE"


async def test_discordstatus_reads_all_eight_documents(world: World) -> None:
    await eventful(world)
    client = DiscordStatus()
    client.base_target = f"{world.url}/api/v2"
    wanted = (
        "summary",
        "status",
        "components",
        "all_incidents",
        "unresolved_incidents",
        "all_maintenances",
    )
    for name in (*wanted, "upcoming_maintenances", "active_maintenances"):
        document = await asyncio.to_thread(getattr, client, name)
        assert document["page"]["name"] == "Example", name
    assert (
        len(
            (await asyncio.to_thread(getattr, client, "upcoming_maintenances"))[
                "scheduled_maintenances"
            ]
        )
        == 1
    )


async def test_a_prometheus_exporter_reads_status_incidents_and_maintenances(world: World) -> None:
    await eventful(world)
    service = {"name": "Example", "type": "status_page", "url": f"{world.url}/api/v2/summary.json"}
    (world.folder / "services.json").write_text(json.dumps({"monostat": service}))
    code = (
        "import json; from statuspage_prometheus_exporter import service_checker as c;"
        " print(json.dumps(c.check_service_status('monostat', c.SERVICES['monostat'])))"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=world.folder, stdout=pipe
    )
    out, _ = await process.communicate()
    found = json.loads(out)
    assert (found["success"], found["raw_status"], found["component_metadata"]) == (
        True,
        "critical",
        [],
    )
    (incident,), (maintenance,) = found["incident_metadata"], found["maintenance_metadata"]
    assert (incident["id"], incident["status"], incident["impact"]) == (
        "1",
        "monitoring",
        "critical",
    )
    assert (maintenance["id"], maintenance["status"]) == ("2", "scheduled")
    assert TIME.fullmatch(maintenance["scheduled_end"])


async def test_a_command_line_client_prints_what_it_read(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await eventful(world)
    summary = await asks(world, "summary")
    github_status.print_components(summary)
    github_status.print_incidents(summary)
    assert "Minor Service Outage (Minor Outage)" in github_status.formatted_status(
        summary["status"]
    )
    printed = capsys.readouterr().out
    assert "critical" in printed
    assert "monitoring" in printed


# What each status and severity is called there.


def incident(status: Status, severity: Severity, **more: Any) -> Incident:
    over = NOON if status in (Status.RESOLVED, Status.DISMISSED) else None
    times: dict[str, Any] = dict.fromkeys(
        ("started_at", "status_at", "created_at", "updated_at", "reminded_at"), NOON
    )
    said = Update(id=1, incident=1, status=status, severity=severity, at=NOON, text="Words.")
    about: dict[str, Any] = {
        "number": 1,
        "title": "It",
        "status_entry": 1,
        "ended_at": over,
        "updates": (said,),
    }
    return Incident(
        **{**times, **about, "status": status, "severity": severity, "announced_at": NOON, **more}
    )


def told(core: Core, *incidents: Incident) -> tuple[dict[str, Any], Snapshot]:
    """All eight documents by their names, and the snapshot that they are made of."""
    birth = Birth(host="status.example.com", at=NOON)
    known = {i.number: i for i in incidents} if incidents else core.state.incidents
    state: State = replace(core.state, birth=birth, incidents=known)
    snapshot = take(state, core.at, core.policy, words=ENGLISH, name="Example", url=SITE)
    made = statuspage.documents(
        state,
        snapshot,
        announced_by(core, snapshot),
        words=ENGLISH,
        url=SITE,
        name="Example",
        version=1,
        changed=NOON,
    )
    assert set(made) == set(ALL[:8])
    return {path[8:-5]: json.loads(text) for path, text in made.items()}, snapshot


def announced_by(core: Core, snapshot: Snapshot) -> list[Incident]:
    """What programs are told of, newest first: what is present, and what is past, from its row."""
    past = [row for number, row in core.rows.items() if number not in core.state.incidents]
    told_of = [*snapshot.announced, *(row for row in past if row.announced_at)]
    return sorted(told_of, key=lambda incident: incident.number, reverse=True)


PLAN = {"planned_start": NOON, "planned_end": NOON + LATER}
M, NOTICE, BUG, PARTIAL, OUTAGE = Severity.MAINTENANCE, Severity.NOTICE, Severity.BUG, *SERIOUS
ROWS: list[tuple[Status, Severity, dict[str, Any], str, str, str, str, str]] = [
    (
        Status.PLANNED,
        M,
        PLAN,
        "scheduled",
        "maintenance",
        "none",
        "scheduled-maintenances",
        "upcoming",
    ),
    (
        Status.PLANNED,
        PARTIAL,
        PLAN,
        "scheduled",
        "major",
        "none",
        "scheduled-maintenances",
        "upcoming",
    ),
    (
        Status.CONFIRMED,
        M,
        PLAN,
        "in_progress",
        "maintenance",
        "maintenance",
        "scheduled-maintenances",
        "active",
    ),
    (
        Status.CONFIRMED,
        M,
        {},
        "in_progress",
        "maintenance",
        "maintenance",
        "scheduled-maintenances",
        "active",
    ),
    (
        Status.WATCHING,
        M,
        PLAN,
        "verifying",
        "maintenance",
        "maintenance",
        "scheduled-maintenances",
        "active",
    ),
    (Status.RESOLVED, M, PLAN, "completed", "maintenance", "none", "scheduled-maintenances", ""),
    (Status.DISMISSED, M, PLAN, "completed", "none", "none", "scheduled-maintenances", ""),
    (Status.DISMISSED, OUTAGE, PLAN, "completed", "none", "none", "scheduled-maintenances", ""),
    (Status.CONFIRMED, NOTICE, {}, "identified", "none", "none", "incidents", "unresolved"),
    (Status.CONFIRMED, BUG, {}, "identified", "minor", "minor", "incidents", "unresolved"),
    (Status.CONFIRMED, PARTIAL, {}, "identified", "major", "major", "incidents", "unresolved"),
    (Status.CONFIRMED, PARTIAL, PLAN, "identified", "major", "major", "incidents", "unresolved"),
    (Status.CONFIRMED, OUTAGE, {}, "identified", "critical", "critical", "incidents", "unresolved"),
    (Status.WATCHING, BUG, {}, "monitoring", "minor", "minor", "incidents", "unresolved"),
    (Status.WATCHING, OUTAGE, {}, "monitoring", "critical", "minor", "incidents", "unresolved"),
    (Status.WATCHING, NOTICE, {}, "monitoring", "none", "none", "incidents", "unresolved"),
    (Status.RESOLVED, OUTAGE, {}, "resolved", "critical", "none", "incidents", ""),
    (Status.DISMISSED, OUTAGE, {}, "resolved", "none", "none", "incidents", ""),
]


@pytest.mark.parametrize(
    ("status", "severity", "more", "word", "impact", "indicator", "kind", "part"), ROWS
)
def test_every_row_of_the_mapping(
    status: Status,
    severity: Severity,
    more: dict[str, Any],
    word: str,
    impact: str,
    indicator: str,
    kind: str,
    part: str,
) -> None:
    documents, _ = told(Core(), incident(status, severity, **more))
    wanted = {kind} | ({f"{kind}/{part}", "summary"} if part else set())
    found = {
        name: [*d.get("incidents", []), *d.get("scheduled_maintenances", [])]
        for name, d in documents.items()
    }
    assert {name for name, rows in found.items() if rows} == wanted
    (row,) = found[kind]
    assert (row["status"], row["impact"]) == (word, impact)
    assert row["incident_updates"][0]["status"] == word
    assert row["monitoring_at"] == (
        "2026-03-01T12:00:00.000Z" if status is Status.WATCHING else None
    )
    assert (row["resolved_at"] is None) == (word not in ("resolved", "completed"))
    assert documents["status"]["status"]["indicator"] == indicator
    assert documents["status"]["status"]["description"] in DESCRIPTIONS[indicator] - {
        "Partially Degraded Service"
    }
    if kind == "scheduled-maintenances":
        assert row["scheduled_for"] == "2026-03-01T12:00:00.000Z"
        ends = (
            "2026-03-01T12:00:00.000Z"
            if status is Status.RESOLVED and not more
            else "2026-03-01T13:00:00.000Z"
        )
        assert row["scheduled_until"] == ends


@pytest.mark.parametrize(
    ("severity", "indicator"),
    [(NOTICE, "none"), (M, "maintenance"), (BUG, "minor"), (PARTIAL, "minor"), (OUTAGE, "minor")],
)
def test_a_suspicion_weighs_at_most_minor(severity: Severity, indicator: str) -> None:
    documents, _ = told(Core(), incident(Status.SUSPECTED, severity, announced_at=None))
    assert documents["status"]["status"]["indicator"] == indicator
    words = documents["status"]["status"]["description"]
    assert words == (
        "Partially Degraded Service"
        if indicator == "minor"
        else next(iter(DESCRIPTIONS[indicator]))
    )
    watched = incident(Status.WATCHING, BUG, number=2)
    documents, _ = told(Core(), incident(Status.SUSPECTED, severity, announced_at=None), watched)
    assert documents["status"]["status"] == {
        "indicator": "minor",
        "description": "Minor Service Outage",
    }


def test_what_is_resolved_keeps_the_worst_impact_it_had_and_what_is_reopened_its_first_watching() -> (
    None
):
    core = Core()
    core.does("create", title="It", severity=OUTAGE)
    core.passes(60)
    core.does("watch", 1, severity=BUG)
    core.passes(60)
    core.does("resolve", 1)
    (row,) = told(core)[0]["incidents"]["incidents"]
    assert (row["impact"], row["resolved_at"]) == ("critical", "2026-03-01T12:02:00.000Z")
    core.does("reopen", 1)
    (row,) = told(core)[0]["incidents/unresolved"]["incidents"]
    assert (row["status"], row["resolved_at"], row["impact"]) == ("identified", None, "minor")
    assert row["monitoring_at"] == "2026-03-01T12:01:00.000Z"


def test_an_edited_text_keeps_its_id_and_its_time_and_a_deleted_one_is_gone() -> None:
    core = Core()
    core.does("create", title="It")
    core.does("update", 1, text="Wrogn.")
    core.passes(60)
    before = told(core)[0]["incidents"]["incidents"][0]
    core.does("edit", 1, texts={1: "", 2: "Wrong."})
    row = told(core)[0]["incidents"]["incidents"][0]
    (update,) = row["incident_updates"]
    assert (update["id"], update["created_at"]) == (
        "2",
        before["incident_updates"][0]["created_at"],
    )
    assert update["body"] == "Wrong."
    assert update["updated_at"] == row["updated_at"] == "2026-03-01T12:01:00.000Z"


def test_a_suspicion_that_turns_out_to_be_a_maintenance_has_a_maintenances_words_only() -> None:
    core = Core()
    core.raises()
    core.does("confirm", 1, severity=M)
    core.passes(60)
    (row,) = told(core)[0]["scheduled-maintenances/active"]["scheduled_maintenances"]
    assert [u["status"] for u in row["incident_updates"]] == ["in_progress"]


def test_long_texts_cost_the_feed_its_older_updates_and_never_the_newest() -> None:
    core = Core()
    core.act("create", title="Checkout fails", severity=Severity.PARTIAL, text="First.")
    for number in range(30):
        core.act("update", 1, text=f"{number} " + "é" * 15_000)
    taken = take(core.state, core.at, core.policy, words=ENGLISH, name="Example", url=SITE)
    [incident] = json.loads(taken.feed)["open"]
    assert len(taken.feed.encode()) <= 250_000
    assert incident["updates"][0]["text"].startswith("29 ")
    assert len(incident["updates"]) == 5


def test_the_words_of_a_plan_that_is_no_maintenance_stay_scheduled_once_it_has_begun() -> None:
    core = Core()
    core.does(
        "plan", title="Risk", severity=PARTIAL, start=core.at + LATER, end=core.at + 2 * LATER
    )
    core.does("start", 1)
    titles = [entry.title for entry in feeds.updates([core.of(1)], ENGLISH)]
    assert titles == ["[Identified] Risk", "[Scheduled] Risk"]
    [entry] = feeds.history([core.of(1)])
    assert [feeds.word(core.of(1), u.status) for u in entry.updates] == ["Identified", "Scheduled"]


def test_the_times_of_a_plan_stand_in_a_line_of_their_own_while_it_has_any() -> None:
    core = Core()
    core.does("plan", title="Upgrade", start=core.at + LATER, end=core.at + 2 * LATER)
    core.passes(60)
    line = "Planned from 2026-03-01 13:00 to 2026-03-01 14:00 UTC"

    def bodies() -> list[str]:
        documents, _ = told(core)
        (row,) = documents["scheduled-maintenances"]["scheduled_maintenances"]
        return [update["body"] for update in row["incident_updates"]]

    assert bodies() == [f"planned\n\n{line}"]
    core.does("postpone", 1)
    moved = line.replace(":00", ":30")
    assert [body.rpartition("\n\n")[2] for body in bodies()] == [moved, moved]
    core.does("create", title="No plan", severity=M)
    core.passes(60)
    row = told(core)[0]["scheduled-maintenances/active"]["scheduled_maintenances"][0]
    assert "Planned" not in row["incident_updates"][0]["body"]
    [entry, _] = feeds.history([core.of(2), core.of(1)])
    assert "Planned" not in statuspage.planned_line(entry.incident, ENGLISH)


def test_a_plan_is_published_when_it_was_announced_and_not_in_the_future() -> None:
    core = Core()
    planned = core.does(
        "plan", title="Upgrade", start=core.at + timedelta(days=2), end=core.at + timedelta(days=3)
    )
    [entry] = feeds.history([planned])
    assert entry.published == planned.created_at == core.at


def test_lists_feeds_and_calendar_are_of_bounded_length_with_the_newest_first() -> None:
    many = 2 * CALENDAR_MOST
    outages = [
        incident(Status.RESOLVED, OUTAGE, number=n, ended_at=NOON) for n in range(1, 2 * many, 2)
    ]
    moves = [
        incident(Status.RESOLVED, M, number=n, ended_at=PLAN["planned_end"], **PLAN)
        for n in range(2, 2 * many + 1, 2)
    ]
    documents, snapshot = told(Core(), *outages, *moves)
    for rows in (
        documents["incidents"]["incidents"],
        documents["scheduled-maintenances"]["scheduled_maintenances"],
    ):
        assert len(rows) == 50
        assert [int(row["id"]) for row in rows] == sorted(
            (int(row["id"]) for row in rows), reverse=True
        )
        assert int(rows[0]["id"]) >= 2 * many - 1
    assert (
        len(feeds.history(snapshot.announced)),
        len(feeds.updates(snapshot.announced, ENGLISH)),
    ) == (50, 100)
    assert [plan.number for plan in snapshot.calendar] == list(range(2 * many, 0, -2))[
        :CALENDAR_MOST
    ]


def test_what_is_open_stays_listed_though_fifty_newer_ones_are_over() -> None:
    later = [incident(Status.RESOLVED, OUTAGE, number=n, ended_at=NOON) for n in range(2, 70)]
    documents, snapshot = told(Core(), incident(Status.CONFIRMED, OUTAGE, number=1), *later)
    for name in ("incidents", "incidents/unresolved"):
        assert documents[name]["incidents"][-1]["id"] == "1"
    assert feeds.history(snapshot.announced)[-1].incident.number == 1


@pytest.mark.parametrize(("verb", "days"), [("cancel", 30), ("resolve", 90)])
def test_what_is_over_leaves_the_calendar_in_its_time_and_the_snapshot_knows_when(
    verb: str, days: int
) -> None:
    core = Core(undo_window=0)
    core.does("plan", title="Move", start=NOON + after(600), end=NOON + after(1200))
    core.passes(0 if verb == "cancel" else 600)
    core.does(verb, 1)
    goes = NOON + after(1200) + timedelta(days=days)
    for at, kept in ((goes - after(1), 1), (goes, 0)):
        core.at = at
        snapshot = told(core)[1]
        assert len(snapshot.calendar) == kept
        assert snapshot.until == (goes if kept else None)


def test_a_plan_that_becomes_an_outage_is_cancelled_in_the_calendar_at_the_time_it_was_planned_for() -> (
    None
):
    core = Core(undo_window=0)
    core.does("plan", title="Move", start=NOON + after(600), end=NOON + after(1200))
    core.passes(600)
    before = check_calendar(calendar(told(core)[1]), {})
    core.does("edit", 1, changes={"severity": OUTAGE})
    check_calendar(text := calendar(told(core)[1]), before)
    assert "STATUS:CANCELLED" in text
    assert "DTSTART:20260301T121000Z" in text


def calendar(snapshot: Snapshot) -> str:
    return feeds.calendar(
        snapshot.calendar, words=ENGLISH, name="Example", url=SITE, host="status.example.com"
    )


# Whatever happens.


PASSES = [
    ("make", "create", Severity.OUTAGE, 0, 0, True, False),
    ("act", "resolve", 0, "Ada", None, None),
    ("years",),
    ("silence", 0),
    ("due",),
]


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@example(PASSES)
@given(histories)
def test_after_any_history_the_documents_are_what_strict_clients_want(
    history: list[tuple[Any, ...]],
) -> None:
    core = Core()
    seen: dict[str, str] = {}
    before: dict[str, Any] = {}
    plans: Any = None
    text = ""
    for step in history:
        happens(core, step)
        documents, snapshot = told(core)
        if (
            snapshot.calendar != plans
        ):  # most steps leave them alone, and writing them takes its time
            plans, text = snapshot.calendar, calendar(snapshot)
        announced = announced_by(core, snapshot)
        both = (*feeds.history(announced), *feeds.updates(announced, ENGLISH))
        entries = [
            (e[:5], [(feeds.word(e.incident, u.status), u.at, u.text) for u in e.updates])
            for e in both
        ]
        public = f"{documents}{entries}{text}"
        if snapshot.digest in seen:
            assert seen[snapshot.digest] == public, "another content is another version"
            continue
        seen[snapshot.digest] = public
        check_documents(documents, core)
        check_feeds(announced, core)
        before = check_calendar(text, before)


def check_documents(documents: dict[str, Any], core: Core) -> None:
    rows = {"incidents": "incidents", "scheduled-maintenances": "scheduled_maintenances"}
    for name, document in documents.items():
        kinds = [rows[name.partition("/")[0]]] if name.partition("/")[0] in rows else []
        extra = ["monostat"] if kinds or name == "summary" else []
        status = ["status"] if name in ("summary", "status", "components") else []
        kinds = (
            ["components", *rows.values()]
            if name == "summary"
            else ["components"] * (name == "components") + kinds
        )
        assert [*document] == ["page", *kinds, *status, *extra]
        assert [*document["page"]] == PAGE
        assert document.get("components", []) == []
        if status:
            assert [*document["status"]] == ["indicator", "description"]
            assert (
                document["status"]["description"] in DESCRIPTIONS[document["status"]["indicator"]]
            )
        for row in document.get("incidents", []):
            check_row(row, core, INCIDENT)
            assert row["status"] in OPEN | {"resolved"}
            assert name == "incidents" or row["status"] in OPEN
            assert row["impact"] != "maintenance"
            assert {u["status"] for u in row["incident_updates"]} <= OPEN | {"resolved"}
        for row in document.get("scheduled_maintenances", []):
            check_row(row, core, [*INCIDENT, "scheduled_for", "scheduled_until"])
            known = {
                "scheduled-maintenances/upcoming": {"scheduled"},
                "scheduled-maintenances/active": RUNNING,
            }
            known |= {"summary": {"scheduled"} | RUNNING}
            assert row["status"] in known.get(name, RUNNING | {"scheduled", "completed"})
            assert row["scheduled_for"] <= row["scheduled_until"]
            assert {u["status"] for u in row["incident_updates"]} <= RUNNING | {
                "scheduled",
                "completed",
            }
    every = [
        *documents["incidents"]["incidents"],
        *documents["scheduled-maintenances"]["scheduled_maintenances"],
    ]
    assert len({row["id"] for row in every}) == len(every)


def check_row(row: dict[str, Any], core: Core, keys: list[str]) -> None:
    known = core.of(int(row["id"]))
    assert [*row] == keys
    assert known.announced_at
    assert known.status is not Status.SUSPECTED
    assert (row["resolved_at"] is None) == (row["status"] not in ("resolved", "completed"))
    assert row["impact"] in DESCRIPTIONS
    assert (row["components"], row["reminder_intervals"]) == ([], None)
    assert row["shortlink"] == f"{SITE}/incidents/{row['id']}"
    assert row["incident_updates"]
    for update in row["incident_updates"]:
        assert [*update] == UPDATE
        assert update["incident_id"] == row["id"]
        assert update["affected_components"] == []
    ids = [int(update["id"]) for update in row["incident_updates"]]
    assert ids == sorted(set(ids), reverse=True)
    for key, value in [
        *row.items(),
        *(pair for u in row["incident_updates"] for pair in u.items()),
    ]:
        if key.endswith(("_at", "_for", "_until")) and value is not None:
            assert TIME.fullmatch(value)


def check_feeds(announced: list[Incident], core: Core) -> None:
    for entries in (feeds.history(announced), feeds.updates(announced, ENGLISH)):
        assert len({entry.id for entry in entries}) == len(entries)
        assert [e.updated for e in entries] == sorted((e.updated for e in entries), reverse=True)
        for entry in entries:
            assert core.rows[entry.incident.number].announced_at
            assert entry.updates


def check_calendar(text: str, before: dict[str, Any]) -> dict[str, Any]:
    """What a calendar client saw before is told with a higher number where it takes place at another time, or not."""
    now: dict[str, Any] = {}
    found: Any
    for found in Calendar.from_ical(text).walk("VEVENT"):
        assert found["DTSTART"].dt < found["DTEND"].dt
        facts = (found["DTSTART"].dt, found["DTEND"].dt, str(found["STATUS"]))
        now[found["UID"]] = (facts, found["SEQUENCE"])
        was = before.get(found["UID"])
        assert was is None or was[0] == facts or was[1] < found["SEQUENCE"]
    return now
