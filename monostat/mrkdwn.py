"""Slack's way of writing and Markdown, each turned into the other; contracts/slack.md section 9."""

import re
from collections.abc import Callable, Mapping
from html import escape as entities
from html import unescape

CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)  # in both ways of writing the same, and left alone
LINK = r"\[((?:[^\[\]\\]|\\.)+)\]\((https?://[^\s()<>|]+|mailto:[^\s()<>|]+)\)"


def to_markdown(text: str, names: Mapping[str, str]) -> str:
    """What staff wrote in Slack, as Markdown; people are named where `names` has their id, other mentions dropped."""

    def reference(found: re.Match[str]) -> str:
        target, _, label = found[1].partition("|")
        if target.startswith("@"):
            return names.get(target[1:], "")
        if target.startswith("#"):
            return f"#{label}" if label else ""
        if target.startswith("!"):
            return label if target.startswith("!date") else ""
        return f"[{label}]({target})" if label and label != target else f"<{target}>"

    def words(part: str) -> str:
        part = re.sub(r"(?<![\w*])\*(?=\S)([^*\n]+)(?<=\S)\*(?![\w*])", r"**\1**", part)
        part = re.sub(r"(?<![\w~])~(?=\S)([^~\n]+)(?<=\S)~(?![\w~])", r"~~\1~~", part)
        return re.sub(r"<([^<>\n]+)>", reference, part)

    made = unescape(_outside_code(text, words)) if "&" in text else _outside_code(text, words)
    return re.sub(r"[ \t]{2,}", " ", made).strip()


def from_markdown(text: str) -> str:
    """Markdown as Slack shows it, with nothing in it that Slack would take for a mention; not shortened."""

    def words(part: str) -> str:
        part = re.sub(LINK, r"<\2|\1>", part)
        part = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"*\2*", part)
        return re.sub(r"~~(?=\S)(.+?)(?<=\S)~~", r"~\1~", part)

    return _outside_code(entities(text, quote=False), words)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    return "".join(part if n % 2 else change(part) for n, part in enumerate(CODE.split(text)))
