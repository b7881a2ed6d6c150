"""The simulated Slack, met over real sockets: some tests with the real slack-bolt, the rest with bare HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from monostat.demo.faults import serve
from monostat.demo.slack import Disconnected, Message, SimulatedSlack, Unacknowledged
from tests.demo.bolt import FORM, MODAL, actions, asked, bolt, button, option, plain
from tests.waiting import eventually

Json = dict[str, Any]
Api = Callable[..., Any]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slack(clock: Clock) -> SimulatedSlack:
    return SimulatedSlack(now=clock)


@pytest.fixture
async def url(slack: SimulatedSlack) -> AsyncIterator[str]:
    async with serve(slack.app) as url:
        yield url


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def api(slack: SimulatedSlack, url: str, http: aiohttp.ClientSession) -> Api:
    async def call(
        method: str, *, token: str | None = None, form: bool = False, **args: Any
    ) -> Any:
        token = token or (slack.app_token if method == "apps.connections.open" else slack.bot_token)
        sent: Json = {"params": args} if form else {"json": args}
        if not args:
            sent = {}
        async with http.post(
            f"{url}/api/{method}", headers={"Authorization": f"Bearer {token}"}, **sent
        ) as response:
            return await response.json()

    return call


WAITING = {
    "type": "modal",
    "callback_id": "update",
    "title": plain("Wait"),
    "blocks": [{"type": "divider"}],
}


@asynccontextmanager
async def plain_socket(
    api: Api, http: aiohttp.ClientSession
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    opened = await api("apps.connections.open")
    async with http.ws_connect(opened["url"]) as ws:
        yield ws


# -- the Web API


async def test_a_posted_message_is_kept_and_a_reply_goes_to_its_thread(
    slack: SimulatedSlack, api: Api
) -> None:
    first = await api("chat.postMessage", channel="C1", text="down", blocks=actions(button()))
    reply = await api("chat.postMessage", channel="C1", text="since 10:00", thread_ts=first["ts"])
    assert [m.text for m in slack.timeline()] == ["down"]
    assert [m.ts for m in slack.thread(first["ts"])] == [reply["ts"]]
    assert first["message"]["bot_id"] == slack.bot_id
    assert slack.violations == []


async def test_a_changed_message_loses_the_blocks_that_are_not_sent_again(
    slack: SimulatedSlack, api: Api
) -> None:
    key = {"event_type": "monostat_post", "event_payload": {"key": "k"}}
    posted = await api(
        "chat.postMessage", channel="C1", text="a", blocks=actions(button()), metadata=key
    )
    await api("chat.update", channel="C1", ts=posted["ts"], text="b")
    message = slack.timeline()[0]
    assert (message.text, message.blocks, message.metadata) == ("b", [], key)
    assert message.edited


@pytest.mark.parametrize(
    ("method", "args", "error"),
    [
        ("chat.postMessage", {"channel": "C9", "text": "a"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "C2", "text": "a"}, "not_in_channel"),
        ("chat.postMessage", {"channel": "C1"}, "no_text"),
        (
            "chat.postMessage",
            {"channel": "C1", "text": "a", "thread_ts": "1.2"},
            "thread_not_found",
        ),
        (
            "chat.postMessage",
            {"channel": "C1", "text": "a", "link_names": True},
            "invalid_arguments",
        ),
        (
            "chat.postMessage",
            {"channel": "C1", "text": "a", "unfurl_links": "perhaps"},
            "invalid_arguments",
        ),
        ("chat.postMessage", {"channel": "C1", "text": None}, "invalid_arguments"),
        (
            "chat.postMessage",
            {"channel": "C1", "text": "a", "blocks": "oops"},
            "invalid_blocks_format",
        ),
        (
            "chat.postMessage",
            {"channel": "C1", "text": "a", "blocks": [{"type": "x"}]},
            "invalid_blocks",
        ),
        (
            "chat.postMessage",
            {"channel": "C1", "text": "a", "metadata": {"a": 1}},
            "invalid_metadata_format",
        ),
        ("chat.postMessage", {"text": "a"}, "invalid_arguments"),
        ("chat.update", {"channel": "C1", "ts": "1.2", "text": "a"}, "message_not_found"),
        (
            "chat.postEphemeral",
            {"channel": "C1", "user": "U_OLA", "text": "a"},
            "user_not_in_channel",
        ),
        ("views.open", {"trigger_id": "made up", "view": MODAL}, "invalid_trigger_id"),
        ("views.publish", {"user_id": "U_ADA", "view": MODAL}, "invalid_arguments"),
        ("views.update", {"view_id": "V1", "view": MODAL}, "not_found"),
        ("users.info", {"user": "U_ADA"}, "invalid_arguments"),
        ("chat.scream", {"text": "a"}, "unknown_method"),
    ],
)
async def test_what_slack_refuses_is_refused(api: Api, method: str, args: Json, error: str) -> None:
    answer = await api(method, **args)
    assert (answer["ok"], answer["error"]) == (False, error)


async def test_only_refusals_that_a_correct_app_does_not_meet_are_violations(
    slack: SimulatedSlack, api: Api
) -> None:
    await api("chat.postMessage", channel="C2", text="a")
    assert slack.violations == []
    answer = await api(
        "chat.postMessage", channel="C1", text="a", blocks=actions(button(style="loud"))
    )
    assert "json-pointer:/blocks/0/elements/0/style" in answer["response_metadata"]["messages"][0]
    assert slack.violations[0].startswith("chat.postMessage: invalid_blocks")


async def test_blocks_that_are_too_long_together_are_refused(api: Api) -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2990}}
    assert (await api("chat.postMessage", channel="C1", text="a", blocks=[section] * 3))["ok"]
    assert (await api("chat.postMessage", channel="C1", text="a", blocks=[section] * 5))[
        "error"
    ] == "msg_blocks_too_long"


async def test_an_update_takes_less_text_than_a_post(api: Api) -> None:
    posted = await api("chat.postMessage", channel="C1", text="x" * 4001)
    assert posted["ok"]
    assert (await api("chat.update", channel="C1", ts=posted["ts"], text="x" * 4001))[
        "error"
    ] == "msg_too_long"


async def test_an_archived_channel_takes_nothing(slack: SimulatedSlack, api: Api) -> None:
    posted = await api("chat.postMessage", channel="C1", text="a")
    slack.channels["C1"].is_archived = True
    assert (await api("chat.postMessage", channel="C1", text="a"))["error"] == "is_archived"
    assert (await api("chat.update", channel="C1", ts=posted["ts"], text="b"))[
        "error"
    ] == "is_inactive"


async def test_a_limit_holds_back_one_method_and_says_for_how_long(
    slack: SimulatedSlack, api: Api, http: aiohttp.ClientSession, url: str
) -> None:
    posted = await api("chat.postMessage", channel="C1", text="a")
    slack.limit("chat.update", retry_after=600)
    head = {"Authorization": f"Bearer {slack.bot_token}"}
    change = {"channel": "C1", "ts": posted["ts"], "text": "b"}
    async with http.post(f"{url}/api/chat.update", headers=head, json=change) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "600")
        assert (await answer.json())["error"] == "ratelimited"
    assert (await api("chat.postMessage", channel="C1", text="c"))["ok"]
    assert slack.timeline()[0].text == "a"
    slack.unlimit()
    assert (await api("chat.update", **change))["ok"]
    assert slack.violations == []


async def test_posts_to_one_channel_may_have_to_wait_for_one_another(
    slack: SimulatedSlack, api: Api
) -> None:
    slack.posting_gap = 600
    assert (await api("chat.postMessage", channel="C1", text="a"))["ok"]
    assert (await api("chat.postMessage", channel="C1", text="b"))["error"] == "ratelimited"
    slack.channels["C2"].members.append(slack.bot_user_id)
    assert (await api("chat.postMessage", channel="C2", text="c"))["ok"]


async def test_one_thing_is_refused_on_order_until_slack_relents(
    slack: SimulatedSlack, api: Api
) -> None:
    slack.object_to("chat.postMessage", "disk", "internal_error")
    assert (await api("chat.postMessage", channel="C1", text="the disk"))[
        "error"
    ] == "internal_error"
    assert (await api("chat.postMessage", channel="C1", text="the fan"))["ok"]
    slack.relent()
    assert (await api("chat.postMessage", channel="C1", text="the disk"))["ok"]
    assert slack.violations == []


async def test_a_reply_to_a_deleted_message_has_no_thread_unless_slack_takes_orphans(
    slack: SimulatedSlack, api: Api
) -> None:
    posted = await api("chat.postMessage", channel="C1", text="a")
    slack.messages[0].deleted = True
    reply = {"channel": "C1", "text": "b", "thread_ts": posted["ts"]}
    assert (await api("chat.postMessage", **reply))["error"] == "thread_not_found"
    slack.takes_orphans = True
    assert (await api("chat.postMessage", **reply))["ok"]


async def test_only_own_messages_that_are_not_frozen_can_be_changed(
    slack: SimulatedSlack, api: Api
) -> None:
    slack.messages.append(Message("C1", "1.000001", "U_ADA", "hello"))
    assert (await api("chat.update", channel="C1", ts="1.000001", text="b"))[
        "error"
    ] == "cant_update_message"
    posted = await api("chat.postMessage", channel="C1", text="a")
    slack.uneditable(posted["ts"])
    assert (await api("chat.update", channel="C1", ts=posted["ts"], text="b"))[
        "error"
    ] == "cant_update_message"
    assert slack.violations == []


async def test_tokens_are_looked_at(
    slack: SimulatedSlack, api: Api, http: aiohttp.ClientSession, url: str
) -> None:
    assert (await api("auth.test"))["bot_id"] == "B1"
    assert (await api("auth.test", token="xoxb-other"))["error"] == "invalid_auth"
    assert (await api("auth.test", token=slack.app_token))["error"] == "not_allowed_token_type"
    assert (await api("apps.connections.open", token=slack.bot_token))[
        "error"
    ] == "not_allowed_token_type"
    async with http.post(f"{url}/api/auth.test") as response:
        assert (await response.json())["error"] == "not_authed"
    async with http.post(
        f"{url}/api/apps.connections.open", data={"token": slack.app_token}
    ) as response:
        assert (await response.json())["error"] == "invalid_arguments"


async def test_history_is_newest_first_in_pages_without_replies(
    slack: SimulatedSlack, api: Api
) -> None:
    key = {"event_type": "monostat_post", "event_payload": {"key": "k"}}
    posted = [
        await api("chat.postMessage", channel="C1", text=f"m{n}", metadata=key) for n in range(3)
    ]
    await api("chat.postMessage", channel="C1", text="reply", thread_ts=posted[0]["ts"])
    page = await api("conversations.history", form=True, channel="C1", limit=2)
    assert [m["text"] for m in page["messages"]] == ["m2", "m1"]
    assert page["messages"][0]["metadata"] == {"event_type": "monostat_post"}
    cursor = page["response_metadata"]["next_cursor"]
    rest = await api(
        "conversations.history", form=True, channel="C1", cursor=cursor, include_all_metadata="true"
    )
    assert [m["text"] for m in rest["messages"]] == ["m0"]
    assert rest["messages"][0]["metadata"] == key
    after = await api("conversations.history", form=True, channel="C1", oldest=posted[1]["ts"])
    assert [m["text"] for m in after["messages"]] == ["m2"]
    thread = await api("conversations.replies", form=True, channel="C1", ts=posted[0]["ts"])
    assert [m["text"] for m in thread["messages"]] == ["m0", "reply"]
    assert (await api("conversations.history", form=True, channel="C1", cursor="x"))[
        "error"
    ] == "invalid_cursor"


async def test_it_says_who_is_in_the_channel_and_what_they_are(
    slack: SimulatedSlack, api: Api
) -> None:
    first = await api("conversations.members", form=True, channel="C1", limit=3)
    second = await api(
        "conversations.members",
        form=True,
        channel="C1",
        cursor=first["response_metadata"]["next_cursor"],
    )
    assert sorted(first["members"] + second["members"]) == [
        "UBOT",
        "U_ADA",
        "U_BOB",
        "U_EVE",
        "U_GUS",
    ]
    assert (await api("users.info", form=True, user="U_GUS"))["user"]["is_restricted"]
    eve = (await api("users.info", form=True, user="U_EVE"))["user"]
    assert (eve["is_stranger"], eve["team_id"]) == (True, "T2")
    assert (await api("users.info", form=True, user="U_ADA"))["user"]["tz_offset"] == 3600
    slack.usergroups["S1"] = ["U_ADA"]
    assert (await api("usergroups.users.list", form=True, usergroup="S1"))["users"] == ["U_ADA"]


async def test_a_public_channel_can_be_joined(slack: SimulatedSlack, api: Api) -> None:
    slack.scopes.add("channels:join")
    assert not (await api("conversations.info", form=True, channel="C2"))["channel"]["is_member"]
    assert (await api("conversations.join", form=True, channel="C2"))["ok"]
    assert (await api("conversations.join", form=True, channel="C2"))[
        "warning"
    ] == "already_in_channel"
    assert (await api("chat.postMessage", channel="C2", text="a"))["ok"]


async def test_small_methods_answer(slack: SimulatedSlack, api: Api) -> None:
    slack.scopes.add("reactions:write")
    posted = await api("chat.postMessage", channel="C1", text="a")
    link = await api("chat.getPermalink", form=True, channel="C1", message_ts=posted["ts"])
    assert link["permalink"].endswith("/C1/p" + posted["ts"].replace(".", ""))
    where = {"channel": "C1", "timestamp": posted["ts"], "name": "eyes"}
    assert (await api("reactions.add", form=True, **where))["ok"]
    assert (await api("reactions.add", form=True, **where))["error"] == "already_reacted"
    await api("chat.postEphemeral", channel="C1", user="U_ADA", text="only you")
    assert [(e.user, e.text) for e in slack.ephemerals] == [("U_ADA", "only you")]


async def test_pings_are_listed_wherever_they_hide(slack: SimulatedSlack, api: Api) -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "<@U_ADA> look"}}
    await api("chat.postMessage", channel="C1", text="&lt;!channel&gt;")
    assert slack.pings == []
    await api("chat.postMessage", channel="C1", text="<!here>", blocks=[section])
    assert slack.pings == ["<!here>", "<@U_ADA>"]
    assert slack.violations == []


async def test_a_fault_can_be_ordered_for_one_method(slack: SimulatedSlack, api: Api) -> None:
    slack.faults.accept_then_drop(path="/api/chat.postMessage")
    with pytest.raises(aiohttp.ClientError):
        await api("chat.postMessage", channel="C1", text="a")
    assert [m.text for m in slack.timeline()] == ["a"]


# -- Socket Mode


async def test_a_socket_says_hello_and_pings(
    slack: SimulatedSlack, api: Api, http: aiohttp.ClientSession
) -> None:
    slack.ping_every = 0.01
    opened = await api("apps.connections.open")
    async with http.ws_connect(opened["url"], autoping=False) as ws:
        hello = await ws.receive_json()
        assert (hello["type"], hello["num_connections"]) == ("hello", 1)
        assert hello["debug_info"]["approximate_connection_time"] > 3600
        assert (await ws.receive()).type is aiohttp.WSMsgType.PING


async def test_a_ticket_opens_one_socket_and_grows_old(
    slack: SimulatedSlack, api: Api, http: aiohttp.ClientSession, clock: Clock
) -> None:
    used, old = await api("apps.connections.open"), await api("apps.connections.open")
    async with http.ws_connect(used["url"]):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(used["url"])
    clock.pass_by(31)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect(old["url"])


async def test_each_envelope_goes_to_one_socket_and_a_second_ack_is_a_violation(
    slack: SimulatedSlack, api: Api, http: aiohttp.ClientSession
) -> None:
    async with plain_socket(api, http) as one, plain_socket(api, http) as two:
        for ws in (one, two):
            assert (await ws.receive_json())["type"] == "hello"
        pressing = [asyncio.create_task(slack.shortcut("U_ADA", "new_incident")) for _ in range(2)]
        envelopes = [await one.receive_json(), await two.receive_json()]
        for ws, envelope in zip((one, two), envelopes, strict=True):
            await ws.send_json({"envelope_id": envelope["envelope_id"]})
        await asyncio.gather(*pressing)
        assert len(slack.acks) == 2
        await one.send_json({"envelope_id": envelopes[0]["envelope_id"]})
        await one.send_json({"envelope_id": "made up"})
        await eventually(lambda: len(slack.violations) == 2)


async def test_nobody_connected_and_nobody_answering_are_told_apart(
    slack: SimulatedSlack, api: Api, http: aiohttp.ClientSession
) -> None:
    with pytest.raises(Disconnected):
        await slack.shortcut("U_ADA", "new_incident")
    slack.patience = 0.05
    async with plain_socket(api, http):
        await eventually(lambda: slack.connections)
        with pytest.raises(Unacknowledged):
            await slack.shortcut("U_ADA", "new_incident")


async def test_buttons_reach_bolt_and_stale_ones_too(
    slack: SimulatedSlack, url: str, api: Api
) -> None:
    seen: list[Json] = []
    async with bolt(slack, url) as app:

        @app.action("confirm")
        async def confirm(ack: Any, body: Json) -> None:
            await ack()
            seen.append(body)

        posted = await api(
            "chat.postMessage", channel="C1", text="a", blocks=actions(button(value="inc-1"))
        )
        ack = await slack.press("U_ADA", posted["ts"], "confirm")
        assert ack.seconds < 1
        await api("chat.update", channel="C1", ts=posted["ts"], text="b")
        with pytest.raises(LookupError):
            await slack.press("U_ADA", posted["ts"], "confirm")
        await slack.press_stale("U_BOB", posted["ts"], "confirm", "inc-1")
        await api(
            "chat.postEphemeral",
            channel="C1",
            user="U_ADA",
            text="a",
            blocks=actions(button(value="inc-1")),
        )
        await slack.press("U_ADA", slack.ephemerals[0].ts, "confirm")
        await eventually(lambda: len(seen) == 3)
    assert [body["actions"][0]["value"] for body in seen] == ["inc-1"] * 3
    assert seen[0]["container"]["message_ts"] == seen[0]["message"]["ts"] == posted["ts"]
    assert (seen[0]["user"]["id"], seen[0]["channel"]) == (
        "U_ADA",
        {"id": "C1", "name": "status-ops"},
    )
    assert seen[2]["container"]["is_ephemeral"]
    assert "message" not in seen[2]
    assert slack.violations == []


async def test_a_menu_sends_the_option_that_was_chosen(
    slack: SimulatedSlack, url: str, api: Api
) -> None:
    chosen: list[str] = []
    async with bolt(slack, url) as app:

        @app.action("more")
        async def more(ack: Any, action: Json) -> None:
            await ack()
            chosen.append(action["selected_option"]["value"])

        menu = {
            "type": "overflow",
            "action_id": "more",
            "options": [{"text": plain("Edit"), "value": "edit"}],
        }
        posted = await api("chat.postMessage", channel="C1", text="a", blocks=actions(menu))
        await slack.press("U_ADA", posted["ts"], "more", chosen="edit")
    assert chosen == ["edit"]


async def test_a_mention_arrives_as_two_events_and_can_come_again(
    slack: SimulatedSlack, url: str
) -> None:
    heard: list[tuple[Any, Any]] = []
    async with bolt(slack, url) as app:

        @app.event("app_mention")
        async def mention(event: Json, body: Json) -> None:
            heard.append((body["event_id"], event["type"]))

        @app.event("message")
        async def message(event: Json, body: Json) -> None:
            heard.append((body["event_id"], event.get("subtype", event["channel_type"])))

        said = await slack.say("U_ADA", "<@UBOT> it is the disk")
        await eventually(lambda: len(heard) == 2)
        assert sorted(kind for _, kind in heard) == ["app_mention", "channel"]
        first = next(iter(slack.events))
        await slack.redeliver(first)
        await eventually(lambda: [id_ for id_, _ in heard].count(first) == 2)
        await slack.say("U_BOB", "so it is", thread_ts=said.ts)
        await slack.edit_message("U_ADA", said.ts, "<@UBOT> it is the network")
        await slack.delete_message("U_ADA", said.ts)
        await eventually(lambda: len(heard) == 6)
    assert [kind for _, kind in heard[3:]] == ["channel", "message_changed", "message_deleted"]
    assert slack.timeline() == []
    assert slack.violations == []


async def test_a_modal_is_opened_once_by_its_trigger(
    slack: SimulatedSlack, url: str, api: Api, http: aiohttp.ClientSession, clock: Clock
) -> None:
    async with plain_socket(api, http) as ws:
        await ws.receive_json()

        async def trigger() -> str:
            asking = asyncio.create_task(slack.shortcut("U_ADA", "new_incident"))
            envelope = await ws.receive_json()
            await ws.send_json({"envelope_id": envelope["envelope_id"]})
            await asking
            return str(envelope["payload"]["trigger_id"])

        once = await trigger()
        opened = await api("views.open", trigger_id=once, view=MODAL)
        assert list(slack.views) == [opened["view"]["id"]]
        assert (await api("views.open", trigger_id=once, view=MODAL))[
            "error"
        ] == "exchanged_trigger_id"
        late = await trigger()
        clock.pass_by(3.1)
        assert (await api("views.open", trigger_id=late, view=MODAL))[
            "error"
        ] == "expired_trigger_id"
        changed = await api(
            "views.update", view_id=opened["view"]["id"], hash=opened["view"]["hash"], view=WAITING
        )
        assert changed["ok"]
        stale = await api(
            "views.update", view_id=opened["view"]["id"], hash=opened["view"]["hash"], view=MODAL
        )
        assert stale["error"] == "hash_conflict"


async def test_a_submission_does_what_the_ack_says(slack: SimulatedSlack, url: str) -> None:
    answers: list[Json] = [
        {"response_action": "errors", "errors": {"body": "too short"}},
        {"response_action": "errors", "errors": {"nonsense": "no such block"}},
        {"response_action": "push", "view": WAITING},
        {"response_action": "update", "view": MODAL | {"title": plain("Again")}},
        {},
    ]
    texts: list[str] = []
    async with bolt(slack, url) as app:

        @app.shortcut("new_incident")
        async def new_incident(ack: Any, client: AsyncWebClient, body: Json) -> None:
            await ack()
            await client.views_open(trigger_id=body["trigger_id"], view=MODAL)

        @app.view("update")
        async def submitted(ack: Any, view: Json) -> None:
            texts.append(view["state"]["values"]["body"]["v"]["value"])
            await ack(**answers.pop(0))

        await slack.shortcut("U_ADA", "new_incident")
        await eventually(lambda: slack.views)
        modal = next(iter(slack.views))
        with pytest.raises(LookupError):
            await slack.submit_view("U_ADA", modal, {"nonsense": "x"})
        with pytest.raises(ValueError, match="body"):
            await slack.submit_view("U_ADA", modal, {})
        answer = await slack.submit_view("U_ADA", modal, {"body": "x"})
        assert (answer.payload["errors"], list(slack.views)) == ({"body": "too short"}, [modal])
        assert slack.views[modal].errors == {"body": "too short"}
        await slack.submit_view("U_ADA", modal, {})
        assert "nonsense" in slack.violations.pop()
        await slack.submit_view("U_ADA", modal, {})
        assert [view.previous_id for view in slack.views.values()] == [None, modal]
        assert await slack.close_view("U_ADA", list(slack.views)[1]) is None
        await slack.submit_view("U_ADA", modal, {"body": {"v": "a & b"}})
        assert slack.views[modal].content["title"]["text"] == "Again"
        await slack.submit_view("U_ADA", modal, {})
    assert slack.views == {}
    assert texts == ["x", "x", "x", "a & b", "a & b"]
    assert slack.violations == []


async def test_the_home_tab_is_published_and_used(slack: SimulatedSlack, url: str) -> None:
    pressed: list[Json] = []
    left: list[Json] = []
    async with bolt(slack, url) as app:

        @app.event("app_home_opened")
        async def opened(event: Json, client: AsyncWebClient) -> None:
            view = {"type": "home", "blocks": actions(button("plan", value="new"))}
            await client.views_publish(user_id=event["user"], view=view)

        @app.action("plan")
        async def plan(ack: Any, body: Json, client: AsyncWebClient) -> None:
            await ack()
            pressed.append(body)
            await client.views_open(
                trigger_id=body["trigger_id"], view=MODAL | {"notify_on_close": True}
            )

        @app.view_closed("update")
        async def closed(ack: Any, view: Json) -> None:
            left.append(view["state"]["values"])
            await ack()

        await slack.open_home("U_ADA")
        await eventually(lambda: "U_ADA" in slack.homes)
        await slack.press_in_view("U_ADA", slack.homes["U_ADA"].id, "plan")
        await eventually(lambda: slack.views)
        assert await slack.close_view("U_ADA", next(iter(slack.views)))
    assert pressed[0]["container"] == {"type": "view", "view_id": slack.homes["U_ADA"].id}
    assert pressed[0]["view"]["type"] == "home"
    assert left == [{}]
    assert slack.views == {}
    assert slack.violations == []


async def test_commands_and_message_shortcuts_carry_their_place(
    slack: SimulatedSlack, url: str
) -> None:
    bodies: list[Json] = []
    async with bolt(slack, url) as app:

        @app.command("/statuspage")
        async def command(ack: Any, body: Json) -> None:
            bodies.append(body)
            await ack(text="nothing is open", blocks=actions(button()))

        @app.shortcut({"type": "message_action", "callback_id": "to_update"})
        async def to_update(ack: Any, body: Json) -> None:
            bodies.append(body)
            await ack()

        @app.event("message")
        async def message() -> None:
            pass

        await slack.slash("U_ADA", "/statuspage", "Checkout is slow")
        said = await slack.say("U_BOB", "db is &lt;slow&gt;")
        await slack.message_shortcut("U_ADA", "to_update", said.ts)
    assert (bodies[0]["command"], bodies[0]["text"], bodies[0]["channel_id"]) == (
        "/statuspage",
        "Checkout is slow",
        "C1",
    )
    assert [(e.user, e.text) for e in slack.ephemerals] == [("U_ADA", "nothing is open")]
    assert (bodies[1]["message"]["text"], bodies[1]["message_ts"]) == (
        "db is &lt;slow&gt;",
        said.ts,
    )
    assert slack.violations == []


@pytest.mark.parametrize("trouble", ["refresh", "cut", "mute"])
async def test_bolt_comes_back_after_trouble_on_the_line(
    slack: SimulatedSlack, url: str, trouble: str
) -> None:
    async with bolt(slack, url, ping_interval=0.2) as app:

        @app.shortcut("new_incident")
        async def new_incident(ack: Any) -> None:
            await ack()

        before = slack.faults.requests.copy()
        if trouble == "refresh":
            await slack.disconnect()
        elif trouble == "cut":
            await slack.cut()
        else:
            slack.patience = 0.05
            slack.go_mute()
            with pytest.raises(Unacknowledged):
                await slack.shortcut("U_ADA", "new_incident")
            await eventually(lambda: len(slack.faults.requests) > len(before))
            slack.speak()
            slack.patience = 30.0
        await eventually(
            lambda: len(slack.faults.requests) >= len(before) + 2 and slack.connections == 1
        )
        slack.patience = 1.0

        async def obeyed() -> bool:
            """Whether a tap is heard; one may go to a socket that the app is about to leave."""
            with suppress(Unacknowledged, Disconnected):
                await slack.shortcut("U_ADA", "new_incident")
                return True
            return False

        await eventually(obeyed)


async def test_dead_urls_are_refused_at_the_door(slack: SimulatedSlack, url: str) -> None:
    slack.dead_urls = True
    async with bolt(slack, url, ping_interval=0.1):
        await eventually(lambda: len([r for r in slack.faults.requests if "/link/" in r]) >= 2)
        assert slack.connections == 0


async def test_the_sdk_sends_forms_and_queries_that_are_understood(
    slack: SimulatedSlack, url: str
) -> None:
    slack.scopes |= {"channels:join", "reactions:write"}
    client = AsyncWebClient(slack.bot_token, base_url=f"{url}/api/", retry_handlers=[])
    posted = await client.chat_postMessage(
        channel="C1", text="a", unfurl_links=False, unfurl_media=False
    )
    found = await client.conversations_history(
        channel="C1", oldest="0", include_all_metadata=True, limit=10
    )
    assert found["messages"][0]["ts"] == posted["ts"]
    await client.conversations_join(channel="C2")
    await client.conversations_members(channel="C1", limit=1000, cursor="")
    await client.reactions_add(channel="C1", timestamp=posted["ts"], name="eyes")
    await client.auth_test()
    slack.faults.answer_next(429, body=json.dumps({"ok": False, "error": "ratelimited"}).encode(),
                             headers={"Retry-After": "7", "Content-Type": "application/json"})  # fmt: skip
    with pytest.raises(SlackApiError) as caught:
        await client.users_info(user="U_ADA")
    assert caught.value.response.headers["Retry-After"] == "7"
    assert slack.violations == []


# -- what the manifest allows


async def test_a_method_needs_its_scope_and_says_which(slack: SimulatedSlack, api: Api) -> None:
    answer = await api("conversations.join", form=True, channel="C2")
    assert (answer["error"], answer["needed"]) == ("missing_scope", "channels:join")
    assert "channels:read" in answer["provided"]
    slack.scopes.remove("groups:history")
    assert (await api("conversations.history", form=True, channel="C1"))["ok"]
    slack.channels["C1"].is_private = True
    assert (await api("conversations.history", form=True, channel="C1"))[
        "needed"
    ] == "groups:history"
    assert len(slack.violations) == 2


async def test_only_events_that_are_subscribed_and_allowed_arrive(
    slack: SimulatedSlack, url: str
) -> None:
    heard: list[str] = []
    async with bolt(slack, url) as app:

        @app.event("app_mention")
        async def mention() -> None:
            heard.append("app_mention")

        @app.event("message")
        async def message() -> None:
            heard.append("message")

        slack.subscriptions.remove("message.channels")
        await slack.say("U_ADA", "<@UBOT> one")
        slack.subscriptions.add("message.channels")
        slack.scopes.remove("app_mentions:read")
        await slack.say("U_ADA", "<@UBOT> two")
        await eventually(lambda: len(heard) == 2)
        slack.scopes.remove("commands")
        with pytest.raises(LookupError):
            await slack.slash("U_ADA", "/statuspage")
        with pytest.raises(LookupError):
            await slack.shortcut("U_ADA", "new_incident")
    assert heard == ["app_mention", "message"]


async def test_an_edit_in_a_thread_carries_the_text_before_and_after(
    slack: SimulatedSlack, url: str, api: Api
) -> None:
    heard: list[Json] = []
    async with bolt(slack, url) as app:

        @app.event("message")
        async def message(event: Json) -> None:
            heard.append(event)

        root = await api("chat.postMessage", channel="C1", text="down")
        said = await slack.say("U_ADA", "the disc", thread_ts=root["ts"])
        await slack.edit_message("U_ADA", said.ts, "the disk")
        with pytest.raises(LookupError):
            await slack.edit_message("U_BOB", said.ts, "not mine")
        await eventually(lambda: len(heard) == 2)
    assert heard[1]["subtype"] == "message_changed"
    assert (heard[1]["previous_message"]["text"], heard[1]["message"]["text"]) == (
        "the disc",
        "the disk",
    )
    assert (
        heard[1]["message"]["thread_ts"] == heard[1]["previous_message"]["thread_ts"] == root["ts"]
    )
    assert heard[1]["message"]["edited"]["user"] == "U_ADA"
    assert (heard[1]["channel"], heard[1]["message"]["ts"]) == ("C1", said.ts)
    assert slack.violations == []


# -- forms


@pytest.fixture
async def form(slack: SimulatedSlack, url: str) -> AsyncIterator[tuple[str, list[Json]]]:
    """Ada has FORM open in front of her; what the app hears of it is listed."""
    heard: list[Json] = []
    async with bolt(slack, url) as app:

        async def listen(ack: Any, body: Json) -> None:
            heard.append(body)
            await ack()

        for hear in (
            app.view("update"),
            app.view_closed("update"),
            app.action("fill"),
            app.action("canned"),
        ):
            hear(listen)

        @app.shortcut("new_incident")
        async def new_incident(ack: Any, client: AsyncWebClient, body: Json) -> None:
            await ack()
            await client.views_open(trigger_id=body["trigger_id"], view=FORM)

        await slack.shortcut("U_ADA", "new_incident")
        await eventually(lambda: slack.views)
        yield next(iter(slack.views)), heard
    assert slack.violations == []


async def test_a_form_is_submitted_with_what_was_entered_and_what_was_there(
    slack: SimulatedSlack, form: tuple[str, list[Json]]
) -> None:
    modal, heard = form
    values = {
        "title": "Broken",
        "severity": "outage",
        "flags": ["late"],
        "start": {"v": 1_700_000_060},
    }
    assert (await slack.submit_view("U_ADA", modal, values)).payload == {}
    view = heard[0]["view"]
    assert (heard[0]["type"], view["callback_id"], view["private_metadata"]) == (
        "view_submission",
        "update",
        "inc-1",
    )
    state = {
        block: fields["v"] for block, fields in view["state"]["values"].items() if "v" in fields
    }
    assert state == {
        "title": {"type": "plain_text_input", "value": "Broken"},
        "more": {"type": "plain_text_input", "value": None},
        "severity": {"type": "static_select", "selected_option": option("outage")},
        "mail": {"type": "radio_buttons", "selected_option": None},
        "flags": {"type": "checkboxes", "selected_options": [option("late")]},
        "start": {"type": "datetimepicker", "selected_date_time": 1_700_000_060},
    }
    assert slack.views == {}


@pytest.mark.parametrize(
    "values",
    [{}, {"title": ""}, {"title": "ab"}, {"title": "x" * 11}, {"title": "Fine", "start": None}],
    ids=["nothing entered", "emptied", "too short", "too long", "a date taken away"],
)
async def test_slacks_own_client_does_not_submit_what_the_form_forbids(
    slack: SimulatedSlack, form: tuple[str, list[Json]], values: Json
) -> None:
    modal, heard = form
    with pytest.raises(ValueError, match="does not submit"):
        await slack.submit_view("U_ADA", modal, values)
    assert (heard, list(slack.views)) == ([], [modal])


@pytest.mark.parametrize(
    "values", [{"severity": "made up"}, {"nonsense": "x"}, {"title": {"nonsense": "x"}}]
)
async def test_nobody_enters_what_the_form_does_not_offer(
    slack: SimulatedSlack, form: tuple[str, list[Json]], values: Json
) -> None:
    with pytest.raises(LookupError):
        await slack.submit_view("U_ADA", form[0], {"title": "Broken"} | values)
    with pytest.raises(LookupError):
        await slack.submit_view("U_BOB", form[0], {"title": "Broken"})


async def test_a_press_in_a_modal_carries_what_was_entered_so_far(
    slack: SimulatedSlack, form: tuple[str, list[Json]]
) -> None:
    modal, heard = form
    await slack.press_in_view("U_ADA", modal, "canned", chosen="disk", values={"title": "Half"})
    await slack.press_in_view("U_ADA", modal, "fill")
    for body in heard:
        assert body["container"] == {"type": "view", "view_id": modal}
        assert body["view"]["state"]["values"]["title"]["v"]["value"] == "Half"
        assert body["view"]["state"]["values"]["ready"]["canned"]["selected_option"] == option(
            "disk"
        )
        assert "response_url" not in body
    assert heard[0]["actions"][0]["selected_option"]["value"] == "disk"
    await slack.close_view("U_ADA", modal)
    assert (heard[2]["type"], heard[2]["is_cleared"], heard[2]["view"]["state"]) == (
        "view_closed",
        False,
        {"values": {}},
    )


async def test_an_open_form_that_is_changed_keeps_what_was_entered_under_the_same_ids(
    slack: SimulatedSlack, form: tuple[str, list[Json]], api: Api
) -> None:
    modal, heard = form
    await slack.press_in_view("U_ADA", modal, "fill", values={"title": "Half"})
    blocks = [asked("title", {"type": "plain_text_input", "initial_value": "Whole"}),
              asked("other", {"type": "plain_text_input", "initial_value": "Fresh"})]  # fmt: skip
    assert (await api("views.update", view_id=modal, view=MODAL | {"blocks": blocks}))["ok"]
    await slack.submit_view("U_ADA", modal, {})
    values = heard[1]["view"]["state"]["values"]
    assert (values["title"]["v"]["value"], values["other"]["v"]["value"]) == ("Half", "Fresh")
