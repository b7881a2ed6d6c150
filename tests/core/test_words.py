"""Catalogues have the same sentences with the same places, and sentences take values safely."""

import re
import string
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

import monostat
from monostat import RESOURCES
from monostat.core.draft import Draft
from monostat.core.incidents import sentence_of
from monostat.core.model import Monitoring, Severity, State
from monostat.core.verbs import MOVES
from monostat.core.words import PLURALS, Words
from monostat.languages import LANGUAGES, load_words
from tests.core.histories import NOON
from tests.policies import POLICY

FILES_THAT_SPEAK = (".py", ".html", ".xml", ".txt", ".json")
#: As f"headline.{key}", "badge." ~ kind, or the whole table.
TABLE_OF_WHICH_A_KEY_IS_CHOSEN = re.compile(
    r'f"(\w+)\.\{|"(\w+)\." ~|(?:words_of|table)\("(\w+)"\)(?!\.)'
)


def places(sentence: object) -> set[str | None]:
    """The names of a sentence's places, whatever its form."""
    whole = str(sentence.values()) if isinstance(sentence, dict) else str(sentence)
    return {name for _, name, _, _ in string.Formatter().parse(whole) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_catalogue_has_the_keys_and_places_of_the_english_one(language: str) -> None:
    english = load_words("en").entries
    words = load_words(language).entries
    assert words.keys() == english.keys()
    assert {key: places(words[key]) for key in words} == {
        key: places(english[key]) for key in words
    }
    assert language in PLURALS


def test_no_catalogue_keeps_a_sentence_that_nobody_says() -> None:
    folders = (RESOURCES / "templates", Path(monostat.__file__).parent)
    files = [path for folder in folders for path in folder.rglob("*.*")]
    program = "\n".join(p.read_text() for p in files if p.suffix in FILES_THAT_SPEAK)
    chosen = set(chain(*TABLE_OF_WHICH_A_KEY_IS_CHOSEN.findall(program)))
    unsaid = [
        key
        for key in load_words("en").entries
        if f'"{key}"' not in program and key.partition(".")[0] not in chosen
    ]
    assert unsaid == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("severity", [Severity.NOTICE, Severity.MAINTENANCE])
def test_no_change_of_a_notice_or_a_maintenance_speaks_of_a_problem(
    language: str, severity: Severity
) -> None:
    draft = Draft(
        State(epoch="k3v9", monitoring=Monitoring(since=NOON), checked_at=NOON),
        replace(POLICY, texts=load_words(language).table("texts")),
        NOON,
    )
    said = [
        draft.ready_sentence(sentence_of(verb, severity), severity)
        for verb in MOVES
        if verb.name != "dismiss"  # it is about what monitoring said
    ]
    assert [sentence for sentence in said if "problem" in sentence.lower()] == []


def test_a_number_chooses_the_form_and_markup_is_escaped_unless_it_is_markup() -> None:
    words = Words("en", {"list": {"more": {"one": "{n} <update>", "other": "{n} updates {who}"}}})
    assert words("list.more", n=1) == "1 <update>"
    assert words.html("list.more", n=1) == "1 &lt;update&gt;"
    assert words.html("list.more", n=2, who="<b>") == "2 updates &lt;b&gt;"
