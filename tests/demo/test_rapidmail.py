"""What the simulated Rapidmail answers, over real sockets."""

import base64
import io
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, encode_basic_auth

from monostat.demo.faults import serve
from monostat.demo.rapidmail import SimulatedRapidmail

SUMMER = datetime(2026, 7, 1, 22, 30, 0, 500000, tzinfo=UTC)
HTML = '<p>API down</p><a href="{%link_unsubscribe}">leave</a>'


def packed(**files: str | bytes) -> dict[str, str]:
    """Packs files named like `content_html` into what the API takes as `file`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), body)
    return {"type": "application/zip", "content": base64.b64encode(buffer.getvalue()).decode()}


def mailing(**changes: Any) -> dict[str, Any]:
    body = {
        "from_name": "Example Status",
        "from_email": "status@example.com",
        "title": "monostat incident 42 rev 1",
        "subject": "[Outage] API unavailable",
        "status": "scheduled",
        "destinations": [{"type": "recipientlist", "id": 2199, "action": "include"}],
        "file": packed(content_html=HTML, content_txt="API down {%link_unsubscribe}"),
    } | changes
    return {name: value for name, value in body.items() if value is not None}


class Client:
    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def delete(self, path: str) -> int:
        async with self.session.delete(f"/v1/{path}") as answer:
            return answer.status

    async def ask(self, path: str, body: object = None, **params: str) -> tuple[int, Any]:
        method = "GET" if body is None else "POST"
        async with self.session.request(method, f"/v1/{path}", json=body, params=params) as answer:
            good = answer.status < 400
            assert answer.content_type == (
                "application/hal+json" if good else "application/problem+json"
            )
            return answer.status, await answer.json()

    async def refusal(self, **changes: Any) -> tuple[int, set[str]]:
        status, body = await self.ask("mailings", mailing(**changes))
        return status, set(body.get("validation_messages", ()))

    async def listed(self, **params: str) -> list[int]:
        return [
            item["id"]
            for item in (await self.ask("mailings", **params))[1]["_embedded"]["mailings"]
        ]


@pytest.fixture
def vendor() -> SimulatedRapidmail:
    return SimulatedRapidmail(page_size=2, now=lambda: SUMMER)


@pytest.fixture
async def client(vendor: SimulatedRapidmail) -> AsyncIterator[Client]:
    headers = {"Authorization": encode_basic_auth(vendor.username, vendor.password)}
    async with serve(vendor.app) as origin, ClientSession(origin, headers=headers) as session:
        yield Client(session)


async def test_a_mailing_is_kept_as_it_was_sent_and_answered_in_berlin_time(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    status, body = await client.ask("mailings", mailing(send_at="2026-07-02 09:00:00"))
    assert (status, body["id"], body["status"], body["created"]) == (
        201,
        4711,
        "scheduled",
        "2026-07-02 00:30:00",
    )
    (kept,) = vendor.mailings
    assert (kept.id, kept.title, kept.subject) == (
        4711,
        "monostat incident 42 rev 1",
        "[Outage] API unavailable",
    )
    assert (kept.html, kept.text, kept.created) == (HTML, "API down {%link_unsubscribe}", SUMMER)
    assert kept.destinations == ({"type": "recipientlist", "id": 2199, "action": "include"},)
    vendor.advance(4711, "sent")
    assert (await client.ask("mailings/4711"))[1]["status"] == "sent"
    assert (await client.ask("mailings/4712"))[0] == 404


async def test_wrong_credentials_are_401_and_none_403(vendor: SimulatedRapidmail) -> None:
    async with serve(vendor.app) as origin:
        for headers, status in (
            ({"Authorization": encode_basic_auth(vendor.username, "wrong")}, 401),
            ({}, 403),
        ):
            async with ClientSession(origin, headers=headers) as session:
                answered, body = await Client(session).ask("recipientlists")
                assert (answered, body["status"]) == (status, status)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"from_name": None}, "from_name"),
        ({"from_name": 7}, "from_name"),
        ({"subject": ""}, "subject"),
        ({"subject": "two\nlines"}, "subject"),
        ({"subject": "Hello {%firstname}"}, "subject"),
        ({"from_email": "other@example.com"}, "from_email"),
        ({"status": "sent"}, "status"),
        ({"status": None}, "status"),
        ({"title": "x" * 100}, "title"),
        ({"send_at": "2026-07-02T09:00:00+02:00"}, "send_at"),
        ({"send_at": "2026-02-31 09:00:00"}, "send_at"),
        ({"destinations": []}, "destinations"),
        ({"destinations": [{"type": "recipientlist", "id": 1}]}, "destinations"),
        (
            {"destinations": [{"type": "recipientlist", "id": 2199, "action": "exclude"}]},
            "destinations",
        ),
        ({"destinations": [{"type": "recipientlist", "id": "2199"}]}, "id"),
        ({"file": {"type": "application/zip", "content": "a"}}, "file"),
        ({"file": {"type": "application/zip", "content": "UEsDBBQ="}}, "file"),
        ({"file": {"type": "text/html", "content": "UEsDBBQ="}}, "type"),
        ({"file": packed(content_txt="no html")}, "file"),
        ({"file": packed(a_html=HTML, b_html=HTML)}, "file"),
        ({"file": packed(a_html=HTML, logo_png="x")}, "file"),
        ({"file": packed(mail__a_html=HTML)}, "file"),
        ({"file": packed(a_html=HTML.encode("utf-16"))}, "file"),
        ({"file": packed(a_html="<p>no way out</p>")}, "file"),
        ({"file": packed(a_html=HTML + "{%firstname}")}, "file"),
        ({"file": packed(a_html=HTML, a_txt="{%firstname}")}, "file"),
    ],
)
async def test_a_mailing_outside_the_contract_is_422_and_not_kept(
    vendor: SimulatedRapidmail, client: Client, changes: dict[str, Any], field: str
) -> None:
    assert await client.refusal(**changes) == (422, {field})
    assert vendor.mailings == []


async def test_unknown_fields_and_bodies_that_are_not_json_are_400(client: Client) -> None:
    assert (await client.refusal(preheader="x"))[0] == 400
    assert (
        await client.refusal(destinations=[{"type": "recipientlist", "id": 2199, "name": "x"}])
    )[0] == 400
    assert (await client.ask("mailings", [1]))[0] == 400
    assert (await client.ask("mailings", sort="id"))[0] == 400
    headers = {"Content-Type": "application/json"}
    async with client.session.post("/v1/mailings", data=b"{", headers=headers) as answer:
        assert answer.status == 400


async def test_methods_paths_and_media_types_are_checked(client: Client) -> None:
    assert (await client.ask("mailings/4711/cancelscheduled"))[0] == 404
    assert (await client.ask("recipientlists", {}))[0] == 405
    async with client.session.post("/v1/mailings", data=b"a=b") as answer:
        assert answer.status == 415
    async with client.session.get("/v1/mailings", headers={"Accept": "text/html"}) as answer:
        assert answer.status == 406


async def test_pages_are_hal_and_the_newest_mailing_is_on_the_last(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    _, empty = await client.ask("mailings")
    assert (empty["page_count"], empty["page"], empty["_embedded"]) == (0, 0, {"mailings": []})
    for _ in range(3):
        await client.ask("mailings", mailing())
    _, first = await client.ask("mailings", status="scheduled")
    assert (first["page_count"], first["page_size"], first["total_items"], first["page"]) == (
        2,
        2,
        3,
        1,
    )
    assert set(first["_links"]) == {"self", "first", "last", "next"}
    assert first["_links"]["next"]["href"].endswith("/v1/mailings?status=scheduled&page=2")
    assert first["_embedded"]["mailings"][0]["destinations"][0]["id"] == "2199"
    assert await client.listed(page="2") == [4713]
    assert (await client.ask("mailings", page="3"))[0] == 409
    assert (await client.ask("mailings", page="0"))[0] == 422


async def test_a_list_starts_at_the_second_asked_for(client: Client) -> None:
    await client.ask("mailings", mailing())
    assert await client.listed(created_since="2026-07-02 00:30:00") == [4711]
    assert await client.listed(created_since="2026-07-02 00:30:01") == []
    assert await client.listed(status="draft") == []
    assert (await client.ask("mailings", created_since="2026-07-02"))[0] == 422
    assert (await client.ask("mailings", created_since="2026-02-31 00:00:00"))[0] == 422


async def test_a_new_mailing_can_be_late_in_the_list_and_lose_its_title(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    vendor.listing_delay, vendor.drop_title = 2, True
    await client.ask("mailings", mailing())
    assert (await client.ask("mailings/4711"))[1]["title"] is None
    assert [await client.listed() for _ in range(3)] == [[], [], [4711]]
    assert vendor.mailings[0].title == ""


async def test_the_eleventh_request_in_a_second_is_503_and_no_client_may_send_it(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    assert [(await client.ask("recipientlists"))[0] for _ in range(11)] == [200] * 10 + [503]
    assert vendor.violations == ["the eleventh in a second: GET /v1/recipientlists"]


async def test_a_scheduled_mailing_is_sent_by_itself_and_others_are_not(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    async def statuses(number: int) -> list[str]:
        return [(await client.ask(f"mailings/{number}"))[1]["status"] for _ in range(3)]

    await client.ask("mailings", mailing())
    assert await statuses(4711) == ["preparing", "sending", "sent"]
    await client.ask("mailings", mailing(status="draft", title="second"))
    assert await statuses(4712) == ["draft"] * 3
    vendor.moves = False
    await client.ask("mailings", mailing(title="third"))
    assert (await client.ask("mailings/4713"))[1]["status"] == "scheduled"


async def test_a_mailing_becomes_what_was_ordered_and_a_pause_is_a_time(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    vendor.made_as = "draft"
    assert (await client.ask("mailings", mailing()))[1]["status"] == "draft"
    vendor.made_as = None
    vendor.made_paused = True
    _, paused = await client.ask("mailings", mailing(title="second"))
    assert (paused["status"], paused["paused"]) == ("scheduled", "2026-07-02 00:30:00")
    assert (await client.ask("mailings/4712"))[1]["status"] == "scheduled"
    vendor.advance(4712, "canceled")
    _, canceled = await client.ask("mailings/4712")
    assert (canceled["status"], canceled["canceled"]) == ("canceled", "2026-07-02 00:30:00")
    assert [one.lives for one in vendor.mailings] == [False, False]


async def test_what_nobody_has_got_yet_can_be_deleted_and_is_gone_then(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    for title in ("one", "two"):
        await client.ask("mailings", mailing(title=title))
    assert [await client.delete("mailings/4711") for _ in range(2)] == [204, 404]
    assert (await client.ask("mailings/4711"))[0] == 404
    assert await client.listed() == [4712]
    vendor.keeps = True
    assert await client.delete("mailings/4712") == 409
    vendor.keeps = False
    vendor.advance(4712, "sending")
    assert await client.delete("mailings/4712") == 409


async def test_entries_can_lack_their_titles_and_the_same_mailing_twice_is_a_violation(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    await client.ask("mailings", mailing())
    vendor.untitled = {4711}
    _, page = await client.ask("mailings")
    assert "title" not in page["_embedded"]["mailings"][0]
    vendor.advance(4711, "draft")
    await client.ask("mailings", mailing())
    assert vendor.violations == []
    await client.ask("mailings", mailing())
    assert vendor.violations == ["the mailing monostat incident 42 rev 1 is sent twice"]


async def test_a_recipient_list_is_found_in_the_list_and_by_id(client: Client) -> None:
    _, body = await client.ask("recipientlists")
    assert [item["id"] for item in body["_embedded"]["recipientlists"]] == ["2199"]
    assert (await client.ask("recipientlists/2199"))[1]["id"] == 2199
    assert (await client.ask("recipientlists/1"))[0] == 404


async def subscribe(client: Client, **changes: Any) -> tuple[int, Any]:
    body = {
        "recipientlist_id": 2199,
        "email": "Visitor@example.org",
        "status": "new",
        "created_ip": "203.0.113.9",
    }
    return await client.ask("recipients", body | changes, send_activationmail="yes")


async def test_a_subscriber_is_mailed_once_confirms_leaves_and_comes_back(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    status, body = await subscribe(client)
    assert (status, body["status"], body["recipientlist_id"]) == (201, "new", "2199")
    assert (await subscribe(client, email="visitor@example.org"))[0] == 409
    recipient = vendor.recipients["visitor@example.org"]
    assert (recipient.status, recipient.opt_in_mails, recipient.created_ip) == (
        "new",
        1,
        "203.0.113.9",
    )
    vendor.confirm("visitor@example.org")
    assert vendor.recipients["visitor@example.org"].status == "active"
    assert (await subscribe(client))[0] == 409
    vendor.unsubscribe("visitor@example.org")
    status, again = await subscribe(client)
    assert (status, again["id"]) == (201, body["id"])
    recipient = vendor.recipients["visitor@example.org"]
    assert (recipient.status, recipient.opt_in_mails) == ("new", 2)


async def test_without_an_opt_in_mail_nobody_can_confirm(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    body = {"recipientlist_id": 2199, "email": "a@example.org"}
    assert (await client.ask("recipients", body))[0] == 201
    assert (await subscribe(client, email="b@example.org", status="active"))[0] == 201
    assert [recipient.opt_in_mails for recipient in vendor.recipients.values()] == [0, 0]
    with pytest.raises(ValueError, match="nothing to confirm"):
        vendor.confirm("a@example.org")


async def test_recipients_outside_the_contract_are_refused(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    changes: list[dict[str, Any]] = [
        {"email": "visitor"},
        {"recipientlist_id": 1},
        {"recipientlist_id": "2199"},
        {"status": "deleted"},
    ]
    assert [(await subscribe(client, **change))[0] for change in changes] == [422] * 4
    assert (await subscribe(client, birthdate="1970-01-01"))[0] == 400
    body = {"recipientlist_id": 2199, "email": "a@example.org"}
    assert (await client.ask("recipients", body, send_activationmail="true"))[0] == 422
    assert (await client.ask("recipients", body, test_mode="yes"))[0] == 400
    assert vendor.recipients == {}


async def test_an_answer_lost_on_the_way_leaves_the_mailing_behind(
    vendor: SimulatedRapidmail, client: Client
) -> None:
    vendor.faults.accept_then_drop(path="/mailings")
    with pytest.raises(ClientConnectionError):
        await client.ask("mailings", mailing())
    since = f"{SUMMER - timedelta(days=1):%Y-%m-%d %H:%M:%S}"
    assert await client.listed(created_since=since) == [one.id for one in vendor.mailings] == [4711]
