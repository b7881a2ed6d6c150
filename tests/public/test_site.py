"""What visitors find beside the current status: the past, any day of it, and how to subscribe."""

import gzip
import logging
import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientResponse

from tests.waiting import eventually
from tests.world import World

BERLIN, DAY = ZoneInfo("Europe/Berlin"), timedelta(days=1)
VISITOR = {"X-Forwarded-For": "203.0.113.9"}


async def status(world: World, path: str) -> int:
    async with world.http.get(world.url + path, allow_redirects=False) as answer:
        return answer.status


async def subscribes(world: World, email: str, **more: str) -> ClientResponse:
    answer = await world.http.post(
        f"{world.url}/subscribe", data={"email": email} | more, headers=VISITOR
    )
    await answer.read()
    return answer


async def test_history_tells_months_in_words_shapes_and_links_to_days(world: World) -> None:
    world.settings["site"]["timezone"] = "Europe/Berlin"
    await world.start()
    first = datetime.now(BERLIN).date().replace(day=1)
    noon = datetime.combine((first - 70 * DAY).replace(day=10), time(12), BERLIN)
    await world.act("create", title="A <b>", severity="bug", start=noon, end=noon + 2 * DAY)
    await world.act(
        "create",
        title="Worse",
        severity="outage",
        start=noon + DAY,
        end=noon + DAY + timedelta(hours=1),
    )
    page = await world.page("/history")
    assert re.findall('<section id="m-(.*?)"', page) == [f"{first:%Y-%m}", f"{noon:%Y-%m}"]
    assert "No incidents so far." in page
    assert re.search(f"No incidents (from|in) .*{(first - DAY):%B %Y}", page)
    assert f"Records begin in {noon:%B %Y}." in page
    for number, word in enumerate(("Known bug", "Outage", "Known bug")):
        day = noon.date() + number * DAY
        [cell] = re.findall(f'<a href="/{day}".*?</a>', page)
        assert f'alt=" {word}"' in cell
        assert f"icon-{'outage' if word == 'Outage' else 'bug'}.svg" in cell
    assert "1 outage." in page
    assert "A &lt;b&gt;" in page
    assert "A <b>" not in page
    assert "· </i>1 h<" in page
    day_page = await world.page(f"/{noon.date()}")
    assert "A &lt;b&gt;" in day_page
    assert "Worse" not in day_page
    assert "No known problems on this day." in await world.page(f"/{noon.date() + 3 * DAY}")


async def test_history_goes_back_by_years_while_there_are_records(world: World) -> None:
    await world.start()
    assert 'rel="prev"' not in await world.page("/history")
    start = datetime.now(UTC) - timedelta(days=500)
    await world.act("create", title="Long ago", start=start, end=start + timedelta(hours=1))
    [earlier] = re.findall('rel="prev" href="(.*?)"', await world.page("/history"))
    page = await world.page(earlier)
    assert "Long ago" in page
    assert f'rel="canonical" href="http://127.0.0.1{earlier}"' in page
    assert f"Records begin in {start:%B %Y}." in page
    today = datetime.now(UTC).date()
    for day, wanted in (
        (start.date(), f"/history/{start:%Y-%m}"),
        (today, "/history"),
        (today + 40 * DAY, "/history"),
        (start.date() - 40 * DAY, "/history"),
    ):
        [month] = re.findall('id="month" href="(.*?)"', await world.page(f"/{day}"))
        assert month == wanted
        assert await status(world, month) == 200
    for month in ("2026-13", "1999-01", "9999-12", "0000-01"):
        assert await status(world, f"/history/{month}") == 404


async def test_the_last_ninety_days_are_told_at_a_glance(world: World) -> None:
    await world.start()
    today = datetime.now(UTC).replace(hour=12, minute=0)
    page = await world.page()
    assert page.count('<i class="k-none"></i>') == 89
    assert "No outages since records began" in page
    for days, severity in ((95, "outage"), (40, "partial"), (40, "outage"), (9, "bug")):
        start = today - timedelta(days=days)
        end = start + timedelta(hours=1)
        await world.act("create", title="Over", severity=severity, start=start, end=end)
    page = await world.page()
    strip = re.findall('<i(?: class="k-(\\w+)")?></i>', page)
    assert len(strip) == 90
    assert {number: kind for number, kind in enumerate(strip) if kind} == {49: "outage", 80: "bug"}
    assert "1 outage and 1 partial outage. The last one ended 40 days ago." in page
    assert re.findall('<li><a href="/(.*?)"', page) == [f"{(today - timedelta(days=40)).date()}"]
    await world.act("create", title="Now", severity="partial")
    assert (
        "1 outage and 2 partial outages, counting the one that is open now." in await world.page()
    )


