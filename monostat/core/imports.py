"""Incidents that were over elsewhere before they came here: they alert nobody."""

from monostat.core.draft import Draft, Refused
from monostat.core.events import Imported, Record, Sentence
from monostat.core.incidents import LONGEST_TITLE, sentence_of
from monostat.core.markdown import MAX_TEXT_LENGTH
from monostat.core.model import CONFIRMED, PLANNED, RESOLVED, WATCHING, Incident, State, Update
from monostat.core.text import all_sound, one_line
from monostat.core.verbs import VERB

#: The verb that says something for those who said nothing.
VERBS = {CONFIRMED: "confirm", WATCHING: "watch"}


def take_in(draft: Draft, event: Imported) -> None:
    """Adds what is not here yet; raises Refused, before anything has changed, for what is not past.

    Staff are told of all of it in one line, and open pages learn of it then.
    """
    records = all_sound(event.records)
    for record in records:
        check(draft, record)
    added = event.added
    known = event.known | {incident.imported_from for incident in draft.incidents.values()}
    for record in records:
        if record.source in known or is_our_own(draft.state, record.source):
            continue
        known |= {record.source}
        draft.put(incident_of(draft, record))
        added += 1
    if event.last and added:
        draft.state.revision += 1
        draft.log("imported", None, event.by, count=f"{added:,}")


def check(draft: Draft, record: Record) -> None:
    """Raises Refused for what cannot be kept, which a reader of files has found out before."""
    texts = [record.summary, *(said.text for said in record.updates)]
    times = [record.started_at, record.ended_at, *(said.at for said in record.updates)]
    if any(at.tzinfo is None for at in times):
        raise Refused(f"{record.source}: a time has no zone.")
    if not record.started_at <= record.ended_at <= draft.at:
        raise Refused(f"{record.source}: its end must lie between its start and now.")
    title = one_line(record.title)
    if (
        title != record.title
        or not 0 < len(title) <= LONGEST_TITLE
        or max(map(len, texts)) > MAX_TEXT_LENGTH
    ):
        raise Refused(
            f"{record.source}: its title must be one line of at most {LONGEST_TITLE} characters,"
            f" and no text longer than {MAX_TEXT_LENGTH:,}."
        )


def is_our_own(state: State, source: str) -> bool:
    """Whether it was exported from this very page, which still has it."""
    page, _, number = source.removeprefix("monostat/").partition("/")
    if page != state.birth.page_id or not number.isdecimal():
        return False
    return int(number) <= state.incidents_made


def incident_of(draft: Draft, record: Record) -> Incident:
    """The record with a number of ours; it stands as it stood when nobody here had touched it."""
    draft.state.incidents_made += 1
    number = draft.state.incidents_made
    changed_at = min(record.updated_at, draft.at)
    last_word = Sentence(status=RESOLVED, at=record.ended_at)
    return Incident(
        number=number,
        title=record.title,
        severity=record.severity,
        status=RESOLVED,
        status_at=record.ended_at,
        status_entry=0,
        started_at=record.started_at,
        ended_at=record.ended_at,
        planned_start=record.planned_start,
        planned_end=record.planned_end,
        created_at=record.created_at,
        updated_at=changed_at,
        reminded_at=draft.at,
        summary=record.summary,
        noticed_at=record.noticed_at,
        confirmed_at=record.confirmed_at,
        first_mailed_at=record.first_mailed_at,
        imported_from=record.source,
        imported_at=draft.at,
        as_it_came=True,
        updates=tuple(
            update_of(draft, record, number, said) for said in record.updates or [last_word]
        ),
    )


def update_of(draft: Draft, record: Record, number: int, said: Sentence) -> Update:
    """A sentence with an id of ours, and with words where it has none."""
    draft.state.updates_made += 1
    severity = said.severity or record.severity
    return Update(
        id=draft.state.updates_made,
        incident=number,
        status=said.status,
        severity=severity,
        at=said.at,
        text=said.text.strip() or words_of(draft, record, said),
        edited_at=said.edited_at,
    )


def words_of(draft: Draft, record: Record, said: Sentence) -> str:
    """The ready sentence of a status, as if somebody had tapped it here."""
    severity = said.severity or record.severity
    if said.status is PLANNED:
        return draft.ready_sentence("planned", severity)
    verb = VERB[VERBS.get(said.status, "resolve")]
    return draft.ready_sentence(sentence_of(verb, severity), severity)
