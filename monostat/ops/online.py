"""`monostat check --online`: what each vendor says of our credentials; nothing is changed there."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

from aiohttp import ClientSession

from monostat import RESOURCES
from monostat.alerts.source import AlertSource
from monostat.config import Config, OpsGenieSettings, SlackSettings, Timing
from monostat.mail.rapidmail import UNTITLED, RapidmailClient
from monostat.slack.client import REMEDIES, UNKNOWN_KEYS
from monostat.vendor import Undelivered, ask

REFUSED, UNREACHED = 78, 69
SECONDS = Timing().vendor_timeout
EMPTY = "no alert is open; where that is not so, check the teams and rights of the credentials, and opsgenie.query"


class Finding(NamedTuple):
    """What is so of a section of the settings: `code` is 0 where it works, else an exit code."""

    section: str
    text: str
    code: int = 0


async def look(settings: Config) -> list[Finding]:
    """Asks every vendor that is configured: one finding where it works, else one for each thing to
    be corrected.
    """
    looks: list[tuple[str, Callable[[ClientSession, Any], Awaitable[list[str]]], Any]] = [
        ("opsgenie", monitoring, settings.opsgenie),
        ("slack", slack, settings.slack),
        ("rapidmail", rapidmail, settings.rapidmail),
    ]

    async def one(
        name: str, vendor: Callable[[ClientSession, Any], Awaitable[list[str]]], part: Any
    ) -> list[Finding]:
        try:
            works, *wrong = await vendor(session, part)
        except Undelivered as failure:
            refused = 400 <= failure.status < 500 and failure.status not in (408, 429)
            return [Finding(name, failure.reason, REFUSED if refused else UNREACHED)]
        return [Finding(name, text, REFUSED) for text in wrong] or [Finding(name, works)]

    async with ClientSession(trust_env="HTTPS_PROXY" in os.environ) as session:
        found = await asyncio.gather(*(one(*each) for each in looks if each[2]))
    return [finding for findings in found for finding in findings]


async def monitoring(session: ClientSession, settings: OpsGenieSettings) -> list[str]:
    """The list as the poller reads it, and one alert by its id."""

    async def nowhere(_event: object) -> None: ...

    clock: dict[str, Any] = {"now": lambda: datetime.now(UTC), "rng": Random()}  # noqa: S311 - jitter, no secrets
    source = AlertSource(
        session=session, settings=settings, timing=Timing(), known=list, submit=nowhere, **clock
    )
    try:
        found = await source.listed()
        for alert_id in [*found][:1]:
            await source.one(alert_id)
    except Undelivered as failure:
        failure.reason = source.told(failure)
        raise
    return [f"{source.api.name} works: {f'open alerts: {len(found)}' if found else EMPTY}"]


# Contract slack.md, sections 1 and 7. The scopes of a token come with every answer, in a header.
async def slack(session: ClientSession, settings: SlackSettings) -> list[str]:
    """Both tokens, the scopes, the channel and our place in it, and the group; opens no connection."""

    async def call(method: str, token: str = "", **arguments: str) -> tuple[dict[str, Any], str]:
        headers = {"Authorization": f"Bearer {token or settings.bot_token.get_secret_value()}"}
        url = f"{settings.url}{method}"
        status, said, body = await ask(
            session, "Slack", "POST", url, SECONDS, headers=headers, data=arguments
        )
        if status != 200 or not isinstance(body, dict):
            raise Undelivered(f"Slack is in trouble ({status})", status=status)
        return body, said.get("X-OAuth-Scopes", "")

    me, granted = await call("auth.test")
    if not me.get("ok"):
        return ["", refusal(me, "slack.bot_token")]
    manifest = json.loads((RESOURCES / "templates" / "slack-manifest.json").read_text("utf-8"))
    lacks = {*manifest["oauth_config"]["scopes"]["bot"]} - {
        scope.strip() for scope in granted.split(",")
    }
    wrong = (
        [f"scopes are missing: {', '.join(sorted(lacks))}: {REMEDIES['missing_scope']}"]
        if lacks and granted
        else []
    )
    about, _ = await call("conversations.info", channel=settings.channel)
    channel = about.get("channel") or {}
    if not about.get("ok"):
        wrong.append(refusal(about, "slack.channel"))
    elif channel.get("is_archived"):
        wrong.append(f"#{channel.get('name')} is archived: {REMEDIES['is_archived']}")
    elif not channel.get("is_member"):
        wrong.append(f"the app is not in #{channel.get('name')}: /invite it there")
    line, _ = await call("apps.connections.open", settings.app_token.get_secret_value())
    wrong += [] if line.get("ok") else [refusal(line, "slack.app_token")]
    if group := settings.allowed_user_group:
        members, _ = await call("usergroups.users.list", usergroup=group)
        wrong += [] if members.get("ok") else [refusal(members, "slack.allowed_user_group")]
    return [f"Slack works: {me.get('user')} is in #{channel.get('name')}", *wrong]


def refusal(said: dict[str, Any], key: str) -> str:
    code = str(said.get("error"))
    remedy = f"check {key}" if code in UNKNOWN_KEYS.split() else REMEDIES.get(code, f"check {key}")
    return f"Slack refuses ({code}): {remedy}"


async def rapidmail(session: ClientSession, settings: Any) -> list[str]:
    """The credentials, the list and the titles of mailings; of the sender only a mailing tells."""
    vendor = RapidmailClient(session, settings, SECONDS)
    works = f'Rapidmail works: the list is "{await vendor.list_name()}"'
    return [works if await vendor.names_titles() else f"{works}; but {UNTITLED}"]
