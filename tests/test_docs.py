"""What the documents say, as far as a program can tell whether it is true."""

import re
from pathlib import Path

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
