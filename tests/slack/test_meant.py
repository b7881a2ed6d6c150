"""What is published is what was meant, and the thread says what the message does not."""

from dataclasses import replace
from typing import Any

import pytest

from monostat.core.model import Status
from monostat.demo.slack import Message
from tests.slack.flows import ME, confirmed, fills, says, started, suspected, texts, told
from tests.waiting import eventually
from tests.world import World

SECRET = "hunter2"


async def there(world: World, message: Message, words: str) -> Message:
    """The line of the thread of a message that has these words."""

    def found() -> Message | None:
        return next((m for m in world.slack.thread(message.ts) if words in m.text), None)

    return await eventually(found)


def by_app(world: World, message: Message) -> list[str]:
    return [m.text.partition(": ")[2] for m in world.slack.thread(message.ts) if m.bot_id]


async def test_from_alert_to_resolved_with_two_mentions_the_app_says_at_most_six_lines(
    world: World,
) -> None:
    await started(world)
    for host in ("db-1", "db-2"):
        world.opsgenie.fire(f"{host} is down", priority="P1")
    message = await world.message("verb:confirm:outage")
    await eventually(lambda: "(+1)" in message.text)
    assert message.text.startswith("❓ Is it real? db-")
    assert "is down (P1" in message.text
    await world.tap("verb:confirm:partial")
    asked = await there(world, message, "What is broken")
    await world.slack.press("U_ADA", asked.ts, "verb:title")
    await fills(world, title="Uploads fail")
    await eventually(lambda: "Title: Uploads fail (Ada)" in asked.text)
    first = await world.slack.say("U_ADA", f"{ME} we found it", thread_ts=message.ts)
    await eventually(lambda: first.reactions == ["white_check_mark"])
    second = await world.slack.say("U_ADA", f"{ME} watching: a fan", thread_ts=message.ts)
    await eventually(lambda: second.reactions == ["white_check_mark", "envelope"])
    for alert in list(world.opsgenie.alerts):
        world.opsgenie.close(alert)
    await there(world, message, "All alerts are over")
    await world.tap("verb:resolve")
    await there(world, message, "Ada resolved this. · emailed")
    lines = by_app(world, message)
    assert len(lines) <= 6
    assert [line for line in lines if "we found it" in line or "a fan" in line] == []
    assert (await world.incident())["title"] == "Uploads fail"


async def test_without_the_scope_for_marks_a_mention_gets_a_line(world: World) -> None:
    world.slack.scopes.remove("reactions:write")
    message = await confirmed(world)
    said = await world.slack.say("U_ADA", f"{ME} we *found* it", thread_ts=message.ts)
    await there(world, message, "Ada posted an update: we *found* it")
    assert said.reactions == []
    world.slack.violations.clear()  # the operator has not installed the app anew


def rich(*elements: dict[str, Any]) -> list[dict[str, Any]]:
    section = {"type": "rich_text_section", "elements": list(elements)}
    return [{"type": "rich_text", "elements": [section]}]


@pytest.mark.parametrize("subtype", ["", "file_share", "thread_broadcast"])
async def test_a_mention_that_comes_only_as_a_message_counts_once(
    world: World, subtype: str
) -> None:
    message = await confirmed(world)
    blocks = rich(
        {"type": "text", "text": f"{SECRET} "},
        {"type": "user", "user_id": "UBOT"},
        {"type": "text", "text": " 5*3*2 "},
        {"type": "emoji", "name": "tada", "unicode": "1f389"},
    )
    await world.slack.say(
        "U_ADA",
        f"{SECRET} {ME} 5*3*2 :tada:",
        thread_ts=message.ts,
        blocks=blocks,
        mention=False,
        subtype=subtype,
    )
    incident = await says(world, r"5\*3\*2 🎉")
    assert SECRET not in str(incident)
    for event in list(world.slack.events):
        await world.slack.redeliver(event)
    await world.slack.say("U_ADA", f"{ME} next", thread_ts=message.ts)
    assert len(texts(await says(world, "next"))) == len(texts(incident)) + 1


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (f"{SECRET} {ME}", "no words follow the mention"),
        (f"{ME}: help", "Write what readers should know"),
        (f"{ME} /statuspage resolve 1", "Write what readers should know"),
        (f"&gt; {ME} resolved: {SECRET}\nDid we say this?", "not in a quote"),
        (f"{ME} show", "to see an incident"),
        (f"{ME} maintenance: {SECRET}", "/statuspage maintenance to plan one"),
        (f"{ME} help", "Write what readers should know"),
        (f"{ME} --help", "Write what readers should know"),
        (f"{ME} list", "/statuspage"),
        (f"{ME} reslove", "looks like a command"),
        (f"{ME} resolvd: {SECRET}", "looks like a command"),
        (f"{ME} new", "/statuspage with what is wrong"),
        (f"{ME} edit", "Tap Edit…"),
        (f"{ME} resolve 7", "Mention me in the thread of #7"),
        (f"{ME} undo: now", "takes no words"),
        (f"{ME} title: {'x' * 151}", "at most 150 characters"),
    ],
)
async def test_what_is_no_words_for_readers_is_answered_and_not_published(
    world: World, words: str, answer: str
) -> None:
    message = await confirmed(world)
    before = await world.incident()
    await world.slack.say("U_ADA", words, thread_ts=message.ts)
    await told(world, "U_ADA", answer)
    assert await world.incident() == before
    assert len([m for m in world.slack.ephemerals if answer in m.text]) == 1


