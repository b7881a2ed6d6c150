"""What somebody said in Slack, as it was shown: paragraphs of runs of one look.

`rich_text` reads it from blocks, `markup` from text.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

#: What only addresses the app, right behind its mention: "@Status: we found it".
ADDRESSING = re.compile(r"[ \t]*(?:[:,;]+|[–-]+(?=[ \t]))")


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


def mentions(said: Said) -> list[str]:
    """The ids of the people who are mentioned, in their order."""
    return [run.user for paragraph in said for run in paragraph.runs if run.user]


def after_mention(said: Said, ours: Collection[str]) -> Said | None:
    """What follows the first mention of one of these people; None where there is none.

    Who quotes a mention, or lists it, speaks of the app and not to it.
    """
    for at, paragraph in enumerate(said):
        if paragraph.kind != "text":
            continue
        for place, run in enumerate(paragraph.runs):
            if run.user and run.user in ours:
                runs = _unaddressed(paragraph.runs[place + 1 :])
                rest = paragraph._replace(runs=runs)
                return (rest, *said[at + 1 :])
    return None


def _unaddressed(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    if not runs:
        return ()
    first = runs[0]
    addressing = ADDRESSING.match(first.text)
    if addressing:
        first = first._replace(text=first.text[addressing.end() :])
    return (first, *runs[1:])


def visible(said: Said) -> str:
    """The words as they look, without any formatting."""
    lines = []
    for paragraph in said:
        text = without_mentions(paragraph).text.strip("\n")
        if text.strip():
            lines.append(text)
    return "\n".join(lines).strip()


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
            before = runs[-1]
            runs[-1] = before._replace(text=before.text.rstrip(" "))
        gap = False
        if runs and runs[-1]._replace(text=run.text) == run:
            joined = runs[-1].text + run.text
            runs[-1] = run._replace(text=joined)
        elif run.text:
            runs.append(run)
    return paragraph._replace(runs=tuple(runs))
