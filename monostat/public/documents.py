"""What programs read, and whatever else is no page: each a text of the present state.

Every function here is the `render` of a row in `routes.py`. It gets what stands in the groups of
that row's path, and returns None where there is nothing of that address. What is long over it asks
the archive for before anything else: from then on it renders one moment.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import date

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
    listed = await engine.store.archive.listed(statuspage.MOST)
    return statuspage.documents(
        engine.state,
        engine.snapshot,
        newest_first(engine, listed),
        url=pages.site.url,
        name=pages.site.name,
        version=engine.version.number,
        changed=engine.version.at,
    )


def newest_first(engine: Engine, rows: Iterable[Incident]) -> list[Incident]:
    """These, and what of the present programs are told of besides; the newest number first."""
    announced = {incident.number: incident for incident in (*rows, *engine.snapshot.announced)}
    return [announced[number] for number in sorted(announced, reverse=True)]


async def atom_history(pages: Pages, engine: Engine) -> str:
    """An Atom feed with an entry for each incident."""
    return await _history(pages, engine, "atom.xml", "/history.atom")


async def rss_history(pages: Pages, engine: Engine) -> str:
    """The same as RSS."""
    return await _history(pages, engine, "rss.xml", "/history.rss")


async def _history(pages: Pages, engine: Engine, template_name: str, path: str) -> str:
    rows = await engine.store.archive.changed(statuspage.MOST)
    entries = feeds.history(newest_first(engine, rows))
    return _feed(pages, engine, template_name, path, entries)


async def atom_updates(pages: Pages, engine: Engine) -> str:
    """An Atom feed with an entry for each update.

    No update is newer than the last change of its incident: what changed before the oldest entry
    has none.
    """
    most = statuspage.MOST
    while True:
        rows = await engine.store.archive.changed(most)
        entries = feeds.updates(newest_first(engine, rows))
        is_whole = len(entries) == feeds.MOST_UPDATES
        if len(rows) < most or (is_whole and rows[-1].updated_at <= entries[-1].updated):
            return _feed(pages, engine, "atom.xml", "/updates.atom", entries)
        most *= 2


def _feed(
    pages: Pages, engine: Engine, template_name: str, path: str, entries: list[feeds.Entry]
) -> str:
    birth = engine.state.birth
    text = pages.render(
        template_name,
        entries=entries,
        path=path,
        host=birth.host,
        changed=entries[0].updated if entries else birth.at,
    )
    return FORBIDDEN.sub("", text)


async def maintenance_calendar(pages: Pages, engine: Engine) -> str:
    """The plans, for calendars."""
    text = feeds.calendar(
        engine.snapshot.calendar,
        name=pages.site.name,
        url=pages.site.url,
        host=engine.state.birth.host,
    )
    return FORBIDDEN.sub("", text)


async def security(pages: Pages, engine: Engine) -> str | None:
    """Where to report a weakness, RFC 9116, where the settings say so."""
    if not (pages.site.security_contact and pages.site.security_expires):
        return None
    return pages.render("security.txt", snapshot=engine.snapshot)


async def moved_incident(_pages: Pages, engine: Engine, day: str, number: str) -> None:
    """Sends on whoever comes by an address of an older installation.

    To what was imported from there; else to our own of that number, where it is one of us.
    """
    with suppress(ValueError):
        if not date.fromisoformat(day):
            return
        await _send_on(engine, f"django/{number}")
        if await engine.incident(int(number)):
            raise moved_to(int(number))


async def imported_incident(_pages: Pages, engine: Engine, number: str) -> None:
    """Sends on whoever comes by an address of the page that an incident was imported from."""
    await _send_on(engine, f"statuspage/{number}")


async def _send_on(engine: Engine, source: str) -> None:
    """Raises web.HTTPMovedPermanently to what came from this source, if anything did."""
    for number in (await engine.store.archive.imported([source])).values():
        raise moved_to(number)


def moved_to(number: int) -> web.HTTPMovedPermanently:
    """The answer to who asks at an old address; it is never kept: there are too many."""
    headers = {"Cache-Control": CACHE_PAGE}
    return web.HTTPMovedPermanently(f"/incidents/{number}", headers=headers)
