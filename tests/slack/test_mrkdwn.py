"""Slack's way of writing and Markdown, each turned into the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monostat.core.markdown import html
from monostat.demo import blockkit
from monostat.slack.markup import parse_text
from monostat.slack.messages import format_markdown, section
from monostat.slack.mrkdwn import from_markdown, to_markdown


@pytest.mark.parametrize(
    ("slack", "markdown"),
    [
        ("we found *it* and _more_ and ~less~", "we found **it** and _more_ and ~~less~~"),
        ("<https://x.example|read more>", "[read more](https://x.example)"),
        ("see <https://x.example>", "see <https://x.example>"),
        ("<https://x.example/?a=1&amp;b=2|b>", "[b](https://x.example/?a=1&b=2)"),
        ("thanks <@U1>, not <@U2>", "thanks, not"),
        ("<!here> <!subteam^S1|@team> look", "look"),
        ("in <#C1|ops> and <#C2>", "in and"),
        ("1 &lt; 2 &amp;&amp; 3 * 4 * 5", "1 < 2 && 3 * 4 * 5"),
        ("`a *b*` and ```*c*```", "`a *b*` and\n\n```\n*c*\n```"),
        ("5*3*2 and __init__", r"5\*3\*2 and \_\_init\_\_"),
        (":tada: at 10:30:45 :our-logo: :+1:", "🎉 at 10:30:45  👍"),
        ("&gt; quoted\nand more", "> quoted\n\nand more"),
        ("1. nor\n- a list", "1\\. nor\n\\- a list"),
        ("<https://x.example/a_b_(c)|*x*>", r"[\*x\*](https://x.example/a_b_%28c%29)"),
        ("• one\n• two", "• one\n• two"),
        ("```if x:\n    y  = 1```", "```\nif x:\n    y  = 1\n```"),
        ("<https://x.example|a]b>", "[a\\]b](https://x.example)"),
    ],
)
def test_what_staff_write_becomes_markdown(slack: str, markdown: str) -> None:
    assert to_markdown(parse_text(slack)) == markdown


@pytest.mark.parametrize(
    ("markdown", "slack"),
    [
        ("**it** and __that__ and ~~less~~", "*it* and *that* and ~less~"),
        ("[read more](https://x.example/?a=1&b=2)", "<https://x.example/?a=1&amp;b=2|read more>"),
        ("[x](javascript:alert)", "[x](javascript:alert)"),
        (
            "<!channel> <@U1> & <https://x|y>",
            "&lt;!channel&gt; &lt;@U1&gt; &amp; <https://x%7Cy|https://x|y>",
        ),
        ("`**a**`", "`**a**`"),
        ("- a\n- *b*\n\n1. c", "• a\n• _b_\n\n1. c"),
        ("> *a*\n> b\n\n5\\*3\\*2", "> _a_\n> b\n\n5*3*2"),
        ("[x](https://a.example/a__b__c) **b**", "<https://a.example/a__b__c|x> *b*"),
    ],
)
def test_markdown_becomes_what_slack_shows(markdown: str, slack: str) -> None:
    assert from_markdown(markdown) == slack


@given(st.text(alphabet="<>!@#|&*_~`[]() ahtps:/.x{}%\n", max_size=60))
def test_nothing_that_is_written_comes_alive_or_breaks_a_message(text: str) -> None:
    made = format_markdown(text)
    assert blockkit.refused_blocks([section("text", made)]) == []
    assert blockkit.live_mentions(made) == []
    assert "<script" not in html(to_markdown(parse_text(text)))
