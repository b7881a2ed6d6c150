"""The slash command: alone it lists, a command is obeyed, and anything else tells what is wrong.

PRODUCT.md section 4: a command is never published.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from monostat.core.events import Act
from monostat.core.model import Change, Incident, Severity
from monostat.core.verbs import VERB
from monostat.slack import dialogs, parsing
from monostat.slack.actions import Reply, StaffActions
from monostat.slack.commands import Command, parse_command
from monostat.slack.home import overview
from monostat.slack.messages import Block
from monostat.slack.mrkdwn import to_markdown
from monostat.slack.said import Said, visible

ON_PAGE = "Published as {link}. Undo is in {channel}."
WHICH = (
    "Nothing was published. Say which incident: {command} resolve 17,"
    " or tap a button of its message."
)
HELP = (
    "`{command} Checkout is slow` tells readers of a partial outage at once.\n"
    "`{command} maintenance` plans one, `{command} 17` shows an incident with its actions, and"
    " `{command} resolve 17` does what the button does."
)
#: Commands whose words are the title of a new incident; words alone are, too.
OPENS = ("", "create", "outage", "partial")


@dataclass(kw_only=True)
class SlashCommand:
    """Runs what somebody typed; `incident_of` finds an incident, also one that is past."""

    actions: StaffActions
    incident_of: Callable[[int], Awaitable[Incident | None]]
    now: Callable[[], datetime]

    async def run(self, user: str, said: Said, trigger: str) -> Reply:
        """Does what a member of staff asks for, and says what came of it."""
        refused = await self.actions.staff.refusal(user)
        if refused:
            return said_privately(refused)
        command = parse_command(said, self.actions.client.settings.command)
        words = visible(command.rest)
        if command.name == "help":
            return self._list(self._about_us(HELP))
        if command.name == "list" or not visible(said):
            return self._list()
        if command.name == "plan":
            return await self._opened(user, trigger, dialogs.plan_dialog(self.now(), words))
        if command.number is not None:
            return await self._obey_about(user, command, command.number, trigger)
        if command.name == "create" and not words:
            return await self._opened(user, trigger, dialogs.new_dialog())
        if command.name not in OPENS or not words:
            return said_privately(self._about_us(WHICH))
        severity = Severity.PARTIAL
        if command.name == "outage":
            severity = Severity.OUTAGE
        act = Act(at=self.now(), verb="create", by=user, title=words, severity=severity)
        return self._answer(await self.actions.act(act), ON_PAGE)

    async def _obey_about(self, user: str, command: Command, number: int, trigger: str) -> Reply:
        """Does what a command with the number of an incident asks for."""
        incident = await self.incident_of(number)
        if incident is None:
            return said_privately(f"There is no incident #{number}.")
        if command.name == "show":
            return self._shown(incident)
        if command.name == "create":
            return said_privately(self._about_us(parsing.ELSEWHERE["create"]))
        if command.name in dialogs.DIALOGS and not visible(command.rest):
            view = self.actions.dialog_of(command.name, incident, self.now())
            return await self._opened(user, trigger, view)
        words = to_markdown(command.rest)
        act = Act(at=self.now(), verb=command.name, by=user, incident=number, text=words)
        asked = parsing.asked_of(act, command, incident)
        if isinstance(asked, str):
            return said_privately(asked)
        change = await self.actions.act(asked)
        return self._answer(change, f"{VERB[asked.verb].done}: #{number}.")

    async def _opened(self, user: str, trigger: str, view: Block | None) -> Reply:
        await self.actions.open_dialog(user, trigger, view)
        return Reply({})

    def _shown(self, incident: Incident) -> Reply:
        state = self.actions.state()
        alerts = state.open_alerts(incident.number)
        mails = state.mails_of(incident.number)
        text, blocks = self.actions.text.incident(incident, alerts, mails)
        return Reply({"text": text, "blocks": blocks}, text)

    def _list(self, help_: str = "") -> Reply:
        blocks = overview(self.actions.state(), self.actions.text, help_)
        return Reply({"text": "Status page", "blocks": blocks}, "Status page")

    def _about_us(self, sentence: str) -> str:
        return sentence.format(command=self.actions.client.settings.command)

    def _answer(self, change: Change, done: str) -> Reply:
        text = self.actions.text
        if change.refused:
            return said_privately(text.as_mrkdwn(change.refused))
        if change.made:
            channel = f"<#{self.actions.client.settings.channel}>"
            done = done.format(link=text.link(change.made), channel=channel)
        return said_privately(done)


def said_privately(sentence: str) -> Reply:
    """A sentence in mrkdwn for the person who acted, soon or late."""
    return Reply({"text": sentence}, sentence)
