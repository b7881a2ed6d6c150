"""The values of the core: incidents, their alerts and mails, and the state that holds them.

Every time is aware and UTC, every span a number of seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import NamedTuple, dataclass_transform


class Status(StrEnum):
    """Where an incident stands; a row has the words and the mark that staff know it by."""

    label: str
    mark: str

    def __new__(cls, value: str, label: str = "", mark: str = "") -> "Status":
        self = str.__new__(cls, value)
        self._value_ = value
        self.label = label
        self.mark = mark
        return self

    #: Announced for later.
    PLANNED = "planned", "Planned", "📅"
    #: Monitoring alerts, no human has looked yet.
    SUSPECTED = "suspected", "Suspected, not confirmed", "❔"
    #: A false alarm, over before anybody looked, or a plan that was cancelled.
    DISMISSED = "dismissed", "Ended by itself", "⚪"
    #: A human says it is real; for maintenance: it is under way. Its mark is that of its severity.
    CONFIRMED = "confirmed", "Confirmed", ""
    #: A fix is in.
    WATCHING = "watching", "Fix in place", "🟡"
    #: Over.
    RESOLVED = "resolved", "Resolved", "✅"


class Severity(StrEnum):
    """How bad it is, from harmless to worst; a row has all that belongs to it.

    `rank` counts from the most harmless, 0. `indicator` and `indicator_text` are Statuspage's
    words for it: https://metastatuspage.com/api/v2
    """

    label: str
    mark: str
    rank: int
    indicator: str
    indicator_text: str

    def __new__(
        cls,
        value: str,
        label: str = "",
        mark: str = "",
        indicator: str = "",
        indicator_text: str = "",
    ) -> "Severity":
        self = str.__new__(cls, value)
        self._value_ = value
        self.label = label
        self.mark = mark
        self.rank = len(cls.__members__)
        self.indicator = indicator
        self.indicator_text = indicator_text
        return self

    NOTICE = "notice", "Notice", "📣", "none", "All Systems Operational"
    MAINTENANCE = "maintenance", "Maintenance", "🔧", "maintenance", "Service Under Maintenance"
    BUG = "bug", "Known bug", "🐞", "minor", "Minor Service Outage"
    PARTIAL = "partial", "Partial outage", "🟠", "major", "Partial System Outage"
    OUTAGE = "outage", "Outage", "🔴", "critical", "Major Service Outage"


PLANNED = Status.PLANNED
SUSPECTED = Status.SUSPECTED
DISMISSED = Status.DISMISSED
CONFIRMED = Status.CONFIRMED
WATCHING = Status.WATCHING
RESOLVED = Status.RESOLVED
#: No human has said that it is real. A cancelled plan is dismissed as well: see `is_unconfirmed`.
UNCONFIRMED = (SUSPECTED, DISMISSED)
OPEN = (SUSPECTED, CONFIRMED, WATCHING)
UNDER_WAY = (CONFIRMED, WATCHING)
OVER = (DISMISSED, RESOLVED)
SERIOUS = (Severity.PARTIAL, Severity.OUTAGE)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Fact:
    """A frozen value; every subclass is a dataclass by itself."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)


class Update(Fact):
    """A public sentence, with the status and severity that the incident had from then on."""

    id: int
    incident: int
    status: Status
    severity: Severity
    at: datetime
    text: str
    by: str = ""  # who had set that status; empty: an automatic change
    edited_at: datetime | None = None
    source: str = ""  # Slack's ts of the message that it was said in, for staff who edit that
    # Of somebody's own words, what takes their place when they are taken down; "": nothing does.
    instead: str | None = None

    @property
    def is_own(self) -> bool:
        """It is in somebody's own words."""
        return self.instead is not None


class Course(Fact):
    """How bad something is, where it stands, and from when to when it was or is planned to be."""

    severity: Severity
    status: Status
    status_by: str = ""  # empty: an automatic change
    started_at: datetime
    ended_at: datetime | None = None
    planned_start: datetime | None = None
    planned_end: datetime | None = None

    @property
    def is_open(self) -> bool:
        """It goes on: it is suspected, confirmed or watched."""
        return self.status in OPEN

    @property
    def is_maintenance(self) -> bool:
        """It is work on purpose, planned or not."""
        return self.severity is Severity.MAINTENANCE

    @property
    def is_unconfirmed(self) -> bool:
        """It is a suspicion, or was dismissed as one: nobody is mailed about it."""
        return self.status in UNCONFIRMED and not self.was_plan

    @property
    def was_plan(self) -> bool:
        """A dismissed plan is a cancelled one, and final; a dismissed suspicion is not."""
        return self.planned_start is not None


