"""The same verbs without Slack: `monostat incident` against the real daemon."""

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, UnixConnector, web

from monostat.loading import Settings
from monostat.ops.daemon import control_sockets, database_of
from tests.daemon import daemon, toml
from tests.ops.commands import shell
from tests.waiting import eventually
from tests.world import World


@pytest.fixture(autouse=True)
def as_ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ada sits at a shell in the folder of the configuration."""
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.chdir(tmp_path)


async def process(folder: Path, *words: str) -> tuple[int | None, str, str]:
    """The same as a process; secrets are not in its environment."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MONOSTAT_")} | {
        "SUDO_USER": "ada"
    }
    pipes: dict[str, Any] = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    command = (sys.executable, "-m", "monostat", *words)
    begun = await asyncio.create_subprocess_exec(*command, cwd=folder, env=clean, **pipes)
    out, err = await begun.communicate()
    return begun.returncode, out.decode(), err.decode()


@asynccontextmanager
async def beside(world: World) -> AsyncIterator[None]:
    """The daemon runs, in this process, by the configuration that the shell finds."""
    await asyncio.to_thread((world.folder / "config.toml").write_text, toml(world.settings))
    await world.start()
    yield
    await world.stop()


async def says(world: World, *words: str) -> str:
    code, out, err = await shell("incident", *words)
    assert (code, err) == (0, ""), err
    return out


async def test_with_slack_off_an_incident_is_created_updated_and_resolved_live_on_the_page(
    world: World,
) -> None:
    del world.settings["slack"]
    async with daemon(world), world.http.ws_connect(f"{world.url}/feed/v1") as feed:
        await feed.receive_json(timeout=30)
        assert "#1" in await says(world, "create", "Checkout is slow", "--severity", "outage")
        await shows(feed, "Checkout is slow")
        await says(world, "update", "1", "We found it.")
        await shows(feed, "We found it.")
        await says(world, "resolve", "1", "It is over.", "--no-mail")
        assert (await world.becomes("resolved"))["updates"][0]["text"] == "It is over."
        page = await world.page()
        assert all(words in page for words in ("Checkout is slow", "We found it.", "It is over."))
        assert "ada" not in page
        assert await says(world, "list") == "Nothing is open or planned.\n"
        listed = json.loads(await says(world, "list", "--all", "--json"))
        assert [(i["id"], i["state"]) for i in listed] == [("1", "resolved")]


async def shows(feed: ClientWebSocketResponse, words: str) -> None:
    """Waits until the feed says so."""
    while words not in await feed.receive_str(timeout=30):
        pass


