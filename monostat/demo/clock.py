"""The clock of the simulated vendors."""

from datetime import UTC, datetime


def utcnow() -> datetime:
    """Now, where a test has no time of its own."""
    return datetime.now(UTC)
