"""A short torture; `make torture` is the long one, and docs/reliability.md tells what it found."""

from pathlib import Path

from tests.torture.rounds import tortured


async def test_kill_9_at_any_step_among_failing_vendors_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    counts, _ = await tortured(tmp_path, seed=7, rounds=6)
    assert counts["crashes"] == 6
    assert (counts["duplicates"], counts["losses"]) == (0, 0)
