"""The HTML pages and their bytes: rendered once per change, served to everybody.

Templates know the words of the page's frame; `messages` those of incidents.
"""

import gzip
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
from markupsafe import Markup

from monostat import RESOURCES, __version__
from monostat.config import Site
from monostat.decisions import promised_by
from monostat.incidents import Incident, Policy
from monostat.messages import SEVERITY_TEXT, html, status_text
from monostat.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Prepared:
    """A body with everything about it that does not depend on who asks."""

    body: bytes
    zipped: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes, etag: str = "") -> "Prepared":
        """The ETag is weak: it is the same for the plain and the zipped bytes."""
        etag = etag or f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'
        return cls(body, gzip.compress(body, 6, mtime=0), etag)


def static_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((RESOURCES / "static").iterdir()) if path.is_file()}


def build_of(site: Site) -> str:
    """Another build, or other settings of the site, is another version of everything public."""
    digest = hashlib.sha256(__version__.encode() + site.model_dump_json().encode())
    for path in sorted([*(RESOURCES / "static").iterdir(), *(RESOURCES / "templates").iterdir()]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


class Pages:
    """Turns snapshots into pages; `build` marks the addresses of style, script and icons."""

    def __init__(self, site: Site, policy: Policy, *, build: str) -> None:
        self._site, self._policy, self._zone = site, policy, ZoneInfo(site.timezone)
        folder = jinja2.FileSystemLoader(RESOURCES / "templates")
        self._env = jinja2.Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self._env.filters["when"] = self.when
        self._env.globals.update(site=site, build=build, lang="en")

    def when(self, at: datetime) -> Markup:
        """A time in the site's zone, named, that the page's script can turn into the reader's."""
        local = at.astimezone(self._zone)
        words = f"{local.day} {local:%B %Y, %H:%M %Z}"
        return Markup('<time datetime="{}" data-when>{}</time>').format(
            f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", words
        )

    def main(self, snapshot: Snapshot) -> str:
        """What stands inside <main> on `/`: also the message for pages that are open."""
        return self._env.get_template("main.html").render(**self._lists(snapshot), page="home")

    def home(self, snapshot: Snapshot, **about: Any) -> Prepared:
        context = self._lists(snapshot) | {"page": "home", "title": self.title(snapshot)}
        return self._document(snapshot, context, about)

    def incident(self, incident: Incident, snapshot: Snapshot, **about: Any) -> Prepared:
        view = self._view(incident, snapshot)
        suspicion = incident.status == "dismissed" and not incident.was_plan
        name = "Not a problem" if suspicion else incident.title
        context = {"incident": view, "page": "incident", "title": f"{name} · {self._site.name} status"}
        return self._document(snapshot, context, about)

    def plain(self, page: str, snapshot: Snapshot, **about: Any) -> Prepared:
        """The `missing` and the `error` page."""
        title = {"missing": "No such page", "error": "Page not available"}[page]
        return self._document(snapshot, {"page": page, "title": f"{title} · {self._site.name} status"}, about)

    def title(self, snapshot: Snapshot) -> str:
        return f"{snapshot.headline.text} · {self._site.name} status"

    def _document(self, snapshot: Snapshot, context: dict[str, Any], about: dict[str, Any]) -> Prepared:
        template = self._env.get_template("page.html")
        return Prepared.of(template.render(context | about, icon=snapshot.headline.kind).encode())

    def _lists(self, snapshot: Snapshot) -> dict[str, Any]:
        return {
            "headline": snapshot.headline,
            "monitoring": snapshot.feed.monitoring,
            "open": [self._view(i, snapshot) for i in snapshot.open],
            "planned": [self._view(i, snapshot) for i in snapshot.planned],
            "recent": [self._view(i, snapshot) for i in snapshot.recent],
        }

    def _view(self, incident: Incident, snapshot: Snapshot) -> dict[str, Any]:
        """What templates may know of an incident: nothing that is for staff only."""
        keys = ("number", "title", "started_at", "ended_at", "planned_start", "planned_end")
        return {key: getattr(incident, key) for key in keys} | {
            "url": f"{self._site.url}/incidents/{incident.number}",
            "path": f"/incidents/{incident.number}",
            "status": incident.status.value,
            "severity": incident.severity.value,
            "status_text": status_text(incident),
            "severity_text": SEVERITY_TEXT[incident.severity],
            "next_update_by": promised_by(incident, self._policy),
            "overdue": incident.number in snapshot.overdue,
            "summary_html": Markup(html(incident.summary)) if incident.summary else None,  # noqa: S704 - sanitised
            "updates": [
                {
                    "id": update.id,
                    "at": update.at,
                    "edited_at": update.edited_at,
                    "status_text": status_text(replace(incident, status=update.status, severity=update.severity)),
                    "html": Markup(html(update.text)),  # noqa: S704 - sanitised
                }
                for update in reversed(incident.updates)
            ],
            "measures": measures(incident),
        }


def measures(incident: Incident) -> list[tuple[str, str]]:
    """The seconds that readers are told: from noticing to showing, confirming and mailing."""
    steps = (
        ("Shown here", incident.noticed_at, incident.created_at, "after our monitoring noticed"),
        ("Confirmed by our team", incident.created_at, incident.noticed_at and incident.confirmed_at, "after that"),
        ("Mail handed over", incident.confirmed_at, incident.first_mailed_at, "after it was confirmed"),
    )
    return [(label, f"{_span(end - start)} {after}") for label, start, end, after in steps if start and end]


def _span(span: timedelta) -> str:
    seconds = max(round(span.total_seconds()), 0)
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min {seconds % 60} s"