async def test_commands_in_a_thread_and_after_the_slash_are_obeyed(world: World) -> None:
    message = await suspected(world)
    await world.slack.say("U_ADA", f"{ME} title: __init__ *fails*", thread_ts=message.ts)
    await eventually(lambda: titled(world, "__init__ fails"))
    assert (await world.incident())["state"] == "suspected"
    await world.slack.say("U_ADA", f"{ME} outage: it is down", thread_ts=message.ts)
    await says(world, "it is down")
    await world.slack.say("U_ADA", f"{ME} resolve: replaced", thread_ts=message.ts)
    await says(world, "replaced")
    await world.slack.say("U_ADA", f"{ME} It was the disk.", thread_ts=message.ts)
    assert (await says(world, "It was the disk."))["state"] == "resolved"
    slash = world.slack.slash
    answer = str((await slash("U_ADA", "/statuspage", "reopen 1")).payload)
    assert "Reopened: #1. Undo is in <#C1>." in answer
    await world.becomes("confirmed")
    shown = (await slash("U_ADA", "/statuspage", "#1")).payload
    assert "verb:watch" in str(shown["blocks"])
    for words in ("resolve", "--help", "resolved", "show", "create 1 server fails", "resolv 3"):
        await slash("U_ADA", "/statuspage", words)
    await slash("U_ADA", "/statuspage", "new")
    await fills(world, title="Update server is slow")
    await slash("U_ADA", "/statuspage", "Maintenance job is stuck :tada:")
    await eventually(lambda: titled(world, "Maintenance job is stuck 🎉", 3))
    assert (await world.incident(2))["title"] == "Update server is slow"
    assert await world.incident(4) == {}


async def titled(world: World, title: str, number: int = 1) -> bool:
    return bool((await world.incident(number)).get("title") == title)


async def test_an_edit_changes_words_only_and_what_is_none_changes_nothing(world: World) -> None:
    message = await confirmed(world)
    said = await world.slack.say("U_ADA", f"{ME} watching: we foudn it", thread_ts=message.ts)
    await says(world, "we foudn it")
    await world.slack.edit_message("U_ADA", said.ts, f"{ME} watching: we found it")
    incident = await says(world, "we found it")
    update = incident["updates"][0]["id"]
    await world.act("edit", incident=1, texts={update: "We found it."})
    for previous in (True, False):
        await world.slack.touch_message(said.ts, previous=previous)
    await world.slack.edit_message("U_ADA", said.ts, f"{ME} resolved: we found it")
    await told(world, "U_ADA", "editing a message changes words only")
    await world.slack.edit_message("U_ADA", said.ts, "we found it")
    await told(world, "U_ADA", "there is nothing after the mention any more")
    await says(world, "We found it.")
    assert (await world.incident())["state"] == "watching"


