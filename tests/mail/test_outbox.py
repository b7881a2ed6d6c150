"""What becomes of a mail after it was handed over, and what one mail's trouble means for the others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from monostat.app import utcnow
from monostat.config import Config
from monostat.core.events import Act
from monostat.core.model import Entry, Incident, Mail, MailState
from monostat.engine import Engine
from monostat.mail.letter import Letter
from monostat.mail.outbox import MailOutbox
from monostat.mail.rapidmail import RapidmailClient
from monostat.ops.metrics import TELEMETRY
from monostat.store import open_store
from tests.boards import snapshot
from tests.policies import POLICY
from tests.waiting import eventually
from tests.world import SHORT, World

LONG_HANGS = replace(SHORT, vendor_timeout=30.0)


@pytest.fixture(autouse=True)
def window(world: World) -> None:
    """No mail of these tests leaves before it is sent for."""
    world.settings["rapidmail"]["undo_window"] = 600


def board_of(world: World) -> Engine:
    return world.app[TELEMETRY].engine


def mail_states(world: World) -> list[MailState]:
    return [mail.state for mail in board_of(world).state.mails.values()]


async def outage(world: World, title: str = "Uploads fail") -> int:
    """A confirmed outage whose mail leaves at once."""
    number = await world.act("create", title=title, severity="outage")
    await world.act("send", incident=number)
    return number


def lines(world: World, words: str) -> list[str]:
    """What the app has said anywhere that contains these words."""
    return [message.text for message in world.slack.messages if words in message.text]


async def mailed(world: World, count: int = 1) -> None:
    await eventually(lambda: len(lines(world, "emailed")) == count)


async def failed(world: World, words: str) -> str:
    """The ts of the line that says why, with its Retry."""

    def told() -> str | None:
        found = [
            m
            for m in world.slack.messages
            if "could not be sent" in m.text and words in m.text and m.thread_ts
        ]
        return found[-1].ts if found else None

    ts = await eventually(told)
    await eventually(lambda: world.slack.connections)
    assert lines(world, "emailed") == []
    assert "Subscribers were emailed" not in await world.page("/incidents/1")
    return ts


Order = Callable[[World], None]


def answers(body: bytes) -> Order:
    return lambda world: world.rapidmail.faults.answer_next(
        201, body=body, path="/mailings", carry_out=True
    )


def becomes(status: str, *, paused: bool = False) -> Order:
    """The mailing is accepted, and stands like this at the first look."""

    def order(world: World) -> None:
        world.rapidmail.moves = False
        world.rapidmail.made_as = status
        world.rapidmail.made_paused = paused
        answers(b'{"id": "4711", "status": "scheduled"}')(world)

    return order


def made_as(status: str) -> Order:
    def order(world: World) -> None:
        world.rapidmail.made_as = status

    return order


def stays(status: str) -> Order:
    def order(world: World) -> None:
        world.rapidmail.moves = False
        world.rapidmail.made_as = status

    return order


STOPPED = {
    "draft in the answer": (made_as("draft"), "made it a draft"),
    "draft at the first look": (becomes("draft"), "made it a draft"),
    "paused": (becomes("scheduled", paused=True), "paused in Rapidmail"),
    "paused while it is sent": (becomes("sending", paused=True), "paused in Rapidmail"),
    "cancelled": (becomes("canceled"), "cancelled in Rapidmail"),
    "deleted": (becomes("deleted"), "deleted in Rapidmail"),
    "scheduled for ever": (stays("scheduled"), "not begun to send it"),
    "prepared for ever": (stays("prepared"), "(“prepared”)"),
    "a word of next year": (stays("waiting for approval"), "(“waiting for approval”)"),
    "no word at all": (stays(""), "(“no status”)"),
}


@pytest.mark.parametrize("how", STOPPED)
async def test_what_rapidmail_does_not_send_is_told_and_counts_as_no_mail_until_retry_sends_another(
    world: World, how: str
) -> None:
    order, words = STOPPED[how]
    order(world)
    await world.start(timing=replace(SHORT, mail_leave=1.0))
    await outage(world)
    ts = await failed(world, words)
    rapidmail = world.rapidmail
    assert len(rapidmail.mailings) == 1
    rapidmail.made_as = None
    rapidmail.moves = True
    rapidmail.made_paused = False
    await world.slack.press("U_ADA", ts, "verb:retry")
    await mailed(world)
    old, new = rapidmail.mailings
    assert (old.status, new.status in ("sending", "sent")) == ("deleted", True)
    assert new.title == f"{old.title} r2"
    assert board_of(world).state.epoch in new.title
    assert (new.html, new.text) == (old.html, old.text)
    assert "Subscribers were emailed" in await world.page("/incidents/1")


async def test_a_draft_that_staff_release_counts_as_emailed_though_it_was_given_up(
    world: World,
) -> None:
    made_as("draft")(world)
    await world.start()
    await outage(world)
    await failed(world, "made it a draft")
    assert mail_states(world) == [MailState.FAILED]
    (mailing,) = world.rapidmail.mailings
    world.rapidmail.advance(mailing.id, "sent")
    await mailed(world, 2)  # the line that caused it says so, and the one that it had failed
    assert mail_states(world) == []
    assert "Subscribers were emailed" in await world.page("/incidents/1")


@pytest.mark.parametrize("status", ["queueing", "sending", "sent", "sent_split"])
async def test_a_mailing_that_leaves_counts_from_its_hand_over(world: World, status: str) -> None:
    stays("scheduled")(world)
    await world.start()
    await outage(world)
    await eventually(lambda: mail_states(world) == [MailState.HANDED_OVER])
    (mail,) = board_of(world).state.mails.values()
    assert lines(world, "emailed") == []
    assert "Subscribers were emailed" not in await world.page("/incidents/1")
    world.rapidmail.advance(mail.mailing, status)
    await mailed(world)
    incident = board_of(world).state.incidents[1]
    assert incident.mailed_at == incident.first_mailed_at == mail.handed_over_at
    assert "Subscribers were emailed" in await world.page("/incidents/1")


async def test_the_message_says_that_rapidmail_has_the_mail_and_undo_that_it_left(
    world: World,
) -> None:
    stays("prepared")(world)
    await world.start()
    number = await outage(world)
    await eventually(lambda: "has not begun to send it" in str(world.slack.timeline()[-1].blocks))
    with pytest.raises(AssertionError, match="Too late to undo: the mail left at"):
        await world.act("undo", incident=number)
    with pytest.raises(AssertionError, match="The last mail left at"):
        await world.act("send", incident=number)


async def test_a_mailing_is_followed_over_a_restart_and_through_answers_that_say_nothing(
    world: World,
) -> None:
    stays("scheduled")(world)
    await world.start()
    await outage(world)
    await eventually(lambda: mail_states(world) == [MailState.HANDED_OVER])
    await world.stop()
    faults = world.rapidmail.faults
    faults.fail_next(503, path="/mailings/4711")
    faults.fail_next(401, path="/mailings/4711")
    faults.answer_next(200, body=b"<html>", path="/mailings/4711")
    faults.drop_next(path="/mailings/4711")
    await world.start()
    await eventually(lambda: faults.orders == [])
    assert mail_states(world) == [MailState.HANDED_OVER]
    world.rapidmail.moves = True
    await mailed(world)
    assert len(world.rapidmail.mailings) == 1


async def test_where_rapidmail_does_not_say_what_became_of_a_mailing_the_thread_is_told_once(
    world: World,
) -> None:
    becomes("sent")(world)
    world.rapidmail.faults.fail_next(500, path="/mailings/4711", times=6)
    await world.start(timing=replace(SHORT, mail_leave=0.5))
    await outage(world)
    await mailed(world)
    assert len(lines(world, "does not say whether it sends it")) == 1
    assert len(world.rapidmail.mailings) == 1


async def test_a_newer_mail_of_the_incident_leaves_while_the_older_is_followed_and_only_it_can_fail(
    world: World,
) -> None:
    stays("scheduled")(world)
    await world.start(timing=replace(SHORT, mail_leave=1.5))
    number = await outage(world)
    await eventually(lambda: mail_states(world) == [MailState.HANDED_OVER])
    await world.act("resolve", incident=number)
    await world.act("send", incident=number)
    await eventually(lambda: len(world.rapidmail.mailings) == 2)
    world.rapidmail.advance(4712, "sent")
    await mailed(world)
    await eventually(lambda: mail_states(world) == [])
    assert lines(world, "could not be sent") == [], (
        "readers have the newest: nobody has to send the older again"
    )


async def test_a_mailing_that_was_released_before_retry_is_neither_deleted_nor_sent_again(
    world: World,
) -> None:
    made_as("draft")(world)
    await world.start()
    await outage(world)
    ts = await failed(world, "made it a draft")
    world.rapidmail.advance(4711, "sending")
    await world.slack.press("U_ADA", ts, "verb:retry")
    await mailed(world)
    assert [mailing.status for mailing in world.rapidmail.mailings] == ["sent"]
    assert not any(request.startswith("DELETE") for request in world.rapidmail.faults.requests)


async def test_a_mailing_that_cannot_be_deleted_is_not_sent_a_second_time(world: World) -> None:
    made_as("draft")(world)
    await world.start()
    await outage(world)
    ts = await failed(world, "made it a draft")
    world.rapidmail.keeps = True
    await world.slack.press("U_ADA", ts, "verb:retry")
    ts = await failed(world, "does not delete it (409): release or delete it in Rapidmail")
    world.rapidmail.keeps = False
    world.rapidmail.made_as = None
    await world.slack.press("U_ADA", ts, "verb:retry")
    await mailed(world)
    assert [mailing.status for mailing in world.rapidmail.mailings].count("draft") == 0
    assert [mailing.lives for mailing in world.rapidmail.mailings] == [False, True]


@pytest.mark.parametrize("fault", ["503", "lost answer", "no answer"])
async def test_a_deletion_that_is_unclear_is_repeated_before_anything_is_sent(
    world: World, fault: str
) -> None:
    made_as("draft")(world)
    await world.start()
    await outage(world)
    ts = await failed(world, "made it a draft")
    faults = world.rapidmail.faults
    world.rapidmail.made_as = None
    faults.answer_next(200, body=b'{"status": "draft"}', path="/mailings/4711")
    match fault:
        case "503":
            faults.fail_next(503, path="/mailings/4711")
        case "lost answer":
            faults.accept_then_drop(path="/mailings/4711")
        case "no answer":
            faults.accept_then_hang(path="/mailings/4711")
    await world.slack.press("U_ADA", ts, "verb:retry")
    await mailed(world)
    assert [mailing.lives for mailing in world.rapidmail.mailings] == [False, True]


@pytest.mark.parametrize("status", ["draft", "canceled"])
async def test_an_unclear_mailing_that_will_not_be_sent_is_deleted_and_sent_anew(
    world: World, status: str
) -> None:
    made_as(status)(world)
    world.rapidmail.faults.accept_then_drop(path="/mailings")
    await world.start()
    await outage(world)
    await eventually(lambda: world.rapidmail.mailings)
    world.rapidmail.made_as = None
    await mailed(world)
    assert [mailing.lives for mailing in world.rapidmail.mailings] == [False, True]
    assert world.rapidmail.mailings[0].status == "deleted"


@pytest.mark.parametrize("untitled", ["one", "all", "null"])
async def test_an_unclear_mail_is_found_although_the_list_lacks_titles(
    world: World, untitled: str
) -> None:
    await world.start()
    await outage(world, "Sign-in fails")
    await mailed(world)
    rapidmail = world.rapidmail
    rapidmail.untitled = (
        {4711} if untitled == "one" else {4711, 4712} if untitled == "all" else set()
    )
    if untitled == "null":
        rapidmail.mailings[:] = [replace(one, title="") for one in rapidmail.mailings]
        rapidmail.drop_title = True
    rapidmail.faults.accept_then_drop(path="/mailings")
    await outage(world, "Sign-in fails")
    await mailed(world, 2)
    assert len(rapidmail.mailings) == 2
    assert {mailing.subject for mailing in rapidmail.mailings} == {
        "[Example] Outage: Sign-in fails"
    }


@pytest.mark.parametrize(
    ("body", "tries"),
    [
        (b"", 3),
        (b'{"detail": "Failed Validation"}', 3),
        (
            b'{"detail": "Failed Validation", "validation_messages": {"from_email": {"notValid": "no"}}}',
            1,
        ),
        (b'{"detail": "Failed Validation", "validation_messages": {"subject": "no"}}', 1),
    ],
)
async def test_a_422_is_final_after_three_tries_and_at_once_where_it_names_a_field(
    world: World, body: bytes, tries: int
) -> None:
    world.rapidmail.faults.answer_next(422, body=body, path="/mailings", times=tries)
    await world.start()
    await outage(world)
    ts = await failed(world, "(422)")
    assert world.rapidmail.faults.orders == []
    assert world.rapidmail.mailings == []
    await world.slack.press("U_ADA", ts, "verb:retry")
    await mailed(world)


async def health(world: World) -> str:
    """What /healthz says of the mails."""
    text = await world.page("/healthz")
    return next(line for line in text.splitlines() if line.startswith("mails:"))


async def test_who_refuses_is_reached_and_who_is_not_asked_any_more_is_not_called_unreachable(
    world: World,
) -> None:
    world.rapidmail.faults.fail_next(403, path="/mailings")
    await world.start(timing=replace(SHORT, mail_give_up=1.0))
    await outage(world)
    await failed(world, "(403)")
    assert await health(world) == "mails: runs"
    world.rapidmail.faults.fail_next(503, path="/mailings", times=1000)
    await world.act("retry", incident=1)

    async def is_unreached() -> bool:
        return await health(world) == "mails: runs, not reached"

    await eventually(is_unreached)
    await failed(world, "(503)")

    async def is_forgotten() -> bool:
        return await health(world) == "mails: runs"

    await eventually(is_forgotten)


@pytest.mark.parametrize("passing", [1, 2])
async def test_a_422_that_passes_is_no_failure(world: World, passing: int) -> None:
    world.rapidmail.faults.fail_next(422, path="/mailings", times=passing)
    await world.start()
    await outage(world)
    await mailed(world)
    assert lines(world, "could not be sent") == []


# One mail's trouble is no other's.


async def test_a_mail_that_hangs_or_has_to_wait_for_an_hour_does_not_hold_up_another_incident_s(
    world: World,
) -> None:
    faults = world.rapidmail.faults
    faults.accept_then_hang(path="/mailings")
    await world.start(timing=LONG_HANGS)
    await outage(world, "It hangs")
    await eventually(lambda: len(world.rapidmail.mailings) == 1)
    faults.fail_next(429, path="/mailings", headers={"Retry-After": "3600"})
    await outage(world, "It waits")
    await eventually(lambda: not [o for o in faults.orders if o.answer])
    await outage(world, "It leaves")
    await eventually(lambda: lines(world, "emailed"))
    subjects = [mailing.subject.rpartition(": ")[2] for mailing in world.rapidmail.mailings]
    assert subjects == ["It hangs", "It leaves"]


async def test_however_many_mails_are_due_five_are_seen_to_at_once_and_all_leave(
    world: World,
) -> None:
    await world.start(timing=LONG_HANGS)
    world.rapidmail.faults.hang("/mailings")
    for number in range(12):
        await outage(world, f"Trouble {number}")
    asked = world.rapidmail.faults.requests
    await eventually(lambda: len(asked) == 5)
    await eventually(lambda: mail_states(world).count(MailState.HELD) == 7)
    assert len(asked) == 5
    world.rapidmail.faults.release()
    await mailed(world, 12)
    assert len({mailing.subject for mailing in world.rapidmail.mailings}) == 12


async def test_visitors_from_many_networks_do_not_keep_the_mail_of_an_outage(world: World) -> None:
    await world.start()
    statuses: Counter[int] = Counter()

    async def subscribe(number: int) -> None:
        headers = {"X-Forwarded-For": f"2001:db8:{number:x}::1"}
        form = {"email": f"a{number}@example.org"}
        async with world.http.post(f"{world.url}/subscribe", data=form, headers=headers) as answer:
            statuses[answer.status] += 1

    async with asyncio.TaskGroup() as visitors:
        for number in range(150):
            visitors.create_task(subscribe(number))
        await outage(world)
        await eventually(lambda: world.rapidmail.mailings)
        before = sum(
            "POST /v1/recipients" in request for request in world.rapidmail.faults.requests
        )
        assert before <= 10
    assert set(statuses) == {200, 503}
    assert statuses[503] >= 150 - 3 - 20
    await mailed(world)


def written(letter: Letter) -> Callable[[Incident], Letter]:
    return lambda _incident: letter


def raises(error: Exception) -> Callable[[Incident], Letter]:
    def compose(_incident: Incident) -> Letter:
        raise error

    return compose


POISONS: dict[str, Callable[[Incident], Letter]] = {
    "a time out of range": raises(OverflowError("date value out of range")),
    "a template that does not hold": raises(TypeError("no such filter")),
    "too deep": raises(RecursionError()),
    "no text": written(Letter("subject", b"<p>", "text")),  # type: ignore[arg-type]
    "half a character": written(Letter("subject", "<p>\ud800", "text")),
}


@asynccontextmanager
async def outbox(
    world: World, compose: Callable[[Incident], Letter], letter: str = "", *, outdated: bool = False
) -> AsyncIterator[Engine]:
    """The loop on a database with two mails that are due, of which the first may have a letter already.

    Where that is outdated, Rapidmail may have it.
    """
    settings = Config.model_validate(world.settings).rapidmail
    assert settings
    policy = replace(POLICY, monitoring=False, undo_window=0)
    async with open_store(world.folder / "monostat.db", now=utcnow(), has_slack=True) as store:
        before = Engine(policy, utcnow, "b", snapshot)
        await before.start(store)
        for title in ("Poison", "Harmless"):
            await before.submit(Act(at=utcnow(), verb="create", by="Ada", title=title))
        first = replace(next(iter(before.state.mails.values())), letter=letter)
        await store.put(replace(first, outdated=outdated, ambiguous=outdated))
        board = Engine(policy, utcnow, "b", snapshot)
        await board.start(store)
        mails = MailOutbox(
            state=lambda: board.state,
            submit=board.submit,
            all_mails=lambda: board.store.find(Mail),
            now=utcnow,
            vendor=RapidmailClient(world.http, settings, 1.0),
            compose=compose,
            rng=Random(1),
            look_again=0.1,
            follow=0.1,
            first_wait=0.1,
            counts=Counter(),
        )
        board.watchers.add("mails", mails.wake.set)
        loop = asyncio.create_task(mails.run())
        try:
            yield board
            assert not loop.done()
        finally:
            loop.cancel()
            await asyncio.wait([loop])


def letter_of(incident: Incident) -> Letter:
    link = "{%link_unsubscribe}"
    return Letter(incident.title, f"<p>{link}", link)


async def log_of(board: Engine, kind: str) -> list[Entry]:
    return [entry for entry in await board.store.untold() if entry.kind == kind]


@pytest.mark.parametrize("poison", POISONS)
async def test_a_mail_that_cannot_be_written_is_set_aside_and_the_others_leave(
    world: World, poison: str, caplog: pytest.LogCaptureFixture
) -> None:
    well = False

    def compose(incident: Incident) -> Letter:
        return (POISONS[poison] if incident.number == 1 and not well else letter_of)(incident)

    async with outbox(world, compose) as board:
        (entry,) = await eventually(lambda: log_of(board, "mail_failed"))
        assert entry.incident == 1
        assert "tap Retry" in entry.detail["error"]
        await eventually(lambda: log_of(board, "mail_sent"))
        assert [mailing.subject for mailing in world.rapidmail.mailings] == ["Harmless"]
        assert caplog.text.count("is set aside") == 1
        assert "Traceback" not in caplog.text
        if "could not write it" in entry.detail["error"]:
            well = True
            await board.submit(Act(at=utcnow(), verb="retry", by="Ada", incident=1))
            await eventually(lambda: len(world.rapidmail.mailings) == 2)


@pytest.mark.parametrize("letter", ["[]", "{}", '["s", "h"]', "no JSON", "7"])
async def test_a_mail_whose_stored_letter_is_broken_is_set_aside_and_the_others_leave(
    world: World, letter: str
) -> None:
    async with outbox(world, letter_of, letter=letter) as board:
        (entry,) = await eventually(lambda: log_of(board, "mail_failed"))
        assert entry.incident == 1
        await eventually(lambda: log_of(board, "mail_sent"))
        assert [mailing.subject for mailing in world.rapidmail.mailings] == ["Harmless"]


async def test_words_that_are_gone_are_not_sent_where_an_unclear_mail_is_not_there(
    world: World,
) -> None:
    letter = Letter("hunter2", "<p>{%link_unsubscribe}", "{%link_unsubscribe}").stored()
    async with outbox(world, letter_of, letter=letter, outdated=True) as board:
        await eventually(lambda: not board.state.mails)
        subjects = {mailing.subject for mailing in world.rapidmail.mailings}
        assert subjects == {"Poison", "Harmless"}
