"""The HTML pages, the mails, and their bytes: rendered once per change, served to everybody."""

import gzip
import hashlib
from calendar import Calendar
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from jinja2 import DictLoader, Environment, select_autoescape
from markupsafe import Markup

from monostat import RESOURCES, __version__
from monostat.config import Site
from monostat.core.markdown import cut, html, plain_text
from monostat.core.model import DISMISSED, PLANNED, SUSPECTED, Incident, Policy, Update
from monostat.core.reminders import promised_by
from monostat.core.snapshot import instant
from monostat.core.text import exact, in_words, one_line
from monostat.engine import Board
from monostat.public.feeds import word
from monostat.public.statuspage import is_scheduled
from monostat.slack.messages import Letter, status_text, times

DAY, YEAR = timedelta(days=1), timedelta(days=366)


class Prepared(NamedTuple):
    """A body, plain and zipped, with all its headers that do not depend on who asks."""

    body: bytes
    zipped: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, body: bytes, kind: str, caching: str, etag: str = "", **more: str) -> "Prepared":
        """The ETag is weak: it is the same for the plain and the zipped bytes."""
        etag = etag or f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'
        headers = {
            "Content-Type": kind,
            "Cache-Control": caching,
            "Vary": "Accept-Encoding",
            "ETag": etag,
        }
        return cls(body, gzip.compress(body, 6, mtime=0), headers | more)


def build_of(site: Site) -> str:
    """Another build, or other settings of the site, is another version of everything public."""
    digest = hashlib.sha256(__version__.encode() + site.model_dump_json().encode())
    files = sorted([*(RESOURCES / "static").iterdir(), *(RESOURCES / "templates").iterdir()])
    for path in [*files, Path(site.logo)] if site.logo else files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


