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
from monostat.core import verbs
from monostat.core.markdown import cut
from monostat.core.model import DISMISSED, PLANNED, RESOLVED, SUSPECTED, UNDER_WAY, Incident, Post
from monostat.core.text import in_words, timed
from monostat.core.verbs import COMPLETED, OFFERED, VERB, VERBS
from monostat.slack.mrkdwn import from_markdown

Block = dict[str, Any]
#: Of buttons: an incident is not created by a tap, but by the dialog that “new” opens.
LABELS: Mapping[str, str] = {verb.name: verb.label for verb in VERBS if verb.name != "create"} | {
    "new": VERB["create"].label,
    "completed": COMPLETED,
}
#: How the thread tells what nobody did, by the kind of the log entry.
BY_ITSELF: Mapping[str, str] = {
    "opened": "Monitoring has raised a suspicion. Is it real?",
    "dismissed": "All alerts are over; nobody confirmed it. Was it real?",
    "reopened": "Monitoring alerts again: this suspicion is open again. Is it real?",
    "started": "This has started, as planned.",
    "resolved": "This is completed, as planned.",
    "joined": "Joined by an alert: {alert}{source}",
    "alerts_over": "All alerts are over. Is it resolved?",
    "promise": "Readers were promised the next word soon. Is there something to say?",
    "unattended": "<!here> Monitoring still alerts, and nobody has said whether it is real.",
    "starts_soon": "This starts at {planned}, as planned.",
    "asks_start": "The planned start is now. The page says that it has not started yet.",
    "ends_soon": "This ends at {planned}, as planned.",
    "asks_end": "The planned end is now. Is it completed?",
    "mail_sent": "Subscribers were mailed.",
    "mail_late": "The mail has not left yet, it is tried again and again: {error}",
    "mail_unclear": (
        "Rapidmail has the mail, and does not say whether it sends it;"
        " it is asked again and again: {error}"
    ),
    "mail_failed": "The mail could not be sent: {error}",
    "monitoring_silent": "We cannot see our monitoring, and the page says so. {reason}.",
    "monitoring_back": "Our monitoring answers again.",
    "monitoring_refuses": (
        "Our monitoring no longer shows us an alert that is open here. It stays open. {reason}."
    ),
    "monitoring_moved": (
        "We listen to another monitoring now. Its alerts are matched anew;"
        " what is open here stays open until then."
    ),
}
#: How it tells what somebody did: the lines of the verbs, and two that belong to none.
BY_SOMEBODY: Mapping[str, str] = {verb.entry: verb.line for verb in VERBS} | {
    "no_outage": "{by} took the outage {outage} back. Its open alerts belong here again.",
    "announced_now": "{by} announced this now.",
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


def status_text(incident: Incident) -> str:
    """Where it stands, in the words of its kind."""
    if incident.status is DISMISSED and (incident.was_plan or incident.status_by):
        return "Cancelled" if incident.was_plan else "False alarm"
    if incident.is_maintenance and incident.status in (*UNDER_WAY, RESOLVED):
        return "Completed" if incident.status is RESOLVED else "Under way"
    return incident.status.label


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
    """The buttons that make sense now; a maintenance is not resolved but completed."""
    names = verbs.offered(incident)
    if incident.is_maintenance:
        names = tuple("completed" if name == "resolve" else name for name in names)
    planned = incident.planned_start if incident.status is PLANNED else incident.planned_end
    return [button(what, aimed(what, incident.number, planned)) for what in names]


def aimed(what: str, number: int, planned: datetime | None) -> str:
    """The value of a button: its incident, and the planned time that it moves on."""
    verb = VERB.get(what)
    if planned and verb and verb.moves_time:
        return f"{number}.{planned.timestamp():.0f}"
    return str(number)


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
    mark = incident.status.mark or incident.severity.mark
    return f"{mark} {status_text(incident)} · {incident.severity.label} · {incident.title}"


def times(incident: Incident) -> list[tuple[str, datetime]]:
    """What is worth telling of when, in its order."""
    plan = [("Planned start", incident.planned_start), ("Planned end", incident.planned_end)]
    real = [("Start", incident.started_at), ("End", incident.ended_at)]
    only_plan = incident.was_plan and incident.status in (PLANNED, DISMISSED)
    told = plan if only_plan else real + plan[1:] if incident.is_open else real
    return [(name, at) for name, at in told if at]


class Words(NamedTuple):
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
        return timed(text, lambda at: self.date(at, "{date_short_pretty} {time_secs}"))

    def plainly(self, text: str) -> str:
        """A sentence where Slack takes no mrkdwn, with times of the site's zone."""
        return timed(text, lambda at: in_words(at, self.zone))

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
        words = f"{status_text(incident)} · {incident.severity.label}"
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
        labels = {severity.value: severity.label for severity in core.Severity}
        if severity := labels.get(entry.detail.get("severity", ""), "").lower():
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
        line = BY_SOMEBODY.get(entry.kind) or BY_ITSELF.get(entry.kind)
        if not entry.by:
            line = BY_ITSELF.get(entry.kind) or line
        if line is None:
            unknown = re.sub(r"\W|_", " ", entry.kind).strip() or "changed"
            line = "{by}: " + unknown if entry.by else unknown
        return line.format_map(told)
