"""What programs read, and whatever else is no page: each a text of the present state.

Every function here is the `render` of a row in `routes.py`. It gets what stands in the groups of
that row's path, and returns None where there is nothing of that address.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date

from aiohttp import web

from monostat.engine import Engine
from monostat.public import feeds, statuspage
from monostat.public.headers import CACHE_PAGE
from monostat.public.pages import Pages

#: What XML 1.0 has no place for, and iCalendar neither: one such character makes the whole of it
#: unreadable.
FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def template(name: str) -> Callable[[Pages, Engine], str]:
    """What needs nothing but the snapshot and this template."""

    def render(pages: Pages, engine: Engine) -> str:
        """The text of now."""
        return pages.render(name, snapshot=engine.snapshot)

    return render


def statuspage_api(pages: Pages, engine: Engine) -> dict[str, str]:
    """All eight answers of Statuspage's API by their paths: they share most of the work."""
    return statuspage.documents(
        engine.state,
        engine.snapshot,
        words=pages.words,
        url=pages.site.url,
        name=pages.site.name,
        version=engine.version.number,
        changed=engine.version.at,
    )


def atom_history(pages: Pages, engine: Engine) -> str:
    """An Atom feed with an entry for each incident."""
    return _feed(pages, engine, "atom.xml", "/history.atom", feeds.history)


def rss_history(pages: Pages, engine: Engine) -> str:
    """The same as RSS."""
    return _feed(pages, engine, "rss.xml", "/history.rss", feeds.history)


def atom_updates(pages: Pages, engine: Engine) -> str:
    """An Atom feed with an entry for each update."""
    return _feed(pages, engine, "atom.xml", "/updates.atom", feeds.updates)


def _feed(
    pages: Pages, engine: Engine, template_name: str, path: str, entries_of: feeds.EntriesOf
) -> str:
    entries = entries_of(engine.snapshot.announced, pages.words)
    birth = engine.state.birth
    text = pages.render(
        template_name,
        entries=entries,
        path=path,
        host=birth.host,
        changed=entries[0].updated if entries else birth.at,
    )
    return FORBIDDEN.sub("", text)


def maintenance_calendar(pages: Pages, engine: Engine) -> str:
    """The plans, for calendars."""
    text = feeds.calendar(
        engine.snapshot.calendar,
        words=pages.words,
        name=pages.site.name,
        url=pages.site.url,
        host=engine.state.birth.host,
    )
    return FORBIDDEN.sub("", text)


def security(pages: Pages, engine: Engine) -> str | None:
    """Where to report a weakness, RFC 9116, where the settings say so."""
    if not (pages.site.security_contact and pages.site.security_expires):
        return None
    return pages.render("security.txt", snapshot=engine.snapshot)


def moved_incident(_pages: Pages, engine: Engine, day: str, number: str) -> None:
    """Raises web.HTTPMovedPermanently for the address of older installations.

    It is never remembered: there are too many.
    """
    with suppress(ValueError):
        if date.fromisoformat(day) and int(number) in engine.state.incidents:
            address = f"/incidents/{number}"
            raise web.HTTPMovedPermanently(address, headers={"Cache-Control": CACHE_PAGE})
