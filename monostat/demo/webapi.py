"""The Web API: what the app asks for and posts is checked and kept.

https://docs.slack.dev/reference/methods/
"""

import asyncio
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from monostat.demo.calls import (
    CIRCUMSTANCES,
    GRANTED,
    METHODS,
    READ,
    SCOPES,
    WebApiRefusal,
    argument,
)
from monostat.demo.faults import Faults
from monostat.demo.socketmode import Line
from monostat.demo.workspace import BOT_USER, Channel, Ephemeral, Json, Message, User, View


@dataclass
class Objection:
    """What calls are refused on order, and how many were."""

    method: str
    words: str
    error: str
    times: float
    until: str
    met: int = 0


class Limited(Exception):
    """Too many calls of a method; `seconds` until the next one is carried out."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"for {seconds} s")
        self.seconds = seconds


def loop_time() -> float:
    """Seconds on the event loop's clock."""
    return asyncio.get_running_loop().time()


class WebApi(Line):
    """What is true of every call; what answers one is called like its method, with underscores."""

    def __init__(self, *, bot_token: str, app_token: str, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.bot_token = bot_token
        self.app_token = app_token
        people = [
            User(BOT_USER, "Status", is_bot=True),
            User("U_ADA", "Ada"),
            User("U_BOB", "Bob"),
            User("U_GUS", "Gus", is_restricted=True),
            User("U_EVE", "Eve", is_stranger=True, team_id="T2"),
        ]
        members = [user.id for user in people]
        people.append(User("U_OLA", "Ola"))  # in no channel
        self.users = {user.id: user for user in people}
        self.channels = {
            "C1": Channel("C1", "status-ops", members),
            "C2": Channel("C2", "random", ["U_ADA", "U_BOB"]),
        }
        self.usergroups: dict[str, list[str]] = {}
        self.scopes = set(GRANTED.split())
        self.messages: list[Message] = []
        self.ephemerals: list[Ephemeral] = []
        self.views: dict[str, View] = {}
        self.homes: dict[str, View] = {}
        self.pings: list[str] = []
        # seconds that must lie between two posts to a channel; Slack's own are 1, with bursts
        self.posting_gap = 0.0
        self.latency: dict[str, float] = {}  # seconds that a method takes to answer
        # whether a reply to a deleted message is posted, which is unconfirmed
        self.takes_orphans = False
        self._uneditable: dict[str, str] = {}
        # by method or channel, when it may be called again, on the loop's clock
        self._limits: dict[str, float] = {}
        self._objections: list[Objection] = []
        self._address = ""
        self.faults = Faults()
        self.app = web.Application(middlewares=[self.faults.middleware()])
        self.app.router.add_route("*", "/api/{name}", self._api)
        self.app.router.add_get("/link/", self._link)

    async def _api(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self._address = f"ws://{request.host}"
        granted = ",".join(sorted(self.scopes))
        latency = self.latency.get(name, 0.0)
        try:
            self._wait_for(name)
            await asyncio.sleep(latency)
            args = await self._arguments(name, request)
            self._object(name, args)
            words = re.sub(r"[.]|(?=[A-Z])", "_", name).lower()
            method = getattr(self, f"_{words}")
            answer = {"ok": True} | method(args)
            headers = {"X-OAuth-Scopes": granted}
            return web.json_response(answer, headers=headers)
        except Limited as limited:
            seconds = math.ceil(limited.seconds)
            headers = {"Retry-After": str(seconds)}
            refusal = {"ok": False, "error": "ratelimited"}
            return web.json_response(refusal, status=429, headers=headers)
        except WebApiRefusal as refused:
            self._note(name, refused)
            messages = [f"[ERROR] {message}" for message in refused.messages]
            answer = {
                "ok": False,
                "error": refused.error,
                "errors": refused.messages,
                "response_metadata": {"messages": messages},
            }
            if refused.error == "missing_scope":
                answer["needed"] = refused.messages[0]
                answer["provided"] = granted
            return web.json_response(answer)

    # -- bad days on order, which concern one method or one thing

    def limit(self, method: str, *, retry_after: float) -> None:
        """Answers 429 to this method, and to no other, for so many seconds."""
        self._limits[method] = loop_time() + retry_after

    def unlimit(self) -> None:
        """Ends every `limit`."""
        self._limits.clear()

    def object_to(
        self, method: str, words: str, error: str, *, times: float = math.inf, until: str = ""
    ) -> None:
        """Refuses, until `relent`, the calls of a method whose arguments have these words in them.

        After so many it relents by itself, with the first call that has the words of `until`.
        """
        self._objections.append(Objection(method, words, error, times, until))

    def uneditable(self, ts: str, *, error: str = "cant_update_message") -> None:
        """From now on this message cannot be updated."""
        self._uneditable[ts] = error

    def relent(self) -> None:
        """Ends `object_to` and `uneditable`."""
        self._objections.clear()
        self._uneditable.clear()

    def _wait_for(self, what: str) -> None:
        left = self._limits.get(what, 0.0) - loop_time()
        if left > 0:
            raise Limited(left)

    def _object(self, name: str, args: Json) -> None:
        said = json.dumps(args, ensure_ascii=False)
        for objection in list(self._objections):
            if objection.method != name or objection.words not in said:
                continue
            objection.met += 1
            if objection.met > objection.times and objection.until in said:
                self._objections.remove(objection)
                continue
            raise WebApiRefusal(objection.error, "on order")

    def _note(self, where: str, refused: WebApiRefusal) -> None:
        is_ordinary = refused.error in CIRCUMSTANCES
        is_on_order = refused.messages == ("on order",)
        if not is_ordinary and not is_on_order:
            self.violations.append(f"{where}: {refused}")

    async def _arguments(self, name: str, request: web.Request) -> Json:
        """Reads and checks token and arguments, out of query, form or JSON body."""
        if name not in METHODS:
            raise WebApiRefusal("unknown_method", name)
        args: Json = dict(request.query) | dict(await request.post())
        if request.content_type == "application/json":
            if name in READ:
                raise WebApiRefusal("invalid_arguments", "this method reads no JSON body")
            try:
                args |= await request.json()
            except (ValueError, TypeError):
                raise WebApiRefusal("invalid_json") from None
        authorization = request.headers.get("Authorization", "")
        self._admit(name, authorization, args)
        for key in ("token", "team_id"):  # bolt adds team_id
            args.pop(key, None)
        required, optional = (keys.split() for keys in METHODS[name])
        missing = [key for key in required if key not in args]
        known = [*required, *optional]
        unknown = [key for key in args if key not in known]
        wrong = [f"missing required field: {key}" for key in missing]
        wrong += [f"invalid additional property: {key}" for key in unknown]
        if wrong:
            raise WebApiRefusal("invalid_arguments", *wrong)
        args = {key: argument(key, value) for key, value in args.items()}
        scope = self._scope_of(name, args)
        if scope not in {"", *self.scopes}:
            raise WebApiRefusal("missing_scope", scope)
        return args

    def _admit(self, name: str, authorization: str, args: Json) -> None:
        """Each method takes one of the two tokens."""
        wanted = self.bot_token
        if name == "apps.connections.open":
            wanted = self.app_token
            misplaced = "the app-level token belongs in the header"
            if "token" in args:
                raise WebApiRefusal("invalid_arguments", misplaced)
        token = authorization.removeprefix("Bearer ") or args.get("token")
        if token != wanted:
            if token in (self.app_token, self.bot_token):
                raise WebApiRefusal("not_allowed_token_type")
            if not token:
                raise WebApiRefusal("not_authed")
            raise WebApiRefusal("invalid_auth")

    def _scope_of(self, name: str, args: Json) -> str:
        """The scope that a call needs; empty where none."""
        needed = [scope for start, scope in SCOPES.items() if name.startswith(start)]
        if not needed:
            return ""
        channel = args.get("channel", "")
        place = self.channels.get(channel)
        if place and place.is_private and name in READ:
            return needed[0].replace("channels:", "groups:")
        return needed[0]
