"""The loop that hands mails over to Rapidmail, each once, and watches whether they leave.

Claimed, sent, settled: a claim without a result is looked for at the vendor before anything is
sent a second time.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from monostat.core.events import MailClaimed, MailSettled
from monostat.core.mails import RAREST_LOOK, waiting_mails
from monostat.core.model import Change, Incident, Mail, MailState, State
from monostat.mail.letter import Letter, read_letter
from monostat.mail.mailing import Mailing
from monostat.mail.rapidmail import RapidmailClient
from monostat.mail.refusals import is_final
from monostat.vendor import Condition, Undelivered, backoff, pause

log = logging.getLogger(__name__)
AT_ONCE = 5  # mails; what they ask has its own limits
UNWRITTEN = (
    "monostat could not write it ({error}): change the words of the incident with Edit…,"
    " then tap Retry; please report it as a bug"
)
CRASHED = "monostat failed while handling it ({error}): tap Retry; please report it as a bug"


@dataclass(kw_only=True)
class MailOutbox:
    """The loop that sees to each mail by itself, so that a slow one holds up no other incident's.

    `all_mails` returns those that the database holds, `compose` writes the letter of an incident.
    Whether an unclear mail is there is asked twice, `look_again` seconds apart; what has become of
    one that Rapidmail has, after `follow` seconds for the first time.
    """

    state: Callable[[], State]
    submit: Callable[[MailClaimed | MailSettled], Awaitable[Change]]
    all_mails: Callable[[], Awaitable[list[Mail]]]
    now: Callable[[], datetime]
    vendor: RapidmailClient
    compose: Callable[[Incident], Letter]
    rng: Random
    look_again: float
    follow: float
    first_wait: float  # seconds, after the first failed try
    counts: Counter[tuple[str, ...]]  # for metrics, by channel and result
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    condition: Condition = field(default_factory=lambda: Condition("Rapidmail"))
    is_reached: bool = True  # until a request is not answered
    under_way: set[str] = field(default_factory=set)  # keys of mails that a task sees to

    async def run(self) -> None:
        """Begins with what is due, again and again; raises the database's trouble."""
        await self.settle_interrupted()
        self.under_way.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self.wake.clear()
                    await pause(self.wake, self.begin(tasks))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the database's trouble, for the supervisor

    async def settle_interrupted(self) -> None:
        """Leaves those as unclear that were on their way when this loop, or the process, stopped.

        Rapidmail may have them already.
        """
        mails = [mail for mail in self.state().mails.values() if mail.state is MailState.CLAIMED]
        for mail in mails:
            at = self.now()
            settled = MailSettled(
                at=at,
                key=mail.key,
                error="monostat was stopped while this mail was on its way",
                ambiguous=True,
                retry_at=at,
            )
            await self.submit(settled)

    def begin(self, tasks: asyncio.TaskGroup) -> float | None:
        """Begins with what is due; the seconds until something else is, or None."""
        now = self.now()
        waiting = [mail for mail in waiting_mails(self.state()) if mail.key not in self.under_way]
        due = [mail for mail in waiting if mail.not_before <= now]
        for mail in due[: AT_ONCE - len(self.under_way)]:  # each that ends wakes us for the rest
            self.under_way.add(mail.key)
            tasks.create_task(self.tend(mail))
        if not waiting and not self.under_way:
            self.condition.trouble = ""  # whether it is over will not be known
            self.is_reached = True
        later = [mail.not_before - now for mail in waiting if mail.not_before > now]
        if not later:
            return None
        return min(later).total_seconds()

    async def tend(self, mail: Mail) -> None:
        """Does what is next with one mail; whatever is wrong with it is a matter of its own."""
        try:
            if mail.is_followed:
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
        """Hands a mail over, once.

        1. It is claimed, with the text that it will have, also in further tries.
        2. What an earlier try has left at Rapidmail is seen to; only then it is sent.
        3. What has become of it is settled.
        """
        incident = self.state().incidents[mail.incident]
        letter = mail.last_letter or self.compose(incident).stored()
        claim = await self.submit(MailClaimed(at=self.now(), key=mail.key, letter=letter))
        if claim.refused:
            return
        claimed = self.state().mails[mail.key]
        try:
            settled = await self.send(claimed)
            self.note(None)
        except Undelivered as trouble:
            self.note(trouble)
            wait = trouble.retry_after or backoff(claimed.attempts, self.rng, first=self.first_wait)
            settled = self.failed(claimed, trouble, wait)
        await self.settle(settled)

    def note(self, trouble: Undelivered | None) -> None:
        """Logs what is wrong, once; whoever refuses is reached all the same."""
        self.is_reached = trouble is None or is_final(trouble.status)
        reason = trouble.reason if trouble else ""
        self.condition.tell(reason)

    def failed(self, mail: Mail, trouble: Undelivered, wait: float) -> MailSettled:
        """How a try ended that is to be repeated after `wait` seconds, if at all."""
        at = self.now()
        return MailSettled(
            at=at,
            key=mail.key,
            error=trouble.reason,
            permanent=trouble.permanent,
            invalid=trouble.status == 422,
            ambiguous=trouble.ambiguous,
            retry_at=at + timedelta(seconds=wait),
        )

    async def send(self, mail: Mail) -> MailSettled:
        """Sends a mail unless Rapidmail has it; raises Undelivered.

        1. Of a mailing that is known, it is asked: one that left is the result, one that is stopped
           is deleted.
        2. After an unclear end it is looked for.
        3. One that nobody wants any more ends here; one whose words are gone is written anew.
        4. It is sent.
        """
        if mail.mailing:
            earlier = await self.vendor.status(mail.mailing)
            if earlier.left:
                return self.outcome(mail, earlier)
            if not earlier.gone:
                await self.vendor.delete(mail.mailing)
        if mail.ambiguous:
            mailing = await self.find_mailing(mail)
            if mailing:
                log.info("incident %s: mail %s is there already", mail.incident, mail.key)
                absent = bool(mailing.stopped) and mail.unwanted
                return replace(self.outcome(mail, mailing), permanent=False, absent=absent)
        if mail.unwanted or mail.outdated:
            log.info(
                "incident %s: mail %s is not there, and is not to be sent as it is",
                mail.incident,
                mail.key,
            )
            return MailSettled(at=self.now(), key=mail.key, absent=True)
        letter = read_letter(mail.letter)
        return self.outcome(mail, await self.vendor.send(mail.title, letter))

    async def find_mailing(self, mail: Mail) -> Mailing | None:
        """Looks twice: how soon a new mailing is listed is not known."""
        subject = read_letter(mail.letter).subject
        others = {other.mailing for other in await self.all_mails() if other.key != mail.key}
        for attempt in (1, 2):
            mailing = await self.vendor.find(
                mail.title, since=mail.at, subject=subject, others=others
            )
            if mailing:
                return mailing
            if attempt == 1:
                await asyncio.sleep(self.look_again)
        return None

    async def look(self, mail: Mail) -> None:
        """Asks what has become of a mailing, the longer ago it was handed over the rarer."""
        try:
            settled = self.outcome(mail, await self.vendor.status(mail.mailing))
            self.note(None)
        except Undelivered as trouble:
            self.note(trouble)
            trouble.permanent = False  # it says nothing of the mailing
            wait = max(trouble.retry_after or 0, self.until_next_look(mail))
            settled = self.failed(mail, trouble, min(wait, RAREST_LOOK))
        await self.settle(settled)

    def until_next_look(self, mail: Mail) -> float:
        """Seconds: half as many as have gone by since it was handed over, within limits."""
        now = self.now()
        since = (now - (mail.handed_over_at or now)).total_seconds()
        return min(max(self.follow, since / 2), RAREST_LOOK)

    def outcome(self, mail: Mail, mailing: Mailing) -> MailSettled:
        """What it means for a mail that Rapidmail has it like this."""
        at = self.now()
        wait = self.follow
        if mailing.id == mail.mailing:
            wait = self.until_next_look(mail)
        waiting = ""
        if not (mailing.left or mailing.stopped):
            waiting = mailing.status or "no status"
        return MailSettled(
            at=at,
            key=mail.key,
            mailing=mailing.id,
            waiting=waiting,
            error=mailing.stopped,
            permanent=bool(mailing.stopped),
            gone=mailing.gone,
            retry_at=at + timedelta(seconds=wait),
        )

    async def set_aside(self, mail: Mail, error: Exception) -> None:
        """Leaves it to a human, and goes on."""
        log.error("incident %s: mail %s is set aside: %r", mail.incident, mail.key, error)
        claim = await self.submit(MailClaimed(at=self.now(), key=mail.key))
        was_claimed = bool(claim.refused)  # Rapidmail may have been asked already
        sentence = CRASHED if was_claimed else UNWRITTEN
        settled = MailSettled(
            at=self.now(),
            key=mail.key,
            error=sentence.format(error=type(error).__name__),
            permanent=True,
            ambiguous=was_claimed,
        )
        await self.settle(settled)

    async def settle(self, settled: MailSettled) -> None:
        """Submits how it ended, and counts it for the metrics, a failure only once."""
        before = self.state().mails.get(settled.key)
        has_left = not (settled.error or settled.waiting or settled.absent)
        is_counted = before is not None and before.state is MailState.FAILED
        if has_left:
            self.counts["mail", "sent"] += 1
        elif settled.error and settled.permanent and not is_counted:
            self.counts["mail", "dropped"] += 1
        elif settled.error and not is_counted:
            self.counts["mail", "failed"] += 1
        await self.submit(settled)
