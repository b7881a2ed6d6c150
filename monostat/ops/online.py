"""`monostat check --online`: what each vendor says of our credentials; nothing is changed there."""

import asyncio
import json
import os
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple

from aiohttp import ClientSession

from monostat import RESOURCES
from monostat.alerts.source import AlertSource
from monostat.config import Config, OpsGenieSettings, RapidmailSettings, SlackSettings, Timing
from monostat.mail.rapidmail import UNTITLED, RapidmailClient
from monostat.slack.client import BAD_TOKENS, REMEDIES
from monostat.vendor import Undelivered, ask

SECONDS = Timing().vendor_timeout
EMPTY = (
    "no alert is open; if that is wrong, check the teams and permissions of the credentials,"
    " and opsgenie.query"
)


class Finding(NamedTuple):
    """What is so of a section of the settings: `code` is 0 where it works, else an exit code."""

    section: str
    text: str
    code: int = 0


class Verdict(NamedTuple):
    """That a vendor works, in a sentence, and what has to be corrected all the same."""

    works: str
    problems: list[str]


async def look(settings: Config) -> list[Finding]:
    """Asks every vendor that is configured: one finding where it works, else one for each thing to
    be corrected.
    """
    async with ClientSession(trust_env="HTTPS_PROXY" in os.environ) as session:
        checks = []
        if settings.opsgenie:
            checks.append(findings("opsgenie", monitoring(session, settings.opsgenie)))
        if settings.slack:
            checks.append(findings("slack", slack(session, settings.slack)))
        if settings.rapidmail:
            checks.append(findings("rapidmail", rapidmail(session, settings.rapidmail)))
        results = await asyncio.gather(*checks)
    return [finding for result in results for finding in result]


async def findings(section: str, check: Coroutine[Any, Any, Verdict]) -> list[Finding]:
    """What a check says of a section, and its refusal or its silence as a finding."""
    try:
        answer = await check
    except Undelivered as failure:
        code = os.EX_UNAVAILABLE
        if 400 <= failure.status < 500 and failure.status not in (408, 429):
            code = os.EX_CONFIG
        return [Finding(section, failure.reason, code)]
    if answer.problems:
        return [Finding(section, problem, os.EX_CONFIG) for problem in answer.problems]
    return [Finding(section, answer.works)]


async def monitoring(session: ClientSession, settings: OpsGenieSettings) -> Verdict:
    """The list as the poller reads it, and one alert by its id."""

    async def nowhere(_event: object) -> None: ...

    source = AlertSource(
        session=session,
        settings=settings,
        timing=Timing(),
        now=lambda: datetime.now(UTC),
        rng=Random(),  # noqa: S311 - jitter, no secrets
        alerts_to_follow=list,
        submit=nowhere,
    )
    try:
        alerts = await source.list_open()
        if alerts:
            await source.look_at(next(iter(alerts)))
    except Undelivered as failure:
        failure.reason = source.in_words(failure)
        raise
    count = f"open alerts: {len(alerts)}" if alerts else EMPTY
    return Verdict(f"{source.api.name} works: {count}", [])


# The scopes of a token come with every answer, in a header:
# https://docs.slack.dev/reference/methods/auth.test
async def slack(session: ClientSession, settings: SlackSettings) -> Verdict:
    """Both tokens, the scopes, the channel and our place in it, and the group.

    It opens no connection. Raises Undelivered.
    """
    probe = SlackProbe(session, settings)
    me = await probe.call("auth.test")
    if not me.get("ok"):
        return Verdict("", [refusal(me, "slack.bot_token")])
    problems = missing_scopes(probe.scopes)
    about = await probe.call("conversations.info", {"channel": settings.channel})
    channel = about.get("channel") or {}
    name = channel.get("name")
    if not about.get("ok"):
        problems.append(refusal(about, "slack.channel"))
    elif channel.get("is_archived"):
        problems.append(f"#{name} is archived: {REMEDIES['is_archived']}")
    elif not channel.get("is_member"):
        problems.append(f"the app is not in #{name}: /invite it there")
    app_token = settings.app_token.get_secret_value()
    connection = await probe.call("apps.connections.open", token=app_token)
    if not connection.get("ok"):
        problems.append(refusal(connection, "slack.app_token"))
    if group := settings.allowed_user_group:
        members = await probe.call("usergroups.users.list", {"usergroup": group})
        if not members.get("ok"):
            problems.append(refusal(members, "slack.allowed_user_group"))
    return Verdict(f"Slack works: {me.get('user')} is in #{name}", problems)


class SlackProbe:
    """Slack's Web API, asked once for each thing; `scopes` are those of the bot's token."""

    def __init__(self, session: ClientSession, settings: SlackSettings) -> None:
        self._session = session
        self._settings = settings
        self.scopes = ""

    async def call(
        self, method: str, arguments: Mapping[str, str] | None = None, *, token: str = ""
    ) -> dict[str, Any]:
        """The answer, be it a refusal; raises Undelivered where there is none."""
        bearer = token or self._settings.bot_token.get_secret_value()
        answer = await ask(
            self._session,
            "Slack",
            "POST",
            f"{self._settings.url}{method}",
            SECONDS,
            headers={"Authorization": f"Bearer {bearer}"},
            data=arguments or {},
        )
        if answer.status != 200 or not isinstance(answer.body, dict):
            reason = f"Slack is in trouble ({answer.status})"
            raise Undelivered(reason, status=answer.status)
        if method == "auth.test":
            self.scopes = answer.headers.get("X-OAuth-Scopes", "")
        return answer.body


def missing_scopes(granted: str) -> list[str]:
    """The problem that scopes of the manifest are missing, if Slack names the granted ones."""
    manifest = json.loads((RESOURCES / "templates" / "slack-manifest.json").read_text("utf-8"))
    wanted = set(manifest["oauth_config"]["scopes"]["bot"])
    missing = wanted - {scope.strip() for scope in granted.split(",")}
    if not missing or not granted:
        return []
    return [f"scopes are missing: {', '.join(sorted(missing))}: {REMEDIES['missing_scope']}"]


def refusal(answer: Mapping[str, Any], key: str) -> str:
    """Slack's refusal in a sentence that names the setting to be corrected."""
    code = str(answer.get("error"))
    remedy = f"check {key}"
    if code not in BAD_TOKENS:
        remedy = REMEDIES.get(code, remedy)
    return f"Slack refuses ({code}): {remedy}"


async def rapidmail(session: ClientSession, settings: RapidmailSettings) -> Verdict:
    """The credentials, the list and the titles of mailings; of the sender only a mailing tells."""
    client = RapidmailClient(session, settings, SECONDS)
    works = f'Rapidmail works: the list is "{await client.list_name()}"'
    if not await client.names_titles():
        works += f"; but {UNTITLED}"
    return Verdict(works, [])
