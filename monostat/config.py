"""The settings and what they may be; `config.example.toml` explains every key.

`loading` reads them from the file, the credentials and the environment, and validates them whole
before anything opens.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic.fields import FieldInfo

from monostat.core.model import Severity
from monostat.core.words import PLURALS
from monostat.languages import LANGUAGES, load_words


@dataclass(eq=False)
class ConfigError(Exception):
    """`problems` has one line "FILE: KEY: remedy" for each thing to be corrected, without any
    secret's value.

    `exit_code` is 77 where something may not be read, else 78.
    """

    problems: list[str]
    exit_code: int = os.EX_CONFIG


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
    just_now: float = 1.5  # in which somebody may still tap what stood in a message before
    look_again: float = 10.0  # between two looks for a mailing whose fate is unknown
    soon: float = 600.0  # before a plan starts or ends
    mail_tell: float = 300.0  # of failing, then the thread is told
    mail_give_up: float = 86400.0
    mail_leave: float = 600.0  # for Rapidmail to begin to send a mailing that it has
    follow: float = 2.0  # from the hand-over to the first look at a mailing; later ones are rarer
    rerender: float = 600.0
    deleted_after: float = 10.0  # between the two 404s that prove an alert deleted
    # From a poll that a webhook asked for to the next: the list may not know of the alert yet.
    index_lag: float = 3.0
    nudge_gap: float = 0.5  # between two polls that webhooks ask for
    grace: float = 30.0  # for a loop that should have turned, before it counts as stuck


def must(accepts: str | Callable[[str], object], remedy: str) -> AfterValidator:
    """Refuses what does not fit a pattern or a test, with a sentence that does not repeat it."""

    def refuse(value: Any) -> Any:
        text = revealed(value)
        if fits(text):
            return value
        if not text:
            raise ValueError(f"it is empty: {remedy}; or remove the section to do without it")
        raise ValueError(remedy)

    def fits(text: str) -> object:
        if isinstance(accepts, str):
            return re.fullmatch(accepts, text)
        return accepts(text)

    return AfterValidator(refuse)


def revealed(value: Any) -> Any:
    """The value itself, of a secret, too."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value


IMAGES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


def is_image(name: str) -> bool:
    """Whether the name is that of a picture that this user may read."""
    path = Path(name)
    with suppress(OSError):
        return path.suffix in IMAGES and path.is_file() and os.access(path, os.R_OK)
    return False


def is_proxy(peer: str) -> bool:
    """Whether it is an IP address, a network of them, or "unix"."""
    with suppress(ValueError):
        return peer == "unix" or bool(ip_network(peer, strict=False))
    return False


