"""The HTML pages and the mails: rendered once per change, served to everybody."""

import hashlib
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from markupsafe import Markup

from monostat import RESOURCES, __version__
from monostat.config import Site
from monostat.core.model import DISMISSED, Incident, Policy
from monostat.core.past import DAY
from monostat.core.times import Times
from monostat.core.words import Words
from monostat.engine import Engine
from monostat.languages import catalogue
from monostat.mail.letter import Letter
from monostat.public.days import Days
from monostat.public.labels import status_key
from monostat.public.letters import Letters
from monostat.public.templates import set_up_templates, without_placeholders

YEAR = timedelta(days=366)
MONTHS = 12  # in the history


def build_of(site: Site) -> str:
    """A hash of the program, its files and the site's settings.

    Another build is another version of everything public.
    """
    digest = hashlib.sha256(__version__.encode() + site.model_dump_json().encode())
    files = sorted([*(RESOURCES / "static").iterdir(), *(RESOURCES / "templates").iterdir()])
    digest.update(catalogue(site.language).encode())
    if site.logo:
        files.append(Path(site.logo))
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


class Pages:
    """Turns what the engine knows into pages, with the templates of the application."""

    def __init__(
        self, app: web.Application, words: Words, site: Site, policy: Policy, build: str
    ) -> None:
        self.site = site
        self.words = words
        self._policy = policy
        self._zone = ZoneInfo(site.timezone)
        self._times = Times(words, self._zone)
        self._templates = set_up_templates(app, self._times, site, policy, build)
        mail_templates = self._templates.overlay(finalize=without_placeholders)
        self._letters = Letters(site, policy, self._times, mail_templates)

    def render(self, template: str, **context: Any) -> str:
        """A template's text; strings that people wrote are escaped in HTML and XML."""
        return self._templates.get_template(template).render(**context)

    def main(self, engine: Engine) -> Markup:
        """What stands inside <main> on `/`: also the message for pages that are open."""
        text = self.render(
            "main.html",
            snapshot=engine.snapshot,
            page="home",
            now=engine.now(),
            glance=Days(self._zone, engine, engine.first_start).glance(engine.episodes),
        )
        return Markup(text)  # noqa: S704 - a template

    def title(self, engine: Engine, title: str = "") -> str:
        """A document's title; without one of its own it begins with the state."""
        name = self.words("page.name", name=self.site.name)
        return f"{title or engine.snapshot.headline.text} · {name}"

    def page(
        self, name: str, engine: Engine, title: str = "", path: str = "", **context: Any
    ) -> str:
        """A whole document; `name` is that of the template for what stands inside <main>.

        Unless `main` is given, which stands there then. `path` is its address on the site.
        """
        return self.render(
            "page.html",
            snapshot=engine.snapshot,
            page=name,
            path=path,
            title=self.title(engine, title),
            version=engine.version.number,
            epoch=engine.state.epoch,
            now=engine.now(),
            **context,
        )

    def home(self, engine: Engine, main: Markup) -> str:
        """The first page, with what stands inside its <main>."""
        about = self.words("page.about_home", name=self.site.name)
        return self.page("home", engine, main=main, about=about)

    async def incident(self, engine: Engine, number: str) -> str | None:
        """The page of an incident; None where there is none of that number."""
        incident = await engine.incident(int(number))
        if not incident:
            return None
        title = self.words(status_key(incident))
        if incident.status is not DISMISSED or incident.was_plan:
            title = self.words("page.about_incident", status=title, title=incident.title)
        return self.page(
            "incident", engine, title, f"incidents/{number}", incident=incident, about=title
        )

    async def history(self, engine: Engine, newest: str | None) -> str | None:
        """Twelve months, the newest first; `newest` as "2025-11", else the present one.

        None where that is not a month, or one of which the page knows nothing.
        """
        archive = engine.store.archive
        calendar = Days(self._zone, engine, await archive.first_start())
        path = f"history/{newest}" if newest else "history"
        newest = newest or f"{calendar.today:%Y-%m}"
        try:
            first = date.fromisoformat(f"{newest}-01")
        except ValueError:
            return None
        begun = calendar.begun.replace(day=1)
        if not begun <= first <= calendar.today:
            return None
        earlier = (first - YEAR + 15 * DAY).replace(day=1)
        begin = calendar.midnight(earlier)
        end = calendar.midnight(first + 38 * DAY)
        episodes = await archive.episodes(begin, end)
        return self.page(
            "history",
            engine,
            self.words("history.title"),
            path,
            about=self.words("page.about_history", name=self.site.name),
            months=calendar.months(first, MONTHS, episodes),
            today=calendar.today,
            begun=calendar.begun,
            is_newest=path == "history",
            earlier=earlier,
            has_earlier=begun <= earlier,
        )

    async def day(self, engine: Engine, name: str) -> str | None:
        """A day from midnight to midnight in the site's zone.

        None where the page knows nothing of that time.
        """
        try:
            day = date.fromisoformat(name)
        except ValueError:
            return None
        archive = engine.store.archive
        calendar = Days(self._zone, engine, await archive.first_start())
        if not calendar.begun - YEAR <= day <= calendar.today + YEAR:
            return None
        placed = await archive.placed(calendar.midnight(day), calendar.midnight(day + DAY))
        title = self._times.long_day(day)
        present_month = calendar.today.replace(day=1)
        month_is_known = calendar.begun.replace(day=1) <= day.replace(day=1) <= present_month
        month_path = "history"
        if month_is_known and day < present_month:
            month_path = f"history/{day:%Y-%m}"
        return self.page(
            "day",
            engine,
            title,
            name,
            about=self.words("page.about_day", name=self.site.name, day=title),
            around=(day - DAY, day + DAY),
            day=day,
            month_path=month_path,
            month_is_known=month_is_known,
            today=calendar.today,
            begun=calendar.begun,
            hours=calendar.hours(day),
            happened=calendar.between(day, day + DAY, placed),
        )

    async def subscribe(self, engine: Engine) -> str | None:
        """The form for subscribers; None where there is none."""
        if not self._policy.subscribe:
            return None
        return self._form(engine)

    def subscribed(self, engine: Engine, said: str, email: str) -> str:
        """The form again, with what came of it: one of the words that the template knows."""
        return self._form(engine, said=said, email=email)

    def _form(self, engine: Engine, **context: str) -> str:
        title = self.words("subscribe.title")
        about = self.words("page.about_subscribe", name=self.site.name)
        return self.page("subscribe", engine, title, "subscribe", about=about, **context)

    def missing(self, engine: Engine) -> str:
        """What stands where there is no page."""
        return self.page("missing", engine, self.words("missing.title"))

    def failed(self, engine: Engine) -> str:
        """What stands where a page could not be made."""
        return self.page("error", engine, self.words("error.title"))

    def mail(self, incident: Incident) -> Letter:
        """The mail about an incident as it is now."""
        return self._letters.letter(incident)
