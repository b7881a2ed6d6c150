"""The settings, validated once and whole before anything opens; `config.example.toml` explains
every key.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_origin
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic import field_validator as check


@dataclass(eq=False)
class ConfigError(Exception):
    """`problems` has one line "FILE: KEY: remedy" for each thing to be corrected, without any
    secret's value.

    `exit_code` is 77 where something may not be read, else 78.
    """

    problems: list[str]
    exit_code: int = 78


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Spans in seconds that are no settings, but that a test shortens."""

    heartbeat: float = 25.0
    viewer_patience: float = 20.0  # for a viewer who has not taken its message
    vendor_timeout: float = 10.0  # for one request
    first_wait: float = 1.0  # after the first failed try of something at a vendor's
    slack_ping: float = 10.0
    slack_stale_url: float = 20.0
    staff_refresh: float = 300.0
    staff_trust: float = 3600.0  # in the last list of staff, while Slack cannot be asked
    look_again: float = 10.0  # between two looks for a mailing whose fate is unknown
    soon: float = 600.0  # before a plan starts or ends
    mail_tell: float = 300.0  # of failing, then the thread is told
    mail_give_up: float = 86400.0
    mail_leave: float = 600.0  # for Rapidmail to begin to send a mailing that it has
    follow: float = 2.0  # from the hand-over to the first look at a mailing; later ones are rarer
    rerender: float = 600.0
    deleted_after: float = 10.0  # between the two 404s that prove an alert deleted
    index_lag: float = (
        3.0  # from a poll that a webhook asked for to the next: the list may not know of it yet
    )
    nudge_gap: float = 0.5  # between two polls that webhooks ask for
    grace: float = 30.0  # for a loop that should have turned, before it counts as stuck


def must(fit: str | Callable[[str], object], remedy: str) -> AfterValidator:
    """Refuses what does not fit a pattern or a test, with a sentence that does not repeat it."""

    def refuse(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not (re.fullmatch(fit, text) if isinstance(fit, str) else fit(text)):
            raise ValueError(
                remedy if text else f"it is empty: {remedy}; or remove the section to do without it"
            )
        return value

    return AfterValidator(refuse)


URL = r"https?://[^\s/?#@:]+(:\d{1,5})?(/[^\s?#]*)?"
Url = Annotated[str, must(URL + "(?<!/)", "write it like https://host, without a slash at the end")]
Origin = Annotated[
    str, must(f"({URL})?(?<!/)", "write it like https://host, without a slash at the end")
]
Folder = Annotated[
    str, must(URL + "(?<=/)", "write it like https://host/api/, with a slash at the end")
]
Token = Annotated[
    SecretStr, must("[!-~]+", "write it as the vendor shows it, without spaces or line breaks")
]
User = Annotated[
    SecretStr,
    must("[!-9;-~]+", "write it as Rapidmail shows it, without a space, line break or colon"),
]
Secret = Annotated[
    SecretStr,
    must("[A-Za-z0-9_-]+", "write letters, digits, - and _ only: it is part of an address"),
]
Zone = Annotated[
    str, must(lambda zone: zone in available_timezones(), 'write a zone like "Europe/Berlin"')
]
PORT = r":([1-5]?\d{1,4}|6[0-5]\d{3})"
Listen = Annotated[
    str, must(r"unix:.+|([^\s:]+|\[[0-9a-f:]+\])" + PORT, 'write "HOST:PORT" or "unix:PATH"')
]
Proxy = Annotated[str, must(lambda peer: peer == "unix" or ip_address(peer), "")]
Words = Annotated[
    str, must(r"(?s).*\S.*", "write some words, or leave the key out where it has a default")
]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
DEFAULT = Path("config.toml")
IMAGES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
#: What the site's own colours are seen against at worst: style.css draws links on tints, and quiet
#: words on the band.
AGAINST = {"link": "#e7e5e2", "link_dark": "#38393f", "band": "#5b5955", "band_dark": "#a9a9b2"}
Logo = Annotated[
    str,
    must(
        lambda name: not name or (Path(name).suffix in IMAGES and Path(name).is_file()),
        f"name a file that is there, of {', '.join(IMAGES)}",
    ),
]
Contact = Annotated[
    str, must(r"((https|mailto|tel):\S+)?", "write it like mailto:security@example.com")
]
Cloud = Annotated[
    str,
    must("[0-9A-Za-z-]+", "write the cloudId of https://YOUR-SITE.atlassian.net/_edge/tenant_info"),
]
Login = Annotated[
    str, must(r"[^@\s:]+@[^@\s]+", "write the account's address, like status@example.com")
]
Time = Annotated[
    str,
    must(
        r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d))?", "write it like 2027-06-30T00:00:00Z"
    ),
]
Hex = Annotated[str, must("#[0-9a-fA-F]{6}", 'write a colour like "#0a53be"')]