async def test_suspicions_are_told_at_their_own_address_only(world: World) -> None:
    await world.start()
    alert = world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    today = datetime.now(UTC).date()
    for _ in range(2):
        for path in ("/history", f"/{today}"):
            page = await world.page(path)
            assert "Problem detected" not in page.partition("<main")[2]
        if alert:
            world.opsgenie.close(alert)
            await eventually(lambda: _dismissed(world))
    assert "Ended by itself" in await world.page("/incidents/1")


async def _dismissed(world: World) -> bool:
    return not (await world.state())["open"]


async def test_cancelled_plans_leave_the_calendar_and_stay_on_the_page(world: World) -> None:
    await world.start()
    start = datetime.now(UTC) + timedelta(hours=30)
    number = await world.act(
        "plan", title="Database upgrade", start=start, end=start + timedelta(hours=1)
    )
    assert "Database upgrade" in await world.page(f"/{start.date()}")
    await world.act("cancel", incident=number)
    assert "Database upgrade" not in await world.page(f"/{start.date()}")
    assert "Cancelled" in await world.page("/")


async def test_a_day_lasts_from_midnight_to_midnight_where_the_site_is(world: World) -> None:
    world.settings["site"]["timezone"] = "Europe/Berlin"
    await world.start()
    today = datetime.now(BERLIN).date()
    lengths = {}
    for back in range(1, 366):
        day = today - back * DAY
        begin, end = (datetime.combine(d, time(), BERLIN).astimezone(UTC) for d in (day, day + DAY))
        lengths[day] = end - begin
    odd = {
        day: hours
        for day, length in lengths.items()
        if (hours := length // timedelta(hours=1)) != 24
    }
    assert sorted(odd.values()) == [23, 25]
    for day, hours in odd.items():
        assert f"This day has {hours} hours" in await world.page(f"/{day}")
        last = datetime.combine(day, time(23, 30), BERLIN).astimezone(UTC)
        number = await world.act(
            "create", title=f"Late on {day}", start=last, end=last + timedelta(minutes=30)
        )
        assert f"/incidents/{number}" in await world.page(f"/{day}")
        assert f"/incidents/{number}" not in await world.page(f"/{day + DAY}")
    assert "This day has" not in await world.page(f"/{today}")


async def test_dates_that_are_none_or_far_away_are_missing(world: World) -> None:
    await world.start()
    today = datetime.now(UTC).date()
    for day in (today, today - DAY, today + DAY):
        assert await status(world, f"/{day}") == 200
    for path in (
        "/2026-02-30",
        "/2026-13-01",
        "/0000-01-01",
        "/0001-01-01",
        "/9999-12-31",
        "/1999-01-01",
    ):
        assert await status(world, path) == 404
    for path in ("/2026-1-1", "/20260101", "/2026-W01", "/２０２６-01-01", f"/{today}x"):
        assert await status(world, path) == 404


async def test_addresses_of_older_installations_lead_to_the_incident(world: World) -> None:
    await world.start()
    await world.act("create", title="Checkout is slow")
    async with world.http.get(f"{world.url}/2019-05-01/1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, "/incidents/1")
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Checkout is slow" in await world.page("/0001-01-01/1")
    for path in ("/2019-02-30/1", "/2019-05-01/2", "/2019-05-01/01", "/2019-05-01/99999999999"):
        assert await status(world, path) == 404


async def test_an_incident_that_cannot_be_read_is_a_failure_and_not_missing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.start()
    start = datetime.now(UTC) - timedelta(days=500)
    end = start + timedelta(hours=1)
    await world.act("create", title="Long ago", start=start, end=end, mail=False)
    await world.stop()
    past = (
        "UPDATE facts SET body = json_set(body, '$.undo', json('[]'),"
        " '$.updated_at', json_extract(body, '$.started_at')) WHERE kind = 'Incident'"
    )
    await world.in_file(past)
    newest = "UPDATE facts SET body = json_set(body, '$.newest_own', json('[]'))"
    await world.in_file(f"{newest} WHERE kind = 'Memory'")
    await world.start()
    spoilt = "UPDATE facts SET body = json_set(body, '$.severity', 'odd') WHERE kind = 'Incident'"
    await world.in_file(spoilt)
    assert await status(world, "/2019-05-01/1") == 500
    assert "/2019-05-01/1 failed" in caplog.text


async def test_a_visitor_subscribes_and_learns_nothing_of_who_else_did(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await world.start()
    form = await world.page("/subscribe")
    assert '<form method="post"' in form
    assert world.rapidmail.recipients == {}
    first = await subscribes(world, " Ada@Example.org ")
    again = await subscribes(world, "ada@example.org")
    assert (first.status, again.status) == (200, 200)
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "no-store"
    words = [
        re.sub("data-version=.*?>|<time.*?</time>", "", await one.text()) for one in (first, again)
    ]
    assert words[0] == words[1]
    [recipient] = world.rapidmail.recipients.values()
    assert (recipient.email, recipient.status, recipient.opt_in_mails) == (
        "Ada@Example.org",
        "new",
        1,
    )
    assert "example.org" not in caplog.text.lower()


async def test_a_robot_and_a_slip_reach_nobody(world: World) -> None:
    await world.start()
    assert (
        await subscribes(world, "ada@example.org", website="https://spam.example")
    ).status == 200
    for wrong in ("ada", "ada@example", f"{'a' * 250}@example.org"):
        answer = await subscribes(world, wrong)
        assert answer.status == 422
        assert f'value="{wrong}"' in await answer.text()
    assert '"&gt;' not in await (await subscribes(world, '"><script>')).text()
    assert world.rapidmail.faults.requests == []


async def test_the_sixth_try_of_an_hour_from_one_address_is_one_too_many(world: World) -> None:
    await world.start()
    for number in range(5):
        assert (await subscribes(world, f"ada{number}@example.org")).status == 200
    refused = await subscribes(world, "ada5@example.org")
    assert (refused.status, refused.headers["Cache-Control"]) == (429, "no-store")
    assert refused.headers["Retry-After"] == "3600"
    assert len(world.rapidmail.recipients) == 5
    assert (await subscribes(world, "nonsense")).status == 429
    other = {"X-Forwarded-For": "203.0.113.10"}
    async with world.http.post(
        f"{world.url}/subscribe", data={"email": "b@example.org"}, headers=other
    ) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("fault", ["silent", "down", "refused"])
async def test_without_rapidmail_nothing_is_saved_and_the_visitor_is_told(
    world: World, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    await world.start()
    match fault:
        case "silent":
            world.rapidmail.faults.hang()
        case "down":
            world.rapidmail.faults.fail_next(500)
        case "refused":
            world.rapidmail.faults.fail_next(401)
    answer = await subscribes(world, "ada@example.org")
    assert (answer.status, answer.headers["Cache-Control"]) == (503, "no-store")
    assert "Nothing was saved" in await answer.text()
    assert "ada@" not in caplog.text
    assert "subscribing: Rapidmail" in caplog.text


async def test_an_address_is_called_wrong_only_where_rapidmail_says_so_of_the_address(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.settings["rapidmail"]["recipientlist_id"] = 1  # there is no such list
    await world.start()
    assert (await subscribes(world, "ada@example.org")).status == 503
    assert "check rapidmail.recipientlist_id" in caplog.text
    for status in (403, 404):
        world.rapidmail.faults.fail_next(status)
        assert (await subscribes(world, "ada@example.org")).status == 503
    assert "(404): check rapidmail.recipientlist_id" in caplog.text
    for body in (b"", b'{"validation_messages": {"email": "no", "recipientlist_id": "no"}}'):
        world.rapidmail.faults.answer_next(422, body=body)
        assert (await subscribes(world, "ada@example.org")).status == 422


async def test_other_sites_subscribe_nobody_and_what_does_not_arrive_whole_is_said_so(
    world: World,
) -> None:
    await world.start()
    form, url = {"email": "ada@example.org"}, f"{world.url}/subscribe"
    for site, code in (
        ("cross-site", 403),
        ("same-site", 403),
        ("same-origin", 200),
        ("none", 200),
    ):
        async with world.http.post(url, data=form, headers={"Sec-Fetch-Site": site}) as answer:
            assert answer.status == code
            assert ("was sent from another site" in await answer.text()) == (code == 403)
    async with world.http.post(
        url, data=b"no gzip", headers={"Content-Encoding": "gzip"}
    ) as answer:
        assert answer.status == 415
        assert "could not be read" in await answer.text()
    async with world.http.post(url, data=b"email=" + b"a" * 5000) as answer:
        assert answer.status == 413
        page = await answer.text()
    assert "could not be read" in page
    assert '<form method="post" action="/subscribe">' in page
    assert len(world.rapidmail.recipients) == 1


FOREIGN = {
    "another site": {"Origin": "https://evil.example"},
    "an opaque page": {"Origin": "null"},
    "the same host by another port": {"Origin": "http://127.0.0.1:1"},
    "a name that begins like ours": {"Origin": "http://127.0.0.1.evil.example"},
    "no origin that anybody writes": {"Origin": "http://127.0.0.1/"},
    "an empty one": {"Origin": ""},
    "a site that says two things": {
        "Origin": "https://evil.example",
        "Sec-Fetch-Site": "same-origin",
    },
}


@pytest.mark.parametrize("kind", FOREIGN)
async def test_other_sites_are_known_by_their_origin_and_use_up_nobodys_tries(
    world: World, kind: str
) -> None:
    await world.start()
    form, url = {"email": "ada@example.org"}, f"{world.url}/subscribe"
    for _ in range(6):
        async with world.http.post(url, data=form, headers=VISITOR | FOREIGN[kind]) as answer:
            assert answer.status == 403
    assert world.rapidmail.recipients == {}
    for own in ("http://127.0.0.1", world.url, world.url.replace("http", "https")):
        async with world.http.post(url, data=form, headers=VISITOR | {"Origin": own}) as answer:
            assert answer.status == 200


NO_ADDRESSES: tuple[str, ...] = (
    "a\0da@example.org",
    "ada@exam\x01ple.org",
    "ada@example.org\x7f",
    "a\x85da@example.org",
    "a da@b.example",
    "ada\u202e@example.org",
    "ada@\u2066example.org",
    "ada@example.org\u200b",
    "<ada@example.org>",
    '"ada"@example.org',
    "ada@example.org,eve@example.org",
    "ada@example..org",
    "ada@.example.org",
    "mailto:ada@example.org",
    "ada@example.org;",
    "ada@[192.0.2.1]",
    "ada@eve@example.org",
    "ada@example.",
)
ADDRESSES: tuple[str, ...] = (
    "ada+status@example.org",
    "o'brien@example.co.uk",
    "ada@bücher.example",
    "ädä@example.org",
    "1@2.example",
    "ada@उदाहरण.example",
    "ada@xn--bcher-kva.example",
    "a=b!#$%&*/?^`{|}~@example.org",
    f"{'a' * 64}@b.example",
)


@pytest.mark.parametrize("address", [*NO_ADDRESSES, *ADDRESSES])
async def test_only_what_can_be_an_address_is_handed_over(world: World, address: str) -> None:
    await world.start()
    answer = await subscribes(world, address)
    assert answer.status == (200 if address in ADDRESSES else 422)
    assert [r.email for r in world.rapidmail.recipients.values()] == [
        a for a in ADDRESSES if a == address
    ]
    assert not re.search(
        "[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", await answer.text()
    )


async def test_where_nobody_may_subscribe_there_is_no_such_page(world: World) -> None:
    world.settings["rapidmail"]["subscribe"] = False
    await world.start()
    assert await status(world, "/subscribe") == 404
    assert (await subscribes(world, "ada@example.org")).status == 404
    assert "/subscribe" not in await world.page("/")


async def test_the_page_weighs_little_and_holds_nothing_foreign_or_inline(world: World) -> None:
    await world.start()
    for number in range(5):
        await world.act("create", title=f"Problem {number}", text="We are looking into it. " * 10)
    weight, wanted = 0, ["/"]
    async with world.http.get(world.url, auto_decompress=False) as answer:
        weight += len(page := await answer.read())
        assert "Set-Cookie" not in answer.headers
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
    text = gzip.decompress(page).decode()
    wanted = re.findall(r'(?:src|rel="stylesheet" href)="(.*?)"', text)
    assert len(wanted) > 3
    for path in set(wanted):
        async with world.http.get(world.url + path, auto_decompress=False) as answer:
            weight += len(await answer.read())
    assert weight < 30_000
    for path in (
        "/",
        "/history",
        f"/{datetime.now(UTC).date()}",
        "/subscribe",
        "/incidents/1",
        "/nowhere",
    ):
        text = await world.page(path)
        assert not re.findall(
            r'(?:src|action)="(?!/)| style=|<style| on\w+=|<script(?! type="module" src=| id="words" type="application/json">)',
            text,
        ), path


async def test_who_asks_for_an_icon_by_its_old_address_gets_the_one_of_the_headline(
    world: World,
) -> None:
    await world.start()
    for kind in ("ok", "outage"):
        async with world.http.get(f"{world.url}/favicon.ico") as answer:
            assert answer.headers["Content-Type"] == "image/svg+xml"
            assert answer.headers["Cache-Control"] == "public, max-age=60, stale-if-error=3600"
            assert await answer.text() == await world.page(f"/static/icon-{kind}.svg")
        await world.act("create", title="All requests fail", severity="outage")


async def test_the_site_wears_its_own_colours_and_logo(world: World) -> None:
    logo = world.folder / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    world.settings["site"] |= {
        "logo": str(logo),
        "colors": {"link": "#7a0045", "band_dark": "#102030"},
    }
    await world.start()
    page = await world.page()
    [address] = re.findall(
        r'<span><img src="(/logo\?v=\w+)" alt="Example status" height="32"></span>', page
    )
    async with world.http.get(world.url + address) as answer:
        assert answer.headers["Content-Type"] == "image/svg+xml"
    style = await world.page(re.findall(r'stylesheet" href="(.*?)"', page)[0])
    assert re.search(r"light\) \{ :root \{ --link: #7a0045;", style)
    assert re.search(r"dark\) \{ :root \{ --band: #102030;", style)
