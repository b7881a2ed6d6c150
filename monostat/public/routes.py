"""The one table of what has an address here.

aiohttp's router, the fast path and the metrics' labels are fed from it. What is rendered once per
version is a `Document`; what is answered anew each time is an `Endpoint`; what never changes while
we run is `Files`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from monostat.public import documents
from monostat.public.answers import NO_HEADERS
from monostat.public.endpoints import Endpoints
from monostat.public.headers import (
    ALONE,
    ATOM,
    CACHE_API,
    CACHE_BADGE,
    CACHE_CALENDAR,
    CACHE_DESCRIPTION,
    CACHE_FEED,
    CACHE_FRAME,
    CACHE_PAGE,
    CACHE_SECURITY,
    CACHE_STATE,
    CALENDAR,
    FILES,
    FRAMED,
    HTML,
    JSON,
    OPEN_TO_ALL,
    RSS,
    TEXT,
)
from monostat.public.pages import Pages

Rendered = str | Mapping[str, str] | None
Render = Callable[..., Awaitable[Rendered]]
Handle = Callable[[Endpoints], Callable[[web.Request], Awaitable[web.StreamResponse]]]


class Document(NamedTuple):
    """Rendered when it is first asked for after a change, for all who ask until the next.

    `path` is a regular expression for the whole path, `name` the label in metrics. `render` gets
    the pages, the engine and the groups of the path; it returns the text, or the texts of several
    paths at once, or None where there is nothing. Without it the site has the text ready.
    """

    name: str
    path: str
    render: Render | None
    content_type: str
    caching: str
    headers: Mapping[str, str] = NO_HEADERS


class Files(NamedTuple):
    """Answers that are made at the start, which the site looks up by their names.

    They are in the table for whoever reads it, and for the metrics.
    """

    name: str
    path: str


class Endpoint(NamedTuple):
    """Answered anew for every request; `path` is a pattern of aiohttp's router."""

    name: str
    method: str
    path: str
    handle: Handle


DAY = "([0-9]{4}-[0-9]{2}-[0-9]{2})"
NUMBER = "([1-9][0-9]{0,9})"
API = (
    r"/api/v2/(?:summary|status|components|incidents(?:/unresolved)?"
    r"|scheduled-maintenances(?:/upcoming|/active)?)\.json"
)
HOME = Document("home", "/", None, HTML, CACHE_PAGE)
STATE = Document("feed", r"/feed/v1/state\.json", None, JSON, CACHE_STATE, headers=OPEN_TO_ALL)


def page(name: str, path: str, render: Render) -> Document:
    """One of our HTML pages."""
    return Document(name, path, render, HTML, CACHE_PAGE)


def public(
    name: str,
    path: str,
    render: Render,
    content_type: str,
    caching: str,
    more_headers: Mapping[str, str] = NO_HEADERS,
) -> Document:
    """What pages and programs of any origin may read."""
    return Document(
        name, path, render, content_type, caching, headers={**OPEN_TO_ALL, **more_headers}
    )


def template(
    name: str,
    path: str,
    template_name: str,
    content_type: str,
    caching: str,
    more_headers: Mapping[str, str] = NO_HEADERS,
) -> Document:
    """What programs of any origin may read, and a template alone makes."""
    render = documents.template(template_name)
    return public(name, path, render, content_type, caching, more_headers)


ROUTES: tuple[Document | Files | Endpoint, ...] = (
    HOME,
    page("incidents", f"/incidents/{NUMBER}", Pages.incident),
    page("incidents", "/incidents/([A-Za-z0-9_-]{1,64})", documents.imported_incident),
    page("history", "/history(?:/([0-9]{4}-[0-9]{2}))?", Pages.history),
    page("day", f"/{DAY}", Pages.day),
    page("day", f"/{DAY}/{NUMBER}", documents.moved_incident),
    page("subscribe", "/subscribe", Pages.subscribe),
    Endpoint("subscribe", "POST", "/subscribe", lambda endpoints: endpoints.subscribe),
    public("api", API, documents.statuspage_api, JSON, CACHE_API),
    STATE,
    template("feed", r"/feed/v1/asyncapi\.json", "asyncapi.json", JSON, CACHE_DESCRIPTION),
    Endpoint("feed", "GET", "/feed/{_:v1|page}", lambda endpoints: endpoints.feed),
    Endpoint("feed", "GET", "/feed/{kind:atom|rss}", lambda endpoints: endpoints.older_feed),
    public("history.atom", r"/history\.atom", documents.atom_history, ATOM, CACHE_FEED),
    public("history.rss", r"/history\.rss", documents.rss_history, RSS, CACHE_FEED),
    public("updates.atom", r"/updates\.atom", documents.atom_updates, ATOM, CACHE_FEED),
    public(
        "maintenance.ics",
        r"/maintenance\.ics",
        documents.maintenance_calendar,
        CALENDAR,
        CACHE_CALENDAR,
    ),
    template("badge.svg", r"/badge\.svg", "badge.svg.xml", FILES[".svg"], CACHE_BADGE, ALONE),
    template("badge.json", r"/badge\.json", "badge.json", JSON, CACHE_BADGE),
    Files("embed", r"/embed/script\.js"),
    template("embed", "/embed/frame", "frame.html", HTML, CACHE_FRAME, FRAMED),
    template("openapi.json", r"/openapi\.json", "openapi.json", JSON, CACHE_DESCRIPTION),
    Files("static", "/static/[^/]+"),
    Files("logo", "/logo"),
    Endpoint("hooks", "POST", "/hooks/opsgenie/{secret:.*}", lambda endpoints: endpoints.webhook),
    public(".well-known", r"/\.well-known/security\.txt", documents.security, TEXT, CACHE_SECURITY),
    Endpoint("healthz", "GET", "/healthz", lambda endpoints: endpoints.healthz),
    Endpoint("readyz", "GET", "/readyz", lambda endpoints: endpoints.readyz),
    Files("other", r"/favicon\.ico"),
    Endpoint("other", "OPTIONS", "/{_:.*}", lambda endpoints: endpoints.preflight),
)
#: The names under which requests are counted: there are few, whatever anybody asks for.
NAMES = tuple(dict.fromkeys(route.name for route in ROUTES))
DOCUMENTS = tuple(route for route in ROUTES if isinstance(route, Document))


def name_of(path: str) -> str:
    """The name under which a request is counted, by the first part of its path.

    So are those for which there is nothing: they are counted with their neighbours.
    """
    first = path.partition("?")[0].removeprefix("/").partition("/")[0] or "home"
    if first in NAMES:
        return first
    if first[:1].isdecimal():
        return "day"
    return "other"


def find(path: str) -> tuple[Document, tuple[Any, ...]] | None:
    """The document of a path, and the groups of its pattern."""
    for document in DOCUMENTS:
        matched = re.fullmatch(document.path, path)
        if matched:
            return document, matched.groups()
    return None


def for_router(
    endpoints: Endpoints, read: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> list[web.RouteDef]:
    """The table for aiohttp's router.

    Documents and files are one entry, `read`: they are looked up by a path whose doubled slashes
    are merged, as some clients of Statuspage have them, which aiohttp's patterns do not do.
    """
    table = [
        web.route(route.method, route.path, route.handle(endpoints))
        for route in ROUTES
        if isinstance(route, Endpoint)
    ]
    return [*table, web.get("/{_:.*}", read)]
