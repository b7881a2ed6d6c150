"""The units as systemd itself reads them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monostat.config import KEYS

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "monostat.service"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with all units, and a program that exists; only a laptop may be without systemd's tools."""
    if not shutil.which("systemd-analyze"):
        if os.environ.get("CI"):
            pytest.fail("no systemd-analyze on this machine: apt-get install systemd")
        pytest.skip("no systemd-analyze on this machine")
    program = "/opt/monostat/venv/bin/monostat"
    (tmp_path / UNIT.name).write_text(
        UNIT.read_text().replace(program, f"{sys.executable} -m monostat")
    )
    for unit in (ROOT / "deploy").glob("monostat*"):
        text = unit.read_text().replace("/opt/monostat/venv/bin/monostat", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    return tmp_path


def analyze(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout


def test_systemd_finds_nothing_to_say_about_the_units(units: Path) -> None:
    assert analyze("verify", *map(str, units.glob("monostat*"))) == (0, "")


def test_the_service_is_exposed_as_little_as_promised(units: Path) -> None:
    code, said = analyze("security", "--offline=true", "--threshold=11", str(units / UNIT.name))
    assert code == 0, said
    drop_ins = units / "monostat.service.d"
    drop_ins.mkdir()
    for drop_in in (ROOT / "deploy").glob("*.conf"):
        if drop_in.name[:2].isdecimal():
            shutil.copy(drop_in, drop_ins)
    code, said = analyze("security", "--offline=true", "--threshold=9", str(units / UNIT.name))
    assert code == 0, said


def test_every_secret_can_be_given_as_a_credential() -> None:
    loaded = {
        line.split("=")[1].split(":")[0]
        for line in UNIT.read_text().splitlines()
        if line.startswith("LoadCredential=")
    }
    assert all(
        f"LoadCredential={one}:%N_{one.partition('_')[2]}\n" in UNIT.read_text() for one in loaded
    )
    secrets = {
        f"monostat_{section}__{key}"
        for (section, key), field in KEYS.items()
        if "Secret" in f"{field.annotation}"
    }
    assert len(secrets) > 5
    assert secrets <= loaded


def test_a_start_is_never_refused_for_those_before_and_who_waits_for_an_operator_takes_the_socket_down() -> (
    None
):
    """deploy/install.md and docs/night.md count on both; docs/reliability.md has how systemd obeyed them."""
    unit = UNIT.read_text()
    for line in (
        "StartLimitIntervalSec=0",
        "OnFailure=monostat-failed@%N.target",
        "Wants=%N.socket",
    ):
        assert f"\n{line}\n" in unit
    target = (ROOT / "deploy" / "monostat-failed@.target").read_text()
    assert "\nConflicts=%i.socket %i-metrics.socket\n" in target
    codes = re.findall(r"(?m)^RestartPreventExitStatus=(.+)$", unit)
    assert codes == ["64 65 77 78"]
