"""The slash command: alone it lists, a command is obeyed, and anything else tells what is wrong.

A command is never published.
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

UNDO = " Undo is in {channel}."
ON_PAGE = "Published as {link}." + UNDO
WHICH = (
    "Nothing was published. Say which incident: {command} resolve 17,"
    " or tap a button of its message."
)
HELP = (
    "`{command} Checkout is slow` tells readers of a partial outage at once.\n"
    "`{command} maintenance` plans one, `{command} 17` shows an incident with its actions, and"
    " `{command} resolve 17` does what the button does."
)
#: What a command opens whose words are the title of a new incident; words alone do, too.
OPENS = {
    "": Severity.PARTIAL,
    "create": Severity.PARTIAL,
    "outage": Severity.OUTAGE,
    "partial": Severity.PARTIAL,
}


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
        settings = self.actions.client.settings
        command = parse_command(said, settings.command)
        words = visible(command.rest)
        if command.name == "help":
            help_ = self._about_us(HELP)
            return self._list(help_)
        if command.name == "misspelt":
            sentence = self._about_us(parsing.ELSEWHERE["misspelt"])
            return said_privately(sentence)
        if command.name == "list" or not visible(said):
            return self._list()
        if command.name == "plan":
            view = dialogs.plan_dialog(self.now(), words)
            return await self._opened(user, trigger, view)
        if command.number is not None and command.name == "create":
            how = self._about_us(parsing.ELSEWHERE["create"])
            return said_privately(how)
        if command.number is not None:
            return await self._obey_about(user, command, trigger)
        if command.name == "create" and not words:
            view = dialogs.new_dialog()
            return await self._opened(user, trigger, view)
        if command.name not in OPENS or not words:
            which = self._about_us(WHICH)
            return said_privately(which)
        act = Act(at=self.now(), verb="create", by=user, title=words, severity=OPENS[command.name])
        change = await self.actions.act(act)
        return self._answer(change, ON_PAGE)

    async def _obey_about(self, user: str, command: Command, trigger: str) -> Reply:
        """Does what a command with the number of an incident asks for."""
        number = command.number or 0
        incident = await self.incident_of(number)
        if incident is None:
            return said_privately(f"There is no incident #{number}.")
        if command.name == "show":
            return self._shown(incident)
        now = self.now()
        words = to_markdown(command.rest)
        if command.name in dialogs.DIALOGS and not words:
            view = self.actions.dialog_of(command.name, incident, now)
            return await self._opened(user, trigger, view)
        act = Act(at=now, verb=command.name, by=user, incident=number, text=words)
        asked = parsing.asked_of(act, command, incident)
        if isinstance(asked, str):
            return said_privately(asked)
        change = await self.actions.act(asked)
        done = f"{VERB[asked.verb].done}: #{number}."
        after = change.state.incidents.get(number)
        if after and after.undo:
            done += UNDO
        return self._answer(change, done)

    async def _opened(self, user: str, trigger: str, view: Block | None) -> Reply:
        await self.actions.open_dialog(user, trigger, view)
        return Reply({})

    def _shown(self, incident: Incident) -> Reply:
        state = self.actions.state()
        number = incident.number
        alerts = state.open_alerts(number)
        mails = state.mails_of(number)
        text, blocks = self.actions.wording.incident(incident, alerts, mails)
        message = {"text": text, "blocks": blocks}
        return Reply(message, text)

    def _list(self, help_: str = "") -> Reply:
        state = self.actions.state()
        blocks = overview(state, self.actions.wording, help_)
        message = {"text": "Status page", "blocks": blocks}
        return Reply(message, "Status page")

    def _about_us(self, sentence: str) -> str:
        settings = self.actions.client.settings
        return sentence.format(command=settings.command)

    def _answer(self, change: Change, done: str) -> Reply:
        wording = self.actions.wording
        if change.refused:
            refused = wording.as_mrkdwn(change.refused)
            return said_privately(refused)
        channel = f"<#{self.actions.client.settings.channel}>"
        link = wording.link(change.made or 0)
        return said_privately(done.format(link=link, channel=channel))


def said_privately(sentence: str) -> Reply:
    """A sentence in mrkdwn for the person who acted, soon or late."""
    return Reply({"text": sentence}, sentence)
