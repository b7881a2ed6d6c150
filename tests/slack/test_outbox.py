"""One thing that Slack refuses or slows stops nothing else."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic_core import to_json

from monostat.core.model import Entry, Fact, Mail, MailState
from monostat.demo.slack import Message
from monostat.demo.workspace import BOT_USER
from monostat.ops.metrics import TELEMETRY
from tests.slack.flows import ME, confirmed, fills, says, started, suspected
from tests.waiting import eventually
from tests.world import World


def of(world: World, number: int) -> Message | None:
    """The newest message of an incident in the channel."""
    link = f"/incidents/{number}|#{number}>"
    messages = [m for m in world.slack.timeline()[::-1] if not m.thread_ts]
    return next((m for m in messages if link in str(m.blocks)), None)


def lines(world: World, number: int) -> list[str]:
    """What the thread of an incident says."""
    message = of(world, number)
    return [m.text for m in world.slack.thread(message.ts)] if message else []


async def said(world: World, number: int, words: str, *, within: float = 30.0) -> list[str]:
    """The thread's lines, once one of them has these words."""

    def found() -> list[str] | None:
        told = lines(world, number)
        return told if any(words in line for line in told) else None

    return await eventually(found, within=within)


async def shows(world: World, number: int, words: str, *, within: float = 30.0) -> Message:
    """The message of an incident, once it has these words or this button."""

    def found() -> Message | None:
        message = of(world, number)
        return message if message and words in f"{message.text} {message.blocks}" else None

    return await eventually(found, within=within)


def calls(world: World, method: str) -> int:
    return sum(f"/api/{method}" in request for request in world.slack.faults.requests)


# A limit is one method's.


async def test_a_limit_on_edits_holds_back_neither_messages_nor_lines_nor_pings(
    world: World,
) -> None:
    world.settings["slack"]["remind_after"] = [1.0]
    await started(world)
    await world.act("create", title="Uploads fail", severity="bug")
    await said(world, 1, "Uploads fail")
    world.slack.limit("chat.update", retry_after=600)
    await world.act("watch", incident=1)
    world.opsgenie.fire("disk full")
    await said(world, 2, "Is it real?")
    await said(world, 1, "fix in place")
    await said(world, 2, "Unanswered for")
    assert calls(world, "chat.update") <= 2
    world.slack.unlimit()


async def test_a_limit_on_posts_holds_back_no_tap(world: World) -> None:
    message = await confirmed(world)
    world.slack.limit("chat.postMessage", retry_after=600)
    before = calls(world, "chat.postMessage")
    await world.slack.press("U_ADA", message.ts, "verb:watch")
    await shows(world, 1, "verb:not_fixed")
    await world.slack.press("U_ADA", message.ts, "verb:not_fixed")
    await shows(world, 1, "verb:watch")
    assert calls(world, "chat.postMessage") - before <= 1


async def test_a_limit_on_home_tabs_holds_back_neither_messages_nor_lines(world: World) -> None:
    message = await confirmed(world)
    await world.slack.open_home("U_ADA")
    await eventually(lambda: "U_ADA" in world.slack.homes)
    world.slack.limit("views.publish", retry_after=600)
    await world.slack.press("U_ADA", message.ts, "verb:watch")
    await said(world, 1, "fix in place")
    await world.slack.press("U_ADA", message.ts, "verb:resolve")
    await said(world, 1, "resolved this")
    await shows(world, 1, "verb:reopen")


async def test_a_limit_on_looking_for_one_post_holds_back_no_other(world: World) -> None:
    await started(world)
    world.slack.limit("conversations.history", retry_after=600)
    world.slack.faults.accept_then_drop(path="chat.postMessage")
    await world.act("create", title="Uploads fail")
    await eventually(lambda: calls(world, "conversations.history"))
    await world.act("create", title="Logins fail", severity="bug")
    await said(world, 2, "Logins fail")
    assert len(world.slack.timeline()) == 2


async def test_a_limit_on_asking_about_people_refuses_who_is_not_known_at_once(
    world: World,
) -> None:
    message = await confirmed(world, staff_refresh=60.0)
    world.slack.channels["C1"].members.append("U_OLA")
    world.slack.limit("users.info", retry_after=600)
    await world.slack.press("U_OLA", message.ts, "verb:watch")
    await eventually(
        lambda: any("cannot check" in m.text for m in world.slack.ephemerals if m.user == "U_OLA")
    )
    await world.slack.press("U_ADA", message.ts, "verb:watch")
    await world.becomes("watching")


