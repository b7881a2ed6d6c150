"""Counts what is in the file, at the vendors and on the page after everything: nothing lost, nothing doubled."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monostat.core.events import Record
from monostat.core.model import Alert, Entry, Incident, Mail, MailState, Status
from monostat.demo.rapidmail import SimulatedMailing, SimulatedRapidmail
from monostat.demo.slack import SimulatedSlack
from monostat.facts import KINDS, Meta, read_fact
from monostat.slack.log_queue import FOLDED, is_redundant
from monostat.slack.messages import escape, title
from tests.torture.victim import ORDERED

#: Log entries of people that readers are mailed about unless the person asked for no mail.
MAILED = ("confirmed", "watching", "not_fixed", "resolved", "reopened")


def key_of(mailing: SimulatedMailing) -> str:
    """Of the mail that this is a revision of."""
    return mailing.title.removeprefix("monostat ").partition(" r")[0]


@dataclass
class File:
    """All that the database holds."""

    memory: Meta
    incidents: dict[int, Incident]
    alerts: list[Alert]
    mails: list[Mail]
    log: list[Entry]
    untold: int

    @classmethod
    def read(cls, path: Path) -> "File":
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            rows = db.execute("SELECT kind, body FROM facts").fetchall()
            entries = db.execute("SELECT body FROM log ORDER BY id").fetchall()
            ((untold,),) = db.execute("SELECT count(*) FROM log WHERE told = 0").fetchall()
        finally:
            db.close()

        def facts(kind: Any) -> list[Any]:
            return [read_fact(kind, body) for name, body in rows if name == KINDS[kind].name]

        log = [read_fact(Entry, body) for (body,) in entries]
        incidents = {incident.number: incident for incident in facts(Incident)}
        return cls(facts(Meta)[0], incidents, facts(Alert), facts(Mail), log, untold)


@dataclass
class Audit:
    """What was found; `wrong` is empty when every promise was kept."""

    file: File
    rapidmail: SimulatedRapidmail
    slack: SimulatedSlack
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def need(self, fine: object, wrong: str) -> None:
        if not fine:
            self.wrong.append(wrong)

    def mails(self) -> None:
        """Each mail that was due is sent once, none twice, and of each incident the newest."""
        mailings = [(key_of(mailing), mailing) for mailing in self.rapidmail.mailings]
        made = Counter(key for key, mailing in mailings if mailing.lives)
        rows = {mail.key: mail for mail in self.file.mails}
        for key, mailing in mailings:
            self.need(key in rows, f"mail {key}: at Rapidmail, but in no row")
            self.counts["mailings that Rapidmail stopped"] += not mailing.lives
        for key, times in made.items():
            self.need(times == 1, f"mail {key}: doubled, {times} times")
            self.counts["duplicates"] += times - 1
        for mail in rows.values():
            self.counts["mails delivered"] += made[mail.key] > 0
            self.need(
                mail.state in (MailState.SENT, MailState.DROPPED),
                f"mail {mail.key}: left as {mail.state}: {mail.error}",
            )
            if mail.state is MailState.SENT:
                self.counts["mails expected"] += 1
                self.counts["losses"] += not made[mail.key]
                self.need(made[mail.key], f"mail {mail.key}: lost, it is not at Rapidmail")
            else:
                self.counts["mails dropped"] += 1
                self.need(
                    not made[mail.key] or mail.ambiguous,
                    f"mail {mail.key}: dropped, but at Rapidmail",
                )
        with_mail = {mail.entry for mail in rows.values()}
        for entry in self.file.log:
            if entry.kind in MAILED and entry.by not in ("", "Old") and "no mail" not in entry.by:
                incident = self.file.incidents.get(entry.incident or 0)
                if (
                    incident
                    and not incident.silent
                    and not incident.is_maintenance
                    and entry.id not in with_mail
                ):
                    self.counts["losses"] += 1
                    self.wrong.append(
                        f"#{entry.incident}: lost, the mail of {entry.kind} (entry {entry.id}) has no row"
                    )
        for incident in self.file.incidents.values():
            self.newest(
                incident, [mail for mail in rows.values() if mail.incident == incident.number]
            )

    def newest(self, incident: Incident, mails: list[Mail]) -> None:
        said = {update.id for update in incident.updates}
        stands = sorted((m for m in mails if m.update in said), key=lambda mail: mail.entry)
        unsure = (
            incident.status in (Status.SUSPECTED, Status.DISMISSED)
            or incident.silent
            or incident.is_maintenance
            # Whoever changes the status and wants no mail drops what was held, too.
            or "no mail" in incident.status_by
        )
        if stands and not unsure:
            newest = stands[-1]
            self.need(
                newest.state is MailState.SENT,
                f"mail {newest.key}: the newest of its incident, but {newest.state}",
            )

    def channel(self) -> None:
        """Each incident has one message, and its thread every line of the log once and in order."""
        epoch = self.file.memory.epoch
        posts = [
            (m.metadata.get("event_payload", {}).get("key", ""), m)
            for m in self.slack.messages
            if m.bot_id
        ]
        keys = Counter(key for key, _ in posts)
        for key, times in keys.items():
            self.need(times == 1, f"Slack {key}: posted {times} times")
        tops = {
            int(key.rpartition(":")[2]): m
            for key, m in posts
            if key.startswith(f"{epoch}:incident:")
        }
        for number in filter(self.is_news, self.file.incidents):
            self.counts["messages"] += 1
            self.need(number in tops, f"Slack: #{number} has no message")
        for number, incident in self.file.incidents.items():
            untold = not (incident.as_it_came and number in tops)
            self.need(untold, f"Slack: #{number} has a message, and nobody has touched it")
        for number, message in tops.items():
            lines = [
                (k, m)
                for k, m in posts
                if m.thread_ts == message.ts and k.startswith(f"{epoch}:line:")
            ]
            told = [int(key.rpartition(":")[2]) for key, _ in lines]
            self.need(
                told == sorted(told), f"Slack: the lines of #{number} are not in order: {told}"
            )
            if number in self.file.incidents:
                shown = escape(f"#{number} {title(self.file.incidents[number])}", 300)
                self.need(
                    message.text == shown,
                    f"Slack: #{number} shows {message.text!r} instead of {shown!r}",
                )
                due = {
                    e.id
                    for e in self.file.log
                    if e.incident == number and self.has_line(e) and e.by != "Old"
                }
                self.counts["thread lines"] += len(told)
                self.need(
                    due <= set(told),
                    f"Slack: #{number} was never told of {sorted(due - set(told))}",
                )
            else:
                self.need(
                    f"took #{number} back" in message.text,
                    f"Slack: #{number} has vanished, its message stands",
                )
        self.need(self.slack.violations == [], f"Slack: {self.slack.violations}")

    def history(self, records: Sequence[Record]) -> None:
        """Each record is here once, and nobody heard of one that nobody has reopened."""
        came = Counter(each.imported_from for each in self.file.incidents.values())
        del came[""]
        self.need(came == Counter(record.source for record in records), f"imported: {came}")
        reopened = {entry.incident for entry in self.file.log if entry.kind == "reopened"}
        mailed = {mail.incident for mail in self.file.mails}
        for number, incident in self.file.incidents.items():
            if incident.imported_from and number not in reopened:
                self.counts["imported, and never reopened"] += 1
                self.need(not incident.announced_at, f"#{number}: announced, and never reopened")
                self.need(number not in mailed, f"#{number}: mailed about, and never reopened")
        told = [entry for entry in self.file.log if entry.kind == "imported"]
        self.need(told, "nobody was told of the import")

    def is_news(self, number: int) -> bool:
        """Whether anything has happened to it since the first life."""
        return any(e.incident == number and e.by != "Old" for e in self.file.log)

    def has_line(self, entry: Entry) -> bool:
        """Whether the thread has to have a line of it: not a reminder, what another line tells, or
        what is a mark on the mention that caused it.
        """
        marked = {m.ts for m in self.slack.messages if m.reactions}
        is_told = is_redundant(entry) or entry.kind in (*FOLDED, "joined")
        return not (is_told or "due" in entry.detail or entry.detail.get("said_in") in marked)

    def record(self, accepted: list[str], refused: list[str], numbers: list[int]) -> None:
        """The log has no hole, nobody's accepted act is missing, and no refused one is there."""
        ids = [entry.id for entry in self.file.log]
        self.need(ids == list(range(1, len(ids) + 1)), "the log has a hole")
        people = Counter(
            entry.by for entry in self.file.log if entry.kind != "real_outage"
        )  # the other line of one act
        self.counts["acts accepted"] += len(accepted)
        for by in accepted:
            self.need(people[by] == 1, f"{by}: accepted, but {people[by]} times in the log")
        self.need(
            not {*refused} & {*people}, f"refused, but in the log: {sorted({*refused} & {*people})}"
        )
        self.need(len({*numbers}) == len(numbers), f"a number was given twice: {sorted(numbers)}")
        self.need(
            all(alert.closed_at or alert.ignored for alert in self.file.alerts),
            "an alert is still open",
        )
        suspected = [i.number for i in self.file.incidents.values() if i.status is Status.SUSPECTED]
        self.need(not suspected, f"still suspected: {suspected}")
        serious = [e for e in self.file.log if e.kind == "opened" and not e.by]
        self.counts["suspicions"] += len(serious)
        said = Counter(
            u.text
            for i in self.file.incidents.values()
            for u in i.updates
            if u.text.startswith("Said ")
        )
        self.need(max(said.values(), default=1) == 1, f"said twice: {said.most_common(3)}")

    def page(self, state: dict[str, Any], versions: dict[tuple[str, int], str]) -> None:
        """What the feed shows is what the file holds, and its version is the newest."""
        self.need(
            state["version"] == self.file.memory.version.number,
            "the page has another version than the file",
        )
        self.need(
            state["epoch"] == self.file.memory.epoch, "the page has another epoch than the file"
        )
        self.counts["versions seen"] += len(versions)
        for shown in [*state["open"], *state["planned"], *state["recent"]]:
            incident = self.file.incidents.get(int(shown["id"]))
            self.need(incident, f"#{shown['id']}: on the page, but not in the file")
            if incident:
                held = (
                    incident.status,
                    incident.severity,
                    incident.title,
                    [u.text for u in incident.updates[::-1]][:50],
                )
                seen = (
                    shown["state"],
                    shown["severity"],
                    shown["title"],
                    [u["text"] for u in shown["updates"]],
                )
                self.need(held == seen, f"#{shown['id']}: the page says {seen}, the file {held}")
        now_open = {str(i.number) for i in self.file.incidents.values() if i.is_open}
        self.need(
            now_open == {i["id"] for i in state["open"]},
            "another set is open on the page than in the file",
        )

    def words(self, log: str, secrets: list[str], path: Path) -> None:
        """No traceback but those that were ordered, and no secret in the log or the file."""
        for traceback in re.findall(
            r"^Traceback(?s:.)*?(?=^\d{4}-)", f"{log}\n0000-", re.MULTILINE
        ):
            self.need(ORDERED in traceback, f"the log has a traceback: {traceback[:3000]}")
        files = b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))
        for secret in secrets:
            self.need(secret not in log, f"the log has a secret: {secret}")
            self.need(secret.encode() not in files, f"the file has a secret: {secret}")


def settled(file: File) -> str:
    """What has still to leave, or nothing."""
    waiting = [
        mail.key for mail in file.mails if mail.state not in (MailState.SENT, MailState.DROPPED)
    ]
    suspected = [i.number for i in file.incidents.values() if i.is_open]
    stale = [a.id for a in file.alerts if not a.closed_at and not a.ignored]
    return (
        json.dumps([waiting[:3], file.untold, suspected[:3], stale[:3]])
        if waiting or file.untold or suspected or stale
        else ""
    )
