"""The words of the pure core: incidents and what may be done with them.

Every time is aware and UTC, every span a number of seconds. PRODUCT.md section 2 is the contract.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any, NamedTuple, dataclass_transform


class Status(StrEnum):
    """Where an incident stands."""

    PLANNED = "planned"  # announced for later
    SUSPECTED = "suspected"  # monitoring alerts, no human has looked yet
    DISMISSED = (
        "dismissed"  # a false alarm, over before anybody looked, or a plan that was cancelled
    )
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


PLANNED, SUSPECTED, DISMISSED, CONFIRMED, WATCHING, RESOLVED = Status
OPEN, UNDER_WAY, OVER = (
    (SUSPECTED, CONFIRMED, WATCHING),
    (CONFIRMED, WATCHING),
    (DISMISSED, RESOLVED),
)
SERIOUS, RANK = (Severity.PARTIAL, Severity.OUTAGE), list(Severity).index


class Verb(NamedTuple):
    """A row of the table of what people may do: from these statuses, to that one; `kind` names log
    line and text.
    """

    name: str
    label: str
    allowed: tuple[Status, ...]
    leads_to: Status
    kind: str
    mails: bool = True


#: The one table that buttons, mentions, command line and refusals read.
VERBS = (
    Verb("confirm", "It is real", (SUSPECTED, DISMISSED), CONFIRMED, "confirmed"),
    Verb("dismiss", "False alarm", (SUSPECTED,), DISMISSED, "false_alarm", mails=False),
    Verb("was_real", "It was real", (DISMISSED,), RESOLVED, "was_real", mails=False),
    Verb("watch", "Watching", (CONFIRMED,), WATCHING, "watching"),
    Verb("not_fixed", "Not fixed", (WATCHING,), CONFIRMED, "not_fixed"),
    Verb("resolve", "Resolve", UNDER_WAY, RESOLVED, "resolved"),
    Verb("reopen", "Reopen", (RESOLVED,), CONFIRMED, "reopened"),
    Verb("start", "Start now", (PLANNED,), CONFIRMED, "started"),
    Verb("cancel", "Cancel", (PLANNED,), DISMISSED, "cancelled"),
)
VERB = {verb.name: verb for verb in VERBS}
#: What moves a terminal's cursor, ends a line, turns text around, or is half a character.
STEERING = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


BREAK = re.compile("\r\n|[\r\x85\u2028\u2029]")  # ends a line, as "\n" does
#: Control characters, and what turns the order of the words after it around: nobody sees them, and
#: they change what is seen. Marks that only join letters or tell their direction are words.
UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")


def sound(text: str) -> str:
    """Words from outside as every file, vendor and screen can hold them, with line breaks of one
    kind.

    Half a character becomes a question mark, what nobody sees goes.
    """
    whole = text.encode("utf-8", "replace").decode()
    return whole if whole.isprintable() else UNSEEN.sub("", BREAK.sub("\n", whole))


def all_sound(value: Any) -> Any:
    """The same value with sound words, however deep they lie."""
    if isinstance(value, Mapping):
        return {key: all_sound(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        sounds = {f.name: all_sound(getattr(value, f.name)) for f in fields(value)}
        return replace(value, **sounds)
    if type(value) is tuple:
        return tuple(map(all_sound, value))
    return sound(value) if type(value) is str else value


def one_line(text: str) -> str:
    """Words from outside as one line that nobody can take for two."""
    return " ".join(sound(text).split())


def legible(text: str) -> str:
    """Words for a log or a terminal, as one line: what would steer it is shown as an escape, such
    as \\x1b.
    """
    return STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def exact(at: datetime) -> str:
    """An instant in a sentence for staff; whoever shows it does so in the reader's or the site's
    zone.
    """
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def timed(text: str, show: Callable[[datetime], str]) -> str:
    """A sentence for staff with every instant shown in this way.

    What only looks like one, or lies outside the years that its zone can show, was somebody's word
    and stays.
    """

    def shown(found: re.Match[str]) -> str:
        try:
            return show(datetime.fromisoformat(found[0]))
        except (ValueError, OverflowError):
            return found[0]

    return INSTANT.sub(shown, text)


def in_words(at: datetime, zone: tzinfo) -> str:
    """A time as visitors read it, with its zone."""
    local = at.astimezone(zone)
    return f"{local.day} {local:%B %Y, %H:%M %Z}"


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


class Standing(Fact):
    """What a status change alters of an incident: Undo puts exactly this back."""

    severity: Severity
    status: Status
    started_at: datetime
    ended_at: datetime | None = None
    planned_start: datetime | None = None
    planned_end: datetime | None = None
    status_at: datetime
    status_by: str = ""  # empty: an automatic change
    status_entry: int  # the log entry of the last status change: a clock that never jumps
    confirmed_at: datetime | None = None


class Post(StrEnum):
    """Where a mail stands on its way out."""

    HELD = "held"  # waits for the end of its window, or for its next try
    CLAIMED = "claimed"  # on its way to the vendor, no answer yet
    HANDED_OVER = "handed_over"  # the vendor has it, and has not begun to send it
    FAILED = "failed"  # refused, stopped there, or given up: waits for a human's Retry
    SENT = "sent"  # the vendor sends it, or has
    DROPPED = "dropped"


class Mail(Fact):
    """A mailing that has to leave once; `key` is unique for ever and begins with the database's
    epoch.
    """

    key: str
    incident: int
    update: int
    entry: int  # the log entry of its cause: a later one is newer
    at: datetime
    not_before: datetime  # the next thing is done with it
    state: Post = Post.HELD
    attempts: int = 0
    first_tried: datetime | None = None
    letter: str = ""  # its text, which does not change once it was tried
    ambiguous: bool = False  # the vendor may have it although it did not say so
    unwanted: bool = False  # the vendor may have it; it must not be sent otherwise, nor again
    told: bool = False  # the thread knows that it is late
    error: str = ""
    mailing: int = 0  # its number at the vendor; before it is sent anew the one to delete first
    handed_over_at: datetime | None = None
    revision: int = 1  # of its title: one that is sent anew is another mailing
    invalid: int = 0  # how often the vendor called it invalid without saying why

    @property
    def title(self) -> str:
        """What the vendor knows it by, unlike any other of this database or another."""
        return f"monostat {self.key}" + (f" r{self.revision}" if self.revision > 1 else "")


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
    ask: bool = False  # a plan that waits for a human at its start and end
    noticed_at: datetime | None = None  # by monitoring
    first_mailed_at: datetime | None = None
    mailed_at: datetime | None = None  # the last time
    announced_at: datetime | None = None
    touched: bool = False  # a suspicion that staff have acted on
    reminded_at: datetime  # what staff had to be reminded of until then is over
    alerted_at: datetime | None = None  # when Slack last accepted that the team is alerted again
    sequence: int = 0  # rises when planned times or a cancellation change: RFC 5545 section 3.8.7.4
    planned_by: str = ""  # who moved the planned times last
    unplanned: tuple[datetime, datetime] | None = (
        None  # the window that calendars knew before it was no plan any more
    )
    promised_from: datetime | None = None  # where the clock went back behind the last update
    heard: tuple[str, ...] = ()  # the sources of all updates, also of those that were taken back
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

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Of a maintenance; one that was not planned, or is reopened after its plan, has no end of
        its own.
        """
        if self.unplanned and not self.was_plan:
            return self.unplanned
        start = self.planned_start or self.started_at
        end = self.planned_end or self.ended_at or start + timedelta(hours=1)
        return (start, end) if start < end else (self.started_at, end)  # begun early, and shortened


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
    """All that monostat knows; the store holds it, memory has this copy, and `decide` alters only
    its own.
    """

    epoch: str
    birth: Birth = field(default_factory=Birth)
    incidents: dict[int, Incident] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    mails: dict[str, Mail] = field(default_factory=dict)  # those that have not left yet
    monitoring: Monitoring
    checked_at: datetime  # the last answer of monitoring, or the start of the process; never stored
    answered: bool = False  # has it answered since the start of the process
    trouble: str = ""  # what keeps us from seeing it, or one of its alerts; never stored either
    incidents_made: int = 0
    updates_made: int = 0
    entries_made: int = 0

    def open_alerts(self, number: int) -> list[Alert]:
        return [a for a in self.alerts.values() if a.incident == number and a.closed_at is None]

    def mails_of(self, number: int) -> list[Mail]:
        """Those that are not known to have left, oldest first."""
        gone = (Post.SENT, Post.DROPPED)
        waiting = [
            m
            for m in self.mails.values()
            if m.incident == number and m.state not in gone and not m.unwanted
        ]
        return sorted(waiting, key=lambda m: m.entry)


class Policy(Fact):
    """What the configuration decides."""

    monitoring: bool = True
    mails: bool = True
    subscribe: bool = False  # may visitors, on the page
    undo_window: float = 30
    reopen_within: float = 900
    max_alert_age: float = 3600
    update_every: float = 1800
    remind_after: tuple[float, ...] = (600, 1200)
    soon: float = 600  # before a plan starts or ends
    mail_tell: float = 300
    mail_leave: float = 600  # for the vendor to begin to send what it has
    mail_give_up: float = 86400
    incident_title: str = "Possible problem"
    incident_text: str = "Our monitoring has noticed a problem. We are checking."
    texts: Mapping[str, str] = field(default_factory=dict)
    zone: tzinfo = UTC


Changed = tuple[
    int | None, str
]  #: what the newest version is about: an incident, if one, and what happened


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
    changed: Changed | None = None
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
