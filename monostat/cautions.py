"""Settings that are allowed, but probably not what was meant."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from monostat.config import KEYS, PLACES, Config

#: What config.example.toml has where something of one's own belongs.
PLACEHOLDER = re.compile(r"Example Shop|[CS]0123456789|\bexample\.(com|net|org)\b")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: What the site's own colours are seen against at worst: style.css draws links on tints, and quiet
#: words on the band.
AGAINST = {"link": "#e7e5e2", "link_dark": "#38393f", "band": "#5b5955", "band_dark": "#a9a9b2"}
ENOUGH_CONTRAST = 4.5  # WCAG's AA; https://www.w3.org/TR/WCAG22/#contrast-minimum


def cautions(config: Config) -> Iterator[str]:
    """What is allowed, but probably not what was meant: a line "KEY: remedy" for each."""
    if config.opsgenie and config.opsgenie.poll_interval < 5:
        yield (
            "opsgenie.poll_interval: under 5 seconds, the vendor may throttle this account:"
            " make it 10"
        )
    for section in ("opsgenie", "slack", "rapidmail"):
        url = getattr(getattr(config, section), "url", "")
        if url.startswith("http:") and urlsplit(url).hostname not in LOOPBACK:
            yield f"{section}.url: without TLS, others can read the secrets on their way: use https"
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
                " has them is left out: write it without them; a plan's times are shown beside it"
            )
    soon = datetime.now(UTC) + timedelta(days=30)
    if config.site.security_contact and config.site.security_expires < soon.isoformat():
        yield (
            "site.security_expires: security.txt needs a time over 30 days ahead:"
            " check that the contact is still right, and set a later time"
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
