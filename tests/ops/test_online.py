"""`monostat check --online`: what it says of each vendor, and that it leaves no trace there."""

import asyncio
import json
import sys
from typing import Any

import pytest

from monostat.config import Config
from monostat.demo.workspace import BOT_USER
from monostat.mail.letter import Letter
from monostat.mail.rapidmail import RapidmailClient
from monostat.ops.online import Finding, look
from tests.world import World


async def found(world: World) -> dict[str, list[Finding]]:
    findings = await look(Config.model_validate(world.settings))
    return {
        name: [f for f in findings if f.section == name]
        for name in ("opsgenie", "slack", "rapidmail")
    }


def problems(findings: list[Finding], code: int = 78) -> str:
    assert {finding.code for finding in findings} == {code}, findings
    return " ".join(finding.text for finding in findings)


@pytest.mark.parametrize("api", ["opsgenie", "jsm"])
async def test_each_vendor_that_works_is_one_line_and_nothing_is_changed_there(
    world: World, api: str
) -> None:
    world.monitor(api)
    world.opsgenie.fire("disk full")
    world.opsgenie.close(world.opsgenie.fire("over"))
    lines = await look(Config.model_validate(world.settings))
    assert lines == [
        Finding("opsgenie", f"{'JSM' if api == 'jsm' else 'OpsGenie'} works: open alerts: 1"),
        Finding("slack", "Slack works: status is in #status-ops"),
        Finding("rapidmail", 'Rapidmail works: the list is "Status page"'),
    ]
    vendors = (world.slack, world.opsgenie, world.rapidmail)
    assert all(
        request.startswith("GET ") for vendor in vendors[1:] for request in vendor.faults.requests
    )
    assert (world.slack.connections, world.slack.messages, world.slack.ephemerals) == (0, [], [])
    assert not any(
        "chat." in request or "views." in request for request in world.slack.faults.requests
    )


async def test_an_empty_list_may_also_be_a_lack_of_rights_and_says_so(world: World) -> None:
    world.opsgenie.fire("disk full")
    world.opsgenie.lose_sight()
    [finding] = (await found(world))["opsgenie"]
    assert finding.code == 0
    assert "check the teams and permissions" in finding.text


@pytest.mark.parametrize(
    ("api", "change", "words"),
    [
        ("opsgenie", {"api_key": "00000000-0000-4000-8000-000000000000"}, "check opsgenie.api_key"),
        ("opsgenie", {"api_key": "half-a-key"}, "the key is malformed"),
        ("opsgenie", {"query": "status open AND"}, "check opsgenie.api_key and opsgenie.query"),
        ("jsm", {"api_token": "expired"}, "lacks the scope read:ops-alert:jira-service-management"),
        ("jsm", {"cloud_id": "another"}, "check opsgenie.cloud_id"),
        ("jsm", {"query": "status open AND"}, "check opsgenie.query"),
    ],
)
async def test_what_monitoring_refuses_names_its_setting(
    world: World, api: str, change: dict[str, Any], words: str
) -> None:
    world.monitor(api, **change)
    assert words in problems((await found(world))["opsgenie"])


async def test_a_missing_scope_of_the_token_is_named(world: World) -> None:
    world.monitor("jsm")
    world.jsm.scoped = False
    assert "read:ops-alert:jira-service-management" in problems((await found(world))["opsgenie"])


async def test_what_slack_lacks_is_named_each_in_a_line(world: World) -> None:
    world.slack.scopes -= {"chat:write", "usergroups:read"}
    world.slack.channels["C1"].members.remove(BOT_USER)
    world.settings["slack"] |= {"app_token": "xapp-wrong"}
    scopes, channel, line = (await found(world))["slack"]
    assert scopes.text.startswith(
        "scopes are missing: chat:write, usergroups:read: install the app again"
    )
    assert channel.text == "the app is not in #status-ops: /invite it there"
    assert line.text == "Slack refuses (invalid_auth): check slack.app_token"
    assert {scopes.code, channel.code, line.code} == {78}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bot_token": "xoxb-wrong"}, "check slack.bot_token"),
        ({"channel": "C99"}, "check slack.channel"),
        ({"allowed_user_group": "S99"}, "check slack.allowed_user_group"),
    ],
)
async def test_what_slack_refuses_names_its_setting(
    world: World, change: dict[str, str], words: str
) -> None:
    world.settings["slack"] |= change
    assert words in problems((await found(world))["slack"])


async def test_an_archived_channel_is_named(world: World) -> None:
    world.slack.channels["C1"].is_archived = True
    assert "#status-ops is archived" in problems((await found(world))["slack"])


@pytest.mark.parametrize("lacks", ["no mailing", "one", "all"])
async def test_a_list_without_titles_is_a_warning_and_no_failure(world: World, lacks: str) -> None:
    rapidmail = world.rapidmail
    settings = Config.model_validate(world.settings).rapidmail
    assert settings
    vendor = RapidmailClient(world.http, settings, 1.0)
    for title in ("one", "two") if lacks != "no mailing" else ():
        await vendor.send(title, Letter("s", "{%link_unsubscribe}", "t"))
    rapidmail.untitled = {"one": {4711}, "all": {4711, 4712}}.get(lacks, set())
    [finding] = (await found(world))["rapidmail"]
    assert finding.code == 0
    assert ("names no titles" in finding.text) == (lacks == "all")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "wrong"}, "check rapidmail.username and rapidmail.password"),
        ({"recipientlist_id": 7}, "has no list 7 (404): check rapidmail.recipientlist_id"),
    ],
)
async def test_what_rapidmail_refuses_names_its_setting(
    world: World, change: dict[str, Any], words: str
) -> None:
    world.settings["rapidmail"] |= change
    assert words in problems((await found(world))["rapidmail"])


async def test_a_vendor_in_trouble_is_no_fault_of_the_settings(world: World) -> None:
    for vendor in (world.slack, world.opsgenie, world.rapidmail):
        vendor.faults.fail_next(503)
    for findings in (await found(world)).values():
        assert "503" in problems(findings, code=69)


async def test_the_command_prints_a_line_for_each_and_exits_with_the_worst(world: World) -> None:
    async def check(*more: str) -> tuple[int | None, list[str], str]:
        command = (sys.executable, "-m", "monostat", "check", *more)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, cwd=world.folder, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate()
        return process.returncode, out.decode().splitlines(), err.decode()

    del world.settings["database"]
    tables = world.settings.items()
    lines = [
        f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in t.items())
        for name, t in tables
    ]
    (world.folder / "config.toml").write_text("".join(lines))
    code, out, _ = await check("--online")
    assert (code, len(out)) == (0, 4)
    assert out[1].startswith("config.toml: opsgenie: OpsGenie works")
    world.slack.faults.fail_next(503)
    assert (await check("--online"))[0] == 69
    world.rapidmail.password = "changed"
    code, _, err = await check("--online")
    assert code == 78
    assert "config.toml: rapidmail: Rapidmail refused the user name or password (401)" in err
    assert world.rapidmail.password not in err
    asked = len(world.slack.faults.requests)
    assert (await check())[:2] == (0, ["config.toml: the configuration is complete"])
    assert len(world.slack.faults.requests) == asked
