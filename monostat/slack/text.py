"""What staff read in Slack: the messages of incidents, the lines of their threads, and warnings."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

from monostat.core import model as core
from monostat.core.markdown import cut
from monostat.core.model import SUSPECTED, Incident, MailState
from monostat.core.text import in_words, show_times
from monostat.slack.messages import (
    ASKED,
    BY_ITSELF,
    BY_SOMEBODY,
    Block,
    Message,
    alert_words,
    button,
    button_value,
    context,
    escape,
    format_markdown,
    row,
    section,
    status_buttons,
    status_text,
    text_object,
    times,
    title,
    undo_buttons,
    units,
)
from monostat.slack.mrkdwn import from_markdown

MOST_ALERTS = 5  # listed in a message
LONGEST_BURST = 2900  # UTF-16 units of the alerts of a burst, of the 3000 of a section
UNSENT = (MailState.HELD, MailState.CLAIMED, MailState.HANDED_OVER)
#: How bad something is, in a sentence.
DEGREES: Mapping[str, str] = {
    **{severity.value: f"a {severity.label.lower()}" for severity in core.Severity},
    "outage": "an outage",
}
#: How these stand in a line, where there is something of them.
IN_BRACKETS: Mapping[str, str] = {"source": " ({})", "others": " (+{})"}
#: At the end of a line, which says it only until it is answered.
QUESTION = re.compile(r" [^.?]*\?$")
NAMES_ITSELF = ("unattended",)  # whose words have the number of their incident
#: What takes the place of the question that it answers.
REPLACES = ("titled",)


class SlackText(NamedTuple):
    """Words for staff.

    `url` is the page's; `zone` is of times where Slack cannot show the reader's own.
    """

    url: str
    zone: tzinfo

    # https://docs.slack.dev/messaging/formatting-message-text#date-formatting
    def date(self, at: datetime, form: str = "{date_short_pretty} {time}") -> str:
        """A time as mrkdwn, which Slack shows in the reader's own zone."""
        fallback = f"{at.astimezone(self.zone):%Y-%m-%d %H:%M:%S %Z}"
        return f"<!date^{int(at.timestamp())}^{form}|{fallback}>"

    def dated(self, text: str) -> str:
        """A sentence as mrkdwn, with times of the reader's zone."""
        return show_times(text, lambda at: self.date(at, "{date_short_pretty} {time_secs}"))

    def as_mrkdwn(self, sentence: str) -> str:
        """Any sentence, made harmless, with times of the reader's zone."""
        return self.dated(escape(sentence))

    def as_plain_text(self, text: str) -> str:
        """A sentence where Slack takes no mrkdwn, with times of the site's zone."""
        return show_times(text, lambda at: in_words(at, self.zone))

    def link(self, number: int | str) -> str:
        """An incident's number, which leads to its page."""
        return f"<{escape(f'{self.url}/incidents/{number}')}|#{number}>"

    def about(self, incident: Incident) -> str:
        """An incident's number and times, in one line."""
        parts = [self.link(incident.number)]
        parts += [f"{name}: {self.date(at)}" for name, at in times(incident)]
        if incident.silent:
            parts.append("silent: no mails")
        if incident.imported_from:
            parts.append(escape(f"imported from {incident.imported_from}"))
        return " · ".join(parts)

    def suspected(self, incident: Incident) -> str:
        """What the page says of a suspicion, in one line."""
        since = self.date(incident.started_at, "{time}")
        link = self.link(incident.number)
        return f"{link} · since {since} · the page says _may be having problems_"

    # -- The one message of an incident

    def incident(
        self, incident: Incident, alerts: Sequence[core.Alert], mails: Sequence[core.Mail]
    ) -> Message:
        """What an incident is now, with its open alerts, and what can be done now."""
        headline = title(incident, alerts)
        is_unsure = incident.status is SUSPECTED and bool(alerts)
        about = self.about(incident)
        notification = f"#{incident.number} {headline}"
        if is_unsure:
            about = self.suspected(incident)
            notification = headline
        blocks: list[Block] = [
            {"type": "header", "block_id": "head", "text": text_object(headline, 150)},
            context("about", about),
        ]
        if incident.updates and not is_unsure:
            blocks.append(section("text", format_markdown(incident.updates[-1].text)))
        if len(alerts) > is_unsure:
            blocks.append(section("alerts", _alert_list(alerts)))
        blocks += row("act", status_buttons(incident))
        blocks += self._mail_blocks(mails, incident.number)
        blocks += row("window", undo_buttons(incident, mails))
        return Message(escape(notification, 300), blocks)

    def _mail_blocks(self, mails: Sequence[core.Mail], number: int) -> list[Block]:
        """Tells when a mail leaves, or that it could not; the newest of each."""
        blocks: list[Block] = []
        unsent = [mail for mail in mails if mail.state in UNSENT]
        failed = [mail for mail in mails if mail.state is MailState.FAILED]
        if unsent:
            blocks.append(section("mail", self._unsent(unsent[-1])))
        if failed:
            error = escape(failed[-1].error, 500)
            words = f"The email to subscribers could not be sent: {error}"
            blocks.append(section("failed", words))
            blocks += row("retry", [button("retry", number)])
        return blocks

    def _unsent(self, mail: core.Mail) -> str:
        error = ""
        if mail.error:
            error = escape(mail.error, 500)
        if mail.state is MailState.HANDED_OVER and mail.handed_over_at:
            since = self.date(mail.handed_over_at, "{time_secs}")
            return (
                f"Rapidmail has had the email to subscribers since {since}"
                f" and has not begun to send it. {error}"
            )
        if mail.attempts:
            return f"The email to subscribers has not left yet. {error}"
        return f"Email to subscribers leaves at {self.date(mail.not_before, '{time_secs}')}"

    def bare(self, incident: Incident, mails: Sequence[core.Mail]) -> Message:
        """The message of an incident whose words cannot be shown: where it stands, with its
        buttons.
        """
        number = incident.number
        headline = f"{status_text(incident)} · {incident.severity.label}"
        why = "What it says cannot be shown here. The page has it, and monostat's log says why."
        blocks = [
            {"type": "header", "block_id": "head", "text": text_object(headline, 150)},
            section("about", f"{self.link(number)} · {why}"),
            *row("act", status_buttons(incident)),
            *row("window", undo_buttons(incident, mails)),
        ]
        return Message(f"#{number} {headline}", blocks)

    def vanished(self, entry: core.Entry) -> Message:
        """What remains of an incident that was taken back."""
        by = escape(entry.by, 100)
        text = (
            f"{by} took #{entry.incident} back before subscribers heard of it."
            " Its page is gone, and its number stays unused."
        )
        return Message(text, [section("about", text)])

    # -- Lines, in threads and in the channel

    def trouble(self, trouble: str) -> Message:
        """What keeps all that happens from being saved or shown; empty: nothing does any more."""
        text = trouble or "Everything is saved and shown again."
        return Message(escape(text), [section("about", text_object(text))])

    def line(
        self,
        entry: core.Entry,
        *,
        late: bool = False,
        answers: Sequence[core.Entry] | None = None,
        burst: Sequence[core.Entry] = (),
    ) -> Message:
        """One line of the log as staff read it, with what can be done about it at once.

        `late` says when it was. With `answers` nothing is asked or can be done any more; they have
        lines of their own. What monitoring said is shown as it was, in a block of its own; a
        `burst` are the alerts that joined with it.
        """
        words = self.sentence(entry)
        if answers:
            words = self._answered(entry, words, answers[-1])
        when = f"{self.date(entry.at, '{time_secs}')} " if late else ""
        if entry.detail.get("alert"):
            blocks = [section("line", when + _joining(burst)), _alerts_of([entry, *burst])]
        else:
            blocks = [section("line", when + words)]
        if answers is None:
            blocks += row("act", _line_buttons(entry))
        return Message(self._prefix(entry) + words, blocks)

    def _answered(self, entry: core.Entry, words: str, answer: core.Entry) -> str:
        if answer.kind in REPLACES:
            return self.sentence(answer)
        if answer.kind == "mail_sent":
            return f"{words} · emailed {self.date(answer.at, '{time}')}"
        if entry.by:
            return words
        return QUESTION.sub("", words)

    def unsayable(self, entry: core.Entry) -> Message:
        """What stands in the place of a line that cannot be shown."""
        text = "One line cannot be shown here. It is in monostat's log, which also says why."
        return Message(self._prefix(entry) + text, [section("line", text)])

    def _prefix(self, entry: core.Entry) -> str:
        """For notifications, which do not show the thread."""
        if entry.incident is None or entry.kind in NAMES_ITSELF:
            return ""
        return f"{self.link(entry.incident)}: "

    def sentence(self, entry: core.Entry) -> str:
        """What an entry of the log says, as mrkdwn."""
        tables = [BY_ITSELF, BY_SOMEBODY]
        if entry.by:
            tables.reverse()
        template = tables[0].get(entry.kind) or tables[1].get(entry.kind)
        if template is None:
            template = re.sub(r"\W|_", " ", entry.kind).strip() or "changed"
            if entry.by:
                template = "{by}: " + template
        return template.format_map(self._words_of(entry))

    def _words_of(self, entry: core.Entry) -> Mapping[str, str]:
        """What the places of a line are filled with; those without a word stay empty."""
        words = defaultdict[str, str](str)
        for key, value in entry.detail.items():
            words[key] = escape(value, 1000)
        for key in ("planned", "promised", "start", "end", "what", "left_at"):
            if key in words:
                words[key] = self.dated(words[key])
        for key in ("text", "what"):
            if key in words:
                shown_text = from_markdown(cut(entry.detail[key], 1000))
                if len(shown_text) <= 1500:
                    words[key] = self.dated(shown_text)
        if entry.by:
            words["by"] = escape(entry.by, 100)
        degree = DEGREES.get(entry.detail.get("severity", ""))
        if degree:
            words["severity"] = degree.partition(" ")[2]
            words["as_severity"] = f" as {degree}"
            words["now_severity"] = f" and made this {degree}"
        words["outage"] = self.link(words["outage"])
        words["link"] = self.link(entry.incident or 0)
        for key, form in IN_BRACKETS.items():
            if entry.detail.get(key, "0") in ("", "0"):
                words[key] = ""
            else:
                words[key] = form.format(words[key])
        left = entry.detail.get("left")
        if left:
            words["left"] = f" {words['left']} alerts are still open; they stay with this incident."
        if left == "1":
            words["left"] = " 1 alert is still open; it stays with this incident."
        if words["left_at"]:
            words["mailed"] = (
                f" The last email left at {words['left_at']} and may have these words."
            )
        elif words["may_leave"]:
            words["mailed"] = " Rapidmail may have an email with these words already: look there."
        words["again"] = _again(entry)
        return words


