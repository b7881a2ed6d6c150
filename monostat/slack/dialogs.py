"""The dialogs that staff fill in (Slack's modals).

https://docs.slack.dev/surfaces/modals
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

from monostat.core import model as core
from monostat.core.markdown import cut
from monostat.core.model import OVER, Incident
from monostat.core.text import in_words, one_line
from monostat.slack.fields import (
    LONGEST_TEXT,
    checkbox,
    date_time,
    digest_of_value,
    initial_value,
    select,
    text_input,
)
from monostat.slack.messages import Block, section, status_text, text_object, units

MOST_TEXTS = 6  # inputs of texts, in a view of at most 250 kB
MOST_OPTIONS = 100  # of a select
MOST_UPDATES = 500  # that a dialog has room for
DIALOGS = ("update", "edit", "title", "new", "plan")  # verbs whose button opens a dialog
MARKDOWN = "Markdown, such as **bold** or [a link](https://example.com). It is public at once."


def dialog(name: str, title: str, submit: str, blocks: Sequence[Block], incident: int = 0) -> Block:
    """A modal; it remembers its incident, and digests of what its fields held.

    These tell later what was changed.
    """
    digests = {}
    for block in blocks:
        if block["type"] == "input":
            digests[block["block_id"]] = digest_of_value(initial_value(block["element"]))
    metadata = json.dumps({"incident": incident, "shown": digests}, separators=(",", ":"))
    return {
        "type": "modal",
        "callback_id": name,
        "private_metadata": metadata,
        "blocks": list(blocks),
        "title": text_object(title, 24),
        "submit": text_object(submit, 24),
        "close": text_object("Cancel", 24),
    }


def notice(text: str) -> Block:
    """A modal that only says something, in mrkdwn, to somebody who cannot be told in a channel."""
    return {
        "type": "modal",
        "title": text_object("Status page"),
        "close": text_object("Close"),
        "blocks": [section("text", text)],
    }


def update_dialog(incident: Incident, ready: Mapping[str, str]) -> Block:
    """Asks what to say of an incident; one of the ready sentences can be chosen, by its name."""
    blocks = [text_input("text", "What do you want to say?", hint=MARKDOWN)]
    if ready:
        names = {name: name for name in ready}
        blocks.append(select("ready", "Or say one of these", names))
    blocks.append(_mail())
    title = f"Post update to #{incident.number}"
    return dialog("update", title, "Publish", blocks, incident.number)


def publish_dialog(open_now: Sequence[Incident], text: str) -> Block:
    """For the words of a message that may belong to any of these."""
    options = {str(i.number): f"#{i.number} {i.title}" for i in open_now[:MOST_OPTIONS]}
    blocks = [
        select("incident", "Incident", options, optional=False),
        text_input("text", "What do you want to say?", text, optional=False),
        _mail(),
    ]
    return dialog("publish", "Publish to status page", "Publish", blocks)


def new_dialog(text: str = "") -> Block:
    """Asks what is wrong; `text` is offered as the first update."""
    hint = "If empty, we publish a standard sentence."
    blocks = [
        _title("What is wrong?"),
        _severity(core.Severity.PARTIAL),
        text_input("text", "First update", text, hint=hint),
        date_time("start", "Began at (leave empty for now)"),
        date_time("end", "Already over at"),
        _mail(ticked=True),
    ]
    return dialog("new", "New incident", "Publish", blocks)


def title_dialog(incident: Incident) -> Block:
    """Asks what is broken, and nothing else."""
    given = "" if incident.has_ready_title else incident.title
    blocks = [_title("What is broken, in a few words?", given)]
    return dialog("title", f"Title of #{incident.number}", "Publish", blocks, incident.number)


def plan_dialog(now: datetime, title: str = "") -> Block:
    """Begins with the next full hour, which is seldom right but near."""
    hour = timedelta(hours=1)
    begins = now.replace(minute=0, second=0, microsecond=0) + hour
    ask = "Ask in the channel at both times, and wait for a tap"
    blocks = [
        _title("What will happen?", title),
        date_time("start", "Start", begins, optional=False),
        date_time("end", "End", begins + hour, optional=False),
        text_input("summary", "What readers should know"),
        _mail("Announce it to subscribers by mail"),
        checkbox("ask", "Start and end", ask),
    ]
    return dialog("plan", "Plan maintenance", "Publish", blocks)


def edit_dialog(incident: Incident, zone: tzinfo) -> Block:
    """Has the newest texts in full; of all others, one can be chosen and given another text."""
    blocks = [
        _title("Title", incident.title),
        _severity(incident.severity),
        date_time("start", "Start", incident.started_at, optional=False),
    ]
    end = incident.ended_at if incident.status in OVER else incident.planned_end
    if end:
        blocks.append(date_time("end", "End", end, optional=False))
    never = "Never mail subscribers about this incident"
    blocks += [
        text_input("summary", "Summary", incident.summary),
        checkbox("silent", "Silent", never, ticked=incident.silent),
    ]
    if not incident.is_unconfirmed:
        blocks.append(_mail("Mail subscribers about this change"))
    blocks += _texts(incident, zone)
    return dialog("edit", f"Edit #{incident.number}", "Save", blocks, incident.number)


def _texts(incident: Incident, zone: tzinfo) -> list[Block]:
    """The texts of the updates, the newest first; those that do not fit can be chosen."""
    newest = incident.updates[::-1][:MOST_UPDATES]
    shortest = 20 if len(newest) > MOST_OPTIONS else 60
    fitting = [update for update in newest[:MOST_TEXTS] if _fits(update.text)]
    blocks = []
    others: dict[str, str] = {}
    for update in newest:
        then = incident.as_of(update)
        beginning = cut(one_line(update.text), shortest)
        label = f"{status_text(then)}, {in_words(update.at, zone)}: {beginning}"
        if update in fitting:
            name = f"text:{update.id}"
            blocks.append(
                text_input(name, label, update.text, hint="Clear the text to delete the update.")
            )
        else:
            others[str(update.id)] = label
    if others:
        hint = "If you leave this empty, the chosen update is deleted."
        label = "Change an older or longer update"
        for number, part in enumerate(batched(others, MOST_OPTIONS)):
            options = {id_: others[id_] for id_ in part}
            blocks.append(select(f"other{number or ''}", label, options))
            label = "Or an even older one"
        blocks.append(text_input("other_text", "Its new text", hint=hint))
    return blocks


def batched(rows: Iterable[str], most: int) -> list[list[str]]:
    """The rows in parts of at most so many."""
    every = list(rows)
    return [every[start : start + most] for start in range(0, len(every), most)]


def _fits(text: str) -> bool:
    return units(text) <= LONGEST_TEXT


def _title(label: str, text: str = "") -> Block:
    return text_input("title", label, text, longest=150, multiline=False, optional=False)


def _severity(chosen: core.Severity) -> Block:
    options = {severity.value: severity.label for severity in core.Severity}
    return select("severity", "Severity", options, chosen, optional=False)


def _mail(text: str = "Mail subscribers about this", *, ticked: bool = False) -> Block:
    return checkbox("mail", "Mail", text, ticked=ticked)
