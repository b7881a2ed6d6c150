"""What breaks the database beside a daemon that runs."""

import sqlite3
from contextlib import closing

from tests.world import World


def rename(world: World, old: str, new: str) -> None:
    with closing(sqlite3.connect(world.folder / "monostat.db", timeout=5)) as other:
        other.execute(f"ALTER TABLE {old} RENAME TO {new}")
