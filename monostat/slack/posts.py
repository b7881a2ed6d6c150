"""What Slack was given: posted once, found again after an unclear end, and made equal to now."""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from monostat.core import verbs
from monostat.core.events import Act
from monostat.core.model import PLANNED, Alert, Entry, Fact, Incident, Mail, State
from monostat.core.posted import Posted
from monostat.slack.client import SlackClient
from monostat.slack.messages import Message, status_text
from monostat.slack.text import SlackText
from monostat.vendor import Undelivered, expect_turn

RECENT = timedelta(days=7)  # what is over for longer stays in Slack as it is

#: Seconds for finding out whether a message is there, before a line that calls staff.
BRIEF = 2.0


class SlackStore(Protocol):
    """The part of the database that the outbox needs; whatever fails raises sqlite3.Error."""

    async def put(self, *facts: Fact) -> None:
        """Keeps these facts, in place of older ones with the same keys."""

    async def posted(self, key: str) -> Posted:
        """What is known of the post with this key; an empty record where nothing is."""

    async def posts(self, prefix: str) -> list[Posted]:
        """What is known of posts whose keys begin so."""

    async def post_of(self, ts: str, prefix: str) -> Posted | None:
        """The one of these that has this ts, or had it before it was posted again."""

    async def has_incident(self, number: int) -> bool:
        """Whether there is an incident of this number, present or past."""

    async def forget(self, key: str) -> None:
        """Drops the record of a post."""

    async def untold(self, most: int = 100) -> list[Entry]:
        """The log lines that Slack does not have yet, oldest first; -1 is no limit."""

    async def tick_off(self, entry: Entry, key: str) -> None:
        """Ticks a line off, and drops the record of the post with this key."""


class Inputs(NamedTuple):
    """What the message of an incident is rendered from."""

    incident: Incident
    alerts: Sequence[Alert]
    mails: Sequence[Mail]


class Rendered(NamedTuple):
    """What a message is known to show, and what that was rendered from."""

    inputs: Inputs
    message: Message


class Turned(NamedTuple):
    """A message whose status was changed: what it showed before and after, on the loop's clock."""

    at: float
    before: Incident
    after: Incident


