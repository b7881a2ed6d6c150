"""The settings and what they may be; `config.example.toml` explains every key.

`loading` reads them from the file, the credentials and the environment, and validates them whole
before anything opens.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
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
from monostat.values import (
    AppToken,
    BaseUrl,
    BasicUser,
    BotToken,
    Channel,
    Cloud,
    Color,
    Command,
    Contact,
    Count,
    Group,
    Link,
    Listen,
    Login,
    Logo,
    NonEmpty,
    OptionalOrigin,
    Origin,
    PathSecret,
    Proxy,
    Seconds,
    Sender,
    Switch,
    Time,
    Token,
    Url,
    Zone,
    must,
    revealed,
)


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
    """Spans in seconds that are not settings, but that a test shortens."""

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
            "it has a catalogue, but no rule for its plurals: add a line to PLURALS in"
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
    update_every: Annotated[Seconds, Field(gt=0)] = 1800.0


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
        product = "opsgenie" if key == "api_key" else "jsm"
        if api != product:
            return cls.model_fields[key].default
        if not revealed(value):
            raise ValueError(
                f'it is required with api = "{api}": add it, or remove the section to do without it'
            )
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
#: What `[texts]` once had filled in.
PLACES = re.compile(r"\{(start|end)\}")
