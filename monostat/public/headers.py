"""What the headers of public answers say: caching, content types, and what a browser may do."""

import re

from monostat.values import IMAGES

_STALE = "stale-while-revalidate=20, stale-if-error=86400"
CACHE_PAGE = f"public, max-age=0, s-maxage=5, {_STALE}"
CACHE_STATE = f"public, max-age=5, {_STALE}"
CACHE_FEED = "public, max-age=60, stale-if-error=86400"
CACHE_CALENDAR = "public, max-age=300, stale-if-error=86400"
CACHE_API = "public, max-age=10, s-maxage=10, stale-while-revalidate=20, stale-if-error=3600"
CACHE_BADGE = "public, max-age=60, stale-if-error=3600"
CACHE_SCRIPT = "public, max-age=300, stale-if-error=604800"
CACHE_FRAME = "public, max-age=30, stale-if-error=86400"
CACHE_DESCRIPTION = "public, max-age=3600"
CACHE_SECURITY = "public, max-age=86400"
CACHE_FILE = "public, max-age=300"
CACHE_FILE_OF_BUILD = "public, max-age=31536000, immutable"
CACHE_MISSING = "public, max-age=5"

HTML = "text/html; charset=utf-8"
JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
ATOM = "application/atom+xml; charset=utf-8"
RSS = "application/rss+xml; charset=utf-8"
CALENDAR = "text/calendar; charset=utf-8"
SCRIPT = "text/javascript; charset=utf-8"
#: Content types of files by their suffixes.
FILES = IMAGES | {".css": "text/css; charset=utf-8", ".js": SCRIPT}
GZIPPED = {"Content-Encoding": "gzip"}

#: The second is for pages that load only what agrees to it: an opaque frame, and hosts with their
#: own require-corp.
OPEN_TO_ALL = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
    **OPEN_TO_ALL,
}
#: What every answer has.
SAFETY = {
    "X-Content-Type-Options": "nosniff",
    "Server": "monostat",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
POLICY = "Content-Security-Policy"
#: For an image that may be opened by itself.
ALONE = {POLICY: "default-src 'none'; frame-ancestors 'none'"}
#: For the one page that others may frame.
FRAMED = {
    POLICY: "default-src 'none'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


def page_policy(url: str) -> dict[str, str]:
    """The policy of pages under this address: nothing from elsewhere, nothing inline, no frames.

    The explicit wss: is for older Safari.
    """
    socket = re.sub("^http(s?://[^/]+).*", r"ws\1", url)
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';"
        f" connect-src 'self' {socket}; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    )
    return {POLICY: policy, "X-Frame-Options": "DENY"}
