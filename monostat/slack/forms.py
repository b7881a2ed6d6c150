"""What staff tap, fill in and say in Slack becomes acts; the dialogs for it, and the Home tab.

Contract slack.md, sections 5 to 8. A dialog's blocks are named like the fields of the act that it
asks for, so that a refusal can be shown where it belongs.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import sha256
from typing import Any

from monostat.core import events
from monostat.core import model as core
from monostat.core.events import Act
from monostat.core.markdown import cut
from monostat.core.model import DISMISSED, OVER, PLANNED, RESOLVED, SUSPECTED, WATCHING, Incident
from monostat.slack.messages import (
    LABELS,
    ONCE,
    SEVERITY_TEXT,
    Block,
    SlackText,
    button,
    escape,
    offered,
    plain,
    row,
    section,
    status_text,
    title,
    window,
)

LONGEST_TEXT, MOST_TEXTS = 3000, 8  # of an input, and inputs of texts in a view of at most 250 kB
#: With a colon before what is said, or alone.
STATUS_WORD = re.compile(
    r"\s*(confirmed|watching|resolved|outage|partial)\s*+(?::\s*|[.!]?\s*$)", re.IGNORECASE
)
DIALOGS = ("update", "edit", "new", "plan")  # verbs whose button opens a dialog


def parse_button(body: Mapping[str, Any], at: datetime) -> Act | None:
    """What a pressed button asks for, by the id of its person; None where it makes no sense."""
    match body:
        case {
            "user": {"id": str(user)},
            "actions": [{"action_id": str(what), "value": str(number)}],
        }:
            verb, _, severity = what.removeprefix("verb:").partition(":")
            meant = re.fullmatch(r"(0|[1-9][0-9]{0,8})(?:\.([1-9][0-9]{0,9}))?", number)
            if verb in LABELS and meant and severity in ("", *core.Severity):
                degree = core.Severity(severity) if severity else None
                aim = int(meant[2] or 0)
                act = Act(at=at, verb=verb, by=user, incident=int(meant[1]), severity=degree)
                if verb in ONCE:
                    return replace(act, planned=datetime.fromtimestamp(aim, UTC) if aim else None)
                return replace(act, update=aim or None)
    return None


def parse_mention(text: str, incident: Incident, at: datetime, by: str) -> Act | str:
    """What the words of a mention ask for, or why they cannot be obeyed; PRODUCT.md section 4,
    "Updates".
    """
    found = STATUS_WORD.match(text)
    word, said = (found[1].lower(), text[found.end() :].strip()) if found else ("", text.strip())
    act, unsure = (
        Act(at=at, verb="update", by=by, incident=incident.number, text=said),
        incident.status in (SUSPECTED, DISMISSED),
    )
    if word in ("outage", "partial"):
        return replace(act, verb="confirm" if unsure else "update", severity=core.Severity(word))
    if incident.status is SUSPECTED:
        return "Nobody has confirmed this yet. Begin with outage: or partial: to confirm it with these words."
    back = {WATCHING: "not_fixed", RESOLVED: "reopen", PLANNED: "start"}
    verbs = {
        "": "update",
        "watching": "watch",
        "resolved": "was_real" if incident.status is DISMISSED else "resolve",
    }
    return replace(act, verb=verbs.get(word) or back.get(incident.status, "confirm"))


# -- Dialogs


def dialog(name: str, title: str, submit: str, blocks: Sequence[Block], incident: int = 0) -> Block:
    """A modal; it remembers its incident, and digests of what its fields held, to tell later what
    was changed.
    """
    shown = {
        block["block_id"]: _digest(_initial(block["element"]))
        for block in blocks
        if block["type"] == "input"
    }
    about = json.dumps({"incident": incident, "shown": shown}, separators=(",", ":"))
    words = {"title": plain(title, 24), "submit": plain(submit, 24), "close": plain("Cancel", 24)}
    return {
        "type": "modal",
        "callback_id": name,
        "private_metadata": about,
        "blocks": list(blocks),
        **words,
    }


def notice(text: str) -> Block:
    """A modal that only says something, in mrkdwn, to somebody who cannot be told in a channel."""
    return {
        "type": "modal",
        "title": plain("Status page"),
        "close": plain("Close"),
        "blocks": [section("text", text)],
    }


def field(name: str, label: str, element: Block, *, optional: bool = True, hint: str = "") -> Block:
    hints = {"hint": plain(hint, 150)} if hint else {}
    element = element | {"action_id": "value"}
    return {
        "type": "input",
        "block_id": name,
        "label": plain(label, 150),
        "optional": optional,
        "element": element,
    } | hints


def words(
    name: str,
    label: str,
    text: str = "",
    *,
    most: int = LONGEST_TEXT,
    long: bool = True,
    **more: Any,
) -> Block:
    element = {"type": "plain_text_input", "multiline": long, "max_length": most}
    return field(name, label, element | ({"initial_value": text[:most]} if text else {}), **more)


def choice(
    name: str, label: str, options: Mapping[str, str], chosen: str = "", **more: Any
) -> Block:
    made = {value: {"text": plain(text, 75), "value": value} for value, text in options.items()}
    initial = {"initial_option": made[chosen]} if chosen else {}
    return field(
        name, label, {"type": "static_select", "options": [*made.values()]} | initial, **more
    )


def moment(name: str, label: str, at: datetime | None = None, **more: Any) -> Block:
    initial = {"initial_date_time": int(at.timestamp())} if at else {}
    return field(name, label, {"type": "datetimepicker"} | initial, **more)


def tick(name: str, label: str, text: str, on: bool = False) -> Block:
    option = {"text": plain(text, 75), "value": "yes"}
    element = {"type": "checkboxes", "options": [option]} | (
        {"initial_options": [option]} if on else {}
    )
    return field(name, label, element)


def mail(text: str = "Mail subscribers about this", on: bool = False) -> Block:
    return tick("mail", "Mail", text, on)


def severities(chosen: core.Severity) -> Block:
    return choice(
        "severity",
        "Severity",
        {s.value: text for s, text in SEVERITY_TEXT.items()},
        chosen,
        optional=False,
    )


def update_dialog(incident: Incident, ready: Mapping[str, str]) -> Block:
    hint = "Markdown, such as **bold** or [a link](https://example.com). It is public at once."
    blocks = [words("text", "What do you want to say?", hint=hint), mail()]
    blocks[1:1] = (
        [choice("ready", "Or say one of these", {name: name for name in ready})] if ready else []
    )
    return dialog(
        "update", f"Post update to #{incident.number}", "Publish", blocks, incident.number
    )


def publish_dialog(open_now: Sequence[Incident], text: str) -> Block:
    """For the words of a message that may belong to any of these."""
    options = {str(i.number): f"#{i.number} {i.title}" for i in open_now[:100]}
    blocks = [choice("incident", "Incident", options, str(open_now[0].number), optional=False)]
    blocks += [words("text", "What do you want to say?", text, optional=False), mail()]
    return dialog("publish", "Publish to status page", "Publish", blocks)


def new_dialog(text: str = "") -> Block:
    blocks = [
        words("title", "What is wrong?", most=150, long=False, optional=False),
        severities(core.Severity.PARTIAL),
    ]
    blocks += [
        words(
            "text", "First update", text, hint="Where it is empty, a ready sentence is published."
        )
    ]
    blocks += [
        moment("start", "Began at (now, where it is empty)"),
        moment("end", "Already over at"),
        mail(on=True),
    ]
    return dialog("new", "New incident", "Publish", blocks)


def plan_dialog(now: datetime, title: str = "") -> Block:
    """Begins with the next full hour, which is seldom right but near."""
    begins = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    blocks = [words("title", "What will happen?", title, most=150, long=False, optional=False)]
    blocks += [
        moment("start", "Start", begins, optional=False),
        moment("end", "End", begins + timedelta(hours=1), optional=False),
        words("summary", "What readers should know"),
    ]
    blocks += [mail("Announce it to subscribers by mail")]
    blocks += [tick("ask", "Start and end", "Ask in the channel at both times, and wait for a tap")]
    return dialog("plan", "Plan maintenance", "Publish", blocks)


def edit_dialog(incident: Incident, zone: tzinfo) -> Block:
    """Has the newest texts in full; of all others, one can be chosen and given another text."""
    end = incident.ended_at if incident.status in OVER else incident.planned_end
    blocks = [
        words("title", "Title", incident.title, most=150, long=False, optional=False),
        severities(incident.severity),
    ]
    blocks += [moment("start", "Start", incident.started_at, optional=False)]
    blocks += [moment("end", "End", end, optional=False)] if end else []
    blocks += [
        words("summary", "Summary", incident.summary),
        tick("silent", "Silent", "Never mail subscribers about this incident", incident.silent),
        mail("Mail subscribers about this change"),
    ]

    def about(update: core.Update) -> str:
        then = replace(
            incident, status=update.status, severity=update.severity, status_by=update.by
        )
        return f"{status_text(then)}, {core.in_words(update.at, zone)}: {cut(core.one_line(update.text), 60)}"

    newest = incident.updates[::-1]
    texts = [u for u in newest[:MOST_TEXTS] if len(cut(u.text, LONGEST_TEXT + 1)) <= LONGEST_TEXT]
    others = {str(u.id): about(u) for u in newest if u not in texts}
    blocks += [
        words(f"text:{u.id}", about(u), u.text, hint="Empty it to delete it.") for u in texts
    ]
    if others:
        blocks += [
            choice("other", "Change an older or longer update", dict([*others.items()][:100]))
        ]
        blocks += [
            words(
                "other_text",
                "Its new text",
                hint="Where this is empty, the chosen update is deleted.",
            )
        ]
    return dialog("edit", f"Edit #{incident.number}", "Save", blocks, incident.number)


def parse_view_submission(
    view: Mapping[str, Any], ready: Mapping[str, str], at: datetime, by: str
) -> Act:
    """What a filled-in dialog asks for."""
    about, got = json.loads(view["private_metadata"]), _values(view)
    changed = {
        name: value for name, value in got.items() if _digest(value) != about["shown"].get(name)
    }
    incident = int(got.get("incident") or about["incident"])
    act = Act(at=at, verb=view["callback_id"], by=by, incident=incident, mail=bool(got.get("mail")))
    text = got.get("text") or ready.get(got.get("ready") or "", "")
    match view["callback_id"]:
        case "update" | "publish":
            return replace(act, verb="update", text=text)
        case "edit":
            known = ("title", "severity", "start", "end", "summary", "silent")
            changes = events.Changes(
                **{name: _meant(name, changed[name]) for name in known if name in changed}
            )
            texts = {
                int(n[5:]): value or "" for n, value in changed.items() if n.startswith("text:")
            }
            if got.get("other") or got.get("other_text"):
                texts[int(got["other"] or 0)] = got["other_text"] or ""
            return replace(act, changes=changes, texts=texts)
    start, end = (_meant(name, got[name]) if got.get(name) else None for name in ("start", "end"))
    act = replace(
        act,
        title=got["title"] or "",
        text=text,
        summary=got.get("summary") or "",
        start=start,
        end=end,
    )
    if view["callback_id"] == "new":
        return replace(act, verb="create", severity=core.Severity(got["severity"]))
    return replace(act, ask=bool(got.get("ask")))


def errors(view: Mapping[str, Any], refused: str, about: str = "") -> dict[str, str]:
    """A refusal at the field that it is about, so that no word is lost; else at the first."""
    names = [block["block_id"] for block in view["blocks"] if block["type"] == "input"]
    wanted = "text:" if about == "texts" else about or "?"
    return {next((name for name in names if name.startswith(wanted)), names[0]): refused}


def _meant(name: str, value: Any) -> Any:
    if name in ("start", "end"):
        return datetime.fromtimestamp(value, UTC)
    return (
        core.Severity(value)
        if name == "severity"
        else bool(value)
        if name == "silent"
        else value or ""
    )


def _values(view: Mapping[str, Any]) -> dict[str, Any]:
    """What the fields hold: a text, the value of an option, UNIX seconds, "yes" for a tick, or
    None.
    """
    return {
        block: _value(element)
        for block, fields in view["state"]["values"].items()
        for element in fields.values()
    }


def _value(element: Mapping[str, Any], prefix: str = "selected") -> Any:
    several = element.get(f"{prefix}_options") or [element.get(f"{prefix}_option")]
    chosen = several[0] or {}
    text = element.get("initial_value" if prefix == "initial" else "value")
    return text or chosen.get("value") or element.get(f"{prefix}_date_time") or None


def _initial(element: Mapping[str, Any]) -> Any:
    return _value(element, "initial")


def _digest(value: Any) -> str:
    """Of what a field holds; of times the picker has no seconds."""
    value = value // 60 if isinstance(value, int) else (value or "").strip()
    return sha256(str(value).encode("utf-8", "replace")).hexdigest()[:8]


def home(state: core.State, text: SlackText) -> Block:
    """The Home tab: what is, what is planned, and what was, with the same actions."""
    incidents = sorted(state.incidents.values(), key=lambda i: i.number, reverse=True)
    groups = {
        "Now": [i for i in incidents if i.is_open],
        "Planned": [i for i in incidents if i.status is PLANNED],
        "Recent": [i for i in incidents if i.status in OVER][:10],
    }
    new = [button("new", 0), button("plan", 0)]
    blocks = [
        section("head", f"*{'Something is going on' if groups['Now'] else 'Nothing is going on'}*"),
        *row("new", new),
    ]
    for name, found in groups.items():
        blocks += [{"type": "header", "block_id": name, "text": plain(name)}] if found else []
        for incident in found[:12]:
            blocks.append(
                section(
                    f"about:{incident.number}",
                    f"*{escape(title(incident), 300)}*\n{text.about(incident)}",
                )
            )
            now = window(incident, state.mails_of(incident.number))
            blocks += row(f"act:{incident.number}", [*offered(incident), *now])
    return {"type": "home", "blocks": blocks[:100]}


def bare_home() -> Block:
    """The Home tab while its list cannot be shown."""
    why = "The list of incidents cannot be shown here. The channel has each, and the log says why."
    new = row("new", [button("new", 0), button("plan", 0)])
    return {"type": "home", "blocks": [section("head", why), *new]}
