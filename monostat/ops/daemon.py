"""Where a daemon is, by settings that may be incomplete: for commands that speak to it."""

import os
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from monostat.config import DEFAULT, ConfigError
from monostat.loading import Environ, Settings, read, remedy_of, unit_of
from monostat.values import Zone

SYSTEM = Path("/etc/monostat/config.toml")


def read_leniently(path: Path, environ: Environ) -> Settings:
    """Like `read`, for whoever looks for a daemon.

    Where nobody named a file and there is none here, it is that of the system's own instance; if
    that may not be read, the environment alone counts.
    """
    if path is DEFAULT and not path.exists():
        path = SYSTEM
        if not os.access(path, os.R_OK):
            return read(Path(os.devnull), environ)._replace(path=path)
    return read(path, environ)


def zone_of(settings: Settings) -> ZoneInfo:
    """The site's zone, whatever else is wrong; raises ConfigError where it is."""
    name = settings.tables["site"].get("timezone", "UTC")
    try:
        valid = TypeAdapter(Zone).validate_python(name)
        return ZoneInfo(valid)
    except ValidationError as error:
        place = settings.places.get(("site", "timezone"), settings.path)
        [details] = error.errors()
        remedy = remedy_of(details)
        raise ConfigError([f"{place}: site.timezone: {remedy}"]) from error


def control_sockets(settings: Settings) -> list[Path]:
    """Where a daemon with these settings may listen to a shell; they may be incomplete."""
    explicit = settings.tables["server"].get("control_socket")
    if explicit:
        return [Path(explicit)]
    unit = unit_of(settings.path)
    sockets = []
    if unit:
        sockets.append(Path("/run", unit, "monostat.sock"))
    if not unit or settings.tables["database"].get("path"):
        sockets.append(database_of(settings).parent / "monostat.sock")
    return sockets


def database_of(settings: Settings) -> Path:
    """Where a daemon with these settings has its database; they may be incomplete."""
    path = settings.tables["database"].get("path")
    unit = unit_of(settings.path)
    if unit and not path:
        return Path("/var/lib", unit, "monostat.db")
    return Path(path or "monostat.db")
