"""What the past costs: the same 60 incidents of the last year, alone and with 5,000 older ones.

`python -m benchmarks.growing DATABASE` measures the application on one database, in a process of
its own, and prints what it found as JSON.
"""

import asyncio
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

from aiohttp import web

from monostat.app import make_app
from monostat.config import Config
from monostat.core.events import Act, AlertsSeen, Changes
from monostat.core.model import (
    Alert,
    Change,
    Entry,
    Incident,
    Mail,
    MailState,
    Severity,
    Status,
    Update,
)
from monostat.engine import Engine
from monostat.facts import Version
from monostat.ops.metrics import TELEMETRY
from monostat.public.live.fastpath import Runner
from monostat.store import open_store

RECENT = 60
OLDER = 5000
YEAR = timedelta(days=365)
DOCUMENTS = ("/history.atom", "/history", "/api/v2/incidents.json")
SENTENCE = "We are looking into it, and know what is slow. "


async def growing(folder: Path) -> dict[str, float]:
    """Each cost with RECENT incidents, and "(grown)" with OLDER more."""
    found: dict[str, float] = {}
    for name, older in (("", 0), (" (grown)", OLDER)):
        database = folder / f"past-{older}.db"
        if not database.exists():
            await write(database, older)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.growing", str(database)),
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {0}),
        )
        out, _ = await process.communicate()
        found |= {f"{key}{name}": value for key, value in json.loads(out).items()}
    grown, alone = found["private kB (grown)"], found["private kB"]
    return found | {"kB/past incident": (grown - alone) / OLDER}


# -- The database


async def write(path: Path, older: int) -> None:
    """Years of incidents that are over, with all that belongs to each; half of the older ones came
    from elsewhere.
    """
    now = datetime.now(UTC)
    async with open_store(path, now=now - 10 * YEAR, has_slack=False) as store:
        state, _ = await store.load(now=now)
        times = [now - YEAR - 9 * YEAR * (older - n) / older for n in range(older)]
        times += [now - YEAR * (RECENT - n) / (RECENT + 1) for n in range(RECENT)]
        made = [one_that_is_over(number, at) for number, at in enumerate(times, 1)]
        state.incidents_made = len(made)
        state.updates_made = 6 * len(made)
        incidents = [incident for incident, *_ in made]
        incidents[:older:2] = [from_elsewhere(incident) for incident in incidents[:older:2]]
        change = Change(
            state=state,
            incidents=tuple(incidents),
            alerts=tuple(alert for _, alert, _, _ in made),
            mails=tuple(mail for _, _, mail, _ in made),
            entries=tuple(entry for *_, entries in made for entry in entries),
            monitoring=True,
        )
        await store.save(change, Version(number=1, at=now))


def from_elsewhere(incident: Incident) -> Incident:
    source = f"statuspage:{incident.number}"
    return replace(incident, imported_from=source, as_it_came=True, status_entry=0)


def one_that_is_over(number: int, at: datetime) -> tuple[Incident, Alert, Mail, list[Entry]]:
    over = at + timedelta(hours=2)
    statuses = [Status.SUSPECTED, *[Status.CONFIRMED] * 4, Status.RESOLVED]
    updates = tuple(
        Update(
            id=6 * number + n - 5,
            incident=number,
            status=status,
            severity=Severity.PARTIAL,
            at=over if status is Status.RESOLVED else at + timedelta(minutes=n),
            text=f"Update {n}: " + SENTENCE * 4,
            by="Ada",
        )
        for n, status in enumerate(statuses)
    )
    incident = Incident(
        number=number,
        title=f"Checkout is slow ({number})",
        severity=Severity.PARTIAL,
        status=Status.RESOLVED,
        status_at=over,
        status_by="Ada",
        status_entry=6 * number,
        started_at=at,
        ended_at=over,
        noticed_at=at,
        confirmed_at=at + timedelta(minutes=1),
        created_at=at,
        updated_at=over,
        reminded_at=over,
        announced_at=at + timedelta(minutes=2),
        updates=updates,
    )
    alert = Alert(
        id=f"alert-{number}",
        message="disk full",
        created_at=at,
        closed_at=over,
        incident=number,
        joined=6 * number - 4,
    )
    mail = Mail(
        key=f"bench:mail:{number}:resolved:{6 * number}",
        incident=number,
        update=6 * number,
        entry=6 * number,
        at=over,
        not_before=over,
        state=MailState.SENT,
        letter=SENTENCE * 60,
    )
    kinds = ("opened", "joined", "confirmed", "updated", "mail_sent", "resolved")
    entries = [
        Entry(id=6 * number + n - 5, incident=number, at=at, kind=kind, by="Ada")
        for n, kind in enumerate(kinds)
    ]
    return incident, alert, mail, entries


# -- What is measured, in a process of its own


async def measured(database: Path) -> dict[str, float]:
    """Milliseconds of CPU, and kB."""
    shutil.copy(database, f"{database}.run")
    config = {
        "site": {"name": "Example", "url": "http://127.0.0.1"},
        "database": {"path": f"{database}.run"},
    }
    app = make_app(Config.model_validate(config))
    runner = Runner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    await asyncio.to_thread(read, base, "/")
    found = {"CPU ms of a start": 1e3 * time.process_time()}  # of the process's, from its beginning
    found["private kB"] = private()
    engine = app[TELEMETRY].engine
    await asyncio.sleep(1)
    found["CPU ms of a change"] = await cost(changes(engine), 40)
    found["CPU ms of a poll that brings no news"] = await cost(polls(engine), 400)
    for path in DOCUMENTS:
        found[f"CPU ms of the first {path}"] = await first(engine, base, path)
    await runner.cleanup()
    return found


async def cost(events: Iterator[tuple[Engine, Act | AlertsSeen]], many: int) -> float:
    """Milliseconds of CPU for one of so many events; the first is not counted."""
    for number, (engine, event) in enumerate(events):
        if number == 1:
            began = time.process_time()
        if number > many:
            break
        await engine.submit(event)
    return 1e3 * (time.process_time() - began) / many


def changes(engine: Engine) -> Iterator[tuple[Engine, Act]]:
    yield engine, Act(at=engine.now(), verb="create", by="bench", title="Slow")
    number = engine.state.incidents_made
    for letter in range(1000):
        renamed = Changes(title=f"Slow ({letter:03})")
        at = engine.now()
        yield engine, Act(at=at, verb="edit", by="bench", incident=number, changes=renamed)


def polls(engine: Engine) -> Iterator[tuple[Engine, AlertsSeen]]:
    while True:
        yield engine, AlertsSeen(at=engine.now(), open=(), source="bench")


async def first(engine: Engine, base: str, path: str) -> float:
    """The least of nine: the CPU of whoever reads first after a change, and of the answer."""
    took = []
    number = engine.state.incidents_made
    for letter in range(9):
        renamed = Changes(title=f"{path} ({letter})")
        at = engine.now()
        await engine.submit(Act(at=at, verb="edit", by="bench", incident=number, changes=renamed))
        began = time.process_time()
        await asyncio.to_thread(read, base, path)
        took.append(time.process_time() - began)
    return 1e3 * min(took)


def read(base: str, path: str) -> bytes:
    answer: bytes = urlopen(base + path).read()
    return answer


def private() -> float:
    """kB that are this process's own."""
    found = re.search(r"Pss_Anon:\s+(\d+)", Path("/proc/self/smaps_rollup").read_text())
    assert found
    return float(found[1])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(Path(sys.argv[1])))))
