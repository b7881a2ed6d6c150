"""The limits of blocks and views: one case beside each edge."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monostat.demo import blockkit

Json = dict[str, Any]


def plain(text: str = "Hello") -> Json:
    return {"type": "plain_text", "text": text, "emoji": True}


def mrkdwn(text: str = "Hello") -> Json:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def section(text: str = "Hello", **more: Any) -> Json:
    return {"type": "section", "text": mrkdwn(text), **more}


def button(**more: Any) -> Json:
    return {"type": "button", "action_id": "go", "text": plain("Go"), "value": "inc-1", **more}


def option(value: str = "a") -> Json:
    return {"text": plain(value), "value": value}


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def field(element: Json, **more: Any) -> Json:
    return {"type": "input", "block_id": "b", "label": plain(), "element": element, **more}


def select(**more: Any) -> Json:
    return {
        "type": "static_select",
        "action_id": "pick",
        "options": [option("a"), option("b")],
        **more,
    }


def modal(*blocks: Json, **more: Any) -> Json:
    return {
        "type": "modal",
        "title": plain("New"),
        "submit": plain("Save"),
        "blocks": list(blocks),
        **more,
    }


CONFIRM = {"title": plain(), "text": mrkdwn(), "confirm": plain(), "deny": plain()}
RICH = {
    "type": "rich_text",
    "elements": [
        {"type": "rich_text_section", "elements": [{"type": "text", "text": "x", "style": {"bold": True}}]},
        {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "log"}]},
        {"type": "rich_text_list", "style": "bullet", "elements": [{"type": "rich_text_section", "elements": [
            {"type": "link", "url": "https://example.org", "text": "there"}]}]},
    ],
}  # fmt: skip
TEXT_INPUT = {"type": "plain_text_input", "action_id": "v"}
FOCUSED = TEXT_INPUT | {"focus_on_load": True}


@pytest.mark.parametrize(
    "blocks",
    [
        [],
        [section("x" * 3000)],
        [{"type": "section", "fields": [mrkdwn("x" * 2000)] * 10}],
        [section(accessory=button(style="danger", url="https://example.org", confirm=CONFIRM))],
        [{"type": "header", "text": plain("x" * 150)}],
        [{"type": "context", "elements": [mrkdwn()] * 10}],
        [actions(*({**button(), "action_id": f"a{n}"} for n in range(25)))],
        [{"type": "divider"}] * 50,
        [actions(select(initial_option=option("b"), placeholder=plain("x" * 150)))],
        [
            actions(
                {
                    "type": "overflow",
                    "action_id": "more",
                    "options": [option(str(n)) for n in range(5)],
                }
            )
        ],
        [actions({"type": "datetimepicker", "action_id": "at", "initial_date_time": 1700000000})],
        [{"type": "image", "image_url": "https://example.org/a.png", "alt_text": "a"}],
        [{"type": "markdown", "text": "**x**" * 2400}],
        [RICH],
        [actions(button()) | {"block_id": "a"}, actions(button()) | {"block_id": "b"}],
    ],
)
def test_what_fits_is_taken(blocks: list[Json]) -> None:
    assert blockkit.refused_blocks(blocks) == []


@pytest.mark.parametrize(
    ("blocks", "complaint"),
    [
        ([{"type": "divider"}] * 51, "list of 0 to 50"),
        (
            [section("")],
            "must be less than 3001 characters and not empty [json-pointer:/blocks/0/text/text]",
        ),
        ([section("x" * 3001)], "must be less than 3001 characters"),
        ([{"type": "section", "fields": [mrkdwn("x" * 2001)]}], "2001 characters"),
        ([{"type": "section", "fields": [mrkdwn()] * 11}], "list of 1 to 10"),
        ([{"type": "section"}], "text or fields"),
        ([section(expnad=True)], "invalid additional property: expnad [json-pointer:/blocks/0]"),
        ([section(block_id=None)], "must provide an object [json-pointer:/blocks/0/block_id]"),
        ([section(block_id="x" * 256)], "256 characters"),
        (
            [{"type": "section", "text": plain() | {"verbatim": True}}],
            "invalid additional property: verbatim",
        ),
        (
            [{"type": "section", "text": mrkdwn() | {"emoji": True}}],
            "invalid additional property: emoji",
        ),
        ([{"type": "section", "text": "bare"}], "unsupported type"),
        ([{"type": "header", "text": plain("x" * 151)}], "151 characters"),
        ([{"type": "header", "text": mrkdwn()}], "unsupported type: mrkdwn"),
        ([{"type": "context", "elements": [mrkdwn()] * 11}], "list of 1 to 10"),
        ([{"type": "context", "elements": [button()]}], "unsupported type: button"),
        ([actions(*[button()] * 26)], "list of 1 to 25"),
        ([actions()], "list of 1 to 25"),
        ([actions(button(), button())], "action_id already exists"),
        ([section(block_id="a"), section(block_id="a")], "block_id already exists"),
        ([actions(button(text=plain("x" * 76)))], "76 characters"),
        ([actions(button(text=mrkdwn()))], "unsupported type: mrkdwn"),
        ([actions(button(value="x" * 2001))], "2001 characters"),
        ([actions(button(url="x" * 3001))], "3001 characters"),
        ([actions(button(style="default"))], "must match primary|danger"),
        ([actions(button(accessibility_label="x" * 76))], "76 characters"),
        ([actions(button(action_id="x" * 256))], "256 characters"),
        ([actions(button(confirm=CONFIRM | {"title": plain("x" * 101)}))], "101 characters"),
        ([actions(button(confirm=CONFIRM | {"text": plain("x" * 301)}))], "301 characters"),
        ([actions(button(confirm=CONFIRM | {"deny": plain("x" * 31)}))], "31 characters"),
        ([actions({"type": "button", "action_id": "go"})], "missing required field: text"),
        ([actions(select(options=[]))], "list of 1 to 100"),
        ([actions(select(options=[option(str(n)) for n in range(101)]))], "list of 1 to 100"),
        ([actions(select(options=[option("x" * 76)]))], "76 characters"),
        ([actions(select(options=[{"text": plain(), "value": "x" * 151}]))], "151 characters"),
        ([actions(select(initial_option=option("z")))], "initial option must equal an option"),
        ([actions(select(placeholder=plain("x" * 151)))], "151 characters"),
        (
            [actions({"type": "overflow", "options": [option(str(n)) for n in range(6)]})],
            "list of 1 to 5",
        ),
        (
            [actions({"type": "radio_buttons", "options": [option(str(n)) for n in range(11)]})],
            "list of 1 to 10",
        ),
        (
            [actions({"type": "datetimepicker", "initial_date_time": 170000000})],
            "must be an integer",
        ),
        (
            [actions({"type": "datetimepicker", "initial_date_time": "1700000000"})],
            "must be an integer",
        ),
        ([actions(TEXT_INPUT)], "unsupported type: plain_text_input"),
        ([section(accessory={"type": "datetimepicker"})], "unsupported type: datetimepicker"),
        (
            [{"type": "image", "image_url": "https://example.org/a.png"}],
            "missing required field: alt_text",
        ),
        ([{"type": "markdown", "text": "x" * 6001}] * 2, "12001 characters together"),
        ([{"type": "mystery"}], "unsupported type: mystery"),
        (["text"], "unsupported type: None"),
        ({"type": "divider"}, "must be a list"),
    ],
)
def test_what_slack_refuses_is_refused(blocks: Any, complaint: str) -> None:
    assert complaint in " ".join(blockkit.refused_blocks(blocks))


@pytest.mark.parametrize(
    "view",
    [
        modal(
            field(
                TEXT_INPUT | {"multiline": True, "max_length": 3000, "initial_value": "x" * 3000},
                optional=True,
            )
        ),
        modal(*[{"type": "divider"}] * 100, title=plain("x" * 24), private_metadata="x" * 3000),
        modal(field({"type": "checkboxes", "options": [option()], "initial_options": [option()]})),
        modal(field({"type": "datetimepicker", "initial_date_time": 1700000000})),
        modal(field({"type": "rich_text_input", "initial_value": RICH})),
        modal(
            section(),
            notify_on_close=True,
            clear_on_close=True,
            callback_id="c",
            external_id="e",
            private_metadata="",
        ),
        {"type": "modal", "title": plain(), "blocks": [section()]},
        {"type": "home", "blocks": [section(), actions(button())], "private_metadata": "x"},
    ],
)
def test_a_view_that_fits_is_taken(view: Json) -> None:
    assert blockkit.refused_view(view) == []


@pytest.mark.parametrize(
    ("view", "complaint"),
    [
        (modal(section(), title=plain("x" * 25)), "must be less than 25 characters and not empty"),
        (modal(section(), submit=plain("x" * 25)), "25 characters"),
        (modal(section(), close=plain("x" * 25)), "25 characters"),
        (modal(section(), close=None), "must provide an object [json-pointer:/view/close]"),
        (modal(section(), private_metadata="x" * 3001), "3001 characters"),
        (modal(section(), callback_id="x" * 256), "256 characters"),
        (modal(*[{"type": "divider"}] * 101), "list of 1 to 100"),
        (modal(), "list of 1 to 100"),
        (modal({"type": "markdown", "text": "x"}), "unsupported type: markdown"),
        (modal(field(button())), "unsupported type: button"),
        (modal(field(TEXT_INPUT, label=mrkdwn())), "unsupported type: mrkdwn"),
        (modal(field(TEXT_INPUT, hint=plain("x" * 2001))), "2001 characters"),
        (modal(field(TEXT_INPUT | {"max_length": 3001})), "must be an integer from 1 to 3000"),
        (modal(field(TEXT_INPUT | {"initial_value": ""})), "not empty"),
        (modal(field(TEXT_INPUT | {"max_length": 1, "initial_value": "🔥"})), "2 characters"),
        (modal(field(TEXT_INPUT), field(TEXT_INPUT)), "block_id already exists"),
        (modal(field(FOCUSED), field(FOCUSED, block_id="c")), "one"),
        (modal(section(), color="red"), "invalid additional property: color"),
        ({"type": "modal", "title": plain(), "blocks": [field(TEXT_INPUT)]}, "must define `submit`"),
        ({"type": "modal", "blocks": [section()]}, "missing required field: title"),
        ({"type": "home", "title": plain(), "blocks": [section()]}, "invalid additional property: title"),
        ({"type": "workflow_step", "blocks": []}, "modal or home"),
        (None, "modal or home"),
    ],
)  # fmt: skip
def test_a_view_that_slack_refuses_is_refused(view: Any, complaint: str) -> None:
    assert complaint in " ".join(blockkit.refused_view(view))


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from(["section", "actions", "button"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "elements", "block_id", "accessory", "options", "initial_option"]
            ),
            inner,
        )
    ),
)


@given(junk)
def test_no_payload_however_odd_makes_the_checks_stumble(payload: Any) -> None:
    blockkit.refused_blocks(payload)
    blockkit.refused_blocks([payload])
    blockkit.refused_view(payload)
    blockkit.fault_of_metadata(payload)


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"event_type": "monostat_post", "event_payload": {"key": "a", "n": 1, "b": True}}, None),
        ({}, None),
        ({"event_type": "monostat-post", "event_payload": {}}, "invalid_metadata_format"),
        ({"event_type": "monostat_post"}, "invalid_metadata_format"),
        (
            {"event_type": "monostat_post", "event_payload": {"key": None}},
            "invalid_metadata_format",
        ),
        ([], "invalid_metadata_format"),
        (
            {"event_type": "monostat_post", "event_payload": {"key": "x" * 1024}},
            "metadata_too_large",
        ),
    ],
)
def test_metadata_is_flat_and_small(metadata: Any, error: str | None) -> None:
    assert blockkit.fault_of_metadata(metadata) == error


def test_only_what_slack_parses_can_ping_anybody() -> None:
    silent = [
        "&lt;!channel&gt; <https://example.org|here>",
        {"type": "plain_text", "text": "<!channel>"},
        {"type": "rich_text_section", "elements": [{"type": "text", "text": "<!here>"}]},
        actions(button(value="<@U1>")),
    ]
    assert blockkit.live_mentions(silent) == []
    assert blockkit.live_mentions("<!channel> <!here|x> <@U1> <!subteam^S1>") == [
        "<!channel>",
        "<!here|x>",
        "<@U1>",
        "<!subteam^S1>",
    ]
    loud = {"type": "rich_text_section", "elements": [{"type": "broadcast", "range": "here"}]}
    assert blockkit.live_mentions([section("<!everyone>"), loud]) == ["<!everyone>", "<!here>"]
