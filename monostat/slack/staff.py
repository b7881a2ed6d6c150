"""Who may act: full members of the workspace who are in the channel.

https://docs.slack.dev/reference/methods/users.info
"""

import asyncio
import logging
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from monostat.core.lenient import part_of
from monostat.slack.client import SlackClient, SlackRefused
from monostat.vendor import Undelivered

log = logging.getLogger(__name__)
BRIEF = 3.0  # seconds that a look-up of somebody who has just acted may be put off
BARRED = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger")
UNKNOWN_PERSON = {"user_not_found", "user_not_visible"}
NOT_STAFF = (
    "Only full members of this workspace who are in this channel may act here. Nothing was changed."
)
CANNOT_CHECK = (
    "monostat cannot check right now who may act, because Slack is not answering."
    " Nothing was changed."
)


@dataclass(kw_only=True)
class Staff:
    """The list of those who may act; `names` are theirs, by id.

    `listed_at` is when the list was last complete, on the event loop's clock.
    """

    client: SlackClient
    names: dict[str, str] = field(default_factory=dict)
    listed_at: float = -math.inf
    look_ups: dict[str, asyncio.Task[str]] = field(
        default_factory=dict
    )  # of those who are not listed

    async def refresh(self) -> None:
        """Makes the list anew, which in a big channel takes its time; raises Undelivered."""
        names: dict[str, str] = {}
        for user in await self._members():
            name = await self._name_of(user, patience=math.inf)
            if name:
                names[user] = name
        self.names = told_apart(names)
        self.listed_at = asyncio.get_running_loop().time()

    async def refusal(self, user: str) -> str:
        """Why this person may not act; empty where they may. Whoever is not listed is looked up."""
        age = asyncio.get_running_loop().time() - self.listed_at
        if user in self.names and age <= self.client.timing.staff_trust:
            return ""
        if user not in self.look_ups:
            task = asyncio.create_task(self._look_up(user))
            self.look_ups[user] = task
            task.add_done_callback(lambda _: self.look_ups.pop(user))
        return await asyncio.shield(self.look_ups[user])

    async def _look_up(self, user: str) -> str:
        name = ""
        try:
            if user in await self._members():
                name = await self._name_of(user, patience=BRIEF)
        except Undelivered as failure:
            log.warning("%s could not be checked: %s", user, failure.reason)
            return CANNOT_CHECK
        if not name:
            self.names.pop(user, None)
            return NOT_STAFF
        self.names = told_apart({**self.names, user: name})
        return ""

    async def _members(self) -> list[str]:
        """The people of the channel, of the allowed group where one is set."""
        settings = self.client.settings
        pages = self.client.pages(
            "conversations_members", "members", channel=settings.channel, limit=1000
        )
        people = [user async for user in pages if isinstance(user, str)]
        group = settings.allowed_user_group
        if not group:
            return people
        answer = await self.client.call("usergroups_users_list", usergroup=group)
        allowed = answer.get("users")
        if not isinstance(allowed, list):
            return []
        return [user for user in people if user in allowed]

    async def _name_of(self, user: str, *, patience: float) -> str:
        """The person's name, or nothing where they may not act.

        Waits for a limit of so many seconds; raises Undelivered for a longer one.
        """
        try:
            answer = await self.client.call("users_info", user=user)
        except Undelivered as failure:
            if isinstance(failure, SlackRefused) and failure.code in UNKNOWN_PERSON:
                return ""
            if failure.retry_after is None or failure.retry_after > patience:
                raise
            await asyncio.sleep(failure.retry_after)
            return await self._name_of(user, patience=patience)
        person = answer.get("user")
        if not isinstance(person, dict) or not self._is_full_member(person):
            return ""
        display_name = part_of(person, "profile", "display_name")
        return str(display_name or person.get("real_name") or person.get("name") or user)

    def _is_full_member(self, person: dict[str, Any]) -> bool:
        team = self.client.team
        is_barred = any(person.get(key) for key in BARRED)
        teams = {person.get("team_id")}
        # In Enterprise Grid the workspaces stand elsewhere.
        for places in (part_of(person, "enterprise_user", "teams"), person.get("teams")):
            if isinstance(places, list):
                teams |= {place for place in places if isinstance(place, str)}
        return bool(team) and team in teams and not is_barred


def told_apart(names: dict[str, str]) -> dict[str, str]:
    """The same, where two people have one name with their ids, so that they stay two."""
    times = Counter(names.values())
    apart = dict(names)
    for user, name in names.items():
        if times[name] > 1:
            apart[user] = f"{name} ({user})"
    return apart
