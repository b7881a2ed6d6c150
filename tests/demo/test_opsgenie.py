"""What the simulated Opsgenie answers, over real sockets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession

from monostat.demo.faults import serve
from monostat.demo.opsgenie import SimulatedOpsgenie

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


class Client:
    def __init__(self, origin: str, session: ClientSession, key: str) -> None:
        self.origin, self.session, self.headers = (
            origin,
            session,
            {"Authorization": f"GenieKey {key}"},
        )

    async def get(self, path: str = "", **params: str) -> tuple[int, Any]:
        async with self.session.get(
            f"/v2/alerts{path}", params=params, headers=self.headers
        ) as answer:
            return answer.status, await answer.json()

    async def ids(self, **params: str) -> list[str]:
        status, body = await self.get(**params)
        assert status == 200, body
        return [item["id"] for item in body["data"]]


@pytest.fixture
def vendor() -> SimulatedOpsgenie:
    return SimulatedOpsgenie(now=lambda: NOON)


@pytest.fixture
async def client(vendor: SimulatedOpsgenie) -> AsyncIterator[Client]:
    async with serve(vendor.app) as origin, ClientSession(origin) as session:
        yield Client(origin, session, vendor.api_key)


@pytest.mark.parametrize(
    ("authorization", "status", "message"),
    [
        (None, 401, "Could not authenticate"),
        ("Basic Og==", 401, "Could not authenticate"),
        ("GenieKey 00000000-0000-4000-8000-000000000000", 401, "Could not authenticate"),
        ("GenieKey abc", 422, "Key format is not valid!"),
    ],
)
async def test_a_wrong_key_is_401_and_a_malformed_one_422(
    client: Client, authorization: str | None, status: int, message: str
) -> None:
    client.headers = {"Authorization": authorization} if authorization else {}
    answered, body = await client.get()
    assert (answered, body["message"]) == (status, message)
    assert set(body) == {"message", "took", "requestId"}


async def test_an_open_alert_is_listed_with_the_types_on_record(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    new = vendor.fire("[prod] 5xx rate above 5%", alias="web-5xx", tags=["prod", "web"])
    _, body = await client.get(query="status: open")
    (item,) = body["data"]
    assert item["id"] == new
    assert new.endswith("-1795348800123")
    assert (item["createdAt"], item["tags"], item["count"]) == (
        "2026-11-22T12:00:00.123Z",
        ["prod", "web"],
        1,
    )
    assert (item["status"], item["acknowledged"], item["snoozed"]) == ("open", False, False)
    assert "report" not in item
    assert "description" not in item


async def test_times_in_a_report_are_milliseconds_since_the_creation(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    new = vendor.fire("disk full", created_at=NOON - timedelta(minutes=2), description="df -h")
    vendor.acknowledge(new)
    vendor.close(new, NOON + timedelta(minutes=1))
    assert await client.ids(query="status: open") == []
    _, body = await client.get(f"/{new}")
    assert (body["data"]["status"], body["data"]["description"]) == ("closed", "df -h")
    assert (body["data"]["report"]["ackTime"], body["data"]["report"]["closeTime"]) == (
        120000,
        180000,
    )


async def test_acknowledged_and_snoozed_alerts_stay_open(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    new, other = vendor.fire("one"), vendor.fire("two")
    vendor.acknowledge(new)
    vendor.snooze(new, NOON + timedelta(hours=1))
    vendor.snooze(other, NOON - timedelta(hours=1))
    _, body = await client.get(query="status: open", order="asc")
    assert [item["acknowledged"] for item in body["data"]] == [True, False]
    assert body["data"][0]["snoozedUntil"] == "2026-11-22T13:00:00.123Z"
    assert [item["snoozed"] for item in body["data"]] == [True, False]


async def test_the_same_alias_is_counted_up_to_100_and_new_after_a_close(
    vendor: SimulatedOpsgenie,
) -> None:
    first = vendor.fire("x", alias="a")
    assert {vendor.fire("x", alias="a") for _ in range(120)} == {first}
    assert vendor.alerts[first].count == 100
    vendor.close(first)
    assert vendor.fire("x", alias="a") != first
    assert len(vendor.alerts) == 2


async def test_a_second_page_is_found_by_offset(vendor: SimulatedOpsgenie, client: Client) -> None:
    ids = [vendor.fire(f"alert {n}", created_at=NOON + timedelta(seconds=n)) for n in range(5)]
    _, first = await client.get(query="status: open", limit="2", order="asc")
    assert [item["id"] for item in first["data"]] == ids[:2]
    url = f"{client.origin}/v2/alerts?limit=2&sort=createdAt&offset={{}}&order=asc&query=status%3A+open"
    assert first["paging"] == {"next": url.format(2), "first": url.format(0), "last": url.format(4)}
    _, last = await client.get(query="status: open", limit="2", order="asc", offset="4")
    assert [item["id"] for item in last["data"]] == ids[4:]
    assert "next" not in last["paging"]
    assert await client.ids() == ids[::-1]


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "ten"},
        {"offset": "-1"},
        {"offset": "19900", "limit": "100"},
        {"sort": "insertedAt"},
        {"order": "up"},
        {"size": "20"},
    ],
)
async def test_parameters_outside_the_contract_are_422(
    client: Client, params: dict[str, str]
) -> None:
    status, body = await client.get(**params)
    assert status == 422
    assert "message" in body


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status: open", "abc"),
        ("status:closed", "d"),
        ("status: open AND (tag: prod)", "ab"),
        ("status: open AND (tag: prod AND priority: P1 OR tag: test)", "ac"),
        ("status: open AND (priority: (P1 OR P3) AND NOT message: disk*)", "c"),
        ('tag: "env:prod"', "b"),
        ('message: "is full"', "a"),
        ("message: dis", ""),
        ("alias: a and acknowledged: false", "a"),
        ("NOT (status: open OR acknowledged: true)", "d"),
        ("", "abcd"),
    ],
)
async def test_a_query_finds_what_it_says(
    vendor: SimulatedOpsgenie, client: Client, query: str, found: str
) -> None:
    a = vendor.fire("disk is full", alias="a", tags=["prod"])
    b = vendor.fire("Disks slow", alias="b", tags=["prod", "env:prod"], priority="P2")
    c = vendor.fire("cron late", alias="c", tags=["test"], priority="P3")
    d = vendor.fire("old (thing) AND more", alias="d")
    vendor.acknowledge(b)
    vendor.close(d)
    names = {a: "a", b: "b", c: "c", d: "d"}
    assert (
        "".join(names[id_] for id_ in await client.ids(query=query, sort="alias", order="asc"))
        == found
    )
    _, body = await client.get("/count", query=query)
    assert body["data"] == {"count": len(found)}


@pytest.mark.parametrize(
    "query",
    [
        "status: open (tag: prod)",
        "status: open tag: prod",
        "status: open AND",
        "status: open AND (tag: prod",
        "status: open AND ()",
        "colour: red",
        "Status: open",
        "tag: env:prod",
        "createdAt > 5",
        'tag: "prod',
        " ",
    ],
)
async def test_a_query_that_cannot_be_parsed_is_422_even_without_alerts(
    client: Client, query: str
) -> None:
    status, body = await client.get(query=query)
    assert (status, set(body)) == (422, {"message", "errors", "took", "requestId"})


async def test_one_alert_is_found_by_id_number_or_open_alias(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    new = vendor.fire("x", alias="a b")
    for path, kind in ((new, "id"), ("1", "tiny"), ("a%20b", "alias")):
        status, body = await client.get(f"/{path}", identifierType=kind)
        assert (status, body["data"]["id"]) == (200, new)
    vendor.close(new)
    assert (await client.get("/a%20b", identifierType="alias"))[0] == 404
    assert (await client.get(f"/{new}"))[0] == 200
    assert (await client.get(f"/{new}", identifierType="name"))[0] == 422


async def test_a_deleted_alert_and_an_unknown_path_are_404(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    new = vendor.fire("x")
    vendor.rename(new, "y")
    assert (await client.get(f"/{new}"))[1]["data"]["message"] == "y"
    vendor.delete(new)
    for path in (f"/{new}", "/x/y"):
        status, body = await client.get(path)
        assert (status, set(body)) == (404, {"message", "took", "requestId"})


async def test_the_list_and_one_alert_can_disagree(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    late, stale = vendor.fire("late"), vendor.fire("stale")
    vendor.hide_from_list(late)
    vendor.keep_in_list(stale)
    vendor.close(stale)
    _, body = await client.get(query="status: open")
    assert [(item["id"], item["status"]) for item in body["data"]] == [(stale, "open")]
    assert (await client.get(f"/{late}"))[1]["data"]["status"] == "open"
    assert (await client.get(f"/{stale}"))[1]["data"]["status"] == "closed"
    vendor.show_in_list(late)
    vendor.show_in_list(stale)
    assert await client.ids(query="status: open") == [late]


async def test_a_key_without_sight_gets_an_empty_list_and_403(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    new = vendor.fire("x")
    vendor.lose_sight()
    assert await client.ids() == []
    status, body = await client.get(f"/{new}")
    assert (status, body["code"]) == (403, 40301)
    vendor.regain_sight()
    assert await client.ids() == [new]


async def test_an_alert_closed_between_two_pages_makes_one_slip_through(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    ids = [vendor.fire(f"alert {n}", created_at=NOON + timedelta(seconds=n)) for n in range(4)]
    vendor.before_page = lambda offset: vendor.close(ids[0]) if offset else None
    seen = await client.ids(query="status: open", limit="2", order="asc")
    seen += await client.ids(query="status: open", limit="2", order="asc", offset="2")
    assert seen == [ids[0], ids[1], ids[3]]


async def test_a_fault_on_order_comes_before_the_key_is_looked_at(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    client.headers = {}
    vendor.faults.fail_next(502)
    async with client.session.get("/v2/alerts") as answer:
        assert (answer.status, answer.content_type) == (502, "text/html")
    assert (await client.get())[0] == 401
