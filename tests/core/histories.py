"""Random histories of the pure core, and the promises that each of their steps must keep."""

from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from monostat.core.decide import decide, next_due
from monostat.core.events import (
    Act,
    AlertsSeen,
    Changes,
    Event,
    Imported,
    MailClaimed,
    MailSettled,
    MonitoringSilent,
    Record,
    Sentence,
    Tick,
)
from monostat.core.incidents import ACTIONS, BEGINNINGS
from monostat.core.mails import waiting_mails
from monostat.core.model import (
    OVER,
    SERIOUS,
    UNDER_WAY,
    Alert,
    Change,
    Incident,
    MailState,
    Monitoring,
    Policy,
    Severity,
    Standing,
    State,
    Status,
)
from monostat.core.past import with_past, without_past
from monostat.core.verbs import MOVES
from tests.core.mails import due_mail, next_mail
from tests.policies import POLICY

MOVE_NAMES = tuple(verb.name for verb in MOVES)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


ADA, BOB = "Ada", "Bob"


SECRET = "SECRET"  # is in every word that monitoring says


BY_ITSELF = {
    (Status.SUSPECTED, Status.DISMISSED),
    (Status.DISMISSED, Status.SUSPECTED),
    (Status.PLANNED, Status.CONFIRMED),
    (Status.PLANNED, Status.RESOLVED),  # missed while monostat was down
    (Status.CONFIRMED, Status.RESOLVED),
    (Status.WATCHING, Status.RESOLVED),
}


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


