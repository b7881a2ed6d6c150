"""Two loops that tell the vendors what is due: mails to Rapidmail, and everything that Slack shows.

Mirrors (an incident's message) are made equal to now; letters (mails, thread lines) are said once, in order: claimed,
sent, settled. A claim without a result is looked for at the vendor before anything is said a second time.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

from monostat.board import Board
from monostat.config import Timing
from monostat.decisions import due_mail, next_mail
from monostat.delivery import Undelivered, backoff
from monostat.incidents import Alert, Entry, Incident, Mail, MailClaimed, MailSettled, Post, Status
from monostat.messages import Letter, Message
from monostat.rapidmail import Mailing
from monostat.store import Posted, Store

log = logging.getLogger(__name__)

LATE = timedelta(minutes=1)  # a line told later than this says when it happened
RECENT = timedelta(days=7)  # what is over for longer stays in Slack as it is


class MailVendor(Protocol):
    """What is asked of a vendor of mailings."""

    async def send(self, mailing: Mailing) -> None: ...
    async def find(self, title: str, *, since: datetime) -> bool: ...


class Chat(Protocol):
    """What is asked of a vendor of messages."""

    async def post(self, message: Message, *, key: str, thread: str | None = None) -> str: ...
    async def update(self, ts: str, message: Message) -> bool: ...
    async def find(self, key: str, *, since: datetime, thread: str | None = None) -> str | None: ...


class Mails:
    """The loop that hands mails over."""

    def __init__(
        self,
        board: Board,
        store: Store,
        vendor: MailVendor,
        compose: Callable[[Incident], Letter],
        *,
        rng: Random,
        timing: Timing,
    ) -> None:
        self._board, self._store, self._vendor, self._compose = board, store, vendor, compose
        self._rng, self._timing = rng, timing
        self.wake = asyncio.Event()

    async def run(self) -> None:
        await self._take_up()
        while True:
            self.wake.clear()
            if mail := due_mail(self._board.state, self._board.now()):
                await self._hand_over(mail)
                continue
            due = next_mail(self._board.state)
            await _wait(self.wake, (due - self._board.now()).total_seconds() if due else None)

    async def _take_up(self) -> None:
        """Puts back what was claimed when this loop, or the process, was stopped: Rapidmail may have it already."""
        for mail in list(self._board.state.mails.values()):
            if mail.state is Post.CLAIMED:
                tried, at = await self._store.letter(mail.key) is not None, self._board.now()
                error = "monostat was stopped while this mail was on its way"
                await self._board.submit(
                    MailSettled(at=at, key=mail.key, error=error, ambiguous=tried or mail.ambiguous, retry_at=at)
                )

    async def _hand_over(self, mail: Mail) -> None:
        """Claims, writes the text down, looks for an earlier try, sends, settles."""
        board = self._board
        if (await board.submit(MailClaimed(at=board.now(), key=mail.key))).refused:
            return
        stored = await self._store.letter(mail.key)
        letter = Letter(**json.loads(stored)) if stored else self._compose(board.state.incidents[mail.incident])
        if not stored:
            await self._store.freeze(mail.key, json.dumps(asdict(letter)))
        title = f"monostat {mail.key}"
        settled = MailSettled(at=board.now(), key=mail.key)
        try:
            if not (mail.ambiguous and await self._found(title, since=mail.first_tried or mail.at)):
                await self._vendor.send(Mailing(title=title, **asdict(letter)))
            log.info("incident %s: mail %s handed over", mail.incident, mail.key)
        except Undelivered as trouble:
            wait = trouble.retry_after or backoff(mail.attempts + 1, self._rng)
            settled = replace(
                settled,
                error=trouble.reason,
                permanent=trouble.permanent,
                ambiguous=trouble.ambiguous or (mail.ambiguous and not trouble.permanent),
                retry_at=board.now() + timedelta(seconds=wait),
            )
            log.warning("incident %s: mail %s did not leave: %s", mail.incident, mail.key, trouble.reason)
        await board.submit(replace(settled, at=board.now()))

    async def _found(self, title: str, *, since: datetime) -> bool:
        """Looks twice: how soon a new mailing is listed is not known, contracts/rapidmail.md section 10."""
        if await self._vendor.find(title, since=since):
            return True
        await asyncio.sleep(self._timing.look_again)
        return await self._vendor.find(title, since=since)


class Telling:
    """The loop that makes Slack equal to now, and then says what happened, line by line."""

    def __init__(
        self,
        board: Board,
        store: Store,
        chat: Chat,
        *,
        show: Callable[[Incident, list[Alert], list[Mail]], Message],
        vanished: Callable[[int], Message],
        say: Callable[[Entry, bool], Message],
        rng: Random,
    ) -> None:
        self._board, self._store, self._chat, self._rng = board, store, chat, rng
        self._show, self._vanished, self._say = show, vanished, say
        self._shown: dict[int, object] = {}
        self.wake = asyncio.Event()

    async def run(self) -> None:
        attempt, last = 0, ""
        while True:
            self.wake.clear()
            try:
                await self._mirror()
                await self._lines()
            except Undelivered as trouble:
                attempt += 1
                if trouble.reason != last:
                    log.warning("Slack: %s; trying again", trouble.reason)
                last = trouble.reason
                await asyncio.sleep(trouble.retry_after or backoff(attempt, self._rng, longest=30))
                continue
            if last:
                log.info("Slack: everything is told again")
            attempt, last = 0, ""
            await _wait(self.wake, None)

    async def _mirror(self) -> None:
        state = self._board.state
        newest_first = sorted(state.incidents.values(), key=lambda i: (i.is_open, i.number), reverse=True)
        for incident in newest_first:
            alerts = [a for a in state.alerts.values() if a.incident == incident.number]
            mails = [m for m in state.mails.values() if m.incident == incident.number]
            if self._shown.get(incident.number) == (incident, alerts, mails):
                continue
            await self._unless_refused(self._make_equal(incident, self._show(incident, alerts, mails)), incident.number)
            self._shown[incident.number] = (incident, alerts, mails)
        for posted in await self._store.vanished(f"{state.epoch}:incident:"):
            number = int(posted.key.rpartition(":")[2])
            if posted.ts:
                await self._chat.update(posted.ts, self._vanished(number))
            await self._store.record(replace(posted, digest="gone"))

    async def _make_equal(self, incident: Incident, message: Message) -> None:
        """Edits the incident's message, or posts it where there is none that can be edited."""
        lasting = incident.is_open or incident.status is Status.PLANNED or incident.number in self._shown
        if not (lasting or incident.updated_at > self._board.now() - RECENT):
            return  # old stories are neither told again nor told late
        posted = await self._store.posted(self._key(incident.number))
        digest = hashlib.sha256(json.dumps([message.text, message.blocks]).encode()).hexdigest()
        if posted.ts and (posted.digest == digest or await self._chat.update(posted.ts, message)):
            if posted.digest != digest:
                await self._store.record(replace(posted, digest=digest))
            return
        if posted.ts:
            posted = Posted(key=posted.key)
        await self._post_once(posted, message, digest=digest)

    async def _lines(self) -> None:
        for entry in await self._store.untold():
            thread = None
            if entry.incident in self._board.state.incidents and entry.incident not in self._shown:
                self.wake.set()  # it was opened while Slack took its time: its message comes first
                return
            if entry.incident is not None:
                thread = (await self._store.posted(self._key(entry.incident))).ts
            if entry.incident is None or thread:
                posted = await self._store.posted(f"{self._board.state.epoch}:line:{entry.id}")
                late = self._board.now() - entry.at > LATE
                if not posted.ts:
                    await self._unless_refused(self._post_once(posted, self._say(entry, late), thread=thread), entry.id)
            await self._store.told(entry)
            self.wake.set()  # there may be more than one batch

    async def _unless_refused(self, telling: Awaitable[None], what: object) -> None:
        """What Slack will never take must not keep back what comes after it."""
        try:
            await telling
        except Undelivered as trouble:
            if not trouble.permanent:
                raise
            log.error("Slack: %s; %s is left out", trouble.reason, what)  # noqa: TRY400 - no news in a traceback

    async def _post_once(
        self, posted: Posted, message: Message, *, thread: str | None = None, digest: str = ""
    ) -> None:
        ts = None
        if posted.claimed_at:
            ts = await self._chat.find(posted.key, since=posted.claimed_at, thread=thread)
        if ts is None:
            claimed = replace(posted, claimed_at=self._board.now(), ts=None)
            await self._store.record(claimed)
            try:
                ts = await self._chat.post(message, key=posted.key, thread=thread)
            except Undelivered as trouble:
                if not trouble.ambiguous:
                    await self._store.record(replace(claimed, claimed_at=None))
                raise
        await self._store.record(replace(posted, ts=ts, digest=digest))

    def _key(self, number: int) -> str:
        return f"{self._board.state.epoch}:incident:{number}"


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    """Until the event, or so many seconds."""
    try:
        async with asyncio.timeout(None if seconds is None else max(seconds, 0)):
            await event.wait()
    except TimeoutError:
        pass
