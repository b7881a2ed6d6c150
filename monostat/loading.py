"""Where settings come from, and which wins: the file, then the credentials, then the environment.

Not pydantic-settings: it knows neither systemd's credentials by our names, nor names the place of
each wrong value in its messages, so that all of this would stand here still.
"""

import json
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from monostat.config import DEFAULT, KEYS, SECTIONS, Config, ConfigError

Environ = Mapping[str, str]
Table = dict[str, Any]
Place = Path | str  # a credential's file, or the name of a variable
PREFIX = "monostat_"
#: Where monostat.service has its credentials from.
CREDSTORE = Path("/etc/credstore")
#: Where systemd looks for those that are encrypted, which the service alone can read.
ENCRYPTED = Path("/etc/credstore.encrypted")
#: What stands for secrets that have a form of their own, while nobody sees them.
STAND_INS = {"bot_token": "xoxb-unseen", "app_token": "xapp-unseen"}
REMEDIES = {
    "missing": "it is required: add it, here or as the credential monostat_{}",
    "int_type": "write a whole number, without quotes",
    "float_type": "write a number, without quotes",
    "bool_type": "write true or false, without quotes",
    "extra_forbidden": "there is no such key: remove or correct it",
}


class Settings(NamedTuple):
    """What was set by the file at `path` or at other `places`, what could not be understood, and
    what an operator might like to know.
    """

    path: Path
    tables: dict[str, Table]
    places: dict[tuple[str, str], Place]
    problems: list[str]
    notes: list[str]


def load(path: Path, environ: Environ) -> Config:
    """The settings; raises ConfigError with all that is wrong."""
    return validate(read(path, environ))


def validate(settings: Settings) -> Config:
    """What was read, as the program wants it; raises ConfigError with all that is wrong."""
    problems = list(settings.problems)
    try:
        config = Config.model_validate(settings.tables)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        problems += [problem_of(details, settings) for details in errors]
    if problems:
        raise ConfigError(problems)
    return config


def problem_of(details: ErrorDetails, settings: Settings) -> str:
    """One of pydantic's errors as a line "PLACE: KEY: remedy"."""
    names = [str(name) for name in details["loc"]]
    section, key, *_ = [*names, ""]
    place = settings.places.get((section, key), settings.path)
    remedy = remedy_of(details).replace("{}", "__".join(names))
    about = ".".join(names)
    return f"{place}: {about}: {remedy}"


def remedy_of(details: ErrorDetails) -> str:
    """What to do about one of pydantic's errors; "{}" stands for the key."""
    return REMEDIES.get(details["type"], details["msg"].removeprefix("Value error, "))


def read(path: Path, environ: Environ) -> Settings:
    """What is set, not yet validated; raises ConfigError for an unreadable file or credential."""
    settings = Settings(path, {"site": {}, "server": {}, "database": {}}, {}, [], [])
    tables = settings.tables
    for name, table in read_file(path).items():
        if isinstance(table, dict):
            tables[name] = table
            continue
        remedy = "put it into a section, below a line like [site]"
        settings.problems.append(f"{path}: {name}: {remedy}")
    # https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#RuntimeDirectory=
    state = first_folder(environ, "STATE_DIRECTORY")
    if state:
        tables["database"].setdefault("path", state / "monostat.db")
    runtime = first_folder(environ, "RUNTIME_DIRECTORY")
    if runtime:
        tables["server"].setdefault("control_socket", runtime / "monostat.sock")
    variables = variables_of(environ)
    present = {*tables, *(variable.section for variable in variables)}
    for credential in credentials_of(path, environ):
        section = credential.section
        if section in present:
            read_place(credential, environ, settings)
        elif section in SECTIONS:
            settings.notes.append(
                f"{credential.place}: not used: {path} has no section [{section}]"
            )
        else:  # another instance's, whose name begins with that of this one
            settings.notes.append(f"{credential.place}: not used: there is no section [{section}]")
    for variable in variables:
        read_place(variable, environ, settings)
    return settings


def first_folder(environ: Environ, variable: str) -> Path | None:
    """The first of the folders that systemd names in a variable."""
    folder, _, _ = environ.get(variable, "").partition(":")
    if folder:
        return Path(folder)
    return None


def read_file(path: Path) -> Table:
    """The TOML of the file; raises ConfigError where there is none to be read."""
    try:
        if path is DEFAULT:
            refuse_planted(path)
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        remedy = "copy config.example.toml to it, or name another one with --config"
        raise ConfigError([f"{path}: file: there is none: {remedy}"]) from error
    except OSError as error:
        code = os.EX_NOPERM if isinstance(error, PermissionError) else os.EX_CONFIG
        remedy = f"make it readable for this user: {error.strerror}"
        raise ConfigError([f"{path}: file: {remedy}"], code) from error
    except ValueError as error:
        raise ConfigError([f"{path}: file: correct it, it is not TOML: {error}"]) from error


