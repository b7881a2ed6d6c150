"""A simulated Opsgenie: alerts and what people do to them, the index over them, and the API v2 in
front of both.

https://docs.opsgenie.com/docs/alert-api
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from monostat.demo.clock import utcnow
from monostat.demo.faults import Faults

KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SORT = (
    r"(created|updated|lastOccurred)At|tinyId|alias|message|status|acknowledged|isSeen|snoozed"
    r"|snoozedUntil|count|source|owner|integration\.(name|type)|report\.(ackTime|closeTime|acknowledgedBy|closedBy)"
)
LIST = {
    "query": ".*",
    "limit": "[1-9][0-9]?|100",
    "offset": "[0-9]{1,9}",
    "sort": SORT,
    "order": "asc|desc",
}
DEFAULTS = {"limit": "20", "sort": "createdAt", "offset": "0", "order": "desc"}


@dataclass(frozen=True)
class SimulatedAlert:
    """An alert as the vendor keeps it."""

    id: str
    tiny_id: str
    alias: str
    message: str
    description: str
    source: str
    priority: str
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    last_occurred_at: datetime
    count: int = 1
    acknowledged_at: datetime | None = None
    snoozed_until: datetime | None = None
    closed_at: datetime | None = None

    @property
    def status(self) -> str:
        """In the words of API v2."""
        if self.closed_at:
            return "closed"
        return "open"


def checked(request: web.Request, patterns: dict[str, str]) -> dict[str, str]:
    """The query's parameters; raises OpsgenieRefusal for one that does not fit its pattern."""
    for name, value in request.query.items():
        if name not in patterns or not re.fullmatch(patterns[name], value):
            raise OpsgenieRefusal(
                422, "Request parameter is not valid", errors={name: f"{value!r} is not allowed"}
            )
    return dict(request.query)


def answer(
    body: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A body in the vendor's envelope, with the headers that come with it."""
    number = str(uuid4())
    all_headers = {
        "X-Request-ID": number,
        "X-Response-Time": "0.01",
        "X-RateLimit-State": "OK",
        **(headers or {}),
    }
    envelope = body | {"took": 0.01, "requestId": number}
    return web.json_response(envelope, status=status, headers=all_headers)


class OpsgenieRefusal(Exception):
    """The vendor refuses, with this status and these words."""

    def __init__(self, status: int, message: str, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message} | more


# The query language: https://docs.opsgenie.com/v1.0/docs/alerts-search-query-help
VALUE = r'(?:"[^"]*"|[^\s():"<>=]+)'
CONDITION = re.compile(rf"([\w.]+)\s*:\s*({VALUE}|\(\s*{VALUE}(?:\s+OR\s+{VALUE})*\s*\))")
TRUE = " \1 "  # what takes the place of a condition
FALSE = " \0 "
FIELDS: dict[str, Callable[[SimulatedAlert], tuple[str, ...]]] = {
    "status": lambda alert: (alert.status,),
    "tag": lambda alert: alert.tags,
    "priority": lambda alert: (alert.priority,),
    "message": lambda alert: (alert.message,),
    "alias": lambda alert: (alert.alias,),
    "acknowledged": lambda alert: (str(alert.acknowledged_at is not None),),
}


def matches(query: str, alert: SimulatedAlert | None) -> bool:
    """Puts 1 or 0 for every condition, then works outwards; without an alert it only refuses what
    cannot be parsed.
    """

    def condition(match: re.Match[str]) -> str:
        field, values = match.groups()
        if field not in FIELDS:
            raise ValueError(field)
        return sign(alert is not None and has_any(alert, field, values))

    def group(match: re.Match[str]) -> str:
        return sign(is_true(match[1]))

    try:
        text = CONDITION.sub(condition, query)
        groups = 1
        while groups:
            text, groups = re.subn(r"\(([^()]*)\)", group, text)
        return is_true(text)
    except ValueError:
        errors = {"query": query}
        raise OpsgenieRefusal(422, "Query could not be parsed", errors=errors) from None


def sign(is_so: bool) -> str:
    """What takes the place of a condition, or of a group of them."""
    return TRUE if is_so else FALSE


def has_any(alert: SimulatedAlert, field: str, values: str) -> bool:
    """Whether a field of an alert has one of these values; each may hold asterisks."""
    for value in re.findall(VALUE, values):
        pieces = value.strip('"').split("*")
        words = ".*".join(map(re.escape, pieces))
        wanted = re.compile(rf"\A{words}\Z", re.IGNORECASE)
        if field == "message":  # is searched for words and phrases, all else compared whole
            wanted = re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)
        if any(wanted.search(text) for text in FIELDS[field](alert)):
            return True
    return False


