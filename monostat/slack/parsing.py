"""What people's taps, mentions and dialogs ask for, as acts.

https://docs.slack.dev/interactivity/handling-user-interaction
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from monostat.core import model as core
from monostat.core.events import Act, Changes
from monostat.core.model import DISMISSED, PLANNED, RESOLVED, SUSPECTED, WATCHING, Incident
from monostat.core.verbs import VERB, VERBS
from monostat.slack.commands import CONFIRMS_AS, Command, parse_command
from monostat.slack.emoji import in_characters
from monostat.slack.fields import Value, digest_of_value, submitted_value
from monostat.slack.messages import ACTION, LABELS
from monostat.slack.mrkdwn import to_markdown
from monostat.slack.said import Said, visible

View = Mapping[str, Any]  # a dialog, as Slack hands it over
Values = Mapping[str, Any]  # of its fields, by their names

#: A number of an incident, and of an update or in UNIX seconds.
BUTTON_VALUE = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.([1-9][0-9]{0,9}))?")
#: What a mention cannot do, and how it is done.
ELSEWHERE = {
    "help": (
        "Write what readers should know after the mention. To do more, begin with one of these:"
        " title: confirmed: watching: resolved: outage: partial:"
    ),
    "misspelt": (
        "Nothing was published: this looks like a command with a typing error."
        " Type {command} help to see the commands, or say it in other words."
    ),
    "list": "Type {command} to see what is going on.",
    "show": "Type {command} with a number, such as {command} 17, to see an incident.",
    "create": "Type {command} with what is wrong to open another incident.",
    "plan": "Type {command} maintenance to plan one.",
    "edit": "Tap Edit… on the message of the incident.",
}
#: Commands that publish the words after them.
WITH_WORDS = ("confirm", *(verb.name for verb in VERBS if verb.takes_words))
ONLY_SUSPECTED = (
    "Nobody has confirmed this yet. Begin with outage: or partial: to confirm it with these words."
)
BACK_TO_CONFIRMED = {WATCHING: "not_fixed", RESOLVED: "reopen", PLANNED: "start"}
OTHER = re.compile(r"other\d*")  # the names of fields in which one of many updates is chosen
TEXT = "text:"  # begins the names of fields that hold an update, by its id


def parse_button(body: Mapping[str, Any], at: datetime) -> Act | None:
    """What a pressed button asks for, by the id of its person; None where it makes no sense."""
    match body:
        case {
            "user": {"id": str(user)},
            "actions": [{"action_id": str(action), "value": str(value)}],
        }:
            return _button_act(action, value, at, user)
    return None


def _button_act(action: str, value: str, at: datetime, user: str) -> Act | None:
    verb, _, severity = action.removeprefix(ACTION).partition(":")
    numbers = BUTTON_VALUE.fullmatch(value)
    if numbers is None or verb not in LABELS:
        return None
    number = int(numbers[1])
    act = Act(at=at, verb=verb, by=user, incident=number)
    if severity:
        if severity not in [*core.Severity]:
            return None
        act = replace(act, severity=core.Severity(severity))
    if not numbers[2]:
        return act
    aim = int(numbers[2])
    if verb in VERB and VERB[verb].moves_time:
        planned = datetime.fromtimestamp(aim, UTC)
        return replace(act, planned=planned)
    return replace(act, update=aim)


def parse_mention(said: Said, incident: Incident, at: datetime, by: str, slash: str) -> Act | str:
    """What the words of a mention ask for, or why they cannot be obeyed.

    `slash` is how the slash command is called.
    """
    number = incident.number
    command = parse_command(said, slash)
    if command.number not in (None, number):
        return f"This is the thread of #{number}. Mention me in the thread of #{command.number}."
    if command.name in ELSEWHERE:
        return ELSEWHERE[command.name].format(command=slash)
    words = to_markdown(command.rest)
    act = Act(at=at, verb="update", by=by, incident=number, text=words)
    return asked_of(act, command, incident)


def asked_of(act: Act, command: Command, incident: Incident) -> Act | str:
    """What a command, or words, ask for of an incident; `act` has the words."""
    is_unconfirmed = incident.status in core.UNCONFIRMED
    name = command.name
    if name == "title":
        return replace(act, verb=name, title=visible(command.rest), text="")
    if name in CONFIRMS_AS:
        verb = "confirm" if is_unconfirmed else "update"
        return replace(act, verb=verb, severity=core.Severity(name))
    if incident.status is SUSPECTED and (not name or name in WITH_WORDS):
        return ONLY_SUSPECTED
    if act.text and name and name not in WITH_WORDS:
        return f"“{LABELS[name]}” takes no words, so nothing was done."
    return replace(act, verb=_verb_of(name, incident.status))


def _verb_of(name: str, status: core.Status) -> str:
    """What a command asks for, by where the incident stands."""
    if name == "resolve" and status is DISMISSED:
        return "was_real"
    if name == "confirm":
        return BACK_TO_CONFIRMED.get(status, "confirm")
    return name or "update"


def parse_view_submission(view: View, ready: Mapping[str, str], at: datetime, by: str) -> Act:
    """What a filled-in dialog asks for; `ready` has the ready sentences by their names.

    Raises LookupError, TypeError or ValueError for what is no dialog of ours.
    """
    metadata = json.loads(view["private_metadata"])
    values = _values_of(view)
    name = view["callback_id"]
    act = Act(
        at=at,
        verb=name,
        by=by,
        incident=int(values.get("incident") or metadata["incident"]),
        mail=bool(values.get("mail")),
    )
    text = in_characters(values.get("text") or "")
    if not text and values.get("ready"):
        text = ready.get(values["ready"], "")
    if name in ("update", "publish"):
        return replace(act, verb="update", text=text)
    if name == "edit":
        changed = _changed(values, metadata["shown"])
        changes = _changes(changed)
        texts = _texts(values, changed)
        return replace(act, changes=changes, texts=texts)
    act = replace(
        act,
        title=in_characters(values["title"] or ""),
        text=text,
        summary=in_characters(values.get("summary") or ""),
        start=_time(values.get("start")),
        end=_time(values.get("end")),
    )
    if name == "new":
        severity = core.Severity(values["severity"])
        return replace(act, verb="create", severity=severity)
    return replace(act, ask=bool(values.get("ask")))


def errors(view: View, sentence: str, field: str = "") -> dict[str, str]:
    """A refusal at the field that it is about, so that no word is lost; else at the first."""
    inputs = [block for block in view["blocks"] if block["type"] == "input"]
    names = [block["block_id"] for block in inputs]
    prefix = TEXT if field == "texts" else field
    for name in names:
        if prefix and name.startswith(prefix):
            return {name: sentence}
    return {names[0]: sentence}


def _values_of(view: View) -> dict[str, Any]:
    values: dict[str, Value] = {}
    for name, elements in view["state"]["values"].items():
        for element in elements.values():
            values[name] = submitted_value(element)
    return values


def _changed(values: Values, digests: Mapping[str, str]) -> dict[str, Any]:
    """The fields that hold something else than when the dialog was opened."""
    changed = {}
    for name, value in values.items():
        digest = digest_of_value(value)
        if digest != digests.get(name):
            changed[name] = value
    return changed


def _changes(changed: Values) -> Changes:
    """What an edit changes; None is left as it is."""
    severity = None
    if "severity" in changed:
        severity = core.Severity(changed["severity"])
    silent = None
    if "silent" in changed:
        silent = bool(changed["silent"])
    return Changes(
        title=_text(changed, "title"),
        severity=severity,
        start=_time(changed.get("start")),
        end=_time(changed.get("end")),
        summary=_text(changed, "summary"),
        silent=silent,
    )


def _text(changed: Values, name: str) -> str | None:
    """A field that was emptied holds None."""
    if name not in changed:
        return None
    return in_characters(str(changed[name] or ""))


def _texts(values: Values, changed: Values) -> dict[int, str]:
    """The new texts of updates, by their ids; an empty one deletes its update."""
    texts = {}
    for name, value in changed.items():
        if name.startswith(TEXT):
            texts[int(name.removeprefix(TEXT))] = in_characters(value or "")
    others = []
    for name, value in values.items():
        if value and OTHER.fullmatch(name):
            others.append(value)
    if others or values.get("other_text"):
        chosen = 0  # of none, or of several, it is not known which
        if len(others) == 1:
            chosen = int(others[0])
        texts[chosen] = in_characters(values["other_text"] or "")
    return texts


def _time(seconds: int | None) -> datetime | None:
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC)