class Pages:
    """Turns snapshots into pages; `build` marks the addresses of style, script and icons."""

    def __init__(self, site: Site, policy: Policy, build: str) -> None:
        self.site, self._policy, self._zone = site, policy, ZoneInfo(site.timezone)
        # All of them are in memory from now on: an upgrade may replace the files of a daemon that
        # runs.
        templates = {
            path.name: path.read_text("utf-8") for path in (RESOURCES / "templates").iterdir()
        }
        self._env = Environment(
            loader=DictLoader(templates),
            autoescape=select_autoescape(),
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._env.globals |= {"site": site, "build": build, "lang": "en"}
        self._env.globals |= {
            "subscribe": policy.subscribe,
            "webcal": f"webcal:{site.url.partition(':')[2]}/maintenance.ics",
        }
        self._env.filters["markdown"] = lambda text: Markup(html(text))  # noqa: S704 - sanitised
        self._env.filters |= {
            "when": self.when,
            "span": span,
            "status_text": status_text,
            "day": day_text,
        }
        self._env.filters |= {f.__name__: f for f in (instant, is_scheduled, plain_text, utc, word)}
        self._env.filters["promised_by"] = lambda i: promised_by(i, policy)
        self._env.filters["status_then"] = status_then
        # Contract rapidmail.md, section 5: what people wrote must not be taken for a placeholder.
        self._mails = self._env.overlay(
            finalize=lambda v: v.replace("{%", "{ %") if isinstance(v, str) else v
        )

    def when(self, at: datetime) -> Markup:
        """A time in the site's zone, named, that the page's script can turn into the reader's."""
        return Markup('<time datetime="{}" data-when>{}</time>').format(
            exact(at), in_words(at, self._zone)
        )

    def render(self, template: str, **context: Any) -> str:
        return self._env.get_template(template).render(**context)

    def main(self, board: Board) -> Markup:
        """What stands inside <main> on `/`: also the message for pages that are open."""
        return Markup(self.render("main.html", snapshot=board.snapshot, page="home"))  # noqa: S704 - a template

    def page(self, name: str, board: Board, title: str = "", **context: Any) -> bytes:
        """A whole document; `name` is that of the template for what stands inside <main>, unless
        `main` is given.
        """
        snapshot, version = board.snapshot, board.version.number
        state = (
            ""
            if title and (snapshot.headline.kind == "ok" or name == "incident")
            else snapshot.headline.text
        )
        title = " · ".join(filter(None, (state, title, f"{self.site.name} status")))
        about = {
            "page": name,
            "title": title,
            "version": version,
            "epoch": board.state.epoch,
            "as_of": board.now(),
        }
        return self.render("page.html", snapshot=snapshot, **about, **context).encode()

    def incident(self, board: Board, number: str) -> bytes | None:
        if not (incident := board.state.incidents.get(int(number))):
            return None
        suspicion = incident.status is DISMISSED and not incident.was_plan
        title = (
            "A suspicion, since dismissed"
            if suspicion
            else f"{status_text(incident)}: {incident.title}"
        )
        return self.page("incident", board, title, incident=incident)

    def history(self, board: Board) -> bytes:
        """Twelve months, the newest first: each with its weeks, what happened on each of its days,
        and in all of it.
        """
        now, today = board.now(), board.now().astimezone(self._zone).date()
        past, months, year, month = _past(board), [], today.year, today.month
        for _ in range(12):
            weeks = Calendar().monthdatescalendar(year, month)
            first, later = date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
            happened = self._between(first, later, past, now)
            days = {d: self._between(d, d + DAY, happened, now) for week in weeks for d in week}
            months.append((first, weeks, days, happened))
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
        return self.page(
            "history", board, "History", months=months, today=today, begun=self._begun(board)
        )

    def day(self, board: Board, name: str) -> bytes | None:
        """A day from midnight to midnight in the site's zone; None where the page knows nothing of
        that time.
        """
        try:
            day, begun, now = date.fromisoformat(name), self._begun(board), board.now()
            today = now.astimezone(self._zone).date()
            if not begun - YEAR <= day <= today + YEAR:
                return None
        except ValueError:
            return None
        happened = self._between(day, day + DAY, _past(board), now)
        hours = (self._midnight(day + DAY) - self._midnight(day)).total_seconds() / 3600
        about = {
            "day": day,
            "today": today,
            "begun": begun,
            "hours": round(hours, 1),
            "happened": happened,
        }
        return self.page("day", board, day_text(day), around=(day - DAY, day + DAY), **about)

    def subscribe(self, board: Board, **answer: str) -> bytes | None:
        return (
            self.page("subscribe", board, "Subscribe", **answer) if self._policy.subscribe else None
        )

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self._zone).astimezone(UTC)

    def _between(
        self, first: date, later: date, past: Iterable[Incident], now: datetime
    ) -> list[Incident]:
        """What happened from the one midnight to the other, the worst first."""
        begin, end = self._midnight(first), self._midnight(later)

        def touches(i: Incident) -> bool:
            start, over = (
                (i.planned_start, i.planned_end)
                if i.status is PLANNED
                else (i.started_at, i.ended_at or now)
            )
            start = start or i.started_at
            return start < end and (start >= begin or (over or start) > begin)

        return sorted(filter(touches, past), key=lambda i: i.severity.rank, reverse=True)

    def _begun(self, board: Board) -> date:
        """The first day that this page knows of."""
        first = min([board.state.birth.at, *(i.started_at for i in _past(board))])
        return (
            max(first, datetime(1970, 1, 2, tzinfo=UTC)).astimezone(self._zone).date()
        )  # whatever staff wrote

    def mail(self, incident: Incident) -> Letter:
        """The mail about an incident as it is now; nobody needs to load the page to know."""
        title, told = (
            one_line(incident.title),
            [*times(incident), ("Last update", incident.updated_at)],
        )
        facts = [f"{name}: {at.astimezone(self._zone):%Y-%m-%d %H:%M %Z}" for name, at in told]
        address, text = f"{self.site.url}/incidents/{incident.number}", incident.updates[-1].text
        context = {
            "incident": incident,
            "title": title,
            "facts": facts,
            "address": address,
            "text": text,
        }
        context["status"] = f"{status_text(incident)} · {incident.severity.label}"
        subject = f"[{self.site.name}] {status_text(incident)}: {title}".replace("{%", "{ %")
        parts = [
            self._mails.get_template(f"mail.{part}").render(**context) for part in ("html", "txt")
        ]
        return Letter(cut("".join(c if c.isprintable() else " " for c in subject), 150), *parts)


def status_then(incident: Incident, update: Update) -> str:
    """Where the incident stood with this update, where that was new."""
    before = next((u for u in reversed(incident.updates) if u.id < update.id), None)
    if before and (before.status, before.severity) == (update.status, update.severity):
        return "Update"
    return status_text(
        replace(incident, status=update.status, severity=update.severity, status_by=update.by)
    )


def utc(at: datetime, form: str) -> str:
    return at.astimezone(UTC).strftime(form)


def _past(board: Board) -> list[Incident]:
    """What has a place in the calendar, newest first: no suspicion, and nothing that was cancelled."""
    known = [i for i in board.state.incidents.values() if i.status not in (SUSPECTED, DISMISSED)]
    return sorted(known, key=lambda i: (i.planned_start or i.started_at, i.number), reverse=True)


def day_text(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def span(seconds: float) -> str:
    """A length of time in words."""
    whole = max(round(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    days, hours = (86_400, "days", 3600, "h"), (3600, "h", 60, "min")
    unit, name, part, part_name = (
        days if whole >= 172_800 else hours if whole >= 3600 else (60, "min", 1, "s")
    )
    rest = whole % unit // part
    return f"{whole // unit} {name}" + (f" {rest} {part_name}" if rest else "")
