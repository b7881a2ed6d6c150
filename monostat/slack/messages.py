"""The words of messages, escaped for where they are shown, and the blocks that they are made of.

https://docs.slack.dev/reference/block-kit/
https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape as entities
from typing import Any, NamedTuple

from monostat.core import model as core
from monostat.core import verbs
from monostat.core.markdown import cut
from monostat.core.model import (
    DISMISSED,
    PLANNED,
    RESOLVED,
    SUSPECTED,
    UNDER_WAY,
    Episode,
    Incident,
    MailState,
)
from monostat.core.verbs import COMPLETED, OFFERED, VERB, VERBS
from monostat.slack.mrkdwn import from_markdown

Block = dict[str, Any]
#: Of buttons: an incident is not created by a tap, but by the dialog that “new” opens.
LABELS: Mapping[str, str] = {verb.name: verb.label for verb in VERBS if verb.name != "create"} | {
    "new": VERB["create"].label,
    "completed": COMPLETED,
}
#: What “send” is called where no mail waits.
ANNOUNCE = "Announce now"
#: Begins the action ids of buttons; the name of a verb follows, and perhaps a severity.
ACTION = "verb:"
#: How the thread tells what nobody did, by the kind of the log entry.
BY_ITSELF: Mapping[str, str] = {
    "opened": "Monitoring has raised a suspicion. Is it real?",
    "dismissed": "All alerts are over, and nobody confirmed it. Was it real?",
    "reopened": "Monitoring alerts again: this suspicion is open again. Is it real?",
    "started": "This has started, as planned.",
    "resolved": "This is completed, as planned.",
    "joined": "Another alert: {alert}{source}",
    "asks_title": "Readers see “{title}”. What is broken, in a few words?",
    "unsaid": "The message that said this was deleted. Also remove it from the page?",
    "alerts_over": "All alerts are over. Is it resolved?",
    "promise": "You promised an update by {promised}.",
    "unattended": "<!here> Unanswered for {minutes} min: {link} *{about}*{others}. Is it real?",
    "starts_soon": "This starts at {planned}, as planned.",
    "asks_start": "The planned start is now. The page says that it has not started yet.",
    "ends_soon": "This ends at {planned}, as planned.",
    "asks_end": "The planned end is now. Is it completed?",
    "mail_sent": "Subscribers were emailed.",
    "mail_late": "The email has not left yet. It is tried again and again: {error}",
    "mail_unclear": (
        "Rapidmail has the email and does not say whether it sends it."
        " It is asked again and again: {error}"
    ),
    "mail_failed": "The email could not be sent: {error}",
    "monitoring_silent": "We cannot see our monitoring, and the page says so. {reason}.",
    "monitoring_back": "Our monitoring answers again.",
    "monitoring_refuses": (
        "Our monitoring no longer shows us an alert that is open here. It stays open. {reason}."
    ),
    "monitoring_moved": (
        "We now get alerts from another source. They are matched afresh;"
        " what is open here stays open until then."
    ),
}
#: How it tells what somebody did: the lines of the verbs, and two that belong to none.
BY_SOMEBODY: Mapping[str, str] = {verb.entry: verb.line for verb in VERBS} | {
    "no_outage": "{by} took the outage {outage} back. Its open alerts belong here again.",
    "announced_now": "{by} announced this now.",
    "imported": (
        "{by} imported incidents of the past: {count}. The history shows them,"
        " and nobody is told of one unless somebody reopens it."
    ),
}
#: The buttons that come with a line of nobody's.
ASKED: Mapping[str, tuple[str, ...]] = {
    "alerts_over": ("resolve",),
    "asks_title": ("title",),
    "mail_failed": ("retry",),
    "dismissed": ("was_real", "dismiss"),
    "unsaid": ("take_down",),
    "promise": ("still_working", "update"),
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


def status_text(incident: Incident | Episode) -> str:
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
    return status.label


def title(incident: Incident, alerts: Sequence[core.Alert] = ()) -> str:
    """An incident in one line: its mark, where it stands, how bad it is, and what it is called.

    A suspicion is called by what monitoring said; a ready title says only how bad it is again.
    """
    severity = incident.severity
    if incident.status is SUSPECTED and alerts:
        words = f"❓ Is it real? {alert_words(alerts[0], 120)}"
        if len(alerts) > 1:
            words += f" (+{len(alerts) - 1})"
        return words
    mark = incident.status.mark or severity.mark
    parts = [f"{mark} {status_text(incident)}", severity.label]
    if not incident.has_ready_title:
        parts.append(incident.title)
    return " · ".join(parts)


def alert_words(alert: core.Alert, limit: int = 300) -> str:
    """An alert as monitoring words it, with how urgent it is and who says so."""
    about = ", ".join(filter(None, (alert.priority, cut(alert.source, 60))))
    words = cut(alert.message, limit)
    if about:
        words += f" ({about})"
    return words


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


def units(text: str) -> int:
    """How long a text is in UTF-16 units, the stricter of the ways in which Slack may count."""
    return len(text.encode("utf-16-le", "replace")) // 2


def text_object(text: str, limit: int = 3000) -> Block:
    """Text that Slack shows as it is; it takes no empty one."""
    return {"type": "plain_text", "text": cut(text.strip(), limit) or "–", "emoji": False}


def format_markdown(markdown: str) -> Block | str:
    """Markdown as Slack shows it; what is too long for that, as it was written."""
    mrkdwn = from_markdown(markdown.strip())
    if 0 < len(mrkdwn) <= 1500:
        return mrkdwn
    return text_object(markdown)


# -- Blocks


def section(block_id: str, text: Block | str) -> Block:
    """A paragraph; a string is mrkdwn whose parts are escaped already."""
    if isinstance(text, str):
        text = {"type": "mrkdwn", "text": text, "verbatim": True}
    return {"type": "section", "block_id": block_id, "text": text}


def context(block_id: str, text: str) -> Block:
    """A small line, in mrkdwn whose parts are escaped already."""
    words = {"type": "mrkdwn", "text": text, "verbatim": True}
    return {"type": "context", "block_id": block_id, "elements": [words]}


def row(block_id: str, buttons: Sequence[Block]) -> list[Block]:
    """A block with these buttons; none where there are none, which Slack would refuse."""
    if not buttons:
        return []
    return [{"type": "actions", "block_id": block_id, "elements": list(buttons)}]


def button(name: str, value: int | str, label: str = "") -> Block:
    """The button of a verb, or of one with a severity, as "confirm:outage"."""
    verb, _, severity = name.partition(":")
    if not label:
        label = LABELS[verb]
        if severity:
            label += f": {severity}"
    action = "resolve" if verb == "completed" else name
    made: Block = {
        "type": "button",
        "action_id": f"{ACTION}{action}",
        "text": text_object(label, 75),
        "value": str(value),
    }
    if name == "confirm:outage":
        made["style"] = "danger"
    return made


def button_value(
    name: str, number: int, *, planned: datetime | None = None, update: str = ""
) -> str:
    """The value of a button: its incident, and the planned time or the update that it is about."""
    verb = VERB.get(name)
    if verb and verb.moves_time and planned:
        return f"{number}.{planned.timestamp():.0f}"
    if verb and verb.names_update and update:
        return f"{number}.{update}"
    return str(number)


def status_buttons(incident: Incident) -> list[Block]:
    """The buttons that make sense now; a maintenance is not resolved but completed."""
    planned = incident.planned_start if incident.status is PLANNED else incident.planned_end
    buttons = []
    for name in verbs.offered(incident):
        value = button_value(name, incident.number, planned=planned)
        label = COMPLETED if name == "resolve" and incident.is_maintenance else ""
        buttons.append(button(name, value, label))
    return buttons


def undo_buttons(incident: Incident, mails: Sequence[core.Mail]) -> list[Block]:
    """What can be taken back or sent: a change and a mail while they wait, words for minutes."""
    number = incident.number
    buttons = []
    if incident.undo:
        buttons.append(button("undo", f"{number}.{incident.undo[-1].update}"))
    held = [mail for mail in mails if mail.state is MailState.HELD]
    announces = any(undo.announces for undo in incident.undo)
    if any(incident.undo or not mail.attempts for mail in held):
        buttons.append(button("send", number))
    elif announces and incident.status is not DISMISSED:
        buttons.append(button("send", number, ANNOUNCE))
    if incident.spoken:
        buttons.append(button("take_down", f"{number}.{incident.spoken}"))
    return buttons
