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

Environ = Mapping[str, str]
Table = dict[str, Any]
Place = Path | str  # a credential's file, or the name of a variable
PREFIX = "monostat_"
REMEDIES = {
    "missing": "it is required: add it, here or as the credential monostat_{}",
    "extra_forbidden": "there is no such key: remove or correct it",
}


class Settings(NamedTuple):
    """What was set, where it was set other than in the file, and what could not be understood."""

    tables: dict[str, Table]
    places: dict[tuple[str, str], Place]
    problems: list[str]


def load(path: Path, environ: Environ) -> Config:
    """The settings; raises ConfigError with all that is wrong."""
    settings = read(path, environ)
    problems = settings.problems
    try:
        config = Config.model_validate(settings.tables)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        problems += [problem_of(details, settings, path) for details in errors]
    if problems:
        raise ConfigError(problems)
    return config


def problem_of(details: ErrorDetails, settings: Settings, path: Path) -> str:
    """One of pydantic's errors as a line "PLACE: KEY: remedy"."""
    names = [str(name) for name in details["loc"]]
    section = names[0]
    key = names[1] if names[1:] else ""
    place = settings.places.get((section, key), path)
    remedy = remedy_of(details).replace("{}", "__".join(names))
    about = ".".join(names)
    return f"{place}: {about}: {remedy}"


def remedy_of(details: ErrorDetails) -> str:
    """What to do about one of pydantic's errors; "{}" stands for the key."""
    return REMEDIES.get(details["type"], details["msg"].removeprefix("Value error, "))


def read(path: Path, environ: Environ) -> Settings:
    """What is set, not yet validated; raises ConfigError for an unreadable file or credential."""
    tables: dict[str, Table] = {"site": {}, "server": {}, "database": {}}
    problems = []
    for name, table in read_file(path).items():
        if isinstance(table, dict):
            tables[name] = table
            continue
        remedy = "put it into a section, below a line like [site]"
        problems.append(f"{path}: {name}: {remedy}")
    # https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#RuntimeDirectory=
    state = first_folder(environ, "STATE_DIRECTORY")
    if state:
        tables["database"].setdefault("path", state / "monostat.db")
    runtime = first_folder(environ, "RUNTIME_DIRECTORY")
    if runtime:
        tables["server"].setdefault("control_socket", runtime / "monostat.sock")
    settings = Settings(tables, {}, problems)
    for place in places_of(environ):
        read_place(place, environ, settings)
    return settings


def first_folder(environ: Environ, variable: str) -> Path | None:
    """The first of the folders that systemd names in a variable."""
    folders = environ.get(variable, "").split(":")
    return Path(folders[0]) if folders[0] else None


def read_file(path: Path) -> Table:
    """The TOML of the file; raises ConfigError where there is none to be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        remedy = "copy config.example.toml to it, or name another one with --config"
        raise ConfigError([f"{path}: file: there is none: {remedy}"]) from error
    except OSError as error:
        remedy = f"make it readable for this user: {error.strerror}"
        code = 77 if isinstance(error, PermissionError) else 78
        raise ConfigError([f"{path}: file: {remedy}"], code) from error
    except ValueError as error:
        raise ConfigError([f"{path}: file: correct it, it is not TOML: {error}"]) from error


def places_of(environ: Environ) -> Iterator[Place]:
    """The credentials as paths, then the variables as names: what comes later wins."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder:
        yield from sorted(Path(folder).glob(f"{PREFIX}*"))
    variable = PREFIX.upper()
    yield from sorted(name for name in environ if name.startswith(variable))


def read_place(place: Place, environ: Environ, settings: Settings) -> None:
    """Adds what a credential or a variable says; raises ConfigError where it may not be read."""
    name = Path(place).name.lower().removeprefix(PREFIX)
    section, _, key = name.partition("__")
    about = f"{place}: {section}.{key}"
    field = KEYS.get((section, key))
    if field is None:
        settings.problems.append(f"{about}: there is no such key: remove or correct the name")
        return
    try:
        value: Any = text_at(place, environ)
        if get_origin(field.annotation) in (tuple, dict):
            value = json.loads(value)
        table = settings.tables.setdefault(section, {})
        table[key] = value
    except PermissionError as error:
        raise ConfigError([f"{about}: make it readable for this user"], 77) from error
    except (OSError, ValueError):
        remedy = 'make it readable text, a list as JSON like ["one", "two"]'
        settings.problems.append(f"{about}: {remedy}")
    else:
        settings.places[section, key] = place


def text_at(place: Place, environ: Environ) -> str:
    """What a credential or a variable says."""
    if isinstance(place, str):
        return environ[place]
    return place.read_text("utf-8").rstrip("\r\n")


def read_leniently(path: Path, environ: Environ) -> Settings:
    """Like `read`, but the environment alone counts where nobody named a file and there is none."""
    is_readable = path != DEFAULT or os.access(path, os.R_OK)
    return read(path if is_readable else Path(os.devnull), environ)


def zone_of(settings: Settings, path: Path) -> ZoneInfo:
    """The site's zone, whatever else is wrong; raises ConfigError where it is."""
    name = settings.tables["site"].get("timezone", "UTC")
    try:
        valid = TypeAdapter(Zone).validate_python(name)
        return ZoneInfo(valid)
    except ValidationError as error:
        place = settings.places.get(("site", "timezone"), path)
        [details] = error.errors()
        remedy = remedy_of(details)
        raise ConfigError([f"{place}: site.timezone: {remedy}"]) from error


def control_sockets(settings: Settings, environ: Environ) -> list[Path]:
    """Where a daemon with these settings may listen to a shell; they may be incomplete."""
    explicit = settings.tables["server"].get("control_socket")
    if explicit:
        return [Path(explicit)]
    beside = database_of(settings).parent / "monostat.sock"
    if "STATE_DIRECTORY" in environ:
        return [beside]
    return [beside, Path("/run/monostat/monostat.sock")]


def databases(settings: Settings, environ: Environ) -> list[Path]:
    """Where the database of a daemon with these settings may be; they may be incomplete."""
    path = database_of(settings)
    is_named = "path" in settings.tables["database"]
    if is_named or "STATE_DIRECTORY" in environ:
        return [path]
    return [path, Path("/var/lib/monostat/monostat.db")]


def database_of(settings: Settings) -> Path:
    """Where these settings have it, or where it is without any."""
    return Path(settings.tables["database"].get("path") or "monostat.db")
