"""The loop that tells Slack what is due.

Mirrors (an incident's message) are made equal to now; thread lines are said once, in order: claimed, sent, settled. A
claim without a result is looked for in Slack before anything is said a second time.
"""

import asyncio
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from monostat.board import Board
from monostat.decisions import reminders
from monostat.delivery import Condition, Undelivered, backoff, nap, pause
from monostat.events import Alerted
from monostat.incidents import DISMISSED, PLANNED, UNDER_WAY, Entry, Incident, Policy, Post, State
from monostat.messages import Message, Words
from monostat.slack import Slack
from monostat.store import Posted

log = logging.getLogger(__name__)
LATE = timedelta(minutes=1)  # a line told later than this says when it happened
RECENT = timedelta(days=7)  # what is over for longer stays in Slack as it is


@dataclass(kw_only=True)
class Telling:
    """The loop that makes Slack equal to now, and then says what happened, line by line."""

    board: Board
    chat: Slack
    words: Words
    rng: Random
    counts: Counter[tuple[str, ...]]  # for metrics, by channel and result
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    shown: dict[int, object] = field(default_factory=dict)
    asked: dict[str, Posted] = field(default_factory=dict)  # lines whose buttons still answer their question
    said: str = ""  # of the database's trouble
    homes: Callable[[], Awaitable[None]] | None = None  # shows the Home tabs anew

    async def run(self) -> None:
        attempt, condition = 0, Condition("Slack")
        prefix = self.key("incident", "")
        for posted in await self.board.store.find(Posted, "key LIKE ?", f"{prefix}%"):
            self.shown[int(posted.key.removeprefix(prefix))] = None  # what it shows may be old
        lines = await self.board.store.find(Posted, "key LIKE ?", self.key("line", "%"))
        self.asked = {posted.key: posted for posted in lines if posted.asks and posted.ts}
        while True:
            self.wake.clear()
            try:
                await self.tell_trouble()
                await self.mirror()
                await self.lines()
                if self.homes:
                    await self.unless_refused(self.homes(), "Home")
            except Undelivered as trouble:
                attempt += 1
                condition.tell(f"{trouble.reason}; trying again")
                await nap(trouble.retry_after or backoff(attempt, self.rng, longest=30))
                continue
            attempt = 0
            condition.tell("")
            await pause(self.wake, None)

    async def tell_trouble(self) -> None:
        """Says in the channel that nothing can be saved, which no line of the log can, and that it can be again."""
        if (trouble := self.board.saving.trouble) != self.said:
            await self.chat.post(self.words.saving(trouble), key=self.key("saving", self.board.now().isoformat()))
            self.said = trouble

    async def mirror(self) -> None:
        state = self.board.state
        for incident in sorted(state.incidents.values(), key=lambda i: (i.is_open, i.number), reverse=True):
            now = (incident, state.open_alerts(incident.number), state.mails_of(incident.number))
            if self.shown.get(incident.number) != now:
                await self.unless_refused(self.make_equal(incident, self.words.incident(*now)), incident.number)
                self.shown[incident.number] = now

    async def make_equal(self, incident: Incident, message: Message) -> None:
        """Edits the incident's message, or posts it where there is none that can be edited."""
        lasting = incident.is_open or incident.status is PLANNED or self.shown.get(incident.number)
        if not (lasting or incident.updated_at > self.board.now() - RECENT):
            return  # old stories are neither told again nor told late
        posted = await self.board.store.posted(self.key("incident", incident.number))
        digest = hashlib.sha256(json.dumps(message).encode()).hexdigest()
        if not posted.ts:
            posted = await self.post_once(posted, message, digest=digest)
        if posted.ts and posted.digest != digest:  # also where it was found: nobody knows what it shows
            if await self.chat.update(posted.ts, message):
                await self.board.store.put(replace(posted, digest=digest))
            else:
                await self.post_once(Posted(key=posted.key), message, digest=digest)

    async def lines(self) -> None:
        """Says what the log holds and nobody was told yet, each line in the thread of its incident."""
        state = self.board.state  # of which the log has every line, and perhaps some of a change that is being saved
        entries = [entry for entry in await self.board.store.untold() if entry.id <= state.entries_made]
        for entry in entries:
            if entry.incident in self.board.state.incidents and entry.incident not in self.shown:
                self.wake.set()  # it was opened while Slack took its time: its message comes first
                return
            await self.tell(entry)
            await self.settle(state, entry)
            self.wake.set()  # there may be more than one batch
        if not entries:
            await self.settle(state, None)

    async def tell(self, entry: Entry) -> None:
        """Says one line, where it is still worth it; one that asks something is remembered until it is answered."""
        board, store, key = self.board, self.board.store, self.key("line", entry.id)
        top = await store.posted(self.key("incident", entry.incident))
        if entry.incident and entry.incident not in board.state.incidents:
            if entry.kind == "undone":
                await self.vanish(entry, top)
        elif (entry.incident is None or top.ts) and still_due(entry, board.state, board.policy, board.now()):
            posted, line = await store.posted(key), self.words.line(entry, late=board.now() - entry.at > LATE)
            asks = entry if any(block["type"] == "actions" for block in line.blocks) else None
            telling = self.post_once(replace(posted, asks=asks), line, thread=top.ts)
            taken = await self.unless_refused(telling, entry.id)
            if taken and entry.kind == "unattended" and entry.incident:
                await board.submit(Alerted(at=board.now(), incident=entry.incident))
            if taken and asks:
                self.asked[key], key = await store.posted(key), ""
        await store.told(entry, key)

    async def vanish(self, entry: Entry, posted: Posted) -> None:
        """Says in the message of an incident that was taken back that it is gone, also where its post was unclear."""
        ts = posted.ts or (posted.claimed_at and await self.chat.find(posted.key, since=posted.claimed_at))
        if ts:
            await self.unless_refused(self.chat.update(ts, self.words.vanished(entry)), entry.id)
        await self.board.store.forget(posted.key)
        self.shown.pop(entry.incident or 0, None)

    async def settle(self, state: State, news: Entry | None) -> None:
        """Takes the buttons off the lines that ask nothing any more, and says what has answered them."""
        for posted in list(self.asked.values()):
            asked = posted.asks
            if not asked or not posted.ts or (news and (news.incident != asked.incident or news.id == asked.id)):
                continue
            if not still_asks(asked, state, self.board.policy, self.board.now()):
                line = self.words.line(asked, answers=[news] if news else [])
                await self.unless_refused(self.chat.update(posted.ts, line), asked.id)
                await self.board.store.forget(posted.key)
                del self.asked[posted.key]

    async def unless_refused(self, telling: Awaitable[object], what: object) -> bool:
        """What Slack will never take must not keep back what comes after it."""
        try:
            await telling
        except Undelivered as trouble:
            self.counts["slack", "dropped" if trouble.permanent else "failed"] += 1
            if not trouble.permanent:
                raise
            log.error("Slack: %s; %s is left out", trouble.reason, what)  # noqa: TRY400 - no news in a traceback
            return False
        self.counts["slack", "sent"] += 1
        return True

    async def post_once(
        self, posted: Posted, message: Message, *, thread: str | None = None, digest: str = ""
    ) -> Posted:
        """Posts what is not there yet: after an unclear end it is looked for first."""
        store, key = self.board.store, posted.sought or posted.key
        if posted.ts:
            return posted
        if posted.claimed_at and (found := await self.chat.find(key, since=posted.claimed_at, thread=thread)):
            posted = replace(posted, ts=found)
        else:
            posted = replace(posted, claimed_at=self.board.now(), sought="")
            await store.put(posted)
            try:
                loud = "<!here>" in message.text
                ts = await self.chat.post(message, key=posted.key, thread=thread, loud=loud)
            except Undelivered as trouble:
                if not trouble.ambiguous:
                    await store.put(replace(posted, claimed_at=None))
                raise
            posted = replace(posted, ts=ts, digest=digest)
        await store.put(posted)
        return posted

    async def thread_of(self, ts: str) -> int | None:
        """The number of the incident whose message has this ts."""
        prefix = self.key("incident", "")
        found = await self.board.store.find(Posted, "key LIKE ? AND json_extract(body, '$.ts') = ?", f"{prefix}%", ts)
        return int(found[0].key.removeprefix(prefix)) if found else None

    def key(self, kind: str, number: object) -> str:
        return f"{self.board.state.epoch}:{kind}:{number}"


