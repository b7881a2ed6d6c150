"""What Slack showed is what readers see: messages as Slack sends them, and their public words."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monostat.slack.commands import parse_command
from monostat.slack.markup import parse_text
from monostat.slack.mrkdwn import shown_text, to_markdown
from monostat.slack.rich_text import parse_message
from monostat.slack.said import after_mention, visible

ME = "UBOT"


def text(words: str, **style: bool) -> dict[str, Any]:
    return {"type": "text", "text": words} | ({"style": style} if style else {})


def message(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"text": "of before", "blocks": [{"type": "rich_text", "elements": list(elements)}]}


def section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def items(style: str, *words: str, **more: int) -> dict[str, Any]:
    rows = [section(text(each)) for each in words]
    return {"type": "rich_text_list", "style": style, "elements": rows} | more


MENTION = {"type": "user", "user_id": ME}
SOMEBODY = {"type": "user", "user_id": "U1"}
TADA = {"type": "emoji", "name": "tada", "unicode": "1f389"}
CUSTOM = {"type": "emoji", "name": "our-logo"}


@pytest.mark.parametrize(
    ("elements", "markdown"),
    [
        ([section(text("5*3*2 and __init__"))], r"5\*3\*2 and \_\_init\_\_"),
        ([section(text("a "), TADA, CUSTOM, text(" b"))], "a 🎉 b"),
        ([section(text("thanks "), SOMEBODY, text(", it works"))], "thanks, it works"),
        ([section(text("it", bold=True, italic=True), text(" is"))], "_**it**_ is"),
        ([section(text("gone", strike=True))], "~~gone~~"),
        ([section(text("gone", unlink=True, underline=True))], "gone"),
        (
            [section({"type": "link", "url": "https://x.example/a_b*c", "text": "*x*"})],
            r"[\*x\*](https://x.example/a_b*c)",
        ),
        ([section({"type": "link", "url": "https://x.example"})], "<https://x.example>"),
        (
            [{"type": "rich_text_preformatted", "elements": [text("if x:\n    y = 1")]}],
            "```\nif x:\n    y = 1\n```",
        ),
        (
            [
                section(text("Two:\n")),
                items("ordered", "a", "b"),
                items("bullet", "c", indent=1),
                items("ordered", "d", offset=2),
                section(text("\nthen")),
            ],
            "Two:\n\n1. a\n2. b\n    - c\n3. d\n\nthen",
        ),
        (
            [{"type": "rich_text_quote", "elements": [text("one\ntwo")]}, section(text("three"))],
            "> one\n> two\n\nthree",
        ),
        ([section({"type": "hologram", "text": "new"}, {"type": "hologram"})], "new"),
        ([section({"type": "date", "fallback": "today"})], "today"),
    ],
)
def test_blocks_become_the_markdown_that_shows_the_same(
    elements: list[dict[str, Any]], markdown: str
) -> None:
    said = parse_message(message(*elements))
    assert to_markdown(said) == markdown


@pytest.mark.parametrize(
    "nonsense",
    [
        {"blocks": None, "text": "x"},
        {"blocks": [None, {"type": "rich_text"}], "text": "x"},
        {"blocks": [{"type": "rich_text", "elements": "no"}], "text": "x"},
        message({"type": "rich_text_section"}, section(text("x"), {"type": "user"})),
    ],
)
def test_whatever_slack_sends_is_read(nonsense: dict[str, Any]) -> None:
    assert to_markdown(parse_message(nonsense)) == "x"


def test_words_before_the_mention_are_not_published_wherever_it_stands() -> None:
    said = parse_message(
        message(
            section(text("the password is hunter2")),
            items("bullet", "still secret"),
            section(text("for us "), MENTION, text(" we found "), SOMEBODY, MENTION, text(" it")),
            items("bullet", "the disk"),
        )
    )
    after = after_mention(said, {ME})
    assert after
    assert to_markdown(after) == "we found it\n\n- the disk"
    assert after_mention(parse_message(message(section(text("UBOT says")))), {ME}) is None


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        (": we found it", "we found it"),
        (", we found it", "we found it"),
        (" - we found it", "we found it"),
        (" – help", "help"),
        (" -5 degrees", "-5 degrees"),
        ("\n- one\n- two", "- one\n- two"),
    ],
)
def test_what_only_addresses_the_app_is_no_word_for_readers(words: str, rest: str) -> None:
    for said in (
        parse_message(message(section(MENTION, text(words)))),
        parse_text(f"<@{ME}>{words}"),
    ):
        after = after_mention(said, {ME})
        assert after
        assert visible(after) == rest


@pytest.mark.parametrize(
    "element",
    [
        {"type": "rich_text_quote", "elements": [MENTION, text(" resolved: hunter2")]},
        {"type": "rich_text_preformatted", "elements": [MENTION, text(" resolved: hunter2")]},
        items("bullet", "a") | {"elements": [section(MENTION, text(" resolved: hunter2"))]},
    ],
)
def test_who_only_quotes_or_lists_a_mention_publishes_nothing(element: dict[str, Any]) -> None:
    said = parse_message(message(element, section(text("\nDid we say this?"))))
    assert after_mention(said, {ME}) is None
    answered = parse_message(message(element, section(MENTION, text(" we did"))))
    after = after_mention(answered, {ME})
    assert after
    assert to_markdown(after) == "we did"


@pytest.mark.parametrize(
    ("words", "name", "number", "rest"),
    [
        ("help", "help", None, ""),
        ("--help", "help", None, ""),
        ("/statuspage resolve 1", "help", None, ""),
        ("/status answers 500", "", None, "/status answers 500"),
        ("resolve 1, please look", "resolve", 1, "please look"),
        ("new", "create", None, ""),
        ("resolve: x", "resolve", None, "x"),
        ("resolve 1", "resolve", 1, ""),
        ("Resolve #1 the disk", "resolve", 1, "the disk"),
        ("take-down", "take_down", None, ""),
        ("Post update…", "update", None, ""),
        ("Still working on it", "still_working", None, ""),
        ("title: __init__ *fails*", "title", None, "__init__ fails"),
        ("outage: it is down", "outage", None, "it is down"),
        ("#17", "show", 17, ""),
        ("maintenance: Move", "plan", None, "Move"),
        ("Maintenance job is stuck", "", None, "Maintenance job is stuck"),
        ("Update server is slow", "", None, "Update server is slow"),
        ("Update 10:30: all is well", "", None, "Update 10:30: all is well"),
        ("resolved 3 of 5", "", None, "resolved 3 of 5"),
        ("resolved 17", "resolve", 17, ""),
        ("Resolved #17 the disk", "resolve", 17, "the disk"),
        ("partial 1: half", "partial", 1, "half"),
        ("partial 1 of 3", "", None, "partial 1 of 3"),
        ("Completed 17", "resolve", 17, ""),
        ("Extend 30 min", "extend", None, ""),
        ("postpone 30 min #17", "postpone", 17, ""),
        ("Announce now", "send", None, ""),
        ("It is real: partial", "partial", None, ""),
        ("It is real: outage: it is down", "outage", None, "it is down"),
        ("It is real #17: partial", "partial", 17, ""),
        ("confirm: partially so", "confirm", None, "partially so"),
        ("monostat incident resolve 1", "help", None, ""),
        ("we help", "", None, "we help"),
    ],
)
def test_a_command_stands_alone_before_a_colon_or_before_a_number(
    words: str, name: str, number: int | None, rest: str
) -> None:
    command = parse_command(parse_text(words), "/statuspage")
    assert (command.name, command.number, visible(command.rest)) == (name, number, rest)


# Whatever is written.

NASTY = st.text(st.sampled_from("ab 1.-+#>*_~`[]()<>&!\\|=:/\n\t’é🔥"), max_size=14)
STYLED = st.builds(
    lambda words, style: text(words, **dict.fromkeys(style, True)),
    NASTY,
    st.sets(st.sampled_from(("bold", "italic", "strike", "code", "underline")), max_size=3),
)
LINKS = st.builds(
    lambda url, label: {"type": "link", "url": url} | ({"text": label} if label else {}),
    st.sampled_from(("https://x.example/a_b", "https://x.example/(a)*b*?c=%20d", "mailto:a@b.c")),
    NASTY,
)
OTHERS = st.sampled_from((TADA, CUSTOM, SOMEBODY, {"type": "broadcast", "range": "here"}))
INLINE = st.lists(STYLED | LINKS | OTHERS, max_size=5)
BLOCKS = st.one_of(
    INLINE.map(lambda elements: section(*elements)),
    INLINE.map(lambda elements: {"type": "rich_text_quote", "elements": elements}),
    NASTY.map(lambda words: {"type": "rich_text_preformatted", "elements": [text(words)]}),
    st.builds(
        lambda style, rows, indent, offset: {
            "type": "rich_text_list",
            "style": style,
            "elements": [section(*row) for row in rows],
            "indent": indent,
            "offset": offset,
        },
        st.sampled_from(("bullet", "ordered")),
        st.lists(INLINE, max_size=3),
        st.integers(0, 3),
        st.integers(0, 12),
    ),
)


def shown_in(elements: list[dict[str, Any]]) -> str:
    """The characters that Slack shows, told apart from how the package reads them."""
    words = ""
    for element in elements:
        match element:
            case {"type": "emoji", "unicode": "1f389"}:
                words += "🎉"
            case {"type": "link", "url": url}:
                words += element.get("text") or url
            case {"type": "text", "text": own}:
                words += own
            case {"elements": inner}:
                words += shown_in(inner)
    return "".join(words.split())


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(BLOCKS, max_size=3), INLINE, INLINE, st.lists(BLOCKS, max_size=4))
def test_the_public_words_are_the_visible_words_after_the_mention_and_no_others(
    before: list[dict[str, Any]],
    left: list[dict[str, Any]],
    right: list[dict[str, Any]],
    after: list[dict[str, Any]],
) -> None:
    said = after_mention(
        parse_message(message(*before, section(*left, MENTION, *right), *after)), {ME}
    )
    assert said is not None
    wanted = shown_in([*right, *after])
    addressed = re.compile(r"[:,;–-]*").match(wanted)
    assert addressed
    published = "".join(visible(said).split())
    assert published in {wanted[place:] for place in range(addressed.end() + 1)}
    wanted = published
    assert "".join(shown_text(to_markdown(said)).split()) == wanted
