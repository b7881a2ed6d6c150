"""What is said to the app in the thread of an incident, and what becomes of it there.

What is published is what was meant, whichever of its events Slack tells it with.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from monostat.core.events import Act, Unsaid
from monostat.core.lenient import Json, object_of
from monostat.core.model import Incident, Update
from monostat.core.verbs import VERB
from monostat.slack import parsing
from monostat.slack.actions import StaffActions
from monostat.slack.client import SlackClient
from monostat.slack.commands import parse_command
from monostat.slack.mrkdwn import to_markdown
from monostat.slack.rich_text import parse_message
from monostat.slack.said import Said, after_mention, mentions, visible

K = TypeVar("K")
V = TypeVar("V")
MOST_REMEMBERED = 1000  # mentions
#: In which events of a channel somebody says something.
SPOKEN = (None, "file_share", "thread_broadcast")
NO_THREAD = (
    "Mention me in the thread of an incident: what you write there is published as an update of it."
)
NO_WORDS = (
    "Nothing was published, because no words follow the mention."
    " Write it again: the mention first, then what readers should see."
)
WHO = (
    "Nothing was published: mention me alone, not in a quote or a list,"
    " and before the words that readers should see."
)
EDIT_STATUS = (
    "The page still says what you wrote first: editing a message changes words only."
    " To change the status, mention me again."
)
EDIT_EMPTY = (
    "The page still says what you wrote first: there is nothing after the mention any more."
    " To take the words off the page, delete the message, or tap Take down."
)


@dataclass(kw_only=True)
class Mentions:
    """Publishes what follows a mention, follows its edits, and asks when its message is deleted.

    `incident_of` finds the incident of a number, also one that is past, and `thread_of` knows whose
    thread begins with a message of that ts.
    """

    client: SlackClient
    actions: StaffActions
    incident_of: Callable[[int], Awaitable[Incident | None]]
    now: Callable[[], datetime]
    thread_of: Callable[[str], Awaitable[int | None]]
    submit: Callable[[Unsaid], Awaitable[object]]
    #: Those that were obeyed or answered: Slack tells of each in several events.
    heard: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    #: When the edit was made whose words an update has, by the ts of its mention: both are Slack's.
    edits: OrderedDict[str, str] = field(default_factory=OrderedDict)
    #: By the ts of mentions that named none of the ids that Slack has told us: the one they named.
    aliases: OrderedDict[str, set[str]] = field(default_factory=OrderedDict)

    async def on_message(self, event: Json, authorized: Collection[str]) -> None:
        """A message in a channel was written, edited or deleted; `authorized` are ids of ours."""
        if event.get("channel") != self.client.settings.channel:
            return
        ours = {self.client.bot_user, *authorized} - {""}
        subtype = event.get("subtype")
        message = object_of(event.get("message"))
        if subtype == "message_deleted" or message.get("subtype") == "tombstone":
            before = object_of(event.get("previous_message")) or message
            ts = str(event.get("deleted_ts") or message.get("ts") or "")
            update = await self._update_from(ts, before)
            if update:
                unsaid = Unsaid(at=self.now(), incident=update.incident, source=ts)
                await self.submit(unsaid)
        elif subtype == "message_changed":
            before = object_of(event.get("previous_message"))
            ts = str(message.get("ts"))
            ours |= self.aliases.get(ts, set())
            await self._on_edit(message, before, ours)
        elif subtype in SPOKEN and set(mentions(parse_message(event))) & ours:
            await self.publish(event, ours)

    async def on_mention(self, event: Json, authorized: Collection[str]) -> None:
        """The app was mentioned, by whichever id."""
        if event.get("channel") != self.client.settings.channel:
            return
        ours = {self.client.bot_user, *authorized} - {""}
        people = set(mentions(parse_message(event)))
        if not people & ours and len(people) == 1:
            ours = people
            remember(self.aliases, str(event.get("ts")), people)
        await self.publish(event, ours)

    async def publish(self, event: Json, ours: Collection[str]) -> None:
        """Does what a mention asks for, or says privately why not; once for each version of it."""
        user = event.get("user")
        ts = str(event.get("ts"))
        thread = event.get("thread_ts")
        if not user or event.get("bot_id") or self._was_heard(ts, event):
            return
        incident = await self._incident_of_thread(thread)
        said = after_mention(parse_message(event), ours)
        act: Act | str
        if incident is None:
            act = NO_THREAD
        elif said is None:
            act = WHO
        elif not visible(said):
            act = NO_WORDS
        else:
            slash = self.client.settings.command
            act = parsing.parse_mention(said, incident, self.now(), user, slash)
        if isinstance(act, str):
            await self.actions.tell(user, act, thread=thread)
        else:
            await self.actions.obey(replace(act, source=ts), thread=thread)

    def _was_heard(self, ts: str, event: Json) -> bool:
        edited = object_of(event.get("edited"))
        edited_ts = str(edited.get("ts") or "")
        version = (ts, edited_ts)
        if version in self.heard:
            return True
        remember(self.heard, version, None)
        return False

    async def _on_edit(self, message: Json, before: Json, ours: Collection[str]) -> None:
        """An edited mention edits its update; Slack calls it an edit, too, when a link is shown.

        1. Only other words than before are an edit, or, where Slack does not say what was before,
           an edit newer than the update.
        2. Events may come late, and again: an edit is newer than the last one that was used.
        3. What was no update becomes one where the edit has the app mentioned.
        4. Only the words change.
        """
        edited = object_of(message.get("edited"))
        user = edited.get("user")
        ts = str(message.get("ts"))
        edited_ts = str(edited.get("ts") or "")
        if not user or not edited_ts:
            return
        update = await self._update_from(ts, message)
        if before and not is_reworded(before, message):
            return
        if update and not self._is_news(edited_ts, update, any_words=not before):
            return
        said = after_mention(parse_message(message), ours)
        thread = message.get("thread_ts")
        if update is None:
            if said is not None and after_mention(parse_message(before), ours) is None:
                await self.publish(message, ours)
            return
        remember(self.edits, ts, edited_ts)
        words = words_of_edit(said or (), update, self.client.settings.command)
        if not words:
            why = EDIT_STATUS if said and visible(said) else EDIT_EMPTY
            await self.actions.tell(user, why, thread=thread)
        elif words != update.text:
            texts = {update.id: words}
            act = Act(at=self.now(), verb="edit", by=user, incident=update.incident, texts=texts)
            await self.actions.obey(act, thread=thread)

    def _is_news(self, edited_ts: str, update: Update, *, any_words: bool) -> bool:
        """Whether an edit is newer than the last one that was used, or than the words of today.

        With `any_words` Slack does not say what stood there before.
        """
        last = self.edits.get(update.source)
        if last is not None:
            return seconds(edited_ts) > seconds(last)
        since = update.edited_at
        if any_words:
            since = since or update.at
        return since is None or seconds(edited_ts) > since.timestamp()

    async def _incident_of_thread(self, thread: str | None) -> Incident | None:
        if not thread:
            return None
        number = await self.thread_of(thread)
        return await self.incident_of(number or 0)

    async def _update_from(self, ts: str, message: Json) -> Update | None:
        """The update that came from this message, whose thread is that of its incident."""
        thread = str(message.get("thread_ts") or "")
        incident = await self._incident_of_thread(thread)
        if incident is None:
            return None
        from_it = [update for update in incident.updates if update.source == ts]
        return next(iter(from_it), None)


def remember(recent: OrderedDict[K, V], key: K, value: V) -> None:
    """Keeps the newest of what Slack has told; what is older it tells no more."""
    recent[key] = value
    recent.move_to_end(key)
    if len(recent) > MOST_REMEMBERED:
        recent.popitem(last=False)


def is_reworded(before: Json, after: Json) -> bool:
    """Whether a message has other words than before; one without blocks tells by its text."""
    if before.get("text") != after.get("text"):
        return True
    both_have_blocks = bool(before.get("blocks") and after.get("blocks"))
    return both_have_blocks and parse_message(before) != parse_message(after)


def seconds(ts: str) -> float:
    """A ts of Slack's in UNIX seconds; 0 where it is none."""
    try:
        return float(ts)
    except ValueError:
        return 0.0


def words_of_edit(said: Said, update: Update, slash: str) -> str:
    """The words of an edited mention; none where it asks for another status or is a command.

    It may begin with whatever leads to the status, or the severity, that its update has.
    """
    command = parse_command(said, slash)
    name = command.name
    if not name:
        return to_markdown(said)
    is_same = name == update.severity
    if name in parsing.WITH_WORDS:
        is_same = VERB[name].leads_to in (None, update.status)
    if not is_same or command.number not in (None, update.incident):
        return ""
    return to_markdown(command.rest)
