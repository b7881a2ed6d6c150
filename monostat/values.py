"""The kinds of values that settings have: what each accepts, and the remedy for what it refuses."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, SecretStr


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
# Strict: "5" and true are not numbers. The environment's words become some in `loading`.
Seconds = Annotated[float, Field(ge=0, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