async def test_what_a_limit_held_back_goes_when_it_is_over(world: World) -> None:
    message = await confirmed(world)
    await said(world, 1, "confirmed this")
    world.slack.limit("chat.update", retry_after=1)
    world.slack.limit("chat.postMessage", retry_after=2)
    for action in ("verb:watch", "verb:not_fixed", "verb:resolve"):
        await world.slack.press_stale("U_ADA", message.ts, action, "1")
    await shows(world, 1, "verb:reopen")
    told = await said(world, 1, "resolved this")
    order = [
        next(i for i, t in enumerate(told) if words in t)
        for words in ("fix in place", "not fixed", "resolved this")
    ]
    assert order == sorted(order)


# What fails is set aside for itself.

OFTEN = 60.0  # seconds, by when something that fails has been tried several times


async def test_a_message_that_always_fails_to_be_edited_holds_nothing_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    message = await confirmed(world)
    world.slack.object_to("chat.update", message.ts, "internal_error")
    await world.act("watch", incident=1)
    await said(world, 1, "fix in place")
    await world.act("create", title="Logins fail", severity="bug")
    await said(world, 2, "Logins fail")
    await world.act("watch", incident=2)
    await shows(world, 2, "verb:not_fixed")
    await eventually(lambda: "set aside" in caplog.text, within=OFTEN)
    assert sum("set aside" in line for line in caplog.messages) == 1
    world.slack.relent()
    await world.act(
        "resolve", incident=1
    )  # a change is shown at once, however long it has been failing
    await shows(world, 1, "verb:reopen")
    assert len(world.slack.timeline()) == 2


