"""The log lines that Slack does not have yet, and the questions that wait for an answer."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monostat.core.model import DISMISSED, UNCONFIRMED, UNDER_WAY, Entry, MailState, Policy, State
from monostat.core.posted import Posted
from monostat.core.reminders import reminders
from monostat.core.verbs import MOVES
from monostat.slack.lane import Setback
from monostat.slack.posts import SlackStore

#: Kinds of lines that may have caused an email, and say when it left.
MAILED = {"updated", "edited", "opened", "planned", "real_outage"}
MAILED |= {verb.entry for verb in MOVES if verb.mails}
#: What is told by the line that it answers, and by none of its own.
FOLDED = ("titled", "mail_sent")
#: Questions that can be answered however late.
WITHOUT_LIMIT = ("dismissed", "unsaid")


def is_redundant(entry: Entry) -> bool:
    """Whether the incident's message says all of it: a line would only repeat that."""
    if entry.kind == "joined":
        return entry.detail.get("told") == "False"
    return entry.kind == "opened" and not entry.by


def awaits_mail(entry: Entry, state: State) -> bool:
    """Whether an email that this has caused has not left yet."""
    mails = state.mails_of(entry.incident or 0)
    return any(mail.entry == entry.id for mail in mails)


@dataclass(kw_only=True)
class LogQueue:
    """The part of the log that has still to be posted, oldest first."""

    store: SlackStore
    state: Callable[[], State]
    now: Callable[[], datetime]
    policy: Policy
    lines: dict[int, Entry] = field(default_factory=dict)
    newest: int = 0  # the last entry that the queue has had
    #: By the keys of their posts: lines whose buttons still answer their question.
    questions: dict[str, Posted] = field(default_factory=dict)
    #: Of those that ask nothing any more, what has answered them.
    answers: dict[str, list[Entry]] = field(default_factory=dict)
    #: Lines that are told by the change of an older one.
    folded: set[int] = field(default_factory=set)

    async def load(self, prefix: str) -> None:
        """Begins anew, with the questions whose posts have keys that begin so."""
        posts = await self.store.posts(prefix)
        self.newest = 0
        self.lines.clear()
        self.answers.clear()
        self.folded.clear()
        self.questions.clear()
        for posted in posts:
            if posted.asks and posted.ts:
                self.questions[posted.key] = posted

    async def read(self) -> None:
        """Queues what has happened since, and finds the questions that it has answered."""
        # The log has every line of this state, and perhaps some of a change that is being saved.
        state = self.state()
        if state.entries_made > self.newest:
            for entry in await self.store.untold(most=-1):
                if self.newest < entry.id <= state.entries_made:
                    self.lines[entry.id] = entry
            self.newest = max(self.newest, state.entries_made)
        for key, posted in self.questions.items():
            question = posted.asks
            if question is None or key in self.answers:
                continue
            if not self.is_open(question, state):
                self.answers[key] = self.answers_to(question)

    def is_open(self, question: Entry, state: State) -> bool:
        """Whether it still waits for an answer; one that cannot be read asks nothing."""
        with suppress(ValueError, TypeError, LookupError):
            return still_asks(question, state, self.policy, self.now())
        return False

    def answers_to(self, question: Entry) -> list[Entry]:
        """The next thing that happened to its incident, apart from alerts that join it.

        A title replaces the question for it, and a line that caused an email says when it left.
        """
        for entry in self.lines.values():
            if entry.incident != question.incident:
                continue
            if entry.id <= question.id:
                continue
            if question.kind == "asks_title":
                is_answer = entry.kind in ("titled", "undone")
            elif question.kind in MAILED:
                is_answer = entry.detail.get("cause") == str(question.id)
            else:
                is_answer = entry.kind != "joined"
            if is_answer:
                if entry.kind in FOLDED:
                    self.folded.add(entry.id)
                return [entry]
        return []

    def next_lines(
        self, waiting: Collection[int | None], setbacks: Mapping[object, Setback]
    ) -> Iterator[Entry]:
        """The next line of each thread; those of the `waiting` incidents have none yet.

        `setbacks` are by line. A line that is to blame for its failing is overtaken; behind any
        other its thread stands still.
        """
        standing = set(waiting)
        overtaken: dict[int | None, list[Setback]] = defaultdict(list)
        for entry in self.lines.values():
            thread = entry.incident
            if thread in standing:
                continue
            setback = setbacks.get(entry.id)
            is_next = may_overtake(setback, overtaken[thread])
            if is_next:
                yield entry
            if is_next and setback and setback.is_blamed:
                overtaken[thread].append(setback)
            else:
                standing.add(thread)


def may_overtake(setback: Setback | None, others: Collection[Setback]) -> bool:
    """Whether a line may be tried although these, all to blame for their failing, stand before it.

    One that has failed, too, waits until each of them has failed once more: as long as Slack takes
    nothing at all, their order is kept.
    """
    if setback is None:
        return True
    return all(setback.failed_at < other.failed_at for other in others)


def still_due(entry: Entry, state: State, policy: Policy, now: datetime) -> bool:
    """Whether a line is worth telling.

    Of pings and reminders only the newest is, and only while it is true. Raises ValueError or
    TypeError where the time of the line cannot be read.
    """
    due = entry.detail.get("due")
    if not due:
        return True
    begins = datetime.fromisoformat(due) + timedelta(seconds=policy.soon)
    is_over = begins <= now
    incident = state.incidents.get(entry.incident or 0)
    if incident is None:
        return False
    times = []
    for at, kind in reminders(incident, policy):
        if kind == entry.kind and at <= now:
            times.append(at)
    if not times or max(times).isoformat() != due:
        return False
    return not (is_over and entry.kind.endswith("_soon"))


def still_asks(entry: Entry, state: State, policy: Policy, now: datetime) -> bool:
    """Whether the buttons of a line still answer what it asks."""
    incident = state.incidents.get(entry.incident or 0)
    if incident is None:
        return entry.kind in WITHOUT_LIMIT  # it is past, and nobody has answered
    if not still_due(entry, state, policy, now):
        return False
    is_alerting = bool(state.open_alerts(incident.number))
    is_under_way = incident.status in UNDER_WAY
    match entry.kind:
        case kind if kind in MAILED and entry.by:
            return awaits_mail(entry, state)
        case "asks_title":
            return incident.has_ready_title and incident.status not in UNCONFIRMED
        case "unsaid":
            asked = int(entry.detail["update"])
            own = [update.id for update in incident.updates if update.is_own]
            return asked in own
        case "alerts_over":
            return is_under_way and not is_alerting
        case "joined" | "no_outage":
            return is_under_way and incident.is_maintenance and is_alerting
        case "dismissed":
            return incident.status is DISMISSED and not incident.status_by
        case "mail_failed":
            mails = state.mails_of(incident.number)
            return any(mail.state is MailState.FAILED for mail in mails)
    return True
