"""monostat as a process of its own, with the settings of a world."""

import asyncio
import json
import os
import socket
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.waiting import eventually
from tests.world import World


def toml(settings: dict[str, dict[str, Any]]) -> str:
    lines = []
    for section, keys in settings.items():
        lines += [
            f"[{section}]",
            *(f"{key} = {json.dumps(value, default=str)}" for key, value in keys.items()),
        ]
    text = "\n".join(lines)
    assert tomllib.loads(text)
    return text


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@asynccontextmanager
async def daemon(
    world: World,
    *,
    within: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    **server: Any,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`monostat serve` with the world's settings, ready; killed at the end if it still runs.

    `within` is a command that runs it, such as prlimit; `environ` is added to the environment.
    """
    port = free_port()
    world.url = f"http://127.0.0.1:{port}"
    world.settings["server"] = {"listen": [f"127.0.0.1:{port}"], **server}
    file = world.folder / "config.toml"
    await asyncio.to_thread(file.write_text, toml(world.settings))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MONOSTAT_")} | dict(
        environ or {}
    )
    process = await asyncio.create_subprocess_exec(
        *(*within, sys.executable, "-m", "monostat", "serve", "--config", str(file)),
        cwd=world.folder,
        env=clean,
    )

    async def ready() -> bool:
        assert process.returncode is None, process.returncode
        try:
            async with world.http.get(f"{world.url}/readyz") as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        await eventually(ready, within=40)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(folder: Path, *words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monostat", *words), cwd=folder, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    return process.returncode, err.decode()
