"""What the simulated JSM Operations answers, over real sockets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession, encode_basic_auth

from monostat.demo.faults import serve
from monostat.demo.jsm import SimulatedJsm
from monostat.demo.opsgenie import SimulatedOpsgenie

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Client:
    """Somebody with the account's token, at the site's base."""

    def __init__(self, session: ClientSession, jsm: SimulatedJsm) -> None:
        self.session, self.base = session, f"/jsm/ops/api/{jsm.cloud_id}"
        self.headers = {"Authorization": encode_basic_auth(jsm.email, jsm.api_token)}

    async def get(self, path: str = "", **params: str) -> tuple[int, Any]:
        url = f"{self.base}/v1/alerts{path}"
        async with self.session.get(url, params=params, headers=self.headers) as answer:
            return answer.status, await answer.json()

    async def ids(self, **params: str) -> list[str]:
        status, body = await self.get(**params)
        assert status == 200, body
        return [item["id"] for item in body["values"]]


@pytest.fixture
def vendor() -> SimulatedOpsgenie:
    return SimulatedOpsgenie(now=lambda: NOON)


@pytest.fixture
def jsm(vendor: SimulatedOpsgenie) -> SimulatedJsm:
    return SimulatedJsm(vendor)


@pytest.fixture
async def client(vendor: SimulatedOpsgenie, jsm: SimulatedJsm) -> AsyncIterator[Client]:
    async with serve(vendor.app) as origin, ClientSession(origin) as session:
        yield Client(session, jsm)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "GenieKey 5b1f0f6e-3c1d-4a53-9a2e-6f1d2c3b4a59",
        encode_basic_auth("ops@example.com", "x"),
    ],
)
async def test_a_key_of_opsgenie_and_a_wrong_token_are_401(
    client: Client, authorization: str | None
) -> None:
    client.headers = {"Authorization": authorization} if authorization else {}
    status, body = await client.get()
    assert (status, body["code"]) == (401, 401)


async def test_a_missing_scope_is_401_too(client: Client, jsm: SimulatedJsm) -> None:
    jsm.scoped = False
    assert await client.get() == (
        401,
        {"code": 401, "message": "Unauthorized; scope does not match"},
    )


async def test_another_site_is_404(client: Client) -> None:
    async with client.session.get("/jsm/ops/api/other/v1/alerts", headers=client.headers) as answer:
        assert answer.status == 404


async def test_times_are_times_and_absent_while_they_have_not_happened(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    new = vendor.fire("disk full", created_at=NOON - 2 * MINUTE, description="df -h")
    _, body = await client.get()
    (item,) = body["values"]
    assert (item["id"], item["status"], item["createdAt"]) == (
        new,
        "open",
        "2026-11-22T11:58:00.123Z",
    )
    assert not {"closeTime", "ackTime", "snoozedUntil", "description", "report"} & item.keys()
    assert "lastOccuredAt" in item
    vendor.acknowledge(new)
    vendor.close(new, NOON + MINUTE)
    status, one = await client.get(f"/{new}")
    assert (status, one["status"], one["description"]) == (200, "closed", "df -h")
    assert (one["ackTime"], one["closeTime"]) == (
        "2026-11-22T12:00:00.123Z",
        "2026-11-22T12:01:00.123Z",
    )


async def test_limit_is_ignored_and_the_next_page_forgets_the_query(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    fired = [vendor.fire(str(n), created_at=NOON + n * MINUTE) for n in range(25)]
    status, body = await client.get(limit="5", query="status: open")
    assert (status, len(body["values"]), body["count"]) == (200, 20, 25)
    assert body["links"] == {"next": "/v1/alerts?offset=20&size=20&sort=insertedAt&order=desc"}
    assert await client.ids(size="10", offset="20", order="asc", sort="createdAt") == fired[20:]
    assert (await client.get(size="100"))[1]["links"] == {}


@pytest.mark.parametrize(
    "params",
    [
        {"size": "0"},
        {"size": "101"},
        {"offset": "19900", "size": "100"},
        {"sort": "updatedAt"},
        {"order": "up"},
        {"query": "status: open AND"},
    ],
)
async def test_parameters_outside_the_contract_are_422(
    client: Client, params: dict[str, str]
) -> None:
    status, body = await client.get(**params)
    assert (status, list(body)) == (422, ["errors"])


async def test_one_alert_is_found_by_its_id_alone(
    vendor: SimulatedOpsgenie, client: Client
) -> None:
    new = vendor.fire("x", alias="a")
    assert (await client.get(f"/{new}"))[1]["id"] == new
    for other in ("/1", "/a", "/nobody"):
        status, body = await client.get(other)
        assert (status, list(body)) == (404, ["errors"])
    vendor.lose_sight()
    assert await client.ids() == []
    assert (await client.get(f"/{new}"))[0] == 403


async def test_an_alert_may_be_told_in_words_that_the_search_for_open_ones_does_not_find(
    vendor: SimulatedOpsgenie, jsm: SimulatedJsm, client: Client
) -> None:
    acked, snoozed, over = vendor.fire("a"), vendor.fire("b"), vendor.fire("c")
    vendor.acknowledge(acked)
    vendor.snooze(snoozed, NOON + MINUTE)
    vendor.close(over)
    assert set(await client.ids(query="status: open")) == {acked, snoozed}
    jsm.spells_out = True
    assert await client.ids(query="status: open") == []
    words = [(await client.get(f"/{id_}"))[1]["status"] for id_ in (acked, snoozed, over)]
    assert words == ["acked", "snoozed", "resolved"]
