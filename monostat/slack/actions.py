"""What is done for a member of staff, once it is known that they may act, or why it is not."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from monostat.core.events import Act
from monostat.core.model import Change, Incident, State
from monostat.core.text import one_line
from monostat.slack import dialogs
from monostat.slack.client import OUTDATED, SlackClient, SlackRefused
from monostat.slack.messages import Block
from monostat.slack.staff import Staff
from monostat.slack.text import SlackText
from monostat.vendor import Undelivered

log = logging.getLogger(__name__)
NOT_SAVED = "This could not be saved, and nothing was changed. Please try again."
FAILED = "Something went wrong here. Check whether it went through before you try again."
NO_DIALOG = "Slack took too long to open the dialog. If you do not see it, please tap again."
REFUSED_DIALOG = (
    "Slack does not show this dialog, and monostat's log says why. Write your words after a mention"
    " in the thread of the incident instead."
)
NO_INCIDENT = "There is no such incident any more."


class Reply(NamedTuple):
    """What an acknowledgement carries, and what a person is told who could not wait for it.

    The text is mrkdwn; empty, they are told nothing.
    """

    ack: dict[str, Any]
    text: str = ""


@dataclass(kw_only=True)
class StaffActions:
    """Does what people ask for; `submit` hands an act to the core and raises what the store raises.

    `state` is the newest, for the answer where nothing was changed.
    """

    client: SlackClient
    staff: Staff
    wording: SlackText
    state: Callable[[], State]
    submit: Callable[[Act], Awaitable[Change]]

    async def obey(
        self, act: Act, *, thread: str | None = None, trigger: str = "", objection: str = ""
    ) -> None:
        """Does it, or says privately, where it was asked, why not: `objection`, or another."""
        if objection:
            refused = await self.staff.refusal(act.by) or objection
        else:
            refused = (await self.act(act)).refused
        if refused:
            await self.tell(act.by, refused, thread=thread, trigger=trigger)

    async def act(self, act: Act) -> Change:
        """Does what a member of staff asks for, by their name; `refused` says why they may not."""
        refused = await self.staff.refusal(act.by)
        if refused:
            return Change(state=self.state(), refused=refused)
        name = self.staff.names.get(act.by, act.by)
        act = replace(act, by=one_line(name))
        try:
            return await self.submit(act)
        except sqlite3.Error:  # the engine has said why
            return Change(state=self.state(), refused=NOT_SAVED)
        except Exception:
            log.exception("%s: %s has failed", act.incident, act.verb)
            return Change(state=self.state(), refused=FAILED)

    def dialog_of(self, verb: str, incident: Incident | None, now: datetime) -> Block | None:
        """The dialog that a button opens; None where its incident is gone."""
        if verb == "new":
            return dialogs.new_dialog()
        if verb == "plan":
            return dialogs.plan_dialog(now)
        if incident is None:
            return None
        if verb == "title":
            return dialogs.title_dialog(incident)
        if verb == "edit":
            return dialogs.edit_dialog(incident, self.wording.zone)
        return dialogs.update_dialog(incident, self.client.settings.texts)

    async def open_dialog(self, user: str, trigger: str, view: Block | None) -> None:
        """Opens a dialog for a member of staff, who is told where Slack did not open it.

        `view` is None where the incident that it was to be about is gone.
        """
        refused = await self.staff.refusal(user)
        if refused or view is None:
            await self.tell(user, refused or NO_INCIDENT, trigger=trigger)
            return
        try:
            await self.client.call("views_open", trigger_id=trigger, view=view)
        except Undelivered as trouble:
            log.warning("a dialog was not opened: %s", trouble.reason)
            why = NO_DIALOG
            if isinstance(trouble, SlackRefused) and trouble.code not in OUTDATED:
                why = REFUSED_DIALOG
            await self.tell(user, why)

    async def tell(
        self, user: str, sentence: str, *, thread: str | None = None, trigger: str = ""
    ) -> None:
        """Tells one person a sentence of the core's."""
        text = self.wording.as_mrkdwn(sentence)
        await self.client.tell_privately(user, text, thread=thread, trigger=trigger)
