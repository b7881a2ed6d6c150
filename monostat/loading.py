"""Where settings come from, and which wins: the file, then the credentials, then the environment.

Not pydantic-settings: it knows neither systemd's credentials by our names, nor names the place of
each wrong value in its messages, so that all of this would stand here still.
"""

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_origin
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from monostat.config import DEFAULT, KEYS, Config, ConfigError, Zone

PREFIX = "monostat_"
REMEDIES = {
    "missing": "it is required: add it, here or as the credential monostat_{}",
    "extra_forbidden": "there is no such key: remove or correct it",
}


class Settings(NamedTuple):
    """What was set, where it was set other than in the file, and what could not be understood."""

    tables: dict[str, dict[str, Any]]
    places: dict[tuple[str, str], Path | str]
    problems: list[str]


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The settings; raises ConfigError with all that is wrong."""
    tables, places, problems = read(path, environ)
    try:
        config = Config.model_validate(tables)
    except ValidationError as error:
        for details in error.errors(include_url=False, include_input=False):
            names = [str(name) for name in details["loc"]]
            place = places.get((names[0], names[1] if names[1:] else ""), path)
            remedy = remedy_of(details).replace("{}", "__".join(names))
            problems.append(f"{place}: {'.'.join(names)}: {remedy}")
    if problems:
        raise ConfigError(problems)
    return config


def remedy_of(details: ErrorDetails) -> str:
    """What to do about one of pydantic's errors; "{}" stands for the key."""
    return REMEDIES.get(details["type"], details["msg"].removeprefix("Value error, "))


def read(path: Path, environ: Mapping[str, str]) -> Settings:
    """What is set, not yet validated; raises ConfigError for an unreadable file or credential."""
    tables: dict[str, dict[str, Any]] = {"site": {}, "server": {}, "database": {}}
    problems = []
    for name, table in read_file(path).items():
        if isinstance(table, dict):
            tables[name] = table
        else:
            problems.append(f"{path}: {name}: put it into a section, below a line like [site]")
    # https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#RuntimeDirectory=
    if state := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        tables["database"].setdefault("path", Path(state, "monostat.db"))
    if runtime := environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        tables["server"].setdefault("control_socket", Path(runtime, "monostat.sock"))
    settings = Settings(tables, {}, problems)
    for place in places_of(environ):
        read_place(place, environ, settings)
    return settings


def read_file(path: Path) -> dict[str, Any]:
    """The TOML of the file; raises ConfigError where there is none to be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        remedy = "copy config.example.toml to it, or name another one with --config"
        raise ConfigError([f"{path}: file: there is none: {remedy}"]) from error
    except OSError as error:
        code = 77 if isinstance(error, PermissionError) else 78
        problem = f"{path}: file: make it readable for this user: {error.strerror}"
        raise ConfigError([problem], code) from error
    except ValueError as error:
        raise ConfigError([f"{path}: file: correct it, it is not TOML: {error}"]) from error


def places_of(environ: Mapping[str, str]) -> Iterator[Path | str]:
    """The credentials as paths, then the variables as names: what comes later wins."""
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        yield from sorted(Path(folder).glob(f"{PREFIX}*"))
    yield from sorted(name for name in environ if name.startswith(PREFIX.upper()))


def read_place(place: Path | str, environ: Mapping[str, str], settings: Settings) -> None:
    """Adds what a credential or a variable says; raises ConfigError where it may not be read."""
    name = Path(place).name.lower().removeprefix(PREFIX)
    section, _, key = name.partition("__")
    about = f"{place}: {section}.{key}"
    field = KEYS.get((section, key))
    if field is None:
        settings.problems.append(f"{about}: there is no such key: remove or correct the name")
        return
    try:
        value = text_at(place, environ)
        is_json = get_origin(field.annotation) in (tuple, dict)
        table = settings.tables.setdefault(section, {})
        table[key] = json.loads(value) if is_json else value
    except PermissionError as error:
        raise ConfigError([f"{about}: make it readable for this user"], 77) from error
    except (OSError, ValueError):
        remedy = 'make it readable text, a list as JSON like ["one", "two"]'
        settings.problems.append(f"{about}: {remedy}")
    else:
        settings.places[section, key] = place


def text_at(place: Path | str, environ: Mapping[str, str]) -> str:
    """What a credential or a variable says."""
    if isinstance(place, str):
        return environ[place]
    return place.read_text("utf-8").rstrip("\r\n")


def read_leniently(path: Path, environ: Mapping[str, str]) -> Settings:
    """Like `read`, but the environment alone counts where nobody named a file and there is none."""
    is_readable = path != DEFAULT or os.access(path, os.R_OK)
    return read(path if is_readable else Path(os.devnull), environ)


def zone_of(settings: Settings, path: Path) -> ZoneInfo:
    """The site's zone, whatever else is wrong; raises ConfigError where it is."""
    name = settings.tables["site"].get("timezone", "UTC")
    try:
        return ZoneInfo(TypeAdapter(Zone).validate_python(name))
    except ValidationError as error:
        place = settings.places.get(("site", "timezone"), path)
        problem = f"{place}: site.timezone: {remedy_of(error.errors()[0])}"
        raise ConfigError([problem]) from error


def control_sockets(settings: Settings, environ: Mapping[str, str]) -> list[Path]:
    """Where a daemon with these settings may listen to a shell; they may be incomplete."""
    if explicit := settings.tables["server"].get("control_socket"):
        return [Path(explicit)]
    beside = database_of(settings).parent / "monostat.sock"
    if "STATE_DIRECTORY" in environ:
        return [beside]
    return [beside, Path("/run/monostat/monostat.sock")]


def databases(settings: Settings, environ: Mapping[str, str]) -> list[Path]:
    """Where the database of a daemon with these settings may be; they may be incomplete."""
    path = database_of(settings)
    if "STATE_DIRECTORY" in environ or "path" in settings.tables["database"]:
        return [path]
    return [path, Path("/var/lib/monostat/monostat.db")]


def database_of(settings: Settings) -> Path:
    """Where these settings have it, or where it is without any."""
    return Path(settings.tables["database"].get("path") or "monostat.db")