def _again(entry: core.Entry) -> str:
    """What an incident is again after an Undo."""
    to = entry.detail.get("to", "")
    if to == entry.detail.get("status"):
        to = entry.detail.get("degree", "")
    if not to:
        return ""
    known = {"suspected": "a suspicion", **DEGREES}
    return f"; it is {escape(known.get(to, to))} again"


def _joining(others: Sequence[core.Entry]) -> str:
    if others:
        return "More alerts:"
    return "Another alert:"


def _alerts_of(entries: Sequence[core.Entry]) -> Block:
    """The alerts of a burst, a line each; of those for which there is no room, how many."""
    room = LONGEST_BURST
    lines: list[str] = []
    for entry in entries:
        line = _joined(entry)
        room -= units(line) + 1
        if room < 0:
            lines.append(f"and {len(entries) - len(lines)} more")
            break
        lines.append(line)
    return section("alert", text_object("\n".join(lines)))


def _joined(entry: core.Entry) -> str:
    """An alert that has joined, as monitoring words it."""
    about = ", ".join(filter(None, map(entry.detail.get, ("priority", "source"))))
    words = cut(entry.detail.get("alert", ""), 300)
    if about:
        words += f" ({cut(about, 80)})"
    return words


def _alert_list(alerts: Sequence[core.Alert]) -> Block:
    lines = ["Open alerts, only for staff:"]
    lines += [f"• {alert_words(alert)}" for alert in alerts[:MOST_ALERTS]]
    if len(alerts) > MOST_ALERTS:
        lines.append(f"and {len(alerts) - MOST_ALERTS} more")
    return text_object("\n".join(lines))


def _line_buttons(entry: core.Entry) -> list[Block]:
    """What can be done about a line at once."""
    names: Iterable[str] = ()
    if entry.detail.get("maintenance") == "True":
        names = ("real_outage",)
    elif not entry.by:
        names = ASKED.get(entry.kind, ())
    time = entry.detail.get("planned")
    planned = datetime.fromisoformat(time) if time else None
    update = entry.detail.get("update", "")
    buttons = []
    for name in names:
        value = button_value(name, entry.incident or 0, planned=planned, update=update)
        buttons.append(button(name, value))
    return buttons
