"""What staff read in Slack, and its words, escaped for where they are shown; contracts/slack.md
sections 8 and 9.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
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
    if incident.status is DISMISSED and (incident.was_plan or incident.status_by):
        return "Cancelled" if incident.was_plan else "False alarm"
    if incident.is_maintenance and incident.status in (*UNDER_WAY, RESOLVED):
        return "Completed" if incident.status is RESOLVED else "Under way"
    return STATUS_TEXT[incident.status]


def escape(text: str, limit: int = 3000) -> str:
    """Makes text harmless in mrkdwn, and as long as Slack allows without a broken entity at its
    end.
    """
    escaped = cut(entities(text.strip(), quote=False), limit)
    return re.sub(r"&[^;]*…$", "…", escaped) or "–"


def plain(text: str, limit: int = 3000) -> Block:
    return {"type": "plain_text", "text": cut(text.strip(), limit) or "–", "emoji": False}


def shown(markdown: str) -> Block | str:
    """Markdown as Slack shows it; what is too long for that, as it was written."""
    made = from_markdown(markdown.strip())
    return made if 0 < len(made) <= 1500 else plain(markdown)


def section(block_id: str, text: Block | str) -> Block:
    """A paragraph; a string is mrkdwn whose parts are escaped already."""
    text = {"type": "mrkdwn", "text": text, "verbatim": True} if isinstance(text, str) else text
    return {"type": "section", "block_id": block_id, "text": text}


def button(what: str, number: int | str, label: str = "") -> Block:
    verb, _, severity = what.partition(":")
    label = label or LABELS[verb] + (f": {severity}" if severity else "")
    what = "resolve" if verb == "completed" else what
    return {
        "type": "button",
        "action_id": f"verb:{what}",
        "text": plain(label, 75),
        "value": str(number),
    }


def row(block_id: str, buttons: Sequence[Block]) -> list[Block]:
    return [{"type": "actions", "block_id": block_id, "elements": list(buttons)}] if buttons else []


def offered(incident: Incident) -> list[Block]:
    """The buttons that make sense now."""
    names = OFFERED[incident.status]
    if incident.is_maintenance and incident.status in UNDER_WAY:
        names = ("completed", *(["extend"] if incident.planned_end else []), "update", "edit")
    elif incident.status is DISMISSED and incident.was_plan:
        names = ("edit",)
    planned = incident.planned_start if incident.status is PLANNED else incident.planned_end
    return [button(what, aimed(what, incident.number, planned)) for what in names]


def aimed(what: str, number: int, planned: datetime | None) -> str:
    """The value of a button: its incident, and the planned time that it moves on."""
    return f"{number}.{planned.timestamp():.0f}" if planned and what in ONCE else str(number)


def window(incident: Incident, mails: Sequence[core.Mail]) -> list[Block]:
    """The buttons of the undo window, while it runs."""
    if not incident.undo:
        return []
    number, held = incident.number, any(mail.state is Post.HELD for mail in mails)
    waits = held or (
        incident.status is not DISMISSED and any(undo.announces for undo in incident.undo)
    )
    send = [button("send", number, "" if held else "Announce now")] if waits else []
    return [button("undo", f"{number}.{incident.undo[-1].update}"), *send]


def title(incident: Incident) -> str:
    mark = STATUS_MARKS[incident.status].strip() or SEVERITY_MARKS[incident.severity]
    return f"{mark} {status_text(incident)} · {SEVERITY_TEXT[incident.severity]} · {incident.title}"


def times(incident: Incident) -> list[tuple[str, datetime]]:
    """What is worth telling of when, in its order."""
    plan = [("Planned start", incident.planned_start), ("Planned end", incident.planned_end)]
    real = [("Start", incident.started_at), ("End", incident.ended_at)]
    only_plan = incident.was_plan and incident.status in (PLANNED, DISMISSED)
    told = plan if only_plan else real + plan[1:] if incident.is_open else real
    return [(name, at) for name, at in told if at]


class SlackText(NamedTuple):
    """Words for staff; `url` is the page's, and `zone` shows times where Slack cannot show the
    reader's own.
    """

    url: str
    zone: tzinfo

    # https://docs.slack.dev/messaging/formatting-message-text#date-formatting
    def date(self, at: datetime, form: str = "{date_short_pretty} {time}") -> str:
        return (
            f"<!date^{int(at.timestamp())}^{form}|{at.astimezone(self.zone):%Y-%m-%d %H:%M:%S %Z}>"
        )

    def dated(self, text: str) -> str:
        """A sentence as mrkdwn, with times of the reader's zone."""
        return core.timed(text, lambda at: self.date(at, "{date_short_pretty} {time_secs}"))

    def plainly(self, text: str) -> str:
        """A sentence where Slack takes no mrkdwn, with times of the site's zone."""
        return core.timed(text, lambda at: core.in_words(at, self.zone))

    def link(self, number: int | str) -> str:
        return f"<{escape(f'{self.url}/incidents/{number}')}|#{number}>"

    def about(self, incident: Incident) -> str:
        about = [
            self.link(incident.number),
            *(f"{name}: {self.date(at)}" for name, at in times(incident)),
        ]
        return " · ".join([*about, "silent: no mails"] if incident.silent else about)

    def incident(
        self, incident: Incident, alerts: Sequence[core.Alert], mails: Sequence[core.Mail]
    ) -> Message:
        """The one message of an incident: what it is now, with its open alerts, and what can be
        done now.
        """
        number, words = incident.number, title(incident)
        blocks = [
            {"type": "header", "block_id": "head", "text": plain(words, 150)},
            section("about", self.about(incident)),
        ]
        blocks += [section("text", shown(incident.updates[-1].text))] if incident.updates else []
        if alerts:
            told = [
                f"• {cut(a.message, 300)}" + (f" ({cut(a.source, 60)})" if a.source else "")
                for a in alerts[:5]
            ]
            more = [f"and {len(alerts) - 5} more"] if len(alerts) > 5 else []
            blocks.append(
                section("alerts", plain("\n".join(["Open alerts, only for staff:", *told, *more])))
            )
        blocks += row("act", offered(incident)) + self.leaving(mails, number)
        blocks += row("window", window(incident, mails))
        return Message(escape(f"#{number} {words}", 300), blocks)

    def leaving(self, mails: Sequence[core.Mail], number: int) -> list[Block]:
        """Tells when a mail leaves, or that it could not; the newest of each."""
        blocks: list[Block] = []
        unsent = (Post.HELD, Post.CLAIMED, Post.HANDED_OVER)
        for mail in [m for m in mails if m.state in unsent][-1:]:
            told = f"Mail to subscribers leaves at {self.date(mail.not_before, '{time_secs}')}"
            error = escape(mail.error, 500) if mail.error else ""
            if mail.attempts:
                told = f"The mail to subscribers has not left yet. {error}"
            if mail.state is Post.HANDED_OVER and mail.handed_over_at:
                since = self.date(mail.handed_over_at, "{time_secs}")
                told = f"Rapidmail has had the mail to subscribers since {since},"
                told += f" and has not begun to send it yet. {error}"
            blocks.append(section("mail", told))
        for mail in [m for m in mails if m.state is Post.FAILED][-1:]:
            blocks.append(
                section(
                    "failed",
                    f"The mail to subscribers could not be sent: {escape(mail.error, 500)}",
                )
            )
            blocks += row("retry", [button("retry", number)])
        return blocks

    def trouble(self, trouble: str) -> Message:
        """What keeps all that happens from being saved or shown; empty: nothing does any more."""
        text = trouble or "Everything is saved and shown again."
        return Message(escape(text), [section("about", plain(text))])

    def vanished(self, entry: core.Entry) -> Message:
        """What remains of an incident that was taken back."""
        text = (
            f"{escape(entry.by, 100)} took #{entry.incident} back before subscribers heard of it."
        )
        text += " Its page is gone, and its number stays unused."
        return Message(text, [section("about", text)])

    def bare(self, incident: Incident, mails: Sequence[core.Mail]) -> Message:
        """The message of an incident whose words cannot be shown: where it stands, with its
        buttons.
        """
        number = incident.number
        words = f"{status_text(incident)} · {SEVERITY_TEXT[incident.severity]}"
        why = "What it says cannot be shown here. The page has it, and monostat's log says why."
        head = {"type": "header", "block_id": "head", "text": plain(words, 150)}
        blocks = [head, section("about", f"{self.link(number)} · {why}")]
        blocks += row("act", offered(incident)) + row("window", window(incident, mails))
        return Message(f"#{number} {words}", blocks)

    def unsayable(self, entry: core.Entry) -> Message:
        """What stands in the place of a line that cannot be shown."""
        about = "" if entry.incident is None else f"{self.link(entry.incident)}: "
        text = "One line cannot be shown here. It is in monostat's log, which also says why."
        return Message(about + text, [section("line", text)])

    def line(
        self, entry: core.Entry, *, late: bool = False, answers: Sequence[core.Entry] | None = None
    ) -> Message:
        """One line of the log as staff read it, with what can be done about it at once; `late` says
        when it was.

        With `answers` nothing can be done any more, and they are why. What monitoring said is shown
        as it was.
        """
        about = "" if entry.incident is None else f"{self.link(entry.incident)}: "
        when = f"{self.date(entry.at, '{time_secs}')} " if late else ""
        words = {key: text for key, text in entry.detail.items() if key not in ("alert", "source")}
        after = "".join(f" {self.sentence(answer)}" for answer in answers or ())
        blocks = [
            section("line", when + self.sentence(replace(entry, detail=words)).rstrip() + after)
        ]
        if alert := entry.detail.get("alert"):
            source = entry.detail.get("source")
            blocks.append(section("alert", plain(f"{alert} ({source})" if source else alert)))
        if answers is None:
            maintenance = entry.detail.get("maintenance") == "True"
            asked = (
                ("real_outage",) if maintenance else () if entry.by else ASKED.get(entry.kind, ())
            )
            planned = datetime.fromisoformat(at) if (at := entry.detail.get("planned")) else None
            blocks += row(
                "act", [button(what, aimed(what, entry.incident or 0, planned)) for what in asked]
            )
        return Message(about + self.sentence(entry) + after, blocks)

    def sentence(self, entry: core.Entry) -> str:
        """What an entry of the log says, as mrkdwn."""
        told = defaultdict(str, {key: escape(value, 1000) for key, value in entry.detail.items()})
        told |= {
            key: self.dated(told[key]) for key in ("planned", "start", "end", "what") if key in told
        }
        told["by"] = escape(entry.by, 100) if entry.by else ""
        if (
            severity := {str(s): text for s, text in SEVERITY_TEXT.items()}.get(
                entry.detail.get("severity", ""), ""
            ).lower()
        ):
            a = f"{'an' if severity[0] == 'o' else 'a'} {severity}"
            told |= {
                "severity": severity,
                "as_severity": f" as {a}",
                "now_severity": f" and made this {a}",
            }
        told["outage"] = self.link(told["outage"])
        told["source"] = f" ({told['source']})" if entry.detail.get("source") else ""
        told["left"] = (
            f" Alerts still open, which stay here: {told['left']}." if told["left"] else ""
        )
        lines = LINES.get(entry.kind) or [
            "{by}: " * bool(entry.by) + (re.sub(r"\W|_", " ", entry.kind).strip() or "changed")
        ]
        return lines[0 if entry.by else -1].format_map(told)
