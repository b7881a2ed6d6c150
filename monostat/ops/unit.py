"""What monostat.service would not see of what root sees: `monostat check` asks before it starts.

The unit runs as a user of its own, in /, without homes, and writes in its state folder alone.
"""

import stat
from collections.abc import Iterator
from pathlib import Path

from monostat.config import Config
from monostat.loading import unit_of

#: The files of a database, by how their names go on.
BELONGINGS = ("", "-wal", "-shm", ".lock")
#: What ProtectHome=yes empties; systemd.exec(5).
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


def hidden_files(path: Path, config: Config) -> Iterator[str]:
    """A line "FILE: KEY: remedy" for each file that the service could not use.

    Nothing where the configuration is not that of a unit, in /etc/NAME.
    """
    unit = unit_of(path)
    if not unit:
        return
    obstacle = obstacle_to(path, unit)
    if obstacle:
        yield f"{path}: file: {obstacle}"
    if config.site.logo:
        obstacle = obstacle_to(Path(config.site.logo), unit)
        if obstacle:
            yield f"{path}: site.logo: {obstacle}"


def unwritable_database(path: Path, config: Config) -> Iterator[str]:
    """The same for a database elsewhere than in the state folder, which a drop-in may allow."""
    unit = unit_of(path)
    state = Path("/var/lib", unit)
    is_named = "path" in config.database.model_fields_set
    if unit and is_named and state not in config.database.path.parents:
        yield (
            f"{path}: database.path: the service may write only in {state}: leave this out,"
            f" or name its folder as ReadWritePaths= with: systemctl edit {unit}"
        )


def unowned_files(database: Path, state: Path) -> Iterator[str]:
    """A line "FILE: KEY: remedy" for what the service could not write of a database in its state
    folder, which systemd makes at the first start.

    All there belongs to one user, whom systemd may have chosen; what root restored does not.
    """
    folder = state.resolve()
    real = database.resolve()
    if folder not in real.parents or not folder.exists():
        return
    owner = folder.stat().st_uid
    for end in BELONGINGS:
        file = Path(f"{real}{end}")
        if not file.exists():
            continue
        status = file.stat()
        about = f"{file}: database.path"
        if status.st_uid != owner:
            mend = f"chown --reference={folder} {real}*"
            yield f"{about}: this does not belong to the service's user, as after a restore: {mend}"
        elif status.st_mode & 0o600 != 0o600:
            yield f"{about}: the service may not write to it: chmod 600 {file}"


def obstacle_to(file: Path, unit: str) -> str:
    """Why the service could not read a file, and what to do; empty where it can."""
    if not file.is_absolute():
        return f"the service runs in /: write the whole path, such as /etc/{unit}/{file.name}"
    real = file.resolve()
    if any(home in real.parents for home in HOMES):
        return f"the service does not see homes (ProtectHome=): move it to /etc/{unit}"
    for folder in reversed(real.parents):
        if is_roots_alone(folder, stat.S_IXGRP, stat.S_IXOTH):
            return f"only root may enter {folder}: chmod 755 {folder}"
    if is_roots_alone(real, stat.S_IRGRP, stat.S_IROTH):
        return f"only root may read it, and the service is not root: chmod 644 {real}"
    return ""


def is_roots_alone(path: Path, of_group: int, of_others: int) -> bool:
    """Whether neither its owner nor its group is anybody but root, and others may not."""
    status = path.stat()
    is_anothers = status.st_uid != 0 or (status.st_gid != 0 and status.st_mode & of_group)
    return not is_anothers and not status.st_mode & of_others
