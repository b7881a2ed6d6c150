"""The words of the pure core: incidents and what may be done with them, and the facts that come in at the edges.

Every time is aware and UTC. PRODUCT.md section 2 is the contract.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """Where an incident stands."""

    PLANNED = "planned"  # announced for later
    SUSPECTED = "suspected"  # monitoring alerts, no human has looked yet
    DISMISSED = "dismissed"  # a false alarm, over before anybody looked, or a plan that was cancelled
    CONFIRMED = "confirmed"  # a human says it is real; for maintenance: it is under way
    WATCHING = "watching"  # a fix is in
    RESOLVED = "resolved"  # over


class Severity(StrEnum):
    """How bad it is, from harmless to worst."""

    NOTICE = "notice"
    MAINTENANCE = "maintenance"
    BUG = "bug"
    PARTIAL = "partial"
    OUTAGE = "outage"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


OPEN = (Status.SUSPECTED, Status.CONFIRMED, Status.WATCHING)
UNDER_WAY = (Status.CONFIRMED, Status.WATCHING)
SERIOUS = (Severity.PARTIAL, Severity.OUTAGE)


class Verb(NamedTuple):
    """One row of the table of what people may do: from these statuses, to that one, with its ready public sentence."""

    name: str
    label: str
    allowed: tuple[Status, ...]
    leads_to: Status
    sentence: str
    mails: bool = True


_S = Status
#: The one table that buttons, mentions, command line and refusals read.
VERBS: tuple[Verb, ...] = (
    Verb("confirm", "It is real", (_S.SUSPECTED, _S.DISMISSED), _S.CONFIRMED, "confirmed"),
    Verb("dismiss", "False alarm", (_S.SUSPECTED,), _S.DISMISSED, "false_alarm", mails=False),
    Verb("was_real", "It was real", (_S.DISMISSED,), _S.RESOLVED, "was_real", mails=False),
    Verb("watch", "Watching", (_S.CONFIRMED,), _S.WATCHING, "watching"),
    Verb("not_fixed", "Not fixed", (_S.WATCHING,), _S.CONFIRMED, "not_fixed"),
    Verb("resolve", "Resolve", UNDER_WAY, _S.RESOLVED, "resolved"),
    Verb("reopen", "Reopen", (_S.RESOLVED,), _S.CONFIRMED, "reopened"),
    Verb("start", "Start now", (_S.PLANNED,), _S.CONFIRMED, "started"),
    Verb("cancel", "Cancel", (_S.PLANNED,), _S.DISMISSED, "cancelled"),
)
VERB = {verb.name: verb for verb in VERBS}


def one_line(text: str) -> str:
    """Words from outside as one line that nobody can take for two, and that every file and vendor can hold."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who acted; `id` is Slack's user id, or empty for the shell."""

    name: str
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A public sentence, with the status and severity that the incident had from then on."""

    id: int
    incident: int
    status: Status
    severity: Severity
    at: datetime
    text: str
    edited_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a status change alters of an incident, as it was before: Undo puts exactly this back."""

    severity: Severity
    status: Status
    started_at: datetime
    ended_at: datetime | None
    planned_end: datetime | None
    status_at: datetime
    status_by: str
    status_entry: int
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """How to take a human's status change back while its window runs."""

    at: datetime
    until: datetime
    update: int
    before: Standing | None  # None: the change made the incident, Undo lets it vanish
    announces: bool = False
    alerts_from: int | None = None  # the maintenance that lent its alerts to a real outage


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Everything known of one incident; times are aware and UTC."""

    number: int
    title: str
    severity: Severity
    status: Status
    started_at: datetime
    created_at: datetime  # shown here
    updated_at: datetime  # the last public change
    ended_at: datetime | None = None
    planned_start: datetime | None = None
    planned_end: datetime | None = None
    summary: str = ""
    silent: bool = False
    ask: bool = False  # a plan that waits for a human at its start and end
    status_at: datetime
    status_by: str = ""  # empty: an automatic change
    status_entry: int  # the log entry of the last status change: a clock that never jumps
    noticed_at: datetime | None = None  # by monitoring
    confirmed_at: datetime | None = None
    first_mailed_at: datetime | None = None
    mailed_at: datetime | None = None  # the last time
    announced_at: datetime | None = None
    updates: tuple[Update, ...] = ()  # oldest first
    undo: tuple[Undo, ...] = ()  # oldest first

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_maintenance(self) -> bool:
        return self.severity is Severity.MAINTENANCE

    @property
    def was_plan(self) -> bool:
        """A dismissed plan is a cancelled one, and final; a dismissed suspicion is not."""
        return self.planned_start is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert as monitoring tells it; its words are for staff only."""

    id: str
    message: str
    created_at: datetime
    source: str = ""
    priority: str = ""
    closed_at: datetime | None = None
    incident: int | None = None
    joined: int = 0  # the log entry of its joining
    ignored: bool = False  # older than the first poll cared for