def refuse_planted(path: Path) -> None:
    """Raises ConfigError where others could have put there what nobody named, OSError for none."""
    for status in (path.lstat(), path.stat()):
        is_ours = status.st_uid in (0, os.geteuid())
        # Anybody may write in a link, says its mode, which means nothing.
        is_open = status.st_mode & stat.S_IWOTH and not stat.S_ISLNK(status.st_mode)
        if is_open or not is_ours:
            remedy = "another user can write this: if it is yours all the same, name it with"
            raise ConfigError([f"{path}: file: {remedy} --config {path}"], os.EX_NOPERM)


class Source(NamedTuple):
    """A credential or a variable, and the section and key that it is called after."""

    place: Place
    section: str
    key: str


def source_of(place: Place, name: str) -> Source:
    """The place of this name, which is SECTION__KEY in any case."""
    section, _, key = name.lower().partition("__")
    return Source(place, section, key)


def credentials_of(path: Path, environ: Environ, credstore: Path = CREDSTORE) -> list[Source]:
    """The files of systemd's credentials that are ours.

    In /etc/credstore, where all units' lie, they begin with the name of the configuration's unit.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return []
    prefix = PREFIX
    if Path(folder) == credstore and unit_of(path):
        prefix = f"{unit_of(path)}_"
    files = sorted(Path(folder).glob(f"{prefix}*"))
    return [source_of(file, file.name.removeprefix(prefix)) for file in files]


def variables_of(environ: Environ) -> list[Source]:
    """Our variables: MONOSTAT_PORT, as container platforms set it, is none."""
    prefix = PREFIX.upper()
    names = sorted(name for name in environ if name.startswith(prefix) and "__" in name)
    return [source_of(name, name.removeprefix(prefix)) for name in names]


def read_place(source: Source, environ: Environ, settings: Settings) -> None:
    """Adds what a credential or a variable says; raises ConfigError where it may not be read."""
    place, section, key = source
    about = f"{place}: {section}.{key}"
    field = KEYS.get((section, key))
    if field is None:
        settings.problems.append(f"{about}: there is no such key: remove or correct the name")
        return
    try:
        value: Any = text_at(place, environ)
        if get_origin(field.annotation) in (tuple, dict):
            value = json.loads(value)
        elif field.annotation in (int, float, bool):
            with suppress(ValidationError):  # else it is refused as the text that it is
                value = TypeAdapter(field.annotation).validate_python(value)
        table = settings.tables.setdefault(section, {})
        table[key] = value
    except PermissionError as error:
        raise ConfigError([f"{about}: make it readable for this user"], os.EX_NOPERM) from error
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


def assume_unseen(settings: Settings, *, is_root: bool, encrypted: Path = ENCRYPTED) -> list[str]:
    """Takes for given each secret of a unit that whoever checks cannot see; a line for each.

    Only root reads the credentials of units, and nobody those that are encrypted.
    """
    unit = unit_of(settings.path)
    notes = []
    for (section, key), field in KEYS.items():
        table = settings.tables.get(section)
        is_needed = "Secret" in str(field.annotation) and field.default is not None
        if not unit or table is None or table.get(key) or not is_needed:
            continue
        if section == "opsgenie" and (key == "api_token") != (table.get("api") == "jsm"):
            continue
        name = f"_{section}__{key}"
        files = [encrypted / f"{unit}{name}", encrypted / f"monostat{name}"]
        found: Place = settings.path
        why = "only root may read it: run this as root"
        if is_root:
            present = [file for file in files if file.exists()]
            if not present:
                continue
            found = present[0]
            why = "it is encrypted"
        notes.append(f"{found}: {section}.{key}: not checked: {why}")
        table[key] = STAND_INS.get(key, "unseen")
        settings.places[section, key] = "unseen"
    return notes


def exposed_secrets(settings: Settings) -> Iterator[str]:
    """A line "PLACE: KEY: remedy" for each secret that stands where every user may read it."""
    for (section, key), field in KEYS.items():
        place = settings.places.get((section, key), settings.path)
        is_set = bool(settings.tables.get(section, {}).get(key))
        if is_set and "Secret" in str(field.annotation) and isinstance(place, Path):
            with suppress(OSError):
                if place.stat().st_mode & stat.S_IROTH:
                    remedy = "every user may read this secret: make it a credential, or chmod o-r"
                    yield f"{place}: {section}.{key}: {remedy}"


def unit_of(path: Path) -> str:
    """The name of the unit that runs with a configuration in /etc/NAME; empty for any other.

    monostat.service gives each instance a state and a runtime folder of that name.
    """
    folder = path.absolute().parent
    if folder.parent != Path("/etc"):
        return ""
    return folder.name
