"""Slack's way of writing and Markdown, each turned into the other; contracts/slack.md section 9."""

import re
from collections.abc import Callable, Mapping
from html import escape as entities
from html import unescape

CODE = re.compile(
    r"(```.*?```|`[^`\n]+`)", re.DOTALL
)  # in both ways of writing the same, and left alone
STRONG, STRUCK = re.compile(r"(?:\*\*|__)(?=\S)"), re.compile(r"~~(?=\S)")
CLOSES = {mark: re.compile(r"(?<=\S)" + re.escape(mark)) for mark in ("**", "__", "~~")}
LINK = re.compile(r"\[((?:[^\[\]\\]|\\.){1,300}+)\]\((https?://[^\s()<>|]+|mailto:[^\s()<>|]+)\)")


def to_markdown(text: str, names: Mapping[str, str]) -> str:
    """What staff wrote in Slack, as Markdown; people are named where `names` has their id, other
    mentions dropped.
    """

    def reference(found: re.Match[str]) -> str:
        target, _, label = found[1].partition("|")
        if target[:1] in ("@", "#", "!"):
            known = {"@": names.get(target[1:], ""), "#": f"#{label}" if label else ""}
            name = known.get(target[0], label if target.startswith("!date") else "")
            return name and name + found[2]
        label = re.sub(r"([\[\]])", r"\\\1", label)
        return (f"[{label}]({target})" if label and label != target else f"<{target}>") + found[2]

    def words(part: str) -> str:
        part = re.sub(r"(?<![\w*])\*(?=\S)([^*\n]+)(?<=\S)\*(?![\w*])", r"**\1**", part)
        part = re.sub(r"(?<![\w~])~(?=\S)([^~\n]+)(?<=\S)~(?![\w~])", r"~~\1~~", part)
        return re.sub(r"<([^<>\n]+)>( ?)", reference, part)

    return unescape(_outside(CODE, text, words)).strip()


def from_markdown(text: str) -> str:
    """Markdown as Slack shows it, with nothing in it that Slack would take for a mention; not
    shortened.
    """

    def links(part: str) -> str:
        return _outside(LINK, part, _emphasised, r"<\2|\1>")

    return _outside(CODE, entities(text, quote=False), links)


def _emphasised(text: str) -> str:
    return "\n".join(_marked(_marked(line, STRONG, "*"), STRUCK, "~") for line in text.split("\n"))


def _marked(line: str, opens: re.Pattern[str], mark: str) -> str:
    """Writes `mark` around what stands between two of the same; what one of them has not found is
    not sought again.
    """
    made, at, alone = list[str](), 0, set[str]()
    while found := opens.search(line, at):
        start, closing = found.end(), found[0]
        end = None if closing in alone else CLOSES[closing].search(line, start + 1)
        if end:
            made += line[at : found.start()], mark, line[start : end.start()], mark
            at = end.end()
        else:
            made.append(line[at:start])
            at = start
            alone.add(closing)
    return "".join([*made, line[at:]])


def _outside(
    kept: re.Pattern[str], text: str, change: Callable[[str], str], form: str = r"\g<0>"
) -> str:
    """Changes what a pattern does not match, and writes what it does in another form."""
    made, end = "", 0
    for found in kept.finditer(text):
        made, end = made + change(text[end : found.start()]) + found.expand(form), found.end()
    return made + change(text[end:])
