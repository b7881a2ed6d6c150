"""Words that are changed, or taken off the page, and what else has to follow them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from monostat.core.draft import Draft, Refused
from monostat.core.events import Act
from monostat.core.mails import last_left, let_go, outdate
from monostat.core.model import Incident, Subject, Update
from monostat.core.text import exact

#: How long a tap takes words down.
TAKE_DOWN = timedelta(minutes=10)


def take_down(draft: Draft, act: Act, incident: Incident) -> None:
    """Removes the newest words that somebody wrote, or puts the ready sentence in their place.

    1. Their mail is let go of, where it has not left.
    2. Every other mail that may have them is written anew, or the thread is told of it.
    3. They go, and what was said before them counts again.
    """
    number = incident.number
    update = words_meant(incident, act.update)
    if update is None:
        raise Refused(
            f"#{number} has no such words: somebody got there first, or they were changed."
        )
    detail = {"text": update.text}
    left = last_left(draft, incident)
    if left and left >= update.at:
        detail["left_at"] = exact(left)
    if update.instead:
        ready = replace(update, text=update.instead, instead=None, edited_at=draft.at)
        updates = with_update(incident, ready)
    else:
        updates = tuple(each for each in incident.updates if each is not update)
        for mail in draft.state.mails_of(number):
            if mail.update == update.id:
                let_go(draft, mail)
    if outdate(draft, number):
        detail["may_leave"] = "True"
    incident = replace(incident, updates=updates)
    incident = draft.touch(incident)
    retell(draft, incident)
    draft.log("taken_down", number, act.by, detail)
    draft.changed = Subject(number, "edited")


def words_meant(incident: Incident, id_: int | None) -> Update | None:
    """The update of this id, or without one the newest, where somebody wrote it."""
    for update in reversed(incident.updates):
        is_meant = id_ in (None, update.id)
        if is_meant and update.is_own:
            return update
    return None


def ask_to_take_down(draft: Draft, number: int, source: str) -> None:
    """Asks about words of an incident whose message was deleted; once."""
    incident = draft.incidents.get(number)
    if incident is None or not source:
        return
    for update in incident.updates:
        if update.source == source and update.is_own:
            asked = replace(update, source="")
            updates = with_update(incident, asked)
            incident = replace(incident, updates=updates)
            draft.put(incident)
            draft.log("unsaid", number, update=str(update.id))


def reword(draft: Draft, incident: Incident, texts: Mapping[int, str]) -> Incident:
    """Gives updates new words by their ids, and deletes those that are left with none."""
    ids = {update.id for update in incident.updates}
    unknown = [text for id_, text in texts.items() if id_ not in ids]
    if any(text.strip() for text in unknown):
        raise Refused(
            "Choose the update whose text this is: it may have been deleted meanwhile.", "other"
        )
    kept = []
    for update in incident.updates:
        text = texts.get(update.id, update.text)
        text = text.strip()
        if not text:
            continue
        if text != update.text:
            instead = update.instead if update.is_own else update.text
            update = replace(update, text=text, edited_at=draft.at, instead=instead)
        kept.append(update)
    if not kept:
        raise Refused(
            "The last update cannot be deleted: no status is ever without words.", "texts"
        )
    return replace(incident, updates=tuple(kept))


def retell(draft: Draft, incident: Incident) -> Incident:
    """Goes by the updates that are left after some were changed or went.

    A tap takes down the newest words that somebody wrote, while they are young enough. What staff
    have to be reminded of by them, and were not, is due.
    """
    spoken = 0
    newest = words_meant(incident, None)
    if newest and newest.at + TAKE_DOWN > draft.at:
        spoken = newest.id
    reminded_at = incident.last_reminder or incident.created_at
    reminded_at = min(reminded_at, draft.at)
    incident = replace(incident, spoken=spoken, reminded_at=reminded_at)
    return draft.put(incident)


def with_update(incident: Incident, changed: Update) -> tuple[Update, ...]:
    """The incident's updates with a new version of one of them, which has the same id."""
    by_id = {update.id: update for update in incident.updates}
    by_id[changed.id] = changed
    return tuple(by_id.values())


def said_until(incident: Incident) -> datetime | None:
    """When its newest words can no longer be taken down with a tap; None where none can."""
    for update in incident.updates:
        if update.id == incident.spoken:
            return update.at + TAKE_DOWN
    return None
