"""Words that are taken off the page: what has to follow them in mails, buttons and reminders."""

from collections.abc import Callable
from typing import Any

import pytest

from monostat.core.events import MailClaimed, MailSettled
from monostat.core.model import Mail
from monostat.slack.messages import undo_buttons
from tests.core.histories import Core, after, kinds


def tried(world: Core, letter: str, **outcome: Any) -> Mail:
    """The newest mail, which is tried, with a letter of these words where it has none."""
    mail = max(world.state.mails.values(), key=lambda mail: mail.entry)
    world.submit(MailClaimed(at=world.at, key=mail.key, letter=letter))
    written = world.state.mails[mail.key]
    world.submit(MailSettled(at=world.at, key=mail.key, retry_at=world.at, **outcome))
    return written


def take_down(world: Core, **more: Any) -> dict[str, str]:
    return world.act("take_down", 1, **more).entries[-1].detail


def edit(world: Core) -> dict[str, str]:
    newest = world.incident.updates[-1].id
    return world.act("edit", 1, texts={newest: "We are on it."}).entries[-1].detail


@pytest.mark.parametrize("change", [take_down, edit])
def test_a_mail_that_could_not_leave_yet_is_written_anew_when_its_words_are_gone(
    change: Callable[[Core], dict[str, str]],
) -> None:
    world = Core(texts={"confirmed": "It is real."})
    world.does("create", title="It", text="the password is hunter2")
    world.passes(30)
    assert tried(world, "hunter2", error="503").letter == "hunter2"
    assert tried(world, "other", error="503").letter == "hunter2"
    assert "may_leave" not in change(world)
    assert tried(world, "clean", error="503").letter == "clean"
    assert tried(world, "other", error="503").letter == "clean"


def test_words_that_go_while_their_mail_is_on_its_way_are_not_tried_again() -> None:
    world = Core(texts={"confirmed": "It is real."})
    world.does("create", title="It", text="the password is hunter2")
    world.passes(30)
    (mail,) = world.state.mails.values()
    world.submit(MailClaimed(at=world.at, key=mail.key, letter="hunter2"))
    assert take_down(world)["may_leave"]
    world.submit(MailSettled(at=world.at, key=mail.key, error="503", retry_at=world.at))
    assert tried(world, "clean", error="503").letter == "clean"


def test_an_unclear_mail_is_looked_for_as_it_was_and_written_anew_when_it_is_not_there() -> None:
    world = Core(texts={"confirmed": "It is real."})
    world.does("create", title="It", text="the password is hunter2")
    world.passes(30)
    tried(world, "hunter2", error="lost", ambiguous=True)
    assert take_down(world)["may_leave"]
    looked_for = tried(world, "clean", absent=True)
    assert (looked_for.letter, looked_for.outdated) == ("hunter2", True)
    assert tried(world, "clean").letter == "clean"
    assert world.incident.mailed_at == world.at


def test_a_mail_about_words_can_be_sent_at_once_until_it_is_tried() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(60)
    world.hands_over()
    world.does("update", 1, text="Half of it works.", mail=True)

    def offers() -> list[str]:
        blocks = undo_buttons(world.incident, world.state.mails_of(1))
        return [block["action_id"] for block in blocks]

    assert offers() == ["verb:send", "verb:take_down"]
    world.does("send", 1)
    tried(world, "letter", error="503")
    assert offers() == ["verb:take_down"]


def test_words_that_a_tap_takes_down_are_always_the_newest_that_are_there() -> None:
    world = Core()
    world.does("create", title="It")
    world.does("update", 1, text="Half of it works.")
    older = world.incident.spoken
    world.does("watch", 1, text="A fix is in.")
    world.does("undo", 1)
    assert world.incident.spoken == older
    world.does("update", 1, text="Most of it works.")
    newest = world.incident.spoken
    world.does("edit", 1, texts={newest: ""})
    assert world.incident.spoken == older
    world.does("update", 1, text="All of it works.")
    world.does("take_down", 1)
    assert world.incident.spoken == older
    world.does("edit", 1, texts={older: ""})
    assert world.incident.spoken == 0
    world.does("update", 1, text="Some of it works.")
    world.passes(60)
    world.does("update", 1, text="None of it works.")
    world.passes(540)
    world.does("take_down", 1)
    assert world.incident.spoken == 0


