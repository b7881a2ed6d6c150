"""The world that tests run monostat in: the app that ships, on real sockets, among the simulated vendors."""

import asyncio
import functools
import inspect
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import CodeType
from typing import Any

import jinja2
import pytest
from hypothesis import settings
from playwright.async_api import Browser, async_playwright

from tests.public.chrome import QUIET
from tests.world import World

COMPILE = jinja2.Environment.compile
COMPILED: dict[tuple[object, ...], CodeType] = {}
PATIENCE = 120.0  # seconds that a test may take, on a machine that is busy with other things

settings.register_profile("patient", deadline=None)  # time is not measured in tests
settings.load_profile("patient")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The vendors are up; monostat is not started yet."""
    made = World(tmp_path)
    await made.open()
    try:
        yield made
        assert made.slack.violations == []
        assert made.rapidmail.violations == []
    finally:
        await made.close()
        left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task() and not t.done()]
        assert not [t for t in left if "monostat" in repr(t.get_coro())], left


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; only a laptop may be without one."""
    found = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine: apt-get install chromium")
        pytest.skip("no chromium on this machine: the browser tests need one")
    return found


@pytest.fixture(scope="session")
async def one_browser(chromium: str) -> AsyncIterator[Browser]:
    """Chromium starts once for all tests of a worker."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield opened
        await opened.close()


@pytest.fixture
async def browser(one_browser: Browser) -> AsyncIterator[Browser]:
    """A browser without pages: those of a test share nothing with another test's."""
    yield one_browser
    for context in one_browser.contexts:
        await context.close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two workers a core: a test waits half of its time."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ends a test that hangs at the line where it waits, as a failure of its own."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = impatient(item.obj)


def impatient(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def within_patience(**fixtures: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            await test(**fixtures)

    return within_patience


def compile_once(environment: jinja2.Environment, source: str, *how: Any, **named: Any) -> CodeType:
    """Hundreds of applications start here, all with the same templates: a third of all the work."""
    key = (source, *how, *named.items())
    if key not in COMPILED:
        COMPILED[key] = COMPILE(environment, source, *how, **named)
    return COMPILED[key]


jinja2.Environment.compile = compile_once  # type: ignore[assignment,method-assign]
