"""What becomes of a mailing at a simulated Rapidmail, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from monostat import config
from monostat.demo.faults import serve
from monostat.demo.rapidmail import SimulatedRapidmail
from monostat.mail.budget import Budget
from monostat.mail.letter import Letter
from monostat.mail.mailing import Mailing, entries_of, mailing_of
from monostat.mail.rapidmail import RapidmailClient
from monostat.vendor import Undelivered
from tests.waiting import eventually

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
LINK = "{%link_unsubscribe}"
TITLE, LETTER = "monostat e1 17 1", Letter("[Outage] Käse", f"<p>Käse {LINK}", f"Käse {LINK}")


@pytest.fixture
def vendor() -> SimulatedRapidmail:
    return SimulatedRapidmail(now=lambda: NOON)


@pytest.fixture
async def settings(vendor: SimulatedRapidmail) -> AsyncIterator[config.RapidmailSettings]:
    async with serve(vendor.app) as origin:
        yield config.RapidmailSettings(
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
def rapidmail(session: ClientSession, settings: config.RapidmailSettings) -> RapidmailClient:
    return RapidmailClient(session, settings, seconds=3)


async def refusal(rapidmail: RapidmailClient, letter: Letter = LETTER) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        await rapidmail.send(TITLE, letter)
    return caught.value


async def unclear(rapidmail: RapidmailClient) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        await rapidmail.find(TITLE, since=NOON)
    assert caught.value.ambiguous
    return caught.value


async def test_a_mailing_is_sent_at_once_to_the_list_in_both_parts(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
) -> None:
    await rapidmail.send(TITLE, LETTER)
    [sent] = vendor.mailings
    assert (sent.title, sent.subject, sent.html, sent.text) == (
        TITLE,
        LETTER.subject,
        LETTER.html,
        LETTER.text,
    )
    assert (sent.status, sent.send_at) == ("scheduled", None)
    assert (sent.from_name, sent.from_email) == ("Shop Status", "status@example.com")
    assert sent.destinations == ({"type": "recipientlist", "id": 2199, "action": "include"},)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 415, 451])
async def test_what_is_refused_will_be_refused_again(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, status: int
) -> None:
    vendor.faults.fail_next(status)
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous) == (True, False)
    assert f"({status})" in refused.reason
    assert "html" not in refused.reason


@pytest.mark.parametrize(
    ("status", "ambiguous"), [(500, True), (502, True), (503, True), (302, True), (429, False)]
)
async def test_trouble_is_not_final_and_often_unclear(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, status: int, ambiguous: bool
) -> None:
    vendor.faults.fail_next(status, headers={"Retry-After": "7", "Location": "/v1/mailings"})
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous, refused.retry_after) == (False, ambiguous, 7)
    assert len(vendor.faults.requests) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"detail": "Failed Validation", "validation_messages": {}}']
)
async def test_a_422_that_names_no_field_may_pass_at_another_try(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, body: bytes
) -> None:
    vendor.faults.answer_next(422, body=body)
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous) == (False, False)


async def test_what_is_refused_for_a_reason_of_its_own_tells_the_reason(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
) -> None:
    vendor.faults.answer_next(402, body=b'{"detail": "The account has no credit left"}')
    assert (await refusal(rapidmail)).reason == (
        "Rapidmail refused the mailing (402). It says: The account has no credit left"
    )


async def test_wrong_credentials_are_named_but_not_shown(
    session: ClientSession, settings: config.RapidmailSettings, vendor: SimulatedRapidmail
) -> None:
    wrong = settings.model_copy(update={"password": SecretStr("hunter2")})
    refused = await refusal(RapidmailClient(session, wrong, seconds=1))
    assert refused.reason == (
        "Rapidmail refused the user name or password (401): check rapidmail.username and rapidmail.password"
    )
    assert refused.permanent


async def test_a_422_tells_what_the_vendor_found_wrong(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
) -> None:
    refused = await refusal(rapidmail, LETTER._replace(html="no link"))
    assert refused.reason.endswith("It says: Failed Validation file")
    vendor.faults.answer_next(
        422, body=json.dumps({"detail": "a\n" * 500, "validation_messages": 3}).encode()
    )
    refused = await refusal(rapidmail)
    assert refused.reason.endswith("It says: " + "a " * 100)
    assert "\n" not in refused.reason


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"\xff", b"[" * 100_000])
async def test_a_success_without_a_number_is_unclear(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, body: bytes
) -> None:
    vendor.faults.answer_next(201, body=body, carry_out=True)
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous) == (False, True)


async def test_a_reset_or_silence_after_the_request_is_unclear_and_repeats_nothing(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
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
    session: ClientSession, settings: config.RapidmailSettings, url: str
) -> None:
    rapidmail = RapidmailClient(session, settings.model_copy(update={"url": url}), seconds=5)
    refused = await refusal(rapidmail)
    assert (refused.permanent, refused.ambiguous) == (False, False)
    await unclear(rapidmail)


async def test_a_failed_handshake_left_nothing_with_the_vendor(
    session: ClientSession, settings: config.RapidmailSettings
) -> None:
    tls = settings.model_copy(update={"url": settings.url.replace("http:", "https:")})
    refused = await refusal(RapidmailClient(session, tls, seconds=5))
    assert (refused.permanent, refused.ambiguous) == (False, False)


async def test_a_mailing_is_found_by_its_exact_title_on_any_page(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
) -> None:
    vendor.page_size = 1
    await rapidmail.send(TITLE, LETTER)
    vendor.mailings += [
        replace(vendor.mailings[0], id=number, title=f"monostat e1 17 1{number}")
        for number in range(11)
    ]
    assert await rapidmail.find("monostat e1 17 110", since=NOON)
    vendor.page_size = 25
    assert not await rapidmail.find("monostat e1 17", since=NOON)
    assert not await rapidmail.find("monostat e1 17 111", since=NOON)


async def test_an_empty_list_holds_no_mailing(rapidmail: RapidmailClient) -> None:
    assert not await rapidmail.find(TITLE, since=NOON)


async def test_a_mailing_is_found_whatever_zone_the_vendor_means(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
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
        b'{"_embedded": {"mailings": [1]}, "page_count": 1}',
        b'{"_embedded": {"mailings": [{"title": "monostat e1 17 1"}]}, "page_count": 1}',
        b'{"_embedded": {"mailings": []}, "page_count": "many"}',
    ],
)
async def test_a_list_that_makes_no_sense_proves_nothing(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, body: bytes
) -> None:
    vendor.faults.answer_next(200, body=body)
    assert (await unclear(rapidmail)).reason == "Rapidmail's list of mailings is not understood"


async def test_a_page_that_fails_proves_nothing(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
) -> None:
    page: dict[str, Any] = {"_embedded": {"mailings": [{"title": None}]}, "page_count": 3}
    vendor.faults.answer_next(200, body=json.dumps(page).encode())
    assert not (await unclear(rapidmail)).permanent, "the second page is out of range, 409"
    vendor.faults.fail_next(401)
    assert (await unclear(rapidmail)).permanent


# What the list tells.


@pytest.mark.parametrize("entry", [{}, {"title": None}, {"title": ""}, {"title": 7}])
async def test_one_mailing_without_a_title_does_not_block_the_look_for_ours(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, entry: dict[str, Any]
) -> None:
    other = {
        "id": 12,
        "subject": LETTER.subject,
        "status": "sent",
        "created": "2026-11-22 12:00:00",
    } | entry
    page = {
        "_embedded": {"mailings": [other, {"id": "7", "title": TITLE, "status": "sent"}]},
        "page_count": 1,
    }
    vendor.faults.answer_next(200, body=json.dumps(page).encode())
    assert await rapidmail.find(TITLE, since=NOON, subject=LETTER.subject) == Mailing(7, "sent", "")
    page["_embedded"] = {"mailings": [other, {"id": "7", "title": "another"}]}
    vendor.faults.answer_next(200, body=json.dumps(page).encode())
    assert await rapidmail.find(TITLE, since=NOON, subject=LETTER.subject) is None, (
        "others have titles: ours would too"
    )


async def test_where_no_mailing_has_a_title_subject_list_and_time_tell_them_apart_and_the_log_says_so_once(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.drop_title = True
    await rapidmail.send(TITLE, LETTER)
    for _ in range(2):
        assert await rapidmail.find(TITLE, since=NOON, subject=LETTER.subject)
    assert caplog.text.count("names no titles") == 1
    assert not await rapidmail.find(TITLE, since=NOON, subject="[Outage] Another")
    assert not await rapidmail.find(TITLE, since=NOON + timedelta(hours=3), subject=LETTER.subject)
    assert not await rapidmail.find(
        TITLE, since=NOON, subject=LETTER.subject, others=[vendor.mailings[0].id]
    )
    ours = vendor.mailings[0]
    vendor.mailings[:] = [
        replace(ours, destinations=({"type": "recipientlist", "id": 1, "action": "include"},))
    ]
    assert not await rapidmail.find(TITLE, since=NOON, subject=LETTER.subject)


@pytest.mark.parametrize("status", ["draft", "canceled", "paused"])
async def test_a_mailing_that_is_sent_counts_before_one_that_is_not(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, status: str
) -> None:
    await rapidmail.send(TITLE, LETTER)
    vendor.advance(4711, "scheduled" if status == "paused" else status, paused=status == "paused")
    found = await rapidmail.find(TITLE, since=NOON)
    assert found is not None
    assert (found.id, found.left, found.gone) == (4711, False, False)
    assert "Retry" in found.stopped
    await rapidmail.send(TITLE, LETTER)
    assert await rapidmail.find(TITLE, since=NOON) == Mailing(4712, "scheduled", "")


@pytest.mark.parametrize(
    ("entity", "left", "stopped"),
    [
        ({"status": "scheduled"}, False, ""),
        ({"status": "prepared"}, False, ""),
        ({"status": "a word of next year"}, False, ""),
        ({"status": None}, False, ""),
        ({"status": 3}, False, ""),
        ({}, False, ""),
        ({"status": "queueing"}, True, ""),
        ({"status": "sending"}, True, ""),
        ({"status": "sent"}, True, ""),
        ({"status": "sent_split"}, True, ""),
        ({"status": "sent", "paused": "2026-11-22 12:00:00"}, True, ""),
        ({"status": "sending", "paused": "2026-11-22 12:00:00"}, False, "paused"),
        ({"status": "scheduled", "paused": "2026-11-22 12:00:00"}, False, "paused"),
        ({"status": "scheduled", "canceled": "2026-11-22 12:00:00"}, False, "cancelled"),
        ({"status": "canceled"}, False, "cancelled"),
        ({"status": "deleted"}, False, "deleted"),
        ({"status": "draft"}, False, "draft"),
    ],
)
def test_what_a_mailing_says_of_itself(entity: dict[str, Any], left: bool, stopped: str) -> None:
    mailing = mailing_of({"id": "4711"} | entity)
    assert (mailing.id, mailing.left) == (4711, left)
    assert stopped in mailing.stopped
    assert bool(mailing.stopped) == bool(stopped)


async def test_a_mailing_that_is_not_known_any_more_was_deleted(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
) -> None:
    await rapidmail.send(TITLE, LETTER)
    await rapidmail.delete(4711)
    await rapidmail.delete(4711)
    assert (await rapidmail.status(4711)).gone
    await rapidmail.send(TITLE, LETTER)
    vendor.keeps = True
    with pytest.raises(Undelivered) as caught:
        await rapidmail.delete(4712)
    assert caught.value.reason.endswith("(409): release or delete it in Rapidmail, then tap Retry")
    assert (caught.value.permanent, caught.value.ambiguous) == (True, False)


# Ten requests a second.


async def test_however_much_is_asked_at_once_rapidmail_gets_no_more_than_it_takes(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
) -> None:
    sending = [rapidmail.send(f"{TITLE} {number}", LETTER) for number in range(12)]
    looking = [rapidmail.find(TITLE, since=NOON) for _ in range(4)]
    await asyncio.gather(*sending, *looking, rapidmail.list_name(), rapidmail.names_titles())
    assert len(vendor.mailings) == 12
    assert vendor.violations == []


async def test_a_mail_leaves_before_the_visitors_who_came_earlier(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient
) -> None:
    asked = [
        asyncio.create_task(rapidmail.subscribe(f"a{number}@example.org")) for number in range(50)
    ]
    await eventually(lambda: vendor.faults.requests)
    await rapidmail.send(TITLE, LETTER)
    before = vendor.faults.requests.index("POST /v1/mailings")
    assert before <= 3
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(each, Undelivered) for each in done) >= 50 - 23
    assert sum(each is True for each in done) == len(vendor.recipients) >= 4
    assert vendor.violations == []


async def test_of_requests_that_wait_those_for_mails_come_first() -> None:
    budget, order = Budget(), []

    async def ask(name: str, *, first: bool) -> None:
        async with budget.turn(first=first):
            order.append(name)

    visitors = [ask("visitor", first=False) for _ in range(Budget.MOST + 2)]
    await asyncio.gather(*visitors, *(ask("mail", first=True) for _ in range(4)))
    assert order == ["visitor"] * Budget.MOST + ["mail"] * 4 + ["visitor"] * 2


async def test_while_rapidmail_hangs_three_visitors_are_asked_for_and_twenty_wait(
    vendor: SimulatedRapidmail, session: ClientSession, settings: config.RapidmailSettings
) -> None:
    rapidmail, refused = RapidmailClient(session, settings, seconds=60), list[str]()

    async def visit(number: int) -> None:
        try:
            await rapidmail.subscribe(f"a{number}@example.org")
        except Undelivered as failure:
            refused.append(failure.reason)

    vendor.faults.hang()
    visits = [asyncio.create_task(visit(number)) for number in range(145)]
    await eventually(lambda: len(refused) == 122)
    await eventually(lambda: len(vendor.faults.requests) == 3)
    await eventually(lambda: len(refused) == 142)
    assert all("more visitors" in reason for reason in refused)
    assert len(vendor.faults.requests) == 3, "who waited in vain was not asked for"
    vendor.faults.release()
    await asyncio.gather(*visits)
    assert len(vendor.recipients) == 3
    assert await rapidmail.subscribe("later@example.org")


async def test_a_request_that_is_not_answered_yet_counts_until_it_is(
    vendor: SimulatedRapidmail, session: ClientSession, settings: config.RapidmailSettings
) -> None:
    """Nobody knows when it arrives: those that hang, and those that follow, may do so together."""
    rapidmail = RapidmailClient(session, settings, seconds=60)
    vendor.faults.hang()
    sending = [
        asyncio.create_task(rapidmail.send(f"{TITLE} {number}", LETTER)) for number in range(14)
    ]
    await eventually(lambda: len(vendor.faults.requests) == Budget.MOST)
    with pytest.raises(Undelivered):
        await rapidmail.subscribe("visitor@example.org")
    assert len(vendor.faults.requests) == Budget.MOST
    vendor.faults.release()
    await asyncio.gather(*sending)
    assert vendor.violations == []


@pytest.mark.parametrize("status", [503, 429])
async def test_a_long_wait_that_one_request_is_told_holds_no_other_up_for_long(
    vendor: SimulatedRapidmail, rapidmail: RapidmailClient, status: int
) -> None:
    vendor.faults.fail_next(status, headers={"Retry-After": "3600"})
    assert (await refusal(rapidmail)).retry_after == 3600
    async with asyncio.timeout(20):
        await rapidmail.send(TITLE, LETTER)
    assert len(vendor.mailings) == 1


@pytest.mark.parametrize("entry", [None, "x", 7, [], {}])
def test_an_entry_of_the_list_that_is_no_mailing_hides_no_other(entry: object) -> None:
    ours = {"id": 7, "title": "monostat k"}
    assert ours in entries_of({"_embedded": {"mailings": [entry, ours, entry]}})
