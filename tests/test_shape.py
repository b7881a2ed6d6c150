"""The shape of the house: what may import what, and that the pure stays pure."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "monostat"
#: Modules that do no I/O and read no clock.
PURE = sorted(
    [
        *(f"core.{path.stem}" for path in (PACKAGE / "core").glob("[!_]*.py")),
        *(f"history.{path.stem}" for path in (PACKAGE / "history").glob("[!_]*.py")),
        *("mail.letter", "mail.mailing", "public.feeds", "public.statuspage"),
        *("slack.commands", "slack.dialogs", "slack.emoji", "slack.fields", "slack.home"),
        *("slack.markup", "slack.messages", "slack.mrkdwn", "slack.rich_text", "slack.said"),
        *("slack.parsing", "slack.text"),
    ]
)
OUTSIDE = {
    *(
        "asyncio",
        "aiohttp",
        "aiosqlite",
        "slack_bolt",
        "slack_sdk",
        "sqlite3",
        "socket",
        "ssl",
        "http",
        "urllib",
    ),
    *(
        "os",
        "io",
        "pathlib",
        "subprocess",
        "threading",
        "time",
        "random",
        "secrets",
        "logging",
        "tempfile",
        "shutil",
    ),
}


#: What each folder, and each module beside them, may know besides the core and itself.
MAY_KNOW = {
    "alerts": {"config", "vendor"},
    "mail": {"config", "vendor"},
    "slack": {"config", "vendor"},
    "public": {
        "config",
        "engine",
        "histogram",
        "mail.letter",
        "mail.rapidmail",
        "values",
        "vendor",
    },
    "history": {"public.statuspage"},
    "languages": set[str](),
    "config": {"values"},
    "values": set[str](),
    "cautions": {"config"},
    "facts": set[str](),
    "histogram": set[str](),
    "vendor": set[str](),
    "database": set[str](),
    "loading": {"config"},
    "policy": {"config"},
    "watchers": {"vendor"},
    "archive": {"facts"},
    "store": {"archive", "database", "facts", "histogram"},
    "engine": {"database", "facts", "store", "vendor", "watchers"},
    "demo": {"app", "config"},
}


def path_of(module: str) -> Path:
    return PACKAGE / f"{module.replace('.', '/')}.py"


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports, ours by their full names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module.startswith("monostat")
            }
    return names


def ours(path: Path) -> set[str]:
    """The modules of ours that a file imports, without "monostat."."""
    found = {
        name.removeprefix("monostat.") for name in imports_of(path) if name.startswith("monostat.")
    }
    return {name for name in found if path_of(name).exists()}


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_no_io_no_clock_and_no_chance_and_reads_no_clock(module: str) -> None:
    path = path_of(module)
    assert {name.split(".")[0] for name in imports_of(path)} & OUTSIDE == set()
    assert ours(path) <= set(PURE)
    calls = [
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    ]
    assert {"now", "utcnow", "today", "monotonic"} & set(calls) == set()


def test_the_core_imports_nothing_of_ours_but_itself() -> None:
    for path in (PACKAGE / "core").glob("*.py"):
        assert [name for name in ours(path) if not name.startswith("core.")] == [], path


def test_the_clients_of_vendors_know_neither_each_other_nor_the_store_nor_the_engine() -> None:
    clients = ("alerts.source", "mail.rapidmail", "slack.client")
    for module in clients:
        others = {*clients, "store", "engine", "app", "mail.outbox", "slack.outbox"} - {module}
        assert ours(path_of(module)) & others == set()


def test_the_outboxes_are_given_what_they_need_of_the_store_and_the_engine() -> None:
    assert ours(path_of("mail.outbox")) & {"store", "engine"} == set()


@pytest.mark.parametrize("room", MAY_KNOW)
def test_a_folder_or_a_module_knows_the_core_and_what_stands_below_it(room: str) -> None:
    paths = [*(PACKAGE / room).rglob("*.py"), PACKAGE / f"{room}.py"]
    for path in filter(Path.exists, paths):
        others = {name for name in ours(path) if not name.startswith(("core.", f"{room}."))}
        assert others <= MAY_KNOW[room], path


def test_nobody_but_the_command_line_and_the_demo_knows_the_composition_root() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("cli.py", "run.py"):
            assert "app" not in ours(path), path


def test_only_the_supervisors_of_loops_records_requests_words_and_commands_catch_everything() -> (
    None
):
    broad = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]
    assert sorted(broad) == [
        "core/markdown.py",
        "mail/outbox.py",
        "ops/cli.py",
        "ops/supervise.py",
        "public/site.py",
        "slack/actions.py",
        "slack/lane.py",
        "watchers.py",
    ]


def test_every_folder_says_what_lives_in_it() -> None:
    for folder in {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE / "demo"}:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def without_docstring(body: list[ast.stmt]) -> Iterator[str]:
    """The public functions and methods, not those within others, that say nothing."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                yield node.name
            if isinstance(node, ast.ClassDef):
                yield from without_docstring(node.body)


def test_every_public_class_function_and_method_says_what_it_means() -> None:
    silent = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        for name in without_docstring(ast.parse(path.read_text()).body)
    ]
    assert silent == []


def test_every_flow_in_the_manual_names_a_test_that_exists() -> None:
    manual = (ROOT / "docs" / "slack.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", manual)
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in tests] == []
