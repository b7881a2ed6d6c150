"""Rounds of torture: lives among failing vendors that end with kill -9; then a quiet one, and an audit."""

import asyncio
import json
import logging
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import ClientError, ClientSession, UnixConnector
from pydantic_core import to_jsonable_python

from monostat.core.events import Act, Tick
from monostat.demo.faults import Faults
from monostat.demo.slack import Disconnected, Unacknowledged
from monostat.demo.workspace import BOT_USER, usable
from monostat.engine import Engine
from monostat.store import open_store
from tests.boards import snapshot
from tests.core.histories import over_elsewhere
from tests.daemon import free_port, toml
from tests.policies import POLICY
from tests.torture.audit import Audit, File, settled
from tests.torture.victim import AILS, STEPS
from tests.world import World

PER_DATABASE = 20  # rounds, then the audit
KEPT_BUSY = 1.2  # seconds that a life lasts at most
SHOWN_WITHIN = 5.0  # seconds, which what is saved may take to be shown
VERBS = {
    "planned": ("start", "cancel", "postpone", "update"),
    "suspected": ("confirm", "confirm", "confirm", "dismiss"),
    "dismissed": ("was_real", "confirm"),
    "confirmed": ("watch", "watch", "resolve", "update", "edit", "real_outage", "extend"),
    "watching": ("resolve", "resolve", "not_fixed", "update", "edit"),
    "resolved": ("reopen", "reopen", "edit"),
}
NONSENSE = (
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"{",
    b"<html>",
    b"\xff\xfe\x00",
    b"[1, 2",
    b'{"ok": 1e400}',
    b"[" * 5000,
)
SECRETS = (
    "Canary-alert-text",
)  # for staff: neither the log of the process nor the page may have it


#: What is imported again and again, so many in a batch.
ELSEWHERE = [
    over_elsewhere(f"statuspage/{number:012}", datetime(2024, 3, 1 + number, tzinfo=UTC))
    for number in range(12)
]
BROUGHT = 4

#: Incidents that were over for years before the first life, which people act on now and then.
OLD = (1, 2, 3)
LONG_AGO = timedelta(days=800)


async def old_stories(path: Path) -> None:
    """A database with what is long over, and of which Slack was never told."""
    at = datetime.now(UTC) - LONG_AGO
    async with open_store(path, now=at, has_slack=False, host="127.0.0.1") as store:
        board = Engine(replace(POLICY, mails=False), lambda: at, "b", snapshot)
        await board.start(store)
        for number in OLD:
            for verb in ("create", "resolve"):
                title = f"An old story {number}"
                act = Act(at=at, verb=verb, by="Old", incident=number, title=title, mail=False)
                await board.submit(act)
        await board.submit(Tick(at=at + timedelta(hours=1)))
        none_new = "json_set(body, '$.newest_own', json('[]'))"
        await store.write((f"UPDATE facts SET body = {none_new} WHERE kind = 'Memory'", [()]))


class Failed(Exception):
    """A promise was broken; the words say which, and how to see it again."""


class Victim:
    """The process that forks the lives; `reached` counts the steps at which one ended."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self.reached = folder, port, Counter[str]()
        self.pid, self.begun = 0, False
        self.forked, self.ready, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.code: int | None = None
        self.step = ""

    async def open(self) -> None:
        command = (sys.executable, "-m", "tests.torture.victim")
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            word, _, rest = line.decode().strip().partition(" ")
            match word:
                case "pid":
                    self.pid = int(rest)
                    self.forked.set()
                case "ready":
                    self.ready.set()
                case "reached":
                    self.reached[self.step] += 1
                case "end":
                    self.code = int(rest)
                    self.over.set()

    def begin(
        self, step: str = "", count: int = 1, *, ail: str = "", after: float = 0, lasts: float = 0
    ) -> None:
        assert self.process.stdin
        self.begun, self.code, self.step = True, None, step
        for event in (self.forked, self.ready, self.over):
            event.clear()
        order = {
            "config": str(self.folder / "config.toml"),
            "port": self.port,
            "log": str(self.folder / "log"),
        }
        order |= {"step": step, "count": count, "ail": ail, "after": after, "lasts": lasts}
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Ends the life, unless it has ended at its step, and says how."""
        await self.forked.wait()
        if not self.over.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, how)
        async with asyncio.timeout(120):
            await self.over.wait()
        assert self.code is not None
        return self.code

    async def close(self) -> None:
        if self.begun and not self.over.is_set():
            await self.end()
        assert self.process.stdin
        self.process.stdin.close()
        await self.process.wait()
        await self.reading


