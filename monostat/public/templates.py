"""The templates' environment: where they come from, and the words that they may use.

It is aiohttp-jinja2's, set up on the application. `aiohttp_jinja2.render_template` wants a request,
and there is none: pages are rendered when something changes, once for all who will ask, and mails
for nobody who asks at all. So `Pages` renders with the environment that the set-up returns.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp_jinja2
from aiohttp import web
from jinja2 import DictLoader, Environment, select_autoescape
from markupsafe import Markup

from monostat import RESOURCES
from monostat.config import Site
from monostat.core.markdown import html, plain_text
from monostat.core.model import Incident, Policy, Update
from monostat.core.reminders import promised_by
from monostat.core.snapshot import instant
from monostat.core.text import exact, in_words
from monostat.languages import load_words
from monostat.public.feeds import word
from monostat.public.statuspage import is_scheduled
from monostat.slack.messages import status_text

MINUTE = 60
HOUR = 3600
DAY = 86_400


def set_up_templates(app: web.Application, site: Site, policy: Policy, build: str) -> Environment:
    """Gives the application its templates, all in memory, and returns their environment.

    No file is read later: an upgrade may replace the files of a daemon that runs. `build` marks the
    addresses of style, script and icons.
    """
    files = (RESOURCES / "templates").iterdir()
    zone = ZoneInfo(site.timezone)
    environment = aiohttp_jinja2.setup(
        app,
        loader=DictLoader({path.name: path.read_text("utf-8") for path in files}),
        filters=filters(zone, policy),
        default_helpers=False,
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(
        site=site,
        build=build,
        lang=site.language,
        t=load_words(site.language).html,
        subscribe=policy.subscribe,
        webcal=f"webcal:{site.url.partition(':')[2]}/maintenance.ics",
    )
    return environment


def filters(zone: ZoneInfo, policy: Policy) -> dict[str, Callable[..., Any]]:
    """The filters of all templates, by the names that they have there."""
    return {
        "day": day_text,
        "instant": instant,
        "is_scheduled": is_scheduled,
        "markdown": lambda text: Markup(html(text)),  # noqa: S704 - sanitised
        "plain_text": plain_text,
        "promised_by": lambda incident: promised_by(incident, policy),
        "span": span,
        "status_text": status_text,
        "status_then": status_then,
        "utc": utc,
        "when": lambda at: when(at, zone),
        "word": word,
    }


def without_placeholders(value: object) -> object:
    """Keeps what people wrote from being taken for a placeholder of the mail's vendor.

    Contract rapidmail.md, section 5.
    """
    return value.replace("{%", "{ %") if isinstance(value, str) else value


def when(at: datetime, zone: ZoneInfo) -> Markup:
    """A time in that zone, named, that the page's script can turn into the reader's."""
    element = Markup('<time datetime="{}" data-when>{}</time>')
    return element.format(exact(at), in_words(at, zone))


def utc(at: datetime, form: str) -> str:
    """A time in UTC, in a form of strftime."""
    return at.astimezone(UTC).strftime(form)


def day_text(day: date) -> str:
    """A day in words, as "4 March 2026"."""
    return f"{day.day} {day:%B %Y}"


def status_then(incident: Incident, update: Update) -> str:
    """Where the incident stood with this update, where that was new."""
    older = [other for other in incident.updates if other.id < update.id]
    if older:
        before = older[-1]
        if (before.status, before.severity) == (update.status, update.severity):
            return "Update"
    then = replace(incident, status=update.status, severity=update.severity, status_by=update.by)
    return status_text(then)


def span(seconds: float) -> str:
    """A length of time in words, as "3 h 5 min"."""
    whole = max(round(seconds), 0)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return _two_units(whole, MINUTE, "min", 1, "s")
    if whole < 2 * DAY:
        return _two_units(whole, HOUR, "h", MINUTE, "min")
    return _two_units(whole, DAY, "days", HOUR, "h")


def _two_units(seconds: int, unit: int, name: str, part: int, part_name: str) -> str:
    """So many of the unit, and of its part where there is a rest."""
    rest = seconds % unit // part
    text = f"{seconds // unit} {name}"
    return f"{text} {rest} {part_name}" if rest else text
