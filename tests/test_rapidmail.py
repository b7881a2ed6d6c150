"""What becomes of a mailing at a simulated Rapidmail, over real sockets."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from monostat import config
from monostat.delivery import Undelivered
from monostat.demo.faults import serve
from monostat.demo.rapidmail import SimulatedRapidmail
from monostat.messages import Letter
from monostat.rapidmail import Rapidmail

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
LINK = "{%link_unsubscribe}"
TITLE, LETTER = "monostat e1 17 1", Letter("[Outage] Käse", f"<p>Käse {LINK}", f"Käse {LINK}")


@pytest.fixture
def vendor() -> SimulatedRapidmail:
    return SimulatedRapidmail(now=lambda: NOON)


@pytest.fixture
async def settings(vendor: SimulatedRapidmail) -> AsyncIterator[config.Rapidmail]:
    async with serve(vendor.app) as origin:
        yield config.Rapidmail(
            url=f"{origin}/v1",
            username=SecretStr(vendor.username),
            password=SecretStr(vendor.password),
            recipientlist_id=vendor.recipientlist_id,
            from_name="Shop Status",
            from_email=vendor.from_email,
        )
        vendor.faults.release()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
def rapidmail(session: ClientSession, settings: config.Rapidmail) -> Rapidmail:
    return Rapidmail(session, settings, seconds=0.5)


async def refusal(rapidmail: Rapidmail, letter: Letter = LETTER) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        await rapidmail.send(TITLE, letter)
    return caught.value


async def unclear(rapidmail: Rapidmail) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        await rapidmail.find(TITLE, since=NOON)
    assert caught.value.ambiguous
    return caught.value


async def test_a_mailing_is_sent_at_once_to_the_list_in_both_parts(
    vendor: SimulatedRapidmail, rapidmail: Rapidmail
) -> None:
    await rapidmail.send(TITLE, LETTER)
    [sent] = vendor.mailings
    assert (sent.title, sent.subject, sent.html, sent.text) == (TITLE, LETTER.subject, LETTER.html, LETTER.text)
    assert (sent.status, sent.send_at) == ("scheduled", None)
    assert (sent.from_name, sent.from_email) == ("Shop Status", "status@example.com")
    assert sent.destinations == ({"type": "recipientlist", "id": 2199, "action": "include"},)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 415, 422])
async def test_what_is_refused_will_be_refused_again(
    vendor: SimulatedRapidmail, rapidmail: Rapidmail, status: int
) -> None:
    vendor.faults.fail_next(status)
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous) == (True, False)
    assert f"({status})" in refused.reason
    assert "html" not in refused.reason


@pytest.mark.parametrize(("status", "ambiguous"), [(500, True), (502, True), (503, True), (302, True), (429, False)])
async def test_trouble_is_not_final_and_often_unclear(
    vendor: SimulatedRapidmail, rapidmail: Rapidmail, status: int, ambiguous: bool
) -> None:
    vendor.faults.fail_next(status, headers={"Retry-After": "7", "Location": "/v1/mailings"})
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous, refused.retry_after) == (False, ambiguous, 7)
    assert len(vendor.faults.requests) == 1


async def test_wrong_credentials_are_named_but_not_shown(
    session: ClientSession, settings: config.Rapidmail, vendor: SimulatedRapidmail
) -> None:
    wrong = settings.model_copy(update={"password": SecretStr("hunter2")})
    refused = await refusal(Rapidmail(session, wrong, seconds=1))
    assert refused.reason == (
        "Rapidmail refused the user name or password (401): check rapidmail.username and rapidmail.password"
    )
    assert refused.permanent


async def test_a_422_tells_what_the_vendor_found_wrong(vendor: SimulatedRapidmail, rapidmail: Rapidmail) -> None:
    refused = await refusal(rapidmail, LETTER._replace(html="no link"))
    assert refused.reason.endswith("It says: Failed Validation file")
    vendor.faults.answer_next(422, body=json.dumps({"detail": "a\n" * 500, "validation_messages": 3}).encode())
    refused = await refusal(rapidmail)
    assert refused.reason.endswith("It says: " + "a " * 100)
    assert "\n" not in refused.reason


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"\xff", b"[" * 100_000])
async def test_a_success_without_a_number_is_unclear(
    vendor: SimulatedRapidmail, rapidmail: Rapidmail, body: bytes
) -> None:
    vendor.faults.answer_next(201, body=body, carry_out=True)
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous) == (False, True)


async def test_a_reset_or_silence_after_the_request_is_unclear_and_repeats_nothing(
    vendor: SimulatedRapidmail, rapidmail: Rapidmail
) -> None:
    vendor.faults.accept_then_drop()
    assert (await refusal(rapidmail)).ambiguous
    assert await rapidmail.find(TITLE, since=NOON)
    vendor.faults.hang()
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous) == (False, True)
    assert len(vendor.mailings) == 1
    assert sum(request.startswith("POST") for request in vendor.faults.requests) == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://nowhere.invalid/v1"])
async def test_a_vendor_that_was_never_reached_has_nothing(
    session: ClientSession, settings: config.Rapidmail, url: str
) -> None:
    rapidmail = Rapidmail(session, settings.model_copy(update={"url": url}), seconds=5)
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous) == (False, False)
    await unclear(rapidmail)


async def test_a_failed_handshake_left_nothing_with_the_vendor(
    session: ClientSession, settings: config.Rapidmail
) -> None:
    tls = settings.model_copy(update={"url": settings.url.replace("http:", "https:")})
    refused = await refusal(Rapidmail(session, tls, seconds=5))
    assert (refused.permanent, refused.ambiguous) == (False, False)


async def test_a_mailing_is_found_by_its_exact_title_on_any_page(
    vendor: SimulatedRapidmail, rapidmail: Rapidmail
) -> None:
    vendor.page_size = 1
    await rapidmail.send(TITLE, LETTER)
    vendor.mailings += [
        replace(vendor.mailings[0], id=number, title=f"monostat e1 17 1{number}") for number in range(11)
    ]
    assert await rapidmail.find("monostat e1 17 110", since=NOON)
    vendor.page_size = 25
    assert not await rapidmail.find("monostat e1 17", since=NOON)
    assert not await rapidmail.find("monostat e1 17 111", since=NOON)


async def test_an_empty_list_holds_no_mailing(rapidmail: Rapidmail) -> None:
    assert not await rapidmail.find(TITLE, since=NOON)


async def test_a_mailing_is_found_whatever_zone_the_vendor_means(
    vendor: SimulatedRapidmail, rapidmail: Rapidmail
) -> None:
    await rapidmail.send(TITLE, LETTER)
    assert await rapidmail.find(TITLE, since=NOON + timedelta(hours=14))
    assert not await rapidmail.find(TITLE, since=NOON + timedelta(days=3))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"_embedded": {"mailings": 3}}',
        b'{"_embedded": {"mailings": []}}',
        b'{"_embedded": {"mailings": [{"id": 1}]}, "page_count": 1}',
        b'{"_embedded": {"mailings": []}, "page_count": "many"}',
    ],
)
async def test_a_list_that_makes_no_sense_proves_nothing(
    vendor: SimulatedRapidmail, rapidmail: Rapidmail, body: bytes
) -> None:
    vendor.faults.answer_next(200, body=body)
    assert (await unclear(rapidmail)).reason == "Rapidmail's list of mailings is not understood"


async def test_a_page_that_fails_proves_nothing(vendor: SimulatedRapidmail, rapidmail: Rapidmail) -> None:
    page: dict[str, Any] = {"_embedded": {"mailings": [{"title": None}]}, "page_count": 3}
    vendor.faults.answer_next(200, body=json.dumps(page).encode())
    assert not (await unclear(rapidmail)).permanent, "the second page is out of range, 409"
    vendor.faults.fail_next(401)
    assert (await unclear(rapidmail)).permanent
