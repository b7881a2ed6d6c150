"""What a reader of a public text reads, and which sentences of a catalogue are in it."""

import re
import string
from collections.abc import Iterator
from html.parser import HTMLParser

from monostat.core.words import Words

#: Attributes that people read, or hear; the last are the words of the page's script.
READ = ("alt", "aria-label", "content", "label", "placeholder", "title", "data-words")
#: What programs parse of feeds stays English: the status of an update, its date, and RSS's own.
FOR_PROGRAMS = re.compile(r"(<|&lt;)(strong|small|pubDate|lastBuildDate)(>|&gt;).*?\1/\2\3")
PLACE = re.compile(r"\{\w+\}")
#: Words that no German sentence has, and hardly an English one is without.
ENGLISH = re.compile(
    r"\b(the|and|with|our|your|have|has|been|this|is|are|at|of|we)\b", re.IGNORECASE
)


class Reading(HTMLParser):
    """Collects the texts of a document, and the attributes that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        about = named.get("name") or named.get("property") or ""
        if tag == "meta" and not about.endswith(("description", "title")):
            return
        self.found += [value for name, value in attrs if value and name in READ]

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def read(document: str) -> str:
    """All that somebody reads of an HTML page, or of a feed."""
    reading = Reading()
    reading.feed(FOR_PROGRAMS.sub(" ", document))
    inside = PLACE.sub("", "\n".join(reading.found))
    return inside if "<p>" not in inside else read(inside)  # a feed has pages inside


def sentences(words: Words) -> Iterator[str]:
    """Every sentence, name and plural form of a catalogue."""
    for entry in words.entries.values():
        if isinstance(entry, str):
            yield entry
        else:
            yield from entry.values() if isinstance(entry, dict) else entry


def pattern_of(sentence: str) -> str:
    """Finds the sentence with anything in its places."""
    inside = ""
    for text, place, *_ in string.Formatter().parse(sentence):
        inside += re.escape(text)
        if place is not None:
            inside += r"[^\n]{1,80}?"
    return rf"(?<!\w){inside}(?!\w)"


def stands_in(sentence: str, text: str) -> bool:
    """Whether a text has a sentence, with anything in its places."""
    literals = [literal for literal, *_ in string.Formatter().parse(sentence)]
    is_likely = all(literal in text for literal in literals)
    return is_likely and bool(re.search(pattern_of(sentence), text))


def foreign(words: Words, own: Words) -> list[str]:
    """The sentences of a catalogue that the reader's own could not have made."""
    made = "\n".join(sentences(own))
    return [each for each in dict.fromkeys(sentences(words)) if not stands_in(each, made)]
