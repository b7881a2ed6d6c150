"""What Slack was given: posted once, found again after an unclear end, and made equal to now."""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from monostat.core.model import PLANNED, Alert, Entry, Incident, Mail
from monostat.core.posted import Posted
from monostat.engine import Board
from monostat.slack.client import Slack
from monostat.slack.messages import Message, Words
from monostat.vendor import Undelivered

RECENT = timedelta(days=7)  # what is over for longer stays in Slack as it is
Now = tuple[
    Incident, Sequence[Alert], Sequence[Mail]
]  #: what the message of an incident is made of


@dataclass(kw_only=True)
class Posts:
    """The messages of incidents, by their numbers; whoever changes one is alone with it.

    `wake` is called where there is one more, or one less. What is done says whether anything was
    sent.
    """

    board: Board
    chat: Slack
    words: Words
    wake: Callable[[], None]
    messages: dict[int, Posted] = field(default_factory=dict)
    shown: dict[int, tuple[Now, Message]] = field(
        default_factory=dict
    )  # what they show, where that is known
    at_work: defaultdict[int, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    async def remember(self) -> None:
        """Reads what Slack was given before; what its messages show may be old."""
        prefix = self.key("incident", "")
        found = await self.board.store.find(Posted, "key LIKE ?", f"{prefix}%")
        self.messages = {int(posted.key.removeprefix(prefix)): posted for posted in found}
        self.shown.clear()

    def without_message(self) -> list[Incident]:
        return [incident for incident in self.by_urgency() if not self.ts_of(incident.number)]

    def outdated(self) -> list[Incident]:
        """Those whose message shows something else than what is true now."""
        told = [incident for incident in self.by_urgency() if self.ts_of(incident.number)]
        return [
            i
            for i in told
            if i.number not in self.shown or self.shown[i.number][0] != self.now_of(i)
        ]

    def by_urgency(self) -> list[Incident]:
        """Those that Slack has to show, the open ones first, then the newest."""
        incidents = filter(self.is_told, self.board.state.incidents.values())
        return sorted(incidents, key=lambda i: (i.is_open, i.number), reverse=True)

    def is_told(self, incident: Incident) -> bool:
        """Old stories are neither told again nor told late."""
        recent = incident.updated_at > self.board.now() - RECENT
        return (
            incident.is_open
            or incident.status is PLANNED
            or recent
            or incident.number in self.shown
        )

    async def post(self, number: int, *, plainly: bool = False) -> bool:
        """Posts the message of an incident that has none, or finds it."""
        async with self.at_work[number]:
            if (incident := self.board.state.incidents.get(number)) is None:
                return False
            now = self.now_of(incident)
            message = self.made(now, plainly=plainly)
            before = await self.board.store.posted(self.key("incident", number))
            posted = await self.post_once(before, message, digest=digest_of(message))
            self.messages[number] = posted
            if posted.digest == digest_of(
                message
            ):  # of one that was found nobody knows what it shows
                self.shown[number] = now, message
        self.wake()
        return not before.ts

    async def edit(self, number: int, *, plainly: bool = False) -> bool:
        """Makes the message of an incident equal to now."""
        async with self.at_work[number]:
            incident = self.board.state.incidents.get(number)
            posted = self.messages.get(number)
            if incident is None or posted is None or posted.ts is None:
                return False
            now = self.now_of(incident)
            message = self.made(now, plainly=plainly)
            sent = posted.digest != digest_of(message)
            if sent:
                if not await self.chat.update(posted.ts, message):
                    await self.lose(number)
                    return False
                posted = replace(posted, digest=digest_of(message))
                await self.board.store.put(posted)
            self.messages[number] = posted
            self.shown[number] = now, message
            return sent

    async def is_missing(self, number: int) -> bool:
        """Finds out whether somebody has deleted a message, by having it say again what it says."""
        async with self.at_work[number]:
            ts = self.ts_of(number)
            known = self.shown.get(number)
            with suppress(Undelivered):  # whether it is there cannot be known now
                if ts and known and not await self.chat.update(ts, known[1]):
                    await self.lose(number)
                    return True
        return False

    async def lose(self, number: int) -> None:
        """Remembers the message of an incident as an older one; another is posted in its place."""
        posted = self.messages[number]
        if posted.ts:
            earlier = (*posted.earlier, posted.ts)
            posted = Posted(key=posted.key, earlier=earlier)
            await self.board.store.put(posted)
            self.messages[number] = posted
            self.shown.pop(number, None)
        self.wake()

    async def vanish(self, number: int, entry: Entry) -> bool:
        """Says in the message of an incident that was taken back that it is gone, also where its
        post was unclear.
        """
        async with self.at_work[number]:
            posted = await self.board.store.posted(self.key("incident", number))
            ts = posted.ts or (
                posted.claimed_at and await self.chat.find(posted.key, since=posted.claimed_at)
            )
            sent = bool(ts) and await self.chat.update(str(ts), self.words.vanished(entry))
            await self.board.store.forget(posted.key)
            self.messages.pop(number, None)
            self.shown.pop(number, None)
        return sent

    def made(self, now: Now, *, plainly: bool) -> Message:
        incident, _, mails = now
        return self.words.bare(incident, mails) if plainly else self.words.incident(*now)

    async def post_once(
        self, posted: Posted, message: Message, *, thread: str | None = None, digest: str = ""
    ) -> Posted:
        """Posts what is not there yet: after an unclear end it is looked for first."""
        store, key = self.board.store, posted.sought or posted.key
        if posted.ts:
            return posted
        if posted.claimed_at and (
            found := await self.chat.find(key, since=posted.claimed_at, thread=thread)
        ):
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
        """The number of the incident one of whose messages, also of older ones, has this ts."""
        prefix, where = (
            self.key("incident", ""),
            "key LIKE ? AND (json_extract(body, '$.ts') = ? OR EXISTS",
        )
        where += " (SELECT 1 FROM json_each(body, '$.earlier') WHERE value = ?))"
        found = await self.board.store.find(Posted, where, f"{prefix}%", ts, ts)
        return int(found[0].key.removeprefix(prefix)) if found else None

    def ts_of(self, number: int) -> str | None:
        return self.messages[number].ts if number in self.messages else None

    def now_of(self, incident: Incident) -> Now:
        state = self.board.state
        return incident, state.open_alerts(incident.number), state.mails_of(incident.number)

    def key(self, kind: str, number: object) -> str:
        return f"{self.board.state.epoch}:{kind}:{number}"


def digest_of(message: Message) -> str:
    return hashlib.sha256(json.dumps(message).encode()).hexdigest()