@dataclass(kw_only=True)
class Posts:
    """The messages of incidents, by their numbers; whoever changes one is alone with it.

    `on_change` is called where there is one more, or one less. What changes a message returns
    whether anything was sent.
    """

    store: SlackStore
    state: Callable[[], State]
    now: Callable[[], datetime]
    client: SlackClient
    wording: SlackText
    on_change: Callable[[], None]
    messages: dict[int, Posted] = field(default_factory=dict)
    rendered: dict[int, Rendered] = field(default_factory=dict)  # where that is known
    turned: dict[int, Turned] = field(default_factory=dict)  # the last time of each
    locks: defaultdict[int, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def load(self) -> None:
        """Reads what Slack was given before; what its messages show may be old."""
        self.rendered.clear()
        self.messages.clear()
        for number in self.state().incidents:
            key = self.key("incident", number)
            posted = await self.store.posted(key)
            if posted != Posted(key=posted.key):
                self.messages[number] = posted

    # -- Which messages are due

    def find_unposted(self) -> list[Incident]:
        """Those whose message has still to be posted, the most urgent first."""
        incidents = self.by_urgency()
        return [incident for incident in incidents if not self.ts_of(incident.number)]

    def find_outdated(self) -> list[Incident]:
        """Those whose message shows something else than what is true now."""
        outdated = []
        for incident in self.by_urgency():
            if self.ts_of(incident.number):
                rendered = self.rendered.get(incident.number)
                if rendered is None or rendered.inputs != self.inputs_of(incident):
                    outdated.append(incident)
        return outdated

    def forget_past(self) -> None:
        """Keeps nothing of incidents that are past, or gone: what is known of them is a row."""
        present = self.state().incidents
        for kept in (self.messages, self.rendered, self.locks):
            gone = [number for number in kept if number not in present]
            for number in gone:
                lock = self.locks.get(number)
                if lock is None or not lock.locked():
                    del kept[number]

    def by_urgency(self) -> list[Incident]:
        """Those that Slack has to show, the open ones first, then the newest."""
        incidents = self.state().incidents.values()
        wanted = filter(self.is_wanted, incidents)
        return sorted(wanted, key=_urgency, reverse=True)

    def is_wanted(self, incident: Incident) -> bool:
        """Whether Slack has to show it: old stories are neither told again nor told late."""
        if incident.is_open or incident.status is PLANNED:
            return True
        is_recent = incident.updated_at > self.now() - RECENT
        return is_recent or incident.number in self.rendered

    def ts_of(self, number: int) -> str | None:
        """Slack's name for the message of an incident, or None where it has none."""
        posted = self.messages.get(number)
        if posted is None:
            return None
        return posted.ts

    def inputs_of(self, incident: Incident) -> Inputs:
        """What the message of an incident has to show now."""
        state = self.state()
        alerts = state.open_alerts(incident.number)
        mails = state.mails_of(incident.number)
        return Inputs(incident, alerts, mails)

    def key(self, kind: str, number: object) -> str:
        """What a post is called in the database, and in its metadata at Slack."""
        return f"{self.state().epoch}:{kind}:{number}"

    # -- Changing one

    @asynccontextmanager
    async def alone_with(self, number: int) -> AsyncIterator[None]:
        """Keeps others off the message of an incident; waiting for them is no standing still."""
        lock = self.locks[number]
        expect_turn(None)  # whoever has it must turn
        async with lock:
            expect_turn(0)
            yield

    async def post(self, number: int, fallback: bool) -> bool:
        """Posts the message of an incident that has none, or finds it."""
        async with self.alone_with(number):
            incident = self.state().incidents.get(number)
            if incident is None:
                return False
            inputs = self.inputs_of(incident)
            message = self.render(inputs, fallback=fallback)
            digest = digest_of(message)
            key = self.key("incident", number)
            before = await self.store.posted(key)
            posted = await self.post_once(before, message, digest=digest)
            self.messages[number] = posted
            if posted.digest == digest:  # of one that was found nobody knows what it shows
                self.rendered[number] = Rendered(inputs, message)
        self.on_change()
        return not before.ts

    async def edit(self, number: int, fallback: bool) -> bool:
        """Makes the message of an incident equal to now."""
        async with self.alone_with(number):
            incident = self.state().incidents.get(number)
            posted = self.messages.get(number)
            if incident is None or posted is None or posted.ts is None:
                return False
            inputs = self.inputs_of(incident)
            message = self.render(inputs, fallback=fallback)
            digest = digest_of(message)
            is_changed = posted.digest != digest
            if is_changed:
                if not await self.client.update(posted.ts, message):
                    await self._set_behind(number)
                    return False
                self._turn(number, incident)
                posted = replace(posted, digest=digest)
                await self.store.put(posted)
            self.messages[number] = posted
            self.rendered[number] = Rendered(inputs, message)
            return is_changed

    def _turn(self, number: int, incident: Incident) -> None:
        """Remembers when Slack took a message that offers other things than before."""
        before = self.rendered.get(number)
        if before and before.inputs.incident.status is not incident.status:
            at = asyncio.get_running_loop().time()
            self.turned[number] = Turned(at, before.inputs.incident, incident)

    def too_late_for(self, act: Act, ts: str, name: str) -> str:
        """Why a tap on a message may have meant what stood there a moment ago; empty where not.

        What both statuses offer is not held back.
        """
        turned = self.turned.get(act.incident)
        if turned is None or self.ts_of(act.incident) != ts:
            return ""
        verb = verbs.VERB.get(act.verb)
        if verb and not verb.held_back:
            return ""
        after = turned.after
        age = asyncio.get_running_loop().time() - turned.at
        is_over = age > self.client.timing.just_now
        if is_over or after.status_by == name:
            return ""
        if act.verb in _offered(turned.before) & _offered(after):
            return ""
        now = status_text(after).lower()
        if after.status_by:
            now += f" ({after.status_by})"
        return f"Nothing was done: #{after.number} changed just before your tap. It is now {now}."

    async def is_missing(self, number: int) -> bool:
        """Finds out whether somebody has deleted a message, by having it say again what it says."""
        # Whether it is there may not be known now; a line does not wait for an edit that hangs.
        with suppress(Undelivered, TimeoutError):
            async with asyncio.timeout(BRIEF), self.alone_with(number):
                ts = self.ts_of(number)
                rendered = self.rendered.get(number)
                if ts is None or rendered is None:
                    return False
                if not await self.client.update(ts, rendered.message):
                    await self._set_behind(number)
                    return True
        return False

    async def lose(self, number: int) -> None:
        """Has another message posted in the place of one whose thread is gone."""
        async with self.alone_with(number):
            await self._set_behind(number)

    async def _set_behind(self, number: int) -> None:
        """Remembers a message as an older one; only for whoever is alone with it."""
        posted = self.messages[number]
        if posted.ts:
            earlier = (*posted.earlier, posted.ts)
            posted = Posted(key=posted.key, earlier=earlier)
            await self.store.put(posted)
            self.messages[number] = posted
            self.rendered.pop(number, None)
        self.on_change()

    async def retract(self, number: int, entry: Entry) -> bool:
        """Says in the message of an incident that was taken back that it is gone.

        Where the end of its post is unclear, it is looked for.
        """
        async with self.alone_with(number):
            key = self.key("incident", number)
            posted = await self.store.posted(key)
            ts = posted.ts
            if not ts and posted.claimed_at:
                ts = await self.client.find(posted.key, since=posted.claimed_at)
            is_sent = False
            if ts:
                message = self.wording.vanished(entry)
                is_sent = await self.client.update(ts, message)
            await self.store.forget(posted.key)
            self.messages.pop(number, None)
            self.rendered.pop(number, None)
        return is_sent

    def render(self, inputs: Inputs, *, fallback: bool) -> Message:
        """The message of an incident; `fallback` has none of the words that people wrote."""
        if fallback:
            return self.wording.bare(inputs.incident, inputs.mails)
        return self.wording.incident(*inputs)

    async def post_once(
        self, posted: Posted, message: Message, *, thread: str | None = None, digest: str = ""
    ) -> Posted:
        """Posts what is not there yet.

        1. What has a ts is there.
        2. What was claimed before may be there: it is looked for.
        3. Else it is claimed, then sent; a clear failure takes the claim back.
        4. Its ts is kept.
        """
        if posted.ts:
            return posted
        ts = None
        if posted.claimed_at:
            ts = await self.client.find(
                posted.sought or posted.key, since=posted.claimed_at, thread=thread
            )
        if ts:
            posted = replace(posted, ts=ts)
        else:
            posted = replace(posted, claimed_at=self.now(), sought="")
            await self.store.put(posted)
            loud = "<!here>" in message.text
            try:
                ts = await self.client.post(message, key=posted.key, thread=thread, loud=loud)
            except Undelivered as trouble:
                if not trouble.ambiguous:
                    await self.store.put(replace(posted, claimed_at=None))
                raise
            posted = replace(posted, ts=ts, digest=digest)
        await self.store.put(posted)
        return posted

    # -- What others ask

    async def thread_of(self, ts: str) -> int | None:
        """The number of the incident one of whose messages, also of older ones, has this ts."""
        prefix = self.key("incident", "")
        posted = await self.store.post_of(ts, prefix)
        if posted is None:
            return None
        return int(posted.key.removeprefix(prefix))


def _urgency(incident: Incident) -> tuple[bool, int]:
    return incident.is_open, incident.number


def _offered(incident: Incident) -> set[str]:
    """The verbs whose buttons a message has, whatever their severity."""
    names = verbs.offered(incident)
    return {name.partition(":")[0] for name in names}


def digest_of(message: Message) -> str:
    """Tells whether a message shows something else; kept in the database."""
    text = json.dumps(message)
    return hashlib.sha256(text.encode()).hexdigest()
