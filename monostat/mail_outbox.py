"""The loop that hands mails over to Rapidmail, each once: claimed, sent, settled.

A claim without a result is looked for at the vendor before anything is sent a second time.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

from monostat.board import Board
from monostat.decisions import due_mail, next_mail
from monostat.delivery import Condition, Undelivered, backoff, pause
from monostat.events import MailClaimed, MailSettled
from monostat.incidents import Incident, Mail, Post
from monostat.messages import Letter
from monostat.rapidmail import Rapidmail

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Mails:
    """The loop that hands mails over; whether an unclear one is there is asked twice, `look_again` seconds apart."""

    board: Board
    vendor: Rapidmail
    compose: Callable[[Incident], Letter]
    rng: Random
    look_again: float
    counts: Counter[tuple[str, ...]]  # for metrics, by channel and result
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    condition: Condition = field(default_factory=lambda: Condition("Rapidmail"))

    async def run(self) -> None:
        for mail in [m for m in self.board.state.mails.values() if m.state is Post.CLAIMED]:
            # This loop, or the process, was stopped while it was on its way: Rapidmail may have it already.
            at, error = self.board.now(), "monostat was stopped while this mail was on its way"
            await self.board.submit(MailSettled(at=at, key=mail.key, error=error, ambiguous=True, retry_at=at))
        while True:
            self.wake.clear()
            if next_one := due_mail(self.board.state, self.board.now()):
                await self.hand_over(next_one.key)
                continue
            due = next_mail(self.board.state)
            await pause(self.wake, (due - self.board.now()).total_seconds() if due else None)

    async def hand_over(self, key: str) -> None:
        """Claims with the text it will have for ever, looks for an earlier try, sends, settles."""
        board, mail = self.board, self.board.state.mails[key]
        letter = json.dumps(self.compose(board.state.incidents[mail.incident]))
        if (await board.submit(MailClaimed(at=board.now(), key=key, letter=letter))).refused:
            return
        claimed, title, trouble = board.state.mails[key], f"monostat {key}", None
        settled = MailSettled(at=board.now(), key=key)
        try:
            if mail.ambiguous and await self.found(title, claimed):
                log.info("incident %s: mail %s is there already", mail.incident, key)
            elif claimed.unwanted:
                settled = replace(settled, absent=True)
                log.info("incident %s: mail %s is not there, and not wanted any more", mail.incident, key)
            else:
                await self.vendor.send(title, Letter(*json.loads(claimed.letter)))
                self.counts["mail", "sent"] += 1
            self.condition.tell("")
        except Undelivered as undelivered:
            trouble = undelivered
            self.counts["mail", "dropped" if trouble.permanent else "failed"] += 1
            self.condition.tell(trouble.reason)
        settled = replace(settled, at=board.now())
        if trouble:
            wait = trouble.retry_after or backoff(claimed.attempts, self.rng)
            settled = replace(settled, error=trouble.reason, retry_at=settled.at + timedelta(seconds=wait))
            settled = replace(settled, permanent=trouble.permanent, ambiguous=trouble.ambiguous)
        await board.submit(settled)

    async def found(self, title: str, mail: Mail) -> bool:
        """Looks twice: how soon a new mailing is listed is not known, contracts/rapidmail.md section 10."""
        if await self.vendor.find(title, since=mail.at):
            return True
        await asyncio.sleep(self.look_again)
        return await self.vendor.find(title, since=mail.at)
