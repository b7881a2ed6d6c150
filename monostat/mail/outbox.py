"""The loop that hands mails over to Rapidmail, each once, and watches whether they leave.

Claimed, sent, settled: a claim without a result is looked for at the vendor before anything is
sent a second time.
"""

import asyncio
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

from monostat.core.events import MailClaimed, MailSettled
from monostat.core.mailing import RAREST_LOOK, waiting_mails
from monostat.core.model import Incident, Mail, Post
from monostat.engine import Board
from monostat.mail.rapidmail import Mailing, Rapidmail
from monostat.slack.messages import Letter
from monostat.vendor import Condition, Undelivered, backoff, pause

log = logging.getLogger(__name__)
AT_ONCE = 5  # mails; what they ask has its own limits
UNWRITTEN = (
    "monostat could not write it ({error}): change the words of the incident with Edit…,"
    " then tap Retry; please report it as a bug"
)
CRASHED = "a fault of monostat's kept it ({error}): tap Retry; please report it as a bug"


@dataclass(kw_only=True)
class Mails:
    """The loop that sees to each mail by itself, so that a slow one holds up no other incident's.

    Whether an unclear one is there is asked twice, `look_again` seconds apart; what has become of
    one that Rapidmail has, after `follow` seconds for the first time.
    """

    board: Board
    vendor: Rapidmail
    compose: Callable[[Incident], Letter]
    rng: Random
    look_again: float
    follow: float
    first_wait: float  # seconds, after the first failed try
    counts: Counter[tuple[str, ...]]  # for metrics, by channel and result
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    condition: Condition = field(default_factory=lambda: Condition("Rapidmail"))
    under_way: set[str] = field(default_factory=set)  # keys of mails that a task sees to

    async def run(self) -> None:
        for mail in [m for m in self.board.state.mails.values() if m.state is Post.CLAIMED]:
            # This loop, or the process, was stopped while it was on its way: Rapidmail may have it
            # already.
            at, error = self.board.now(), "monostat was stopped while this mail was on its way"
            await self.board.submit(
                MailSettled(at=at, key=mail.key, error=error, ambiguous=True, retry_at=at)
            )
        self.under_way.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self.wake.clear()
                    await pause(self.wake, self.begin(tasks))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the database's trouble, for the supervisor

    def begin(self, tasks: asyncio.TaskGroup) -> float | None:
        """Begins with what is due; the seconds until something else is, or None."""
        now = self.board.now()
        waiting = [m for m in waiting_mails(self.board.state) if m.key not in self.under_way]
        due = [m for m in waiting if m.not_before <= now]
        for mail in due[: AT_ONCE - len(self.under_way)]:  # each that ends wakes us for the rest
            self.under_way.add(mail.key)
            tasks.create_task(self.tend(mail))
        later = [m.not_before for m in waiting if m.not_before > now]
        return (min(later) - now).total_seconds() if later else None

    async def tend(self, mail: Mail) -> None:
        """Does what is next with one mail; whatever is wrong with it is a matter of its own."""
        try:
            if mail.state is Post.HANDED_OVER:
                await self.look(mail)
            else:
                await self.hand_over(mail)
        except sqlite3.Error:
            raise  # of all mails
        except Exception as error:  # noqa: BLE001 - supervised: one mail's fault keeps no other
            await self.set_aside(mail, error)
        finally:
            self.under_way.discard(mail.key)
            self.wake.set()

    async def hand_over(self, mail: Mail) -> None:
        """Claims with the text it will have for ever, sees to an earlier try, sends, settles."""
        board = self.board
        letter = mail.letter or json.dumps(self.compose(board.state.incidents[mail.incident]))
        if (await board.submit(MailClaimed(at=board.now(), key=mail.key, letter=letter))).refused:
            return
        claimed = board.state.mails[mail.key]
        try:
            settled = await self.sent(claimed)
            self.condition.tell("")
        except Undelivered as trouble:
            self.condition.tell(trouble.reason)
            wait = trouble.retry_after or backoff(claimed.attempts, self.rng, first=self.first_wait)
            settled = self.failed(claimed, trouble, wait)
        await self.settle(settled)

    def failed(self, mail: Mail, trouble: Undelivered, wait: float) -> MailSettled:
        """How a try ended that was to be repeated after so many seconds, if at all."""
        at = self.board.now()
        return MailSettled(
            at=at,
            key=mail.key,
            error=trouble.reason,
            permanent=trouble.permanent,
            invalid=trouble.status == 422,
            ambiguous=trouble.ambiguous,
            retry_at=at + timedelta(seconds=wait),
        )

    async def sent(self, mail: Mail) -> MailSettled:
        """Sends a mail unless Rapidmail has it; one that is stopped there is deleted first."""
        if mail.mailing:
            earlier = await self.vendor.status(mail.mailing)
            if earlier.left:
                return self.outcome(mail, earlier)
            if not earlier.gone:
                await self.vendor.delete(mail.mailing)
        if mail.ambiguous and (found := await self.found(mail)):
            log.info("incident %s: mail %s is there already", mail.incident, mail.key)
            absent = bool(found.stopped) and mail.unwanted
            return replace(self.outcome(mail, found), permanent=False, absent=absent)
        if mail.unwanted:
            log.info("incident %s: mail %s is neither there nor wanted", mail.incident, mail.key)
            return MailSettled(at=self.board.now(), key=mail.key, absent=True)
        letter = Letter(*json.loads(mail.letter))
        return self.outcome(mail, await self.vendor.send(mail.title, letter))

    async def found(self, mail: Mail) -> Mailing | None:
        """Looks twice: how soon a new mailing is listed is not known, contracts/rapidmail.md
        section 10.
        """
        subject = Letter(*json.loads(mail.letter)).subject
        others = {m.mailing for m in await self.board.store.find(Mail) if m.key != mail.key}

        async def find() -> Mailing | None:
            title, at = mail.title, mail.at
            return await self.vendor.find(title, since=at, subject=subject, others=others)

        if made := await find():
            return made
        await asyncio.sleep(self.look_again)
        return await find()

    async def look(self, mail: Mail) -> None:
        """Asks what has become of a mailing, the longer ago it was handed over the rarer."""
        try:
            settled = self.outcome(mail, await self.vendor.status(mail.mailing))
            self.condition.tell("")
        except Undelivered as trouble:
            self.condition.tell(trouble.reason)
            trouble.permanent = False  # it says nothing of the mailing
            wait = max(trouble.retry_after or 0, self.until_next_look(mail))
            settled = self.failed(mail, trouble, min(wait, RAREST_LOOK))
        await self.settle(settled)

    def until_next_look(self, mail: Mail) -> float:
        since = (self.board.now() - (mail.handed_over_at or self.board.now())).total_seconds()
        return min(max(self.follow, since / 2), RAREST_LOOK)

    def outcome(self, mail: Mail, mailing: Mailing) -> MailSettled:
        """What it means for a mail that Rapidmail has it like this."""
        at = self.board.now()
        waiting = "" if mailing.left or mailing.stopped else mailing.status or "no status"
        wait = self.until_next_look(mail) if mailing.id == mail.mailing else self.follow
        return MailSettled(
            at=at,
            key=mail.key,
            mailing=mailing.id,
            waiting=waiting,
            error=mailing.stopped,
            permanent=bool(mailing.stopped),
            retry_at=at + timedelta(seconds=wait),
        )

    async def set_aside(self, mail: Mail, error: Exception) -> None:
        """Leaves it to a human, and goes on."""
        log.error("incident %s: mail %s is set aside: %r", mail.incident, mail.key, error)
        claimed = await self.board.submit(MailClaimed(at=self.board.now(), key=mail.key))
        begun = bool(claimed.refused)  # Rapidmail may have been asked already
        words = CRASHED if begun else UNWRITTEN
        settled = MailSettled(at=self.board.now(), key=mail.key, permanent=True, ambiguous=begun)
        await self.settle(replace(settled, error=words.format(error=type(error).__name__)))

    async def settle(self, settled: MailSettled) -> None:
        if settled.error:
            self.counts["mail", "dropped" if settled.permanent else "failed"] += 1
        elif not (settled.waiting or settled.absent):
            self.counts["mail", "sent"] += 1
        await self.board.submit(settled)
