"""The HTML pages and the mails: rendered once per change, served to everybody."""

import hashlib
from calendar import Calendar
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from markupsafe import Markup

from monostat import RESOURCES, __version__
from monostat.config import Site
from monostat.core.model import DISMISSED, Incident, Policy
from monostat.core.times import Times
from monostat.core.words import Words
from monostat.engine import Engine
from monostat.languages import catalogue
from monostat.mail.letter import Letter
from monostat.public.days import DAY, Days
from monostat.public.mails import Mails
from monostat.public.templates import set_up_templates, without_placeholders
from monostat.slack.messages import status_text

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
        self._mails = Mails(site, policy, self._times, mail_templates)

    def render(self, template: str, **context: Any) -> str:
        """A template's text; strings that people wrote are escaped in HTML and XML."""
        return self._templates.get_template(template).render(**context)

    def main(self, engine: Engine) -> Markup:
        """What stands inside <main> on `/`: also the message for pages that are open."""
        text = self.render("main.html", snapshot=engine.snapshot, page="home", now=engine.now())
        return Markup(text)  # noqa: S704 - a template

    def page(self, name: str, engine: Engine, title: str = "", **context: Any) -> str:
        """A whole document; `name` is that of the template for what stands inside <main>.

        Unless `main` is given, which stands there then. The title begins with the state unless all
        is well, or the page is about one incident.
        """
        headline = engine.snapshot.headline
        parts = [title, f"{self.site.name} status"]
        if not title or (headline.kind != "ok" and name != "incident"):
            parts.insert(0, headline.text)
        return self.render(
            "page.html",
            snapshot=engine.snapshot,
            page=name,
            title=" · ".join(part for part in parts if part),
            version=engine.version.number,
            epoch=engine.state.epoch,
            now=engine.now(),
            **context,
        )

    def incident(self, engine: Engine, number: str) -> str | None:
        """The page of an incident; None where there is none of that number."""
        incident = engine.state.incidents.get(int(number))
        if not incident:
            return None
        if incident.status is DISMISSED and not incident.was_plan:
            title = "A suspicion, since dismissed"
        else:
            title = f"{status_text(incident)}: {incident.title}"
        return self.page("incident", engine, title, incident=incident)

    def history(self, engine: Engine) -> str:
        """Twelve months, the newest first.

        Each with its weeks, what happened on each of its days, and in all of it.
        """
        calendar = Days(self._zone, engine)
        months = []
        first = calendar.today.replace(day=1)
        for _ in range(MONTHS):
            later = (first + 31 * DAY).replace(day=1)
            happened = calendar.between(first, later, calendar.past)
            weeks = Calendar().monthdatescalendar(first.year, first.month)
            days = {}
            for day in chain(*weeks):
                days[day] = calendar.between(day, day + DAY, happened)
            months.append((first, weeks, days, happened))
            first = (first - DAY).replace(day=1)
        return self.page(
            "history", engine, "History", months=months, today=calendar.today, begun=calendar.begun
        )

    def day(self, engine: Engine, name: str) -> str | None:
        """A day from midnight to midnight in the site's zone.

        None where the page knows nothing of that time.
        """
        try:
            day = date.fromisoformat(name)
        except ValueError:
            return None
        calendar = Days(self._zone, engine)
        if not calendar.begun - YEAR <= day <= calendar.today + YEAR:
            return None
        return self.page(
            "day",
            engine,
            self._times.long_day(day),
            around=(day - DAY, day + DAY),
            day=day,
            today=calendar.today,
            begun=calendar.begun,
            hours=calendar.hours(day),
            happened=calendar.between(day, day + DAY, calendar.past),
        )

    def subscribe(self, engine: Engine) -> str | None:
        """The form for subscribers; None where there is none."""
        if not self._policy.subscribe:
            return None
        return self.page("subscribe", engine, "Subscribe")

    def subscribed(self, engine: Engine, said: str, email: str) -> str:
        """The form again, with what came of it: one of the words that the template knows."""
        return self.page("subscribe", engine, "Subscribe", said=said, email=email)

    def mail(self, incident: Incident) -> Letter:
        """The mail about an incident as it is now."""
        return self._mails.letter(incident)
