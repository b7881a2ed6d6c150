"""An engine on a file, without an application around it."""

from dataclasses import replace
from datetime import UTC, datetime

from monostat.core.model import State
from monostat.core.snapshot import Snapshot, take
from monostat.engine import Engine
from monostat.languages import load_words
from monostat.store import Store
from tests.policies import POLICY

START = datetime(2026, 11, 24, 10, tzinfo=UTC)


BRIEF = replace(POLICY, reopen_within=60)


def snapshot(state: State, at: datetime) -> Snapshot:
    return take(
        state, at, BRIEF, words=load_words("en"), name="Example", url="https://status.example.com"
    )


async def board_on(store: Store, at: datetime = START) -> Engine:
    board = Engine(BRIEF, lambda: at, "b", snapshot)
    await board.start(store)
    return board
