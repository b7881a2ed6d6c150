"""What comes in at the edges, each with its time: polls, people, deliveries, and time itself."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from monostat.core.model import Alert, Fact, Severity, Status


class Event(Fact):
    """What has happened, and when."""

    at: datetime


class Tick(Event):
    """Nothing but that time has passed, which every other event says, too."""


class AlertsSeen(Event):
    """The whole picture of one successful poll; `ended`: which are over when asked for by id, and
    since when.

    `source` is who told it, `refused` why one of the alerts may no longer be seen.
    """

    open: tuple[Alert, ...]
    ended: Mapping[str, datetime] = field(default_factory=dict)
    source: str = ""
    refused: str = ""


class AlertsUnseen(Event):
    """A poll has failed, and why."""

    reason: str


class MonitoringSilent(Event):
    """Monitoring has not answered for too long; whoever asks it measures that, on no clock that can
    be set.
    """


class Changes(Fact):
    """What an edit changes; None leaves it as it is."""

    title: str | None = None
    severity: Severity | None = None
    start: datetime | None = None
    end: datetime | None = None
    summary: str | None = None
    silent: bool | None = None


class Act(Event):
    """Somebody does something; `verb` is a name of the table in `verbs`.

    An edit has `changes`, and `texts`: new texts of updates by their ids, where an empty one
    deletes the update.
    """

    verb: str
    by: str
    incident: int = 0
    # The update that is meant, or the newest at that time: two may tap the same thing at once.
    update: int | None = None
    # The planned time, to the second, that is to be moved on: two may tap that at once.
    planned: datetime | None = None
    severity: Severity | None = None
    title: str = ""
    text: str = ""
    summary: str = ""
    start: datetime | None = None
    end: datetime | None = None
    ask: bool = False
    mail: bool | None = None  # None: as the rules say
    source: str = ""
    changes: Changes = Changes()
    texts: Mapping[int, str] = field(default_factory=dict)


class Unsaid(Event):
    """Somebody has deleted the Slack message in which an update of an incident was said."""

    incident: int
    source: str


class Alerted(Event):
    """Slack has accepted that the team is alerted again."""

    incident: int


class MailClaimed(Event):
    """The outbox is about to hand this mail over, with these words unless it has some already."""

    key: str
    letter: str = ""


class MailSettled(Event):
    """The outbox tells how it went, with the vendor's number of the `mailing` where it has one.

    Without `error` and `waiting` it has left. With an error that is not `permanent` there is
    another try at `retry_at`.
    """

    key: str
    mailing: int = 0
    waiting: str = ""  # the vendor has it and has not begun to send it: its word for that
    error: str = ""
    permanent: bool = False
    gone: bool = False  # the vendor had it, and can send it no more
    invalid: bool = False  # the vendor called it so without saying why, which may pass
    ambiguous: bool = False
    absent: bool = False  # it was looked for in vain, and is not wanted any more, or outdated
    retry_at: datetime | None = None  # also the next look at one that waits


class Sentence(Fact):
    """A public sentence of elsewhere, with the status from then on.

    Without words it gets the ready sentence of its status, without a severity the incident's.
    """

    status: Status
    at: datetime
    text: str = ""
    severity: Severity | None = None
    edited_at: datetime | None = None


class Record(Fact):
    """An incident of elsewhere that is over; `source` is where it comes from, and its id there.

    The same source is the same incident, however often it comes: "statuspage/kctbh9vrtdwd",
    "django/17", or of another monostat "monostat/k3v9x2m4q7ab/17".
    """

    source: str
    title: str
    severity: Severity
    started_at: datetime
    ended_at: datetime
    created_at: datetime
    updated_at: datetime
    planned_start: datetime | None = None
    planned_end: datetime | None = None
    summary: str = ""
    noticed_at: datetime | None = None
    confirmed_at: datetime | None = None
    first_mailed_at: datetime | None = None
    updates: tuple[Sentence, ...] = ()  # oldest first


class Imported(Event):
    """Somebody brings some of the incidents that were over elsewhere.

    `added` is how many came before with the same command; the `last` of its events is told to
    staff. `known` are the sources of those that are here already, which the store knows.
    """

    records: tuple[Record, ...]
    by: str
    added: int = 0
    last: bool = False
    known: frozenset[str] = frozenset()
