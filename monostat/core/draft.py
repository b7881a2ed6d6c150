"""A draft of the next state: the working copy on which one event is decided, and the small steps
of which every change is made.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import TypeVar

from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    GONE,
    OVER,
    PLANNED,
    SUSPECTED,
    UNCONFIRMED,
    Alert,
    Change,
    Course,
    Entry,
    Incident,
    Mail,
    MailState,
    Policy,
    Severity,
    Standing,
    State,
    Status,
    Subject,
    Undo,
    Update,
)
from monostat.core.past import NEWEST, without_past

K = TypeVar("K")
V = TypeVar("V")
#: What makes another version where it changes, of an incident that programs are told of.
LISTED = (
    "sequence",
    "status",
    "severity",
    "title",
    "started_at",
    "ended_at",
    "planned_start",
    "planned_end",
    "updated_at",
)
#: Kinds of log entries for which the feed has no word of its own: it names the status instead.
UNNAMED = ("not_fixed", "was_real", "false_alarm")


class Refused(Exception):
    """A person asked for what cannot be done.

    It says so in a sentence for them; `field` is what they filled in wrongly, if anything.
    """

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class Draft:
    """The state as it will be, what is logged on the way, and how it was `before`.

    `source` is the Slack message in which an update was said, for updates that are published now.
    """

    def __init__(self, state: State, policy: Policy, at: datetime) -> None:
        self.before = state
        self.policy = policy
        self.at = at
        self.incidents = dict(state.incidents)
        self.alerts = dict(state.alerts)
        self.mails = dict(state.mails)
        self.state = replace(state, incidents=self.incidents, alerts=self.alerts, mails=self.mails)
        self.entries: list[Entry] = []
        self.changed: Subject | None = None
        self.shown: set[int] = set()  # the incidents of which readers see something new
        self.made: int | None = None
        self.source = ""

    # -- Rows

    def put(self, incident: Incident) -> Incident:
        """Keeps a new version of an incident, and hands it back."""
        self.incidents[incident.number] = incident
        return incident

    def attach(self, alert: Alert, incident: int | None, entry: int) -> None:
        """Gives an alert to an incident, or to none; `entry` is the log entry of its joining."""
        self.alerts[alert.id] = replace(alert, incident=incident, joined=entry)

    def drop(self, mail: Mail) -> None:
        """Lets go of a mail; one that the vendor has is watched further, and never sent again."""
        if mail.state is MailState.HANDED_OVER:
            self.mails[mail.key] = replace(mail, unwanted=True)
        else:
            self.mails[mail.key] = replace(mail, state=MailState.DROPPED)

    def log(
        self,
        kind: str,
        incident: int | None,
        by: str = "",
        about: Mapping[str, str] | None = None,
        **more: str,
    ) -> int:
        """Writes an entry of the log, which is a line of the thread, and returns its id.

        Its detail is `about` and `more`; what somebody did by a message of theirs says in which.
        """
        self.state.entries_made += 1
        detail = dict(about or {})
        detail.update(more)
        if by and self.source:
            detail["said_in"] = self.source
        entry = Entry(
            id=self.state.entries_made,
            incident=incident,
            at=self.at,
            kind=kind,
            by=by,
            detail=detail,
        )
        self.entries.append(entry)
        return entry.id

    # -- What readers see

    def ready_sentence(self, key: str, severity: Severity) -> str:
        """The public sentence of `[texts]` that fits this kind of incident."""
        texts = self.policy.texts
        return texts.get(f"{severity}_{key}") or texts.get(key, key)

    def touch(self, incident: Incident) -> Incident:
        """Keeps what readers see anew; a title that nobody has given follows status and severity.

        Staff need no reminder of what was due until now; what is due later counts from now on.
        """
        changed = replace(incident, updated_at=self.at, reminded_at=self.at, as_it_came=False)
        self.shown.add(incident.number)
        before = self.incidents.get(incident.number)
        named = named_severity(changed.status, changed.severity)
        is_named_so = before and named_severity(before.status, before.severity) is named
        if changed.has_ready_title and not is_named_so:
            changed = replace(changed, title=self.ready_title(named))
        return self.put(changed)

    def ready_title(self, severity: Severity | None) -> str:
        """The title of an incident that nobody has given one: of a suspicion, or of a severity."""
        if severity is None:
            return self.policy.incident_title
        return self.policy.texts.get(f"{severity}_title", severity.label)

    def publish(self, incident: Incident, text: str, *, own: str = "") -> Incident:
        """Adds an update that carries the incident's present status and severity.

        It says this text, or somebody's `own` words: then the text is what takes their place when
        they are taken down.
        """
        self.state.updates_made += 1
        instead = text if own else None
        update = Update(
            id=self.state.updates_made,
            incident=incident.number,
            status=incident.status,
            severity=incident.severity,
            at=self.at,
            text=own or text,
            by=incident.status_by,
            source=self.source,
            instead=instead,
        )
        updates = (*incident.updates, update)
        incident = replace(incident, updates=updates, promised_from=None)
        if own:
            incident = replace(incident, spoken=update.id)
        if self.source:
            incident = replace(incident, heard=(*incident.heard, self.source))
        return self.touch(incident)

    def open_incident(
        self,
        course: Course,
        *,
        title: str,
        text: str,
        own: str = "",
        summary: str = "",
        ask: bool = False,
        noticed_at: datetime | None = None,
    ) -> Incident:
        """Opens an incident with its first public sentence; monitoring does where nobody else has.

        Without a title it gets a ready one; `own` are somebody's words, as `publish` has them. What
        is real when it is opened is confirmed now.
        """
        self.state.incidents_made += 1
        number = self.state.incidents_made
        self.state.newest_own = (*self.state.newest_own, number)[-NEWEST:]
        shown_title = title or self.ready_title(named_severity(course.status, course.severity))
        is_real = course.status not in (PLANNED, SUSPECTED)
        entry = self._log_opening(course, number, shown_title)
        incident = Incident(
            number=number,
            title=shown_title,
            has_ready_title=not title,
            severity=course.severity,
            status=course.status,
            status_at=self.at,
            status_by=course.status_by,
            status_entry=entry,
            created_at=self.at,
            updated_at=self.at,
            reminded_at=self.at,
            started_at=course.started_at,
            ended_at=course.ended_at,
            noticed_at=noticed_at,
            confirmed_at=self.at if is_real else None,
            planned_start=course.planned_start,
            planned_end=course.planned_end,
            summary=summary,
            ask=ask,
        )
        return self.publish(incident, text, own=own)

    def _log_opening(self, course: Course, number: int, title: str) -> int:
        """Logs that an incident is opened or planned, and returns the id of the entry."""
        kind = "planned" if course.status is PLANNED else "opened"
        detail = {}
        if course.status_by:
            detail = {"severity": course.severity.value, "title": title}
            self.made = number
        self.changed = Subject(number, kind)
        return self.log(kind, number, course.status_by, detail)

    def change_status(
        self,
        incident: Incident,
        to: Status,
        *,
        entry: str,
        text: str,
        by: str = "",
        severity: Severity | None = None,
        ended_at: datetime | None = None,
        own: str = "",
    ) -> Incident:
        """Changes the status with its public sentence; an automatic change ends every undo window.

        `incident` has what else changes with the status already, but for a `severity` that somebody
        chose. What is over now has ended now, unless it is known to have `ended_at` another time.
        `entry` is the kind of the log entry; `own` are somebody's words, as `publish` has them.
        """
        if not by:
            incident = self.close_undo_windows(incident)
        self.changed = Subject(incident.number, to.value if entry in UNNAMED else entry)
        detail = self._status_detail(incident, to, by, severity)
        logged = self.log(entry, incident.number, by, detail)
        if to in OVER and ended_at is None:
            is_plan = incident.status is PLANNED
            ended_at = self.at if is_plan else max(self.at, incident.started_at)
        incident = replace(
            incident,
            status=to,
            status_at=self.at,
            status_by=by,
            status_entry=logged,
            severity=severity or incident.severity,
            ended_at=ended_at,
        )
        if to is CONFIRMED and incident.confirmed_at is None:
            incident = replace(incident, confirmed_at=self.at)
        if to is SUSPECTED:
            incident = replace(incident, touched=False, alerted_at=None)
        return self.publish(incident, text, own=own)

    def _status_detail(
        self, incident: Incident, to: Status, by: str, severity: Severity | None
    ) -> dict[str, str]:
        """What the log says of a change of status: a new severity, and alerts that stay open."""
        detail = {}
        if severity:
            detail["severity"] = severity.value
        still_open = len(self.state.open_alerts(incident.number))
        if by and to in OVER and still_open and not incident.is_maintenance:
            detail["left"] = str(still_open)
        return detail

    # -- Undo, and what waits for it

    def open_undo_window(
        self,
        incident: Incident,
        before: Incident | None,
        *,
        announces: bool,
        alerts_from: int | None = None,
        held: tuple[Mail, ...] = (),
    ) -> None:
        """Lets a human take back what they have just changed; `before` is None for a new incident.

        While a window that `announces` runs, programs are told nothing of the incident.
        """
        announced = incident.announced_at or any(undo.announces for undo in incident.undo)
        stood = standing_of(before) if before else None
        undo = Undo(
            at=self.at,
            until=self.at + timedelta(seconds=self.policy.undo_window),
            update=incident.updates[-1].id,
            before=stood,
            announces=announces and not announced,
            alerts_from=alerts_from,
            held=held,
        )
        self.put(replace(incident, undo=(*incident.undo, undo)))

    def close_undo_windows(self, incident: Incident, until: datetime | None = None) -> Incident:
        """Ends the windows that run until then, or all, and announces what they held back."""
        left = tuple(undo for undo in incident.undo if until is not None and undo.until > until)
        return self.announce(replace(incident, undo=left))

    def announce(self, incident: Incident) -> Incident:
        """Announces it unless something holds it back.

        A plan that was cancelled before it was announced needs no word, nor does what was over
        before it came here.
        """
        is_untold = incident.status in UNCONFIRMED or incident.is_told_elsewhere
        held_back = is_untold or any(undo.announces for undo in incident.undo)
        if not (incident.announced_at or held_back):
            incident = replace(incident, announced_at=self.at)
        return self.put(incident)

    # -- The end

    def finish(self, refused: Refused | None) -> Change:
        """What has changed, to be saved, and the sentence of a refusal."""
        for number, incident in self.incidents.items():
            was = self.before.incidents.get(number)
            if was and was is not incident and calendar_of(was) != calendar_of(incident):
                self.put(replace(incident, sequence=was.sequence + 1))
        mails = changed_rows(self.mails, self.before.mails)
        self.state.mails = {key: mail for key, mail in self.mails.items() if mail.state not in GONE}
        incidents = changed_rows(self.incidents, self.before.incidents)
        vanished = tuple(n for n in self.before.incidents if n not in self.incidents)
        touched = [*vanished, *(incident.number for incident in incidents)]
        now_listed = [listed_as(self.incidents.get(number)) for number in touched]
        if now_listed != [listed_as(self.before.incidents.get(number)) for number in touched]:
            self.state.revision += 1
        field = refused.field if refused else ""
        changed = self.changed
        if changed and self.shown.union(vanished) - {changed.incident}:
            changed = None  # whoever looks at another incident would take it for nothing new
        return Change(
            state=without_past(self.state, self.at, self.policy),
            incidents=incidents,
            gone=vanished,
            alerts=changed_rows(self.alerts, self.before.alerts),
            mails=mails,
            entries=tuple(self.entries),
            monitoring=self.state.monitoring != self.before.monitoring,
            changed=changed,
            refused=str(refused or ""),
            field=field,
            made=self.made,
        )


def standing_of(incident: Incident) -> Standing:
    """What Undo has to put back."""
    return Standing(**{f.name: getattr(incident, f.name) for f in fields(Standing)})


def put_back(incident: Incident, standing: Standing) -> Incident:
    """The incident as it stood."""
    stood = {f.name: getattr(standing, f.name) for f in fields(Standing)}
    return replace(incident, **stood)


def named_severity(status: Status, severity: Severity) -> Severity | None:
    """What a ready title names: the severity of what is real, nothing of a suspicion."""
    if status in UNCONFIRMED:
        return None
    return severity


def calendar_of(incident: Incident) -> object:
    """What a calendar shows of a plan; false where it shows nothing."""
    if not incident.is_in_calendars:
        return False
    cancelled = not incident.was_plan or incident.status is DISMISSED
    return incident.window, cancelled


def listed_as(incident: Incident | None) -> object:
    """What programs list of an incident; None while they are not told of it."""
    if incident is None or not incident.announced_at or incident.status is SUSPECTED:
        return None
    return [getattr(incident, name) for name in LISTED]


def changed_rows(now: dict[K, V], before: dict[K, V]) -> tuple[V, ...]:
    """The values that are new, or differ from what they were."""
    return tuple(
        value
        for key, value in now.items()
        if value is not before.get(key) and value != before.get(key)
    )