class Core:
    """A core with its clock, its monitoring and its outbox; whatever happens in it keeps the promises of `check`."""

    def __init__(self, **policy: Any) -> None:
        self.policy = replace(POLICY, **policy)
        self.at = NOON
        self.state = State(epoch="k3v9", monitoring=Monitoring(since=NOON), checked_at=NOON)
        self.alerts: dict[str, Alert] = {}  # those that monitoring has open
        self.raised = 0
        self.source = "one"
        self.wanted: dict[
            int, list[int]
        ] = {}  # the updates of each incident that subscribers have to hear of
        self.sent: dict[int, list[int]] = {}
        self.rows: dict[int, Incident] = {}  # all that there is, also what is past
        self.ended: dict[str, Alert] = {}
        self.reminded: set[tuple[int | None, str, str]] = set()

    def submit(self, event: Event) -> Change:
        before = self.state
        if isinstance(event, Imported):
            known = {incident.imported_from for incident in self.rows.values()}
            event = replace(event, known=event.known | known)
        number = event.incident if isinstance(event, Act) else 0
        if number in self.rows and number not in before.incidents:
            alerts = [alert for alert in self.ended.values() if alert.incident == number]
            before = with_past(before, self.rows[number], alerts)
        change = decide(before, event, self.policy)
        check(before, event, change, self.policy)
        self.state = change.state
        self.rows |= {incident.number: incident for incident in change.incidents}
        self.rows = {n: row for n, row in self.rows.items() if n not in change.gone}
        self.ended |= {alert.id: alert for alert in change.alerts}
        assert self.state.incidents.items() <= self.rows.items()
        for entry in change.entries:
            if "due" in entry.detail:
                reminder = (entry.incident, entry.kind, entry.detail["due"])
                assert reminder not in self.reminded, "nobody is reminded twice of the same thing"
                self.reminded.add(reminder)
        for mail in change.mails:
            wanted = self.wanted.setdefault(mail.incident, [])
            if mail.key not in before.mails:
                wanted.append(mail.entry)
            sent, was = self.sent.setdefault(mail.incident, []), before.mails.get(mail.key)
            left = mail.state in (MailState.SENT, MailState.HANDED_OVER)
            if left and mail.entry not in sent:
                sent.append(mail.entry)
            if not left and was and was.state is MailState.HANDED_OVER:
                sent.remove(mail.entry)  # the vendor had it, and did not send it
            was_wanted = mail.key not in before.mails or not before.mails[mail.key].unwanted
            if (
                isinstance(event, Act)
                and was_wanted
                and (mail.state is MailState.DROPPED or mail.unwanted)
            ):
                wanted.remove(mail.entry)
        return change

    def passes(self, seconds: float) -> Change:
        self.at += after(seconds)
        if seconds < 0:
            self.reminded.clear()  # a clock that was set back comes to the same times again
        return self.submit(Tick(at=self.at))

    def act(self, verb: str, number: int = 0, by: str = ADA, **more: Any) -> Change:
        more["changes"] = Changes(**more.get("changes", {}))
        return self.submit(Act(at=self.at, verb=verb, by=by, incident=number, **more))

    def imports(self, records: Iterable[Record], **more: Any) -> Change:
        """Somebody brings incidents that were over elsewhere."""
        return self.submit(Imported(at=self.at, records=tuple(records), by=ADA, **more))

    def does(self, verb: str, number: int = 0, by: str = ADA, **more: Any) -> Incident:
        """Acts, and is not refused."""
        change = self.act(verb, number, by, **more)
        assert change.refused == ""
        return self.rows.get(change.made or number) or self.incident

    def refuses(self, verb: str, number: int, by: str = BOB, **more: Any) -> str:
        before = decide(self.state, Tick(at=self.at), self.policy).state
        change = self.act(verb, number, by, **more)
        assert change.state == before
        assert change.refused
        return change.refused

    def raises(self, name: str = "disk", *, ago: float = 0) -> Change:
        """Monitoring raises a new alert; one of the same name counts as another."""
        self.raised += 1
        made = Alert(
            id=f"{SECRET}-{self.raised}",
            message=f"{SECRET} {name}",
            created_at=self.at - after(ago),
        )
        self.alerts[name] = replace(made, source=f"{SECRET} host")
        return self.polls()

    def closes(self, *names: str) -> Change:
        return self.polls({self.alerts.pop(name).id: self.at for name in names})

    def polls(self, ended: dict[str, datetime] | None = None) -> Change:
        picture, over = tuple(self.alerts.values()), ended or {}
        return self.submit(AlertsSeen(at=self.at, open=picture, ended=over, source=self.source))

    def moves(self, *known: str) -> Change:
        """Listens to another source from now on, which has the alerts of these names under the same ids."""
        self.source += "!"
        self.alerts = {name: alert for name, alert in self.alerts.items() if name in known}
        return self.polls()

    def falls_silent(self) -> Change:
        return self.submit(MonitoringSilent(at=self.at))

    def hands_over(self, **outcome: Any) -> str:
        """What the outbox does: claims what is due and settles it; the key, or nothing."""
        mail = due_mail(self.state, self.at)
        if mail is None:
            return ""
        assert self.submit(MailClaimed(at=self.at, key=mail.key)).refused == ""
        assert self.submit(MailSettled(at=self.at, key=mail.key, **outcome)).refused == ""
        return mail.key

    def looks(self, **outcome: Any) -> str:
        """What the outbox does with a mailing that the vendor has: asks how it stands; the key, or nothing."""
        found = [m for m in waiting_mails(self.state) if m.is_followed and m.not_before <= self.at]
        if not found:
            return ""
        event = MailSettled(at=self.at, key=found[0].key, mailing=found[0].mailing)
        assert self.submit(replace(event, **outcome)).refused == ""
        return found[0].key

    def home(self, name: str) -> int | None:
        return self.state.alerts[self.alerts[name].id].incident

    def of(self, number: int) -> Incident:
        return self.rows[number]

    @property
    def incident(self) -> Incident:
        """The newest."""
        return self.rows[max(self.rows)]

    def status(self) -> dict[int, str]:
        return {number: incident.status.value for number, incident in self.state.incidents.items()}


def kinds(change: Change) -> list[str]:
    return [entry.kind for entry in change.entries]


