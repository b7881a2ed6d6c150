"""The words of one language: every sentence that the public reads, whole, by its key.

A catalogue is a TOML file of `monostat/languages`; docs/language.md says how to write one. Keys are
the names of its tables and entries with dots between them, as "headline.outage". A sentence may
have places, as "{name} is down"; one that depends on a number is a table of its plural forms, by
the names of CLDR: `{ one = "{n} update", other = "{n} updates" }`.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum, auto
from typing import Any

from markupsafe import Markup, escape


class Form(StrEnum):
    """CLDR's names of plural forms: a table of nothing else is one sentence."""

    ZERO = auto()
    ONE = auto()
    TWO = auto()
    FEW = auto()
    MANY = auto()
    OTHER = auto()


FORMS = frozenset(Form)


def one_or_other(n: object) -> Form:
    """The plural form of whole numbers in English, German and their relatives."""
    if n == 1:
        return Form.ONE
    return Form.OTHER


#: Which form a number takes in each language, as CLDR has it.
PLURALS: dict[str, Callable[[object], Form]] = {"en": one_or_other, "de": one_or_other}


def sentences(catalogue: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its sentence, its plural forms, or its list of names."""
    for name, value in catalogue.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and not FORMS.issuperset(value):
            yield from sentences(value, f"{key}.")
        else:
            yield key, value


class Words:
    """The sentences of a catalogue; `language` is its tag (BCP 47), as "en"."""

    def __init__(self, language: str, catalogue: Mapping[str, Any]) -> None:
        self.language = language
        self.entries = dict(sentences(catalogue))
        self._tables: dict[str, dict[str, Any]] = {}
        for key, entry in self.entries.items():
            table, _, in_table = key.partition(".")
            self._tables.setdefault(table, {})[in_table] = entry

    def __call__(self, key: str, **places: object) -> str:
        """The sentence as plain text; `n`, where it is given, chooses the plural form.

        Raises KeyError for a key, a form or a place that is not there.
        """
        sentence = self._sentence(key, places)
        return sentence.format_map(places)

    def html(self, key: str, **places: object) -> Markup:
        """The sentence for HTML; a place keeps its markup where it is Markup, and is escaped
        otherwise.
        """
        sentence = self._sentence(key, places)
        return escape(sentence).format_map(places)

    def names(self, key: str) -> list[str]:
        """A list of names, as those of the months."""
        entry = self.entries[key]
        return list(entry)

    def table(self, name: str) -> Mapping[str, Any]:
        """All entries of a table by their keys in it, for a script that fills them itself."""
        return self._tables[name]

    def _sentence(self, key: str, places: Mapping[str, object]) -> str:
        entry = self.entries[key]
        if isinstance(entry, str):
            return entry
        form_of = PLURALS[self.language]
        form = form_of(places["n"])
        return str(entry[form])