class Torture:
    """One database and its vendors, for so many rounds; everything that is left to chance is drawn from the seed."""

    def __init__(self, world: World, victim: Victim, seed: int) -> None:
        self.world, self.victim, self.seed, self.chance = world, victim, seed, Random(seed)
        self.counts = Counter[str]()
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.numbers: list[int] = []
        self.versions: dict[tuple[str, int], str] = {}
        self.newest = ("", 0)
        self.incidents: dict[int, str] = {}
        self.wrong: list[str] = []
        self.people = self.happened = 0

    # -- what fails

    def faults(self) -> dict[str, Faults]:
        world = self.world
        return {
            "opsgenie": world.opsgenie.faults,
            "slack": world.slack.faults,
            "rapidmail": world.rapidmail.faults,
        }

    def spoil(self) -> int:
        """Orders bad days from the vendors; says how many."""
        ordered, draw = 0, self.chance
        for vendor, faults in self.faults().items():
            path = {
                "slack": draw.choice(["", "chat.", "chat.postMessage", "apps."]),
                "rapidmail": "/mailings",
            }
            where: dict[str, Any] = {
                "path": path.get(vendor, ""),
                "times": draw.choice([1, 1, 2, 5]),
            }
            for _ in range(draw.choice([0, 0, 1, 2, 3])):
                ordered += 1
                done = (
                    draw.random() < 0.5
                )  # whether the vendor does what it was asked before it fails
                match draw.randrange(10):
                    case 0:
                        faults.fail_next(draw.choice([500, 502, 503, 504]), carry_out=done, **where)
                    case 1:
                        faults.fail_next(
                            429, headers={"Retry-After": draw.choice(["0", "1"])}, **where
                        )
                    case 2:
                        faults.drop_next(**where)
                    case 3:
                        faults.accept_then_drop(**where)
                    case 4:
                        faults.accept_then_hang(**where)
                    case 5:
                        faults.cut_next(carry_out=done, **where)
                    case 6:
                        faults.answer_next(200, body=draw.choice(NONSENSE), carry_out=done, **where)
                    case 7 if vendor != "rapidmail":
                        faults.hang(where["path"])
                    case 7:
                        faults.fail_next(draw.choice([401, 403, 422]), path="/mailings", times=1)
                    case 8 if vendor == "slack":
                        body = b'{"ok": false, "error": "%s"}' % draw.choice(
                            [b"channel_not_found", b"internal_error"]
                        )
                        faults.answer_next(200, body=body, path="chat.", times=1)
                    case 8 if vendor == "opsgenie":
                        self.world.opsgenie.lose_sight()
                    case 8:
                        self.world.rapidmail.listing_delay = 1
                    case _:
                        faults.fail_next(503, headers={"Retry-After": "1"}, **where)
        if draw.random() < 0.2:
            ordered += 1
            self.world.rapidmail.made_as = draw.choice(["draft", "canceled", "deleted"])
        if draw.random() < 0.2:
            ordered += 1
            self.counts["lives in which one method of Slack was limited"] += 1
            method = draw.choice(["chat.update", "chat.postMessage", "views.publish", "users.info"])
            self.world.slack.limit(method, retry_after=draw.choice([1, 600]))
        if draw.random() < 0.2:
            ordered += 1
            self.counts["lives in which one message of Slack could not be told"] += 1
            method = draw.choice(["chat.update", "chat.postMessage"])
            error = draw.choice(["internal_error", "fatal_error", "msg_blocks_too_long"])
            self.world.slack.object_to(method, f"#{self.some()} ", error)
        return ordered

    def mend(self) -> None:
        for vendor, faults in self.faults().items():
            self.counts[f"faults obeyed by {vendor}"] += self.ordered[vendor] - len(faults.orders)
            faults.release()
        self.world.opsgenie.regain_sight()
        self.world.rapidmail.listing_delay = 0
        self.world.rapidmail.made_as = None
        self.world.slack.speak()
        self.world.slack.relent()
        self.world.slack.unlimit()

    # -- what happens

    async def act(self, verb: str, incident: int = 0, **more: Any) -> str:
        """Asks through the control socket; "accepted", "refused", or "unclear" where no answer came."""
        self.people += 1
        by = f"P{self.people}" + (" no mail" if more.get("mail") is False else "")
        said = await self.asks("act", {"verb": verb, "by": by, "incident": incident} | more)
        if said is None:
            self.counts["acts cut off"] += 1
            return "unclear"
        if said["refused"]:
            self.refused.append(by)
            return "refused"
        if not (verb == "edit" and not more.get("changes")):
            self.accepted.append(by)
        if verb in ("create", "plan", "real_outage"):
            self.numbers.append(said["number"])
        return "accepted"

    async def asks(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """What the control socket answers, or None where no answer came."""
        connector = UnixConnector(str(self.world.folder / "monostat.sock"))
        try:
            async with (
                ClientSession(connector=connector) as shell,
                shell.post(f"http://x/{path}", json=body) as answer,
            ):
                said: dict[str, Any] = await answer.json()
                return said
        except (ClientError, OSError, ValueError, TimeoutError):
            return None

    async def bring(self) -> bool:
        """Brings the history of elsewhere as the command does; whether all of it came."""
        added = 0
        for first in range(0, len(ELSEWHERE), BROUGHT):
            batch = ELSEWHERE[first : first + BROUGHT]
            last = first + BROUGHT >= len(ELSEWHERE)
            body = {"records": to_jsonable_python(batch), "by": "I", "added": added, "last": last}
            said = await self.asks("import", body)
            if said is None or said["refused"]:
                self.counts["imports cut off"] += 1
                return False
            added = said["added"]
        return True

    async def touch(self) -> None:
        """Reopens, or renames, one that came from elsewhere."""
        sql = "SELECT key FROM facts WHERE json_extract(body, '$.imported_from') <> '' ORDER BY key"
        numbers = [number for (number,) in await self.world.in_file(sql)]
        if numbers:
            verb = self.chance.choice(["reopen", "reopen", "edit", "undo"])
            changes = {"title": f"Renamed {self.people}"} if verb == "edit" else {}
            await self.act(verb, self.chance.choice(numbers[-3:]), changes=changes)

    async def something(self) -> None:
        """One thing that monitoring, staff or the network do."""
        draw, world = self.chance, self.world
        now_open = [alert.id for alert in world.opsgenie.alerts.values() if not alert.closed_at]
        self.happened += 1
        kind, says = draw.random(), f"Said {self.seed}.{self.happened}"
        if kind < 0.12:
            world.opsgenie.fire(SECRETS[0], alias=draw.choice([None, "web", "db"]))
        elif kind < 0.2 and now_open:
            (world.opsgenie.close if draw.random() < 0.8 else world.opsgenie.delete)(
                draw.choice(now_open)
            )
        elif kind < 0.27:
            severity = draw.choice(
                [None, "bug", "notice", "notice"]
            )  # alerts join none but serious ones
            await self.act(
                "create",
                title=f"Slow {self.people}",
                severity=severity,
                mail=draw.choice([None, False]),
            )
        elif kind < 0.3:
            start = datetime.now(UTC) + timedelta(seconds=draw.choice([0.3, 1, 3600]))
            times: dict[str, Any] = {
                "start": start.isoformat(),
                "end": (start + timedelta(seconds=2)).isoformat(),
            }
            await self.act("plan", title="Works", mail=draw.choice([None, True]), **times)
        elif kind < 0.36:
            await self.act(draw.choice(["undo", "send", "retry"]), self.some())
        elif kind < 0.38:
            await draw.choice([self.bring, self.touch])()
        elif kind < 0.41:
            await draw.choice([world.slack.cut, world.slack.disconnect])()
        elif kind < 0.55:
            await self.tap()
        elif kind < 0.62:
            await self.mention(says)
        else:
            number = self.some()
            more: dict[str, Any] = {}
            unknown = ("reopen", "edit") if number in OLD else ("confirm", "resolve")
            verb = draw.choice(VERBS.get(self.incidents.get(number, ""), unknown))
            if verb == "update":
                more = {"text": says, "mail": draw.choice([None, True])}
            elif verb == "edit":
                more = {
                    "changes": {"title": f"Renamed {self.people}"},
                    "mail": draw.choice([None, True]),
                }
            elif draw.random() < 0.2:
                more = {"mail": False}
            await self.act(verb, number, **more)

    def some(self) -> int:
        if self.chance.random() < 0.1:
            return self.chance.choice(OLD)
        known = sorted(self.incidents)
        return self.chance.choice(known[-4:] or [1])

    async def tap(self) -> None:
        """Taps a button of one of the newest messages."""
        shown = self.world.slack.timeline()[-4:]
        found = [
            (message, element["action_id"])
            for message in shown
            for _, element in usable(message.blocks)
            if re.match("verb:(?!edit|update)", element["action_id"])
        ]
        if found:
            message, action = self.chance.choice(found)
            with suppress(Disconnected, Unacknowledged, LookupError):
                await self.world.slack.press(
                    self.chance.choice(["U_ADA", "U_BOB"]), message.ts, action
                )
                self.counts["taps"] += 1

    async def mention(self, says: str) -> None:
        """Says something in a thread; what was not acknowledged is delivered again, as Slack does."""
        shown, slack = self.world.slack.timeline()[-3:], self.world.slack
        if not shown:
            return
        word, before = self.chance.choice(["", "", "watching: ", "resolved: "]), len(slack.events)
        for again in (False, True):
            try:
                if not again:
                    text = f"<@{BOT_USER}> {word}{says}"
                    await slack.say("U_ADA", text, thread_ts=self.chance.choice(shown).ts)
                elif len(slack.events) > before:
                    await slack.redeliver([*slack.events][before])
                self.counts["mentions"] += 1
                if self.chance.random() < 0.8:
                    return
            except (Disconnected, Unacknowledged, LookupError):
                continue

    async def watch(self) -> None:
        """Reads the feed again and again: its version never goes back, and what it stands for never changes."""
        while True:
            await asyncio.sleep(0.1)
            with suppress(ClientError, OSError, ValueError, TimeoutError):
                self.see(await self.world.state())

    def see(self, state: dict[str, Any]) -> None:
        seen = (state["epoch"], state["version"])
        state.pop("time")
        text = json.dumps(state, sort_keys=True)
        if self.versions.setdefault(seen, text) != text:
            self.wrong.append(
                f"version {seen} stands for two things: {self.versions[seen]} and {text}"
            )
        if self.newest[0] and (seen[0] != self.newest[0] or seen[1] < self.newest[1]):
            self.wrong.append(f"the version went back from {self.newest} to {seen}")
        self.newest = seen
        both = [*state["open"], *state["planned"], *state["recent"]]
        self.incidents |= {int(i["id"]): i["state"] for i in both}

    # -- rounds

    async def round(self) -> None:
        """One life, ended at a step, at a moment of chance, or while it starts."""
        draw, victim = self.chance, self.victim
        ail = draw.choice([*AILS]) if draw.random() < 0.15 else ""
        step = draw.choice(STEPS) if not ail and draw.random() < 0.7 else ""
        self.ordered = dict.fromkeys(self.faults(), 0)
        self.counts["faults ordered"] += self.spoil()
        self.ordered = {vendor: len(faults.orders) for vendor, faults in self.faults().items()}
        falls_ill = draw.uniform(0, KEPT_BUSY / 2)
        is_ill = (
            KEPT_BUSY + 0.5 - falls_ill
        )  # nothing happens afterwards that would show what is saved by chance
        victim.begin(step, draw.choice([1, 1, 1, 2, 4]), ail=ail, after=falls_ill, lasts=is_ill)
        lasts, at_start = draw.uniform(0.1, KEPT_BUSY), not ail and draw.random() < 0.1
        acting: list[asyncio.Task[None]] = []
        try:
            if not at_start:
                await self.until_ready()
                lasts = KEPT_BUSY if step or ail else lasts
            until = asyncio.get_running_loop().time() + (
                draw.uniform(0, 0.3) if at_start else lasts
            )
            while (
                not victim.over.is_set() and (left := until - asyncio.get_running_loop().time()) > 0
            ):
                if not at_start:
                    acting.append(asyncio.create_task(self.something()))
                    await asyncio.sleep(draw.choice([0, 0.01, 0.05, 0.1]))
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, draw.choice([0.01, 0.05, 0.15]))):
                        await victim.over.wait()
            if ail:
                self.counts[f"lives in which {ail}"] += 1
                await asyncio.gather(*acting)
                await self.what_is_saved_is_shown(ail)
            code = await victim.end()
        finally:
            await asyncio.gather(*acting)
        self.mend()
        self.counts["crashes"] += 1
        if code != -signal.SIGKILL:
            self.wrong.append(f"ended with {code} by itself")

    async def what_is_saved_is_shown(self, ail: str) -> None:
        """Within five seconds of the end of what ailed it, the page has all that the file has."""
        path = self.world.folder / "monostat.db"
        until = asyncio.get_running_loop().time() + SHOWN_WITHIN
        saved = shown = 0
        while asyncio.get_running_loop().time() < until and not self.victim.over.is_set():
            saved = (await asyncio.to_thread(File.read, path)).memory.version.number
            with suppress(ClientError, OSError, ValueError, TimeoutError):
                shown = (await self.world.state())["version"]
            if shown >= saved:
                return
            await asyncio.sleep(0.1)
        if not self.victim.over.is_set():
            self.wrong.append(
                f"{ail}: version {saved} was saved, and {shown} is shown {SHOWN_WITHIN:g} s later"
            )

    async def until_ready(self) -> None:
        async with asyncio.timeout(120):
            waits = [
                asyncio.create_task(event.wait()) for event in (self.victim.ready, self.victim.over)
            ]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()

    async def calm(self) -> Audit:
        """A life without faults, until all has left; then the audit."""
        world, victim = self.world, self.victim
        path = world.folder / "monostat.db"
        victim.begin()
        await self.until_ready()
        for alert in [*world.opsgenie.alerts.values()]:
            if not alert.closed_at:
                world.opsgenie.close(alert.id)
        loop, rest = asyncio.get_running_loop(), "?"
        until = loop.time() + 60
        brought = False
        while rest and loop.time() < until and not victim.over.is_set():
            file = await asyncio.to_thread(File.read, path)
            for incident in file.incidents.values():
                if incident.status in ("confirmed", "watching"):
                    await self.act("resolve", incident.number)
                if incident.status == "planned":
                    await self.act("cancel", incident.number)
            for mail in file.mails:
                if mail.state == "failed":
                    await self.act("retry", mail.incident)
                elif mail.state == "held" and mail.not_before > datetime.now(UTC):
                    await self.act("send", mail.incident)
            await asyncio.sleep(0.2)
            brought = brought or await self.bring()
            rest = settled(await asyncio.to_thread(File.read, path)) if brought else "an import"
        state = await world.state() if not victim.over.is_set() else {}
        pages = [await world.page(f"/incidents/{number}") for number in OLD]
        code = await victim.end(signal.SIGTERM)
        audit = Audit(
            await asyncio.to_thread(File.read, path),
            world.rapidmail,
            world.slack,
            self.wrong,
            self.counts,
        )
        audit.need(not rest, f"after a minute of quiet it still had to tell {rest}")
        audit.need(code == 0, f"SIGTERM ended it with {code}")
        for number, page in zip(OLD, pages, strict=True):
            now_called = audit.file.incidents[number].title
            audit.need(now_called in page, f"the page of #{number} does not say {now_called!r}")
        audit.counts["old stories acted on"] += sum(map(audit.is_news, OLD))
        audit.mails()
        audit.channel()
        audit.history(ELSEWHERE)
        audit.record(self.accepted, self.refused, self.numbers)
        audit.page(state, self.versions)
        secrets = [
            world.slack.bot_token,
            world.slack.app_token,
            world.rapidmail.password,
            world.opsgenie.api_key,
        ]
        audit.words((world.folder / "log").read_text("utf-8", "replace"), secrets, path)
        shown = [text for text in self.versions.values() if SECRETS[0] in text]
        audit.need(not shown, "the feed has shown an alert's own words")
        return audit


