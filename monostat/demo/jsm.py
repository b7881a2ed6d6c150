"""A simulated JSM Operations: a simulated Opsgenie's alerts in another API, contracts/opsgenie.md
section 3.
"""

import re
from typing import Any
from urllib.parse import urlencode

from aiohttp import encode_basic_auth, web
from aiohttp.typedefs import Handler

from monostat.demo.opsgenie import Alert, Refused, SimulatedOpsgenie, iso

CLOUD = "8f2b6c1e-4d0a-4a7e-9c55-1b7d3e9f0a42"
#: Everything else is ignored, above all Opsgenie's own `limit`.
LIST = {"query": ".*", "size": "[1-9][0-9]?|100", "offset": "[0-9]{1,9}", "order": "asc|desc"}
LIST |= {"sort": "createdAt|insertedAt|lastOccurredAt|priority"}
PLACES = {
    "insertedAt": "createdAt",
    "lastOccurredAt": "lastOccuredAt",
}  # the second is spelt so on the wire


class SimulatedJsm:
    """One site and one account's token in front of the alerts of `vendor`, on the same origin.

    With `spells_out`, `status` has the words of the published schema: acked, snoozed, resolved.
    """

    def __init__(self, vendor: SimulatedOpsgenie) -> None:
        self.vendor, self.cloud_id = vendor, CLOUD
        self.email, self.api_token = "ops@example.com", "ATATT3xFfGF0T4Jd9p"
        self.scoped, self.spells_out = True, False
        app = web.Application(middlewares=[self._speak])
        app.router.add_get("/v1/alerts", self._list)
        app.router.add_get("/v1/alerts/{id}", self._one)
        vendor.app.add_subapp(f"/jsm/ops/api/{self.cloud_id}", app)

    @property
    def credentials(self) -> dict[str, str]:
        return {
            "api": "jsm",
            "cloud_id": self.cloud_id,
            "email": self.email,
            "api_token": self.api_token,
        }

    @web.middleware
    async def _speak(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks the token, then its scope: both are 401; other refusals are a list of errors."""
        wrong = (
            "Unauthorized" if request.headers.get("Authorization") != self._authorization else ""
        )
        wrong = wrong or ("" if self.scoped else "Unauthorized; scope does not match")
        if wrong:
            return web.json_response({"code": 401, "message": wrong}, status=401)
        try:
            return await handler(request)
        except Refused as refused:
            errors = [{"title": str(refused), "code": str(refused.status)}]
            return web.json_response({"errors": errors}, status=refused.status)

    @property
    def _authorization(self) -> str:
        return encode_basic_auth(self.email, self.api_token)

    def _item(self, alert: Alert) -> dict[str, Any]:
        """Writes an alert as it is listed: the times of what has not happened are absent."""
        status = "closed" if alert.closed_at else "open"
        snoozed = alert.snoozed_until is not None and alert.snoozed_until > self.vendor.now()
        if self.spells_out:
            status = "snoozed" if snoozed else "acked" if alert.acknowledged_at else "open"
            status = "resolved" if alert.closed_at else status
        item: dict[str, Any] = {
            "id": alert.id,
            "tinyId": alert.tiny_id,
            "createdAt": iso(alert.created_at),
        }
        item |= {
            "updatedAt": iso(alert.updated_at),
            "message": alert.message,
            "entity": "",
            "source": alert.source,
        }
        item |= {"status": status, "alias": alert.alias, "tags": [*alert.tags]}
        item |= {
            "acknowledged": alert.acknowledged_at is not None,
            "count": alert.count,
            "owner": "",
        }
        times = {"ackTime": alert.acknowledged_at, "closeTime": alert.closed_at}
        times |= {"snoozedUntil": alert.snoozed_until} if snoozed else {}
        item |= {name: iso(at) for name, at in times.items() if at} | {"snoozed": snoozed}
        item |= {
            "lastOccuredAt": iso(alert.last_occurred_at),
            "integrationType": "API",
            "integrationName": "Prod API",
        }
        return item | {"priority": alert.priority, "responders": [], "actions": [], "seen": True}

    async def _list(self, request: web.Request) -> web.Response:
        """Lists a page; its `next` begins below the site's base and forgets the query."""
        given = {name: value for name, value in request.query.items() if name in LIST}
        for name, value in given.items():
            if not re.fullmatch(LIST[name], value):
                raise Refused(422, f"{name}: {value!r} is not allowed")
        asked = {"offset": "0", "size": "20", "sort": "insertedAt", "order": "desc"} | given
        size, offset, query = int(asked["size"]), int(asked["offset"]), asked.pop("query", "")
        if size + offset >= 20000:
            raise Refused(422, "Sum of offset and size should be lower than 20000")
        if self.vendor.before_page:
            self.vendor.before_page(offset)
        items = [self._item(alert) for alert in self.vendor.found(query)]
        if "status: open" in query:  # the index knows its own words only
            items = [item for item in items if item["status"] == "open"]
        items.sort(
            key=lambda item: item[PLACES.get(asked["sort"], asked["sort"])],
            reverse=asked["order"] == "desc",
        )
        more = offset + size < len(items)
        links = (
            {"next": "/v1/alerts?" + urlencode(asked | {"offset": str(offset + size)})}
            if more
            else {}
        )
        return web.json_response(
            {"values": items[offset : offset + size], "links": links, "count": len(items)}
        )

    async def _one(self, request: web.Request) -> web.Response:
        """Answers from the store, without an envelope, by id alone."""
        if self.vendor.blind:
            raise Refused(403, "You are not authorized to access this alert.")
        alert = self.vendor.alerts.get(request.match_info["id"])
        if alert is None:
            raise Refused(404, "Alert does not exist")
        return web.json_response(
            self._item(alert) | {"description": alert.description, "extraProperties": {}}
        )
