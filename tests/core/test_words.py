"""Catalogues have the same sentences with the same places, and sentences take values safely."""

import string

import pytest

from monostat.core.words import PLURALS, Words
from monostat.languages import LANGUAGES, load_words


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


def test_a_number_chooses_the_form_and_markup_is_escaped_unless_it_is_markup() -> None:
    words = Words("en", {"list": {"more": {"one": "{n} <update>", "other": "{n} updates {who}"}}})
    assert words("list.more", n=1) == "1 <update>"
    assert words.html("list.more", n=1) == "1 &lt;update&gt;"
    assert words.html("list.more", n=2, who="<b>") == "2 updates &lt;b&gt;"
