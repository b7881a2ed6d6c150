"""What is public at one moment: which incident decides the headline, and what time alone changes."""

from monostat.core.model import RESOLVED, Severity
from monostat.core.snapshot import Snapshot, take
from monostat.languages import load_words
from tests.core.histories import Core


def public(world: Core) -> Snapshot:
    return take(
        world.state,
        world.at,
        world.policy,
        words=load_words("en"),
        name="Example",
        url="https://x.example",
    )


def open_numbers(world: Core) -> list[int]:
    return [incident.number for incident in public(world).open]


def test_the_incident_that_decides_the_headline_comes_first_then_the_newest() -> None:
    world = Core()
    for severity in ("outage", "notice", "bug", "partial", "bug"):
        world.does("create", title=f"A {severity}", severity=Severity(severity), text="It.")
        world.passes(60)
    assert open_numbers(world) == [1, 4, 5, 3, 2]
    world.does("watch", 1)
    taken = public(world)
    assert [incident.number for incident in taken.open] == [4, 1, 5, 3, 2]
    assert taken.deciding == world.of(4)
    assert taken.headline.kind == "partial"


def test_nothing_decides_where_monitoring_is_silent_and_only_a_notice_is_open() -> None:
    world = Core()
    world.does("create", title="We move", severity=Severity.NOTICE, text="Our office moves.")
    assert public(world).deciding == world.of(1)
    world.falls_silent()
    taken = public(world)
    assert taken.headline.kind == "unknown"
    assert taken.deciding is None
    assert open_numbers(world) == [1]


def test_for_an_hour_after_an_outage_the_headline_says_that_all_works_again() -> None:
    world = Core()
    world.does("create", title="All requests fail", severity=Severity.OUTAGE)
    world.does("resolve", 1)
    world.passes(60)  # the undo window
    taken = public(world)
    assert taken.ended == world.of(1)
    assert taken.headline.kind == "ok"
    assert taken.headline.text != public(Core()).headline.text
    assert taken.until is not None
    world.passes(3539)
    assert public(world).digest == taken.digest
    world.passes(1)
    assert public(world).ended is None
    assert public(world).digest != taken.digest


def test_what_was_no_outage_or_is_followed_by_another_is_not_said_to_work_again() -> None:
    world = Core()
    world.does("create", title="Slow", severity=Severity.BUG)
    assert world.does("resolve", 1).status is RESOLVED
    assert public(world).ended is None
    for _ in range(2):
        world.does("create", title="All requests fail", severity=Severity.PARTIAL)
    world.does("resolve", 2)
    assert public(world).ended is None