def withdraw(world: Core) -> None:
    world.does("take_down", 1)


def delete(world: Core) -> None:
    world.does("edit", 1, texts={world.incident.updates[-1].id: ""})


@pytest.mark.parametrize("change", [withdraw, delete])
def test_a_promise_that_comes_nearer_again_is_reminded_of_once(
    change: Callable[[Core], None],
) -> None:
    world = Core()
    world.does("create", title="It")
    for _ in range(2):
        world.passes(600)
        world.does("update", 1, text="Half of it works.")
    world.passes(420)
    change(world)
    assert kinds(world.passes(0)) == []
    change(world)
    assert kinds(world.passes(0)) == ["promise"]
    world.passes(60)
    world.does("update", 1, text="Half of it works.")
    change(world)
    assert kinds(world.passes(0)) == [], "that was told"


def test_a_ping_that_falls_into_a_confirmation_that_is_undone_comes_after_it() -> None:
    world = Core()
    world.polls()
    world.raises()
    world.passes(590)
    world.does("confirm", 1)
    world.passes(20)
    world.does("undo", 1)
    assert kinds(world.passes(0)) == ["unattended"]
    assert kinds(world.passes(589)) == []
    assert kinds(world.passes(1)) == ["unattended"]


def test_undo_of_a_resolution_asks_again_when_the_alerts_closed_meanwhile() -> None:
    world = Core()
    world.polls()
    world.passes(1)
    world.raises()
    world.does("confirm", 1)
    world.passes(60)
    world.does("resolve", 1)
    world.closes("disk")
    assert kinds(world.act("undo", 1)) == ["undone", "alerts_over"]
    world.does("resolve", 1)
    world.raises()
    assert world.home("disk") == 2
    assert kinds(world.act("undo", 1))[:2] == ["undone", "alerts_over"]
    world.does("create", title="No alert has it")
    world.does("resolve", 3)
    assert kinds(world.act("undo", 3)) == ["undone"]


def test_who_gives_a_suspicion_a_title_has_acted_on_it() -> None:
    world = Core()
    world.polls()
    world.passes(1)
    world.raises()
    world.does("title", 1, title="Uploads fail")
    assert kinds(world.passes(600)) == []


def test_what_was_heard_is_not_obeyed_again_whatever_it_asked_for() -> None:
    world = Core()
    world.does("create", title="It")
    world.does("update", 1, text="Half of it works.")
    world.does("update", 1, text="Most of it works.")
    world.does("take_down", 1, source="17.1")
    assert world.act("take_down", 1, source="17.1").is_empty
    assert len(world.incident.updates) == 2
    for verb, more in (("title", {"title": "Uploads"}), ("send", {}), ("resolve", {})):
        world.does(verb, 1, source=f"18.{verb}", **more)
        assert world.act(verb, 1, source=f"18.{verb}", **more).is_empty
    for number in range(600):
        world.does("title", 1, title=f"Number {number}", source=f"19.{number}")
    assert len(world.incident.heard) == 500
    assert world.act("title", 1, title="Uploads", source="19.599").is_empty


def test_an_event_that_changes_two_incidents_names_neither() -> None:
    world = Core()
    for title in ("One", "Another"):
        at = world.at + after(60)
        world.does("plan", title=title, start=at, end=at + after(60))
    assert world.passes(59).changed is None
    assert world.passes(1).changed is None
    assert set(world.status().values()) == {"confirmed"}
    assert world.act("resolve", 1).changed == (1, "resolved")
    world.polls()
    assert world.raises().changed is None or len(world.state.incidents) == 2
    world.passes(60)
    assert set(world.status().values()) == {"resolved", "suspected"}