async def test_every_verb_of_the_shell_reaches_the_daemon(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    async with beside(world):
        world.opsgenie.fire("disk full")
        await world.becomes("suspected")
        await says(world, "dismiss", "1")
        await says(world, "undo", "1")
        await says(world, "confirm", "1", "--severity", "partial", "--no-mail")
        await says(world, "watch", "1", "A fix is in.")
        await says(world, "not-fixed", "1")
        await says(
            world,
            "edit",
            "1",
            "--title",
            "Slow",
            "--severity",
            "bug",
            "--silent",
            "yes",
            "--summary",
            "S",
        )
        incident = await world.incident()
        assert (incident["title"], incident["severity"], incident["summary"]) == (
            "Slow",
            "bug",
            "S",
        )
        await says(world, "send", "1")
        await says(world, "resolve", "1")
        await says(world, "reopen", "1")
        planned = await says(
            world,
            "plan",
            "Move",
            "--start",
            "2099-01-01T10:00",
            "--end",
            "2099-01-01T11:00",
            "--ask",
        )
        assert "#2" in planned
        await says(world, "postpone", "2")
        assert (await world.incident(2))["planned_start"] == "2099-01-01T10:30:00.000Z"
        await says(
            world, "edit", "2", "--start", "2099-01-02T10:00+02:00", "--end", "2099-01-02T12:00"
        )
        assert (await world.incident(2))["planned_start"] == "2099-01-02T08:00:00.000Z"
        await says(world, "start", "2")
        await says(world, "extend", "2")
        shown = await says(world, "show", "2")
        assert "Under way" in shown
        assert json.loads(await says(world, "show", "2", "--json"))["state"] == "confirmed"
        assert any("ada (shell)" in line for line in await eventually(lambda: written(world)))


def written(world: World) -> list[str]:
    """What Slack's threads say, once the shell's last change is among them."""
    lines = [m.text for m in world.slack.messages]
    return lines if any("extended" in line for line in lines) else []


async def test_what_cannot_be_is_refused_with_its_sentence_and_exit_code(world: World) -> None:
    async with beside(world):
        await says(world, "create", "It", "--no-mail")
        cases: list[tuple[tuple[str, ...], int, str]] = [
            (("dismiss", "1"), 1, "not possible now"),
            (("watch", "9"), 1, "There is no incident #9"),
            (("show", "9"), 1, "There is no incident #9"),
            (("edit", "1", "--title", " "), 1, "needs a title"),
            (
                ("plan", "Move", "--start", "2001-01-01T10:00", "--end", "2099-01-01T11:00"),
                1,
                "in the past",
            ),
            (("plan", "Move", "--start", "tomorrow", "--end", "2099-01-01T11:00"), 64, "--start"),
            (("update", "one", "words"), 64, "number"),
            (("conquer", "1"), 64, "conquer"),
        ]
        for words, code, sentence in cases:
            found, _, err = await shell("incident", *words)
            assert (found, sentence in err) == (code, True), (words, err)
    ended, _, err = await process(world.folder, "incident", "list")
    assert (ended, "monostat serve" in err) == (69, True), err


async def test_show_tells_all_in_the_zone_of_the_site_and_every_verb_says_what_it_did(
    world: World,
) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    world.settings["site"]["timezone"] = "Asia/Kolkata"
    async with beside(world):
        made = await says(
            world, "create", "It", "--severity", "outage", "--summary", "Only new orders."
        )
        assert made.startswith("Published: #1  🔴 Confirmed · Outage · It  (since 20")
        shown = await says(world, "show", "1")
        assert "Only new orders." in shown
        assert "Mail held, due 20" in shown
        assert shown.count(" IST") >= 3
        assert "UTC" not in shown
        await says(world, "edit", "1", "--silent", "yes")
        assert "Silent: no mails." in await says(world, "show", "1")
        await says(
            world, "plan", "Move", "--start", "2099-01-01T10:00", "--end", "2099-01-01T11:00"
        )
        cancelled = await says(world, "cancel", "2")
        assert cancelled.startswith("Cancelled: #2")
        assert "(2099-01-01 10:00:00 IST to 2099-01-01 11:00:00 IST)" in cancelled
        _, _, err = await shell("incident", "cancel", "2")
        assert " IST" in err


async def test_an_unknown_zone_ends_with_the_sentence_of_check(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[site]\nname = "X"\nurl = "http://x"\ntimezone = "Europe/Nowhere"\n'
    )
    checked = await shell("check")
    assert (checked[0], "site.timezone" in checked[2]) == (78, True)
    assert await shell("incident", "list") == checked


async def test_a_created_incident_that_is_undone_is_gone(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 60
    async with beside(world):
        await says(world, "create", "It")
        assert "gone" in await says(world, "undo", "1")
        assert await world.incident() == {}


async def test_the_control_socket_is_its_users_alone_and_answers_nonsense_with_a_sentence(
    world: World,
) -> None:
    await world.start()
    path = world.folder / "monostat.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with ClientSession(connector=UnixConnector(str(path))) as session:
        bodies: tuple[Any, ...] = (
            None,
            [],
            {},
            {"verb": "conquer", "by": "x"},
            {"verb": "watch", "by": "x", "incident": "one"},
        )
        for body in (*bodies, {"verb": "create", "by": "x", "title": ["a"]}):
            async with session.post("http://monostat/act", json=body) as answer:
                assert (await answer.json())["refused"], body
        async with session.post("http://monostat/act", data=b"\xff{") as answer:
            assert (await answer.json())["refused"]
    assert (await world.state())["open"] == []


async def test_the_manifest_needs_no_config_and_asks_for_what_is_used(tmp_path: Path) -> None:
    code, out, err = await process(tmp_path, "slack-manifest")
    assert (code, err) == (0, "")
    manifest = json.loads(out)
    assert manifest["settings"]["socket_mode_enabled"]
    assert "request_url" not in out
    (tmp_path / "config.toml").write_text('[site]\nname = "X"\n[slack]\ncommand = "/outage"\n')
    _, out, _ = await shell("slack-manifest")
    assert json.loads(out)["features"]["slash_commands"][0]["command"] == "/outage"


async def test_a_second_daemon_does_not_take_the_control_socket_of_the_first(world: World) -> None:
    async with daemon(world):
        await says(world, "create", "It", "--no-mail")
        other = world.folder / "other.toml"
        other.write_text(
            '[site]\nname = "X"\nurl = "http://x"\n[database]\npath = "other.db"\n[server]\nlisten = ["127.0.0.1:0"]\n'
        )
        code, _, err = await process(world.folder, "serve", "--config", "other.toml")
        assert (code, "server.control_socket" in err) == (75, True), err
        assert "#1" in await says(world, "list")


@asynccontextmanager
async def impostor(folder: Path, words: str) -> AsyncIterator[None]:
    """Something listens at the control socket, and has these words in all that it says."""
    at = "2026-11-24T10:00:00Z"
    incident = {
        "id": "1",
        "state": "confirmed",
        "words": words,
        "url": words,
        "summary": words,
        "silent": True,
        "imported_from": words,
        "started_at": at,
        "ended_at": None,
        "planned_start": None,
        "planned_end": None,
        "mails": [{"state": "failed", "due": at, "error": words}],
        "updates": [{"at": at, "state": words, "text": words}],
    }

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(
            [incident] if request.method == "GET" else {"refused": words, "number": 1}
        )

    app = web.Application()
    app.add_routes([web.get("/incidents{_:.*}", answer), web.post("/act", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await asyncio.to_thread((folder / "config.toml").touch)
    try:
        await web.UnixSite(runner, str(folder / "monostat.sock")).start()
        yield
    finally:
        await runner.cleanup()


STEERING = [
    "\x1b]0;owned\x07",
    "\x9b2J",
    "\r\x7f\x08gone",
    "\u202egnp.exe",
    "two\u2028lines",
    "half \udcff",
    "a\x00b",
]


@pytest.mark.parametrize("words", STEERING, ids=ascii)
async def test_a_terminal_is_never_steered_by_what_a_daemon_says(
    tmp_path: Path, words: str
) -> None:
    async with impostor(tmp_path, f"Say {words} so"):
        for command in (
            ["list"],
            ["show", "1"],
            ["watch", "1"],
            ["list", "--json"],
            ["show", "1", "--json"],
        ):
            code, out, err = await shell("incident", *command)
            assert code == (1 if command[0] == "watch" else 0)
            assert [c for c in out + err if not (c.isprintable() or c == "\n")] == []
            assert "Say " in out + err
            if "--json" in command:
                said = json.loads(out)
                assert words in (said[0] if command[0] == "list" else said)["words"]
            else:
                assert words.encode("unicode_escape").decode() in out + err


async def test_a_second_line_of_an_update_cannot_be_taken_for_another_update(
    tmp_path: Path,
) -> None:
    forged = "2026-11-24 10:00:00 UTC  resolved: It is over."
    async with impostor(tmp_path, f"We look.\n{forged}"):
        _, out, _ = await shell("incident", "show", "1")
    assert f"We look.\n    {forged}" in out
    assert forged not in out.split("\n")


async def test_what_a_file_is_called_never_steers_a_terminal(tmp_path: Path) -> None:
    name = "\x1b[2J\nall is well"
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / name).write_text('[site]\nnam = "X"\n')
    (tmp_path / "database.toml").write_text(f"[database]\npath = {json.dumps(name)}\n")
    (tmp_path / "socket.toml").write_text(f"[server]\ncontrol_socket = {json.dumps(name)}\n")
    for command in (
        ("check", "--config", f"settings/{name}"),
        ("incident", "list", "--config", "socket.toml"),
        ("backup", "copy.db", "--config", "database.toml"),
    ):
        code, out, err = await shell(*command)
        assert code
        assert "\\x1b[2J\\nall is well" in out + err
        assert "\x1b" not in out + err


NOBODY = 65534
LISTENS = """
import http.server, os, socketserver, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    def address_string(self):
        return "a shell"

os.chdir(sys.argv[1])
server = socketserver.UnixStreamServer("monostat.sock", Answer)
os.chmod("monostat.sock", 0o666)
print("listens", flush=True)
server.serve_forever()
"""


@asynccontextmanager
async def somebody_else(folder: Path) -> AsyncIterator[None]:
    """Another user answers at a control socket there."""
    command = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    python = (
        shutil.which("python3", path="/usr/bin:/bin") or sys.executable,
        "-c",
        LISTENS,
        str(folder),
    )
    pipes: dict[str, Any] = {
        "stdout": asyncio.subprocess.PIPE,
        "stderr": asyncio.subprocess.DEVNULL,
    }
    listener = await asyncio.create_subprocess_exec(*command, *python, cwd="/", **pipes)
    assert listener.stdout
    try:
        assert await listener.stdout.readline() == b"listens\n"
        yield
    finally:
        listener.kill()
        await listener.wait()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may write in."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        yield Path(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("owner", [0, NOBODY], ids=["a folder for all", "their own folder"])
async def test_a_shell_says_nothing_to_somebody_else_who_listens_where_one_happens_to_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, public: Path, owner: int
) -> None:
    os.chown(public, owner, owner)
    (tmp_path / "config.toml").touch()
    monkeypatch.chdir(public)
    async with somebody_else(public):
        code, _, err = await shell("incident", "list", "--config", str(tmp_path / "config.toml"))
    assert (code, f"monostat.sock (user {NOBODY} listens there)" in err) == (69, True), err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_root_speaks_to_the_services_own_user_whose_folder_the_configuration_names(
    monkeypatch: pytest.MonkeyPatch, public: Path
) -> None:
    monkeypatch.setenv("MONOSTAT_SERVER__CONTROL_SOCKET", str(public / "monostat.sock"))
    os.chown(public, NOBODY, NOBODY)
    async with somebody_else(public):
        assert await shell("incident", "list") == (0, "Nothing is open or planned.\n", "")
        os.chown(public, 1, 1)
        code, _, err = await shell("incident", "list")
    assert (code, f"monostat.sock (user {NOBODY} listens there)" in err) == (69, True), err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_root_reads_no_configuration_that_another_user_could_have_left_where_it_stands(
    monkeypatch: pytest.MonkeyPatch, public: Path
) -> None:
    monkeypatch.chdir(public)
    file = public / "config.toml"
    file.write_text(f'[server]\ncontrol_socket = "{public}/monostat.sock"\n')
    os.chown(file, NOBODY, NOBODY)
    for command in (("incident", "list"), ("backup", "copy.db"), ("slack-manifest",), ("check",)):
        code, _, err = await shell(*command)
        assert (code, err) == (
            77,
            "config.toml: file: another user can write to this: if you trust it, name it"
            " with --config config.toml\n",
        )
    code, _, err = await shell("incident", "list", "--config", "config.toml")
    assert (code, "no daemon answers" in err) == (69, True)
    os.chown(file, 0, 0)
    code, _, err = await shell("incident", "list")
    assert (code, f"{public}/monostat.sock" in err) == (69, True)
    file.chmod(0o666)
    assert (await shell("incident", "list"))[0] == 77


async def test_what_happens_to_lie_here_is_not_taken_for_what_the_configuration_means(
    tmp_path: Path,
) -> None:
    """Without a configuration here, and with that of a service, only the service's own is meant."""
    async with impostor(tmp_path, "never said"):
        (tmp_path / "config.toml").unlink()
        (tmp_path / "monostat.db").touch()
        for named in ((), ("--config", "/etc/monostat/config.toml")):
            code, _, err = await shell("incident", "list", *named)
            assert code == (78 if named else 69)
            assert named or "/run/monostat/monostat.sock" in err
            assert "never said" not in err
        code, _, err = await shell("backup", "copy.db")
        assert (code, "/var/lib/monostat/monostat.db: there is no" in err) == (69, True)


def test_a_configuration_in_etc_names_the_unit_whose_folders_are_meant(tmp_path: Path) -> None:
    def places(path: str, **tables: dict[str, Any]) -> tuple[list[str], str]:
        settings = Settings(Path(path), {"server": {}, "database": {}, **tables}, {}, [], [])
        return [*map(str, control_sockets(settings))], str(database_of(settings))

    second = "/etc/monostat-second/config.toml"
    folders = "/run/monostat-second/monostat.sock", "/var/lib/monostat-second/monostat.db"
    assert places(second) == ([folders[0]], folders[1])
    assert places(second, database={"path": "/srv/x.db"}) == (
        [folders[0], "/srv/monostat.sock"],
        "/srv/x.db",
    )
    assert places(second, server={"control_socket": "/x/y"}) == (["/x/y"], folders[1])
    assert places("/srv/config.toml") == (["monostat.sock"], "monostat.db")
    assert places("config.toml") == (["monostat.sock"], "monostat.db")


async def test_a_time_that_the_clocks_skip_is_refused_with_one_that_exists(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[site]\ntimezone = "Europe/Berlin"\n')
    plan = ("incident", "plan", "Move", "--end", "2027-03-28T04:00", "--start")
    code, _, err = await shell(*plan, "2027-03-28T02:30")
    assert (code, err) == (
        64,
        "monostat: 2027-03-28T02:30 does not exist in Europe/Berlin: clocks go forward over it;"
        " write 2027-03-28T03:30, or a time with an offset\n",
    )
    for start in ("0001-01-01T00:00", "9999-12-31T23:59-12:00"):
        code, _, err = await shell(*plan, start)
        assert (code, "write a time like 2026-11-26T09:00" in err) == (64, True), err
    for start in ("2027-03-28T01:59", "2027-03-28T03:00", "2027-03-28T02:30+01:00"):
        code, _, err = await shell(*plan, start)
        assert (code, "no daemon answers" in err) == (69, True)


async def test_a_port_that_does_not_exist_is_refused_before_the_demo_starts() -> None:
    for port in ("65535", "-1", "http"):  # the simulated Slack is on the next one
        code, _, err = await shell("demo", "--port", port)
        assert (code, "write a port from 1 to 65534" in err) == (64, True), err


async def test_the_command_of_a_manifest_is_checked_before_it_is_printed(tmp_path: Path) -> None:
    for command in ('"/x\\u001b[2J"', "5"):
        (tmp_path / "config.toml").write_text(f"[slack]\ncommand = {command}\n")
        code, out, err = await shell("slack-manifest")
        assert (code, out, err) == (
            78,
            "",
            "config.toml: slack.command: write it like /statuspage\n",
        )


async def test_an_answer_that_is_no_json_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[site]\nname = "X"\nurl = "http://x"\n')
    app = web.Application()  # knows no address at all
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "monostat.sock")).start()
    code, out, err = await shell("incident", "list")
    assert (code, out) == (69, "")
    assert err == "monostat: the daemon cannot answer (404): its log says why\n"
    await runner.cleanup()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user whom nobody knows")
def test_a_user_without_a_name_is_called_by_the_number() -> None:
    script = "import os, pwd; from monostat.ops.shell import user_name; os.setuid(61999); print(user_name())"
    names = ("SUDO_USER", "LOGNAME", "USER", "LNAME", "USERNAME")
    clean = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True)
    assert done.stdout == "uid 61999 (shell)\n", done.stderr