def over_elsewhere(source: str, end: datetime, severity: Severity = Severity.OUTAGE) -> Record:
    """An incident of elsewhere that ended then, an hour after it began; it says what Statuspage says."""
    start = end - after(3600)
    return Record(
        source=source,
        title="Long ago",
        severity=severity,
        started_at=start,
        ended_at=end,
        created_at=start,
        updated_at=end,
        updates=(
            Sentence(status=Status.CONFIRMED, at=start, text="We are looking into it."),
            Sentence(status=Status.RESOLVED, at=end),
        ),
    )


def silence(world: Core, number: int) -> None:
    world.rows[number] = replace(world.of(number), silent=True)
    world.state.incidents[number] = world.rows[number]


def check(before: State, event: Event, change: Change, policy: Policy) -> None:
    """Every promise about one step."""
    now = change.state
    ticked = decide(before, Tick(at=event.at), policy).state
    check_rows(before, event, change, policy)
    check_alerts(ticked, event, now)
    check_moves(before, event, change)
    check_mails(before, event, change, policy)
    check_announced(before, event, now, policy)
    check_words(now)
    if change.refused:
        assert now == ticked
    if isinstance(event, Act) and event.verb == "undo":
        check_undo(ticked, event, change)
    settled = decide(now, Tick(at=event.at), policy).state
    assert decide(settled, Tick(at=event.at), policy).is_empty
    due = next_due(settled, policy)
    assert due is None or due > event.at
    if isinstance(event, AlertsSeen):
        again = decide(now, replace(event), policy)
        assert (
            again.is_empty or ticked.incidents != settled.incidents
        )  # unless a plan started or ended just now
        assert decide(again.state, event, policy).is_empty


def check_rows(before: State, event: Event, change: Change, policy: Policy) -> None:
    """What the store holds equals what memory holds, and no id is used twice or left out."""
    now = change.state
    incidents = {n: i for n, i in before.incidents.items() if n not in change.gone}
    incidents |= {i.number: i for i in change.incidents}
    alerts = {**before.alerts, **{a.id: a for a in change.alerts}}
    everything = replace(now, incidents=incidents, alerts=alerts)
    assert without_past(everything, event.at, policy) == now
    for number in incidents.keys() - now.incidents.keys():
        assert incidents[number].status in OVER
        assert number not in {mail.incident for mail in now.mails.values()}
        assert number not in {alert.incident for alert in now.alerts.values()}
    mails = {**before.mails, **{m.key: m for m in change.mails}}
    assert {
        k: m for k, m in mails.items() if m.state not in (MailState.SENT, MailState.DROPPED)
    } == now.mails
    assert [e.id for e in change.entries] == list(
        range(before.entries_made + 1, now.entries_made + 1)
    )
    new = sorted(set(now.incidents) - set(before.incidents))
    assert all(before.incidents_made < n <= now.incidents_made for n in new)
    before = without_past(before, event.at, policy)
    assert change.is_empty == (
        not change.incidents
        and (before.incidents, before.alerts, before.mails, before.monitoring, before.entries_made)
        == (now.incidents, now.alerts, now.mails, now.monitoring, now.entries_made)
    )


def check_alerts(before: State, event: Event, now: State) -> None:
    held = {a.incident for a in now.alerts.values() if a.closed_at is None}
    for alert in now.alerts.values():
        assert alert.incident is None or alert.incident in now.incidents
        if alert.closed_at is None and not alert.ignored:
            assert alert.incident is not None
            own = now.incidents[alert.incident]
            assert own.is_open or (own.status_by and not own.is_maintenance)
    suspected = [i for i in now.incidents.values() if i.status is Status.SUSPECTED]
    assert len(suspected) <= 1
    for suspicion in suspected:
        assert suspicion.number in held
        was = before.incidents.get(suspicion.number)
        undone = (
            isinstance(event, Act) and event.verb == "undo" and event.incident == suspicion.number
        )
        if (was is None or was.status is not Status.SUSPECTED) and not undone:
            others = [
                i for i in now.incidents.values() if i.status in UNDER_WAY and i.severity in SERIOUS
            ]
            assert others == []


