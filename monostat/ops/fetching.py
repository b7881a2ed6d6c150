"""Gets documents with history: files, or what the public API of a page answers."""

import asyncio
from pathlib import Path

from aiohttp import ClientError, ClientPayloadError, ClientSession, ClientTimeout
from yarl import URL

from monostat import __version__
from monostat.history.fields import Unreadable

API = ("/api/v2/incidents.json", "/api/v2/scheduled-maintenances.json")
MAX_DOCUMENT_BYTES = 256_000_000
TIMEOUT = ClientTimeout(total=60, connect=15)


class Unreachable(Exception):
    """A document cannot be had; the sentence says why."""


def is_address(source: str) -> bool:
    """Whether it is one of the web, and no file."""
    return source.lower().startswith(("http://", "https://"))


def documents_of(source: str) -> list[bytes]:
    """The documents of a file or an address, which may be that of a whole page.

    Raises OSError for a file, Unreachable for an address, Unreadable for what is too large.
    """
    if is_address(source):
        return asyncio.run(fetch(source))
    path = Path(source)
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        raise Unreadable(too_large())
    return [path.read_bytes()]


async def fetch(source: str) -> list[bytes]:
    """What is answered at an address, or by the public API of the page that is there."""
    try:
        address = URL(source)
        addresses = [address]
        if not address.path.endswith(".json"):
            addresses = [address.with_path(path) for path in API]
    except ValueError as error:
        raise Unreachable(f"{source} is not an address: {error}") from error
    headers = {"User-Agent": f"monostat/{__version__}", "Accept": "application/json"}
    async with ClientSession(timeout=TIMEOUT, headers=headers, trust_env=True) as session:
        return [await fetched(session, each) for each in addresses]


async def fetched(session: ClientSession, address: URL) -> bytes:
    """What is answered there; raises Unreachable and Unreadable."""
    try:
        async with session.get(address) as answer:
            if answer.status != 200:
                raise Unreachable(
                    f"{address} answers {answer.status}: open it in a browser, save what you see,"
                    " and import that file"
                )
            body = bytearray()
            async for part in answer.content.iter_chunked(1 << 16):
                body += part
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise Unreadable(too_large())
            return bytes(body)
    except TimeoutError as error:
        span = session.timeout.total
        raise Unreachable(f"{address} did not answer within {span} seconds") from error
    except ClientPayloadError as error:
        raise Unreachable(f"{address} stopped in the middle of its answer: try again") from error
    except ClientError as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"{address} cannot be reached: {reason}") from error


def too_large() -> str:
    """The sentence for a document that no page has."""
    return f"it is larger than {MAX_DOCUMENT_BYTES // 1_000_000} MB: import it in parts"