def is_true(text: str) -> bool:
    """Works out signs that ANDs and ORs join; raises ValueError where there is anything else."""
    rows = []
    for row in re.split(r"\b(?:OR|or)\b", text):
        parts = re.split(r"\b(?:AND|and)\b", row)
        rows.append([is_sign_true(part) for part in parts])
    return any(map(all, rows))


def is_sign_true(text: str) -> bool:
    """One sign, which a NOT turns around; raises ValueError where it is none."""
    match = re.fullmatch(r"\s*((?:NOT\s+)*)([\0\1])\s*", text)
    if not match:
        raise ValueError(text)
    is_negated = len(match[1].split()) % 2 == 1
    return (match[2] == TRUE.strip()) ^ is_negated


def iso(moment: datetime) -> str:
    """A time as both products write it: in UTC, with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def v2_item(alert: SimulatedAlert, now: datetime) -> dict[str, Any]:
    """An alert as API v2 lists it."""
    is_snoozed = alert.snoozed_until is not None and alert.snoozed_until > now
    item: dict[str, Any] = {
        "id": alert.id,
        "tinyId": alert.tiny_id,
        "alias": alert.alias,
        "message": alert.message,
        "status": alert.status,
        "acknowledged": alert.acknowledged_at is not None,
        "seen": True,
        "isSeen": True,
        "tags": [*alert.tags],
        "count": alert.count,
        "priority": alert.priority,
        "createdAt": iso(alert.created_at),
        "updatedAt": iso(alert.updated_at),
        "source": alert.source,
        "lastOccurredAt": iso(alert.last_occurred_at),
        "owner": "",
        "ownerTeamId": "",
        "snoozed": is_snoozed,
        "teams": [],
        "responders": [],
        "integration": {"id": str(UUID(int=7)), "name": "Prod API", "type": "API"},
    }
    if is_snoozed and alert.snoozed_until:
        item["snoozedUntil"] = iso(alert.snoozed_until)
    report = _report(alert)
    if report:
        item["report"] = report
    return item


def _report(alert: SimulatedAlert) -> dict[str, Any]:
    """Who has seen to it; the times are durations in ms since its creation."""
    report: dict[str, Any] = {}
    if alert.acknowledged_at:
        report["ackTime"] = _age(alert, alert.acknowledged_at)
        report["acknowledgedBy"] = "a@example.org"
    if alert.closed_at:
        report["closeTime"] = _age(alert, alert.closed_at)
        report["closedBy"] = "a@example.org"
    return report


def _age(alert: SimulatedAlert, at: datetime) -> int:
    return round((at - alert.created_at).total_seconds() * 1000)


class SimulatedOpsgenie:
    """Holds every alert, and what the index and the key get to see of them."""

    def __init__(
        self,
        *,
        api_key: str = "5b1f0f6e-3c1d-4a53-9a2e-6f1d2c3b4a59",
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        self.api_key = api_key
        self.faults = Faults()
        self.alerts: dict[str, SimulatedAlert] = {}
        self.before_page: Callable[[int], None] | None = None
        self.now = now
        self._hidden: set[str] = set()
        self._kept: set[str] = set()
        self.blind = False
        layers: list[Any] = [self.faults.middleware(), self._speak]
        self.app = web.Application(middlewares=layers)
        self.app.router.add_get("/v2/alerts", self._list)
        self.app.router.add_get("/v2/alerts/count", self._count)
        self.app.router.add_get("/v2/alerts/{identifier}", self._one)

    @property
    def credentials(self) -> dict[str, str]:
        """What the section [opsgenie] has to say."""
        return {"api": "opsgenie", "api_key": self.api_key}

    def fire(
        self,
        message: str,
        *,
        alias: str | None = None,
        source: str = "Prometheus",
        priority: str = "P1",
        tags: Iterable[str] = (),
        created_at: datetime | None = None,
        description: str = "",
    ) -> str:
        """Creates an alert, or counts one more on the open one of this alias; the count stops at
        100.
        """
        at = self._at(created_at)
        for known in self.alerts.values():
            if known.alias == alias and not known.closed_at:
                self._change(known.id, count=min(known.count + 1, 100), last_occurred_at=at)
                return known.id
        id_ = f"{uuid4()}-{round(at.timestamp() * 1000)}"
        self.alerts[id_] = SimulatedAlert(
            id=id_,
            tiny_id=str(len(self.alerts) + 1),
            alias=alias or id_,
            message=message,
            description=description,
            source=source,
            priority=priority,
            tags=tuple(tags),
            created_at=at,
            updated_at=at,
            last_occurred_at=at,
        )
        return id_

    def _at(self, moment: datetime | None = None) -> datetime:
        """Drops what the wire cannot carry, so that times and durations on it add up."""
        moment = (moment or self.now()).astimezone(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def _change(self, alert_id: str, /, **changes: Any) -> None:
        self.alerts[alert_id] = replace(self.alerts[alert_id], updated_at=self._at(), **changes)

    def acknowledge(self, alert_id: str, /) -> None:
        """Somebody has seen to it."""
        self._change(alert_id, acknowledged_at=self._at())

    def snooze(self, alert_id: str, /, until: datetime) -> None:
        """It is quiet until then."""
        self._change(alert_id, snoozed_until=self._at(until))

    def close(self, alert_id: str, /, at: datetime | None = None) -> None:
        """Closes for good: the next alert with this alias is a new one."""
        self._change(alert_id, closed_at=self._at(at))

    def rename(self, alert_id: str, /, message: str) -> None:
        """Its message is another one from now on."""
        self._change(alert_id, message=message)

    def delete(self, alert_id: str, /) -> None:
        """It is gone, and its id answers 404."""
        del self.alerts[alert_id]

    def hide_from_list(self, alert_id: str, /) -> None:
        """The list does not name it, as an index that lags."""
        self._hidden.add(alert_id)

    def keep_in_list(self, alert_id: str, /) -> None:
        """Lists the alert as open, whatever becomes of it."""
        self._kept.add(alert_id)

    def show_in_list(self, alert_id: str, /) -> None:
        """Ends `hide_from_list` and `keep_in_list`: the index has caught up."""
        self._hidden.discard(alert_id)
        self._kept.discard(alert_id)

    def lose_sight(self) -> None:
        """Takes the key's teams away: lists are empty and cheerful, one alert is 403."""
        self.blind = True

    def regain_sight(self) -> None:
        """The key sees its alerts again."""
        self.blind = False

    def found(self, query: str) -> list[SimulatedAlert]:
        """Searches the index, not the store: the two may disagree."""
        if query:
            matches(query, None)
        if self.blind:
            return []
        listed = []
        for alert in self.alerts.values():
            if alert.id in self._hidden:
                continue
            if alert.id in self._kept:
                alert = replace(alert, closed_at=None)
            if not query or matches(query, alert):
                listed.append(alert)
        return listed

    @web.middleware
    async def _speak(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks the key, and gives every refusal the body and headers of the vendor's."""
        if request.path.startswith("/jsm/"):
            return await handler(request)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme == "GenieKey" and not KEY.fullmatch(key):
            return answer({"message": "Key format is not valid!"}, status=422)
        if (scheme, key) != ("GenieKey", self.api_key):
            return answer({"message": "Could not authenticate"}, status=401)
        try:
            return await handler(request)
        except OpsgenieRefusal as refused:
            return answer(refused.body, status=refused.status)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
            return answer({"message": error.reason}, status=error.status)

    async def _list(self, request: web.Request) -> web.Response:
        asked = DEFAULTS | checked(request, LIST)
        limit = int(asked["limit"])
        offset = int(asked["offset"])
        if limit + offset >= 20000:
            raise OpsgenieRefusal(422, "Sum of offset and limit should be lower than 20000")
        if self.before_page:
            self.before_page(offset)
        items = [v2_item(alert, self._at()) for alert in self.found(asked.get("query", ""))]

        def place(item: dict[str, Any]) -> tuple[bool, Any]:
            value: Any = item
            for name in asked["sort"].split("."):
                value = (value or {}).get(name)
            if value is None:
                return False, ""
            return True, value

        items.sort(key=place, reverse=asked["order"] == "desc")
        end = offset + limit
        starts = {"first": 0, "last": max(0, len(items) - 1) // limit * limit}
        if end < len(items):
            starts["next"] = end
        if offset:
            starts["prev"] = max(0, offset - limit)
        paging = {}
        for name, start in starts.items():
            query = urlencode(asked | {"offset": str(start)})
            paging[name] = f"{request.url.origin()}/v2/alerts?{query}"
        headers = {f"X-Paging-{name.title()}": link for name, link in paging.items()}
        return answer({"data": items[offset:end], "paging": paging}, headers=headers)

    async def _count(self, request: web.Request) -> web.Response:
        query = checked(request, {"query": ".*"}).get("query", "")
        return answer({"data": {"count": len(self.found(query))}})

    async def _one(self, request: web.Request) -> web.Response:
        """Answers from the store: for closed alerts too by id and number, only for the open one by
        alias.
        """
        by = checked(request, {"identifierType": "id|alias|tiny"}).get("identifierType", "id")
        wanted = request.match_info["identifier"]
        if self.blind:
            raise OpsgenieRefusal(403, "You are not authorized to access this alert.", code=40301)
        for alert in self.alerts.values():
            names = {"id": alert.id, "tiny": alert.tiny_id}
            if not alert.closed_at:
                names["alias"] = alert.alias
            if wanted == names.get(by):
                more = {
                    "actions": [],
                    "entity": "",
                    "description": alert.description,
                    "details": {},
                }
                return answer({"data": v2_item(alert, self._at()) | more})
        raise OpsgenieRefusal(404, "Alert does not exist")