def check_moves(before: State, event: Event, change: Change) -> None:
    table = {(start, verb.leads_to) for verb in MOVES for start in verb.allowed}
    for number, incident in change.state.incidents.items():
        assert (incident.ended_at is None) == (
            incident.is_open or incident.status is Status.PLANNED
        )
        if incident.ended_at and not (incident.was_plan and incident.status is Status.DISMISSED):
            assert incident.ended_at >= incident.started_at
        assert incident.updates
        assert all(update.text.strip() for update in incident.updates)
        was = before.incidents.get(number)
        if was and was.status is not incident.status:
            undone = isinstance(event, Act) and event.verb == "undo" and event.incident == number
            step = (was.status, incident.status)
            assert step in (table if incident.status_by else BY_ITSELF) or undone
            assert undone or incident.status_by == "" or isinstance(event, Act)


def check_mails(before: State, event: Event, change: Change, policy: Policy) -> None:
    for key, mail in change.state.mails.items():
        incident = change.state.incidents[mail.incident]
        assert incident.status not in (Status.SUSPECTED, Status.DISMISSED) or incident.was_plan
        if key not in before.mails:
            assert isinstance(event, Act)
            assert policy.mails
            assert not incident.silent
            if event.verb == "undo":  # of a cancellation, which gives back what it held
                assert before.incidents[mail.incident].status is Status.DISMISSED
                continue
            was = before.incidents.get(mail.incident)
            is_worse = was is not None and incident.severity.rank > was.severity.rank
            assert event.mail is not False or (event.verb == "edit" and is_worse)
            assert event.mail or not incident.is_maintenance
            assert mail.not_before == event.at + after(policy.undo_window)
        elif not mail.attempts:
            assert mail.not_before <= max(before.mails[key].at, event.at) + after(
                policy.undo_window
            )


def check_announced(before: State, event: Event, now: State, policy: Policy) -> None:
    for number, incident in now.incidents.items():
        waits = any(undo.announces for undo in incident.undo)
        if incident.status is not Status.DISMISSED:
            hidden = incident.status is Status.SUSPECTED or incident.is_told_elsewhere
            assert [waits, hidden, incident.announced_at is not None].count(True) == 1
        elif not incident.was_plan:
            assert not waits
            assert incident.announced_at is None
        was = before.incidents.get(number)
        if was and was.announced_at:
            assert incident.announced_at == was.announced_at
        elif was and incident.announced_at:
            assert incident.announced_at == event.at
            sent = isinstance(event, Act) and event.verb == "send" and event.incident == number
            latest = event.at + after(policy.undo_window)
            over = any(undo.announces and min(undo.until, latest) <= event.at for undo in was.undo)
            back = (
                was.status is Status.DISMISSED
            )  # a plan whose window ended while it was cancelled
            assert sent or over or back or incident.status_by == ""


def check_words(now: State) -> None:
    for incident in now.incidents.values():
        public = [incident.title, incident.summary, *(update.text for update in incident.updates)]
        assert not [words for words in public if SECRET in words]


