"""Slack's own way of writing formatted text in a line, which a message without blocks has.

https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Iterator
from html import unescape
from itertools import groupby

from monostat.slack.emoji import in_characters
from monostat.slack.said import Paragraph, Run, Said

CODE = re.compile(r"```(.*?)```", re.DOTALL)
QUOTE = re.compile(r"^&gt; ?")
TOKEN = re.compile(
    r"`(?P<code>[^`\n]+)`|<(?P<reference>[^<>\n]+)>"
    r"|(?<![\w*])\*(?=\S)(?P<bold>[^*\n]+)(?<=\S)\*(?![\w*])"
    r"|(?<![\w_])_(?=\S)(?P<italic>[^_\n]+)(?<=\S)_(?![\w_])"
    r"|(?<![\w~])~(?=\S)(?P<strike>[^~\n]+)(?<=\S)~(?![\w~])"
)


def parse_text(text: str) -> Said:
    """What a text says that has no blocks, such as the words after a slash command."""
    paragraphs: list[Paragraph] = []
    for place, part in enumerate(CODE.split(text)):
        is_code = place % 2 == 1
        if is_code:
            code = Run(unescape(part.strip("\n")))
            paragraphs.append(Paragraph("code", (code,)))
        elif part.strip():
            paragraphs += _quotes_and_others(part)
    return tuple(paragraphs)


def _quotes_and_others(text: str) -> Iterator[Paragraph]:
    """Quotes, and what stands between them; lines of one kind that follow each other are one."""
    for is_quote, group in groupby(text.split("\n"), key=_is_quote):
        kind = "text"
        lines = list(group)
        if is_quote:
            kind = "quote"
            lines = [QUOTE.sub("", line, count=1) for line in lines]
        runs = _inline("\n".join(lines), frozenset())
        yield Paragraph(kind, tuple(runs))


def _is_quote(line: str) -> bool:
    return bool(QUOTE.match(line))


def _inline(text: str, look: frozenset[str]) -> Iterator[Run]:
    end = 0
    for token in TOKEN.finditer(text):
        yield _words(text[end : token.start()], look)
        end = token.end()
        kind = str(token.lastgroup)
        inner = token[kind]
        if kind == "reference":
            yield _reference(inner, look)
        elif kind == "code":
            yield Run(unescape(inner), look | {"code"})
        else:
            yield from _inline(inner, look | {kind})
    yield _words(text[end:], look)


def _words(text: str, look: frozenset[str]) -> Run:
    return Run(in_characters(unescape(text)), look)


def _reference(inner: str, look: frozenset[str]) -> Run:
    """What stands in angle brackets: a mention, a date, or a link."""
    target, _, label = inner.partition("|")
    if target.startswith("!date"):
        return Run(unescape(label), look)
    if target.startswith(("@", "#", "!")):
        return Run("", user=target.removeprefix("@"))
    words = unescape(label or target)
    return Run(words, look, unescape(target))
