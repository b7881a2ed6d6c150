"""The files that never change while we run, ready to be answered with."""

from pathlib import Path

from monostat import RESOURCES
from monostat.public.answers import Prepared
from monostat.public.headers import (
    CACHE_FILE,
    CACHE_FILE_OF_BUILD,
    CACHE_SCRIPT,
    FILES,
    OPEN_TO_ALL,
    SCRIPT,
)
from monostat.public.pages import Pages


def prepare_files(pages: Pages, build: str) -> dict[str, Prepared]:
    """The static files and the logo, which never change while we run, by their paths.

    Kept for a while by the name alone, for ever by the build that it is of.
    """
    paths = {f"/static/{path.name}": path for path in (RESOURCES / "static").iterdir()}
    if pages.site.logo:
        paths["/logo"] = Path(pages.site.logo)
    embed = paths["/static/embed.js"].read_bytes()
    script = Prepared.of(embed, SCRIPT, CACHE_SCRIPT, headers=OPEN_TO_ALL)
    prepared = {"/embed/script.js": script}
    for name, path in paths.items():
        body = path.read_bytes()
        if path.suffix == ".css":
            body += pages.render("colors.css").encode()
        for address, caching in ((name, CACHE_FILE), (f"{name}?v={build}", CACHE_FILE_OF_BUILD)):
            prepared[address] = Prepared.of(body, FILES[path.suffix], caching, headers=OPEN_TO_ALL)
    return prepared