def check_undo(ticked: State, event: Act, change: Change) -> None:
    was = ticked.incidents.get(event.incident)
    if was is None or not was.undo:
        assert change.refused
        return
    last = was.undo[-1]
    if event.update not in (None, last.update):
        assert "Somebody got there first" in change.refused
        return
    suspicions = [
        i
        for i in ticked.incidents.values()
        if i.status is Status.SUSPECTED and i.number != was.number
    ]
    if last.before and last.before.status is Status.SUSPECTED and suspicions:
        assert str(suspicions[0].number) in change.refused
        return
    assert not change.refused
    assert last.until > event.at
    assert not [
        m
        for m in change.state.mails.values()
        if m.incident == was.number and m.update == last.update
    ]
    if last.before is None:
        assert change.gone == (was.number,)
        assert not [m for m in change.state.mails.values() if m.incident == was.number]
        return
    incident = change.state.incidents[was.number]
    kept = tuple(update for update in was.updates if update.id != last.update)
    assert incident.updates[: len(kept)] == kept
    assert incident.title == was.title or was.has_ready_title
    assert (incident.has_ready_title, incident.summary, incident.silent) == (
        was.has_ready_title,
        was.summary,
        was.silent,
    )
    assert incident.severity is last.before.severity
    if incident.status_entry == last.before.status_entry:
        assert (
            Standing(**{f.name: getattr(incident, f.name) for f in fields(Standing)}) == last.before
        )
        assert incident.undo == was.undo[:-1]
    else:
        assert incident.status_by == ""  # the rules about alerts have spoken at once


SPANS = (0, 1, 9, 10, 15, 29, 30, 31, 119, 300, 899, 901, 3600, 90000, 700_000)


NAMES = ("disk", "cpu", "net")


LIKELY = ("confirm", "confirm", "dismiss", "watch", "resolve", "reopen", "undo", "undo", "update")


steps = st.one_of(
    st.tuples(
        st.just("poll"),
        st.frozensets(st.sampled_from(NAMES)),
        st.booleans(),
        st.sampled_from((0, 5, -40)),
    ),
    st.tuples(
        st.just("act"),
        st.sampled_from(
            (*MOVE_NAMES, *ACTIONS, "confirm", "dismiss", "undo", "undo", "real_outage")
        ),
        st.integers(0, 2),
        st.sampled_from((ADA, BOB)),
        st.sampled_from((None, None, None, *Severity)),
        st.sampled_from((None, None, True, False)),
    ),
    st.tuples(
        st.just("act"),
        st.sampled_from(LIKELY),
        st.just(0),
        st.just(ADA),
        st.none(),
        st.sampled_from((None, None, True)),
    ),
    st.tuples(
        st.just("make"),
        st.sampled_from(tuple(BEGINNINGS)),
        st.sampled_from((None, *Severity)),
        st.sampled_from((None, 0, 10, 100)),
        st.sampled_from((None, 20, 1000)),
        st.booleans(),
        st.sampled_from((None, True, False)),
    ),
    st.tuples(st.just("wait"), st.sampled_from(SPANS)),
    st.tuples(st.just("wait"), st.sampled_from((1, 9, 10, 15))),
    st.tuples(st.just("jump"), st.sampled_from((-90000, -3600, -20, -1))),
    st.tuples(st.just("due")),
    st.tuples(st.just("years")),
    st.tuples(st.just("unseen")),
    st.tuples(
        st.just("mail"),
        st.sampled_from(("", "", "503", "lost", "403", "422", "waits", "draft", "found draft")),
    ),
    st.tuples(st.just("look"), st.sampled_from(("", "waits", "draft", "503"))),
    st.tuples(st.just("silence"), st.integers(0, 2)),
    st.tuples(
        st.just("import"),
        st.frozensets(st.integers(0, 3)),
        st.sampled_from(tuple(Severity)),
        st.sampled_from((0, 60, 90000)),
    ),
    st.tuples(st.just("move"), st.frozensets(st.sampled_from(NAMES))),
    st.tuples(
        st.just("edit"),
        st.integers(0, 2),
        st.fixed_dictionaries(
            {},
            optional={
                "title": st.sampled_from(("Another title", " ")),
                "severity": st.sampled_from(tuple(Severity)),
                "start": st.sampled_from((-100, 0, 100)),
                "end": st.sampled_from((-50, 200)),
                "summary": st.just("What we know"),
                "silent": st.booleans(),
            },
        ),
        st.sampled_from((None, "", "Other words.")),
        st.sampled_from((None, True, False)),
    ),
)


histories = st.lists(steps, min_size=12, max_size=40)


