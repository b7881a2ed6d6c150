"""The desk on which one event is decided: a working copy of the state, and the small steps of every change."""

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from monostat.incidents import (
    Change,
    Changed,
    Entry,
    Incident,
    Mail,
    Person,
    Policy,
    Post,
    Severity,
    Standing,
    State,
    Status,
    Undo,
    Update,
)


class Refused(Exception):
    """A person asked for what cannot be done; the message is the sentence for them."""


class Desk:
    """What `decide` works on; `change` says what has become of it."""

    def __init__(self, state: State, policy: Policy, at: datetime) -> None:
        self.before, self.policy, self.at = state, policy, at
        self.incidents, self.alerts, self.mails = dict(state.incidents), dict(state.alerts), dict(state.mails)
        self.monitoring, self.checked_at, self.answered = state.monitoring, state.checked_at, state.answered
        self.incidents_made, self.updates_made = state.incidents_made, state.updates_made
        self.entries: list[Entry] = []
        self.changed: Changed | None = None
        self.made: int | None = None

    def put(self, incident: Incident) -> Incident:
        self.incidents[incident.number] = incident
        return incident

    def log(self, kind: str, incident: int | None, by: Person | None = None, **detail: str) -> int:
        number = self.before.entries_made + len(self.entries) + 1
        name = by.name if by else ""
        self.entries.append(Entry(id=number, incident=incident, at=self.at, kind=kind, by=name, detail=detail))
        return number

    def say(self, incident: Incident, text: str) -> Incident:
        """Adds a public update that carries the incident's present status and severity."""
        self.updates_made += 1
        update = Update(
            id=self.updates_made,
            incident=incident.number,
            status=incident.status,
            severity=incident.severity,
            at=self.at,
            text=text,
        )
        return self.put(replace(incident, updates=(*incident.updates, update), updated_at=self.at))

    def sentence(self, key: str) -> str:
        return self.policy.texts.get(key, key)

    def open_incident(
        self, *, title: str, severity: Severity, status: Status, started_at: datetime, by: Person | None, **more: Any
    ) -> Incident:
        self.incidents_made += 1
        number = self.incidents_made
        kind = "opened" if status is not Status.PLANNED else "planned"
        self.changed = Changed(incident=number, kind=kind)
        detail = {"severity": severity.value, "title": title} if by else {}
        return self.put(
            Incident(
                number=number,
                title=title,
                severity=severity,
                status=status,
                started_at=started_at,
                created_at=self.at,
                updated_at=self.at,
                status_at=self.at,
                status_by=by.name if by else "",
                status_entry=self.log(kind, number, by, **detail),
                **more,
            )
        )

    def move(
        self, incident: Incident, to: Status, kind: str, text: str, by: Person | None = None, **more: Any
    ) -> Incident:
        """Changes the status with its public sentence; an automatic change ends every undo window."""
        if by is None:
            incident = self.end_windows(incident)
        detail = {"severity": str(more["severity"])} if "severity" in more else {}
        left = len([a for a in self.alerts.values() if a.incident == incident.number and a.closed_at is None])
        if by and to in (Status.DISMISSED, Status.RESOLVED) and left and not incident.is_maintenance:
            detail["left"] = str(left)
        own = kind in ("not_fixed", "was_real")  # words of the log; the feed has none of its own for them
        self.changed = Changed(incident=incident.number, kind=to.value if own else kind)
        end = self.at if incident.status is Status.PLANNED else max(self.at, incident.started_at)
        times: dict[str, Any] = {"ended_at": end if to in (Status.DISMISSED, Status.RESOLVED) else None}
        if to is Status.CONFIRMED and incident.confirmed_at is None:
            times["confirmed_at"] = self.at
        entry = self.log(kind, incident.number, by, **detail)
        standing: dict[str, Any] = {
            "status": to,
            "status_at": self.at,
            "status_by": by.name if by else "",
            "status_entry": entry,
        }
        return self.say(replace(incident, **(standing | times | more)), text)

    def undoable(
        self, incident: Incident, before: Incident | None, *, announces: bool, alerts_from: int | None = None
    ) -> Incident:
        """Opens the undo window of the change that has just been made by a human."""
        standing = None if before is None else Standing(**{f.name: getattr(before, f.name) for f in fields(Standing)})
        undo = Undo(
            at=self.at,
            until=self.at + timedelta(seconds=self.policy.undo_window),
            update=incident.updates[-1].id,
            before=standing,
            announces=announces and not incident.announced_at and not any(u.announces for u in incident.undo),
            alerts_from=alerts_from,
        )
        return self.put(replace(incident, undo=(*incident.undo, undo)))

    def end_windows(self, incident: Incident, over: tuple[Undo, ...] | None = None) -> Incident:
        """Ends these undo windows (all, unless told which); what they kept from being announced is announced."""
        over = incident.undo if over is None else over
        announced = self.at if any(u.announces for u in over) and not incident.announced_at else incident.announced_at
        left = tuple(u for u in incident.undo if u not in over)
        return self.put(replace(incident, undo=left, announced_at=announced))

    def hold_mail(self, incident: Incident, wanted: bool | None, *, usual: bool) -> None:
        """Holds a mail about the newest update for the undo window, where one is due by the rules or by the person."""
        usual = usual and not incident.is_maintenance
        if not self.policy.mails or incident.silent or not (usual if wanted is None else wanted):
            return
        update = incident.updates[-1]
        key = f"{self.before.epoch}:mail:{incident.number}:{update.status}:{update.id}"
        due = self.at + timedelta(seconds=self.policy.undo_window)
        self.mails[key] = Mail(key=key, incident=incident.number, update=update.id, at=self.at, not_before=due)

    def mails_of(self, number: int) -> list[Mail]:
        return [m for m in self.mails.values() if m.incident == number and m.state not in (Post.SENT, Post.DROPPED)]

    def change(self, refused: str) -> Change:
        before = self.before
        state = replace(
            before,
            incidents=self.incidents,
            alerts=self.alerts,
            mails={k: m for k, m in self.mails.items() if m.state not in (Post.SENT, Post.DROPPED)},
            monitoring=self.monitoring,
            checked_at=self.checked_at,
            answered=self.answered,
            incidents_made=self.incidents_made,
            updates_made=self.updates_made,
            entries_made=before.entries_made + len(self.entries),
        )
        return Change(
            state=state,
            incidents=tuple(i for n, i in self.incidents.items() if _differs(i, before.incidents.get(n))),
            gone=tuple(n for n in before.incidents if n not in self.incidents),
            alerts=tuple(a for k, a in self.alerts.items() if _differs(a, before.alerts.get(k))),
            mails=tuple(m for k, m in self.mails.items() if _differs(m, before.mails.get(k))),
            entries=tuple(self.entries),
            changed=self.changed,
            refused=refused,
            made=self.made,
            monitoring=self.monitoring != before.monitoring,
        )


def _differs(new: object, old: object) -> bool:
    return new is not old and new != old