class Standing(Course):
    """What a status change alters of an incident: Undo puts exactly this back."""

    status_at: datetime
    status_entry: int  # the log entry of the last status change: a clock that never jumps
    confirmed_at: datetime | None = None


#: Seconds that a vendor may ask us to wait before the next try, at most.
MAX_RETRY_AFTER = 3600.0


class MailState(StrEnum):
    """Where a mail stands on its way out."""

    HELD = "held"  # waits for the end of its window, or for its next try
    CLAIMED = "claimed"  # on its way to the vendor, no answer yet
    HANDED_OVER = "handed_over"  # the vendor has it, and has not begun to send it
    FAILED = "failed"  # refused, stopped there, or given up: waits for a human's Retry
    SENT = "sent"  # the vendor sends it, or has
    DROPPED = "dropped"


#: Of a mail that is over with.
GONE = (MailState.SENT, MailState.DROPPED)


class Mail(Fact):
    """A mail that has to leave once.

    `key` is unique for ever, and begins with the epoch of the database.
    """

    key: str
    incident: int
    update: int
    entry: int  # the log entry of its cause: a later one is newer
    at: datetime
    not_before: datetime  # the next thing is done with it
    state: MailState = MailState.HELD
    attempts: int = 0
    first_tried: datetime | None = None
    letter: str = ""  # its text, which does not change once the vendor may have it
    outdated: bool = False  # words of its letter are gone: it is written anew where that can be
    ambiguous: bool = False  # the vendor may have it although it did not say so
    unwanted: bool = False  # the vendor may have it; it must not be sent otherwise, nor again
    told: bool = False  # the thread knows that it is late
    error: str = ""
    mailing: int = 0  # its number at the vendor; before it is sent anew the one to delete first
    handed_over_at: datetime | None = None
    revision: int = 1  # of its title: one that is sent anew is another mailing
    releasable: bool = False  # failed, but the vendor may still send it: it is asked now and then
    invalid: int = 0  # how often the vendor called it invalid without saying why

    @property
    def is_followed(self) -> bool:
        """The vendor has it, and is asked whether it sends it."""
        is_failed = self.state is MailState.FAILED and self.releasable
        return is_failed or self.state is MailState.HANDED_OVER

    @property
    def last_letter(self) -> str:
        """What is looked for, or tried again; empty: it is to be written."""
        if self.outdated and not self.ambiguous:
            return ""
        return self.letter

    @property
    def title(self) -> str:
        """What the vendor knows it by, unlike any other of this database or another."""
        if self.revision > 1:
            return f"monostat {self.key} r{self.revision}"
        return f"monostat {self.key}"


class Undo(Fact):
    """How to take a human's status change back while its window runs."""

    at: datetime
    until: datetime
    update: int
    before: Standing | None  # None: the change made the incident, Undo lets it vanish
    announces: bool = False
    alerts_from: int | None = None  # the maintenance that lent its alerts to a real outage
    held: tuple[Mail, ...] = ()  # what a cancellation kept from leaving


