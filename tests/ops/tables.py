"""What breaks the database beside a daemon that runs."""

from tests.world import World


async def rename(world: World, old: str, new: str) -> None:
    await world.in_file(f"ALTER TABLE {old} RENAME TO {new}")