@asynccontextmanager
async def prepared(folder: Path, seed: int) -> AsyncIterator[Torture]:
    """The vendors and the process that forks; the folder keeps database and log."""
    world, victim = World(folder), Victim(folder, free_port())
    await world.open()
    world.slack.patience = 0.4
    world.settings["site"]["update_every"] = 3600
    world.settings["opsgenie"] |= {"stale_after": 2, "reopen_within": 1}
    world.settings["slack"]["remind_after"] = [1, 2]
    world.settings["rapidmail"]["undo_window"] = 0.2
    (folder / "config.toml").write_text(toml(world.settings))
    world.url = f"http://127.0.0.1:{victim.port}"
    await old_stories(folder / "monostat.db")
    await victim.open()
    torture = Torture(world, victim, seed)
    watching = asyncio.create_task(torture.watch())
    try:
        yield torture
    finally:
        watching.cancel()
        for faults in torture.faults().values():
            faults.release()
        await victim.close()
        await world.close()


async def tortured(folder: Path, seed: int, rounds: int) -> tuple[Counter[str], Counter[str]]:
    """So many rounds on one database; raises Failed with all that is wrong, or counts what happened."""
    async with prepared(folder, seed) as torture:
        for _ in range(rounds):
            await torture.round()
        audit = await torture.calm()
    if audit.wrong:
        raise Failed(
            "\n".join([f"seed {seed}, {rounds} rounds, kept in {folder}:", *audit.wrong[:20]])
        )
    return audit.counts, torture.victim.reached