# https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
def contrast(one: str, other: str) -> float:
    """From 1, which cannot be told apart, to 21."""
    lights = []
    for color in (one, other):
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        )
        lights.append(0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
    return max(lights) / min(lights)


Link = Annotated[
    str, must(r"(https?://\S+|/\S*)?", "must be an address, such as https://example.com/legal")
]


def readable(colors: dict[str, str]) -> dict[str, str]:
    """Refuses what fails WCAG's AA, and names the nearest colour on the way to black or white that
    passes.
    """
    for name, color in colors.items():
        parts = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
        mixed = (
            (*(p + (end - p) * step // 255 for p in parts),)
            for step in range(256)
            for end in (0, 255)
        )
        nearest = next(
            c
            for rgb in mixed
            if contrast(c := "#{:02x}{:02x}{:02x}".format(*rgb), AGAINST[name]) >= 4.5
        )
        if nearest != color.lower():
            raise ValueError(
                f"{name}: too little contrast to read: the nearest that passes is {nearest}"
            )
    return colors


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


class Site(Section):
    name: Words
    url: Url
    timezone: Zone = "UTC"
    support_email: str = ""
    support_phone: str = ""
    logo: Logo = ""
    legal_url: Link = ""
    privacy_url: Link = ""
    security_contact: Contact = ""
    security_expires: Time = ""
    colors: Annotated[
        dict[Literal["link", "link_dark", "band", "band_dark"], Hex], AfterValidator(readable)
    ] = {}
    update_every: Annotated[float, Field(gt=0)] = 1800.0


class Server(Section):
    listen: tuple[Listen, ...] = ("127.0.0.1:8080",)
    trusted_proxies: tuple[Proxy, ...] = ("127.0.0.1", "::1", "unix")
    max_viewers: Count = 10000
    max_viewers_per_ip: Count = 200
    max_connects_per_ip: Count = 50
    control_socket: Path | None = None
    metrics_listen: Listen | None = None


class Database(Section):
    path: Path = Path("monostat.db")


NEEDED = Field(validate_default=True)


class OpsGenie(Section):
    api: Literal["opsgenie", "jsm"] = "opsgenie"
    url: Origin = ""
    api_key: Annotated[Token, NEEDED] = SecretStr("")
    cloud_id: Annotated[Cloud, NEEDED] = ""
    email: Annotated[Login, NEEDED] = ""
    api_token: Annotated[Token, NEEDED] = SecretStr("")
    query: str = ""
    poll_interval: Annotated[float, Field(ge=0.2)] = 10.0
    webhook_secret: Secret | None = None
    incident_title: Words = "Problem detected by our monitoring"
    incident_text: Words = "Our monitoring reports a possible problem. We are looking into it."
    reopen_within: Seconds = 900.0
    stale_after: Annotated[float, Field(validate_default=True)] = 120.0
    max_alert_age: Seconds = 3600.0

    @check("api_key", "cloud_id", "email", "api_token", mode="wrap")
    def _needed(cls, value: Any, proper: Any, others: ValidationInfo) -> Any:  # noqa: N805 - pydantic's way
        """Those of the other product may stay, for the day of the move."""
        if (others.field_name == "api_key") == (others.data.get("api") == "jsm"):
            return cls.model_fields[str(others.field_name)].default
        if not (value.get_secret_value() if isinstance(value, SecretStr) else value):
            raise ValueError(
                f'it is required with api = "{others.data.get("api", "opsgenie")}": add it'
            )
        return proper(value)

    @check("stale_after")
    def _outlasts_polls(cls, stale_after: float, others: ValidationInfo) -> float:  # noqa: N805 - pydantic's way
        if stale_after < round(3 * others.data.get("poll_interval", 0), 6):
            raise ValueError("make it at least three times opsgenie.poll_interval")
        return stale_after


class Slack(Section):
    bot_token: Annotated[
        SecretStr, must("xoxb-[!-~]+", "take the bot token, which begins with xoxb-")
    ]
    app_token: Annotated[
        SecretStr, must("xapp-[!-~]+", "take the app-level token, which begins with xapp-")
    ]
    channel: Annotated[
        str, must("[CG][A-Z0-9]+", "write the channel's id, like C0123456789, not its name")
    ]
    url: Folder = "https://slack.com/api/"
    command: Annotated[str, must("/[a-z0-9_-]{1,31}", "write it like /statuspage")] = "/statuspage"
    allowed_user_group: Annotated[
        str, must("(S[A-Z0-9]+)?", "write the group's id, like S0123456789")
    ] = ""
    remind_after: Annotated[
        tuple[Seconds, ...], must(lambda spans: len(spans) < 10, "give at most 9 times")
    ] = (600.0, 1200.0)
    texts: Annotated[
        dict[Words, Words], must(lambda texts: len(texts) <= 100, "give at most 100 texts")
    ] = {}


class Rapidmail(Section):
    url: Url = "https://apiv3.emailsys.net/v1"
    username: User
    password: Token
    recipientlist_id: Count
    from_name: Words
    from_email: Annotated[str, must(r"[^@\s]+@[^@\s]+", "write an address like status@example.com")]
    undo_window: Seconds = 30.0
    subscribe: bool = True


class Texts(Section):
    confirmed: Words = "We have confirmed this problem and are working on it."
    watching: Words = "A fix is in place. We are watching whether it holds."
    not_fixed: Words = "The problem is not fixed after all. We are working on it again."
    resolved: Words = "The problem is solved. We are sorry for the trouble."
    reopened: Words = "The problem is back. We are working on it again."
    was_real: Words = "This was a real problem. It is over now."
    false_alarm: Words = "This was a false alarm: there was no problem."
    over_by_itself: Words = "Our monitoring no longer reports a problem. Nobody had confirmed one."
    suspected_again: Words = (
        "Our monitoring reports a possible problem again. We are looking into it."
    )
    started: Words = "The maintenance has started."
    completed: Words = "The maintenance is complete."
    resumed: Words = "The maintenance goes on."
    cancelled: Words = "This is cancelled and will not take place."
    real_outage: Words = (
        "This is an outage, beyond the maintenance that was planned. We are working on it."
    )
    planned: Words = "This is planned from {start} to {end}."
    postponed: Words = "This is postponed. It is now planned from {start} to {end}."
    extended: Words = "This takes longer than planned, until {end}."
    regraded: Words = "We have looked again at how serious this is."


class Edge(Section):
    publish_urls: tuple[Url, ...] = ()


KEYS = {
    (m.__name__.lower(), key): field
    for m in Section.__subclasses__()
    for key, field in m.model_fields.items()
}


class Config(Section):
    site: Site
    server: Server = Server()
    database: Database = Database()
    opsgenie: OpsGenie | None = None
    slack: Slack | None = None
    rapidmail: Rapidmail | None = None
    texts: Texts = Texts()
    edge: Edge = Edge()


REMEDIES = {"missing": "it is required: add it, here or as the credential monostat_{}"}
REMEDIES |= {"extra_forbidden": "there is no such key: remove or correct it"}


class Given(NamedTuple):
    """What was set, where it was set other than in the file, and what could not be understood."""

    tables: dict[str, dict[str, Any]]
    places: dict[tuple[Any, ...], Path | str]
    problems: list[str]


def read(path: Path, environ: Mapping[str, str]) -> Given:
    """Merges the file, then the credentials, then the environment; raises ConfigError for an
    unreadable file.
    """
    try:
        file = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        remedy = "copy config.example.toml to it, or name another one with --config"
        raise ConfigError([f"{path}: file: there is none: {remedy}"]) from error
    except OSError as error:
        code = 77 if isinstance(error, PermissionError) else 78
        raise ConfigError(
            [f"{path}: file: make it readable for this user: {error.strerror}"], code
        ) from error
    except ValueError as error:
        raise ConfigError([f"{path}: file: correct it, it is not TOML: {error}"]) from error
    loose = [name for name, table in file.items() if not isinstance(table, dict)]
    problems = [
        f"{path}: {name}: put it into a section, below a line like [site]" for name in loose
    ]
    tables: dict[str, dict[str, Any]] = {name: {} for name in ("site", "server", "database")}
    tables |= {name: table for name, table in file.items() if name not in loose}
    if state := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        tables["database"].setdefault("path", Path(state, "monostat.db"))
    if runtime := environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        tables["server"].setdefault("control_socket", Path(runtime, "monostat.sock"))

    places: dict[tuple[Any, ...], Path | str] = {}
    folder = environ.get("CREDENTIALS_DIRECTORY")
    given: list[Path | str] = [*sorted(Path(folder).glob("monostat_*"))] if folder else []
    given += sorted(name for name in environ if name.startswith("MONOSTAT_"))
    for place in given:
        section, _, key = Path(place).name.lower().removeprefix("monostat_").partition("__")
        try:
            several = get_origin(KEYS[section, key].annotation) in (tuple, dict)
            value = (
                environ[place]
                if isinstance(place, str)
                else place.read_text("utf-8").rstrip("\r\n")
            )
            tables.setdefault(section, {})[key] = json.loads(value) if several else value
            places[section, key] = place
        except PermissionError as error:
            raise ConfigError(
                [f"{place}: {section}.{key}: make it readable for this user"], 77
            ) from error
        except KeyError:
            problems.append(
                f"{place}: {section}.{key}: there is no such key: remove or correct the name"
            )
        except (OSError, ValueError):
            problems.append(
                f'{place}: {section}.{key}: make it readable text, a list as JSON like ["one", "two"]'
            )
    return Given(tables, places, problems)


def read_any(path: Path, environ: Mapping[str, str]) -> Given:
    """Like `read`; where nobody has named a file and none can be read, what the environment alone
    says.
    """
    return read(path if path != DEFAULT or os.access(path, os.R_OK) else Path(os.devnull), environ)


def zone_of(given: Given, path: Path) -> ZoneInfo:
    """The site's zone, whatever else is wrong with its settings."""
    try:
        return ZoneInfo(
            TypeAdapter(Zone).validate_python(given.tables["site"].get("timezone", "UTC"))
        )
    except ValidationError as error:
        place, key = given.places.get(("site", "timezone"), path), "site.timezone"
        raise ConfigError(
            [f"{place}: {key}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"]
        ) from error


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The settings, or ConfigError with all that is wrong."""
    tables, places, problems = read(path, environ)
    try:
        config = Config.model_validate(tables)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            where, remedy = (
                one["loc"],
                REMEDIES.get(one["type"], one["msg"].removeprefix("Value error, ")),
            )
            key, name = ".".join(map(str, where)), "__".join(map(str, where))
            problems.append(f"{places.get(where[:2], path)}: {key}: {remedy.replace('{}', name)}")
    if problems:
        raise ConfigError(problems)
    return config


#: What config.example.toml has where something of one's own belongs.
PLACEHOLDER = re.compile(r"Example Shop|[CS]0123456789|\bexample\.(com|net|org)\b")


def warnings(config: Config) -> list[str]:
    """What is allowed, but probably not what was meant."""
    often, soon = (
        config.opsgenie and config.opsgenie.poll_interval < 5,
        datetime.now(UTC) + timedelta(days=30),
    )
    found = (
        ["opsgenie.poll_interval: under 5 seconds the vendor may throttle this account: make it 10"]
        if often
        else []
    )
    for section, key in KEYS:
        if PLACEHOLDER.search(str(getattr(getattr(config, section), key, ""))):
            found.append(
                f"{section}.{key}: this is still the placeholder of config.example.toml: write your own"
            )
    if config.site.security_contact and config.site.security_expires < soon.isoformat():
        found.append(
            "site.security_expires: security.txt needs a time over 30 days ahead: check the contact, renew it"
        )
    return found


def control_sockets(given: Given, environ: Mapping[str, str]) -> list[Path]:
    """Where a daemon with these settings may listen to a shell; no secret is needed, nor that they
    are complete.
    """
    if explicit := given.tables["server"].get("control_socket"):
        return [Path(explicit)]
    beside = Path(given.tables["database"].get("path") or "monostat.db").parent / "monostat.sock"
    return (
        [beside] if "STATE_DIRECTORY" in environ else [beside, Path("/run/monostat/monostat.sock")]
    )


def databases(given: Given, environ: Mapping[str, str]) -> list[Path]:
    """Where the database of a daemon with these settings may be; no secret is needed."""
    path = Path(given.tables["database"].get("path") or "monostat.db")
    known = "STATE_DIRECTORY" in environ or "path" in given.tables["database"]
    return [path] if known else [path, Path("/var/lib/monostat/monostat.db")]