ORIGIN = r"https?://([^\s/?#@:]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?"
URL = ORIGIN + r"(/[^\s?#]*)?"
NO_PATH = "write it like https://host, without a path and without a slash at the end"
NO_SLASH = "write it like https://host, without a slash at the end"
PORT = r":([1-5]?\d{1,4}|6[0-5]\d{3})"
Url = Annotated[str, must(URL + "(?<!/)", NO_SLASH)]
Origin = Annotated[str, must(ORIGIN, NO_PATH)]
OptionalOrigin = Annotated[str, must(f"({ORIGIN})?", NO_PATH)]
BaseUrl = Annotated[
    str, must(URL + "(?<=/)", "write it like https://host/api/, with a slash at the end")
]
Link = Annotated[
    str, must(r"(https?://\S+|/\S*)?", "must be an address, such as https://example.com/legal")
]
Contact = Annotated[
    str, must(r"((https|mailto|tel):\S+)?", "write it like mailto:security@example.com")
]
Token = Annotated[
    SecretStr, must("[!-~]+", "write it as the vendor shows it, without spaces or line breaks")
]
BasicUser = Annotated[
    SecretStr,
    must("[!-9;-~]+", "write it as Rapidmail shows it, without a space, line break or colon"),
]
PathSecret = Annotated[
    SecretStr,
    must("[A-Za-z0-9_-]+", "write letters, digits, - and _ only: it is part of an address"),
]
BotToken = Annotated[SecretStr, must("xoxb-[!-~]+", "take the bot token, which begins with xoxb-")]
AppToken = Annotated[
    SecretStr, must("xapp-[!-~]+", "take the app-level token, which begins with xapp-")
]
Zone = Annotated[
    str, must(lambda zone: zone in available_timezones(), 'write a zone like "Europe/Berlin"')
]
Time = Annotated[
    str,
    must(
        r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d))?", "write it like 2027-06-30T00:00:00Z"
    ),
]
Listen = Annotated[
    str, must(r"unix:.+|([^\s:]+|\[[0-9a-f:]+\])" + PORT, 'write "HOST:PORT" or "unix:PATH"')
]
Proxy = Annotated[str, must(is_proxy, 'write an address, a network like "10.0.0.0/8", or "unix"')]
NonEmpty = Annotated[
    str, must(r"(?s).*\S.*", "write some words, or leave the key out where it has a default")
]
Logo = Annotated[
    str,
    must(
        lambda name: not name or is_image(name),
        f"name a file that monostat's user may read, of {', '.join(IMAGES)}; not below a home,"
        " which the service does not see: /etc/monostat is a good place",
    ),
]
Color = Annotated[str, must("#[0-9a-fA-F]{6}", 'write a colour like "#0a53be"')]
Cloud = Annotated[
    str,
    must("[0-9A-Za-z-]+", "write the cloudId of https://YOUR-SITE.atlassian.net/_edge/tenant_info"),
]
Login = Annotated[
    str, must(r"[^@\s:]+@[^@\s]+", "write the account's address, like status@example.com")
]
Sender = Annotated[str, must(r"[^@\s]+@[^@\s]+", "write an address like status@example.com")]
Channel = Annotated[
    str, must("[CG][A-Z0-9]+", "write the channel's id, like C0123456789, not its name")
]
Group = Annotated[str, must("(S[A-Z0-9]+)?", "write the group's id, like S0123456789")]
Command = Annotated[str, must("/[a-z0-9_-]{1,31}", "write it like /statuspage")]
# Strict: "5" and true are no numbers. The environment's words become some in `loading`.
Seconds = Annotated[float, Field(ge=0, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
DEFAULT = Path("config.toml")


class Section(BaseModel):
    """A table of the file: frozen, without unknown keys, and quiet about values."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


class Site(Section):
    """What visitors see of us."""

    name: NonEmpty
    url: Origin
    language: Annotated[
        str,
        must(lambda tag: tag in LANGUAGES, f"choose one of {', '.join(LANGUAGES)}"),
        must(
            lambda tag: tag in PLURALS,
            "its catalogue is there, but no rule for its plurals: add a line to PLURALS in"
            " monostat/core/words.py",
        ),
    ] = "en"
    timezone: Zone = "UTC"
    support_email: str = ""
    support_phone: str = ""
    logo: Logo = ""
    legal_url: Link = ""
    privacy_url: Link = ""
    security_contact: Contact = ""
    security_expires: Time = ""
    colors: dict[Literal["link", "link_dark", "band", "band_dark"], Color] = {}
    update_every: Annotated[float, Field(gt=0, strict=True)] = 1800.0


class Server(Section):
    """Where we listen, and how many viewers we hold."""

    listen: tuple[Listen, ...] = ("127.0.0.1:8080",)
    trusted_proxies: tuple[Proxy, ...] = ("127.0.0.1", "::1", "unix")
    max_viewers: Count = 10000
    max_viewers_per_ip: Count = 200
    max_connects_per_ip: Count = 50
    control_socket: Path | None = None
    metrics_listen: Listen | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Database(Section):
    """Where the one file is."""

    path: Path = Path("monostat.db")


REQUIRED_BY_API = Field(validate_default=True)  # so that a key which is missing is looked at


class OpsGenieSettings(Section):
    """The source of alerts; which credentials it takes depends on `api`."""

    api: Literal["opsgenie", "jsm"] = "opsgenie"
    url: OptionalOrigin = ""
    api_key: Annotated[Token, REQUIRED_BY_API] = SecretStr("")
    cloud_id: Annotated[Cloud, REQUIRED_BY_API] = ""
    email: Annotated[Login, REQUIRED_BY_API] = ""
    api_token: Annotated[Token, REQUIRED_BY_API] = SecretStr("")
    query: str = ""
    poll_interval: Annotated[float, Field(ge=0.2, strict=True)] = 10.0
    webhook_secret: PathSecret | None = None
    incident_title: NonEmpty = ""  # the catalogue's
    incident_text: NonEmpty = ""
    reopen_within: Seconds = 900.0
    stale_after: Annotated[float, Field(validate_default=True, strict=True)] = 120.0
    max_alert_age: Seconds = 3600.0

    @field_validator("api_key", "cloud_id", "email", "api_token", mode="wrap")
    @classmethod
    def _required_by_api(cls, value: Any, validate: Any, info: ValidationInfo) -> Any:
        """Those of the other product may stay, whatever they are, for the day of the move."""
        api = info.data.get("api", "opsgenie")
        key = str(info.field_name)
        product = "jsm"
        if key == "api_key":
            product = "opsgenie"
        if api != product:
            return cls.model_fields[key].default
        if not revealed(value):
            raise ValueError(f'it is required with api = "{api}": add it')
        return validate(value)

    @field_validator("stale_after")
    @classmethod
    def _outlasts_polls(cls, stale_after: float, info: ValidationInfo) -> float:
        if stale_after < round(3 * info.data.get("poll_interval", 0), 6):
            raise ValueError("make it at least three times opsgenie.poll_interval")
        return stale_after


class SlackSettings(Section):
    """The workspace and channel in which staff work."""

    bot_token: BotToken
    app_token: AppToken
    channel: Channel
    url: BaseUrl = "https://slack.com/api/"
    command: Command = "/statuspage"
    allowed_user_group: Group = ""
    remind_after: Annotated[
        tuple[Seconds, ...], must(lambda spans: len(spans) < 10, "give at most 9 times")
    ] = (600.0, 1200.0)
    texts: Annotated[
        dict[NonEmpty, NonEmpty], must(lambda texts: len(texts) <= 100, "give at most 100 texts")
    ] = {}


class RapidmailSettings(Section):
    """The account that mails subscribers, and their list."""

    url: Url = "https://apiv3.emailsys.net/v1"
    username: BasicUser
    password: Token
    recipientlist_id: Count
    from_name: NonEmpty
    from_email: Sender
    undo_window: Seconds = 30.0
    subscribe: Switch = True


#: What begins the keys of sentences that are of one kind alone.
PREFIXES = tuple(f"{severity}_" for severity in Severity)
#: The public sentences that are written for staff who write none: the keys of the catalogue's
#: [texts], whose words hold for what is empty here, and those of every kind with a kind's prefix.
TEXTS = dict.fromkeys(load_words("en").table("texts"))
TEXTS |= dict.fromkeys(
    prefix + key for key in TEXTS for prefix in PREFIXES if not key.startswith(PREFIXES)
)
if TYPE_CHECKING:

    class Texts(Section):
        """A field for each of `TEXTS`."""
else:
    Texts = create_model("Texts", __base__=Section, **dict.fromkeys(TEXTS, (NonEmpty, "")))


class EdgeSettings(Section):
    """The edge tiers that get every change."""

    publish_urls: tuple[Url, ...] = ()


class Config(Section):
    """All of the settings; an integration without a section is off."""

    site: Site
    server: Server = Server()
    database: Database = Database()
    opsgenie: OpsGenieSettings | None = None
    slack: SlackSettings | None = None
    rapidmail: RapidmailSettings | None = None
    texts: Texts = Texts()
    edge: EdgeSettings = EdgeSettings()


#: By their names; of one that may be missing, what it is where it is there.
SECTIONS: dict[str, type[Section]] = {
    name: part
    for name, field in Config.model_fields.items()
    for part in (field.annotation, *get_args(field.annotation))
    if isinstance(part, type) and issubclass(part, Section)
}
#: Every key there is, by its section and name.
KEYS: dict[tuple[str, str], FieldInfo] = {
    (name, key): field
    for name, section in SECTIONS.items()
    for key, field in section.model_fields.items()
}
#: What config.example.toml has where something of one's own belongs.
PLACEHOLDER = re.compile(r"Example Shop|[CS]0123456789|\bexample\.(com|net|org)\b")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: What `[texts]` once had filled in.
PLACES = re.compile(r"\{(start|end)\}")
#: What the site's own colours are seen against at worst: style.css draws links on tints, and quiet
#: words on the band.
AGAINST = {"link": "#e7e5e2", "link_dark": "#38393f", "band": "#5b5955", "band_dark": "#a9a9b2"}
ENOUGH_CONTRAST = 4.5  # WCAG's AA; https://www.w3.org/TR/WCAG22/#contrast-minimum


def warnings(config: Config) -> Iterator[str]:
    """What is allowed, but probably not what was meant: a line "KEY: remedy" for each."""
    if config.opsgenie and config.opsgenie.poll_interval < 5:
        yield (
            "opsgenie.poll_interval: under 5 seconds the vendor may throttle this account:"
            " make it 10"
        )
    for section in ("opsgenie", "slack", "rapidmail"):
        url = getattr(getattr(config, section), "url", "")
        if url.startswith("http:") and urlsplit(url).hostname not in LOOPBACK:
            yield f"{section}.url: without TLS others can read the secrets on their way: use https"
    for section, key in KEYS:
        if PLACEHOLDER.search(str(getattr(getattr(config, section), key, ""))):
            yield (
                f"{section}.{key}: this is still the placeholder of config.example.toml:"
                " write your own"
            )
    for name, color in config.site.colors.items():
        ratio = contrast(color, AGAINST[name])
        if ratio < ENOUGH_CONTRAST:
            yield (
                f"site.colors.{name}: {color} has too little contrast to read, {ratio:.1f} to 1:"
                f" take one with at least {ENOUGH_CONTRAST} to 1 against {AGAINST[name]}"
            )
    for key, text in config.texts:
        if PLACES.search(text):
            yield (
                f"texts.{key}: {{start}} and {{end}} are no longer filled in, and the sentence that"
                " has them is left out: write it without them, a plan's times stand beside it"
            )
    soon = datetime.now(UTC) + timedelta(days=30)
    if config.site.security_contact and config.site.security_expires < soon.isoformat():
        yield (
            "site.security_expires: security.txt needs a time over 30 days ahead:"
            " check the contact, renew it"
        )


def contrast(one: str, other: str) -> float:
    """The ratio of two colours like #0a53be, from 1, which cannot be told apart, to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    """How light it is, from 0 to 1; https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    total = 0.0
    for start, weight in ((1, 0.2126), (3, 0.7152), (5, 0.0722)):
        part = int(color[start : start + 2], 16) / 255
        if part <= 0.04045:
            total += weight * part / 12.92
        else:
            total += weight * ((part + 0.055) / 1.055) ** 2.4
    return total
