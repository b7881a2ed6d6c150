"""An engine on a file, without an application around it."""

from datetime import UTC, datetime

from monostat.core.model import Policy, State
from monostat.core.snapshot import Snapshot, take
from monostat.engine import Engine
from monostat.languages import load_words
from monostat.store import Store

START = datetime(2026, 11, 24, 10, tzinfo=UTC)


POLICY = Policy(reopen_within=60)


def snapshot(state: State, at: datetime) -> Snapshot:
    return take(
        state, at, POLICY, words=load_words("en"), name="Example", url="https://status.example.com"
    )


async def board_on(store: Store, at: datetime = START) -> Engine:
    board = Engine(POLICY, lambda: at, "b", snapshot)
    await board.start(store)
    return board
