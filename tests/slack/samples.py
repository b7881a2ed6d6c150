"""Incidents, alerts and mails as tests of what Slack shows need them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from monostat.core.model import Alert, Incident, Mail, MailState, Severity, Status, Undo, Update

AT = datetime(2026, 1, 2, 9, 0, 30, tzinfo=UTC)


def incident(status: Status = Status.CONFIRMED, **more: Any) -> Incident:
    said = Update(
        id=1,
        incident=7,
        status=status,
        severity=Severity.OUTAGE,
        at=AT,
        text=more.pop("text", "We are on it."),
    )
    times: dict[str, Any] = dict.fromkeys(
        ("started_at", "created_at", "updated_at", "status_at", "reminded_at"), AT
    )
    known: dict[str, Any] = {
        "number": 7,
        "title": "Checkout is slow",
        "severity": Severity.OUTAGE,
        "status_entry": 1,
    }
    return Incident(**(times | known | {"status": status, "updates": (said,)} | more))


def undo(**more: Any) -> Undo:
    return Undo(at=AT, until=AT + timedelta(seconds=30), update=1, before=None, **more)


def held(state: MailState = MailState.HELD, **more: Any) -> Mail:
    return Mail(
        key="e:mail:7",
        incident=7,
        update=1,
        entry=1,
        at=AT,
        not_before=AT + timedelta(seconds=30),
        state=state,
        **more,
    )


def alert(message: str = "db-7 is down", **more: Any) -> Alert:
    return Alert(id="a", message=message, created_at=AT, incident=7, **more)