class Post(StrEnum):
    """Where a mail stands on its way out."""

    HELD = "held"  # waits for the end of its window, or for its next try
    CLAIMED = "claimed"  # handed to the vendor, no answer yet
    FAILED = "failed"  # refused, or given up: waits for a human's Retry
    SENT = "sent"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mailing that has to leave once; `key` is unique for ever and begins with the database's epoch."""

    key: str
    incident: int
    update: int
    at: datetime
    not_before: datetime
    state: Post = Post.HELD
    attempts: int = 0
    first_tried: datetime | None = None
    ambiguous: bool = False  # the vendor may have it although it did not say so
    told: bool = False  # the thread knows that it is late
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the log, and of the incident's thread: who did what when; its id is the core's own clock."""

    id: int
    incident: int | None
    at: datetime
    kind: str
    by: str = ""
    detail: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """Whether monitoring answers, and since when that is so."""

    ok: bool = True
    since: datetime
    seeded: bool = False  # the first poll of this database is over


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that monostat knows; the store holds it, memory has this copy."""

    epoch: str
    incidents: Mapping[int, Incident] = field(default_factory=dict)
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    mails: Mapping[str, Mail] = field(default_factory=dict)  # those that have not left yet
    monitoring: Monitoring
    checked_at: datetime  # the last answer of monitoring, or the start of the process; never stored
    answered: bool = False  # has it answered since the start of the process
    incidents_made: int = 0
    updates_made: int = 0
    entries_made: int = 0

    def open_alerts(self, number: int) -> list[Alert]:
        return [a for a in self.alerts.values() if a.incident == number and a.closed_at is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the configuration decides; spans are seconds."""

    monitoring: bool = True
    mails: bool = True
    undo_window: float = 30
    reopen_within: float = 900
    stale_after: float = 120
    max_alert_age: float = 3600
    update_every: float = 1800
    mail_tell: float = 300
    mail_give_up: float = 86400
    incident_title: str = "Possible problem"
    incident_text: str = "Our monitoring has noticed a problem. We are checking."
    texts: Mapping[str, str] = field(default_factory=dict)
    zone: tzinfo = UTC

    def clock(self, at: datetime) -> str:
        """A time of day for a sentence to staff."""
        return at.astimezone(self.zone).strftime("%H:%M:%S %Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEnded:
    """What monitoring says of one alert when asked for it by id: it is over."""

    id: str
    at: datetime
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsSeen:
    """The whole picture of one successful poll."""

    at: datetime
    open: tuple[Alert, ...]
    ended: tuple[AlertEnded, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Somebody does something; `verb` is a name of VERBS or create, plan, update, real_outage, undo, send, retry."""

    at: datetime
    verb: str
    by: Person
    incident: int = 0
    update: int | None = None  # the update whose change is meant, for an Undo that two may tap at once
    severity: Severity | None = None
    title: str = ""
    text: str = ""
    summary: str = ""
    start: datetime | None = None
    end: datetime | None = None
    ask: bool = False
    mail: bool | None = None  # None: as the rules say


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has come."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MailClaimed:
    """The outbox is about to hand this mail over."""

    at: datetime
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettled:
    """The outbox tells how it went: `error` is empty when the vendor has the mail."""

    at: datetime
    key: str
    error: str = ""
    permanent: bool = False
    ambiguous: bool = False
    retry_at: datetime | None = None


Event = AlertsSeen | Act | Tick | MailClaimed | MailSettled


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What the newest version is about."""

    incident: int | None
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an event leads to: the state after it, the rows to write, and a sentence where a person is refused."""

    state: State
    incidents: tuple[Incident, ...] = ()
    gone: tuple[int, ...] = ()
    alerts: tuple[Alert, ...] = ()
    mails: tuple[Mail, ...] = ()
    entries: tuple[Entry, ...] = ()
    changed: Changed | None = None
    refused: str = ""
    made: int | None = None  # the number of an incident that a person created
    monitoring: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing to write."""
        return not (self.incidents or self.gone or self.alerts or self.mails or self.entries or self.monitoring)
