"""Slack's way of writing and Markdown, each turned into the other; contracts/slack.md section 9."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from html import escape as entities
from html import unescape

Names = Mapping[str, str]  # of people, by their ids

#: In both ways of writing the same, and left alone.
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)

# Slack's
BOLD = re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+)(?<=\S)\*(?![\w*])")
STRIKE = re.compile(r"(?<![\w~])~(?=\S)([^~\n]+)(?<=\S)~(?![\w~])")
REFERENCE = re.compile(r"<([^<>\n]+)>( ?)")

# Markdown's
STRONG = re.compile(r"(?:\*\*|__)(?=\S)")
STRUCK = re.compile(r"~~(?=\S)")
CLOSES = {
    "**": re.compile(r"(?<=\S)\*\*"),
    "__": re.compile(r"(?<=\S)__"),
    "~~": re.compile(r"(?<=\S)~~"),
}
LINK = re.compile(r"\[((?:[^\[\]\\]|\\.){1,300}+)\]\((https?://[^\s()<>|]+|mailto:[^\s()<>|]+)\)")


def to_markdown(text: str, names: Names) -> str:
    """What staff wrote in Slack, as Markdown.

    People are named where `names` has their id; other mentions are dropped.
    """
    change = partial(_words_to_markdown, names=names)
    markdown = _outside(CODE, text, change)
    return unescape(markdown).strip()


def _words_to_markdown(text: str, *, names: Names) -> str:
    text = BOLD.sub(r"**\1**", text)
    text = STRIKE.sub(r"~~\1~~", text)
    change = partial(_reference_to_markdown, names=names)
    return REFERENCE.sub(change, text)


def _reference_to_markdown(reference: re.Match[str], *, names: Names) -> str:
    """What stands in angle brackets: a mention, a date, or a link, with the blank behind it."""
    target, _, label = reference[1].partition("|")
    blank = reference[2]
    if target.startswith(("@", "#", "!")):
        name = _name_of(target, label, names)
        return name + blank if name else ""
    label = re.sub(r"([\[\]])", r"\\\1", label)
    if label and label != target:
        return f"[{label}]({target}){blank}"
    return f"<{target}>{blank}"


def _name_of(target: str, label: str, names: Names) -> str:
    """Whom or what a mention means; nothing where nobody is to be called."""
    if target.startswith("@"):
        return names.get(target[1:], "")
    if target.startswith("#"):
        return f"#{label}" if label else ""
    return label if target.startswith("!date") else ""


def from_markdown(text: str) -> str:
    """Markdown as Slack shows it, with nothing in it that Slack would take for a mention.

    It is not shortened.
    """
    escaped = entities(text, quote=False)
    return _outside(CODE, escaped, _words_from_markdown)


def _words_from_markdown(text: str) -> str:
    return _outside(LINK, text, _emphasise, form=r"<\2|\1>")


def _emphasise(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        bold = _mark(line, STRONG, "*")
        lines.append(_mark(bold, STRUCK, "~"))
    return "\n".join(lines)


def _mark(line: str, opens: re.Pattern[str], mark: str) -> str:
    """Writes `mark` around what stands between two of the same.

    What one of them has not found is not sought again.
    """
    parts: list[str] = []
    alone: set[str] = set()
    at = 0
    while opening := opens.search(line, at):
        kind = opening[0]
        closing = None
        if kind not in alone:
            closing = CLOSES[kind].search(line, opening.end() + 1)
        if closing:
            before = line[at : opening.start()]
            inside = line[opening.end() : closing.start()]
            parts.append(f"{before}{mark}{inside}{mark}")
            at = closing.end()
        else:
            parts.append(line[at : opening.end()])
            alone.add(kind)
            at = opening.end()
    parts.append(line[at:])
    return "".join(parts)


def _outside(
    kept: re.Pattern[str], text: str, change: Callable[[str], str], *, form: str = r"\g<0>"
) -> str:
    """Changes what a pattern does not match, and writes what it does in another form."""
    parts: list[str] = []
    end = 0
    for match in kept.finditer(text):
        before = text[end : match.start()]
        parts.append(change(before))
        parts.append(match.expand(form))
        end = match.end()
    after = text[end:]
    parts.append(change(after))
    return "".join(parts)
