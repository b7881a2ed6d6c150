"""The Home tabs of those who have opened theirs, made equal to now."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from monostat.core.model import State
from monostat.slack.client import UNFIT, SlackClient, SlackRefused
from monostat.slack.home import bare_home_view, home_view
from monostat.slack.lane import Delivery
from monostat.slack.messages import Block
from monostat.slack.text import SlackText

log = logging.getLogger(__name__)


class Tab(NamedTuple):
    """What somebody's Home tab shows, and of which state; None before it shows anything."""

    state: State | None
    view: Block


@dataclass(kw_only=True)
class HomeTabs:
    """What the Home tabs show, by the ids of their people; `counts` is for metrics."""

    state: Callable[[], State]
    client: SlackClient
    wording: SlackText
    counts: Counter[tuple[str, ...]]
    may_act: Callable[[str], bool]
    tabs: dict[str, Tab] = field(default_factory=dict)

    def open(self, user: str) -> None:
        """Somebody has opened theirs: from now on it is kept equal to now."""
        self.tabs[user] = Tab(None, {})

    def drop(self, user: str) -> None:
        """Leaves somebody's as it is from now on."""
        self.tabs.pop(user, None)

    def due(self) -> list[Delivery]:
        """Those that show something old; of people who have just opened theirs first."""
        state = self.state()
        for user in [user for user in self.tabs if not self.may_act(user)]:
            self.drop(user)  # it shows what they could do before; each tap is checked
        new = []
        old = []
        for user, tab in self.tabs.items():
            name = f"the Home tab of {user}"
            one = Delivery(("home", user), name, partial(self.publish, user))
            if tab.state is None:
                new.append(one)
            elif tab.state is not state:
                old.append(one)
        return new + old

    async def publish(self, user: str, fallback: bool) -> bool:
        """Makes a Home tab equal to now, and says whether anything was sent."""
        if user not in self.tabs:
            return False
        state = self.state()
        before = self.tabs[user].view
        view = bare_home_view() if fallback else home_view(state, self.wording)
        if view != before:
            try:
                await self.client.call("views_publish", user_id=user, view=view)
            except SlackRefused as refused:
                if not refused.permanent or refused.code in UNFIT:
                    raise
                log.warning("Slack: %s; this Home tab is left out", refused.reason)
                self.counts["slack", "dropped"] += 1
                self.drop(user)
                return False
        if user in self.tabs:  # they may have been refused meanwhile
            self.tabs[user] = Tab(state, view)
        return view != before
