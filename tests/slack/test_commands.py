"""A command is never published: what is one, and what it asks for."""

import pytest

from monostat.core.model import Incident, Severity, Status, Update
from monostat.core.verbs import OFFERED
from monostat.slack.commands import parse_command
from monostat.slack.markup import parse_text
from monostat.slack.mentions import words_of_edit
from monostat.slack.messages import ASKED, LABELS, Block, button, status_buttons, undo_buttons
from monostat.slack.parsing import parse_mention
from tests.slack.samples import AT, incident, undo

SLASH = "/status-ops"


def labels() -> list[str]:
    """What stands on the buttons that there are."""
    names = {*LABELS, *(name for names in (*OFFERED.values(), *ASKED.values()) for name in names)}
    buttons: list[Block] = [button(name, 1) for name in names]
    for severity in (Severity.OUTAGE, Severity.MAINTENANCE):
        for status in Status:
            about = incident(status, severity=severity, undo=(undo(announces=True),))
            buttons += [*status_buttons(about), *undo_buttons(about, ())]
    return sorted({made["text"]["text"] for made in buttons})


@pytest.mark.parametrize("label", labels())
def test_the_label_of_a_button_is_a_command_alone_before_a_colon_and_before_a_number(
    label: str,
) -> None:
    for after in ("", ".", ": x", ":", " 17", " 17 x", " #17", " #17: x", " # 17"):
        command = parse_command(parse_text(label + after), SLASH)
        assert command.name, label + after
        wanted = 17 if "17" in after else None
        assert command.number == wanted, label + after


@pytest.mark.parametrize("words", ["reslove", "resolv 3", "Watchng.", "titel: Uploads"])
def test_a_command_with_a_typing_error_is_none_and_no_words_for_readers(words: str) -> None:
    assert parse_command(parse_text(words), SLASH).name == "misspelt"


@pytest.mark.parametrize(
    "words", ["Login", "Resolve it", "Titles are wrong", "Shop down", "Mails", "Updates 10:30"]
)
def test_words_that_are_like_no_command_or_go_on_are_for_readers(words: str) -> None:
    assert parse_command(parse_text(words), SLASH).name == ""


def test_a_slash_command_by_whatever_name_is_no_word_for_readers() -> None:
    assert parse_command(parse_text("/status-ops resolve 1"), SLASH).name == "help"
    assert parse_command(parse_text("/statuspage is broken"), SLASH).name == ""
    answer = parse_mention(parse_text("list"), incident(), AT, "U_ADA", SLASH)
    assert answer == "Type /status-ops to see what is going on."


@pytest.mark.parametrize("severity", [Severity.OUTAGE, Severity.PARTIAL])
def test_the_label_of_a_confirmation_confirms_with_the_severity_that_it_names(
    severity: Severity,
) -> None:
    gone = incident(Status.DISMISSED)
    act = parse_mention(parse_text(f"It is real: {severity}"), gone, AT, "U_ADA", SLASH)
    assert not isinstance(act, str)
    assert (act.verb, act.severity, act.text) == ("confirm", severity, "")


def update(about: Incident) -> Update:
    return about.updates[-1]


@pytest.mark.parametrize(
    ("status", "words", "left"),
    [
        (Status.CONFIRMED, "update: found it", "found it"),
        (Status.CONFIRMED, "outage: found it", "found it"),
        (Status.CONFIRMED, "not fixed: found it", "found it"),
        (Status.CONFIRMED, "reopen: found it", "found it"),
        (Status.RESOLVED, "it was real: found it", "found it"),
        (Status.RESOLVED, "resolve #7 found it", "found it"),
        (Status.WATCHING, "watching: found it", "found it"),
        (Status.WATCHING, "not fixed: found it", ""),
        (Status.CONFIRMED, "partial: found it", ""),
        (Status.CONFIRMED, "resolve #8 found it", ""),
        (Status.CONFIRMED, "undo", ""),
    ],
)
def test_an_edit_may_begin_with_what_its_mention_may_begin_with(
    status: Status, words: str, left: str
) -> None:
    assert words_of_edit(parse_text(words), update(incident(status)), SLASH) == left
