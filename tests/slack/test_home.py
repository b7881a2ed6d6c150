"""What is listed: in the headline's order, whole incidents, and as many as Slack takes."""

from datetime import UTC, timedelta

import pytest

from monostat.core.model import Incident, Monitoring, Severity, State, Status
from monostat.demo import blockkit
from monostat.slack.home import home_view, overview
from monostat.slack.messages import Block
from monostat.slack.text import SlackText
from tests.slack.samples import AT, incident

WORDS = SlackText("https://status.example.com", UTC)


def state_of(*incidents: Incident) -> State:
    return State(
        epoch="e",
        monitoring=Monitoring(since=AT),
        checked_at=AT,
        incidents={each.number: each for each in incidents},
    )


def numbers(blocks: list[Block]) -> list[int]:
    ids = [block["block_id"] for block in blocks]
    return [int(id_.removeprefix("about:")) for id_ in ids if id_.startswith("about:")]


def test_the_one_that_decides_the_headline_is_first_and_the_next_plan_before_others() -> None:
    hours = [AT + timedelta(hours=hour) for hour in range(9)]
    state = state_of(
        incident(number=1, severity=Severity.OUTAGE, started_at=hours[0]),
        incident(number=2, severity=Severity.NOTICE, started_at=hours[1]),
        incident(Status.SUSPECTED, number=3, started_at=hours[2]),
        incident(number=4, severity=Severity.PARTIAL, started_at=hours[3]),
        incident(Status.PLANNED, number=5, planned_start=hours[7], planned_end=hours[8]),
        incident(Status.PLANNED, number=6, planned_start=hours[6], planned_end=hours[7]),
        incident(Status.RESOLVED, number=7),
    )
    assert numbers(home_view(state, WORDS)["blocks"]) == [1, 4, 3, 2, 6, 5, 7]
    assert numbers(overview(state, WORDS)) == [1, 4, 3, 2, 6, 5, 7]


@pytest.mark.parametrize("title", ["Uploads fail for a part of our customers", "🔥" * 150])
def test_a_list_ends_after_a_whole_incident_where_slack_takes_no_more(title: str) -> None:
    statuses = [Status.CONFIRMED, Status.PLANNED, Status.RESOLVED]
    incidents = [
        incident(status, number=100 * place + each, title=title)
        for place, status in enumerate(statuses)
        for each in range(14)
    ]
    for about in (incidents[:16], incidents):
        state = state_of(*about)
        listed = overview(state, WORDS, "Help.")
        assert blockkit.refused_blocks(listed) == []
        assert blockkit.size(listed) <= blockkit.MESSAGE_BLOCKS_SIZE
        assert listed[-1]["elements"][0]["text"] == "More in the Home tab."
        assert listed[-2]["block_id"].startswith("act:")
        assert len(numbers(listed)) >= 8
        assert blockkit.refused_view(home_view(state, WORDS)) == []


def test_a_short_list_is_all_there_is() -> None:
    assert "More" not in str(overview(state_of(incident()), WORDS))
