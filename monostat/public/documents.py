"""What programs read, and whatever else is not a page: each a text of the present state.

Every function here is the `render` of a row in `routes.py`. It gets what stands in the groups of
that row's path, and returns None where there is nothing of that address. What is long over it asks
the archive for before anything else: from then on it renders one moment.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import date
from typing import NamedTuple

from aiohttp import web

from monostat.core.model import Incident
from monostat.engine import Engine
from monostat.public import feeds, statuspage
from monostat.public.headers import CACHE_PAGE
from monostat.public.pages import Pages

#: What XML 1.0 has no place for, and iCalendar neither: one such character makes the whole of it
#: unreadable.
FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def template(name: str) -> Callable[[Pages, Engine], Awaitable[str]]:
    """What needs nothing but the snapshot and this template."""

    async def render(pages: Pages, engine: Engine) -> str:
        """The text of now."""
        return pages.render(name, snapshot=engine.snapshot)

    return render


async def statuspage_api(pages: Pages, engine: Engine) -> dict[str, str]:
    """All eight answers of Statuspage's API by their paths: they share most of the work."""
    newest = await engine.store.archive.listed(statuspage.MAX_LISTED)
    return statuspage.documents(
        engine.state,
        engine.snapshot,
        newest_first(engine, newest),
        words=pages.words,
        url=pages.site.url,
        name=pages.site.name,
        version=engine.version.number,
        changed=engine.version.at,
    )


def newest_first(engine: Engine, rows: Iterable[Incident]) -> list[Incident]:
    """These, and what of the present programs are told of besides; the newest number first."""
    announced = {}
    for incident in (*rows, *engine.snapshot.announced):
        announced[incident.number] = incident
    numbers = sorted(announced, reverse=True)
    return [announced[number] for number in numbers]


async def atom_history(pages: Pages, engine: Engine) -> str:
    """An Atom feed with an entry for each incident."""
    entries = await _history(engine)
    feed = Feed("atom.xml", "/history.atom")
    return feed.render(pages, engine, entries)


async def rss_history(pages: Pages, engine: Engine) -> str:
    """The same as RSS."""
    entries = await _history(engine)
    feed = Feed("rss.xml", "/history.rss")
    return feed.render(pages, engine, entries)


async def _history(engine: Engine) -> list[feeds.FeedEntry]:
    rows = await engine.store.archive.changed(statuspage.MAX_LISTED)
    announced = newest_first(engine, rows)
    return feeds.history(announced)


async def atom_updates(pages: Pages, engine: Engine) -> str:
    """An Atom feed with an entry for each update."""
    most = statuspage.MAX_LISTED
    entries = None
    while entries is None:
        entries = await _updates(pages, engine, most)
        most *= 2
    feed = Feed("atom.xml", "/updates.atom")
    return feed.render(pages, engine, entries)


async def _updates(pages: Pages, engine: Engine, most: int) -> list[feeds.FeedEntry] | None:
    """The newest updates; None where so many of the newest incidents do not have all of them.

    No update is newer than the last change of its incident.
    """
    rows = await engine.store.archive.changed(most)
    announced = newest_first(engine, rows)
    entries = feeds.updates(announced, pages.words)
    if len(rows) < most:
        return entries
    if len(entries) < feeds.MOST_UPDATES:
        return None
    oldest = entries[-1]
    last = rows[-1]
    if last.updated_at > oldest.updated:
        return None
    return entries


class Feed(NamedTuple):
    """Entries for feed readers, in the words of a template, at a path."""

    template: str
    path: str

    def render(self, pages: Pages, engine: Engine, entries: list[feeds.FeedEntry]) -> str:
        """The feed, changed when its newest entry was, or when the page was born."""
        birth = engine.state.birth
        changed = entries[0].updated if entries else birth.at
        text = pages.render(
            self.template, entries=entries, path=self.path, host=birth.host, changed=changed
        )
        return FORBIDDEN.sub("", text)


async def maintenance_calendar(pages: Pages, engine: Engine) -> str:
    """The plans, for calendars."""
    text = feeds.calendar(
        engine.snapshot.calendar,
        words=pages.words,
        name=pages.site.name,
        url=pages.site.url,
        host=engine.state.birth.host,
    )
    return FORBIDDEN.sub("", text)


async def security(pages: Pages, engine: Engine) -> str | None:
    """Where to report a weakness, RFC 9116, where the settings say so."""
    site = pages.site
    if not (site.security_contact and site.security_expires):
        return None
    return pages.render("security.txt", snapshot=engine.snapshot)


async def moved_incident(_pages: Pages, engine: Engine, day: str, number: str) -> None:
    """Sends on whoever comes by an address of an older installation.

    To what was imported from there; else to our own of that number, where it is one of us.
    """
    try:
        date.fromisoformat(day)
    except ValueError:
        return
    await _send_on(engine, f"django/{number}")
    incident = await engine.incident(int(number))
    if incident:
        raise moved_to(incident.number)


async def imported_incident(_pages: Pages, engine: Engine, number: str) -> None:
    """Sends on whoever comes by an address of the page that an incident was imported from."""
    await _send_on(engine, f"statuspage/{number}")


async def _send_on(engine: Engine, source: str) -> None:
    """Raises web.HTTPMovedPermanently to what came from this source, if anything did."""
    imported = await engine.store.archive.imported([source])
    if source in imported:
        raise moved_to(imported[source])


def moved_to(number: int) -> web.HTTPMovedPermanently:
    """The answer to those who ask at an old address; it is never kept: there are too many."""
    address = f"/incidents/{number}"
    headers = {"Cache-Control": CACHE_PAGE}
    return web.HTTPMovedPermanently(address, headers=headers)
