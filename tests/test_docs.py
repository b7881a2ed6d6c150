"""What the documents say, as far as a program can tell whether it is true."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from monostat import __version__
from monostat.core.verbs import MOVES

ROOT = Path(__file__).parent.parent


def test_the_chart_of_an_incidents_life_is_the_table_of_verbs() -> None:
    drawn = re.findall(
        r"^ +(\w+) -- (.+) --> (\w+)$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    allowed = [
        (start.value, verb.label, (verb.leads_to or start).value)
        for verb in MOVES
        for start in verb.allowed
    ]
    assert sorted(drawn) == sorted(allowed)


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [
        path.name
        for path in (ROOT / "docs").glob("*.md")
        if f"({path.name})" not in f"{index}(README.md)"
    ] == []


def test_the_pictures_are_small() -> None:
    pictures = re.findall(r"!\[.+\]\((.+)\)", (ROOT / "README.md").read_text())
    assert len(pictures) == 2
    assert all((ROOT / picture).stat().st_size < 100_000 for picture in pictures)


def test_the_way_to_a_page_behind_nginx_takes_at_most_ten_commands() -> None:
    install = (ROOT / "deploy" / "install.md").read_text()
    commands = re.findall("(?m)^    (.+)$", install.split("\n## ")[1])
    steps = [
        line for line in commands if not line.startswith(("systemctl status", "journalctl", "curl"))
    ]
    assert 5 < len(steps) <= 10


def locked(name: str) -> dict[str, str]:
    """The versions in a lock file, by package."""
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text()))


def test_what_is_shipped_is_what_was_tested() -> None:
    shipped = locked("constraints.txt")
    assert len(shipped) > 20
    assert shipped.items() <= locked("requirements.txt").items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {re.split("[>;]", one)[0] for one in project["project"]["dependencies"]}
    assert needed <= shipped.keys()
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {"constraints.txt", "docs", "deploy", "monostat.service"} <= shared.keys()


def test_the_changelog_speaks_of_this_version_first() -> None:
    newest = re.search(r"(?m)^## (\S+)", (ROOT / "CHANGELOG.md").read_text())
    assert newest
    assert newest[1] == __version__


def test_the_page_for_the_night_has_every_alert_and_every_status() -> None:
    night = (ROOT / "docs" / "night.md").read_text()
    rules = (ROOT / "deploy" / "alerts.rules.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert [alert for alert in alerts if f"`{alert}`" not in night] == []
    assert [code for code in (64, 65, 69, 70, 75, 77, 78) if f"\n| {code} |" not in night] == []


def test_what_the_documents_copy_is_there() -> None:
    """Each file of deploy/ that a document names exists, and each that is shipped is named."""
    install = (ROOT / "deploy" / "install.md").read_text()
    named = set(re.findall(r"deploy/([\w@.*-]+)", install))
    shipped = {path.name for path in (ROOT / "deploy").iterdir()}
    assert {one for one in named if "*" not in one} <= shipped
    elsewhere = {"install.md", "nginx-edge.conf"}
    assert {
        one for one in shipped - elsewhere if not any(fnmatch(one, pattern) for pattern in named)
    } == set()