def settled(world: Core, outcome: str) -> dict[str, Any]:
    """How a try ends, or a look."""
    told: dict[str, Any] = {"error": outcome, "retry_at": world.at + after(60)}
    number = {"mailing": world.state.entries_made + 1}
    match outcome:
        case "waits":
            return {"waiting": "scheduled", "retry_at": told["retry_at"], **number}
        case "draft" | "found draft":
            return {"permanent": outcome == "draft", **told, **number}
        case "lost":
            return {"ambiguous": True, **told}
        case "403":
            return {"permanent": True, **told}
        case "422":
            return {"invalid": True, **told}
    return told


def happens(world: Core, step: tuple[Any, ...]) -> None:
    """One step of a random history."""
    newest = sorted(world.rows, reverse=True)
    match step:
        case ("poll", names, renamed, ago):
            ended = {world.alerts.pop(n).id: world.at - after(ago) for n in {*world.alerts} - names}
            for name in sorted(names):
                if name not in world.alerts:
                    world.raised += 1
                    made = world.at - after(ago)
                    alert = Alert(
                        id=f"{SECRET}-{world.raised}", message=f"{SECRET} {name}", created_at=made
                    )
                    world.alerts[name] = alert
                if renamed:
                    world.alerts[name] = replace(
                        world.alerts[name], message=f"{SECRET} renamed {name}"
                    )
            world.polls(ended)
        case ("act", verb, pick, by, severity, mail):
            number = newest[pick] if pick < len(newest) else 99
            text = "Words." if verb == "update" else ""
            world.act(
                verb,
                number,
                by,
                severity=severity if verb in MOVE_NAMES else None,
                mail=mail,
                text=text,
            )
        case ("import", numbers, severity, ago):
            world.imports(
                over_elsewhere(f"statuspage/{n}", world.at - after(ago), severity)
                for n in sorted(numbers)
            )
        case ("make", verb, severity, start, length, ask, mail):
            sign = 1 if verb == "plan" else -1
            begins = None if start is None else world.at + sign * after(start)
            ends = None if length is None else (begins or world.at) + after(length)
            more = {"severity": severity, "start": begins, "end": ends, "ask": ask, "mail": mail}
            world.act(verb, 0, BOB, title="Something is wrong", summary="What we know", **more)
        case ("move", names):
            world.moves(*names)
        case ("wait" | "jump", seconds):
            world.passes(seconds)
        case ("years",):
            # Enough has happened, and was taken back, for all that is over to be past.
            world.state = replace(world.state, newest_own=())
            world.passes(400 * 86400)
        case ("unseen",):
            world.falls_silent()
        case ("due",):
            if due := next_due(world.state, world.policy):
                world.at = max(due, world.at)
                world.passes(0)
        case ("mail" | "look" as doing, outcome):
            settle = world.hands_over if doing == "mail" else world.looks
            settle(**settled(world, outcome))
        case ("edit", pick, changes, words, mail) if pick < len(newest):
            incident = world.of(newest[pick])
            times = {
                k: incident.started_at + after(v)
                for k, v in changes.items()
                if k in ("start", "end")
            }
            texts = {} if words is None else {incident.updates[-1].id: words}
            world.act("edit", incident.number, BOB, changes=changes | times, texts=texts, mail=mail)
        case ("silence", pick):
            if (
                pick < len(newest)
                and newest[pick] in world.state.incidents
                and not [m for m in world.state.mails.values() if m.incident == newest[pick]]
            ):
                silence(world, newest[pick])


def drain(world: Core) -> None:
    """The vendor is well again, and somebody taps every Retry."""
    for _ in range(200):
        if due := next_mail(world.state):
            world.at = max(due, world.at)
            assert world.hands_over() or world.looks()
        elif failed := next(
            (m for m in world.state.mails.values() if m.state is MailState.FAILED), None
        ):
            world.does("retry", failed.incident)
        else:
            return
    raise AssertionError(f"these never leave: {world.state.mails}")