def run(rounds: int, seed: int) -> int:
    """Tortures one database after the other, prints what was counted, and keeps the folders of those that failed."""
    logging.getLogger("aiohttp.server").setLevel(
        logging.CRITICAL
    )  # the simulated vendors see their client die
    counts, reached, failed = Counter[str](), Counter[str](), 0
    for number, start in enumerate(range(0, rounds, PER_DATABASE)):
        folder = Path(tempfile.mkdtemp(prefix="torture-"))
        try:
            some, steps = asyncio.run(
                tortured(folder, seed + number, min(PER_DATABASE, rounds - start))
            )
        except Failed as error:
            failed += 1
            print(error, flush=True)
            continue
        counts, reached = counts + some, reached + steps
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        figures = ("crashes", "mails expected", "mails delivered", "duplicates", "losses")
        print(
            f"seed {seed + number}: clean; so far {', '.join(f'{counts[n]} {n}' for n in figures)}",
            flush=True,
        )
    for name, count in sorted(counts.items()):
        print(f"{count:8} {name}")
    for name, count in sorted(reached.items()):
        print(f"{count:8} killed at {name}")
    print(
        f"{failed} databases failed"
        if failed
        else f"clean: duplicates {counts['duplicates']}, losses {counts['losses']}"
    )
    return 1 if failed else 0
