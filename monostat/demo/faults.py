"""Bad days on order: a middleware that makes a simulated vendor fail the way real ones do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware


@dataclass
class Order:
    """What the next matching requests get instead of, or after, the vendor's own answer."""

    answer: Callable[[], web.Response] | None = None
    carry_out: bool = False
    drop: bool = False
    mute: bool = False
    cut: bool = False
    path: str = ""
    times: int = 1


@dataclass
class Faults:
    """Orders for the next requests; each order names a part of the path, the empty part is every
    request.

    Every order counts down as it is obeyed, the oldest first. `requests` lists "METHOD /path" of
    all that came in.
    """

    orders: list[Order] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    hanging: str | None = None
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def answer_next(
        self,
        status: int,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        path: str = "",
        times: int = 1,
        carry_out: bool = False,
    ) -> None:
        """Answers with these bytes; with `carry_out` the vendor does what it was asked first."""

        def answer() -> web.Response:
            return web.Response(status=status, body=body, headers=headers)

        self.orders.append(Order(answer=answer, path=path, times=times, carry_out=carry_out))

    def fail_next(
        self,
        status: int,
        *,
        path: str = "",
        times: int = 1,
        headers: dict[str, str] | None = None,
        carry_out: bool = False,
    ) -> None:
        """Answers with a status and an HTML page, as a proxy in between does."""
        page = f"<html><body><h1>{status}</h1></body></html>".encode()
        headers = {"Content-Type": "text/html"} | (headers or {})
        self.answer_next(
            status, body=page, headers=headers, path=path, times=times, carry_out=carry_out
        )

    def drop_next(self, *, path: str = "", times: int = 1) -> None:
        """Resets the connection before anything was done."""
        self.orders.append(Order(drop=True, path=path, times=times))

    def accept_then_drop(self, *, path: str = "", times: int = 1) -> None:
        """Does what was asked, then resets the connection instead of answering."""
        self.orders.append(Order(drop=True, carry_out=True, path=path, times=times))

    def cut_next(self, *, path: str = "", times: int = 1, carry_out: bool = False) -> None:
        """Begins an answer, and resets the connection in the middle of it, as a proxy does that
        gives up.
        """
        self.orders.append(Order(cut=True, path=path, times=times, carry_out=carry_out))

    def accept_then_hang(self, *, path: str = "", times: int = 1) -> None:
        """Does what was asked, and never answers until `release`."""
        self._released.clear()
        self.orders.append(Order(mute=True, carry_out=True, path=path, times=times))

    def hang(self, path: str = "") -> None:
        """Leaves every matching request without an answer, and undone, until `release`."""
        self._released.clear()
        self.hanging = path

    def release(self) -> None:
        """Ends `hang` and forgets every other order."""
        self.hanging = None
        self.orders.clear()
        self._released.set()

    def _next(self, path: str) -> Order | None:
        for order in self.orders:
            if order.path in path:
                order.times -= 1
                if order.times <= 0:
                    self.orders.remove(order)
                return order
        return None

    def middleware(self) -> Middleware:
        """What a simulated vendor's application obeys the orders with."""

        @web.middleware
        async def obey(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.requests.append(f"{request.method} {request.path_qs}")
            if self.hanging is not None and self.hanging in request.path:
                await self._released.wait()
            order = self._next(request.path)
            if order is None:
                return await handler(request)
            if order.carry_out:
                await handler(request)
            if order.mute:
                await self._released.wait()
            if order.cut:
                half = web.StreamResponse(
                    headers={"Content-Type": "application/json", "Content-Length": "1000"}
                )
                await half.prepare(request)
                await half.write(b'{"ok": true, "data": [')
            if (order.drop or order.cut) and request.transport is not None:
                request.transport.abort()
            if order.answer is None:
                return web.Response()
            return order.answer()

        return obey


@asynccontextmanager
async def serve(app: web.Application, *, port: int = 0) -> AsyncIterator[str]:
    """Runs an application on loopback and yields its base URL, without a slash at the end."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
