"""The desk on which one event is decided: a working copy of the state, and the small steps of every change."""

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from monostat import incidents as core
from monostat.incidents import CONFIRMED, OVER, PLANNED, Incident, Mail, Post, Severity, Standing, Status

K = TypeVar("K")
V = TypeVar("V")


class Refused(Exception):
    """A person asked for what cannot be done; the message is the sentence for them."""


class Desk:
    """What `decide` works on; `change` says what has become of it."""

    def __init__(self, state: core.State, policy: core.Policy, at: datetime) -> None:
        self.before, self.policy, self.at = state, policy, at
        self.incidents, self.alerts, self.mails = {**state.incidents}, {**state.alerts}, {**state.mails}
        self.state = replace(state, incidents=self.incidents, alerts=self.alerts, mails=self.mails)
        self.entries: list[core.Entry] = []
        self.changed: core.Changed | None = None
        self.made: int | None = None

    def put(self, incident: Incident) -> Incident:
        self.incidents[incident.number] = incident
        return incident

    def belongs(self, alert: core.Alert, incident: int | None, joined: int) -> None:
        self.alerts[alert.id] = replace(alert, incident=incident, joined=joined)

    def drop(self, mail: Mail) -> None:
        self.mails[mail.key] = replace(mail, state=Post.DROPPED)

    def log(self, kind: str, incident: int | None, by: str = "", **detail: str) -> int:
        self.state.entries_made += 1
        made = core.Entry(id=self.state.entries_made, incident=incident, at=self.at, kind=kind, by=by, detail=detail)
        self.entries.append(made)
        return made.id

    def say(self, incident: Incident, text: str) -> Incident:
        """Adds a public update that carries the incident's present status and severity."""
        self.state.updates_made += 1
        number, status, severity = incident.number, incident.status, incident.severity
        made = self.state.updates_made
        update = core.Update(id=made, incident=number, status=status, severity=severity, at=self.at, text=text)
        return self.put(replace(incident, updates=(*incident.updates, update), updated_at=self.at))

    def sentence(self, key: str) -> str:
        return self.policy.texts.get(key, key)

    def open_incident(
        self, title: str, severity: Severity, status: Status, text: str, by: str, **more: Any
    ) -> Incident:
        """Opens an incident with its first public sentence, and remembers that a person made it."""
        self.state.incidents_made += 1
        number, kind = self.state.incidents_made, "planned" if status is PLANNED else "opened"
        entry = self.log(kind, number, by, **({"severity": severity.value, "title": title} if by else {}))
        self.changed, self.made = (number, kind), number if by else None
        now: dict[str, Any] = {
            "created_at": self.at,
            "updated_at": self.at,
            "status_at": self.at,
            "status_entry": entry,
        }
        made = Incident(number=number, title=title, severity=severity, status=status, status_by=by, **now, **more)
        return self.say(made, text)

    def move(self, incident: Incident, to: Status, kind: str, text: str, by: str = "", **more: Any) -> Incident:
        """Changes the status with its public sentence; an automatic change ends every undo window."""
        incident = incident if by else self.end_windows(incident)
        detail = {"severity": str(more["severity"])} if "severity" in more else {}
        left = len(self.state.open_alerts(incident.number))
        if by and to in OVER and left and not incident.is_maintenance:
            detail["left"] = str(left)
        own = kind in ("not_fixed", "was_real", "false_alarm")  # the log's words; the feed has none of its own for them
        self.changed = (incident.number, to.value if own else kind)
        end = self.at if incident.status is PLANNED else max(self.at, incident.started_at)
        times: dict[str, Any] = {"ended_at": end if to in OVER else None}
        if to is CONFIRMED and incident.confirmed_at is None:
            times["confirmed_at"] = self.at
        entry = self.log(kind, incident.number, by, **detail)
        times |= {"status": to, "status_at": self.at, "status_by": by, "status_entry": entry}
        return self.say(replace(incident, **(times | more)), text)

    def undoable(self, incident: Incident, before: Incident | None, announces: bool, lender: int | None = None) -> None:
        """Opens the undo window of the change that has just been made by a human."""
        announces = announces and not incident.announced_at and not any(u.announces for u in incident.undo)
        was = before and Standing(**{f.name: getattr(before, f.name) for f in fields(Standing)})
        until, update = self.at + timedelta(seconds=self.policy.undo_window), incident.updates[-1].id
        undo = core.Undo(at=self.at, until=until, update=update, before=was, announces=announces, alerts_from=lender)
        self.put(replace(incident, undo=(*incident.undo, undo)))

    def end_windows(self, incident: Incident, until: datetime | None = None) -> Incident:
        """Ends the undo windows that run until then, or all; what they kept from being announced is announced."""
        over = [u for u in incident.undo if until is None or u.until <= until]
        announced = incident.announced_at or (self.at if any(u.announces for u in over) else None)
        left = tuple(u for u in incident.undo if u not in over)
        return self.put(replace(incident, undo=left, announced_at=announced))

    def hold_mail(self, incident: Incident, wanted: bool | None, *, usual: bool) -> None:
        """Holds a mail about the newest update for the undo window, where one is due by the rules or by the person."""
        usual = usual and not incident.is_maintenance
        if not self.policy.mails or incident.silent or not (usual if wanted is None else wanted):
            return
        update, due = incident.updates[-1], self.at + timedelta(seconds=self.policy.undo_window)
        key = f"{self.state.epoch}:mail:{incident.number}:{update.status}:{update.id}"
        self.mails[key] = Mail(key=key, incident=incident.number, update=update.id, at=self.at, not_before=due)

    def change(self, refused: str) -> core.Change:
        before, state = self.before, self.state
        mails, gone = _new(state.mails, before.mails), tuple(n for n in before.incidents if n not in state.incidents)
        state.mails = {k: m for k, m in state.mails.items() if m.state not in (Post.SENT, Post.DROPPED)}
        return core.Change(
            state=state,
            incidents=_new(state.incidents, before.incidents),
            gone=gone,
            alerts=_new(state.alerts, before.alerts),
            mails=mails,
            entries=tuple(self.entries),
            monitoring=state.monitoring != before.monitoring,
            changed=self.changed,
            refused=refused,
            made=self.made,
        )


def _new(now: dict[K, V], before: dict[K, V]) -> tuple[V, ...]:
    return tuple(v for k, v in now.items() if v is not (old := before.get(k)) and v != old)
