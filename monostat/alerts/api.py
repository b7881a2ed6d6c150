"""What differs between OpsGenie and JSM, and how an alert of either is read."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from monostat.core.model import Alert
from monostat.core.text import one_line
from monostat.vendor import Undelivered

BELIEVABLE = timedelta(days=3650)  # a time further away is nonsense, such as the year 1
OVER = ("closed", "resolved")  # every other word is open, whatever it is
UNCLEAR = "its answer is not understood"


@dataclass(frozen=True, kw_only=True)
class Api:
    """One of the two products.

    `path` is that of its alerts. `items` names the list in an answer, `size` the parameter for its
    length, `envelope` what a single alert is wrapped in, if it is. `advice` is by HTTP status.
    """

    name: str
    origin: str
    path: str
    items: str
    size: str
    envelope: str
    advice: dict[int, str]


QUERY = "the query is not understood: check opsgenie.query"
THROTTLED = "too many requests: waiting as long as it asks"
# https://docs.opsgenie.com/docs/alert-api
# https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v2/api-group-alerts/
# JSM says 401 for a missing scope too.
OPSGENIE = Api(
    name="OpsGenie",
    origin="https://api.opsgenie.com",
    path="/v2/alerts",
    items="data",
    size="limit",
    envelope="data",
    advice={
        400: QUERY,
        401: "the key is unknown: check opsgenie.api_key",
        403: "the key may not read this: check the rights and teams of opsgenie.api_key",
        404: "nothing is at this address: check opsgenie.url",
        422: "the key is malformed or the query is wrong: check opsgenie.api_key and"
        " opsgenie.query",
        429: THROTTLED,
    },
)
JSM = Api(
    name="JSM",
    origin="https://api.atlassian.com",
    path="/jsm/ops/api/{cloud_id}/v1/alerts",
    items="values",
    size="size",
    envelope="",
    advice={
        400: QUERY,
        401: "the token is unknown, has expired or lacks the scope"
        " read:ops-alert:jira-service-management: make a new one,"
        " and check opsgenie.email and opsgenie.api_token",
        403: "the account may not read this: check in which teams of Operations opsgenie.email is",
        404: "nothing is at this address: check opsgenie.cloud_id and opsgenie.url",
        422: QUERY,
        429: THROTTLED,
    },
)
#: By the setting opsgenie.api.
APIS = {"opsgenie": OPSGENIE, "jsm": JSM}


# https://docs.opsgenie.com/v1.0/docs/alerts-and-alert-fields
# Only `id` is sure to be there.
def read_alert(item: Any, now: datetime, alert_id: str | None = None) -> Alert:
    """One item of a list, or the alert of this id; raises Undelivered for anything else."""
    if not isinstance(item, dict):
        raise Undelivered(UNCLEAR)
    actual = item.get("id")
    if not actual or not isinstance(actual, str) or actual != (alert_id or one_line(actual)):
        raise Undelivered(UNCLEAR)
    created_at = time_of(item, "createdAt", now)
    ended_at = closed_at(item, created_at, now) if text_of(item, "status") in OVER else None
    return Alert(
        id=actual,
        message=text_of(item, "message"),
        source=text_of(item, "source"),
        priority=text_of(item, "priority"),
        created_at=created_at or now,
        closed_at=ended_at,
    )


# OpsGenie's closeTime is a duration in ms since createdAt and
# part of a report, JSM's is a time.
def closed_at(item: Mapping[str, Any], created_at: datetime | None, now: datetime) -> datetime:
    """When an alert that is over ended, as well as it can be told."""
    if created_at:
        with suppress(KeyError, TypeError, ValueError, OverflowError):
            return created_at + timedelta(milliseconds=item["report"]["closeTime"])
    return time_of(item, "closeTime", now) or time_of(item, "updatedAt", now) or now


def text_of(item: Mapping[str, Any], key: str) -> str:
    """A field as one line; empty where it is no text."""
    value = item.get(key)
    if isinstance(value, str):
        return one_line(value)
    return ""


def time_of(item: Mapping[str, Any], key: str, now: datetime) -> datetime | None:
    """A field as a time in UTC, or None where it is none that can be believed."""
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(text_of(item, key))
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        time = time.astimezone(UTC)
        if abs(time - now) < BELIEVABLE:
            return time
    return None
