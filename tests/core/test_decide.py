"""The pure core: properties over random histories, and every rule as an example."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monostat.core.decide import decide, next_due
from monostat.core.events import Act, Alerted, AlertsUnseen, Event, MailClaimed, MailSettled, Unsaid
from monostat.core.model import Alert, Change, Mail, MailState, Severity, Status
from monostat.core.reminders import promised_by
from monostat.core.verbs import MOVES
from tests.core.histories import (
    ADA,
    BOB,
    NOON,
    SECRET,
    Core,
    after,
    drain,
    happens,
    histories,
    kinds,
    silence,
)
from tests.core.mails import next_mail

# What always holds.


# Random histories.


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.sampled_from((30, 30, 0)))
def test_every_history_keeps_every_promise_and_the_newest_mail_always_leaves(
    history: list[tuple[Any, ...]], window: float
) -> None:
    world = Core(undo_window=window)
    for step in history:
        happens(world, step)
    drain(world)
    for number, wanted in world.wanted.items():
        sent = world.sent.get(number, [])
        assert sent == sorted(set(sent))  # each once, never an older one after a newer
        assert not wanted or wanted[-1] in sent


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_without_rapidmail_no_history_makes_a_mail(history: list[tuple[Any, ...]]) -> None:
    world = Core(mails=False)
    for step in history:
        happens(world, step)
    assert world.wanted == {}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_after_any_history_time_alone_comes_to_rest(history: list[tuple[Any, ...]]) -> None:
    world = Core()
    for step in history:
        happens(world, step)
    for _ in range(100):
        due = next_due(world.state, world.policy)
        if due is None:
            break
        world.at = max(world.at, due)
        world.passes(0)
    assert next_due(world.state, world.policy) is None


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("verb", MOVES, ids=lambda verb: verb.name)
def test_a_move_outside_the_table_is_refused_with_a_sentence_and_changes_nothing(
    verb: Any, status: Status
) -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(60)
    by = "" if status is Status.DISMISSED else ADA
    changed = replace(world.of(1), status=status, status_by=by)
    world.state = replace(world.state, incidents={1: changed}, mails={})
    if status is Status.SUSPECTED:  # a suspicion stands on an alert
        world.state = replace(
            world.state, alerts={"a": Alert(id="a", message="", created_at=NOON, incident=1)}
        )
    change = decide(world.state, Act(at=world.at, verb=verb.name, by=BOB, incident=1), world.policy)
    if status in verb.allowed:
        assert change.refused == ""
        assert change.state.incidents[1].status is verb.leads_to
    else:
        assert "#1 has been" in change.refused
        assert change.is_empty


def test_an_unknown_verb_is_an_error_that_names_it() -> None:
    world = Core()
    world.does("create", title="It")
    for number in (1, 7):
        with pytest.raises(ValueError, match="conquer"):
            world.act("conquer", number)


# Alerts.


def suspicion(**policy: Any) -> Core:
    """Monitoring has answered once, and then raised an alert."""
    world = Core(**policy)
    world.polls()
    world.passes(10)
    world.raises("disk")
    return world


def test_an_alert_opens_a_suspected_outage_with_the_words_of_the_configuration() -> None:
    world = suspicion()
    incident = world.incident
    assert (incident.status, incident.severity) == (Status.SUSPECTED, Severity.OUTAGE)
    assert incident.title == world.policy.incident_title
    assert [u.text for u in incident.updates] == [world.policy.incident_text]
    assert incident.noticed_at == world.at
    assert world.state.mails == {}
    assert incident.announced_at is None


TITLES = {"outage_title": "Outage", "partial_title": "Partial outage", "bug_title": "Known problem"}


def test_what_is_real_gets_the_ready_title_of_its_severity_and_undo_gives_it_back() -> None:
    world = suspicion(texts=TITLES)
    suspected = world.policy.incident_title
    change = world.act("confirm", 1, severity=Severity.PARTIAL)
    assert kinds(change) == ["confirmed", "asks_title"]
    assert world.incident.title == "Partial outage"
    world.does("update", 1, severity=Severity.BUG)
    assert world.incident.title == "Known problem"
    world.does("edit", 1, changes={"severity": Severity.OUTAGE})
    assert world.incident.title == "Outage"
    while world.incident.status is not Status.SUSPECTED:
        world.does("undo", 1)
    assert world.incident.title == suspected
    world.closes("disk")
    assert world.incident.title == suspected
    assert kinds(world.act("was_real", 1)) == ["was_real", "asks_title"]
    assert world.incident.title == "Outage"


def test_a_title_that_a_person_gave_stays_and_leaves_a_suspicion_one() -> None:
    world = suspicion(texts=TITLES)
    world.does("title", 1, title="Uploads  fail")
    assert (world.incident.title, world.incident.status) == ("Uploads fail", Status.SUSPECTED)
    assert kinds(world.act("confirm", 1)) == ["confirmed"]
    world.does("undo", 1)
    assert world.incident.title == "Uploads fail"
    assert "already" in world.refuses("title", 1, title="Uploads fail")
    assert "few words" in world.refuses("title", 1, title=" ")
    assert "150" in world.refuses("title", 1, title="x" * 151)
    world.does("confirm", 1, severity=Severity.PARTIAL)
    assert world.incident.title == "Uploads fail"


def test_a_title_edited_to_other_words_is_a_persons_and_an_outage_of_a_maintenance_has_its_own() -> (
    None
):
    world = suspicion(texts=TITLES)
    world.does("confirm", 1)
    world.does("edit", 1, changes={"summary": "Some users."})
    assert world.incident.has_ready_title
    world.does("edit", 1, changes={"title": "Uploads fail"})
    world.does("edit", 1, changes={"severity": Severity.BUG})
    assert world.incident.title == "Uploads fail"
    world.does("create", title="Move", severity=Severity.MAINTENANCE)
    world.raises("cpu")
    assert world.does("real_outage", 2).title == "Outage"


def test_the_same_picture_twice_changes_nothing() -> None:
    world = suspicion()
    world.passes(5)
    assert world.polls().is_empty


def test_an_alert_stays_with_its_open_incident_though_a_suspicion_would_come_first() -> None:
    world = suspicion()
    world.does("confirm", 1, severity=Severity.BUG)
    world.raises("cpu")
    assert world.status() == {1: "confirmed", 2: "suspected"}
    world.polls()
    assert (world.home("disk"), world.home("cpu")) == (1, 2)


def test_a_second_alert_joins_the_open_suspicion_before_a_confirmed_outage_and_is_told() -> None:
    world = suspicion()
    world.does("create", title="Other", severity=Severity.OUTAGE)
    change = world.raises("cpu")
    assert world.home("cpu") == 1
    assert kinds(change) == ["joined"]
    assert change.entries[0].incident == 1
    assert SECRET in change.entries[0].detail["alert"]


def test_an_alert_joins_the_most_severe_then_the_newest_confirmed_incident() -> None:
    world = Core()
    for severity in (Severity.OUTAGE, Severity.OUTAGE, Severity.PARTIAL, Severity.BUG):
        world.does("create", title="It", severity=severity)
    world.does("watch", 2)
    world.raises("disk")
    assert world.home("disk") == 2
    world.does("resolve", 2)
    world.raises("cpu")
    assert world.home("cpu") == 1


def test_an_alert_joins_the_newest_maintenance_under_way_and_makes_no_suspicion() -> None:
    world = Core()
    for _ in range(2):
        world.does("create", title="Move", severity=Severity.MAINTENANCE)
    change = world.raises("disk")
    assert world.home("disk") == 2
    assert world.status() == {1: "confirmed", 2: "confirmed"}
    assert change.entries[-1].detail["maintenance"] == "True"


def test_an_incident_dismissed_by_itself_is_reopened_within_the_time_and_not_after_it() -> None:
    world = suspicion()
    world.closes("disk")
    assert world.status() == {1: "dismissed"}
    world.passes(899)
    assert kinds(world.raises("disk")) == ["reopened", "joined"]
    assert world.status() == {1: "suspected"}
    assert world.incident.ended_at is None
    world.closes("disk")
    world.passes(900)
    world.raises("disk")
    assert world.status() == {1: "dismissed", 2: "suspected"}


def test_a_suspicion_ends_when_its_last_alert_closed() -> None:
    world = suspicion()
    world.raises("cpu")
    world.passes(60)
    world.closes("disk")
    assert world.status() == {1: "suspected"}
    world.passes(30)
    cpu = world.alerts.pop("cpu")
    world.polls({cpu.id: world.at - after(20)})
    assert world.status() == {1: "dismissed"}
    assert world.incident.ended_at == world.at - after(20)
    assert world.incident.status_by == ""


def test_an_empty_list_closes_nothing() -> None:
    world = suspicion()
    world.alerts.clear()
    assert world.polls().is_empty
    assert world.status() == {1: "suspected"}


def test_an_alert_that_was_over_stays_over_when_a_lagging_list_still_has_it() -> None:
    world = suspicion()
    disk = world.alerts["disk"]
    world.closes("disk")
    world.alerts["disk"] = disk
    assert world.polls().is_empty


def test_false_alarm_ends_reopening_and_keeps_its_open_alerts() -> None:
    world = suspicion()
    change = world.act("dismiss", 1)
    assert change.entries[-1].detail["left"] == "1"
    world.polls()
    assert world.status() == {1: "dismissed"}
    assert world.home("disk") == 1
    world.closes("disk")
    world.raises("disk")
    assert world.status() == {1: "dismissed", 2: "suspected"}


def test_alerts_left_at_resolve_stay_and_open_no_other() -> None:
    world = suspicion()
    world.raises("cpu")
    world.does("confirm", 1)
    world.passes(60)
    assert world.act("resolve", 1).entries[-1].detail["left"] == "2"
    world.polls()
    world.passes(60)
    assert world.status() == {1: "resolved"}
    world.raises("net")
    assert world.status() == {1: "resolved", 2: "suspected"}
    assert (world.home("disk"), world.home("net")) == (1, 2)


def test_it_was_real_makes_a_resolved_incident_with_the_true_times_and_mails_nobody() -> None:
    world = suspicion()
    began = world.at
    world.passes(60)
    world.closes("disk")
    over = world.at
    world.passes(60)
    incident = world.does("was_real", 1, mail=True)
    assert (incident.status, incident.started_at, incident.ended_at) == (
        Status.RESOLVED,
        began,
        over,
    )
    assert world.state.mails == {}
    assert incident.announced_at is None
    world.passes(30)
    assert world.incident.announced_at == world.at


def test_the_last_alert_closing_reminds_and_changes_no_status() -> None:
    world = suspicion()
    world.raises("cpu")
    world.does("confirm", 1)
    assert kinds(world.closes("cpu")) == []
    assert kinds(world.closes("disk")) == ["alerts_over"]
    assert world.status() == {1: "confirmed"}
    assert world.polls().is_empty


def test_this_is_a_real_outage_takes_all_alerts_and_its_undo_gives_them_back() -> None:
    world = Core()
    world.does("create", title="Move", severity=Severity.MAINTENANCE)
    world.raises("disk")
    world.raises("cpu")
    outage = world.does("real_outage", 1)
    assert (outage.number, outage.status, outage.severity) == (2, Status.CONFIRMED, Severity.OUTAGE)
    assert (world.home("disk"), world.home("cpu")) == (2, 2)
    assert "Ada got there first: #2" in world.refuses("real_outage", 1)
    world.does("undo", 2)
    assert world.status() == {1: "confirmed"}
    assert (world.home("disk"), world.home("cpu")) == (1, 1)
    assert world.state.mails == {}
    assert world.does("real_outage", 1).number == 3


def test_alerts_lent_by_a_maintenance_that_was_itself_taken_back_become_a_suspicion() -> None:
    world = Core()
    world.does("create", title="Move", severity=Severity.MAINTENANCE)
    world.raises("disk")
    world.raises("cpu")
    world.does("real_outage", 1)
    world.closes("cpu")
    world.does("undo", 1)
    world.does("undo", 2)
    assert world.status() == {3: "suspected"}
    assert world.home("disk") == 3


def test_alerts_open_when_a_maintenance_ends_make_a_suspicion_at_once() -> None:
    world = Core()
    world.does("create", title="Move", severity=Severity.MAINTENANCE)
    world.raises("disk")
    world.does("resolve", 1)
    assert world.status() == {1: "resolved", 2: "suspected"}
    assert world.home("disk") == 2


def test_the_first_poll_of_a_new_database_ignores_old_alerts_and_only_the_first() -> None:
    world = Core()
    world.raises("old", ago=3601)
    assert world.status() == {}
    assert world.polls().is_empty
    world.raises("late", ago=3601)
    assert world.status() == {1: "suspected"}
    assert world.home("old") is None


def test_an_alert_that_came_while_a_false_alarm_could_still_be_undone_keeps_it_dismissed() -> None:
    world = suspicion()
    world.does("dismiss", 1)
    world.raises("cpu")
    assert world.status() == {1: "dismissed", 2: "suspected"}
    assert "#2" in world.refuses("undo", 1)
    world.closes("cpu")
    world.does("undo", 1)
    assert world.status() == {1: "suspected", 2: "dismissed"}


def test_undo_of_a_false_alarm_whose_alerts_are_over_by_then_dismisses_at_once() -> None:
    world = suspicion()
    world.does("dismiss", 1)
    world.closes("disk")
    world.does("undo", 1)
    assert (world.incident.status, world.incident.status_by) == (Status.DISMISSED, "")


# Undo, and when what is announced.


def test_undo_puts_status_and_severity_back_and_leaves_other_edits() -> None:
    world = suspicion()
    before = world.incident
    world.does("confirm", 1, severity=Severity.PARTIAL)
    world.does("update", 1, text="We are looking into it.")
    incident = world.does("undo", 1)
    assert (incident.status, incident.severity) == (before.status, before.severity)
    assert (incident.confirmed_at, incident.status_by) == (None, "")
    assert [u.text for u in incident.updates] == [
        world.policy.incident_text,
        "We are looking into it.",
    ]
    assert world.state.mails == {}
    world.passes(60)
    assert world.incident.announced_at is None


def test_undo_of_the_confirmation_takes_the_mail_of_a_later_update_with_it() -> None:
    world = suspicion()
    world.does("confirm", 1)
    world.does("update", 1, text="We are looking into it.", mail=True)
    world.does("undo", 1)
    assert world.state.mails == {}


def test_a_stack_of_two_is_undone_one_by_one_and_the_older_only_in_its_own_window() -> None:
    world = suspicion()
    world.does("confirm", 1)
    world.passes(10)
    world.does("watch", 1)
    world.does("undo", 1)
    assert world.status() == {1: "confirmed"}
    world.does("undo", 1)
    assert world.status() == {1: "suspected"}
    world.does("confirm", 1)
    world.passes(20)
    world.does("watch", 1)
    world.passes(10)
    assert world.does("undo", 1).announced_at == world.at  # its confirmation was over first
    assert "Too late" in world.refuses("undo", 1)


def test_two_who_tap_the_same_undo_at_once_take_one_change_back() -> None:
    world = suspicion()
    world.does("confirm", 1)
    seen = world.does("watch", 1).undo[-1].update
    world.does("undo", 1, update=seen)
    assert "Somebody got there first" in world.refuses("undo", 1, update=seen)
    assert world.status() == {1: "confirmed"}


def test_undo_of_a_later_change_does_not_take_back_what_is_announced() -> None:
    world = suspicion()
    world.does("confirm", 1)
    world.passes(20)
    world.does("watch", 1)
    world.passes(10)
    announced = world.incident.announced_at
    assert announced == world.at
    world.passes(5)
    assert world.does("undo", 1).announced_at == announced


def test_a_created_incident_vanishes_and_its_number_is_never_used_again() -> None:
    world = Core()
    world.does("create", title="It")
    world.does("watch", 1)
    world.does("undo", 1)
    change = world.act("undo", 1)
    assert change.gone == (1,)
    assert world.state.mails == {}
    assert world.refuses("undo", 1)
    assert world.does("create", title="It").number == 2


def test_send_now_ends_the_window_and_announces() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(5)
    incident = world.does("send", 1)
    assert incident.announced_at == world.at
    assert "on its way" in world.refuses("undo", 1)
    assert "Nothing is waiting" in world.refuses("send", 1)
    assert world.hands_over()
    assert f"the mail left at {world.at:%Y-%m-%dT%H:%M:%SZ}" in world.refuses("undo", 1)


def test_announce_now_ends_the_window_where_there_is_no_mail() -> None:
    world = Core()
    world.does("create", title="It", mail=False)
    assert kinds(world.act("send", 1)) == ["announced_now"]
    assert world.incident.announced_at == world.at
    assert f"announced at {world.at:%Y-%m-%dT%H:%M:%SZ}" in world.refuses("undo", 1)


def test_an_automatic_change_ends_the_window() -> None:
    world = Core()
    world.does("plan", title="Move", start=world.at + after(100), end=world.at + after(200))
    world.passes(90)
    world.does("start", 1)
    world.passes(5)
    assert world.of(1).undo
    world.passes(105)
    world.does("reopen", 1)
    world.does("undo", 1)
    world.does("plan", title="Other", start=world.at + after(10), end=world.at + after(20))
    world.passes(10)
    assert world.of(2).announced_at == world.at
    assert "by itself" in world.refuses("undo", 2)


def test_undo_after_the_window_is_refused_with_why() -> None:
    world = Core()
    world.does("create", title="It", mail=False)
    world.passes(30)
    assert "Too late" in world.refuses("undo", 1)
    assert world.incident.announced_at == world.at


def test_a_clock_that_goes_back_does_not_lengthen_the_window_beyond_its_span_from_now() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(-3600)
    assert [u.until for u in world.incident.undo] == [world.at + after(30)]
    assert next_mail(world.state) == world.at + after(30)
    world.passes(30)
    assert world.incident.announced_at == world.at
    assert world.hands_over()


def test_an_end_is_never_before_its_start_though_the_clock_went_back() -> None:
    world = Core()
    began = world.does("create", title="It").started_at
    world.passes(-3600)
    assert world.does("resolve", 1).ended_at == began


def test_two_people_at_once_do_it_once_and_the_second_is_told_who_was_first() -> None:
    world = suspicion()
    world.does("confirm", 1, severity=Severity.OUTAGE)
    assert "Ada got there first: #1 has been confirmed (outage)" in world.refuses(
        "confirm", 1, severity=Severity.PARTIAL
    )
    assert "not possible now" in world.refuses("dismiss", 1)


# Maintenance.


def planned(**more: Any) -> Core:
    world = Core()
    world.does("plan", title="Move", start=NOON + after(600), end=NOON + after(1200), **more)
    return world


def test_a_maintenance_starts_and_ends_by_itself_with_one_sentence_each_and_mails_nobody() -> None:
    world = planned()
    world.passes(600)
    assert (world.incident.status, world.incident.started_at) == (Status.CONFIRMED, world.at)
    assert next_due(world.state, world.policy) == NOON + after(1200)
    assert kinds(world.passes(600)) == ["resolved"]
    assert (world.incident.status, world.incident.ended_at) == (Status.RESOLVED, world.at)
    assert [u.text for u in world.incident.updates] == ["planned", "started", "completed"]
    assert world.wanted == {}


def test_what_was_missed_while_down_is_caught_up_in_one_step_with_the_planned_times() -> None:
    world = planned()
    change = world.passes(7200)
    incident = world.incident
    assert kinds(change) == ["resolved"]
    assert (incident.started_at, incident.ended_at) == (NOON + after(600), NOON + after(1200))
    assert [u.text for u in incident.updates] == ["planned", "completed"]


def test_a_plan_that_asks_waits_for_a_human_at_its_start_and_at_its_end() -> None:
    world = planned(ask=True)
    world.passes(700)
    assert world.status() == {1: "planned"}
    assert world.does("start", 1).started_at == world.at
    world.passes(700)
    assert world.status() == {1: "confirmed"}
    assert world.does("resolve", 1).updates[-1].text == "completed"
    assert world.wanted == {}


def test_a_cancelled_plan_is_final_and_mailed_only_where_asked() -> None:
    for severity in (Severity.MAINTENANCE, Severity.NOTICE):
        world = planned(severity=severity, summary="Read this.")
        world.does("cancel", 1)
        assert world.state.mails == {}
        assert "final" in world.refuses("confirm", 1)
        assert "final" in world.refuses("was_real", 1)
        assert "Ada got there first" in world.refuses("cancel", 1)
        world.does("undo", 1)
        assert world.status() == {1: "planned"}
        world.does("cancel", 1, mail=True)
        assert len(world.state.mails) == 1


def test_reopen_clears_a_planned_end_that_has_passed_and_undo_brings_it_back() -> None:
    world = planned()
    world.passes(1300)
    assert world.does("reopen", 1).planned_end is None
    assert world.status() == {1: "confirmed"}
    assert world.does("undo", 1).planned_end == NOON + after(1200)


@pytest.mark.parametrize(
    ("start", "end", "word"),
    [(-1, 10, "past"), (0, 10, "past"), (10, 10, "after"), (10, None, "end")],
)
def test_a_plan_of_impossible_times_is_refused(start: float, end: float | None, word: str) -> None:
    ends = None if end is None else NOON + after(end)
    assert word in Core().refuses("plan", 0, title="Move", start=NOON + after(start), end=ends)


def test_an_incident_of_impossible_times_or_without_a_title_is_refused() -> None:
    world = Core()
    assert "title" in world.refuses("create", 0, title=" ")
    assert "future" in world.refuses("create", 0, title="It", start=NOON + after(1))
    assert "end" in world.refuses("create", 0, title="It", end=NOON + after(1))
    assert "end" in world.refuses("create", 0, title="It", end=NOON - after(1))


# Mails.


def test_a_mail_is_held_for_the_window_and_sent_once() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(29)
    assert world.hands_over() == ""
    world.passes(1)
    assert world.hands_over().startswith("k3v9:mail:1:confirmed")
    assert world.incident.mailed_at == world.at
    assert world.hands_over() == ""


def test_a_mail_waits_for_a_newer_one_and_is_dropped_when_that_has_left() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(20)
    world.does("resolve", 1)
    world.passes(10)
    assert world.hands_over() == ""
    world.passes(20)
    assert ":resolved:" in world.hands_over()
    assert world.state.mails == {}
    assert world.sent == {1: [2]}


def test_a_mail_leaves_after_all_when_the_newer_one_is_undone() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(20)
    world.does("resolve", 1)
    world.passes(15)
    world.does("undo", 1)
    assert ":confirmed:" in world.hands_over()


def test_readers_hear_that_it_is_back() -> None:
    world = Core()
    world.does("create", title="It")
    for verb in ("watch", "not_fixed", "resolve", "reopen"):
        world.passes(60)
        assert world.hands_over()
        world.does(verb, 1)
    world.passes(60)
    assert world.hands_over()
    assert len(world.sent[1]) == 5


def test_nobody_is_mailed_of_suspicions_dismissals_silent_incidents_and_where_none_was_asked_for() -> (
    None
):
    world = suspicion()
    world.does("dismiss", 1, mail=True)
    world.does("confirm", 1, mail=False)
    silence(world, 1)
    world.does("watch", 1)
    world.does("create", title="Move", severity=Severity.MAINTENANCE)
    world.does("update", 2, text="Half way.")
    assert world.wanted == {}
    world.passes(30)
    assert world.of(1).announced_at == world.at
    world.does("update", 2, text="Nearly there.", mail=True)
    assert [len(wanted) for wanted in world.wanted.values()] == [1]


def failing(world: Core, **more: Any) -> str:
    return world.hands_over(error="503", retry_at=world.at + after(60), **more)


def test_a_permanent_failure_is_told_and_waits_for_retry() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    key = failing(world, permanent=True, ambiguous=True)
    assert world.state.mails[key].state is MailState.FAILED
    assert next_mail(world.state) is None
    world.passes(3600)
    world.does("retry", 1)
    assert "No mail" in world.refuses("retry", 1)
    assert world.state.mails[key].ambiguous  # it is looked for before it is sent again
    assert world.hands_over() == key
    assert world.sent == {1: [1]}


def test_the_thread_is_told_once_after_five_minutes_and_when_it_went() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    told: list[str] = []
    for _ in range(8):
        before = world.state.entries_made
        assert failing(world)
        told += ["late"] * (world.state.entries_made - before)
        told += kinds(world.passes(60))
    assert told == ["mail_late"]
    mail = next(iter(world.state.mails.values()))
    world.submit(MailClaimed(at=world.at, key=mail.key))
    assert kinds(world.submit(MailSettled(at=world.at, key=mail.key))) == ["mail_sent"]


def handed_over(world: Core | None = None) -> Core:
    """A mail that the vendor has and has not begun to send."""
    world = world or Core()
    world.does("create", title="It")
    world.passes(30)
    assert world.hands_over(mailing=7, waiting="scheduled", retry_at=world.at + after(2))
    return world


def only(world: Core) -> Mail:
    (mail,) = world.state.mails.values()
    return mail


def mailed(world: Core) -> tuple[datetime | None, datetime | None]:
    """When subscribers were mailed of the newest incident for the first and the last time."""
    return world.incident.first_mailed_at, world.incident.mailed_at


def test_a_mailing_counts_from_its_hand_over_once_it_leaves() -> None:
    world = handed_over()
    at = world.at
    assert next_mail(world.state) == at + after(2)
    world.passes(2)
    assert world.looks(waiting="preparing", retry_at=world.at + after(3))
    assert mailed(world) == (None, None)
    world.passes(3)
    assert world.looks()
    assert mailed(world) == (at, at)
    assert next_mail(world.state) is None


@pytest.mark.parametrize("word", ["scheduled", "prepared", "a new word", "no status"])
def test_a_mailing_that_does_not_begin_to_leave_within_ten_minutes_has_failed(word: str) -> None:
    world = handed_over()
    for _ in range(9):
        world.passes(60)
        assert kinds(look(world, waiting=word)) == []
    world.passes(60)
    (entry,) = look(world, waiting=word).entries
    assert entry.kind == "mail_failed"
    assert f"for 10 minutes (“{word}”)" in entry.detail["error"]
    assert only(world).state is MailState.FAILED
    assert world.incident.mailed_at is None


def test_a_mailing_that_was_given_up_is_looked_at_for_a_day_unless_it_is_gone() -> None:
    for words in ("waits", "draft", "503"):
        world = handed_over()
        at = world.at
        world.passes(600)
        assert kinds(look(world, waiting="preparing")) == ["mail_failed"]
        assert next_mail(world.state) == world.at + after(60)
        world.passes(60)
        outcome = {"waits": {"waiting": "preparing"}, "503": {"error": "503"}}
        stopped = {"error": "it is a draft", "permanent": True}
        assert kinds(look(world, **outcome.get(words, stopped))) == []
        assert next_mail(world.state) == world.at + after(60)
        assert kinds(look(world)) == ["mail_sent"]
        assert (world.state.mails, mailed(world)) == ({}, (at, at))
    for seconds, gone in ((60, True), (86400, False)):
        world = handed_over()
        world.passes(600)
        look(world, waiting="preparing")
        world.passes(seconds)
        look(world, error="it was deleted", permanent=True, gone=gone)
        assert next_mail(world.state) is None
        assert "not on its way" in look(world).refused
        world.does("retry", 1)
    world = handed_over()
    world.passes(2)
    look(world, error="it was deleted", permanent=True, gone=True)
    assert next_mail(world.state) is None


def look(world: Core, **outcome: Any) -> Change:
    retry_at = world.at + after(60)
    return world.submit(
        MailSettled(at=world.at, key=only(world).key, mailing=7, retry_at=retry_at, **outcome)
    )


def test_a_look_that_fails_proves_nothing_is_told_once_and_ends_after_a_day() -> None:
    world = handed_over(Core())
    told: list[str] = []
    for _ in range(20):
        world.passes(60)
        told += kinds(look(world, error="503", ambiguous=True))
    assert told == ["mail_unclear"]
    assert only(world).state is MailState.HANDED_OVER
    assert not only(world).ambiguous
    world.passes(86400)
    (entry,) = look(world, error="503", ambiguous=True).entries
    assert entry.kind == "mail_failed"
    assert "not known whether Rapidmail has sent it (503)" in entry.detail["error"]


def test_retry_of_what_the_vendor_had_sends_another_revision_and_of_what_is_unclear_looks_for_the_same() -> (
    None
):
    world = handed_over()
    first = only(world)
    world.passes(2)
    look(world, error="it is a draft", permanent=True)
    world.does("retry", 1)
    second = only(world)
    assert (second.title, second.mailing) == (
        f"{first.title} r2",
        7,
    )  # the old one is to be deleted
    world.submit(MailClaimed(at=world.at, key=first.key))
    world.submit(
        MailSettled(at=world.at, key=first.key, error="lost", ambiguous=True, permanent=True)
    )
    world.does("retry", 1)
    assert only(world).title == second.title, "it may be there under this title"
    assert world.hands_over(mailing=8)
    assert world.incident.mailed_at == world.at


def test_a_newer_mail_does_not_wait_for_the_fate_of_the_older_and_the_older_is_never_sent_after_it() -> (
    None
):
    world = handed_over()
    older = only(world).key
    world.does("resolve", 1)
    world.passes(30)
    newer = world.hands_over(mailing=8)
    assert ":resolved:" in newer
    assert only(world).unwanted
    (failed,) = [m for m in world.state.mails.values() if m.key == older]
    change = world.submit(
        MailSettled(at=world.at, key=failed.key, mailing=7, error="it is a draft", permanent=True)
    )
    assert kinds(change) == []
    assert world.state.mails == {}


def test_an_older_mail_that_leaves_late_does_not_move_the_last_time_back() -> None:
    world = handed_over()
    at = world.at
    world.does("resolve", 1)
    world.passes(30)
    assert world.hands_over(mailing=8)
    last = world.at
    world.passes(60)
    assert world.looks()
    assert mailed(world) == (at, last)


def test_while_a_mail_is_on_its_way_no_other_of_its_incident_leaves() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    key = only(world).key
    world.submit(MailClaimed(at=world.at, key=key))
    world.does("resolve", 1)
    world.does("create", title="Another")
    world.passes(30)
    assert ":mail:2:" in world.hands_over()
    assert world.hands_over() == ""
    world.submit(MailSettled(at=world.at, key=key))
    assert ":resolved:" in world.hands_over()


def test_of_mails_that_are_due_the_one_that_waits_longest_is_first() -> None:
    world = Core()
    for title in ("One", "Two", "Three"):
        world.does("create", title=title)
    world.passes(30)
    tried = []
    for _ in range(6):
        tried.append(world.hands_over(error="503", retry_at=world.at + after(5)).split(":")[2])
        world.passes(10)
    assert tried == ["1", "2", "3"] * 2


@pytest.mark.parametrize("how", ["silent", "maintenance"])
def test_what_the_vendor_has_of_a_silent_incident_counts_where_it_leaves_and_is_forgotten_where_not(
    how: str,
) -> None:
    for leaves in (True, False):
        world = handed_over()
        at = world.at
        unwanted(world, how)
        world.passes(2)
        change = look(world) if leaves else look(world, error="it is a draft", permanent=True)
        assert kinds(change) == ["mail_sent"] * leaves
        assert world.state.mails == {}
        assert world.incident.mailed_at == (at if leaves else None)


def test_three_422s_that_name_no_field_are_final_and_retry_counts_anew() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    for _ in range(2):
        for _ in range(2):
            assert failing(world, invalid=True)
            assert only(world).state is MailState.HELD
            world.passes(60)
        failing(world)
        world.passes(60)
        assert failing(world, invalid=True)
        assert only(world).state is MailState.FAILED
        world.does("retry", 1)


def test_a_clock_that_goes_back_puts_off_no_look_and_no_deadline() -> None:
    world = handed_over(Core())
    world.passes(-90000)
    assert (next_mail(world.state) or world.at) <= world.at + after(60)
    world.passes(600)
    assert kinds(look(world, waiting="scheduled")) == ["mail_failed"]


def test_undo_and_send_now_say_that_what_the_vendor_has_has_left() -> None:
    world = handed_over()
    assert f"the mail left at {world.at:%Y-%m-%dT%H:%M:%SZ}" in world.refuses("undo", 1)
    assert f"The last mail left at {world.at:%Y-%m-%dT%H:%M:%SZ}" in world.refuses("send", 1)


def test_a_mail_is_given_up_after_a_day_and_once_ambiguous_stays_so() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    key = failing(world, ambiguous=True)
    world.passes(3600)
    failing(world)
    assert world.state.mails[key].state is MailState.HELD
    assert world.state.mails[key].ambiguous
    world.passes(86400)
    failing(world)
    assert world.state.mails[key].state is MailState.FAILED


def test_what_is_settled_twice_or_was_never_claimed_changes_nothing() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    key = next(iter(world.state.mails))
    events: list[Callable[[str], Event]] = [
        lambda key: MailSettled(at=world.at, key=key),
        lambda key: MailClaimed(at=world.at, key=key),
    ]
    assert world.submit(events[0](key)).is_empty
    assert world.hands_over() == key
    for event in events:
        assert world.submit(event(key)).is_empty
    assert world.sent == {1: [1]}


# Monitoring, and promises.


def test_monitoring_that_is_silent_is_told_once_and_so_is_its_return() -> None:
    world = Core()
    world.polls()
    assert kinds(world.falls_silent()) == ["monitoring_silent"]
    assert world.state.monitoring.since == world.at
    assert world.falls_silent().is_empty
    assert kinds(world.polls()) == ["monitoring_back"]
    assert world.polls().is_empty


@pytest.mark.parametrize("seconds", [120, 7200, 2_592_000, -7200])
def test_time_alone_never_makes_monitoring_silent(seconds: float) -> None:
    world = Core()
    world.polls()
    assert next_due(world.state, world.policy) is None
    assert world.passes(seconds).is_empty
    assert world.polls().is_empty


def test_the_reason_of_the_last_failed_poll_is_told_with_the_silence() -> None:
    world = Core()
    world.polls()
    assert world.submit(AlertsUnseen(at=world.at, reason="no key")).is_empty
    assert world.falls_silent().entries[0].detail == {"reason": "no key"}
    world.polls()
    assert world.falls_silent().entries[0].detail == {"reason": "It does not answer"}


def test_another_source_is_a_fresh_start_that_ends_nothing() -> None:
    world = Core()
    world.raises("disk")
    assert kinds(world.moves()) == ["monitoring_moved"]
    world.passes(90000)
    world.falls_silent()
    assert world.incident.status is Status.SUSPECTED
    assert kinds(world.raises("old one", ago=4000)) == ["monitoring_back", "joined"]
    assert kinds(world.closes("old one")) == ["dismissed"]


def test_alerts_that_were_old_when_the_source_was_new_are_ignored() -> None:
    world = Core()
    world.polls()
    world.alerts["old"] = Alert(id="old", message=SECRET, created_at=world.at - after(4000))
    world.source = "another"
    assert kinds(world.polls()) == ["monitoring_moved"]
    assert world.state.incidents == {}


def test_an_alert_that_both_sources_know_goes_on_as_it_was() -> None:
    world = Core()
    world.raises("disk")
    world.moves("disk")
    assert kinds(world.closes("disk")) == ["dismissed"]


def test_only_a_serious_incident_under_way_promises_the_next_word() -> None:
    world = Core()
    world.does("create", title="It", severity=Severity.BUG)
    assert promised_by(world.incident, world.policy) is None
    world.does("create", title="It")
    assert promised_by(world.incident, world.policy) == world.at + after(1800)
    world.passes(60)
    assert promised_by(world.does("update", 2, text="Words."), world.policy) == world.at + after(
        1800
    )
    assert promised_by(world.does("resolve", 2), world.policy) is None


def reminded(change: Change) -> list[str]:
    return [entry.kind for entry in change.entries if "due" in entry.detail]


def test_staff_are_reminded_once_per_promise_and_five_minutes_before() -> None:
    world = Core()
    world.does("create", title="It")
    assert next_due(world.state, world.policy) == NOON + after(30)
    assert reminded(world.passes(1499)) == []
    assert reminded(world.passes(1)) == ["promise"]
    assert reminded(world.passes(600)) == []
    world.does("update", 1, text="Still on it.")
    assert reminded(world.passes(1499)) == []
    assert reminded(world.passes(1)) == ["promise"]
    world.does("resolve", 1)
    assert reminded(world.passes(90000)) == []


def test_a_short_promise_reminds_at_half_time() -> None:
    world = Core(update_every=100)
    world.does("create", title="It")
    assert reminded(world.passes(49)) == []
    assert reminded(world.passes(1)) == ["promise"]


def test_a_suspicion_nobody_touches_alerts_again_after_ten_and_twenty_minutes() -> None:
    world = suspicion()
    assert reminded(world.passes(599)) == []
    assert reminded(world.passes(1)) == ["unattended"]
    assert reminded(world.passes(600)) == ["unattended"]
    assert reminded(world.passes(6000)) == []


def test_after_a_long_silence_one_alert_again_is_enough() -> None:
    world = suspicion()
    assert reminded(world.passes(5000)) == ["unattended"]
    assert reminded(world.passes(5000)) == []


def test_a_reopened_suspicion_starts_anew_and_one_that_staff_edited_is_in_hands() -> None:
    world = suspicion()
    assert reminded(world.passes(600)) == ["unattended"]
    world.submit(Alerted(at=world.at, incident=1))
    assert world.incident.alerted_at == world.at
    world.closes("disk")
    world.raises("disk")
    assert world.status() == {1: "suspected"}
    assert world.of(1).alerted_at is None
    assert reminded(world.passes(600)) == ["unattended"]
    world.does("edit", 1, changes={"title": "Slow logins"})
    assert reminded(world.passes(6000)) == []


def test_a_plan_reminds_ten_minutes_before_its_start_and_its_end() -> None:
    world = Core()
    world.does("plan", title="Move", start=NOON + after(1000), end=NOON + after(3000))
    assert reminded(world.passes(399)) == []
    assert reminded(world.passes(1)) == ["starts_soon"]
    assert reminded(world.passes(600)) == []
    assert reminded(world.passes(1399)) == []
    assert reminded(world.passes(1)) == ["ends_soon"]


def test_a_plan_that_asks_is_asked_for_at_its_times() -> None:
    world = Core()
    world.does("plan", title="Move", start=NOON + after(700), end=NOON + after(3000), ask=True)
    assert reminded(world.passes(100)) == ["starts_soon"]
    assert reminded(world.passes(600)) == ["asks_start"]
    world.does("start", 1)
    assert reminded(world.passes(2290)) == ["ends_soon"]
    assert reminded(world.passes(10)) == ["asks_end"]


def test_where_there_is_less_time_than_ten_minutes_there_is_no_reminder() -> None:
    world = Core()
    world.does("plan", title="Move", start=NOON + after(500), end=NOON + after(900))
    assert reminded(world.passes(10)) == []
    assert reminded(world.passes(490)) == []
    assert reminded(world.passes(300)) == []


def test_postpone_moves_both_ends_and_extend_the_end() -> None:
    world = planned()
    incident = world.does("postpone", 1)
    assert (incident.planned_start, incident.started_at) == (NOON + after(2400), NOON + after(2400))
    assert incident.planned_end == NOON + after(3000)
    assert incident.updates[-1].text == "postponed"
    assert "not a maintenance under way" in world.refuses("extend", 1)
    world.passes(2400)
    assert world.does("extend", 1).planned_end == NOON + after(4800)
    assert "only a plan" in world.refuses("postpone", 1)
    world.passes(2400)
    assert world.status() == {1: "resolved"}
    assert world.wanted == {}


def test_an_edit_changes_words_and_times_and_not_where_it_stands() -> None:
    world = suspicion()
    world.does("confirm", 1)
    said = world.incident.updates
    changes = {
        "title": "Slow logins",
        "summary": "Some **users**",
        "start": NOON,
        "severity": Severity.PARTIAL,
    }
    change = world.act(
        "edit", 1, changes=changes, texts={said[0].id: "", said[1].id: "Logins are slow."}
    )
    incident = world.incident
    assert (incident.title, incident.summary, incident.started_at) == (
        "Slow logins",
        "Some **users**",
        NOON,
    )
    assert (incident.status, incident.severity) == (Status.CONFIRMED, Severity.PARTIAL)
    assert [(u.text, u.edited_at) for u in incident.updates] == [("Logins are slow.", world.at)]
    assert kinds(change) == ["edited"]
    assert change.changed == (1, "edited")


def test_an_edit_that_cannot_be_is_refused_with_the_field_that_is_wrong() -> None:
    world = Core()
    world.does("create", title="It")
    last = world.incident.updates[-1].id
    plan = world.does("plan", title="Move", start=NOON + after(600), end=NOON + after(1200)).number
    for number, more, field in (
        (1, {"changes": {"title": " "}}, "title"),
        (1, {"changes": {"start": NOON + after(1)}}, "start"),
        (1, {"changes": {"end": NOON}}, "end"),
        (1, {"texts": {last: " "}}, "texts"),
        (plan, {"changes": {"start": NOON - after(1)}}, "start"),
        (plan, {"changes": {"end": NOON + after(600)}}, "end"),
    ):
        change = world.act("edit", number, **more)
        assert (bool(change.refused), change.field) == (True, field), more
        assert change.is_empty


def test_an_edit_is_mailed_only_where_that_was_asked_for_and_never_of_a_silent_incident() -> None:
    world = Core()
    world.does("create", title="It", mail=False)
    world.does("edit", 1, changes={"title": "Other"})
    assert world.state.mails == {}
    world.does("edit", 1, changes={"title": "Another"}, mail=True)
    assert len(world.state.mails) == 1
    world.does("edit", 1, changes={"silent": True})
    assert world.state.mails == {}


def test_a_mail_about_an_edit_is_another_mail_than_the_one_before_it() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    first = world.hands_over()
    world.does("edit", 1, changes={"title": "Other"}, mail=True)
    world.passes(30)
    assert world.hands_over() not in ("", first)


def test_undo_leaves_an_edited_start_alone() -> None:
    world = suspicion()
    world.does("confirm", 1)
    world.does("edit", 1, changes={"start": NOON - after(60)})
    assert world.does("undo", 1).started_at == NOON - after(60)


def test_what_becomes_a_maintenance_has_nothing_automatic_and_its_held_mail_is_dropped() -> None:
    world = Core()
    world.does("create", title="It")
    world.does("edit", 1, changes={"severity": Severity.MAINTENANCE})
    assert world.state.mails == {}
    assert world.passes(90000).incidents[0].status is Status.CONFIRMED
    world = planned()
    world.passes(600)
    incident = world.does("edit", 1, changes={"severity": Severity.PARTIAL})
    assert (incident.planned_start, incident.planned_end) == (None, None)
    world.passes(90000)
    assert world.status() == {1: "confirmed"}


def test_an_update_can_change_the_severity_with_its_words() -> None:
    world = Core()
    world.does("create", title="It")
    incident = world.does("update", 1, text="All of it.", severity=Severity.OUTAGE)
    assert (incident.severity, incident.updates[-1].severity) == (Severity.OUTAGE, Severity.OUTAGE)


def test_a_cancelled_plan_takes_its_held_mail_along() -> None:
    world = planned(mail=True)
    world.does("cancel", 1)
    assert world.state.mails == {}


def test_undo_of_a_cancellation_brings_the_held_mail_back_once() -> None:
    world = planned(mail=True)
    (held,) = world.state.mails.values()
    world.passes(10)
    world.does("cancel", 1)
    world.passes(25)
    world.does("undo", 1)
    assert world.hands_over() == held.key
    assert world.hands_over() == ""
    world.does("cancel", 1)
    world.does("undo", 1)
    assert world.state.mails == {}


def test_a_plan_that_is_cancelled_before_anybody_heard_of_it_is_announced_to_nobody() -> None:
    world = planned()
    world.passes(10)
    world.does("cancel", 1)
    world.passes(60)
    assert world.incident.announced_at is None
    world = planned()
    world.passes(10)
    world.does("cancel", 1)
    world.passes(25)
    assert world.does("undo", 1).announced_at == world.at


def test_what_is_unplanned_by_another_severity_is_cancelled_in_calendars_with_a_higher_number() -> (
    None
):
    for first, then in (
        (Severity.MAINTENANCE, Severity.PARTIAL),
        (Severity.NOTICE, Severity.MAINTENANCE),
    ):
        world = planned(severity=first, summary="Read this.")
        world.passes(600)
        before = world.incident
        incident = world.does("edit", 1, changes={"severity": then})
        assert (incident.planned_start, incident.planned_end) == (None, None)
        assert incident.unplanned == (before.planned_start, before.planned_end)
        assert incident.sequence == before.sequence + 1


def test_a_resolved_maintenance_that_becomes_an_outage_and_is_reopened_has_no_planned_end() -> None:
    world = planned()
    world.passes(700)
    world.does("resolve", 1)
    world.does("edit", 1, changes={"severity": Severity.OUTAGE})
    assert world.does("reopen", 1).planned_end is None


def test_an_edit_of_words_leaves_the_times_of_a_maintenance_under_way_alone() -> None:
    world = planned()
    world.passes(700)
    incident = world.does("edit", 1, changes={"title": "Moved"})
    assert (incident.planned_start, incident.planned_end) == (NOON + after(600), NOON + after(1200))
    world.passes(500)
    assert world.status() == {1: "resolved"}


def test_undo_of_a_start_brings_the_plan_back_whatever_was_edited_meanwhile() -> None:
    for changes in ({"title": "Moved"}, {"severity": Severity.NOTICE}):
        world = planned()
        world.passes(60)
        world.does("start", 1)
        world.does("edit", 1, changes=changes)
        incident = world.does("undo", 1)
        assert incident.status is Status.PLANNED
        assert (incident.started_at, incident.planned_start) == (
            NOON + after(600),
            NOON + after(600),
        )
        assert incident.planned_end == NOON + after(1200)


def test_the_words_of_a_cancelled_plan_can_be_edited() -> None:
    world = planned()
    world.does("cancel", 1)
    assert (
        world.does("edit", 1, changes={"summary": "We found a better day."}).summary
        == "We found a better day."
    )


@pytest.mark.parametrize("verb", ["postpone", "extend"])
def test_of_two_who_postpone_or_extend_the_same_time_the_second_is_told_who_was_first(
    verb: str,
) -> None:
    world = planned()
    if verb == "extend":
        world.does("start", 1)
    seen = world.incident.planned_end if verb == "extend" else world.incident.planned_start
    world.does("update", 1, text="The button is as good as before.")
    end = world.does(verb, 1, planned=seen).planned_end
    assert "Ada got there first" in world.refuses(verb, 1, planned=seen)
    assert world.incident.planned_end == end


def test_silent_drops_a_mail_that_waits_for_its_next_try_too() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    failing(world)
    world.does("edit", 1, changes={"silent": True})
    assert world.state.mails == {}


def test_of_a_silent_incident_or_one_that_is_made_silent_no_mail_can_be_asked_for() -> None:
    world = Core()
    world.does("create", title="It")
    for more in ({"changes": {"silent": True}}, {"changes": {"title": "Other"}}):
        change = world.act("edit", 1, mail=True, **more)
        assert change.field == ("mail" if "silent" in more["changes"] else "")
    world.does("edit", 1, changes={"silent": True})
    assert "silent" in world.refuses("update", 1, text="Words.", mail=True)
    assert not world.act("undo", 1, mail=True).refused
    world.does("create", title="It")
    world.does("edit", 2, changes={"silent": True})
    world.does("edit", 2, changes={"silent": False}, mail=True)


def unwanted(world: Core, how: str) -> Change:
    change = {"silent": {"silent": True}, "maintenance": {"severity": Severity.MAINTENANCE}}[how]
    return world.act("edit", 1, changes=change)


@pytest.mark.parametrize("how", ["silent", "maintenance"])
def test_a_mail_on_its_way_that_nobody_wants_any_more_is_dropped_unless_it_may_be_there(
    how: str,
) -> None:
    for ambiguous in (False, True):
        world = Core()
        world.does("create", title="It")
        world.passes(30)
        (key,) = world.state.mails
        world.submit(MailClaimed(at=world.at, key=key))
        unwanted(world, how)
        world.submit(
            MailSettled(
                at=world.at,
                key=key,
                error="503",
                ambiguous=ambiguous,
                retry_at=world.at + after(60),
            )
        )
        assert [m.unwanted for m in world.state.mails.values()] == [True] * ambiguous
        world.passes(60)
        if ambiguous:  # it is looked for, and not there
            world.submit(MailClaimed(at=world.at, key=key))
            world.submit(MailSettled(at=world.at, key=key, absent=True))
        assert world.state.mails == {}
        assert world.incident.mailed_at is None


def test_an_unclear_mail_that_became_unwanted_counts_where_it_is_found() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    key = failing(world, ambiguous=True)
    unwanted(world, "silent")
    assert world.state.mails[key].unwanted
    world.passes(60)
    assert world.hands_over() == key
    assert world.incident.mailed_at == world.at


def test_an_unclear_mail_that_became_unwanted_is_over_with_when_it_fails() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    failing(world, ambiguous=True)
    unwanted(world, "silent")
    world.passes(60)
    assert failing(world, permanent=True)
    assert world.state.mails == {}


def test_words_that_were_taken_back_are_not_obeyed_again_when_they_are_delivered_again() -> None:
    world = Core()
    world.does("create", title="It")
    world.does("watch", 1, text="A fix is in.", source="17.1")
    world.does("undo", 1)
    assert world.act("watch", 1, text="A fix is in.", source="17.1").is_empty
    assert world.status() == {1: "confirmed"}


def test_after_a_clock_that_went_back_the_next_word_is_promised_within_its_span() -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(-7200)
    assert promised_by(world.incident, world.policy) == world.at + after(1800)
    assert reminded(world.passes(1500)) == ["promise"]
    world.does("update", 1, text="Still on it.")
    assert promised_by(world.incident, world.policy) == world.at + after(1800)


def test_the_thread_of_a_maintenance_hears_that_its_real_outage_was_taken_back() -> None:
    world = Core()
    world.does("create", title="Move", severity=Severity.MAINTENANCE)
    world.raises("disk")
    world.does("real_outage", 1)
    change = world.act("undo", 2, by=BOB)
    assert ("no_outage", 1, BOB) in [(e.kind, e.incident, e.by) for e in change.entries]


def test_a_change_of_severity_by_an_update_is_in_the_log() -> None:
    world = Core()
    world.does("create", title="It")
    (entry,) = world.act("update", 1, text="All of it.", severity=Severity.OUTAGE).entries
    assert entry.detail["severity"] == "outage"
    assert world.does("update", 1, severity=Severity.PARTIAL).updates[-1].text == "regraded"


def test_the_log_of_an_edit_has_the_old_and_the_new_value() -> None:
    world = Core()
    world.does("create", title="Slow")
    (entry,) = world.act(
        "edit", 1, changes={"title": "Slow logins", "start": NOON - after(60), "silent": True}
    ).entries
    assert entry.detail["what"] == (
        "title: Slow → Slow logins; start: 2026-03-01T12:00:00Z → 2026-03-01T11:59:00Z; silent: no → yes"
    )


def test_a_title_of_over_150_characters_is_refused_at_its_field() -> None:
    world = Core()
    world.does("create", title="x" * 150)
    for verb, more in (
        ("create", {"title": "x" * 151}),
        ("edit", {"changes": {"title": "x" * 151}}),
    ):
        change = world.act(verb, 1, **more)
        assert ("150" in change.refused, change.field) == (True, "title")


def test_a_ready_sentence_is_that_of_the_kind_else_that_of_every_kind() -> None:
    texts = {
        "confirmed": "A problem.",
        "bug_confirmed": "A bug.",
        "watching": "Watching.",
        "maintenance_watching": "Checking.",
        "regraded": "Regraded.",
        "partial_regraded": "Now partial.",
    }
    world = Core(texts=texts)
    said = {
        severity: world.does("create", title="It", severity=severity).updates[-1].text
        for severity in (Severity.OUTAGE, Severity.PARTIAL, Severity.BUG)
    }
    assert list(said.values()) == ["A problem.", "A problem.", "A bug."]
    assert world.does("update", 1, severity=Severity.PARTIAL).updates[-1].text == "Now partial."
    assert world.does("update", 2, severity=Severity.OUTAGE).updates[-1].text == "Regraded."
    assert world.does("watch", 2).updates[-1].text == "Watching."
    world.does("create", title="Move", severity=Severity.MAINTENANCE)
    assert world.does("watch", 4).updates[-1].text == "Checking."


def test_a_notice_without_words_of_its_own_is_refused() -> None:
    world = planned(severity=Severity.NOTICE, summary="Prices change.")
    change = world.act("create", title="News", severity=Severity.NOTICE)
    assert ("needs words" in change.refused, change.field) == (True, "text")
    start, end = world.at + after(60), world.at + after(90)
    change = world.act("plan", title="News", severity=Severity.NOTICE, start=start, end=end)
    assert "needs words" in change.refused
    assert world.does("create", title="News", severity=Severity.NOTICE, summary="Read this.")
    world = suspicion()
    assert "needs words" in world.refuses("confirm", 1, severity=Severity.NOTICE)


def test_a_plan_that_an_edit_moves_says_so_as_one_that_is_postponed() -> None:
    world = planned()
    later = {"start": NOON + after(900), "end": NOON + after(1500)}
    incident = world.does("edit", 1, changes=later)
    assert [update.text for update in incident.updates] == ["planned", "postponed"]
    earlier = world.does("edit", 1, changes={"end": NOON + after(1400)})
    assert earlier.updates[-1].id > incident.updates[-1].id
    assert world.does("edit", 1, changes={"title": "Moved"}).updates == earlier.updates
    world.passes(900)
    under_way = world.does("edit", 1, changes={"end": NOON + after(2000)})
    assert under_way.updates[-1].text == "extended"
    assert len(world.does("edit", 1, changes={"end": NOON + after(1900)}).updates) == len(
        under_way.updates
    )


def test_a_clock_that_goes_back_puts_off_neither_a_retry_nor_an_alert_again() -> None:
    world = suspicion()
    world.does("create", title="It")
    world.passes(30)
    failing(world)
    world.passes(-90000)
    due = next_mail(world.state)
    assert due is not None
    assert due <= world.at + after(3600)
    assert reminded(world.passes(600)) == ["unattended"]


@pytest.mark.parametrize(
    "at",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), NOON.replace(tzinfo=None)],
)
def test_a_time_that_is_nonsense_is_refused(at: datetime) -> None:
    world = Core()
    world.does("create", title="It")
    assert "too far away" in world.refuses("edit", 1, changes={"start": at})
    assert "too far away" in world.refuses("plan", 0, title="Move", start=at, end=at)


def test_who_acts_twice_is_not_told_that_somebody_was_first() -> None:
    world = suspicion()
    world.does("confirm", 1)
    assert "Nothing was changed" in world.refuses("confirm", 1, by=ADA)


@pytest.mark.parametrize("wait", [60, 600, 3600])
def test_the_thread_is_told_after_five_minutes_of_failing_however_late_the_next_try_is(
    wait: float,
) -> None:
    world = Core()
    world.does("create", title="It")
    world.passes(30)
    world.hands_over(error="429", retry_at=world.at + after(wait))
    assert "mail_late" not in kinds(world.passes(299))
    assert next_due(world.state, world.policy) == world.at + after(1)
    assert "mail_late" in kinds(world.passes(1))
    assert "mail_late" not in kinds(world.passes(3600))


BREAKS = ("A\nB", "A\r\nB", "A\x85B", "A\u2028B", "A\tB", " A \n\n B ")


@pytest.mark.parametrize("title", BREAKS)
def test_a_title_is_one_line_however_it_was_written(title: str) -> None:
    world = Core()
    world.does("create", title=title)
    assert world.incident.title == "A B"
    world.does("edit", 1, changes={"title": f"Not {title}"})
    assert world.incident.title == "Not A B"


# Words, and what becomes worse.


def test_words_are_taken_down_for_ten_minutes_with_their_mail_and_leave_the_ready_sentence() -> (
    None
):
    world = suspicion(texts={"watching": "A fix is in.", "confirmed": "It is real."})
    world.does("confirm", 1)
    assert "no such words" in world.refuses("take_down", 1)
    world.does("watch", 1, text="the password is hunter2")
    world.does("update", 1, text="and so is this", mail=True)
    newest = world.incident.updates[-1].id
    assert world.incident.spoken == newest
    mails = len(world.state.mails)
    change = world.act("take_down", 1, update=newest)
    assert [u.text for u in world.incident.updates[1:]] == [
        "It is real.",
        "the password is hunter2",
    ]
    assert len(world.state.mails) == mails - 1
    assert change.entries[-1].detail["text"] == "and so is this"
    assert "somebody got there first" in world.refuses("take_down", 1, update=newest)
    world.does("take_down", 1)
    assert [u.text for u in world.incident.updates[1:]] == ["It is real.", "A fix is in."]
    world.does("update", 1, text="Half of it works.")
    due = world.at + after(600)
    assert world.incident.spoken
    while world.at < due:
        world.at = min(due, next_due(world.state, world.policy) or due)
        world.passes(0)
    assert world.incident.spoken == 0


def test_words_whose_message_was_deleted_are_asked_about_once() -> None:
    world = suspicion()
    world.does("confirm", 1)
    world.does("update", 1, text="Half of it works.", source="17.1")
    world.does("watch", 1, source="17.2")
    said = [
        world.submit(Unsaid(at=world.at, incident=1, source=ts))
        for ts in ("17.1", "17.1", "17.2", "")
    ]
    assert [kinds(change) for change in said] == [["unsaid"], [], [], []]
    update = said[0].entries[0].detail["update"]
    world.passes(3600)
    world.does("take_down", 1, update=int(update))


def test_a_false_alarm_is_one_also_after_it_went_by_itself_and_ends_reopening() -> None:
    world = suspicion()
    world.passes(60)
    world.closes("disk")
    over = world.at
    world.passes(30)
    assert world.does("dismiss", 1).ended_at == over
    assert "Ada got there first" in world.refuses("dismiss", 1)
    world.raises("disk")
    assert world.status() == {1: "dismissed", 2: "suspected"}


@pytest.mark.parametrize("verb", ["update", "edit"])
def test_a_step_up_to_an_outage_holds_a_mail_and_is_undone_as_a_confirmation_is(verb: str) -> None:
    world = Core(texts={"regraded": "This is now worse."})
    world.does("create", title="It", severity=Severity.BUG, mail=False)
    world.passes(60)
    for severity in (Severity.PARTIAL, Severity.OUTAGE):
        more: Any = {"changes": {"severity": severity}}
        world.does(verb, 1, **(more if verb == "edit" else {"severity": severity}))
        assert world.incident.updates[-1].text == "This is now worse."
        newest = max(world.state.mails.values(), key=lambda mail: mail.entry)
        assert newest.update == world.incident.updates[-1].id
    world.does("undo", 1)
    assert (world.incident.severity, len(world.incident.updates)) == (Severity.PARTIAL, 2)
    world.does("undo", 1)
    assert (world.incident.severity, world.state.mails) == (Severity.BUG, {})
    world.does("update", 1, severity=Severity.NOTICE)
    assert (world.incident.undo, world.state.mails) == ((), {})


def test_who_wants_no_mail_about_a_change_of_status_drops_what_is_held() -> None:
    world = suspicion()
    world.does("confirm", 1)
    world.does("update", 1, text="Half of it works.")
    assert len(world.state.mails) == 1
    world.does("resolve", 1, mail=False)
    assert world.state.mails == {}


def test_still_working_renews_the_promise_once_and_a_resolved_incident_takes_a_follow_up() -> None:
    world = suspicion(texts={"still_working": "We are still working on this."})
    world.does("confirm", 1)
    shown = world.incident.updates[-1].id
    world.passes(1500)
    world.does("still_working", 1, update=shown)
    assert world.incident.updates[-1].text == "We are still working on this."
    assert promised_by(world.incident, world.policy) == world.at + after(1800)
    assert "Somebody got there first" in world.refuses("still_working", 1, update=shown)
    world.does("resolve", 1)
    over = world.incident.ended_at
    world.passes(60)
    incident = world.does("update", 1, text="It was the disk.")
    assert (incident.status, incident.ended_at) == (Status.RESOLVED, over)
    assert "nothing" in world.refuses("still_working", 1)


def test_an_outage_found_in_a_maintenance_can_be_called_one_again_after_its_undo() -> None:
    world = Core()
    world.does("create", title="Move", severity=Severity.MAINTENANCE)
    world.raises("disk")
    for number in (2, 3):
        world.does("real_outage", 1)
        assert world.home("disk") == number
        change = world.act("undo", number)
        assert change.entries[-1].detail["maintenance"] == "True"
        assert world.home("disk") == 1
