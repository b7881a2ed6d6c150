"""The desk on which one event is decided: a working copy of the state, and the small steps of every
change.
"""

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from monostat.core import model as core
from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    OVER,
    PLANNED,
    SUSPECTED,
    Incident,
    Mail,
    Post,
    Severity,
    Status,
)

K = TypeVar("K")
V = TypeVar("V")


class Refused(Exception):
    """A person asked for what cannot be done; the sentence for them, and the field that is filled
    in wrongly.
    """

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class Desk:
    """What `decide` works on; `change` says what has become of it, `source` where an update was
    said.
    """

    def __init__(self, state: core.State, policy: core.Policy, at: datetime) -> None:
        self.before, self.policy, self.at = state, policy, at
        self.incidents, self.alerts, self.mails = (
            {**state.incidents},
            {**state.alerts},
            {**state.mails},
        )
        self.state = replace(state, incidents=self.incidents, alerts=self.alerts, mails=self.mails)
        self.entries: list[core.Entry] = []
        self.changed: core.Changed | None = None
        self.made: int | None = None
        self.source = ""

    def put(self, incident: Incident) -> Incident:
        self.incidents[incident.number] = incident
        return incident

    def belongs(self, alert: core.Alert, incident: int | None, joined: int) -> None:
        self.alerts[alert.id] = replace(alert, incident=incident, joined=joined)

    def drop(self, mail: Mail) -> None:
        """Lets go of a mail; one that the vendor has is watched further, and never sent again."""
        if mail.state is Post.HANDED_OVER:
            self.mails[mail.key] = replace(mail, unwanted=True)
        else:
            self.mails[mail.key] = replace(mail, state=Post.DROPPED)

    def withdraw(self, incident: Incident) -> tuple[Mail, ...]:
        """Drops its mails, and hands them over; those that may be there already are looked for
        first.
        """
        dropped = []
        for mail in self.state.mails_of(incident.number):
            on_its_way = mail.state in (Post.CLAIMED, Post.HANDED_OVER)
            if on_its_way or (mail.ambiguous and mail.state is Post.HELD):
                self.mails[mail.key] = replace(mail, unwanted=True)
            else:
                self.drop(mail)
                dropped.append(mail)
        return tuple(dropped)

    def log(self, kind: str, incident: int | None, by: str = "", **detail: str) -> int:
        self.state.entries_made += 1
        made = core.Entry(
            id=self.state.entries_made,
            incident=incident,
            at=self.at,
            kind=kind,
            by=by,
            detail=detail,
        )
        self.entries.append(made)
        return made.id

    def alter(self, incident: Incident, **public: Any) -> Incident:
        """Changes what readers see; what was due until now has been told, and what is due is
        counted from now on.
        """
        return self.put(replace(incident, updated_at=self.at, reminded_at=self.at, **public))

    def say(self, incident: Incident, text: str) -> Incident:
        """Adds a public update that carries the incident's present status and severity."""
        self.state.updates_made += 1
        update = core.Update(
            id=self.state.updates_made,
            incident=incident.number,
            status=incident.status,
            severity=incident.severity,
            at=self.at,
            text=text,
            by=incident.status_by,
            source=self.source,
        )
        heard = (*incident.heard, self.source) if self.source else incident.heard
        return self.alter(
            incident, updates=(*incident.updates, update), heard=heard, promised_from=None
        )

    def sentence(self, key: str, **times: datetime) -> str:
        """A ready public sentence, with these times where it has places for them."""
        text = self.policy.texts.get(key, key)
        for name, at in times.items():
            text = text.replace(f"{{{name}}}", core.in_words(at, self.policy.zone))
        return text

    def open_incident(
        self, title: str, severity: Severity, status: Status, text: str, by: str, **more: Any
    ) -> Incident:
        """Opens an incident with its first public sentence, and remembers that a person made it."""
        self.state.incidents_made += 1
        number, kind = self.state.incidents_made, "planned" if status is PLANNED else "opened"
        entry = self.log(
            kind, number, by, **({"severity": severity.value, "title": title} if by else {})
        )
        self.changed, self.made = (number, kind), number if by else None
        now: dict[str, Any] = dict.fromkeys(
            ("created_at", "updated_at", "status_at", "reminded_at"), self.at
        )
        now |= {"status": status, "status_by": by, "status_entry": entry}
        return self.say(
            Incident(number=number, title=title, severity=severity, **now, **more), text
        )

    def move(
        self, incident: Incident, to: Status, kind: str, text: str, by: str = "", **more: Any
    ) -> Incident:
        """Changes the status with its public sentence; an automatic change ends every undo window."""
        incident = incident if by else self.end_windows(incident)
        detail = {"severity": str(more["severity"])} if "severity" in more else {}
        left = len(self.state.open_alerts(incident.number))
        if by and to in OVER and left and not incident.is_maintenance:
            detail["left"] = str(left)
        own = kind in (
            "not_fixed",
            "was_real",
            "false_alarm",
        )  # the log's words; the feed has none of its own for them
        self.changed = (incident.number, to.value if own else kind)
        end = self.at if incident.status is PLANNED else max(self.at, incident.started_at)
        times: dict[str, Any] = {"ended_at": end if to in OVER else None}
        if to is CONFIRMED and incident.confirmed_at is None:
            times["confirmed_at"] = self.at
        times |= {"touched": False, "alerted_at": None} if to is SUSPECTED else {}
        times |= {"status": to, "status_at": self.at, "status_by": by}
        entry = self.log(kind, incident.number, by, **detail)
        return self.say(replace(incident, status_entry=entry, **(times | more)), text)

    def undoable(
        self, incident: Incident, before: Incident | None, announces: bool, **more: Any
    ) -> None:
        """Opens the undo window of the change that has just been made by a human; `more` are fields
        of Undo.
        """
        announces = (
            announces and not incident.announced_at and not any(u.announces for u in incident.undo)
        )
        was = before and core.Standing(
            **{f.name: getattr(before, f.name) for f in fields(core.Standing)}
        )
        until, update = (
            self.at + timedelta(seconds=self.policy.undo_window),
            incident.updates[-1].id,
        )
        undo = core.Undo(
            at=self.at, until=until, update=update, before=was, announces=announces, **more
        )
        self.put(replace(incident, undo=(*incident.undo, undo)))

    def end_windows(self, incident: Incident, until: datetime | None = None) -> Incident:
        """Ends the undo windows that run until then, or all; what they kept from being announced is
        announced.
        """
        left = tuple(u for u in incident.undo if until is not None and u.until > until)
        return self.announce(replace(incident, undo=left))

    def announce(self, incident: Incident) -> Incident:
        """Announces what nothing keeps from it; a plan that was cancelled before needs no word."""
        waits = incident.status in (SUSPECTED, DISMISSED) or any(
            undo.announces for undo in incident.undo
        )
        return self.put(
            incident if incident.announced_at or waits else replace(incident, announced_at=self.at)
        )

    def hold_mail(self, incident: Incident, wanted: bool | None, *, usual: bool) -> None:
        """Holds a mail about the newest update for the undo window, where one is due by the rules
        or by the person.
        """
        usual = usual and not incident.is_maintenance
        unsure = incident.status in (SUSPECTED, DISMISSED) and not incident.was_plan
        if (
            not self.policy.mails
            or incident.silent
            or unsure
            or not (usual if wanted is None else wanted)
        ):
            return
        update, due = incident.updates[-1], self.at + timedelta(seconds=self.policy.undo_window)
        entry, number = self.state.entries_made, incident.number
        key = f"{self.state.epoch}:mail:{number}:{update.status}:{entry}"
        self.mails[key] = Mail(
            key=key, incident=number, update=update.id, entry=entry, at=self.at, not_before=due
        )

    def change(self, refused: Refused | None) -> core.Change:
        before, state = self.before, self.state
        for number, incident in self.incidents.items():
            was = before.incidents.get(number)
            if was and was is not incident and _calendar(was) != _calendar(incident):
                self.put(replace(incident, sequence=was.sequence + 1))
        mails, gone = (
            _new(state.mails, before.mails),
            tuple(n for n in before.incidents if n not in state.incidents),
        )
        state.mails = {
            k: m for k, m in state.mails.items() if m.state not in (Post.SENT, Post.DROPPED)
        }
        return core.Change(
            state=state,
            incidents=_new(state.incidents, before.incidents),
            gone=gone,
            alerts=_new(state.alerts, before.alerts),
            mails=mails,
            entries=tuple(self.entries),
            monitoring=state.monitoring != before.monitoring,
            changed=self.changed,
            refused=str(refused or ""),
            field=refused.field if refused else "",
            made=self.made,
        )


def _calendar(incident: Incident) -> object:
    """What a calendar shows of a plan."""
    known = incident.was_plan or incident.unplanned
    return known and (incident.window, not incident.was_plan or incident.status is DISMISSED)


def _new(now: dict[K, V], before: dict[K, V]) -> tuple[V, ...]:
    return tuple(v for k, v in now.items() if v is not (old := before.get(k)) and v != old)
