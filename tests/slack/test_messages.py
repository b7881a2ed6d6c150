"""What staff and subscribers read: every message is one that Slack takes, and no stranger's word comes alive in it."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monostat.core.markdown import html, plain_text
from monostat.core.model import Alert, Entry, Incident, Mail, MailState, Severity, Status
from monostat.core.verbs import OFFERED, VERB
from monostat.demo import blockkit
from monostat.slack.fields import text_input
from monostat.slack.messages import (
    BY_ITSELF,
    BY_SOMEBODY,
    Message,
    escape,
    status_text,
    text_object,
)
from monostat.slack.text import SlackText
from tests.slack.samples import AT, alert, held, incident, undo
from tests.slack.texts import NO_INSTANTS

ZONE = ZoneInfo("Europe/Berlin")
URL = "https://status.example.com"
WORDS = SlackText(URL, ZONE)
EVIL = "<!channel> <@U1> & <https://x|y> *b* {%x}"


def shown(about: Incident, *alerts: Alert, mails: tuple[Mail, ...] = ()) -> Message:
    message = WORDS.incident(about, [a for a in alerts if not a.closed_at], mails)
    taken(message)
    return message


def told(kind: str, by: str = "", **detail: str) -> Message:
    message = WORDS.line(Entry(id=1, incident=7, at=AT, kind=kind, by=by, detail=detail))
    taken(message)
    return message


def taken(message: Message) -> None:
    """What Slack would refuse, or make live."""
    assert blockkit.refused_blocks(message.blocks) == []
    assert 0 < len(message.text) <= 4000
    assert blockkit.live_mentions([message.text, message.blocks]) == []
    assert blockkit.size(message.blocks) < 12_000


def buttons(message: Message) -> list[list[str]]:
    rows = [block["elements"] for block in message.blocks if block["type"] == "actions"]
    return [[f"{each['text']['text']} {each['action_id']}" for each in row] for row in rows]


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        (incident(Status.SUSPECTED), "It is real: outage|It is real: partial|False alarm"),
        (incident(Status.DISMISSED), "Edit…|It was real|False alarm|It is real: outage"),
        (incident(Status.DISMISSED, planned_start=AT), "Edit…"),
        (incident(), "Post update…|Edit…|Watching|Resolve"),
        (incident(Status.WATCHING), "Post update…|Edit…|Not fixed|Resolve"),
        (incident(Status.RESOLVED), "Post update…|Edit…|Reopen"),
        (
            incident(Status.PLANNED, severity=Severity.MAINTENANCE),
            "Post update…|Edit…|Start now|Cancel",
        ),
        (incident(severity=Severity.MAINTENANCE), "Post update…|Edit…|Completed"),
        (
            incident(severity=Severity.MAINTENANCE, planned_end=AT),
            "Post update…|Edit…|Extend 30 min|Completed",
        ),
        (incident(Status.RESOLVED, severity=Severity.MAINTENANCE), "Post update…|Edit…|Reopen"),
    ],
)
def test_each_status_offers_the_actions_that_make_sense_now(about: Incident, expected: str) -> None:
    labels = [each.rpartition(" verb:")[0] for row in buttons(shown(about)) for each in row]
    assert "|".join(labels) == expected


def test_every_button_is_a_move_that_the_table_allows() -> None:
    for status, names in OFFERED.items():
        verbs = [VERB[name.partition(":")[0]] for name in names if name not in ("update", "edit")]
        assert all(status in verb.allowed for verb in verbs)


def test_while_it_can_be_undone_a_second_row_says_so_and_when_the_mail_leaves() -> None:
    message = shown(incident(undo=(undo(announces=True),)), mails=(held(),))
    assert buttons(message)[1] == ["Undo verb:undo", "Send now verb:send"]
    assert (
        "Email to subscribers leaves at <!date^1767344460^{time_secs}|2026-01-02 10:01:00 CET>"
        in str(message.blocks)
    )
    silent = shown(incident(silent=True, undo=(undo(announces=True),)))
    assert buttons(silent)[1] == ["Undo verb:undo", "Announce now verb:send"]
    assert buttons(shown(incident(Status.DISMISSED, undo=(undo(),))))[1] == ["Undo verb:undo"]


def test_a_failed_mail_has_a_retry() -> None:
    message = shown(incident(), mails=(held(MailState.FAILED, error="Rapidmail refused it (422)"),))
    assert buttons(message)[-1] == ["Retry verb:retry"]
    assert "could not be sent: Rapidmail refused it (422)" in str(message.blocks)


def test_the_message_says_what_it_is_in_words_with_its_address_and_at_most_five_alerts() -> None:
    message = shown(incident(), *(alert(f"alert {n}", source="Prometheus") for n in range(12)))
    text = str(message.blocks)
    assert "Confirmed · Outage · Checkout is slow" in message.text
    assert "<https://status.example.com/incidents/7|#7>" in text
    assert "alert 4 (Prometheus)" in text
    assert "alert 5" not in text
    assert "and 7 more" in text


@pytest.mark.parametrize("length", [1, 74, 149, 150, 151, 2999, 3000, 3001, 9000])
def test_hostile_words_of_any_length_ping_nobody_and_are_taken(length: int) -> None:
    words = (EVIL * 300)[:length]
    mails = (held(MailState.FAILED, error=words), held(attempts=1, error=words))
    about = incident(title=words, text=words, undo=(undo(announces=True),))
    shown(about, *[alert(words, source=words)] * 9, mails=mails)
    for kind in [
        *(kind for kind in {**BY_ITSELF, **BY_SOMEBODY} if kind != "unattended"),
        "surprise",
        "{by} {0}",
        "",
    ]:
        for by in ("", words):
            told(
                kind,
                by,
                **dict.fromkeys(
                    ("alert", "source", "title", "text", "error", "status", "left"), words
                ),
            )


@given(st.text(), st.integers(1, 40))
def test_an_escaped_text_is_never_empty_too_long_or_cut_inside_an_entity(
    text: str, limit: int
) -> None:
    escaped = escape(text, limit)
    assert 0 < len(escaped.encode("utf-16-le", "strict")) // 2 <= limit
    bare = escaped.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
    assert not set("<>&") & set(bare)
    assert 0 < len(text_object(text, limit)["text"].encode("utf-16-le", "strict")) // 2 <= limit


def test_nothing_at_all_to_say_is_still_a_message() -> None:
    shown(incident(title=" ", text=" "), alert(""), mails=(held(MailState.FAILED),))
    told("updated", " ", text="")
    gone = WORDS.vanished(Entry(id=1, incident=18, at=AT, kind="undone", by="Ada"))
    taken(gone)
    assert gone.text.startswith("Ada took #18 back")
    assert buttons(gone) == []


def test_the_thread_names_the_person_and_the_time_where_it_is_told_late() -> None:
    line = told("confirmed", "Ada", severity="outage")
    assert "Ada confirmed this as an outage." in line.text
    assert "<!date" not in line.blocks[0]["text"]["text"], (
        "Slack shows the time of a line that is in time"
    )
    entry = Entry(id=1, incident=7, at=AT, kind="confirmed", by="Ada")
    late = WORDS.line(entry, late=True)
    assert (
        "<!date^1767344430^{time_secs}|2026-01-02 10:00:30 CET> Ada"
        in late.blocks[0]["text"]["text"]
    )
    assert (
        "Ada confirmed this as a partial outage."
        in told("confirmed", "Ada", severity="partial").text
    )
    assert (
        "Another alert: disk full (Prometheus)"
        in told("joined", alert="disk full", source="Prometheus").text
    )
    assert told("joined", alert="disk full", source="").text.endswith("disk full")
    assert "/incidents/9|#9>" in told("real_outage", "Ada", outage="9").text
    assert "2 alerts are still open; they stay with" in told("resolved", "Ada", left="2").text
    assert "1 alert is still open; it stays with" in told("resolved", "Ada", left="1").text


def test_a_line_shows_times_in_the_zone_of_its_reader_and_keeps_them_out_of_its_words() -> None:
    line = told("postponed", "Ada", start="2026-01-02T09:00:30Z")
    assert (
        "to <!date^1767344430^{date_short_pretty} {time_secs}|2026-01-02 10:00:30 CET>."
        in line.text
    )
    line = told("starts_soon", planned="2026-01-02T09:00:30Z")
    assert "starts at <!date^1767344430^" in line.text
    assert line.blocks[1]["elements"][0]["value"] == "7.1767344430"
    assert (
        "made this an outage: All of it."
        in told("updated", "Ada", severity="outage", text="All of it.").text
    )


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati", "UTC"])
@pytest.mark.parametrize("text", NO_INSTANTS)
def test_words_that_only_look_like_an_instant_are_told_as_they_are(text: str, zone: str) -> None:
    words = SlackText(URL, ZoneInfo(zone))
    for entry in (
        Entry(
            id=1, incident=7, at=AT, kind="edited", by="Ada", detail={"what": f"title: x → {text}"}
        ),
        Entry(id=1, incident=7, at=AT, kind="postponed", by="Ada", detail={"start": text}),
    ):
        taken(words.line(entry))
    assert words.as_plain_text(f"No: {text}").startswith("No: ")
    assert words.dated(f"No: {text}").startswith("No: ")


@given(text=st.text(), year=st.integers(0, 9999))
def test_no_text_is_one_that_staff_cannot_be_told(text: str, year: int) -> None:
    text = f"{text} {year:04}-01-01T00:00:00Z {text}"
    taken(
        WORDS.line(
            Entry(
                id=1, incident=7, at=AT, kind="edited", by=text, detail={"what": text, "text": text}
            )
        )
    )
    taken(
        WORDS.incident(
            incident(text=text, title=text or "x", summary=text), [alert(text, source=text)], ()
        )
    )
    assert WORDS.as_plain_text(text)


def test_a_line_that_asks_has_the_button_that_answers() -> None:
    assert buttons(told("mail_failed", error="no")) == [["Retry verb:retry"]]
    assert buttons(told("alerts_over")) == [["Resolve verb:resolve"]]
    assert buttons(told("dismissed")) == [["It was real verb:was_real", "False alarm verb:dismiss"]]
    assert buttons(told("false_alarm", "Ada")) == []
    assert buttons(told("joined", alert="x", source="", maintenance="True")) == [
        ["This is a real outage verb:real_outage"]
    ]


def test_what_monitoring_said_is_shown_as_it_was() -> None:
    said = "*db* _7_ <!channel> `x`"
    blocks = told("joined", alert=said, source="~Prometheus~").blocks
    assert blocks[0]["text"]["text"] == "Another alert:"
    assert blocks[1]["text"] == text_object(f"{said} (~Prometheus~)")


@pytest.mark.parametrize("words", ["host-{} is down", "🔥" * 200 + "{}"])
def test_a_burst_tells_whole_alerts_and_how_many_more_there_are(words: str) -> None:
    entries = []
    for number in range(200):
        detail = {"alert": words.format(number), "source": "Prometheus", "priority": "P1"}
        entries.append(Entry(id=number, incident=7, at=AT, kind="joined", by="", detail=detail))
    message = WORDS.line(entries[0], burst=entries[1:])
    taken(message)
    lines = message.blocks[1]["text"]["text"].split("\n")
    assert len(lines) > 5
    assert lines[-1] == f"and {200 - len(lines) + 1} more"
    assert all(line.endswith(" (P1, Prometheus)") for line in lines[:-1])


def test_a_ping_in_the_channel_names_its_incident_once() -> None:
    detail = {"about": "disk full", "minutes": "10", "others": "0"}
    ping = WORDS.line(Entry(id=1, incident=7, at=AT, kind="unattended", by="", detail=detail))
    link = f"<{URL}/incidents/7|#7>"
    assert ping.text == f"<!here> Unanswered for 10 min: {link} *disk full*. Is it real?"
    assert ping.blocks[0]["text"]["text"] == ping.text


def test_a_field_holds_what_was_written_and_says_where_that_is_cut() -> None:
    title = text_input("title", "Title", "🔥" * 150, longest=150)
    assert title["element"]["initial_value"] == "🔥" * 150
    assert title["element"]["max_length"] == 300
    long = text_input("text", "Text", "🔥" * 2000)
    assert len(long["element"]["initial_value"].encode("utf-16-le")) <= 2 * 3000
    assert long["element"]["initial_value"].endswith("🔥…")
    assert long["hint"]["text"].startswith("Too long for a form: only its beginning stands here.")
    assert "hint" not in text_input("text", "Text", "x" * 3000)


def test_a_line_that_was_answered_asks_no_more_and_does_not_repeat_its_answer() -> None:
    asked = Entry(id=1, incident=7, at=AT, kind="alerts_over")
    answer = Entry(id=2, incident=7, at=AT, kind="resolved", by="Ada")
    line = WORDS.line(asked, answers=[answer])
    taken(line)
    assert line.text.endswith(">: All alerts are over.")
    assert buttons(line) == buttons(WORDS.line(asked, answers=[])) == []
    words = {"text": "It is back. Is it for you?"}
    said = Entry(id=1, incident=7, at=AT, kind="updated", by="Ada", detail=words)
    undone = Entry(id=2, incident=7, at=AT, kind="undone", by="Bob")
    assert WORDS.line(said, answers=[undone]).text.endswith("Is it for you?")


def test_a_line_about_monitoring_belongs_to_no_incident() -> None:
    entry = Entry(id=1, incident=None, at=AT, kind="monitoring_silent")
    message = WORDS.line(entry)
    taken(message)
    assert "#" not in message.text


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (incident(Status.DISMISSED), "Ended by itself"),
        (incident(Status.DISMISSED, status_by="Ada"), "False alarm"),
        (incident(Status.DISMISSED, planned_start=AT), "Cancelled"),
        (incident(severity=Severity.MAINTENANCE), "Under way"),
        (incident(Status.RESOLVED, severity=Severity.MAINTENANCE), "Completed"),
        (incident(Status.SUSPECTED), "Suspected, not confirmed"),
    ],
)
def test_a_status_has_words_of_its_kind(about: Incident, words: str) -> None:
    assert status_text(about) == words


def test_markdown_becomes_harmless_html() -> None:
    made = html(
        "**Bold** [x](https://x.example) <script>alert(1)</script> [y](javascript:z)\n\n# no title ![i](/i.png)"
    )
    assert "<strong>Bold</strong>" in made
    assert '<a href="https://x.example" rel="noopener nofollow">x</a>' in made
    assert not any(bad in made for bad in ("<script", 'href="javascript', "<img", "<h1"))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("We are on it.", "We are on it."),
        ("It is **fixed** and *stays* `so`.", "It is fixed and stays so."),
        ("See [the docs](https://example.com/d) now.", "See the docs (https://example.com/d) now."),
        ("See <https://example.com>.", "See https://example.com."),
        ("* one\n* two\n\nThen\nthis.", "- one\n- two\n\nThen\nthis."),
        ("3. three\n4. four", "3. three\n4. four"),
        ("> said\n\n```\na * b\n```", "said\n\na * b"),
        ("<b>5 < 6</b> & \\* \ud800", "<b>5 < 6</b> & * ?"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
    ],
)
def test_markdown_becomes_plain_text_for_what_shows_no_other(written: str, read: str) -> None:
    assert plain_text(written) == read


def test_the_line_of_words_that_went_says_which_mail_may_have_them() -> None:
    def line(**detail: str) -> str:
        about = {"text": "hunter2", **detail}
        entry = Entry(id=1, incident=7, at=AT, kind="taken_down", by="Ada", detail=about)
        return WORDS.sentence(entry)

    assert line() == "Ada took this down: hunter2"
    assert line(may_leave="True").endswith(
        "hunter2 Rapidmail may have an email with these words already: look there."
    )
    left = {"left_at": "2026-01-02T09:00:00Z", "may_leave": "True"}
    assert "The last email left at" in line(**left)
    assert "look there" not in line(**left)
