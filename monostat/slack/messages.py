"""The words of messages, escaped for where they are shown, and the blocks that they are made of.

Contract slack.md, sections 8 and 9.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape as entities
from typing import Any, NamedTuple

from monostat.core import model as core
from monostat.core.markdown import cut
from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    PLANNED,
    RESOLVED,
    SUSPECTED,
    UNDER_WAY,
    WATCHING,
    Incident,
    Post,
)
from monostat.slack.mrkdwn import from_markdown

Block = dict[str, Any]
SEVERITY_TEXT = dict(
    zip(
        core.Severity,
        ("Notice", "Maintenance", "Known bug", "Partial outage", "Outage"),
        strict=True,
    )
)
_STANDS = (
    "Planned",
    "Suspected, not confirmed",
    "Over by itself",
    "Confirmed",
    "Fix in place, watching",
    "Resolved",
)
STATUS_TEXT = dict(zip(core.Status, _STANDS, strict=True))
SEVERITY_MARKS = dict(zip(core.Severity, "📣🔧🐞🟠🔴", strict=True))
STATUS_MARKS = dict(
    zip(core.Status, "📅❔⚪ 🟡✅", strict=True)
)  # what is confirmed shows how bad it is
#: What each status offers, in the order of the buttons: names of VERBS, some with a severity.
OFFERED: Mapping[core.Status, tuple[str, ...]] = {
    SUSPECTED: ("confirm:outage", "confirm:partial", "dismiss"),
    DISMISSED: ("was_real", "confirm:outage", "edit"),
    CONFIRMED: ("watch", "resolve", "update", "edit"),
    WATCHING: ("resolve", "not_fixed", "update", "edit"),
    RESOLVED: ("reopen", "edit"),
    PLANNED: ("start", "edit", "cancel"),
}
LABELS = {verb.name: verb.label for verb in core.VERBS} | {
    "undo": "Undo",
    "send": "Send now",
    "retry": "Retry",
}
LABELS |= {
    "update": "Post update…",
    "edit": "Edit…",
    "new": "New incident",
    "plan": "Plan maintenance",
}
LABELS |= {
    "completed": "Completed",
    "postpone": "Postpone 30 min",
    "extend": "Extend 30 min",
    "real_outage": "This is a real outage",
}
ONCE = (
    "postpone",
    "extend",
)  # may be done again and again, but with the same planned time only once
#: A line for each kind of entry; a second one is for what nobody did. Kinds without a row are told
#: by their name.
LINES: Mapping[str, tuple[str, ...]] = {
    "opened": (
        "{by} opened this{as_severity}: {title}",
        "Monitoring has raised a suspicion. Is it real?",
    ),
    "planned": ("{by} planned this: {title}",),
    "confirmed": ("{by} confirmed this{as_severity}.",),
    "false_alarm": ("{by} called this a false alarm.{left}",),
    "dismissed": ("All alerts are over; nobody confirmed it. Was it real?",),
    "watching": ("{by} says that a fix is in place, and is watching.",),
    "resolved": ("{by} resolved this.{left}", "This is completed, as planned."),
    "reopened": (
        "{by} reopened this.",
        "Monitoring alerts again: this suspicion is open again. Is it real?",
    ),
    "not_fixed": ("{by} says that it is not fixed.",),
    "was_real": ("{by} says that it was real.",),
    "started": ("{by} started this.", "This has started, as planned."),
    "cancelled": ("{by} cancelled this.",),
    "updated": ("{by} posted an update{now_severity}: {text}",),
    "edited": ("{by} edited this: {what}",),
    "postponed": ("{by} postponed this to {start}.",),
    "extended": ("{by} extended this to {end}.",),
    "promise": ("Readers were promised the next word soon. Is there something to say?",),
    "unattended": ("<!here> Monitoring still alerts, and nobody has said whether it is real.",),
    "starts_soon": ("This starts at {planned}, as planned.",),
    "asks_start": ("The planned start is now. The page says that it has not started yet.",),
    "ends_soon": ("This ends at {planned}, as planned.",),
    "asks_end": ("The planned end is now. Is it completed?",),
    "undone": ("{by} took it back: this is no longer {status}.",),
    "real_outage": ("{by} made this a real outage: {outage}",),
    "no_outage": ("{by} took the outage {outage} back. Its open alerts belong here again.",),
    "joined": ("Joined by an alert: {alert}{source}",),
    "sent_now": ("{by} let the mail leave now.",),
    "announced_now": ("{by} announced this now.",),
    "retried": ("{by} asked to try the mail again.",),
    "mail_sent": ("Subscribers were mailed.",),
    "mail_late": ("The mail has not left yet, it is tried again and again: {error}",),
    "mail_unclear": (
        "Rapidmail has the mail, and does not say whether it sends it; it is asked again and again: {error}",
    ),
    "mail_failed": ("The mail could not be sent: {error}",),
    "alerts_over": ("All alerts are over. Is it resolved?",),
    "monitoring_silent": ("We cannot see our monitoring, and the page says so. {reason}.",),
    "monitoring_refuses": (
        "Our monitoring no longer shows us an alert that is open here. It stays open. {reason}.",
    ),
    "monitoring_moved": (
        "We listen to another monitoring now. Its alerts are matched anew; what is open here stays open until then.",
    ),
    "monitoring_back": ("Our monitoring answers again.",),
}
#: The buttons that come with a line of nobody's.
ASKED: Mapping[str, tuple[str, ...]] = {
    "alerts_over": ("resolve",),
    "mail_failed": ("retry",),
    "dismissed": ("was_real",),
    "promise": ("update",),
    "unattended": OFFERED[SUSPECTED],
    "starts_soon": ("postpone", "cancel"),
    "asks_start": ("start", "postpone"),
    "ends_soon": ("extend", "completed"),
    "asks_end": ("completed", "extend"),
}


class Message(NamedTuple):
    """What Slack shows; the text is for notifications."""

    text: str
    blocks: list[Block]


class Letter(NamedTuple):
    """A mail in both its parts."""

    subject: str
    html: str
    text: str


def status_text(incident: Incident) -> str:
    """Where it stands, in the words of its kind."""
    status = incident.status
    if status is DISMISSED and incident.was_plan:
        return "Cancelled"
    if status is DISMISSED and incident.status_by:
        return "False alarm"
    if incident.is_maintenance and status is RESOLVED:
        return "Completed"
    if incident.is_maintenance and status in UNDER_WAY:
        return "Under way"
    return STATUS_TEXT[status]


def title(incident: Incident) -> str:
    """An incident in one line: its mark, where it stands, how bad it is, and what it is called."""
    mark = STATUS_MARKS[incident.status].strip() or SEVERITY_MARKS[incident.severity]
    return f"{mark} {status_text(incident)} · {SEVERITY_TEXT[incident.severity]} · {incident.title}"


def times(incident: Incident) -> list[tuple[str, datetime]]:
    """What is worth telling of when, in its order."""
    planned_start = ("Planned start", incident.planned_start)
    planned_end = ("Planned end", incident.planned_end)
    start = ("Start", incident.started_at)
    end = ("End", incident.ended_at)
    if incident.was_plan and incident.status in (PLANNED, DISMISSED):
        rows = [planned_start, planned_end]
    elif incident.is_open:
        rows = [start, end, planned_end]
    else:
        rows = [start, end]
    return [(name, at) for name, at in rows if at]


# -- Text, made harmless


def escape(text: str, limit: int = 3000) -> str:
    """Makes text harmless in mrkdwn, and as long as Slack allows without a broken entity at its
    end.
    """
    escaped = cut(entities(text.strip(), quote=False), limit)
    return re.sub(r"&[^;]*…$", "…", escaped) or "–"


def plain(text: str, limit: int = 3000) -> Block:
    """Text that Slack shows as it is; it takes no empty one."""
    return {"type": "plain_text", "text": cut(text.strip(), limit) or "–", "emoji": False}


def shown(markdown: str) -> Block | str:
    """Markdown as Slack shows it; what is too long for that, as it was written."""
    mrkdwn = from_markdown(markdown.strip())
    return mrkdwn if 0 < len(mrkdwn) <= 1500 else plain(markdown)


# -- Blocks


def section(block_id: str, text: Block | str) -> Block:
    """A paragraph; a string is mrkdwn whose parts are escaped already."""
    if isinstance(text, str):
        text = {"type": "mrkdwn", "text": text, "verbatim": True}
    return {"type": "section", "block_id": block_id, "text": text}


def row(block_id: str, buttons: Sequence[Block]) -> list[Block]:
    """A block with these buttons; none where there are none, which Slack would refuse."""
    if not buttons:
        return []
    return [{"type": "actions", "block_id": block_id, "elements": list(buttons)}]


def button(name: str, value: int | str, label: str = "") -> Block:
    """The button of a verb, or of one with a severity, as "confirm:outage"."""
    verb, _, severity = name.partition(":")
    if not label:
        label = LABELS[verb] + (f": {severity}" if severity else "")
    action = "resolve" if verb == "completed" else name
    return {
        "type": "button",
        "action_id": f"verb:{action}",
        "text": plain(label, 75),
        "value": str(value),
    }


def button_value(name: str, number: int, planned: datetime | None) -> str:
    """The value of a button: its incident, and the planned time that it moves on."""
    if planned and name in ONCE:
        return f"{number}.{planned.timestamp():.0f}"
    return str(number)


def status_buttons(incident: Incident) -> list[Block]:
    """The buttons that make sense now."""
    names = OFFERED[incident.status]
    if incident.is_maintenance and incident.status in UNDER_WAY:
        extend = ("extend",) if incident.planned_end else ()
        names = ("completed", *extend, "update", "edit")
    elif incident.status is DISMISSED and incident.was_plan:
        names = ("edit",)
    planned = incident.planned_start if incident.status is PLANNED else incident.planned_end
    return [button(name, button_value(name, incident.number, planned)) for name in names]


def undo_buttons(incident: Incident, mails: Sequence[core.Mail]) -> list[Block]:
    """The buttons of the undo window, while it runs."""
    if not incident.undo:
        return []
    number = incident.number
    buttons = [button("undo", f"{number}.{incident.undo[-1].update}")]
    announces = any(undo.announces for undo in incident.undo)
    if any(mail.state is Post.HELD for mail in mails):
        buttons.append(button("send", number))
    elif announces and incident.status is not DISMISSED:
        buttons.append(button("send", number, "Announce now"))
    return buttons