@pytest.mark.parametrize("error", ["internal_error", "fatal_error", "request_timeout"])
async def test_a_line_that_always_fails_keeps_its_place_for_a_while_and_is_then_overtaken(
    world: World, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    await started(world)
    await world.act("create", title="Uploads fail")
    await said(world, 1, "Uploads fail")
    world.slack.object_to("chat.postMessage", "the broken disk", error)
    await world.act("update", incident=1, text="We found the broken disk.")
    await world.act("update", incident=1, text="We replaced it.")
    await world.act("create", title="Logins fail", severity="bug")
    await said(world, 2, "Logins fail")
    assert not any("replaced" in line for line in lines(world, 1))
    await said(world, 1, "We replaced it.", within=OFTEN)
    assert sum("set aside" in line for line in caplog.messages) == 1
    world.slack.relent()
    told = await said(world, 1, "the broken disk", within=2 * OFTEN)
    assert len(told) == len(set(told))


async def test_lines_that_fail_for_a_moment_come_in_order(world: World) -> None:
    await started(world)
    await world.act("create", title="Uploads fail")
    await said(world, 1, "Uploads fail")
    world.slack.object_to("chat.postMessage", "Step", "internal_error", times=2, until="Step 1.")
    for number in range(1, 6):
        await world.act("update", incident=1, text=f"Step {number}.")
    told = await said(world, 1, "Step 5.", within=30)
    assert [line[-7:] for line in told if "Step" in line] == [
        f"Step {number}." for number in range(1, 6)
    ]


async def test_while_slack_takes_no_post_at_all_no_line_overtakes_another(world: World) -> None:
    """That auth.test answers proves nothing of posts: the next line must go through before one is out of its turn."""
    await started(world)
    await world.act("create", title="Uploads fail")
    await said(world, 1, "Uploads fail")
    world.slack.object_to("chat.postMessage", "C1", "internal_error", times=6, until="Step 1.")
    for number in range(1, 4):
        await world.act("update", incident=1, text=f"Step {number}.")
    told = await said(world, 1, "Step 3.", within=3 * OFTEN)
    assert [line[-7:] for line in told if "Step" in line] == [
        f"Step {number}." for number in range(1, 4)
    ]


async def test_a_home_tab_that_always_fails_holds_back_neither_lines_nor_other_tabs(
    world: World,
) -> None:
    message = await confirmed(world)
    for user in ("U_ADA", "U_BOB"):
        await world.slack.open_home(user)
    await eventually(lambda: len(world.slack.homes) == 2)
    world.slack.object_to("views.publish", "U_ADA", "internal_error")
    world.slack.object_to("views.publish", "U_BOB", "internal_error")
    await world.slack.press("U_ADA", message.ts, "verb:watch")
    await said(world, 1, "fix in place")
    await shows(world, 1, "verb:not_fixed")
    world.slack.relent()
    world.slack.object_to("views.publish", "U_ADA", "internal_error")
    await eventually(
        lambda: "verb:not_fixed" in str(world.slack.homes["U_BOB"].content), within=OFTEN
    )


async def test_a_question_whose_buttons_cannot_be_taken_off_holds_nothing_up(world: World) -> None:
    message = await suspected(world)
    world.opsgenie.close(next(iter(world.opsgenie.alerts)))
    await said(world, 1, "Was it real")
    line = next(m for m in world.slack.thread(message.ts) if "Was it real" in m.text)
    world.slack.object_to("chat.update", line.ts, "internal_error")
    await world.slack.press("U_BOB", line.ts, "verb:was_real")
    await said(world, 1, "it was real")
    await shows(world, 1, "verb:reopen")
    await world.act("create", title="Logins fail", severity="bug")
    await said(world, 2, "Logins fail")
    world.slack.relent()
    await eventually(lambda: "verb:" not in str(line.blocks), within=OFTEN)
    assert line.text.endswith("nobody confirmed it.")


async def test_trouble_of_the_database_that_slack_does_not_take_holds_nothing_up(
    world: World,
) -> None:
    await started(world)
    await world.act("create", title="Uploads fail")
    await said(world, 1, "Uploads fail")
    world.slack.object_to("chat.postMessage", "The status page stays as it is", "internal_error")
    world.slack.object_to(
        "chat.postMessage", "Everything is saved and shown again", "internal_error"
    )
    await world.in_file(
        "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT raise(ABORT, 'disk is full'); END"
    )
    with pytest.raises(AssertionError, match="saved"):
        await world.act("watch", incident=1)
    posts = calls(world, "chat.postMessage")
    await eventually(lambda: calls(world, "chat.postMessage") > posts)
    await world.in_file("DROP TRIGGER full")
    await world.act("watch", incident=1)
    await said(world, 1, "fix in place")
    await shows(world, 1, "verb:not_fixed")


# The newest state goes before older lines.


async def words(world: World) -> None:
    for number in range(60):
        await world.act("update", incident=1, text=f"Step {number}.")


async def absence(world: World) -> None:
    world.slack.limit("chat.postMessage", retry_after=2)
    for number in range(30):
        await world.act("watch" if number % 2 == 0 else "not_fixed", incident=1)


@pytest.mark.parametrize("gap", [0.0, 1.0])
@pytest.mark.parametrize("burst", [words, absence])
async def test_a_tap_shows_at_once_while_hundreds_of_lines_wait(
    world: World, burst: Callable[[World], Awaitable[None]], gap: float
) -> None:
    world.settings["rapidmail"]["undo_window"] = 30
    message = await confirmed(world)
    await said(world, 1, "confirmed this")
    world.slack.posting_gap = gap
    world.slack.latency = {"chat.postMessage": 0.2, "chat.update": 0.1}
    await burst(world)
    await eventually(lambda: len(lines(world, 1)) > 3)
    before = len(lines(world, 1))
    await world.slack.press_stale("U_ADA", message.ts, "verb:resolve", "1")
    await shows(world, 1, "verb:reopen")
    await shows(world, 1, "verb:undo")
    assert len(lines(world, 1)) - before <= 10  # of two seconds


async def test_a_tap_shows_while_a_post_hangs(world: World) -> None:
    message = await confirmed(world, vendor_timeout=10.0)
    await said(world, 1, "confirmed this")
    world.slack.faults.hang("/api/chat.postMessage")
    await world.slack.press("U_ADA", message.ts, "verb:watch")
    await shows(world, 1, "verb:not_fixed")
    await world.slack.press("U_ADA", message.ts, "verb:resolve")
    await shows(world, 1, "verb:reopen")


async def test_a_new_incident_is_shown_before_older_lines(world: World) -> None:
    await confirmed(world)
    await said(world, 1, "confirmed this")
    world.slack.latency = {"chat.postMessage": 0.2}
    await words(world)
    before = len(lines(world, 1))
    await world.act("create", title="Logins fail", severity="bug")
    await shows(world, 2, "verb:watch")
    assert len(lines(world, 1)) - before <= 3


# What is gone, and what is only out of reach.


def archive(world: World) -> None:
    world.slack.channels["C1"].is_archived = not world.slack.channels["C1"].is_archived


def leave(world: World) -> None:
    members = world.slack.channels["C1"].members
    members.remove(BOT_USER) if BOT_USER in members else members.append(BOT_USER)


def hide(world: World) -> None:
    world.slack.channels["C1"].is_private = not world.slack.channels["C1"].is_private
    leave(world)


@pytest.mark.parametrize("away", [archive, leave, hide])
async def test_nothing_is_forgotten_while_the_channel_is_out_of_reach(
    world: World, away: Callable[[World], None], caplog: pytest.LogCaptureFixture
) -> None:
    message = await confirmed(world)
    await said(world, 1, "confirmed this")
    await eventually(lambda: len(world.rapidmail.mailings) == 1)
    await said(world, 1, "mailed")
    world.slack.scopes.add("groups:read")
    away(world)
    for verb in ("watch", "not_fixed", "resolve"):
        await world.act(verb, incident=1)
    await eventually(lambda: "invite the app" in caplog.text or "unarchive" in caplog.text)
    assert await world.app[TELEMETRY].engine.store.waiting()
    away(world)
    await shows(world, 1, "verb:reopen", within=OFTEN)
    told = await said(world, 1, "resolved this", within=OFTEN)
    order = [
        next(i for i, t in enumerate(told) if words in t)
        for words in ("fix in place", "not fixed", "resolved this")
    ]
    assert order == sorted(order)
    assert [m.ts for m in world.slack.timeline()] == [message.ts]
    remedies = [
        m
        for m in caplog.messages
        if m.startswith("Slack: ") and ("invite" in m or "unarchive" in m)
    ]
    assert len(remedies) == 1
    await world.slack.say("U_ADA", f"{ME} we are looking why", thread_ts=message.ts)
    await said(world, 1, "we are looking why")


async def test_a_failed_edit_is_tried_again_and_posts_nothing_anew(world: World) -> None:
    message = await confirmed(world)
    world.slack.object_to("chat.update", message.ts, "update_failed")
    tried = calls(world, "chat.update")
    await world.act("watch", incident=1)
    await eventually(lambda: calls(world, "chat.update") >= tried + 2)
    world.slack.relent()
    await shows(world, 1, "verb:not_fixed")
    assert [m.ts for m in world.slack.timeline()] == [message.ts]


@pytest.mark.parametrize(
    "error", ["cant_update_message", "edit_window_closed", "message_not_found"]
)
async def test_the_thread_of_an_older_message_of_an_incident_counts_as_its_thread(
    world: World, error: str
) -> None:
    old = await confirmed(world)
    world.slack.uneditable(old.ts, error=error)
    await world.act("watch", incident=1)
    new = await shows(world, 1, "verb:not_fixed")
    assert new.ts != old.ts
    await world.stop()
    await world.start()
    await eventually(lambda: world.slack.connections)
    await world.slack.say("U_ADA", f"{ME} the fan is replaced", thread_ts=old.ts)
    await says(world, "the fan is replaced")
    await world.slack.say("U_ADA", f"{ME} and dusted", thread_ts=new.ts)
    await says(world, "and dusted")


@pytest.mark.parametrize("orphans", [False, True])
async def test_a_ping_that_is_due_brings_a_deleted_message_back_first(
    world: World, orphans: bool
) -> None:
    world.settings["slack"]["remind_after"] = [2.0]
    world.slack.takes_orphans = orphans
    message = await suspected(world)
    await world.slack.delete_message("U_ADA", message.ts)
    await said(world, 1, "Unanswered for")
    assert of(world, 1) is not message
    ping = next(m for m in world.slack.messages if "Unanswered for" in m.text)
    anew = of(world, 1)
    assert anew is not None
    assert (anew.ts < ping.ts, ping.thread_ts) == (True, anew.ts)
    assert sum("Unanswered for" in m.text for m in world.slack.messages) == 1


async def test_a_promise_that_is_due_brings_a_deleted_message_back_first(world: World) -> None:
    world.settings["site"]["update_every"] = 4
    await started(world)
    await world.act("create", title="Uploads fail")
    await said(world, 1, "Uploads fail")
    message = await shows(world, 1, "verb:watch")
    await eventually(lambda: world.rapidmail.mailings)
    await said(world, 1, "mailed")
    await world.slack.delete_message("U_ADA", message.ts)
    await said(world, 1, "promised an update")
    assert len(world.slack.timeline()) == 1


async def test_a_line_whose_message_is_gone_brings_it_back_also_while_nothing_can_be_edited(
    world: World,
) -> None:
    message = await confirmed(world)
    await said(world, 1, "confirmed this")
    world.slack.limit("chat.update", retry_after=600)
    await world.slack.delete_message("U_ADA", message.ts)
    await world.act("watch", incident=1)
    await said(world, 1, "fix in place")
    assert len(world.slack.timeline()) == 1
    await shows(world, 1, "verb:not_fixed")


# No record can poison what comes after it.


async def all_told(world: World) -> bool:
    return not await world.app[TELEMETRY].engine.store.waiting()


async def planted(world: World, fact: Fact, key: str) -> None:
    await world.in_file(
        "INSERT INTO facts VALUES (?, ?, ?)", type(fact).__name__, key, to_json(fact).decode()
    )


POISON: dict[str, tuple[str, dict[str, str]]] = {
    "a-planned-time-that-is-none": ("starts_soon", {"planned": "tomorrow"}),
    "a-due-time-that-is-none": ("promise", {"due": "0000-00-00T00:00:00Z"}),
    "a-due-time-without-a-zone": ("promise", {"due": "2026-01-01T00:00:00"}),
    "a-time-that-no-calendar-has": ("ends_soon", {"planned": "2026-02-30T00:00:00+00:00"}),
}


@pytest.mark.parametrize("poison", POISON)
async def test_a_line_that_cannot_be_made_is_told_in_plain_words_and_holds_nothing_up(
    world: World, poison: str, caplog: pytest.LogCaptureFixture
) -> None:
    await started(world)
    await world.act("create", title="Uploads fail")
    await said(world, 1, "Uploads fail")
    await world.stop()
    kind, detail = POISON[poison]
    number = 900
    entry = Entry(id=number, incident=1, at=datetime.now(UTC), kind=kind, detail=detail)
    await world.in_file("INSERT INTO log VALUES (?, 0, ?)", number, to_json(entry).decode())
    await started(world)
    await world.act("watch", incident=1)
    await said(world, 1, "fix in place")
    told = await said(world, 1, "cannot be shown here")
    assert sum("cannot be shown here" in line for line in told) == 1
    await eventually(lambda: all_told(world))
    assert sum("cannot be shown" in message for message in caplog.messages) == 1
    assert not [loop.name for loop in world.app[TELEMETRY].watch.loops if loop.restarts]


@pytest.mark.parametrize(
    ("words", "zone"),
    [
        ("expires 0000-00-00T00:00:00Z", "UTC"),
        ("0001-01-01T00:00:00Z", "America/New_York"),
        ("9999-12-31T23:59:59Z is far away", "Pacific/Kiritimati"),
    ],
)
async def test_a_title_like_a_time_that_there_never_was_holds_nothing_up(
    world: World, words: str, zone: str
) -> None:
    world.settings["site"]["timezone"] = zone
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    await fills(world, title=words)
    await shows(world, 1, words)
    await world.act("watch", incident=1)
    await said(world, 1, "fix in place")
    await eventually(lambda: all_told(world))
    assert not [loop.name for loop in world.app[TELEMETRY].watch.loops if loop.restarts]


async def test_a_message_that_cannot_be_made_keeps_its_buttons_and_holds_nothing_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.settings["site"]["timezone"] = "America/New_York"
    del world.settings["rapidmail"]
    await started(world)
    await world.act("create", title="Uploads fail")
    await shows(world, 1, "Uploads fail")
    await world.stop()
    beginning = datetime(1, 1, 1, tzinfo=UTC)  # has no time of day in New York
    now = datetime.now(UTC)
    mail = Mail(
        key="x",
        incident=1,
        update=1,
        entry=1,
        at=now,
        not_before=beginning,
        state=MailState.CLAIMED,
    )
    await planted(world, mail, "x")
    await started(world)
    await world.act("watch", incident=1)
    message = await shows(world, 1, "verb:not_fixed")
    assert "cannot be shown here" in str(message.blocks)
    assert "Fix in place" in message.text
    await said(world, 1, "fix in place")
    await world.act("create", title="Logins fail", severity="bug")
    await said(world, 2, "Logins fail")
    await world.slack.press("U_ADA", message.ts, "verb:not_fixed")
    await shows(world, 1, "verb:watch")
    assert not [loop.name for loop in world.app[TELEMETRY].watch.loops if loop.restarts]
    assert sum("cannot be shown" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("error", ["msg_blocks_too_long", "invalid_blocks", "block_mismatch"])
async def test_a_message_whose_blocks_slack_refuses_keeps_its_buttons(
    world: World, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    for method in ("chat.update", "chat.postMessage"):
        world.slack.object_to(method, "Uploads of a kind", error)
    await started(world)
    await world.act("create", title="Uploads of a kind fail")
    message = await shows(world, 1, "verb:watch")
    assert "cannot be shown here" in str(message.blocks)
    await said(world, 1, "cannot be shown here")
    await world.slack.press("U_ADA", message.ts, "verb:watch")
    await shows(world, 1, "verb:not_fixed")
    await said(world, 1, "fix in place")
    assert (
        sum("the message of #1 cannot be shown" in m for m in caplog.messages) <= 2
    )  # once each, posted and edited
    assert len(world.slack.timeline()) == 1


@pytest.mark.parametrize("error", ["invalid_arguments", "view_too_large"])
async def test_a_home_tab_whose_blocks_slack_refuses_says_so_and_keeps_what_is_always_there(
    world: World, error: str
) -> None:
    world.slack.object_to("views.publish", "Uploads of a kind", error)
    await started(world)
    await world.act("create", title="Uploads of a kind fail")
    await world.slack.open_home("U_ADA")
    await eventually(lambda: "cannot be shown" in str(world.slack.homes.get("U_ADA")))
    assert "verb:new" in str(world.slack.homes["U_ADA"].content)


# What metrics count.


async def test_only_what_was_sent_is_counted_as_sent(world: World) -> None:
    message = await confirmed(world)
    await said(world, 1, "mailed")
    counts = world.app[TELEMETRY].notifications
    posts, edits = (calls(world, f"chat.{method}") for method in ("postMessage", "update"))
    await eventually(
        lambda: (
            counts["slack", "sent"]
            == calls(world, "chat.postMessage") + calls(world, "chat.update")
        )
    )
    world.slack.object_to("chat.update", message.ts, "internal_error")
    await world.act("watch", incident=1)
    await eventually(lambda: counts["slack", "failed"] >= 2)
    assert posts + edits > 3


async def test_an_old_story_that_is_left_alone_is_not_counted_as_sent(world: World) -> None:
    await started(world)
    await world.act("create", title="Uploads fail")
    await world.act("resolve", incident=1)
    await said(world, 1, "resolved")
    await eventually(lambda: world.rapidmail.mailings)
    await said(world, 1, "mailed")
    await eventually(lambda: all_told(world))
    await world.stop()
    month = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    await world.in_file(
        "UPDATE facts SET body = json_set(body, '$.updated_at', ?) WHERE kind = 'Incident'", month
    )
    before = calls(world, "chat.")
    await started(world)
    await world.act("create", title="Logins fail", severity="bug")
    await said(world, 2, "Logins fail")
    await eventually(lambda: all_told(world))
    assert world.app[TELEMETRY].notifications["slack", "sent"] <= calls(world, "chat.") - before


async def test_a_ping_does_not_wait_for_an_edit_that_hangs(world: World) -> None:
    world.settings["slack"]["remind_after"] = [1.0]
    await started(world, vendor_timeout=60.0)
    world.opsgenie.fire("disk full")
    await world.message("verb:confirm:outage")
    await eventually(lambda: all_told(world))
    world.slack.faults.hang("/api/chat.update")
    await eventually(lambda: any("<!here>" in m.text for m in world.slack.messages))
