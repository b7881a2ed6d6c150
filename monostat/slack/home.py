"""The Home tab: what is, what is planned, and what was, with the same buttons as the messages."""

import json

from monostat.core.model import OVER, PLANNED, Incident, State
from monostat.core.snapshot import in_headline_order, planned_start
from monostat.slack.messages import (
    Block,
    button,
    context,
    escape,
    row,
    section,
    status_buttons,
    text_object,
    title,
    undo_buttons,
    units,
)
from monostat.slack.text import SlackText

MOST_OF_A_GROUP = 12  # incidents
MOST_RECENT = 10  # at most core.past.NEWEST, which the state has of what is over
#: Blocks of a Home tab and of a message, and their characters:
#: https://docs.slack.dev/reference/block-kit/blocks
MOST_IN_TAB = 100
MOST_IN_MESSAGE = 50
LONGEST_TAB = 200_000
LONGEST_MESSAGE = 11_500
MORE_IN_CHANNEL = "More in the channel."
MORE_IN_TAB = "More in the Home tab."


def home_view(state: State, wording: SlackText) -> Block:
    """The Home tab of the incidents as they are now."""
    blocks = _overview(state, wording, [], MOST_IN_TAB, LONGEST_TAB, MORE_IN_CHANNEL)
    return {"type": "home", "blocks": blocks}


def overview(state: State, wording: SlackText, help_: str = "") -> list[Block]:
    """The same as a message, which has room for less; `help_`, in mrkdwn, stands above it."""
    beginning = []
    if help_:
        beginning.append(section("help", help_))
    return _overview(state, wording, beginning, MOST_IN_MESSAGE, LONGEST_MESSAGE, MORE_IN_TAB)


def _overview(
    state: State, wording: SlackText, beginning: list[Block], most: int, longest: int, more: str
) -> list[Block]:
    """Whole incidents, as many as fit in so many blocks and characters; then it says `more`."""
    incidents = sorted(state.incidents.values(), key=lambda i: i.number, reverse=True)
    open_incidents = in_headline_order(incident for incident in incidents if incident.is_open)
    planned = [incident for incident in incidents if incident.status is PLANNED]
    over = [incident for incident in incidents if incident.status in OVER]
    groups = {
        "Now": open_incidents[:MOST_OF_A_GROUP],
        "Planned": sorted(planned, key=planned_start)[:MOST_OF_A_GROUP],
        "Recent": over[:MOST_RECENT],
    }
    headline = count_in_words(len(open_incidents))
    blocks = [*beginning, section("head", f"*{headline}*"), *_makers()]
    room = longest - length_of(blocks)
    for name, group in groups.items():
        heading = [_heading(name)]
        for incident in group:
            part = [*heading, *_about(incident, state, wording)]
            room -= length_of(part)
            if room < 0 or len(blocks) + len(part) >= most:
                return [*blocks, context("more", more)]
            blocks += part
            heading = []
    return blocks


def length_of(blocks: list[Block]) -> int:
    """Characters of blocks, by which Slack limits them."""
    return units(json.dumps(blocks, ensure_ascii=False))


def bare_home_view() -> Block:
    """The Home tab while its list cannot be shown."""
    why = "The list of incidents cannot be shown here. The channel has each, and the log says why."
    return {"type": "home", "blocks": [section("head", why), *_makers()]}


def count_in_words(number: int) -> str:
    """How many incidents are open, in words."""
    if not number:
        return "No open incidents"
    if number == 1:
        return "1 open incident"
    return f"{number} open incidents"


def _makers() -> list[Block]:
    return row("new", [button("new", 0), button("plan", 0)])


def _heading(name: str) -> Block:
    return {"type": "header", "block_id": name, "text": text_object(name)}


def _about(incident: Incident, state: State, wording: SlackText) -> list[Block]:
    """An incident with its actions."""
    number = incident.number
    headline = title(incident, state.open_alerts(number))
    words = f"*{escape(headline, 300)}*\n{wording.about(incident)}"
    return [
        section(f"about:{number}", words),
        *row(f"act:{number}", status_buttons(incident)),
        *row(f"window:{number}", undo_buttons(incident, state.mails_of(number))),
    ]
