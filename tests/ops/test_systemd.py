"""The real process under a manager that speaks as systemd does: sockets, credentials, signs of life, exit codes."""

import asyncio
import fcntl
import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from monostat import __version__
from monostat.ops import systemd
from monostat.ops.supervise import Loop, Watch
from monostat.vendor import nap, pause
from tests.daemon import daemon, free_port, run, toml
from tests.ops.tables import rename
from tests.waiting import eventually
from tests.world import World

#: What systemd does between fork and exec: the sockets from descriptor 3 on, and LISTEN_PID.
LAUNCH = """
import os, sys
given, command = sys.argv[1].split(","), [sys.executable, "-m", "monostat", *sys.argv[2:]]
for number, fd in enumerate(filter(None, given)):
    os.dup2(int(fd), 3 + number)
os.environ |= {"LISTEN_PID": str(os.getpid())} if sys.argv[1] else {}
os.execv(sys.executable, command)
"""


class Manager:
    """Runs `monostat serve` as systemd runs a service, and keeps what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal = folder, folder / "journal"
        self.journal.touch()
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.notified.bind(str(folder / "notify"))
        self.messages: list[str] = []
        found = self.journal.stat()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MONOSTAT_")}
        self.environ = clean | {
            "NOTIFY_SOCKET": str(folder / "notify"),
            "INVOCATION_ID": "c0ffee" * 5 + "00",
        }
        self.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"

    def said(self) -> list[str]:
        """All fields that were sent until now."""
        with suppress(BlockingIOError):
            while True:
                self.messages += self.notified.recv(4096).decode().splitlines()
        return self.messages

    async def hears(self, words: str, times: int = 1) -> None:
        await eventually(lambda: sum(words in field for field in self.said()) >= times)

    def logged(self) -> list[str]:
        return self.journal.read_text().splitlines()

    @asynccontextmanager
    async def service(
        self, settings: dict[str, Any], *sockets: tuple[str, socket.socket]
    ) -> AsyncIterator[Any]:
        """The process, ready; it is killed at the end if it still runs."""
        file = self.folder / "config.toml"
        file.write_text(toml(settings))
        given = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 20) for _, one in sockets]
        named = (
            {"LISTEN_FDS": str(len(given)), "LISTEN_FDNAMES": ":".join(name for name, _ in sockets)}
            if given
            else {}
        )
        before = self.said().count("READY=1")
        with self.journal.open("a") as journal:
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-c",
                    LAUNCH,
                    ",".join(map(str, given)),
                    "serve",
                    "--config",
                    str(file),
                ),
                cwd=self.folder,
                env=self.environ | named,
                stderr=journal,
                pass_fds=given,
            )
        for fd in given:
            os.close(fd)

        def ready() -> bool:
            assert process.returncode is None, self.logged()
            return self.said().count("READY=1") > before

        try:
            await eventually(ready)
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def manager(tmp_path: Path) -> Any:
    made = Manager(tmp_path)
    with closing(made.notified):
        yield made


async def end(process: Any) -> int:
    process.send_signal(signal.SIGTERM)
    code: int = await process.wait()
    return code


def listening() -> tuple[socket.socket, str]:
    one = socket.create_server(("127.0.0.1", 0), backlog=4096)
    return one, f"http://127.0.0.1:{one.getsockname()[1]}"


async def test_ready_is_said_when_the_page_can_be_read_whatever_the_vendors_do(
    world: World, manager: Manager
) -> None:
    for vendor in (world.slack, world.opsgenie, world.rapidmail):
        vendor.faults.fail_next(503, times=1000)
    one, url = listening()
    with one:
        async with manager.service(world.settings, ("http", one)) as process:
            async with world.http.get(url) as answer:
                assert answer.status == 200
            assert await end(process) == 0
    fields = [field for field in manager.said() if not field.startswith("STATUS=serving")]
    assert fields[0].startswith("EXTEND_TIMEOUT_USEC="), "a large database takes its time"
    assert [field for field in fields if not field.startswith("EXTEND")] == [
        "READY=1",
        "STOPPING=1",
        "STATUS=stopping",
    ]


async def test_the_status_line_says_what_is_going_on_and_names_nobody(
    world: World, manager: Manager
) -> None:
    one, url = listening()
    world.url = url
    with one:
        async with manager.service(world.settings, ("http", one)):
            await manager.hears(
                "STATUS=serving; open incidents: 0; viewers: 0; opsgenie: answers; slack: connected"
            )
            world.opsgenie.fire("disk full of ada@example.com")
            async with world.http.ws_connect(f"{url}/feed/v1"):
                await manager.hears(
                    "open incidents: 1; viewers: 1; opsgenie: answers; slack: connected"
                )
            assert "ada" not in str(manager.said())


async def test_the_watchdog_is_fed_only_while_the_database_answers(
    world: World, manager: Manager
) -> None:
    del world.settings["slack"], world.settings["rapidmail"], world.settings["opsgenie"]
    manager.environ |= {"WATCHDOG_USEC": "2200000"}
    one, url = listening()
    with one:
        async with manager.service(world.settings, ("http", one)):
            await manager.hears("WATCHDOG=1", 2)
            await rename(world, "facts", "lost")
            await eventually(
                lambda: any("the database does not answer" in line for line in manager.logged())
            )
            manager.said().clear()
            for count in range(3):  # each change of the status line is another second without food
                async with world.http.ws_connect(f"{url}/feed/v1"):
                    await manager.hears("viewers: 1", count + 1)
                await manager.hears("viewers: 0", count + 1)
            assert "WATCHDOG=1" not in manager.said()
            await rename(world, "lost", "facts")
            await manager.hears("WATCHDOG=1")
    assert sum("the database does not answer" in line for line in manager.logged()) == 1


async def test_a_loop_counts_as_stuck_only_when_it_is_overdue_and_withholds_only_where_it_is_vital() -> (
    None
):
    async def waits() -> None:
        await pause(asyncio.Event(), None)

    async def naps() -> None:
        await nap(3600)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def alive() -> bool:
        return True

    loops = [Loop(name=run.__name__, run=run) for run in (waits, naps, hangs)]
    loops.append(Loop(name="idle", run=hangs, vital=False))
    watch = Watch(loops=loops, alive=alive, says=lambda: "", grace=0.0)
    tasks = [asyncio.create_task(loop.supervised(Random(1))) for loop in loops]
    await eventually(lambda: watch.stuck() == ["hangs", "idle"])
    assert await watch.troubles() == ["hangs is stuck"]
    assert watch.checks() == ["waits: runs", "naps: runs", "hangs: stuck", "idle: stuck"]
    for task in tasks:
        task.cancel()


async def test_a_loop_that_fails_is_seen_and_is_not_stuck_while_it_waits_for_its_next_try() -> None:
    async def fails() -> None:
        raise ValueError("a bug")

    async def alive() -> bool:
        return True

    loop = Loop(name="fails", run=fails)
    task = asyncio.create_task(loop.supervised(Random(1)))
    watch = Watch(loops=[loop], alive=alive, says=lambda: "", grace=0.0)
    await eventually(lambda: loop.restarts)
    assert (watch.checks(), await watch.troubles()) == (["fails: restarting"], [])
    task.cancel()


async def test_passed_sockets_are_used_instead_of_those_of_the_settings_and_outlive_us(
    world: World, manager: Manager
) -> None:
    port = free_port()
    world.settings["server"] = {"listen": [f"127.0.0.1:{port}"]}
    path = world.folder / "http.sock"
    one, url = listening()
    with one, socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        async with manager.service(world.settings, ("http", one), ("http", other)) as process:
            async with world.http.get(url) as answer:
                assert answer.status == 200
            unix = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
            async with unix, unix.get("http://status/") as answer:
                assert answer.status == 200
            with pytest.raises(aiohttp.ClientConnectorError):
                await world.http.get(f"http://127.0.0.1:{port}")
            assert await end(process) == 0
        assert path.exists()
    assert any(f"used instead of 127.0.0.1:{port}" in line for line in manager.logged())
    served = f"is served on {url}, http://unix:{path}; the database is "
    assert any(served in line for line in manager.logged())


async def test_sockets_and_a_watchdog_that_are_meant_for_another_process_are_left_alone(
    world: World, manager: Manager
) -> None:
    port = free_port()
    world.settings["server"] = {"listen": [f"127.0.0.1:{port}"]}
    manager.environ |= {
        "LISTEN_PID": "1",
        "LISTEN_FDS": "1",
        "WATCHDOG_USEC": "2200000",
        "WATCHDOG_PID": "1",
    }
    async with manager.service(world.settings):
        async with world.http.get(f"http://127.0.0.1:{port}") as answer:
            assert answer.status == 200
        await manager.hears("slack: connected")
    assert "WATCHDOG=1" not in manager.said()


async def test_a_restart_under_load_refuses_no_connection(world: World, manager: Manager) -> None:
    one, url = listening()
    seen: list[int] = []
    stop = asyncio.Event()

    async def visit() -> None:
        """A new connection for every request, as fast as one visitor can."""
        while not stop.is_set():
            connector = aiohttp.TCPConnector(force_close=True)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get(url) as answer,
            ):
                seen.append(answer.status)

    async def seen_more() -> None:
        wanted = len(seen) + 50
        await eventually(lambda: len(seen) > wanted)

    with one:
        async with asyncio.TaskGroup() as visitors:
            for lives in range(3):
                async with manager.service(world.settings, ("http", one)) as process:
                    if not lives:
                        for _ in range(20):
                            visitors.create_task(visit())
                    await seen_more()
                    if lives == 2:
                        stop.set()
                        await seen_all(visitors)
                    assert await end(process) == 0
    assert set(seen) == {200}


async def seen_all(visitors: asyncio.TaskGroup) -> None:
    await eventually(lambda: not [t for t in asyncio.all_tasks() if "visit" in repr(t.get_coro())])


async def test_secrets_come_from_credentials_and_files_lie_in_the_first_folder_of_each_list(
    world: World, manager: Manager
) -> None:
    credentials, state, runtime = (
        world.folder / name for name in ("credentials", "state", "runtime")
    )
    for folder in (credentials, state, runtime):
        folder.mkdir()
    for section, key in (("slack", "bot_token"), ("slack", "app_token"), ("opsgenie", "api_key")):
        secret = credentials / f"monostat_{section}__{key}"
        secret.write_text(world.settings[section].pop(key) + "\n")
        secret.chmod(0o440)
    del world.settings["database"]
    manager.environ |= {"CREDENTIALS_DIRECTORY": str(credentials)}
    manager.environ |= {
        "STATE_DIRECTORY": f"{state}:/nowhere",
        "RUNTIME_DIRECTORY": f"{runtime}:/nowhere",
    }
    one, _ = listening()
    with one:
        async with manager.service(world.settings, ("http", one)):
            await eventually(lambda: world.slack.connections)
            await manager.hears("opsgenie: answers")
            assert (state / "monostat.db").exists()
            assert (runtime / "monostat.sock").exists()


async def test_what_leaves_for_the_vendors_passes_the_proxy_of_the_environment(
    world: World, manager: Manager
) -> None:
    asked: set[str] = set()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.add((await reader.readline()).decode().split(" HTTP")[0])
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        writer.close()

    for section, url in (
        ("opsgenie", "https://monitoring.test"),
        ("slack", "https://slack.test/api/"),
    ):
        world.settings[section]["url"] = url
    one, _ = listening()
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        manager.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        with one:
            async with manager.service(world.settings, ("http", one)):
                await eventually(
                    lambda: asked == {"CONNECT monitoring.test:443", "CONNECT slack.test:443"},
                    within=30,
                )


async def test_the_journal_gets_a_priority_on_every_line_and_no_secret(
    world: World, manager: Manager
) -> None:
    world.rapidmail.faults.fail_next(503, times=1000)
    one, _ = listening()
    with one:
        async with manager.service(world.settings, ("http", one)) as process:
            for nonsense in (
                b"GET /\xff HTTP/1.1\r\n\r\n",
                b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
            ):
                reader, writer = await asyncio.open_connection(*one.getsockname())
                writer.write(nonsense)
                assert b" 400 " in await reader.readline()
                writer.close()
            process.send_signal(signal.SIGHUP)
            await eventually(lambda: any("SIGHUP" in line for line in manager.logged()))
            process.send_signal(signal.SIGHUP)
            world.opsgenie.fire("disk full")
            await eventually(lambda: world.slack.timeline())
            await world.tap("verb:confirm:outage")
            await eventually(
                lambda: any(line.startswith("<4>Rapidmail: ") for line in manager.logged()),
                within=30,
            )
            world.opsgenie.faults.fail_next(500, times=1000)
            await eventually(
                lambda: any(line.startswith("<4>OpsGenie: ") for line in manager.logged()),
                within=30,
            )
            assert await end(process) == 0
    lines = manager.logged()
    assert all(re.match("<[3467]>", line) for line in lines), lines
    for part in (
        __version__,
        "config.toml",
        "c0ffee",
        "http://127.0.0.1",
        str(world.folder / "monostat.db"),
    ):
        assert part in "\n".join(
            line for line in lines if " starts " in line or " is served " in line
        )
    assert not [
        line for line in lines if "Traceback" in line or "ERROR" in line or line.startswith("<3>")
    ]
    for once in (
        "SIGHUP",
        "<6>incident 1: opened",
        "<6>incident 1: confirmed by Ada, severity='outage'",
        "OpsGenie: ",
    ):
        assert sum(once in line for line in lines) == 1, (once, lines)
    for secret in (
        world.slack.bot_token,
        world.slack.app_token,
        world.opsgenie.api_key,
        world.rapidmail.password,
    ):
        assert secret not in "\n".join(lines)


async def test_whoever_still_waits_for_a_vendor_when_it_stops_gets_an_answer(
    world: World, manager: Manager
) -> None:
    one, url = listening()
    world.rapidmail.faults.hang(path="/recipients")

    async def visit() -> int:
        async with world.http.post(f"{url}/subscribe", data={"email": "ada@example.com"}) as answer:
            return answer.status

    with one:
        async with manager.service(world.settings, ("http", one)) as process:
            visitor = asyncio.create_task(visit())
            await eventually(lambda: "/recipients" in str(world.rapidmail.faults.requests))
            assert await end(process) == 0
            assert await visitor == 503


async def test_a_second_sigterm_ends_it_at_once(world: World, manager: Manager) -> None:
    one, url = listening()
    world.rapidmail.faults.hang(path="/recipients")
    with one:
        async with manager.service(world.settings, ("http", one)) as process:
            visitor = asyncio.create_task(subscribe(world, url))
            await eventually(
                lambda: any("/recipients" in one for one in world.rapidmail.faults.requests)
            )
            process.send_signal(signal.SIGTERM)
            await eventually(lambda: "STOPPING=1" in manager.said())
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 1
            with pytest.raises(aiohttp.ClientError):
                await visitor


async def subscribe(world: World, url: str) -> None:
    async with world.http.post(f"{url}/subscribe", data={"email": "ada@example.com"}):
        pass


def corrupt(world: World) -> None:
    (world.folder / "monostat.db").write_bytes(b"no database" * 500)


def nonsense(world: World) -> None:
    """A database as no monostat writes it."""
    with closing(sqlite3.connect(world.folder / "monostat.db")) as db:
        db.executescript("PRAGMA user_version = 1; CREATE TABLE facts (kind, key, body)")
        db.execute("INSERT INTO facts VALUES ('Memory', 0, '{}')")
        db.commit()


def crowded(world: World) -> None:
    world.settings["server"] = {
        "listen": [world.settings["opsgenie"]["url"].removeprefix("http://")]
    }


def unlisted(world: World) -> None:
    world.settings["database"] = {"path": str(world.folder / "nowhere" / "monostat.db")}


def unknown(world: World) -> None:
    world.settings["site"]["colour"] = "red"


@pytest.mark.parametrize(
    ("prepare", "code", "words"),
    [
        (corrupt, 65, "restore a backup"),
        (crowded, 69, "server.listen"),
        (nonsense, 70, "report"),
        (unlisted, 77, "must exist and be writable"),
        (unknown, 78, "site.colour"),
    ],
)
async def test_each_way_to_fail_has_its_exit_code_and_says_what_to_do(
    world: World, prepare: Callable[[World], None], code: int, words: str
) -> None:
    world.settings["server"] = {"listen": [f"127.0.0.1:{free_port()}"]}
    prepare(world)
    (world.folder / "config.toml").write_text(toml(world.settings))
    found, said = await run(world.folder, "serve")
    assert (found, words in said) == (code, True), said


def test_what_may_not_be_read_exits_77(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become somebody who may not read a file")
    tmp_path.chmod(0o755)
    file = tmp_path / "config.toml"
    file.write_text('[site]\nname = "X"\nurl = "http://x"\n')
    file.chmod(0o600)
    code = "import os, sys, monostat.ops.cli, monostat.store; os.setuid(65534)\n"
    code += "sys.argv = ['monostat', 'check']; monostat.ops.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, b"make it readable" in done.stderr) == (77, True), done.stderr
    (tmp_path / "kept").mkdir(mode=0o700)
    file.write_text(
        f'[site]\nname = "X"\nurl = "http://x"\n[database]\npath = "{tmp_path}/kept/monostat.db"\n'
    )
    file.chmod(0o644)
    code = code.replace("'check'", "'backup', 'copy.db', '--config', 'config.toml'")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, b"run this as root" in done.stderr) == (77, True), done.stderr


def logged(*words: object, journal: bool, error: BaseException | None = None) -> list[str]:
    """The lines that a record with these words becomes."""
    about = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(
        "monostat", logging.ERROR, __file__, 1, "incident 1: %s", words, about
    )
    return systemd.LineFormatter(journal=journal).format(record).split("\n")


FORGED = "<3>2026-11-24T10:00:00.000Z ERROR incident 7: resolved by Eve"
STEERING = [
    "\x1b[2J",
    "\x9b2J",
    "\x00\x07\x08\x7f",
    "\u202egnp.exe\u202c",
    "\u2066\u2069",
    f"x\n{FORGED}",
]
STEERING += [
    f"x{end}{FORGED}" for end in ("\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029")
]


@pytest.mark.parametrize("words", STEERING, ids=ascii)
@pytest.mark.parametrize("journal", [False, True], ids=["terminal", "journal"])
def test_no_words_can_steer_the_reader_of_the_log_or_forge_a_line_of_it(
    words: str, journal: bool
) -> None:
    (line,) = logged(words, journal=journal)
    assert line.isprintable()
    assert line.endswith(words.encode("unicode_escape").decode())


@pytest.mark.parametrize("words", STEERING, ids=ascii)
@pytest.mark.parametrize("journal", [False, True], ids=["terminal", "journal"])
def test_no_words_of_an_exception_can_either(words: str, journal: bool) -> None:
    error = RuntimeError(words)
    error.add_note(words)
    lines = logged("failed", journal=journal, error=error)
    first, *more = (line.removeprefix("<3>") if journal else line for line in lines)
    assert first.endswith("incident 1: failed")
    assert "Traceback" not in first
    assert len(more) >= 2
    assert all(line.startswith("  ") and line.isprintable() for line in more)
    assert not journal or all(line.startswith("<3>") for line in lines)


async def test_a_person_whose_name_would_steer_a_terminal_is_in_the_journal_as_an_escape(
    world: World, manager: Manager
) -> None:
    one, _ = listening()
    with one:
        async with manager.service(world.settings, ("http", one)):
            await world.act("create", title="Slow", by=f"Eve\x9b2J\u202e\x85{FORGED}")
            await eventually(lambda: "by Eve" in manager.journal.read_text())
    text = manager.journal.read_text()
    assert [c for c in text if not (c.isprintable() or c == "\n")] == []
    assert sum("incident 7" in line for line in manager.logged()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user whom nobody knows")
async def test_a_user_whom_nobody_knows_and_who_has_no_home_reaches_slack(world: World) -> None:
    """As with DynamicUser= where libnss-systemd is not installed, and in containers."""
    become = "import os, sys; os.setresuid(54321, 0, 0); os.environ.pop('HOME', None)"
    within = (sys.executable, "-c", f"{become}; os.execv(sys.argv[1], sys.argv[1:])")
    async with daemon(world, within=within):
        await eventually(lambda: world.slack.connections)


def test_how_much_is_logged_is_a_setting_and_no_library_says_more_than_what_is_worth_knowing() -> (
    None
):
    ours, all_of_it = logging.getLogger("monostat"), logging.getLogger()
    before = ours.level, all_of_it.level
    try:
        found = []
        for name, environ in (
            ("info", {}),
            ("debug", {}),
            ("warning", {}),
            ("error", {"DEBUG_INVOCATION": "1"}),
        ):
            systemd.set_level(name, environ)
            found.append((ours.level, all_of_it.level))
    finally:
        ours.setLevel(before[0])
        all_of_it.setLevel(before[1])
    assert found == [
        (logging.INFO, logging.INFO),
        (logging.DEBUG, logging.INFO),
        (logging.WARNING, logging.WARNING),
        (logging.DEBUG, logging.INFO),
    ]
