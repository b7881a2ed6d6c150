"""Every sentence with which somebody is refused: a row each, and a test that none lacks one."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import monostat.core
from monostat.core.markdown import MAX_TEXT_LENGTH
from monostat.core.model import Severity
from tests.core.histories import NOON, Core, after


def nothing() -> Core:
    return Core()


def partial_outage() -> Core:
    world = Core()
    world.does("create", title="It", severity=Severity.PARTIAL)
    return world


def late() -> Core:
    """Confirmed a minute ago: what was held has left."""
    world = partial_outage()
    world.passes(60)
    world.hands_over()
    return world


def resolved() -> Core:
    world = late()
    world.does("resolve", 1)
    world.passes(60)
    return world


def suspicion() -> Core:
    world = Core()
    world.polls()
    world.passes(10)
    world.raises()
    return world


def dismissed() -> Core:
    world = suspicion()
    world.does("dismiss", 1)
    world.passes(60)
    return world


def dismissed_before_another() -> Core:
    world = suspicion()
    world.does("dismiss", 1)
    world.raises("another")
    return world


def plan() -> Core:
    world = Core()
    world.does("plan", title="Move", start=NOON + after(3600), end=NOON + after(7200))
    return world


def postponed() -> Core:
    world = plan()
    world.does("postpone", 1)
    return world


def maintenance() -> Core:
    world = plan()
    world.does("start", 1)
    return world


def lent() -> Core:
    """A maintenance whose alerts have become an outage."""
    world = maintenance()
    world.passes(60)
    world.polls()
    world.passes(10)
    world.raises()
    world.does("real_outage", 1)
    return world


def cancelled() -> Core:
    world = plan()
    world.does("cancel", 1)
    return world


def announced() -> Core:
    """Without a mail: the window of its confirmation was ended by a tap."""
    world = Core(mails=False)
    world.does("create", title="It")
    world.does("send", 1)
    world.passes(1)
    return world


def unmailed() -> Core:
    world = Core(mails=False)
    world.does("create", title="It")
    world.passes(60)
    return world


def over_by_itself() -> Core:
    world = suspicion()
    world.closes("disk")
    return world


def being_sent() -> Core:
    world = partial_outage()
    world.at += after(60)
    return world


CHANGED = {"update": 99}
ROWS: list[tuple[Callable[[], Core], str, dict[str, Any], str]] = [
    (nothing, "resolve", {}, "There is no incident #1."),
    (partial_outage, "edit", {"changes": {"silent": True}, "mail": True}, "#1 is silent, so that"),
    (nothing, "create", {"title": "x" * 151}, "A title has at most 150 characters."),
    (
        partial_outage,
        "update",
        {"text": "x" * (MAX_TEXT_LENGTH + 1)},
        "shorten it, or say it in two.",
    ),
    (nothing, "create", {"title": "It", "start": NOON - after(1e10)}, "This time is too far away"),
    (unmailed, "update", {"text": "x", "mail": True}, "Nobody can be mailed, as the configuration"),
    (suspicion, "edit", {"mail": True}, "#1 is suspected, and nobody is mailed about a suspicion."),
    (dismissed, "edit", {"mail": True}, "#1 is dismissed, and nobody is mailed about a suspicion."),
    (cancelled, "dismiss", {}, "#1 was cancelled, and that is final: plan a new one."),
    (partial_outage, "confirm", {}, "Ada got there first: #1 has been confirmed (partial) since"),
    (partial_outage, "confirm", {"by": "Ada"}, "Nothing was changed: #1 has been confirmed"),
    (partial_outage, "dismiss", {}, "so “False alarm” is not possible now."),
    (nothing, "create", {}, "An incident needs a title."),
    (nothing, "create", {"title": "It", "start": NOON + after(9)}, "The start lies in the future:"),
    (nothing, "create", {"title": "It", "end": NOON + after(9)}, "The end must lie between"),
    (suspicion, "update", {"text": "x"}, "#1 is suspected: nothing can be added to it now."),
    (
        partial_outage,
        "update",
        {"severity": Severity.PARTIAL},
        "The severity is already “partial”: add some words.",
    ),
    (partial_outage, "update", {}, "An update needs words."),
    (resolved, "still_working", {}, "#1 is resolved: readers are promised nothing of it."),
    (partial_outage, "still_working", CHANGED, "Somebody got there first: #1 has had an update"),
    (
        partial_outage,
        "take_down",
        {},
        "#1 has no such words: somebody got there first, or they were",
    ),
    (partial_outage, "title", {}, "Say in a few words what is broken."),
    (partial_outage, "title", {"title": "It"}, "That is its title already."),
    (partial_outage, "edit", {"changes": {"title": " "}}, "An incident needs a title."),
    (partial_outage, "edit", {"texts": {99: "x"}}, "Choose the update whose text this is"),
    (partial_outage, "edit", {"texts": {1: ""}}, "The last update cannot be deleted"),
    (partial_outage, "undo", CHANGED, "Somebody got there first: #1 has changed since."),
    (dismissed_before_another, "undo", {}, "Monitoring has raised a new suspicion by now, #2:"),
    (late, "undo", {}, "Too late to undo: the mail left at"),
    (being_sent, "undo", {}, "Too late to undo: the mail is on its way."),
    (over_by_itself, "undo", {}, "There is nothing to undo: #1 became dismissed by itself."),
    (announced, "undo", {}, "by a tap or by an automatic change, and that ends Undo."),
    (unmailed, "undo", {}, "Too late to undo: the 30 seconds for it are over."),
    (lent, "real_outage", {}, "Ada got there first: #2 is confirmed (outage)."),
    (maintenance, "real_outage", {}, "#1 is not a maintenance under way with open alerts."),
    (late, "send", {}, "Nothing is waiting to be sent for #1. The last mail left at"),
    (partial_outage, "retry", {}, "No mail of #1 has failed."),
    (nothing, "plan", {}, "A plan needs a title."),
    (nothing, "plan", {"title": "Move"}, "A plan needs a start and an end."),
    (nothing, "plan", {"title": "Move", "start": NOON, "end": NOON}, "The planned start lies in"),
    (
        nothing,
        "plan",
        {"title": "Move", "start": NOON + after(9), "end": NOON + after(9)},
        "The planned end must come after the start.",
    ),
    (
        nothing,
        "create",
        {"title": "It", "severity": Severity.NOTICE},
        "A notice needs words of its own: write what readers should know.",
    ),
    (partial_outage, "postpone", {}, "#1 is confirmed: only a plan can be postponed."),
    (postponed, "postpone", {"planned": NOON}, "Ada got there first: the planned time of #1 is"),
    (plan, "extend", {}, "#1 is not a maintenance under way with a planned end."),
    (partial_outage, "edit", {"changes": {"end": NOON}}, "It is not over yet: its end comes with"),
    (resolved, "edit", {"changes": {"end": NOON + after(999)}}, "The end must lie in the past."),
    (maintenance, "edit", {"changes": {"end": NOON - after(9)}}, "The end must lie in the future."),
    (resolved, "edit", {"changes": {"end": NOON - after(9)}}, "The end must come after the start."),
    (
        plan,
        "edit",
        {"changes": {"start": NOON - after(9)}},
        "A plan cannot be moved into the past.",
    ),
    (
        partial_outage,
        "edit",
        {"changes": {"start": NOON + after(9)}},
        "The start lies in the future.",
    ),
]


@pytest.mark.parametrize(("world", "verb", "more", "sentence"), ROWS)
def test_who_asks_for_what_cannot_be_done_is_told_why(
    world: Callable[[], Core], verb: str, more: dict[str, Any], sentence: str
) -> None:
    assert sentence in refused(world(), verb, more)


def refused(world: Core, verb: str, more: dict[str, Any]) -> str:
    if "texts" in more and not any(more["texts"].values()):
        more = {"texts": {update.id: "" for update in world.rows[1].updates}}
    number = 0 if verb in ("create", "plan") else 1
    return world.refuses(verb, number, **more)


#: What is never said to a person, or is a row of another table.
ELSEWHERE = ("is not to be sent now", "is not on its way")


def templates() -> list[str]:
    """What the core refuses people with, as patterns of the whole sentence."""
    found = []
    for path in Path(monostat.core.__path__[0]).glob("*.py"):
        if path.name == "imports.py":  # tests/core/test_imports.py
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Refused":
                found.append(pattern(node.args[0]))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("why_"):
                answers = [each for each in ast.walk(node) if isinstance(each, ast.Return)]
                found += [pattern(answer.value) for answer in answers]
    return [each for each in found if each and not any(words in each for words in ELSEWHERE)]


def pattern(node: ast.expr | None) -> str:
    match node:
        case ast.Constant(value=str(words)):
            return re.escape(words).replace(r"\ ", " ")
        case ast.JoinedStr(values=parts):
            return "".join(pattern(part) or ".*" for part in parts)
        case _:
            return ""


def test_no_refusal_lacks_its_row() -> None:
    said = [refused(world(), verb, more) for world, verb, more, _ in ROWS]
    wanted = templates()
    assert len(wanted) > 40
    lacking = [each for each in wanted if not any(re.fullmatch(each, one) for one in said)]
    assert lacking == []
