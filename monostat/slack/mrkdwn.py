"""What somebody said in Slack as Markdown, and Markdown as Slack shows it.

https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from html import escape as entities

from markdown_it.token import Token

from monostat.core.markdown import parsed
from monostat.slack.said import Paragraph, Run, Said, visible, without_mentions

Escape = Callable[[str], str]

# -- To Markdown

MARKS = {"bold": "**", "italic": "_", "strike": "~~"}
SPECIAL = re.compile(r"[\\`*_\[\]<&~]")
#: Begins what Markdown would take for an item, a quote, a rule or a heading.
BEGINNING = re.compile(r"^(\s*)(?:([#>+=-])|(\d{1,9})([.)]))")
LINKED = re.compile(r"(?:https?://|mailto:)\S+", re.IGNORECASE)
#: An address that Markdown shows as it is.
SIMPLE = re.compile(r"https?://[\w./:?=+-]+", re.ASCII)
UNFIT = re.compile(r"[\s()<>\[\]\\|]")


def to_markdown(said: Said) -> str:
    """The words as Markdown that readers see as Slack has shown them; mentions are left out.

    Marks are escaped only where they would be read as such, and formatting goes where Markdown
    cannot have it: the words come first.
    """
    paragraphs = [without_mentions(paragraph) for paragraph in said]
    wanted = _without_gaps(visible(said))
    made = ""
    for escape, is_styled in ((str, True), (_escaped, True), (_escaped, False), (str, False)):
        made = _written(paragraphs, escape, is_styled=is_styled)
        if _without_gaps(shown_text(made)) == wanted:
            break
    return made


def shown_text(markdown: str) -> str:
    """What readers see of Markdown, without its formatting."""
    words = []
    for token in parsed(markdown):
        if token.type == "inline":
            words += [child.content or "\n" for child in token.children or []]
        else:
            words.append(token.content)
    return "".join(words)


def _without_gaps(text: str) -> str:
    return "".join(text.split())


def _escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", text)


def _written(paragraphs: Sequence[Paragraph], escape: Escape, *, is_styled: bool) -> str:
    """All paragraphs; items of a list stand in lines that follow each other."""
    made = ""
    margins: list[int] = []  # of the lists that are open, the outermost first
    for paragraph in paragraphs:
        is_item = paragraph.kind in ("bullet", "ordered")
        inner = [margin for margin in margins if margin < paragraph.indent]
        text = _paragraph(paragraph, escape, len(inner), is_styled=is_styled)
        if not text:
            continue
        # A list that begins with another number than one would go on with the item's own words.
        is_new = len(inner) == len(margins) and paragraph.number != 1
        if made and is_item and margins and not is_new:
            made += "\n"
        elif made:
            made += "\n\n"
        made += text
        margins = []
        if is_item:
            margins = [*inner, paragraph.indent]
    return made


def _paragraph(paragraph: Paragraph, escape: Escape, depth: int, *, is_styled: bool) -> str:
    if paragraph.kind == "code":
        text = paragraph.text.strip("\n")
        if not text.strip():
            return ""
        ticks = max((len(run) for run in re.findall("`+", text)), default=0)
        fence = "`" * max(3, ticks + 1)
        return f"{fence}\n{text}\n{fence}"
    write = partial(_run, escape=escape, is_styled=is_styled)
    lines = "".join(map(write, paragraph.runs)).strip().split("\n")
    if escape is _escaped:
        lines = [BEGINNING.sub(r"\1\3\\\2\4", line.strip()) for line in lines]
    lines = [line.strip() for line in lines]
    if not any(lines):
        return ""
    if paragraph.kind == "quote":
        return "\n".join(f"> {line}" for line in lines)
    if paragraph.kind == "text":
        return "\n".join(lines)
    mark = f"{paragraph.number}. " if paragraph.kind == "ordered" else "- "
    margin = " " * (4 * depth)
    return f"\n{margin}{' ' * len(mark)}".join([margin + mark + lines[0], *lines[1:]])


def _run(run: Run, escape: Escape, *, is_styled: bool) -> str:
    """Characters of one look, whose marks Markdown wants around the words of each line."""
    if not is_styled:
        return escape(run.text)
    lines = []
    for line in run.text.split("\n"):
        words = line.strip()
        if words:
            before, _, after = line.partition(words)
            lines.append(before + _marked(words, run, escape) + after)
        else:
            lines.append(line)
    return "\n".join(lines)


def _marked(words: str, run: Run, escape: Escape) -> str:
    marked = escape(words)
    if "code" in run.style:
        ticks = "`" * (1 + max((len(each) for each in re.findall("`+", words)), default=0))
        edge = ""
        if "`" in (words[0], words[-1]):
            edge = " "
        marked = f"{ticks}{edge}{words}{edge}{ticks}"
    if run.url == words and SIMPLE.fullmatch(words):
        marked = f"<{words}>"
    elif LINKED.fullmatch(run.url):
        url = UNFIT.sub(lambda unfit: f"%{ord(unfit[0]):02X}", run.url)
        if "\\" not in marked:
            marked = re.sub(r"[\[\]]", r"\\\g<0>", marked)
        marked = f"[{marked}]({url})"
    for name, mark in MARKS.items():
        if name in run.style:
            marked = f"{mark}{marked}{mark}"
    return marked


# -- From Markdown

WRITTEN = {
    "strong_open": "*",
    "strong_close": "*",
    "em_open": "_",
    "em_close": "_",
    "s_open": "~",
    "s_close": "~",
    "softbreak": "\n",
    "hardbreak": "\n",
}


def from_markdown(text: str) -> str:
    """Markdown as Slack shows it, with nothing in it that Slack would take for a mention.

    It is not shortened.
    """
    made = ""
    quotes = 0
    depth = 0
    for token in parsed(text):
        match token.type:
            case "blockquote_open" | "blockquote_close":
                quotes += token.nesting
            case "bullet_list_open" | "ordered_list_open":
                depth += 1
            case "bullet_list_close" | "ordered_list_close":
                depth -= 1
                if not depth:
                    made += "\n"
            case "list_item_open":
                made += "    " * (depth - 1)
                bullet = f"{token.info}. " if token.info else "• "
                made += bullet
            case "inline":
                words = _inline_to_mrkdwn(token.children or [])
                if quotes:
                    words = re.sub("^", "> ", words, flags=re.MULTILINE)
                made += words
            case "paragraph_close":
                made += "\n"
                if not (token.hidden or depth):
                    made += "\n"
            case "fence" | "code_block":
                made += f"```\n{entities(token.content, quote=False)}```\n\n"
            case "hr":
                made += "———\n\n"
    return re.sub("\n{3,}", "\n\n", made).strip()


def _inline_to_mrkdwn(tokens: Sequence[Token]) -> str:
    made = ""
    is_link = False
    for token in tokens:
        content = entities(token.content, quote=False)
        match token.type:
            case "link_open":
                is_link = True
                made += f"<{entities(str(token.attrGet('href')), quote=False)}|"
            case "link_close":
                is_link = False
                made += ">"
            case "code_inline" if not is_link:
                made += f"`{content}`"
            case "softbreak" | "hardbreak" if is_link:
                made += " "
            case kind if kind in WRITTEN:
                if not is_link:
                    made += WRITTEN[kind]
            case _:
                made += content
    return made
