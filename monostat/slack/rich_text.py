"""What somebody said in Slack, read from its blocks, or from its text where it has none.

What Slack showed is what is read: contracts/slack.md sections 9 and 13.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from html import unescape
from typing import Any, NamedTuple

from monostat.slack.emoji import character, in_characters

Json = Mapping[str, Any]
LISTS = {"bullet": "bullet", "ordered": "ordered"}
STYLES = ("bold", "italic", "strike", "code")
#: Whom or what these name is nobody's business but the staff's.
PRIVATE = ("user", "usergroup", "channel", "broadcast")


class Run(NamedTuple):
    """Characters of one look; `user` is who is mentioned here, in no characters at all."""

    text: str
    style: frozenset[str] = frozenset()
    url: str = ""
    user: str = ""


class Paragraph(NamedTuple):
    """A paragraph, a quote, a block of code, or an item of a list, whose `number` is its own.

    `kind` is "text", "quote", "code", "bullet" or "ordered".
    """

    kind: str
    runs: tuple[Run, ...]
    indent: int = 0
    number: int = 1

    @property
    def text(self) -> str:
        """Its characters, as they are shown."""
        return "".join(run.text for run in self.runs)


Said = tuple[Paragraph, ...]


def said_in(message: Json) -> Said:
    """What a message says, mentions included."""
    blocks = message.get("blocks")
    elements: list[Json] = []
    for block in blocks if isinstance(blocks, list) else []:
        if isinstance(block, Mapping) and block.get("type") == "rich_text":
            elements += children(block)
    if not elements:
        return said_as(str(message.get("text") or ""))
    return tuple(paragraph for element in elements for paragraph in _paragraphs(element))


def children(element: Json) -> list[Json]:
    """What an element is made of; whatever Slack sends, none of it fails."""
    inner = element.get("elements")
    return [each for each in inner if isinstance(each, Mapping)] if isinstance(inner, list) else []


def mentions(said: Said) -> list[str]:
    """The ids of the people who are mentioned, in their order."""
    return [run.user for paragraph in said for run in paragraph.runs if run.user]


def after_mention(said: Said, ours: Collection[str]) -> Said | None:
    """What follows the first mention of one of these people; None where there is none."""
    for at, paragraph in enumerate(said):
        for place, run in enumerate(paragraph.runs):
            if run.user in ours and run.user:
                rest = paragraph._replace(runs=paragraph.runs[place + 1 :])
                return (rest, *said[at + 1 :])
    return None


def visible(said: Said) -> str:
    """The words as they look, without any formatting."""
    lines = [paragraph.text.strip("\n") for paragraph in map(without_mentions, said)]
    return "\n".join(line for line in lines if line.strip()).strip()


def without_beginning(said: Said, beginning: str) -> Said:
    """What follows these words, with which it begins; gaps between words do not count."""
    left = len("".join(beginning.split()))
    rest: list[Paragraph] = []
    for paragraph in said:
        runs = []
        for run in paragraph.runs:
            at = 0
            while left and at < len(run.text):
                left -= not run.text[at].isspace()
                at += 1
            runs.append(run._replace(text=run.text[at:]))
        rest.append(paragraph._replace(runs=tuple(runs)))
    return tuple(rest)


def without_mentions(paragraph: Paragraph) -> Paragraph:
    """The same without its mentions, and without the gaps that these leave; equal looks join."""
    runs: list[Run] = []
    gap = False
    for run in paragraph.runs:
        if run.user:
            gap = True
            continue
        if gap and runs and re.match(r"[\s,.;:!?)]|$", run.text):
            runs[-1] = runs[-1]._replace(text=runs[-1].text.rstrip(" "))
        gap = False
        if runs and runs[-1]._replace(text=run.text) == run:
            runs[-1] = run._replace(text=runs[-1].text + run.text)
        elif run.text:
            runs.append(run)
    return paragraph._replace(runs=tuple(runs))


# -- From blocks


def _paragraphs(element: Json) -> Iterator[Paragraph]:
    kind = str(element.get("type")).removeprefix("rich_text_")
    if kind == "list":
        start = _whole(element.get("offset")) + 1
        shape = LISTS.get(str(element.get("style")), "bullet")
        for number, item in enumerate(children(element), start):
            yield Paragraph(shape, _runs(item), _whole(element.get("indent")), number)
    elif kind == "preformatted":
        text = "".join(run.text for run in _runs(element))
        yield Paragraph("code", (Run(text),))
    else:
        yield Paragraph("quote" if kind == "quote" else "text", _runs(element))


def _whole(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 10_000 else 0


def _runs(element: Json) -> tuple[Run, ...]:
    return tuple(_run(child) for child in children(element))


def _run(element: Json) -> Run:
    """One element; of a kind that is not known, what is visible of it."""
    style = element.get("style")
    styles = style if isinstance(style, Mapping) else {}
    look = frozenset(name for name in STYLES if styles.get(name) is True)
    text = str(element.get("text") or "")
    match element.get("type"):
        case "link":
            url = str(element.get("url") or "")
            return Run(text or url, look, url)
        case "emoji":
            name = str(element.get("name") or "")
            return Run(character(name, str(element.get("unicode") or "")), look)
        case "date":
            return Run(str(element.get("fallback") or ""), look)
        case "color":
            return Run(str(element.get("value") or ""), look)
        case str(kind) if kind in PRIVATE:
            return Run("", user=str(element.get("user_id") or kind))
    return Run(text, look)


# -- From text, as Slack's own way of writing has it

CODE = re.compile(r"```(.*?)```", re.DOTALL)
QUOTE = re.compile(r"&gt; ?")
TOKEN = re.compile(
    r"`(?P<code>[^`\n]+)`|<(?P<reference>[^<>\n]+)>"
    r"|(?<![\w*])\*(?=\S)(?P<bold>[^*\n]+)(?<=\S)\*(?![\w*])"
    r"|(?<![\w_])_(?=\S)(?P<italic>[^_\n]+)(?<=\S)_(?![\w_])"
    r"|(?<![\w~])~(?=\S)(?P<strike>[^~\n]+)(?<=\S)~(?![\w~])"
)


def said_as(text: str) -> Said:
    """What a text says that has no blocks, such as the words after a slash command."""
    found: list[Paragraph] = []
    for place, part in enumerate(CODE.split(text)):
        if place % 2:
            runs = (Run(_leaf(part.strip("\n"))),)
            found.append(Paragraph("code", runs))
        elif part.strip():
            found += _lines(part)
    return tuple(found)


def _lines(text: str) -> Iterable[Paragraph]:
    """Quotes, and what stands between them."""
    found: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        kind = "quote" if QUOTE.match(line) else "text"
        if not found or found[-1][0] != kind:
            found.append((kind, []))
        found[-1][1].append(QUOTE.sub("", line, count=1) if kind == "quote" else line)
    for kind, lines in found:
        yield Paragraph(kind, tuple(_inline("\n".join(lines), frozenset())))


def _inline(text: str, look: frozenset[str]) -> Iterator[Run]:
    end = 0
    for token in TOKEN.finditer(text):
        yield Run(in_characters(_leaf(text[end : token.start()])), look)
        end = token.end()
        kind = str(token.lastgroup)
        inner = token[kind]
        if kind == "reference":
            yield _reference(inner, look)
        elif kind == "code":
            yield Run(_leaf(inner), look | {"code"})
        else:
            yield from _inline(inner, look | {kind})
    yield Run(in_characters(_leaf(text[end:])), look)


def _reference(inner: str, look: frozenset[str]) -> Run:
    """What stands in angle brackets: a mention, a date, or a link."""
    target, _, label = inner.partition("|")
    if target.startswith("!date"):
        return Run(_leaf(label), look)
    if target.startswith(("@", "#", "!")):
        return Run("", user=target.removeprefix("@"))
    return Run(_leaf(label or target), look, _leaf(target))


def _leaf(text: str) -> str:
    return unescape(text)
