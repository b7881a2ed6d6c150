"""The Home tab: what is, what is planned, and what was, with the same buttons as the messages."""

from monostat.core.model import OVER, PLANNED, Incident, State
from monostat.slack.messages import (
    Block,
    button,
    escape,
    plain,
    row,
    section,
    status_buttons,
    title,
    undo_buttons,
)
from monostat.slack.text import SlackText

MOST_OF_A_GROUP = 12  # incidents
MOST_RECENT = 10  # at most core.past.NEWEST, which the state has of what is over
MOST_BLOCKS = 100  # of a Home tab


def home_view(state: State, text: SlackText) -> Block:
    """The Home tab of the incidents as they are now."""
    incidents = sorted(state.incidents.values(), key=lambda i: i.number, reverse=True)
    is_open = [incident for incident in incidents if incident.is_open]
    planned = [incident for incident in incidents if incident.status is PLANNED]
    over = [incident for incident in incidents if incident.status in OVER]
    headline = counted(len(is_open))
    blocks = [
        section("head", f"*{headline}*"),
        *_makers(),
        *_group("Now", is_open, state, text),
        *_group("Planned", planned, state, text),
        *_group("Recent", over[:MOST_RECENT], state, text),
    ]
    return {"type": "home", "blocks": blocks[:MOST_BLOCKS]}


def bare_home_view() -> Block:
    """The Home tab while its list cannot be shown."""
    why = "The list of incidents cannot be shown here. The channel has each, and the log says why."
    return {"type": "home", "blocks": [section("head", why), *_makers()]}


def counted(number: int) -> str:
    """How many incidents are open, in words."""
    if not number:
        return "No open incidents"
    if number == 1:
        return "1 open incident"
    return f"{number} open incidents"


def _makers() -> list[Block]:
    return row("new", [button("new", 0), button("plan", 0)])


def _group(name: str, incidents: list[Incident], state: State, text: SlackText) -> list[Block]:
    if not incidents:
        return []
    blocks: list[Block] = [{"type": "header", "block_id": name, "text": plain(name)}]
    for incident in incidents[:MOST_OF_A_GROUP]:
        number = incident.number
        headline = title(incident, state.open_alerts(number))
        words = f"*{escape(headline, 300)}*\n{text.about(incident)}"
        blocks.append(section(f"about:{number}", words))
        blocks += row(f"act:{number}", status_buttons(incident))
        blocks += row(f"window:{number}", undo_buttons(incident, state.mails_of(number)))
    return blocks
