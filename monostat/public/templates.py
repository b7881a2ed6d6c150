"""The templates' environment: where they come from, and the words that they may use.

It is aiohttp-jinja2's, set up on the application. `aiohttp_jinja2.render_template` wants a request,
and there is none: pages are rendered when something changes, once for all who will ask, and mails
for nobody who asks at all. So `Pages` renders with the environment that the set-up returns.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import aiohttp_jinja2
from aiohttp import web
from jinja2 import DictLoader, Environment, pass_context, select_autoescape
from jinja2.runtime import Context
from markupsafe import Markup

from monostat import RESOURCES
from monostat.config import Site
from monostat.core.markdown import html, plain_text
from monostat.core.model import Policy
from monostat.core.reminders import promised_by
from monostat.core.snapshot import instant
from monostat.core.text import exact
from monostat.core.times import Times
from monostat.core.words import Words
from monostat.public.feeds import word
from monostat.public.labels import kind_of, measured_key, outages_in_words, status_key, step_of
from monostat.public.statuspage import planned_line

#: A time in whose day and year nothing else is.
NEVER = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)


def set_up_templates(
    app: web.Application, times: Times, site: Site, policy: Policy, build: str
) -> Environment:
    """Gives the application its templates, all in memory, and returns their environment.

    No file is read later: an upgrade may replace the files of a daemon that runs. `build` marks the
    addresses of style, script and icons.
    """
    files = (RESOURCES / "templates").iterdir()
    environment = aiohttp_jinja2.setup(
        app,
        loader=DictLoader({path.name: path.read_text("utf-8") for path in files}),
        filters=filters(policy, times.words) | TimeFilters(times).all(),
        default_helpers=False,
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(
        site=site,
        build=build,
        lang=times.words.language,
        t=times.words.html,
        words=times.words,
        words_of=times.words.table,
        subscribe=policy.subscribe,
        webcal=f"webcal:{site.url.partition(':')[2]}/maintenance.ics",
    )
    return environment


def filters(policy: Policy, words: Words) -> dict[str, Callable[..., Any]]:
    """The filters of all templates but those of times, by the names that they have there."""
    return {
        "instant": instant,
        "planned_line": planned_line,
        "markdown": lambda text: Markup(html(text)),  # noqa: S704 - sanitised
        "plain_text": plain_text,
        "promised_by": lambda incident: promised_by(incident, policy),
        "kind": kind_of,
        "measured_key": measured_key,
        "outages": partial(outages_in_words, words),
        "status_key": status_key,
        "step": step_of,
        "utc": utc,
        "word": word,
    }


def without_placeholders(value: object) -> object:
    """Keeps what people wrote from being taken for a placeholder of the mail's vendor."""
    if isinstance(value, str):
        return value.replace("{%", "{ %")
    return value


class TimeFilters:
    """The filters that write times; `now`, of which much is left out, is the context's.

    Where a template has no `now`, as in what must not change by itself, every time has its day and
    year.
    """

    def __init__(self, times: Times) -> None:
        self.times = times

    def all(self) -> dict[str, Callable[..., Any]]:
        """By the names that they have in templates."""
        return {
            "when": self.when,
            "dated": self.dated,
            "zoned": self.zoned,
            "range": self.range,
            "relative": self.relative,
            "span": self.times.span,
            "day": self.day,
            "long_day": self.times.long_day,
            "month": self.times.month,
        }

    @pass_context
    def when(self, context: Context, at: datetime) -> Markup:
        """A time as an element that the page's script can turn into the reader's zone."""
        return _element(at, self.times.moment(at, _now(context)))

    @pass_context
    def dated(self, context: Context, at: datetime) -> Markup:
        """The same, with its day also where that is today."""
        return _element(at, self.times.dated(at, _now(context)), "dated")

    @pass_context
    def zoned(self, context: Context, at: datetime) -> str:
        """The same as text, with the zone's name at that time: for those who read it elsewhere."""
        text = self.times.dated(at, _now(context))
        return self.times.words("time.zoned", at=text, zone=self.times.zone_name(at))

    @pass_context
    def range(
        self, context: Context, start: datetime, end: datetime, *, planned: bool = False
    ) -> Markup:
        """Both ends as such elements; an end that shares the start's day says so by "clock"."""
        ends = self.times.ends(start, end, _now(context), planned=planned)
        return self.times.words.html(
            "time.range",
            start=_element(start, ends.start, "dated" if planned else ""),
            end=_element(end, ends.end, "clock" if ends.shares_day else ""),
        )

    @pass_context
    def relative(self, context: Context, at: datetime) -> str:
        """How far away it is, as "in 6 days"."""
        return self.times.relative(at, _now(context))

    @pass_context
    def day(self, context: Context, day: date) -> str:
        """A day as "Sat 5 Dec"."""
        return self.times.day(day, _now(context).astimezone(self.times.zone).date())


def _now(context: Context) -> datetime:
    """The time of rendering; one that no time is near where the template must not know it."""
    now = context.get("now", NEVER)
    if isinstance(now, datetime):
        return now
    return NEVER


def _element(at: datetime, text: str, form: str = "") -> Markup:
    """A time in words, with the instant; `form` tells the script what is shown of it."""
    element = Markup('<time datetime="{}" data-when="{}">{}</time>')
    return element.format(exact(at), form, text)


def utc(at: datetime, form: str) -> str:
    """A time in UTC, in a form of strftime."""
    return at.astimezone(UTC).strftime(form)
