"""A simulated JSM Operations: a simulated Opsgenie's alerts in another API.

https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v2/api-group-alerts/
"""

import re
from typing import Any
from urllib.parse import urlencode

from aiohttp import encode_basic_auth, web
from aiohttp.typedefs import Handler

from monostat.demo.opsgenie import OpsgenieRefusal, SimulatedAlert, SimulatedOpsgenie, iso

CLOUD = "8f2b6c1e-4d0a-4a7e-9c55-1b7d3e9f0a42"
#: Everything else is ignored, above all Opsgenie's own `limit`.
PARAMETERS = {
    "query": ".*",
    "size": "[1-9][0-9]?|100",
    "offset": "[0-9]{1,9}",
    "order": "asc|desc",
    "sort": "createdAt|insertedAt|lastOccurredAt|priority",
}
DEFAULTS = {"offset": "0", "size": "20", "sort": "insertedAt", "order": "desc"}
WINDOW = 20000
#: The field that each `sort` means; the second is spelt so on the wire.
SORTED_BY = {"insertedAt": "createdAt", "lastOccurredAt": "lastOccuredAt"}


class SimulatedJsm:
    """One site and one account's token in front of the alerts of `vendor`, on the same origin.

    With `spells_out`, `status` has the words of the published schema: acked, snoozed, resolved.
    """

    def __init__(self, vendor: SimulatedOpsgenie) -> None:
        self.vendor = vendor
        self.cloud_id = CLOUD
        self.email = "ops@example.com"
        self.api_token = "ATATT3xFfGF0T4Jd9p"
        self.scoped = True
        self.spells_out = False
        app = web.Application(middlewares=[self._speak])
        app.router.add_get("/v1/alerts", self._list)
        app.router.add_get("/v1/alerts/{id}", self._one)
        vendor.app.add_subapp(f"/jsm/ops/api/{self.cloud_id}", app)

    @property
    def credentials(self) -> dict[str, str]:
        """What the section [opsgenie] has to say."""
        return {
            "api": "jsm",
            "cloud_id": self.cloud_id,
            "email": self.email,
            "api_token": self.api_token,
        }

    @web.middleware
    async def _speak(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks the token, then its scope: both are 401; other refusals are a list of errors."""
        if request.headers.get("Authorization") != self._authorization:
            return unauthorized("Unauthorized")
        if not self.scoped:
            return unauthorized("Unauthorized; scope does not match")
        try:
            return await handler(request)
        except OpsgenieRefusal as refused:
            errors = [{"title": str(refused), "code": str(refused.status)}]
            return web.json_response({"errors": errors}, status=refused.status)

    @property
    def _authorization(self) -> str:
        return encode_basic_auth(self.email, self.api_token)

    def _is_snoozed(self, alert: SimulatedAlert) -> bool:
        return alert.snoozed_until is not None and alert.snoozed_until > self.vendor.now()

    def _status(self, alert: SimulatedAlert) -> str:
        if not self.spells_out:
            return alert.status
        if alert.closed_at:
            return "resolved"
        if self._is_snoozed(alert):
            return "snoozed"
        if alert.acknowledged_at:
            return "acked"
        return "open"

    def _item(self, alert: SimulatedAlert) -> dict[str, Any]:
        """Writes an alert as it is listed: the times of what has not happened are absent."""
        is_snoozed = self._is_snoozed(alert)
        item: dict[str, Any] = {
            "id": alert.id,
            "tinyId": alert.tiny_id,
            "createdAt": iso(alert.created_at),
            "updatedAt": iso(alert.updated_at),
            "message": alert.message,
            "entity": "",
            "source": alert.source,
            "status": self._status(alert),
            "alias": alert.alias,
            "tags": list(alert.tags),
            "acknowledged": alert.acknowledged_at is not None,
            "count": alert.count,
            "owner": "",
        }
        if alert.acknowledged_at:
            item["ackTime"] = iso(alert.acknowledged_at)
        if alert.closed_at:
            item["closeTime"] = iso(alert.closed_at)
        if is_snoozed and alert.snoozed_until:
            item["snoozedUntil"] = iso(alert.snoozed_until)
        item["snoozed"] = is_snoozed
        item["lastOccuredAt"] = iso(alert.last_occurred_at)
        item["integrationType"] = "API"
        item["integrationName"] = "Prod API"
        item["priority"] = alert.priority
        item["responders"] = []
        item["actions"] = []
        item["seen"] = True
        return item

    async def _list(self, request: web.Request) -> web.Response:
        """Lists a page; its `next` begins below the site's base and forgets the query."""
        parameters = dict(DEFAULTS)
        for name, pattern in PARAMETERS.items():
            if name in request.query:
                value = request.query[name]
                if not re.fullmatch(pattern, value):
                    raise OpsgenieRefusal(422, f"{name}: {value!r} is not allowed")
                parameters[name] = value
        query = parameters.pop("query", "")
        offset = int(parameters["offset"])
        end = offset + int(parameters["size"])
        if end >= WINDOW:
            raise OpsgenieRefusal(422, f"Sum of offset and size should be lower than {WINDOW}")
        if self.vendor.before_page:
            self.vendor.before_page(offset)
        items = [self._item(alert) for alert in self.vendor.found(query)]
        if "status: open" in query:  # the index knows its own words only
            items = [item for item in items if item["status"] == "open"]
        field = SORTED_BY.get(parameters["sort"], parameters["sort"])
        items.sort(key=lambda item: item[field], reverse=parameters["order"] == "desc")
        links = {}
        if end < len(items):
            parameters["offset"] = str(end)
            links["next"] = f"/v1/alerts?{urlencode(parameters)}"
        return web.json_response({"values": items[offset:end], "links": links, "count": len(items)})

    async def _one(self, request: web.Request) -> web.Response:
        """Answers from the store, without an envelope, by id alone."""
        if self.vendor.blind:
            raise OpsgenieRefusal(403, "You are not authorized to access this alert.")
        alert = self.vendor.alerts.get(request.match_info["id"])
        if alert is None:
            raise OpsgenieRefusal(404, "Alert does not exist")
        return web.json_response(
            self._item(alert) | {"description": alert.description, "extraProperties": {}}
        )


def unauthorized(message: str) -> web.Response:
    """How the gateway refuses, before the product sees the request."""
    return web.json_response({"code": 401, "message": message}, status=401)
