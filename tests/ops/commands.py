"""The command line within the process of a test."""

import asyncio
import io
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest

from monostat.ops.cli import main


async def shell(*words: str) -> tuple[int | None, str, str]:
    """What a command exits with and prints, without the second that a process of its own takes to begin."""
    out, err = io.StringIO(), io.StringIO()

    def run() -> Any:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main([*words])
        return end.value.code

    return await asyncio.to_thread(run), out.getvalue(), err.getvalue()
