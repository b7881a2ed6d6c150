"""Errors in calls of the composition root and of the core, each of which `make types` finds.

Nothing here runs. An error that mypy did not see, as behind a dict that is splatted into a call,
would leave its mark unused, and strict mypy refuses marks that are not used.
"""

from dataclasses import replace
from datetime import UTC, datetime

from monostat import app
from monostat.config import Config, Timing
from monostat.core.decide import decide
from monostat.core.draft import Draft
from monostat.core.events import Act
from monostat.core.model import CONFIRMED, Course, Severity, State
from monostat.core.plans import NewTimes, keep_times
from monostat.engine import Engine
from monostat.ops.metrics import Telemetry
from monostat.public.live.hub import Hub
from tests.policies import POLICY

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def a_wrong_type(config: Config, state: State) -> None:
    """Where something of another kind is meant."""
    app.make_app(config, timing=5.0)  # type: ignore[arg-type]
    decide(state, Act(at=NOW, verb="confirm", by=7), POLICY)  # type: ignore[arg-type]
    Engine(POLICY, NOW, "build", list)  # type: ignore[arg-type]


def a_missing_field(config: Config, draft: Draft) -> None:
    """Where what has no default is left out."""
    Hub(config.server, Timing())  # type: ignore[call-arg]
    Telemetry()  # type: ignore[call-arg]
    suspicion = Course(severity=Severity.OUTAGE, status=CONFIRMED)  # type: ignore[call-arg]
    draft.open_incident(suspicion, title="Uploads fail")  # type: ignore[call-arg]


def an_unknown_field(config: Config, state: State, draft: Draft) -> None:
    """Where there is nothing of that name."""
    app.make_app(config, clock=NOW)  # type: ignore[call-arg]
    decide(state, Act(at=NOW, verb="confirm", name="Ada"), POLICY)  # type: ignore[call-arg]
    replace(POLICY, undo_seconds=30)  # type: ignore[call-arg]
    incident = state.incidents[17]
    draft.touch(replace(incident, headline="It"))  # type: ignore[call-arg]
    draft.change_status(  # type: ignore[call-arg]
        incident, CONFIRMED, entry="confirmed", text="It is.", confirmed_by="Ada"
    )
    keep_times(incident, NewTimes(planned_ends=NOW))  # type: ignore[call-arg]