class Incident(Standing):
    """Everything known of one incident."""

    number: int
    title: str
    created_at: datetime  # shown here
    updated_at: datetime  # the last public change
    summary: str = ""
    silent: bool = False
    has_ready_title: bool = False  # nobody has given it a title: it has one of the settings'
    ask: bool = False  # a plan that waits for a human at its start and end
    noticed_at: datetime | None = None  # by monitoring
    first_mailed_at: datetime | None = None
    mailed_at: datetime | None = None  # the last time
    announced_at: datetime | None = None
    touched: bool = False  # a suspicion that staff have acted on
    reminded_at: datetime  # what staff had to be reminded of until then is over
    last_reminder: datetime | None = None  # when staff were last reminded of anything
    alerted_at: datetime | None = None  # when Slack last accepted that the team is alerted again
    sequence: int = 0  # rises when planned times or a cancellation change: RFC 5545 section 3.8.7.4
    planned_by: str = ""  # who moved the planned times last
    # The window that calendars knew before it was no plan any more.
    unplanned: tuple[datetime, datetime] | None = None
    promised_from: datetime | None = None  # where the clock went back behind the last update
    spoken: int = 0  # the newest update in somebody's own words, while a tap takes it down
    heard: tuple[str, ...] = ()  # the sources of all updates, also of those that were taken back
    imported_from: str = ""  # its source elsewhere, and its id there
    imported_at: datetime | None = None
    as_it_came: bool = False  # imported, and nobody here has changed anything of it
    updates: tuple[Update, ...] = ()  # oldest first
    undo: tuple[Undo, ...] = ()  # oldest first

    def as_of(self, update: Update) -> "Incident":
        """The incident with the status and severity that it had from this update on."""
        return replace(self, status=update.status, severity=update.severity, status_by=update.by)

    @property
    def is_told_elsewhere(self) -> bool:
        """It was over before it came here, and nobody here has changed where it stands."""
        return bool(self.imported_from) and self.status_entry == 0

    @property
    def is_in_calendars(self) -> bool:
        """It is a plan, or was one: calendars may know it."""
        return self.was_plan or self.unplanned is not None

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Of a maintenance; one that was not planned, or is reopened after its plan, has no end of
        its own.
        """
        if self.unplanned and not self.was_plan:
            return self.unplanned
        start = self.planned_start or self.started_at
        end = self.planned_end or self.ended_at or start + timedelta(hours=1)
        if start >= end:  # begun early, and shortened
            start = self.started_at
        return start, end


class Episode(Course):
    """As much of an incident as a calendar shows."""

    number: int
    title: str


class Alert(Fact):
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

    @property
    def is_open(self) -> bool:
        """Monitoring has not said that it is over."""
        return self.closed_at is None


class Entry(Fact):
    """A line of the log, and of the incident's thread: who did what when; its id is the core's own
    clock.
    """

    id: int
    incident: int | None
    at: datetime
    kind: str
    by: str = ""
    detail: dict[str, str] = field(default_factory=dict)


class Monitoring(Fact):
    """Whether monitoring answers, and since when that is so."""

    ok: bool = True
    since: datetime
    seeded: bool = False  # the first poll of this database is over
    source: str = ""  # whose alerts these are; another source is a fresh start


class Birth(Fact):
    """What is fixed at the first start, for ids that programs keep."""

    page_id: str = "m0n0stat0000"
    host: str = ""
    at: datetime = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class State:
    """All that can still change by itself, or is shown as news; `past` says what is not here.

    The store holds it and all the rest, memory has this copy, and `decide` alters only its own.
    """

    epoch: str
    birth: Birth = field(default_factory=Birth)
    incidents: dict[int, Incident] = field(default_factory=dict)  # those that are not past
    alerts: dict[str, Alert] = field(default_factory=dict)
    mails: dict[str, Mail] = field(default_factory=dict)  # those that have not left yet
    monitoring: Monitoring
    checked_at: datetime  # the last answer of monitoring, or the start of the process; never stored
    answered: bool = False  # has it answered since the start of the process
    trouble: str = ""  # what keeps us from seeing it, or one of its alerts; never stored either
    incidents_made: int = 0
    newest_own: tuple[int, ...] = ()  # the last numbers that were no import's
    updates_made: int = 0
    entries_made: int = 0
    revision: int = 0  # rises with whatever programs list of incidents, also of past ones

    def open_alerts(self, number: int) -> list[Alert]:
        """Those of an incident that are not over, as monitoring tells."""
        return [a for a in self.alerts.values() if a.incident == number and a.is_open]

    def mails_of(self, number: int) -> list[Mail]:
        """Those that are not known to have left, oldest first."""
        waiting = [
            m
            for m in self.mails.values()
            if m.incident == number and m.state not in GONE and not m.unwanted
        ]
        return sorted(waiting, key=lambda m: m.entry)


class Policy(Fact):
    """What the configuration decides."""

    monitoring: bool
    mails: bool
    subscribe: bool  # may visitors, on the page
    undo_window: float
    reopen_within: float
    max_alert_age: float
    update_every: float
    remind_after: tuple[float, ...]
    soon: float  # before a plan starts or ends
    mail_tell: float
    mail_leave: float  # for the vendor to begin to send what it has
    mail_give_up: float
    incident_title: str
    incident_text: str
    texts: Mapping[str, str]
    zone: tzinfo


class Subject(NamedTuple):
    """What the newest version is about: an incident, if one, and the kind of what happened."""

    incident: int | None
    kind: str


class Change(Fact):
    """What an event leads to: the state after it, the rows to write, and a sentence where a person
    is refused.
    """

    state: State
    incidents: tuple[Incident, ...] = ()
    gone: tuple[int, ...] = ()
    alerts: tuple[Alert, ...] = ()
    mails: tuple[Mail, ...] = ()
    entries: tuple[Entry, ...] = ()
    monitoring: bool = False
    changed: Subject | None = None
    refused: str = ""
    field: str = ""  # what is wrong of what the person filled in
    made: int | None = None  # the number of an incident that a person created

    @property
    def is_empty(self) -> bool:
        """Nothing to write."""
        return not (
            self.incidents
            or self.gone
            or self.alerts
            or self.mails
            or self.entries
            or self.monitoring
        )
