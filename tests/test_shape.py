"""The shape of the house: what may import what, and that the pure stays pure."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "monostat"
PURE = (
    "incidents",
    "events",
    "desk",
    "acts",
    "decisions",
    "snapshot",
    "statuspage",
    "feeds",
    "markdown",
    "mrkdwn",
    "messages",
    "talk",
)
OUTSIDE = {
    *("asyncio", "aiohttp", "aiosqlite", "slack_bolt", "slack_sdk", "sqlite3", "socket", "ssl", "http", "urllib"),
    *("os", "io", "pathlib", "subprocess", "threading", "time", "random", "secrets", "logging", "tempfile", "shutil"),
}


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "monostat":
            names |= {f"monostat.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_the_pure_modules_import_no_io_no_clock_and_no_chance() -> None:
    for module in PURE:
        for name in imports_of(PACKAGE / f"{module}.py"):
            assert name.split(".")[0] not in OUTSIDE, f"{module} imports {name}"
            if name.startswith("monostat"):
                assert name.removeprefix("monostat.").split(".")[0] in PURE, f"{module} imports {name}"


def test_the_pure_modules_read_no_clock() -> None:
    for module in PURE:
        calls = [
            node.attr
            for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text()))
            if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today", "monotonic")
        ]
        assert calls == [], module


def test_vendor_modules_know_neither_each_other_nor_the_store_nor_the_board() -> None:
    vendors = ("opsgenie", "slack", "rapidmail")
    for module in vendors:
        others = {
            f"monostat.{name}"
            for name in (*vendors, "store", "board", "app", "mail_outbox", "slack_outbox")
            if name != module
        }
        assert not imports_of(PACKAGE / f"{module}.py") & others


def test_nobody_but_the_command_line_and_the_demo_knows_the_composition_root() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("cli.py", "run.py"):
            assert "monostat.app" not in imports_of(path), path


def test_only_the_supervisors_of_loops_records_requests_words_and_commands_catch_everything() -> None:
    broad = [
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]
    assert sorted(broad) == [
        "cli.py",
        "hearing.py",
        "lane.py",
        "mail_outbox.py",
        "markdown.py",
        "watch.py",
        "watch.py",
        "web.py",
    ]


def test_every_flow_in_the_manual_names_a_test_that_exists() -> None:
    manual = (PACKAGE.parent / "docs" / "slack.md").read_text()
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", manual)
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in tests] == []
