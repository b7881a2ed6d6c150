"""What people can do: one table from which buttons, thread lines, shell and refusals come."""

from collections.abc import Mapping
from dataclasses import dataclass

from monostat.core.model import (
    CONFIRMED,
    DISMISSED,
    PLANNED,
    RESOLVED,
    SUSPECTED,
    UNCONFIRMED,
    UNDER_WAY,
    WATCHING,
    Incident,
    Status,
)


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A row: all that belongs to one thing that people can do.

    A verb with `leads_to` is a move from one status to another: it is `allowed` in these
    statuses and writes the public sentence `sentence` (a key of the settings' `[texts]`), or
    `of_maintenance` where the incident is one. `entry` is the kind of its entry in the log and
    `line` how the thread tells it. The shell has it as a command where `does` says what for:
    `takes` are its arguments (“?” may be left out, “!” must be there), `done` is said afterwards.
    """

    name: str
    label: str
    entry: str
    line: str
    allowed: tuple[Status, ...] = ()
    leads_to: Status | None = None
    sentence: str = ""
    of_maintenance: str = ""
    #: A move mails unless the person wants none.
    mails: bool = False
    #: Subscribers can be mailed about it where the person asks for that.
    can_mail: bool = False
    #: It may be repeated, but with the same planned time only once.
    moves_time: bool = False
    #: Its button names an update of the incident.
    names_update: bool = False
    #: A tap on it does nothing where its message has only just changed, and may have meant another.
    held_back: bool = True
    takes: tuple[str, ...] = ()
    does: str = ""
    done: str = ""

    @property
    def takes_words(self) -> bool:
        """Whether somebody's own words can be published with it."""
        return "text" in self.takes or "text?" in self.takes

    @property
    def mails_when_asked(self) -> bool:
        """A mail about it is never the usual thing: somebody has to ask for one."""
        return "--mail" in self.takes


VERBS = (
    Verb(
        name="confirm",
        label="It is real",
        entry="confirmed",
        line="{by} confirmed this{as_severity}.",
        allowed=UNCONFIRMED,
        leads_to=CONFIRMED,
        sentence="confirmed",
        of_maintenance="started",
        mails=True,
        can_mail=True,
        takes=("number", "--severity", "--no-mail"),
        does="a suspicion is real",
        done="Confirmed",
    ),
    Verb(
        name="dismiss",
        label="False alarm",
        entry="false_alarm",
        line="{by} called this a false alarm.{left}",
        allowed=UNCONFIRMED,
        leads_to=DISMISSED,
        sentence="false_alarm",
        takes=("number",),
        does="a suspicion was a false alarm",
        done="Dismissed",
    ),
    Verb(
        name="was_real",
        label="It was real",
        entry="was_real",
        line="{by}: it was real.",
        allowed=(DISMISSED,),
        leads_to=RESOLVED,
        sentence="was_real",
        takes=("number", "text?"),
        does="a dismissed suspicion was real, and is over",
        done="Corrected",
    ),
    Verb(
        name="watch",
        label="Watching",
        entry="watching",
        line="{by}: fix in place, watching.",
        allowed=(CONFIRMED,),
        leads_to=WATCHING,
        sentence="watching",
        mails=True,
        can_mail=True,
        takes=("number", "text?", "--no-mail"),
        does="a fix is in, the team is watching",
        done="Published",
    ),
    Verb(
        name="not_fixed",
        label="Not fixed",
        entry="not_fixed",
        line="{by}: not fixed.",
        allowed=(WATCHING,),
        leads_to=CONFIRMED,
        sentence="not_fixed",
        of_maintenance="resumed",
        mails=True,
        can_mail=True,
        takes=("number", "text?", "--no-mail"),
        does="the fix did not hold",
        done="Published",
    ),
    Verb(
        name="resolve",
        label="Resolve",
        entry="resolved",
        line="{by} resolved this.{left}",
        allowed=UNDER_WAY,
        leads_to=RESOLVED,
        sentence="resolved",
        of_maintenance="completed",
        mails=True,
        can_mail=True,
        takes=("number", "text?", "--no-mail"),
        does="it is over",
        done="Resolved",
    ),
    Verb(
        name="reopen",
        label="Reopen",
        entry="reopened",
        line="{by} reopened this.",
        allowed=(RESOLVED,),
        leads_to=CONFIRMED,
        sentence="reopened",
        of_maintenance="resumed",
        mails=True,
        can_mail=True,
        takes=("number", "text?", "--no-mail"),
        does="it is back",
        done="Reopened",
    ),
    Verb(
        name="start",
        label="Start now",
        entry="started",
        line="{by} started this.",
        allowed=(PLANNED,),
        leads_to=CONFIRMED,
        sentence="started",
        mails=True,
        can_mail=True,
        takes=("number", "text?"),
        does="a plan begins now",
        done="Started",
    ),
    Verb(
        name="cancel",
        label="Cancel",
        entry="cancelled",
        line="{by} cancelled this.",
        allowed=(PLANNED,),
        leads_to=DISMISSED,
        sentence="cancelled",
        mails=True,
        can_mail=True,
        takes=("number", "text?", "--mail"),
        does="a plan will not take place",
        done="Cancelled",
    ),
    Verb(
        name="create",
        label="New incident",
        entry="opened",
        line="{by} opened this{as_severity}: {title}",
        takes=("title", "--severity", "--summary", "--no-mail"),
        does="tell visitors about a problem, confirmed at once",
        done="Published",
    ),
    Verb(
        name="plan",
        label="Plan maintenance",
        entry="planned",
        line="{by} planned this: {title}",
        takes=("title", "--start!", "--end!", "--severity", "--summary", "--ask", "--mail"),
        does="announce maintenance",
        done="Planned",
    ),
    Verb(
        name="update",
        label="Post update…",
        entry="updated",
        line="{by} posted an update{now_severity}: {text}",
        can_mail=True,
        takes=("number", "text", "--mail"),
        does="publish these words",
        done="Published",
    ),
    Verb(
        name="still_working",
        label="Still working on it",
        entry="still_working",
        line="{by}: still working on it.",
        names_update=True,
        takes=("number",),
        does="tell readers that it still is being worked on, and promise the next word",
        done="Published",
    ),
    Verb(
        name="take_down",
        label="Take down",
        entry="taken_down",
        line="{by} took this down: {text}{mailed}",
        names_update=True,
        takes=("number",),
        does="take the newest words that somebody wrote off the page",
        done="Taken down",
    ),
    Verb(
        name="edit",
        label="Edit…",
        entry="edited",
        line="{by} edited this: {what}",
        can_mail=True,
        takes=(
            "number",
            "--title",
            "--severity",
            "--start",
            "--end",
            "--summary",
            "--silent",
            "--mail",
        ),
        does="correct what was said",
        done="Edited",
    ),
    Verb(name="title", label="Give a title…", entry="titled", line="Title: {title} ({by})"),
    Verb(
        name="postpone",
        label="Postpone 30 min",
        entry="postponed",
        line="{by} postponed this to {start}.",
        moves_time=True,
        takes=("number",),
        does="move a plan 30 minutes on",
        done="Postponed",
    ),
    Verb(
        name="extend",
        label="Extend 30 min",
        entry="extended",
        line="{by} extended this to {end}.",
        moves_time=True,
        takes=("number",),
        does="give a maintenance 30 minutes more",
        done="Extended",
    ),
    Verb(
        name="real_outage",
        label="This is a real outage",
        entry="real_outage",
        line="{by} made this a real outage: {outage}",
        takes=("number",),
        does="make an outage of its own of the alerts that joined a maintenance",
        done="Published",
    ),
    Verb(
        name="undo",
        label="Undo",
        entry="undone",
        line="{by} undid that{again}.",
        names_update=True,
        held_back=False,
        takes=("number",),
        does="take its newest change of status back, or all of it where it is new",
        done="Taken back",
    ),
    Verb(
        name="send",
        label="Send now",
        entry="sent_now",
        line="{by} sent the mail at once.",
        held_back=False,
        takes=("number",),
        does="let the mail leave now",
        done="Announced, and the mail leaves now if there is one",
    ),
    Verb(
        name="retry",
        label="Retry",
        entry="retried",
        line="{by} asked to try the mail again.",
        takes=("number",),
        does="try a mail again that could not be sent",
        done="Tried again",
    ),
)
VERB: Mapping[str, Verb] = {verb.name: verb for verb in VERBS}
#: The verbs that are moves from one status to another.
MOVES = tuple(verb for verb in VERBS if verb.leads_to)
#: How a maintenance calls the end of its work.
COMPLETED = "Completed"

#: What each status offers, in the order of the buttons: names of verbs, some with a severity.
OFFERED: Mapping[Status, tuple[str, ...]] = {
    SUSPECTED: ("confirm:outage", "confirm:partial", "dismiss"),
    DISMISSED: ("edit", "was_real", "dismiss", "confirm:outage"),
    CONFIRMED: ("update", "edit", "watch", "resolve"),
    WATCHING: ("update", "edit", "not_fixed", "resolve"),
    RESOLVED: ("update", "edit", "reopen"),
    PLANNED: ("update", "edit", "start", "cancel"),
}


def offered(incident: Incident) -> tuple[str, ...]:
    """The verbs that make sense now, some with a severity after a colon, in the buttons' order."""
    is_work = incident.is_maintenance and incident.status in UNDER_WAY
    if is_work and incident.planned_end:
        return ("update", "edit", "extend", "resolve")
    if is_work:
        return ("update", "edit", "resolve")
    if incident.status is DISMISSED and incident.was_plan:
        return ("edit",)
    if incident.status is DISMISSED and incident.status_by:
        return tuple(name for name in OFFERED[DISMISSED] if name != "dismiss")
    return OFFERED[incident.status]
