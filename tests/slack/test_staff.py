"""Every flow of the staff, over the simulated Slack's real websocket; docs/slack.md has the table of them."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic_core import to_json

from monostat.core.model import Entry, Incident, Severity, Status, Update
from monostat.demo import blockkit
from monostat.demo.slack import Message
from monostat.ops.metrics import TELEMETRY
from monostat.slack.dialogs import edit_dialog, plan_dialog
from monostat.slack.staff import NOT_STAFF
from tests.slack.flows import (
    ME,
    closed,
    confirmed,
    fills,
    opened,
    says,
    started,
    suspected,
    texts,
    told,
)
from tests.waiting import eventually
from tests.world import World

EVIL = "<!channel> <@U1> & <https://x|y> *b* {%x}"


# One tap each.


async def test_a_suspicion_is_dismissed_with_one_tap_and_that_is_undone_with_one(
    world: World,
) -> None:
    message = await suspected(world)
    await world.slack.press("U_ADA", message.ts, "verb:dismiss")
    message = await world.message("verb:undo")
    await world.slack.press("U_BOB", message.ts, "verb:undo")
    await world.becomes("suspected")


async def test_resolve_takes_one_tap(world: World) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:resolve")
    assert (await world.becomes("resolved"))["ended_at"]


async def test_it_was_real_takes_one_tap_in_the_thread(world: World) -> None:
    message = await suspected(world)
    world.opsgenie.close(next(iter(world.opsgenie.alerts)))
    line = await eventually(
        lambda: next((m for m in world.slack.thread(message.ts) if "Was it real" in m.text), None)
    )
    await world.slack.press("U_ADA", line.ts, "verb:was_real")
    await world.becomes("resolved")


# Dialogs.


async def test_an_update_is_written_in_a_dialog_and_published(world: World) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await fills(world, text="We found the **broken** disk.")
    await says(world, "We found the **broken** disk.")
    await closed(world)
    page = await world.page()
    assert "We found the <strong>broken</strong> disk." in page
    shown = await world.message("broken")
    assert "We found the *broken* disk." in str(shown.blocks)


async def test_a_ready_made_text_is_chosen_instead_of_typed(world: World) -> None:
    world.settings["slack"]["texts"] = {
        "Looking": "We are looking into it.",
        "Waiting": "We wait for our provider.",
    }
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await fills(world, ready="Waiting")
    await says(world, "We wait for our provider.")


async def test_an_empty_update_is_refused_in_the_dialog_and_loses_nothing(world: World) -> None:
    message = await confirmed(world)
    before = await world.incident()
    await world.slack.press("U_ADA", message.ts, "verb:update")
    ack = await fills(world, text="  ")
    assert ack.payload["errors"] == {"text": "An update needs words."}
    assert await world.incident() == before
    await fills(world, text="Words.")
    await says(world, "Words.")


async def test_an_update_is_mailed_where_its_writer_asks_for_it(world: World) -> None:
    message = await confirmed(world)
    await eventually(lambda: len(world.rapidmail.mailings) == 1)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await fills(world, text="Half of it works again.", mail=["yes"])
    await eventually(lambda: len(world.rapidmail.mailings) == 2)
    assert "Half of it works again." in world.rapidmail.mailings[1].text


async def test_an_edit_changes_title_severity_start_summary_and_a_text_in_three_actions(
    world: World,
) -> None:
    message = await confirmed(world)
    first = (await world.incident())["updates"][-1]["id"]
    start = datetime.now(UTC) - timedelta(hours=2)
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    values: dict[str, Any] = {
        "title": "Slow logins",
        "severity": "partial",
        "summary": "Some users.",
    }
    await fills(
        world, **values, start=int(start.timestamp()), **{f"text__{first}": "Logins are slow."}
    )
    incident = await eventually(lambda: edited(world, "Slow logins"))
    assert (incident["severity"], incident["summary"], incident["state"]) == (
        "partial",
        "Some users.",
        "confirmed",
    )
    assert incident["started_at"][:16] == start.isoformat()[:16]
    assert texts(incident)[-1] == "Logins are slow."
    assert incident["updates"][-1]["edited_at"]
    line = await eventually(lambda: next((t for t in world.thread() if "edited" in t), None))
    assert "Ada edited this: title: Outage → Slow logins; severity: outage → partial;" in line
    assert f"→ <!date^{int(start.timestamp())}^" in line


async def edited(world: World, title: str) -> dict[str, Any] | None:
    incident = await world.incident()
    return incident if incident.get("title") == title else None


async def test_an_edit_leaves_alone_what_somebody_else_changed_meanwhile(world: World) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    await opened(world)
    await world.slack.press("U_BOB", message.ts, "verb:edit")
    await fills(world, "U_BOB", title="Bob's title")
    await eventually(lambda: edited(world, "Bob's title"))
    await fills(world, summary="Ada's summary")

    async def both() -> bool:
        incident = await world.incident()
        return (incident["title"], incident["summary"]) == ("Bob's title", "Ada's summary")

    await eventually(both)


async def test_an_update_is_deleted_by_emptying_it_but_not_the_last(world: World) -> None:
    message = await confirmed(world)
    newest, oldest = [update["id"] for update in (await world.incident())["updates"]]
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    ack = await fills(world, **{f"text__{newest}": None, f"text__{oldest}": None})
    assert ack.payload["errors"].keys() <= {f"text:{newest}", f"text:{oldest}"}
    await fills(world, **{f"text__{newest}": "Words", f"text__{oldest}": None})
    assert texts(await says(world, "Words")) == ["Words"]


async def test_an_update_too_old_or_too_long_for_the_dialog_is_chosen_and_given_another_text(
    world: World,
) -> None:
    message = await confirmed(world)
    for words in ("x" * 3001, *(f"Step {n}." for n in range(9))):
        await world.act("update", incident=1, text=words)
    oldest, long = [u["id"] for u in (await world.incident())["updates"][-1:-4:-1]][::2]
    for chosen, text in ((long, "Short."), (oldest, None)):
        await world.slack.press("U_ADA", message.ts, "verb:edit")
        if text:
            ack = await fills(world, other_text=text)
            assert "Choose the update" in ack.payload["errors"]["other"]
        await fills(world, other=chosen, other_text=text)
        await closed(world)

    async def left() -> list[str]:
        said = texts(await world.incident())
        return said if len(said) == 11 else []

    said = await eventually(left)  # a form may close before what it asks for is done
    assert said[-2:] == ["Short.", "We have confirmed this problem and are working on it."]


def test_a_dialog_about_a_long_story_is_one_that_slack_takes() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    said = [
        Update(
            id=n,
            incident=1,
            status=Status.CONFIRMED,
            severity=Severity.OUTAGE,
            at=at,
            text=f"{n} " + "\U0001f525" * 1498,
        )
        for n in range(1, 301)
    ]
    times: dict[str, Any] = dict.fromkeys(
        ("started_at", "created_at", "updated_at", "status_at", "reminded_at"), at
    )
    known: dict[str, Any] = {
        "title": "It",
        "severity": Severity.OUTAGE,
        "status": Status.CONFIRMED,
        "status_entry": 1,
    }
    incident = Incident(number=1, summary=said[0].text, updates=tuple(said), **known, **times)
    view = edit_dialog(incident, ZoneInfo("Europe/Berlin"))
    assert blockkit.refused_view(view) == []
    assert len(json.dumps(view)) < 250_000
    labels = [block["label"]["text"] for block in view["blocks"]]
    assert labels[4:6] == ["Silent", "Mail"]
    assert labels[6].startswith("Confirmed, 1 March 2026, 13:00 CET: 300 ")
    options = [
        option["value"]
        for block in view["blocks"]
        for option in block["element"].get("options", [])
        if block["block_id"].startswith("other")
    ]
    assert options == [str(n) for n in range(294, 0, -1)]
    suspicion = replace(incident, status=Status.SUSPECTED)
    names = [block["block_id"] for block in edit_dialog(suspicion, ZoneInfo("UTC"))["blocks"]]
    assert "silent" in names
    assert "mail" not in names, "nobody is mailed about a suspicion"


def test_a_plan_begins_with_the_next_full_hour_and_lasts_one() -> None:
    blocks = plan_dialog(datetime(2026, 3, 1, 12, 34, tzinfo=UTC))["blocks"]
    begins, ends = (block["element"]["initial_date_time"] for block in blocks[1:3])
    assert (begins, ends - begins) == (datetime(2026, 3, 1, 13, tzinfo=UTC).timestamp(), 3600)


async def test_a_start_in_the_future_is_refused_at_its_field(world: World) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    ack = await fills(world, start=int((datetime.now(UTC) + timedelta(days=1)).timestamp()))
    assert ack.payload == {
        "response_action": "errors",
        "errors": {"start": "The start lies in the future."},
    }


async def test_silent_set_in_the_dialog_drops_the_held_mail(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 3
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    await fills(world, silent=["yes"])
    await eventually(lambda: "silent: no mails" in str(world.slack.timeline()[-1].blocks))
    assert "leaves at" not in str(world.slack.timeline()[-1].blocks)


async def test_the_global_shortcut_opens_an_incident_already_over(world: World) -> None:
    await started(world)
    await world.slack.shortcut("U_ADA", "new_incident")
    now = int(datetime.now(UTC).timestamp())
    values: dict[str, Any] = {
        "title": "Orders were lost",
        "severity": "bug",
        "start": now - 7200,
        "end": now - 3600,
    }
    await fills(world, **values, mail=[])
    incident = await world.becomes("resolved")
    assert (incident["title"], incident["severity"]) == ("Orders were lost", "bug")
    await eventually(lambda: len(world.slack.timeline()) == 1)


async def test_maintenance_is_planned_in_a_dialog_with_at_most_seven_actions(world: World) -> None:
    await started(world)
    await world.slack.slash("U_ADA", "/statuspage", "maintenance: Move to the new hall")
    begins = int(datetime.now(UTC).timestamp()) + 3600
    view = await opened(world)
    inputs = [block["block_id"] for block in view.content["blocks"] if block["type"] == "input"]
    assert inputs == ["title", "start", "end", "summary", "mail", "ask"]
    await fills(world, start=begins, end=begins + 3600, summary="Short **interruptions**.")
    incident = await world.becomes("planned")
    assert (incident["title"], incident["severity"]) == ("Move to the new hall", "maintenance")
    message = await world.message("verb:start")
    await world.slack.press("U_ADA", message.ts, "verb:start")
    await world.becomes("confirmed")
    message = await world.message("verb:extend")
    await world.slack.press("U_ADA", message.ts, "verb:extend")
    await eventually(lambda: any("extended" in line for line in world.thread()))
    assert (
        datetime.fromisoformat((await world.incident())["planned_end"]).timestamp() == begins + 5400
    )
    await world.slack.press("U_ADA", message.ts, "verb:resolve")
    await world.becomes("resolved")
    assert world.rapidmail.mailings == []


# Words without a dialog.


async def test_a_mention_in_the_thread_is_published_and_other_words_stay_private(
    world: World,
) -> None:
    message = await confirmed(world)
    await world.slack.say("U_BOB", "I think it is the disk", thread_ts=message.ts)
    await world.slack.say(
        "U_ADA",
        f"{ME} we found the *broken* disk &amp; <https://x.example|read more>",
        thread_ts=message.ts,
    )
    incident = await says(world, "we found the **broken** disk & [read more](https://x.example)")
    assert "I think" not in str(incident)


@pytest.mark.parametrize(
    ("words", "state", "severity"),
    [
        ("watching: a fix is in", "watching", "outage"),
        ("resolved: disk replaced", "resolved", "outage"),
        ("Partial: only some users", "confirmed", "partial"),
    ],
)
async def test_a_leading_status_word_changes_status_or_severity_too(
    world: World, words: str, state: str, severity: str
) -> None:
    message = await confirmed(world)
    await world.slack.say("U_ADA", f"{ME} {words}", thread_ts=message.ts)
    incident = await says(world, words.partition(": ")[2])
    assert (incident["state"], incident["severity"]) == (state, severity)


@pytest.mark.parametrize(
    ("words", "state", "severity", "text"),
    [
        ("Resolved.", "resolved", "outage", "The problem is solved. We are sorry for the trouble."),
        ("watching", "watching", "outage", "A fix is in place. We are watching whether it holds."),
        ("partial:", "confirmed", "partial", "This is now a partial outage."),
    ],
)
async def test_a_status_word_alone_is_published_with_its_ready_sentence(
    world: World, words: str, state: str, severity: str, text: str
) -> None:
    message = await confirmed(world)
    await world.slack.say("U_ADA", f"{ME} {words}", thread_ts=message.ts)
    incident = await says(world, text)
    assert (incident["state"], incident["severity"]) == (state, severity)


async def test_outage_alone_confirms_a_suspicion(world: World) -> None:
    message = await suspected(world)
    await world.slack.say("U_ADA", f"{ME} outage:", thread_ts=message.ts)
    assert (await says(world, "We have confirmed this problem and are working on it."))[
        "severity"
    ] == "outage"


async def test_on_a_suspicion_only_outage_and_partial_publish(world: World) -> None:
    message = await suspected(world)
    for words in ("we are looking", "resolved: it is over"):
        await world.slack.say("U_ADA", f"{ME} {words}", thread_ts=message.ts)
    (
        await eventually(
            lambda: len([m for m in world.slack.ephemerals if "outage: or partial:" in m.text]) == 2
        ),
    )
    assert (await world.incident())["state"] == "suspected"
    await world.slack.say("U_ADA", f"{ME} partial: checkout fails", thread_ts=message.ts)
    assert (await says(world, "checkout fails"))["severity"] == "partial"


async def test_editing_the_message_edits_the_update_and_deleting_it_changes_nothing(
    world: World,
) -> None:
    message = await confirmed(world)
    said = await world.slack.say("U_ADA", f"{ME} watching: we foudn it", thread_ts=message.ts)
    await says(world, "we foudn it")
    await world.slack.edit_message("U_ADA", said.ts, f"{ME} watching: we found it")
    incident = await says(world, "we found it")
    assert incident["updates"][0]["edited_at"]
    await world.slack.delete_message("U_ADA", said.ts)
    await world.slack.say("U_ADA", f"{ME} and replaced it", thread_ts=message.ts)
    incident = await says(world, "and replaced it")
    assert texts(incident)[1] == "we found it"


async def test_a_mention_that_slack_delivers_again_is_published_once(world: World) -> None:
    message = await confirmed(world)
    await world.slack.say("U_ADA", f"{ME} we found it", thread_ts=message.ts)
    await says(world, "we found it")
    for event in list(world.slack.events):
        await world.slack.redeliver(event)
    await world.slack.say("U_ADA", f"{ME} next", thread_ts=message.ts)
    assert texts(await says(world, "next")).count("we found it") == 1


async def test_a_mention_outside_a_thread_is_answered_with_what_to_do(world: World) -> None:
    await confirmed(world)
    await world.slack.say("U_ADA", f"{ME} hello")
    await told(world, "U_ADA", "in the thread of an incident")


async def test_a_message_is_published_to_the_only_open_incident_at_once(world: World) -> None:
    await confirmed(world)
    said = await world.slack.say("U_BOB", "The provider *confirms* it")
    await world.slack.message_shortcut("U_ADA", "to_update", said.ts)
    await says(world, "The provider **confirms** it")
    assert not world.slack.views


async def test_a_message_is_published_to_the_one_that_is_chosen_of_several(world: World) -> None:
    await confirmed(world)
    await world.slack.slash("U_ADA", "/statuspage", "Mails are late")
    await world.becomes("confirmed", 2)
    said = await world.slack.say("U_BOB", "The queue shrinks")
    await world.slack.message_shortcut("U_ADA", "to_update", said.ts)
    await fills(world, incident="1")
    await says(world, "The queue shrinks", 1)


async def test_the_slash_command_with_words_opens_a_partial_outage_at_once(world: World) -> None:
    await started(world)
    ack = await world.slack.slash("U_ADA", "/statuspage", "Checkout is slow")
    incident = await world.becomes("confirmed")
    assert (incident["title"], incident["severity"]) == ("Checkout is slow", "partial")
    assert "Published as <http://127.0.0.1/incidents/1|#1>" in ack.payload["text"]


async def test_the_slash_command_alone_lists_what_is_going_on_with_its_actions(
    world: World,
) -> None:
    await confirmed(world)
    ack = await world.slack.slash("U_ADA", "/statuspage")
    listed = str(ack.payload["blocks"])
    assert "verb:watch" in listed
    assert "verb:new" in listed


# The Home tab.


async def test_the_home_tab_lists_acts_and_follows(world: World) -> None:
    await confirmed(world)
    await world.slack.open_home("U_ADA")
    home = await eventually(lambda: world.slack.homes.get("U_ADA"))
    assert "Confirmed · Outage" in str(home.content)
    assert "verb:watch" in str(home.content)
    await world.slack.press_in_view("U_ADA", home.id, "verb:watch")
    await world.becomes("watching")
    await eventually(lambda: "verb:not_fixed" in str(world.slack.homes["U_ADA"].content))
    await world.slack.press_in_view("U_ADA", world.slack.homes["U_ADA"].id, "verb:undo")
    await world.becomes("confirmed")
    await eventually(lambda: "verb:undo" not in str(world.slack.homes["U_ADA"].content))
    await world.slack.press_in_view("U_ADA", world.slack.homes["U_ADA"].id, "verb:plan")
    assert (await opened(world)).content["callback_id"] == "plan"


async def test_a_stale_button_on_the_home_tab_is_answered_in_a_dialog(world: World) -> None:
    message = await confirmed(world)
    await world.slack.open_home("U_ADA")
    home = await eventually(lambda: world.slack.homes.get("U_ADA"))
    world.slack.faults.hang("/api/views.publish")
    await world.slack.press("U_BOB", message.ts, "verb:resolve")
    await world.becomes("resolved")
    await world.slack.press_in_view("U_ADA", home.id, "verb:watch")
    await told(world, "U_ADA", "not possible now")


# Who may act.


@pytest.mark.parametrize("user", ["U_GUS", "U_EVE", "U_OLA"])
async def test_nobody_but_staff_changes_anything_by_any_way(world: World, user: str) -> None:
    """A guest, a stranger from a connected organisation, and a member outside the channel."""
    message = await confirmed(world)
    before = await world.incident()
    slack = world.slack
    for action in ("verb:resolve", "verb:watch", "verb:edit", "verb:update"):
        await slack.press(user, message.ts, action)
    await slack.shortcut(user, "new_incident")
    said = await slack.say("U_BOB", "words")
    await slack.message_shortcut(user, "to_update", said.ts)
    assert (await slack.slash(user, "/statuspage", "Nothing works")).payload == {"text": NOT_STAFF}
    assert (await slack.slash(user, "/statuspage")).payload == {"text": NOT_STAFF}
    assert (await slack.slash(user, "/statuspage", "maintenance")).payload == {"text": NOT_STAFF}
    await slack.say(user, f"{ME} resolved: haha", thread_ts=message.ts)
    await slack.open_home(user)
    home = await eventually(lambda: slack.homes.get(user))
    assert "verb:" not in str(home.content)
    assert "Only full members" in str(home.content)
    await told(world, user, "Only full members")
    await slack.press("U_ADA", message.ts, "verb:update")
    view = await opened(world)
    view.user = user
    ack = await slack.submit_view(user, view.id, {"text": "haha"})
    assert list(ack.payload["errors"].values()) == [NOT_STAFF]
    await slack.say("U_ADA", f"{ME} it is us", thread_ts=message.ts)
    after = await says(world, "it is us")
    assert texts(after)[1:] == texts(before)
    assert (after["state"], after["title"]) == (before["state"], before["title"])
    assert len(world.slack.timeline()) == 2  # the incident's message, and Bob's


async def test_a_user_group_narrows_those_who_may_act(world: World) -> None:
    world.settings["slack"]["allowed_user_group"] = "S1"
    world.slack.usergroups["S1"] = ["U_BOB", "U_OLA"]
    message = await suspected(world)
    await world.slack.press("U_ADA", message.ts, "verb:confirm:outage")
    await told(world, "U_ADA", "Only full members")
    assert (await world.incident())["state"] == "suspected"
    await world.slack.press("U_BOB", message.ts, "verb:confirm:outage")
    await world.becomes("confirmed")


# Promises.


async def test_an_untouched_suspicion_alerts_the_channel_again_and_the_page_says_so(
    world: World,
) -> None:
    world.settings["slack"]["remind_after"] = [0.5, 1.0]
    message = await suspected(world)
    pings = await eventually(lambda: found if len(found := loud(world)) == 2 else None)
    assert all(ping.broadcast and ping.thread_ts == message.ts for ping in pings)
    await eventually(lambda: on_page(world, "Our team was alerted again"))
    await world.slack.press(
        "U_ADA", pings[-1].ts, "verb:confirm:partial"
    )  # the buttons of the other may be gone
    await world.becomes("confirmed")
    assert "alerted again" not in await world.page()


def loud(world: World) -> list[Message]:
    return [m for m in world.slack.messages if "<!here>" in m.text]


async def on_page(world: World, words: str) -> bool:
    return words in await world.page()


async def test_pings_that_slack_missed_are_told_once_and_only_while_they_are_true(
    world: World,
) -> None:
    world.settings["slack"]["remind_after"] = [0.3, 0.6, 0.9]
    message = await suspected(world)
    world.slack.faults.hang("/api/chat.postMessage")
    await asyncio.sleep(1.2)  # it is time itself that is tested
    world.slack.faults.release()
    await eventually(lambda: loud(world))
    await world.slack.press("U_ADA", message.ts, "verb:dismiss")
    await eventually(
        lambda: any("false alarm" in line.text for line in world.slack.thread(message.ts))
    )
    assert len(loud(world)) <= 2  # of three: one before, and the newest


async def test_the_next_word_is_promised_reminded_of_and_overdue_on_the_page(world: World) -> None:
    world.settings["site"]["update_every"] = 1.5
    message = await confirmed(world)
    incident = await world.incident()
    due = datetime.fromisoformat(incident["next_update_by"]) - datetime.fromisoformat(
        incident["updates"][0]["at"]
    )
    assert due == timedelta(seconds=1.5)
    line = await eventually(
        lambda: next((m for m in world.slack.messages if "promised an update" in m.text), None)
    )
    await eventually(lambda: on_page(world, "We promised an update"))
    await world.slack.press("U_ADA", line.ts, "verb:update")
    await fills(world, text="Still on it.")
    await says(world, "Still on it.")
    assert "We promised an update" not in await world.page()
    assert message.ts == line.thread_ts


async def test_a_plan_that_asks_says_on_the_page_that_it_has_not_started_yet(world: World) -> None:
    await started(world, soon=1.0)
    await world.slack.shortcut("U_ADA", "new_incident")
    await world.slack.close_view("U_ADA", (await opened(world)).id)
    await world.slack.slash("U_ADA", "/statuspage", "maintenance: Move")
    begins = int(datetime.now(UTC).timestamp()) + 2
    await fills(world, start=begins, end=begins + 3600, ask=["yes"])
    await world.becomes("planned")
    line = await eventually(lambda: asked(world, "planned start is now"))
    assert await on_page(world, "This has not started yet")
    await world.slack.press("U_ADA", line.ts, "verb:start")
    await world.becomes("confirmed")
    assert not await on_page(world, "This has not started yet")


def asked(world: World, words: str) -> Message | None:
    return next((m for m in reversed(world.slack.messages) if words in m.text), None)


# Bad days.


async def test_an_alert_full_of_markup_pings_nobody_and_breaks_no_message_and_no_mail(
    world: World,
) -> None:
    message = await suspected(world, EVIL)
    await world.slack.press("U_ADA", message.ts, "verb:confirm:outage")
    await eventually(lambda: len(world.rapidmail.mailings) == 1)
    await eventually(lambda: any("emailed" in line for line in world.thread()))
    assert EVIL in str(message.blocks)
    assert not any("<!channel>" in m.text or "<@U1>" in m.text for m in world.slack.messages)
    assert world.rapidmail.mailings[0].html.count("{%") == 1


async def test_markup_in_what_staff_write_pings_nobody_either(world: World) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await fills(world, text=EVIL)
    await says(world, EVIL)
    shown = await world.message("channel")
    assert "<!channel>" not in str(shown.blocks)
    assert "&lt;!channel&gt;" in str(shown.blocks)
    assert "<!channel>" not in await world.page()


async def test_slack_away_during_five_changes_is_right_and_in_order_when_it_is_back(
    world: World,
) -> None:
    message = await suspected(world)
    world.slack.faults.hang("/api/chat")
    for action in (
        "verb:confirm:outage",
        "verb:watch",
        "verb:not_fixed",
        "verb:watch",
        "verb:resolve",
    ):
        await world.slack.press_stale("U_ADA", message.ts, action, "1")
    await world.becomes("resolved")
    world.slack.faults.release()
    lines = await eventually(
        lambda: found if len(found := world.thread()) >= 6 else None, within=30
    )
    kinds = ["confirmed", "Readers see", "watching", "not fixed", "watching", "resolved this"]
    assert all(words in line for words, line in zip(kinds, lines, strict=True))
    newest = await world.message("verb:reopen")
    assert newest.ts == message.ts
    assert len(world.slack.timeline()) == 1


async def test_a_message_accepted_before_a_reset_is_not_posted_twice(world: World) -> None:
    world.slack.faults.accept_then_drop(path="/api/chat.postMessage")
    message = await suspected(world)
    assert [m.ts for m in world.slack.timeline()] == [message.ts]


async def test_a_line_that_is_just_being_saved_waits_for_what_it_is_about(world: World) -> None:
    """The log is read while a decision is being written to it, which may still be taken back."""
    message = await suspected(world)
    early = to_json(
        Entry(id=100, incident=2, at=datetime.now(UTC), kind="opened", by="Ada", detail={})
    ).decode()
    await world.in_file("INSERT INTO log VALUES (100, 0, ?)", early)
    await world.slack.press("U_ADA", message.ts, "verb:confirm:outage")
    await eventually(lambda: len(world.thread()) == 2)
    await eventually(lambda: left_in_file(world))


async def left_in_file(world: World) -> bool:
    return await world.in_file("SELECT id FROM log WHERE told = 0") == [(100,)]


async def test_an_ack_comes_within_slacks_three_seconds_while_every_vendor_hangs(
    world: World,
) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    view = await opened(world)
    for vendor in (world.slack, world.opsgenie, world.rapidmail):
        vendor.faults.hang()
    slack = world.slack
    acks = [
        await slack.press("U_ADA", message.ts, action)
        for action in ("verb:watch", "verb:update", "verb:resolve")
    ]
    acks += [await slack.submit_view("U_ADA", view.id, {"title": "Slow logins"})]
    acks += [
        await slack.slash("U_ADA", "/statuspage", "More"),
        await slack.slash("U_OLA", "/statuspage", "Less"),
    ]
    acks += [await slack.shortcut("U_ADA", "new_incident")]
    await eventually(lambda: edited(world, "Slow logins"))
    assert max(ack.seconds for ack in acks) < 3  # a busy machine is no fault of ours


async def test_what_somebody_new_asks_for_while_slack_is_slow_is_done_when_they_are_known(
    world: World,
) -> None:
    message = await confirmed(world, staff_refresh=60.0, vendor_timeout=10.0)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    view = await opened(world)
    world.slack.channels["C1"].members.append("U_OLA")
    view.user = "U_OLA"
    world.slack.faults.hang("/api/conversations.members")
    # Acknowledged with nothing in it, while Slack still hangs.
    assert not (await world.slack.slash("U_OLA", "/statuspage", "Mails are late")).payload
    form = {"text": "Half of it works."}
    assert not (await world.slack.submit_view("U_OLA", view.id, form)).payload
    world.slack.faults.release()
    await told(world, "U_OLA", "Published as")
    assert (await world.becomes("confirmed", 2))["title"] == "Mails are late"
    await says(world, "Half of it works.")


async def test_what_is_refused_late_is_told_privately_with_the_words(world: World) -> None:
    message = await confirmed(world, staff_refresh=60.0, vendor_timeout=10.0)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    view = await opened(world)
    world.slack.channels["C1"].members.append("U_GUS")
    view.user = "U_GUS"
    world.slack.faults.hang("/api/conversations.members")
    await world.slack.submit_view("U_GUS", view.id, {"text": "Half of it works."})
    world.slack.faults.release()
    assert "Half of it works." in await told(world, "U_GUS", NOT_STAFF)


async def test_a_dialog_that_slack_did_not_open_is_told_when_slack_is_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    message = await confirmed(world)
    world.slack.faults.hang("/api/views.open")
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    await told(world, "U_ADA", "please tap again")
    world.slack.faults.release()
    assert "report this as a bug" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_click_that_cannot_be_saved_says_so_and_keeps_the_words(world: World) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await opened(world)

    full = "CREATE TRIGGER full BEFORE INSERT ON log BEGIN SELECT raise(ABORT, 'disk is full'); END"
    await world.in_file(full)
    ack = await fills(world, text="Words.")
    assert "could not be saved" in str(ack.payload["errors"])
    await world.in_file("DROP TRIGGER full")
    await fills(world, text="Words.")
    await says(world, "Words.")


async def test_words_with_half_a_character_are_published_with_a_mark_in_its_place(
    world: World,
) -> None:
    message = await confirmed(world)
    await world.slack.say("U_ADA", f"{ME} Half \ud83d of it works.", thread_ts=message.ts)
    await says(world, "Half ? of it works.")
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await opened(world)
    await fills(world, text="All \udfff of it works.")
    await says(world, "All ? of it works.")


async def test_a_dialog_that_a_bug_stops_stays_open_and_says_so(world: World) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await opened(world)

    await world.app[
        TELEMETRY
    ].engine.store._db.close()  # which the store takes for no failure of the database's
    ack = await fills(world, text="Half of it works.")
    assert "Something went wrong" in str(ack.payload["errors"])


async def test_a_status_word_in_the_middle_of_an_edited_mention_stays(world: World) -> None:
    message = await confirmed(world)
    said = await world.slack.say(
        "U_ADA", f"Hey {ME} Update on the outage: the databse is back", thread_ts=message.ts
    )
    await says(world, "Update on the outage: the databse is back")
    await world.slack.edit_message(
        "U_ADA", said.ts, f"{ME} Update on the outage: the database is back"
    )
    await says(world, "Update on the outage: the database is back")


async def test_a_published_message_stays_as_it_was_when_its_writer_edits_it(world: World) -> None:
    message = await confirmed(world)
    said = await world.slack.say("U_BOB", "The provider confirms it")
    await world.slack.message_shortcut("U_ADA", "to_update", said.ts)
    await says(world, "The provider confirms it")
    await world.slack.edit_message(
        "U_BOB", said.ts, "The provider confirms it, the password is hunter2"
    )
    await world.slack.say("U_ADA", f"{ME} next", thread_ts=message.ts)
    assert "hunter2" not in str(await says(world, "next"))


async def test_a_message_of_a_vanished_incident_that_slack_will_not_change_holds_nothing_up(
    world: World,
) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    await started(world)
    await world.slack.slash("U_ADA", "/statuspage", "Oops")
    message = await world.message("verb:undo")
    no = b'{"ok": false, "error": "restricted_action"}'
    world.slack.faults.answer_next(
        200, body=no, headers={"Content-Type": "application/json"}, path="chat.update", times=50
    )
    await world.slack.press("U_ADA", message.ts, "verb:undo")
    await world.slack.slash("U_ADA", "/statuspage", "Another")
    await eventually(lambda: len(world.slack.timeline()) == 2)
    await eventually(lambda: any("partial outage: Another" in line for line in world.thread()))


async def test_the_page_does_not_claim_an_alert_that_slack_refused(world: World) -> None:
    world.settings["slack"]["remind_after"] = [4]
    message = await suspected(world)
    no = b'{"ok": false, "error": "restricted_action"}'
    world.slack.faults.answer_next(
        200, body=no, headers={"Content-Type": "application/json"}, path="chat.postMessage"
    )
    await eventually(lambda: world.slack.faults.orders == [])
    await world.slack.press("U_ADA", message.ts, "verb:dismiss")
    await eventually(lambda: any("false alarm" in line for line in world.thread()))
    assert "alerted again" not in await world.page("/incidents/1")


async def test_an_incident_taken_back_while_its_post_was_unclear_is_withdrawn_in_the_channel(
    world: World,
) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    await started(world)
    world.slack.faults.accept_then_drop(path="chat.postMessage")
    world.slack.faults.fail_next(503, path="conversations.history")
    await world.act("create", title="Oops")
    await eventually(lambda: any("conversations.history" in r for r in world.slack.faults.requests))
    await world.act("undo", incident=1)
    gone = await eventually(
        lambda: next((m for m in world.slack.timeline() if "took #1 back" in m.text), None)
    )
    assert "Ada took #1 back" in gone.text
    assert "verb:" not in str(gone.blocks)


async def test_a_used_question_in_the_thread_loses_its_button_and_asks_no_more(
    world: World,
) -> None:
    message = await suspected(world)
    world.opsgenie.close(next(iter(world.opsgenie.alerts)))
    line = await eventually(lambda: asked(world, "Was it real"))
    await world.stop()
    await world.start()
    await world.tap("verb:was_real", who="U_BOB")
    await eventually(lambda: line.text.endswith("nobody confirmed it."))
    assert "verb:" not in str(line.blocks)
    await eventually(lambda: any(text.endswith("Bob: it was real.") for text in world.thread()))
    assert line.thread_ts == message.ts


async def test_a_question_that_no_longer_applies_loses_its_button_without_a_name(
    world: World,
) -> None:
    await started(world)
    await world.act("create", title="Move", severity="maintenance")
    world.opsgenie.fire("*disk* full")
    line = await eventually(lambda: asked(world, "Another alert"))
    assert "verb:real_outage" in str(line.blocks)
    world.opsgenie.close(next(iter(world.opsgenie.alerts)))
    await eventually(lambda: "verb:" not in str(line.blocks))
    assert "*disk* full" in str(line.blocks)


@pytest.mark.parametrize("words", ["help", "List", "?"])
async def test_a_word_that_asks_for_help_publishes_nothing(world: World, words: str) -> None:
    await started(world)
    ack = await world.slack.slash("U_ADA", "/statuspage", words)
    assert "verb:new" in str(ack.payload["blocks"])
    assert (await world.state())["open"] == []


async def test_maintenance_may_be_written_with_a_capital(world: World) -> None:
    await started(world)
    await world.slack.slash("U_ADA", "/statuspage", "Maintenance")
    assert (await opened(world)).content["callback_id"] == "plan"


async def test_a_message_that_two_publish_is_published_once(world: World) -> None:
    message = await confirmed(world)
    said = await world.slack.say("U_BOB", "The disk is replaced")
    for user in ("U_ADA", "U_BOB"):
        await world.slack.message_shortcut(user, "to_update", said.ts)
    await says(world, "The disk is replaced")
    await world.slack.say("U_ADA", f"{ME} next", thread_ts=message.ts)
    assert texts(await says(world, "next")).count("The disk is replaced") == 1


async def test_a_home_tab_that_slack_refuses_keeps_back_no_other(world: World) -> None:
    message = await confirmed(world)
    for user in ("U_ADA", "U_BOB"):
        await world.slack.open_home(user)
    await eventually(lambda: len(world.slack.homes) == 2)
    no = b'{"ok": false, "error": "user_not_found"}'
    world.slack.faults.answer_next(
        200, body=no, headers={"Content-Type": "application/json"}, path="views.publish"
    )
    await world.slack.press("U_ADA", message.ts, "verb:watch")
    await eventually(lambda: "verb:not_fixed" in str(world.slack.homes["U_BOB"].content))
