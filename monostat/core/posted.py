"""What the database remembers of each post that Slack was given."""

from datetime import datetime

from monostat.core.model import Entry, Fact


class Posted(Fact):
    """What Slack was given under a key.

    `claimed_at` is when we began to post it, `ts` is Slack's name for it once that is known, and
    `digest` is of what it showed last. `asks` is the line whose buttons it shows.
    """

    key: str
    claimed_at: datetime | None = None
    ts: str | None = None
    digest: str = ""
    #: The ts of an incident's older messages, whose threads still count.
    earlier: tuple[str, ...] = ()
    asks: Entry | None = None
    #: The key that it was posted under, if at all, by the database that this one was copied from.
    sought: str = ""
