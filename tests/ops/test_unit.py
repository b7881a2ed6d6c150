"""What `monostat check` says that the service would not see, though root does."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from monostat.config import Config
from monostat.ops.unit import hidden_files, obstacle_to, unowned_files, unwritable_database


def seen(path: str | Path, logo: str = "", **tables: dict[str, Any]) -> list[str]:
    config = Config.model_validate({"site": {"name": "X", "url": "http://x"}, **tables})
    with_logo = config.site.model_copy(update={"logo": logo})
    config = config.model_copy(update={"site": with_logo})
    return [*hidden_files(Path(path), config), *unwritable_database(Path(path), config)]


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder of root's that everybody may look into."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_a_file_that_only_root_may_read_or_reach_is_named_with_its_remedy(public: Path) -> None:
    file = public / "logo.svg"
    file.touch(mode=0o600)
    assert obstacle_to(file, "monostat") == (
        f"only root may read it, and the service is not root: chmod 644 {file}"
    )
    file.chmod(0o644)
    assert obstacle_to(file, "monostat") == ""
    public.chmod(0o700)
    assert obstacle_to(file, "monostat") == f"only root may enter {public}: chmod 755 {public}"


def test_before_the_first_start_there_is_no_folder_whose_owner_could_be_asked(public: Path) -> None:
    state = public / "monostat"
    assert list(unowned_files(state / "monostat.db", state)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
@pytest.mark.parametrize("name", ["monostat.db", "monostat.db-wal", "monostat.db.lock"])
def test_a_file_of_the_database_that_is_not_the_services_is_named_with_the_command_that_mends_it(
    public: Path, name: str
) -> None:
    database = public / "monostat.db"
    database.touch(mode=0o600)
    file = public / name
    file.touch(mode=0o600)
    for path in (public, database, file):
        os.chown(path, 61234, 61234)
    assert list(unowned_files(database, public)) == []
    os.chown(file, 0, 0)
    mend = f"chown --reference={public} {database}*"
    assert list(unowned_files(database, public)) == [
        f"{file}: database.path: this does not belong to the service's user, as after a restore: {mend}"
    ]
    os.chown(file, 61234, 61234)
    file.chmod(0o400)
    assert list(unowned_files(database, public)) == [
        f"{file}: database.path: the service may not write to it: chmod 600 {file}"
    ]
    assert list(unowned_files(database, Path("/srv"))) == []


def test_what_the_service_does_not_see_or_may_not_write_is_told_of_a_units_configuration_alone(
    public: Path,
) -> None:
    file = "/etc/monostat-none/config.toml"
    with pytest.raises(FileNotFoundError):
        seen(file)
    assert obstacle_to(Path("/root/logo.svg"), "monostat").endswith("move it to /etc/monostat")
    assert obstacle_to(Path("logo.svg"), "monostat").endswith("such as /etc/monostat/logo.svg")
    (public / "home").symlink_to("/root")
    assert "ProtectHome" in obstacle_to(public / "home" / "logo.svg", "monostat")
    assert seen("config.toml", "/root/logo.svg", database={"path": "x.db"}) == []
    there = next(Path("/etc").glob("*/*.conf"))  # any file that everybody may read will do
    state = f"/var/lib/{there.parent.name}"
    assert seen(there, database={"path": f"{state}/monostat.db"}) == []
    assert seen(there, "/root/logo.svg", database={"path": "/srv/monostat.db"}) == [
        f"{there}: site.logo: the service does not see homes (ProtectHome=): move it to {there.parent}",
        f"{there}: database.path: the service may write only in {state}: leave this out,"
        f" or name its folder as ReadWritePaths= with: systemctl edit {there.parent.name}",
    ]
