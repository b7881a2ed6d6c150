"""What staff write, which is Markdown, as HTML and as plain text, safe wherever it is shown."""

import re
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).disable(["image", "heading", "lheading"])
TAGS = {"p", "br", "hr", "strong", "em", "code", "pre", "blockquote", "ul", "ol", "li", "a"}
SCHEMES = {"http", "https", "mailto"}
LONGEST = 20_000  # UTF-16 units that are looked at


def cut(text: str, limit: int) -> str:
    """Shortens to so many UTF-16 units, the stricter of the two ways in which Slack may count."""
    raw = text.encode("utf-16-le", "replace")  # replaces what is no character and would break the request
    if len(raw) <= 2 * limit:
        return raw.decode("utf-16-le")
    return raw[: 2 * limit - 2].decode("utf-16-le", "ignore") + "…"


# A change leaves nearly all words as they were: each text is read once.
@lru_cache(4096)
def html(text: str) -> str:
    rendered: str = MARKDOWN.render(cut(text, LONGEST))
    return nh3.clean(rendered, tags=TAGS, attributes={"a": {"href"}}, url_schemes=SCHEMES, link_rel="noopener nofollow")


@lru_cache(4096)
def plain_text(text: str) -> str:
    """The words without their marks; an address follows what it is linked to. It is not escaped for anything."""
    made = ""
    for token in MARKDOWN.parse(cut(text, LONGEST).replace("\0", "")):
        match token.type:
            case "inline":
                made += _words(token.children or [])
            case "fence" | "code_block":
                made += f"{token.content}\n"
            case "list_item_open":
                made += f"{token.info}. " if token.info else "- "
            case "paragraph_close":
                made += "\n" if token.hidden else "\n\n"
            case "bullet_list_close" | "ordered_list_close":
                made += "\n"
    return re.sub("\n{3,}", "\n\n", made).strip()


def _words(tokens: list[Token]) -> str:
    made, opened, address = "", 0, ""
    for token in tokens:
        if token.type == "link_open":
            opened, address = len(made), "" if token.markup == "autolink" else str(token.attrGet("href"))
        elif token.type == "link_close":
            made += f" ({address})" if address not in ("", made[opened:]) else ""
        else:
            made += "\n" if token.type.endswith("break") else token.content
    return made