async def test_an_edit_that_is_told_late_or_again_brings_no_older_words_back(world: World) -> None:
    message = await confirmed(world)
    said = await world.slack.say("U_ADA", f"{ME} update: fond it", thread_ts=message.ts)
    await says(world, "fond it")
    await world.slack.edit_message("U_ADA", said.ts, f"{ME} update: found")
    await says(world, "found")
    older = list(world.slack.events)[-1]
    await world.slack.edit_message("U_ADA", said.ts, f"{ME} update: found it")
    await says(world, "found it")
    for as_new in (False, True):
        await world.slack.redeliver(older, as_new=as_new)
    await world.slack.say("U_ADA", f"{ME} next", thread_ts=message.ts)
    assert texts(await says(world, "next"))[1] == "found it"


async def test_a_mention_by_another_id_of_ours_can_be_edited_like_any(world: World) -> None:
    message = await confirmed(world)
    said = await world.slack.say("U_ADA", "<@W_BOT> we foudn it", thread_ts=message.ts, alias=True)
    await says(world, "we foudn it")
    await world.slack.edit_message("U_ADA", said.ts, "<@W_BOT> we found it")
    incident = await says(world, "we found it")
    await world.slack.say("U_ADA", "<@W_BOT> is at lunch", thread_ts=message.ts, mention=False)
    await world.slack.say("U_ADA", f"{ME} next", thread_ts=message.ts)
    assert len(texts(await says(world, "next"))) == len(texts(incident)) + 1


async def test_a_mention_that_gives_the_title_gets_its_mark_too(world: World) -> None:
    message = await confirmed(world)
    asked = await there(world, message, "What is broken")
    said = await world.slack.say("U_ADA", f"{ME} title: Uploads fail", thread_ts=message.ts)
    await eventually(lambda: "Title: Uploads fail (Ada)" in asked.text)
    await eventually(lambda: said.reactions == ["white_check_mark"])


async def test_words_are_taken_down_with_a_tap_and_asked_about_when_their_message_goes(
    world: World,
) -> None:
    message = await confirmed(world)
    said = await world.slack.say("U_ADA", f"{ME} the password is {SECRET}", thread_ts=message.ts)
    await says(world, f"the password is {SECRET}")
    await world.tap("verb:take_down")
    await says(world, "We have confirmed this problem and are working on it.")
    assert SECRET not in await world.page()
    said = await world.slack.say("U_ADA", f"{ME} watching: {SECRET}", thread_ts=message.ts)
    await says(world, SECRET)
    await world.slack.delete_message("U_ADA", said.ts)
    line = await there(world, message, "Also remove it from the page?")
    await world.slack.press("U_BOB", line.ts, "verb:take_down")
    await says(world, "A fix is in place. We are watching whether it holds.")
    assert SECRET not in str(await world.incident())


def private(world: World, words: str) -> list[str]:
    return [told.text for told in world.slack.ephemerals if words in told.text]