def still_due(entry: Entry, state: State, policy: Policy, now: datetime) -> bool:
    """Whether a line is worth telling: of pings and reminders only the newest is, and only while it is true."""
    if not (due := entry.detail.get("due")):
        return True
    incident = state.incidents.get(entry.incident or 0)
    true_now = reminders(incident, policy) if incident else []
    times = [at for at, kind in true_now if kind == entry.kind and at <= now]
    over = datetime.fromisoformat(due) + timedelta(seconds=policy.soon) <= now
    return bool(times) and max(times).isoformat() == due and not (over and entry.kind.endswith("_soon"))


def still_asks(entry: Entry, state: State, policy: Policy, now: datetime) -> bool:
    """Whether the buttons of a line still answer what it asks."""
    incident = state.incidents.get(entry.incident or 0)
    if incident is None or not still_due(entry, state, policy, now):
        return False
    alerting, under_way = bool(state.open_alerts(incident.number)), incident.status in UNDER_WAY
    asks = {
        "alerts_over": under_way and not alerting,
        "joined": under_way and incident.is_maintenance and alerting,
        "dismissed": incident.status is DISMISSED and not incident.status_by,
        "mail_failed": any(mail.state is Post.FAILED for mail in state.mails_of(incident.number)),
    }
    return asks.get(entry.kind, True)
