"""What somebody said in Slack, read from the blocks of a message, or its text where it has none.

What Slack showed is what is read: https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
"""

from collections.abc import Iterator, Mapping

from monostat.core.lenient import Json, objects_of
from monostat.slack.emoji import character
from monostat.slack.markup import parse_text
from monostat.slack.said import Paragraph, Run, Said

STYLES = ("bold", "italic", "strike", "code")
#: Whom or what these name is nobody's business but the staff's.
PRIVATE = ("user", "usergroup", "channel", "broadcast")
MOST_NUMBER = 9_999  # of an item of a list


def parse_message(message: Json) -> Said:
    """What a message says, mentions included."""
    elements: list[Json] = []
    for block in objects_of(message.get("blocks")):
        if block.get("type") == "rich_text":
            elements += objects_of(block.get("elements"))
    if not elements:
        text = str(message.get("text") or "")
        return parse_text(text)
    paragraphs: list[Paragraph] = []
    for element in elements:
        paragraphs += _paragraphs(element)
    return tuple(paragraphs)


def _paragraphs(element: Json) -> Iterator[Paragraph]:
    match element.get("type"):
        case "rich_text_list":
            yield from _items(element)
        case "rich_text_preformatted":
            runs = _runs(element)
            text = "".join(run.text for run in runs)
            yield Paragraph("code", (Run(text),))
        case "rich_text_quote":
            yield Paragraph("quote", _runs(element))
        case _:
            yield Paragraph("text", _runs(element))


def _items(element: Json) -> Iterator[Paragraph]:
    kind = "ordered" if element.get("style") == "ordered" else "bullet"
    indent = _whole(element.get("indent"))
    first = _whole(element.get("offset")) + 1
    items = objects_of(element.get("elements"))
    for number, item in enumerate(items, first):
        yield Paragraph(kind, _runs(item), indent, number)


def _whole(value: object) -> int:
    if isinstance(value, int) and 0 <= value <= MOST_NUMBER:
        return value
    return 0


def _runs(element: Json) -> tuple[Run, ...]:
    inner = objects_of(element.get("elements"))
    return tuple(_run(each) for each in inner)


def _run(element: Json) -> Run:
    """One element; of a kind that is not known, what is visible of it."""
    kind = element.get("type")
    look = _look(element.get("style"))
    if kind in PRIVATE:
        user = _word(element, "user_id") or str(kind)
        return Run("", user=user)
    match kind:
        case "link":
            url = _word(element, "url")
            return Run(_word(element, "text") or url, look, url)
        case "emoji":
            name = _word(element, "name")
            code_points = _word(element, "unicode")
            sign = character(name, code_points)
            return Run(sign, look)
        case "date":
            return Run(_word(element, "fallback"), look)
        case "color":
            return Run(_word(element, "value"), look)
        case _:
            return Run(_word(element, "text"), look)


def _look(style: object) -> frozenset[str]:
    if not isinstance(style, Mapping):
        return frozenset()
    return frozenset(name for name in STYLES if style.get(name) is True)


def _word(element: Json, name: str) -> str:
    return str(element.get(name) or "")
