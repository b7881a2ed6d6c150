"""What staff write, which is Markdown, as HTML and as plain text, safe wherever it is shown.

No text raises, or takes longer than its length explains: one that nobody would write is shown as it
was written.
"""

import codecs
import re
from collections.abc import Callable
from functools import wraps

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from monostat.core.text import sound

# Links by reference are left out: looking for what defines them takes time that grows faster than
# the text.
UNWANTED = ["image", "heading", "lheading", "reference"]
MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).disable(UNWANTED)
MARKDOWN.enable("strikethrough")
AS_WRITTEN = MarkdownIt("zero", {"html": False, "breaks": True}).enable("newline")
TAGS = {"p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"}
SCHEMES = {"http", "https", "mailto"}
MAX_TEXT_LENGTH = 20_000  # characters; more is refused where staff write it: `incidents.perform`
# What takes time, and how many of them are read as marks.
MARKS = re.compile(r"[\n\[\]*_`<!\\&]")
MOST_MARKS = 4_000
REMEMBERED = 10_000_000  # characters of texts, and of what was made of them


# Python reads a codec from disk at its first use, when the table of files may be full.
codecs.lookup("utf-16-le")


def cut(text: str, limit: int) -> str:
    """Shortens to `limit` UTF-16 units, the stricter of the two ways in which Slack may count."""
    # What is not a character is replaced: it would break the request.
    raw = text.encode("utf-16-le", "replace")
    if len(raw) <= 2 * limit:
        return raw.decode("utf-16-le")
    return raw[: 2 * limit - 2].decode("utf-16-le", "ignore") + "…"


def parsed(text: str, reader: MarkdownIt = MARKDOWN) -> list[Token]:
    """The text as Markdown; as plain lines where it has more marks than anybody writes, or `reader`
    fails.
    """
    if len(text) > MAX_TEXT_LENGTH:
        text = f"{text[: MAX_TEXT_LENGTH - 1]}…"
    text = text.encode("utf-8", "replace").decode().replace("\0", "")
    if sum(1 for _ in MARKS.finditer(text)) <= MOST_MARKS:
        try:
            return reader.parse(text)
        # What is saved must be shown, whatever a library makes of it.
        except Exception:  # noqa: BLE001, S110
            pass
    return AS_WRITTEN.parse(text)


def remembered(make: Callable[[str], str]) -> Callable[[str], str]:
    """Has `make` read each text once: a change leaves nearly all words as they were."""
    known: dict[str, str] = {}
    held = 0

    @wraps(make)
    def recall(text: str) -> str:
        nonlocal held
        if (found := known.get(text)) is None:
            found = known[text] = make(text)
            held += len(text) + len(found)
        while held > REMEMBERED:
            oldest = next(iter(known))
            held -= len(oldest) + len(known.pop(oldest))
        return found

    return recall


@remembered
def html(text: str) -> str:
    """The text as HTML of few kinds of elements, safe in a page."""
    rendered: str = MARKDOWN.renderer.render(parsed(text), MARKDOWN.options, {})
    clean = nh3.clean(
        rendered,
        tags=TAGS,
        attributes={"a": {"href"}},
        url_schemes=SCHEMES,
        link_rel="noopener nofollow",
        set_tag_attribute_values={"pre": {"tabindex": "0"}},  # what scrolls takes the focus
    )
    return sound(clean)


@remembered
def plain_text(text: str) -> str:
    """The words without their marks; an address follows what it is linked to. It is not escaped for
    anything.
    """
    made = ""
    for token in parsed(text):
        match token.type:
            case "inline":
                made += _words(token.children or [])
            case "fence" | "code_block":
                made += f"{token.content}\n"
            case "list_item_open" if token.info:
                made += f"{token.info}. "
            case "list_item_open":
                made += "- "
            case "paragraph_close" if not token.hidden:
                made += "\n\n"
            case "paragraph_close" | "bullet_list_close" | "ordered_list_close":
                made += "\n"
    return sound(re.sub("\n{3,}", "\n\n", made).strip())


def _words(tokens: list[Token]) -> str:
    made = ""
    label_at = 0
    address = ""
    for token in tokens:
        match token.type:
            case "link_open":
                label_at = len(made)
                address = ""
                if token.markup != "autolink":
                    address = str(token.attrGet("href"))
            case "link_close":
                if address not in ("", made[label_at:]):
                    made += f" ({address})"
            case _ if token.markup == "~~":  # without its marks it would say the opposite
                made += "~~"
            case "softbreak" | "hardbreak":
                made += "\n"
            case _:
                made += token.content
    return made