async def test_a_tap_on_what_has_just_changed_does_nothing_but_for_undo(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    message = await confirmed(world, just_now=60.0)
    await world.slack.press("U_BOB", message.ts, "verb:watch")
    assert "changed just before your tap" in await told(world, "U_BOB", "It is now confirmed (Ada)")
    assert (await world.incident())["state"] == "confirmed"
    await world.slack.press("U_BOB", message.ts, "verb:edit")
    await eventually(lambda: len(private(world, "changed just before your tap")) == 2)
    assert not world.slack.views
    await world.slack.press("U_ADA", message.ts, "verb:watch")
    await world.message("verb:not_fixed")
    await world.slack.press("U_BOB", message.ts, "verb:resolve")  # both offered it
    await world.message("verb:reopen")
    await world.tap("verb:undo")
    await world.becomes("watching")


async def test_a_reminder_names_its_alert_and_is_not_quoted_by_its_answer(world: World) -> None:
    world.settings["slack"]["remind_after"] = [0.5]
    message = await suspected(world, "Checkout answers 500")
    ping = await there(world, message, "<!here> Unanswered for")
    assert "*Checkout answers 500*. Is it real?" in ping.text
    await world.slack.press("U_ADA", ping.ts, "verb:confirm:outage")
    await eventually(lambda: "verb:" not in str(ping.blocks))
    assert "Ada" not in ping.text


async def test_what_answers_a_question_is_said_once(world: World) -> None:
    message = await confirmed(world)
    world.opsgenie.close(next(iter(world.opsgenie.alerts)))
    question = await there(world, message, "All alerts are over. Is it resolved?")
    await world.slack.press("U_ADA", question.ts, "verb:resolve")
    await eventually(lambda: question.text.endswith("All alerts are over."))
    await there(world, message, "Ada resolved this.")
    assert str(world.slack.thread(message.ts)).count("'Ada resolved this.") == 1


async def test_a_promise_is_renewed_with_one_tap(world: World) -> None:
    world.settings["site"]["update_every"] = 2
    message = await confirmed(world)
    line = await there(world, message, "You promised an update by")
    await world.slack.press("U_ADA", line.ts, "verb:still_working")
    await says(world, "We are still working on this.")


async def test_alerts_of_a_minute_share_one_line(world: World) -> None:
    message = await confirmed(world)
    for number in range(40):
        world.opsgenie.fire(f"host {number} is down")
    await eventually(lambda: "host 39 is down" in str(world.slack.thread(message.ts)))
    lines = [m for m in world.slack.thread(message.ts) if "Another alert" in m.text]
    assert len(lines) == 1


async def test_a_message_is_published_to_the_incident_of_its_thread(world: World) -> None:
    message = await confirmed(world)
    await world.slack.slash("U_ADA", "/statuspage", "Mails are late")
    await world.becomes("confirmed", 2)
    said = await world.slack.say("U_BOB", "thanks <@U_ADA>, it shrinks", thread_ts=message.ts)
    await world.slack.message_shortcut("U_ADA", "to_update", said.ts)
    await says(world, "thanks, it shrinks", 1)


async def test_what_the_app_itself_has_said_for_staff_is_not_published(world: World) -> None:
    message = await confirmed(world)
    world.opsgenie.fire(SECRET)
    line = await there(world, message, SECRET)
    before = await world.incident()
    for said in (message, line):
        await world.slack.message_shortcut("U_ADA", "to_update", said.ts)
        await told(world, "U_ADA", "What I say here is for staff")
        for view in list(world.slack.views.values()):
            await world.slack.close_view("U_ADA", view.id)
    assert await world.incident() == before


async def test_who_gets_no_dialog_is_told_so(world: World) -> None:
    message = await confirmed(world)
    world.slack.faults.fail_next(503, path="/api/views.open", times=9)
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await told(world, "U_ADA", "Slack took too long to open the dialog.")


async def test_who_gets_no_dialog_for_its_form_is_not_told_to_tap_again(world: World) -> None:
    message = await confirmed(world)
    world.slack.object_to("views.open", "Post update", "invalid_arguments")
    await world.slack.press("U_ADA", message.ts, "verb:update")
    await told(world, "U_ADA", "Slack does not show this dialog")


@pytest.mark.parametrize(
    "metadata", ["nonsense", '{"incident":1,"shown":[]}', '{"incident":Infinity,"shown":{}}']
)
async def test_a_dialog_that_cannot_be_read_stays_open_and_says_so(
    world: World, metadata: str
) -> None:
    message = await confirmed(world)
    await world.slack.press("U_ADA", message.ts, "verb:edit")
    view = await eventually(lambda: next(iter(world.slack.views.values()), None))
    view.content["private_metadata"] = metadata
    ack = await fills(world, title="Words.")
    assert "could not be read" in str(ack.payload["errors"])


async def test_two_people_of_one_name_are_two(world: World) -> None:
    world.slack.users["U_BOB"] = replace(world.slack.users["U_BOB"], name="Ada")
    message = await confirmed(world)
    await there(world, message, "Ada (U_ADA) confirmed this")


@pytest.mark.parametrize("more", [{"teams": ["T1"]}, {"enterprise_user": {"teams": ["T1"]}}])
async def test_a_member_of_the_workspace_in_an_organisation_may_act(
    world: World, more: dict[str, Any]
) -> None:
    world.slack.users["U_ADA"] = replace(world.slack.users["U_ADA"], team_id="E1", **more)
    message = await suspected(world)
    await world.slack.press("U_ADA", message.ts, "verb:confirm:outage")
    await world.becomes(Status.CONFIRMED)


async def test_events_that_slack_left_out_are_acknowledged_and_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await started(world)
    await world.slack.rate_limited()
    assert "Slack has left out events" in caplog.text
