"""Bodies that are HTML as Markdown, which is what monostat keeps."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import NamedTuple

BLOCK = r"p|div|h[1-6]|ul|ol|li|blockquote|table|tr|section|article"
INLINE = r"a|abbr|b|br|code|em|hr|pre|font|i|img|s|small|span|strong|sub|sup|td|th|time|tt|u|var"
#: What makes a text HTML: Markdown has none of these, and "a < b" is none.
TAG = re.compile(rf"</?(?:{BLOCK}|{INLINE})(?:\s[^<>]*)?/?>", re.IGNORECASE)
#: In a text with these, line breaks are mere spaces.
LAYOUT = re.compile(rf"</?(?:{BLOCK})\b", re.IGNORECASE)
#: Who writes one ends the line as well.
BREAK = re.compile(r"(<br\s*/?>)[ \t]*\n", re.IGNORECASE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
UNSAID = ("script", "style", "head", "title")
LINES = {"br": "\n", "hr": "\n\n---\n\n"}
MARKS = {"ol": "1. ", "ul": "- "}  # before the items of a list
LONGEST_READ = 200_000  # characters; ten times what is kept
DEEPEST = 50  # elements in each other; those within are read as their text
ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s<>]+", re.IGNORECASE)


class Element(NamedTuple):
    """One that has begun: its tag, where it links to, and the pieces of Markdown within it."""

    tag: str
    address: str
    pieces: list[str]


def markdown_of(body: str) -> str:
    """The body as Markdown; one without a tag of HTML is that already.

    What the parser of the standard library cannot read stays as it was written.
    """
    body = body[:LONGEST_READ]
    if not TAG.search(body):
        return body.strip()
    reader = Reader(keeps_lines=not LAYOUT.search(body))
    try:
        body_alone = BREAK.sub(r"\1", COMMENT.sub("", body))
        # Of what else begins like this the parser expects SGML, and gives up.
        reader.feed(body_alone.replace("<!", "&lt;!"))
        reader.close()
    except (ValueError, AssertionError):
        return body.strip()
    return reader.text()


class Reader(HTMLParser):
    """Collects Markdown from the inside out: whatever ends becomes a piece of what it is in."""

    def __init__(self, *, keeps_lines: bool) -> None:
        super().__init__()
        self._keeps_lines = keeps_lines
        self._open = [Element("", "", [])]

    def text(self) -> str:
        """All that was read; what has not ended ends here."""
        while len(self._open) > 1:
            self._end()
        return tidy("".join(self._open[0].pieces))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begins an element; those without an end are complete at once."""
        given = dict(attrs)
        address = (given.get("href") or given.get("src") or "").strip()
        if not ADDRESS.fullmatch(address):
            address = ""
        if tag == "img":
            self._add(link(given.get("alt") or "image", address))
        elif tag in LINES:
            self._add(LINES[tag])
        elif len(self._open) <= DEEPEST:
            if tag in ("li", "p") and self._open[-1].tag == tag:  # HTML ends these by the next
                self._end()
            self._open.append(Element(tag, address, []))

    def handle_endtag(self, tag: str) -> None:
        """Ends an element, and all that began within it."""
        if any(element.tag == tag for element in self._open):
            while self._open[-1].tag != tag:
                self._end()
            self._end()

    def handle_data(self, data: str) -> None:
        """Adds words; spaces are one space, but in what is laid out already."""
        within = {element.tag for element in self._open}
        if within.isdisjoint(UNSAID):
            if not self._keeps_lines and "pre" not in within:
                data = re.sub(r"\s+", " ", data)
            self._add(data)

    def _add(self, text: str) -> None:
        pieces = self._open[-1].pieces
        if text.startswith(" ") and (not pieces or pieces[-1].endswith("\n")):
            text = text[1:]
        pieces.append(text)

    def _end(self) -> None:
        tag, address, pieces = self._open.pop()
        inner = "".join(pieces)
        if tag == "a":
            self._add(link(inner, address))
        elif tag == "li":
            mark = MARKS.get(self._open[-1].tag, "- ")
            lines = inner.strip().replace("\n", "\n" + " " * len(mark))
            self._add(f"\n{mark}{lines}")
        elif tag != "code" or self._open[-1].tag != "pre":
            self._add(MADE_OF.get(tag, str)(inner))
        else:
            self._add(inner)


def tidy(text: str) -> str:
    """The text without spaces at the ends of lines, and with no two empty lines together."""
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def link(words: str, address: str) -> str:
    """A link where it leads anywhere, else its words."""
    words = " ".join(words.split())
    if not address or not words:
        return words
    if words == address:
        return f"<{address}>"
    words = re.sub(r"([\[\]])", r"\\\1", words)
    return f"[{words}](<{address}>)"


def around(mark: str) -> Callable[[str], str]:
    """Puts marks around words; spaces stay outside, where Markdown needs them."""

    def marked(inner: str) -> str:
        words = inner.strip()
        if not words or "\n\n" in words:
            return inner
        before, after = inner.split(words, 1)
        return f"{before}{mark}{words}{mark}{after}"

    return marked


def paragraph(inner: str) -> str:
    """Words that stand by themselves."""
    return f"\n\n{inner.strip()}\n\n"


def heading(inner: str) -> str:
    """A paragraph in bold: monostat's pages have their own headings."""
    return paragraph(around("**")(inner.strip()))


def quotation(inner: str) -> str:
    """Each line with the mark of a quotation."""
    lines = tidy(inner).replace("\n", "\n> ")
    return paragraph(f"> {lines}")


def program(inner: str) -> str:
    """A block whose lines and spaces stay as they are."""
    inner = inner.strip("\n")
    return f"\n\n```\n{inner}\n```\n\n"


#: What becomes of the words of an element; those of any other stand for themselves.
MADE_OF: dict[str, Callable[[str], str]] = {
    "p": paragraph,
    "div": paragraph,
    "section": paragraph,
    "article": paragraph,
    "ul": paragraph,
    "ol": paragraph,
    "table": paragraph,
    "tr": paragraph,
    "h1": heading,
    "h2": heading,
    "h3": heading,
    "h4": heading,
    "h5": heading,
    "h6": heading,
    "b": around("**"),
    "strong": around("**"),
    "em": around("*"),
    "i": around("*"),
    "code": around("`"),
    "td": "{} ".format,
    "th": "{} ".format,
    "blockquote": quotation,
    "pre": program,
}
