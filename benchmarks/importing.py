"""How long it takes to bring 5,000 incidents of elsewhere, and to take them away again."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.servers import serving

MANY = 5000
WORDS = "We are looking into it, and know what is slow. "


async def importing(folder: Path) -> dict[str, float]:
    """Seconds of the commands beside a running daemon, from their start to their end."""
    with serving("monostat", folder) as server:
        before = server.cpu()
        found = {f"s of an import of {MANY:,}": await bring(folder, MANY)}
        found[f"CPU s of the daemon for {MANY:,}"] = server.cpu() - before
        found[f"s of an export of {MANY:,}"] = await took(folder, "export", "exported.json")
    assert len(json.loads((folder / "exported.json").read_text())) == MANY
    return found


async def bring(folder: Path, many: int) -> float:
    """Imports so many into the daemon that runs in a folder; seconds that it took."""
    history = [incident(number) for number in range(many)]
    (folder / "history.json").write_text(json.dumps(history))
    return await took(folder, "import", "history.json")


async def took(folder: Path, command: str, file: str) -> float:
    began = time.perf_counter()
    words = (command, str(folder / file), "--config", str(folder / "config.toml"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monostat", *words),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    return time.perf_counter() - began


def incident(number: int) -> dict[str, object]:
    """As Statuspage's private API has it, with four updates."""
    at = datetime.now(UTC) - timedelta(days=3650) + timedelta(hours=10 * number)
    updates = [
        {
            "id": f"{number}-{n}",
            "status": status,
            "body": f"<p>{WORDS * 4}</p>",
            "display_at": (at + timedelta(minutes=20 * n)).isoformat(),
        }
        for n, status in enumerate(("investigating", "identified", "monitoring", "resolved"))
    ]
    return {
        "id": f"{number:011}x",
        "name": f"Checkout is slow ({number})",
        "status": "resolved",
        "impact": "major",
        "created_at": at.isoformat(),
        "resolved_at": (at + timedelta(hours=1)).isoformat(),
        "incident_updates": updates[::-1],
    }
