"""Words of any kind: none raises, takes more than its length explains, or hides what cannot be seen."""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest
from aiohttp import ClientSession, UnixConnector
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from monostat.core.markdown import MARKS, MAX_TEXT_LENGTH, MOST_MARKS, cut, html, parsed, plain_text
from monostat.core.text import UNSEEN, all_sound, one_line, show_times, sound
from monostat.demo.workspace import BOT_USER
from monostat.slack.commands import parse_command
from monostat.slack.markup import parse_text
from monostat.slack.messages import escape, format_markdown
from monostat.slack.mrkdwn import from_markdown, to_markdown
from tests.waiting import eventually
from tests.world import World

#: All that reads what people write.
READERS: dict[str, Callable[[str], object]] = {
    "html": html,
    "plain_text": plain_text,
    "from_markdown": from_markdown,
    "to_markdown": lambda text: to_markdown(parse_text(text)),
    "format_markdown": format_markdown,
    "escape": escape,
    "one_line": one_line,
    "show_times": lambda text: show_times(text, str),
    "a command": lambda text: parse_command(parse_text(text), "/statuspage"),
    "cut": lambda text: cut(text, 300),
}
#: What is repeated, after what, and before what.
REPEATED = {
    "brackets with backslashes": ("", "[a\\", ""),
    "escaped brackets": ("", "\\[", ""),
    "open brackets": ("", "[", ""),
    "images": ("", "![", ""),
    "links that never end": ("", "[a](", ""),
    "links without an end": ("", "[x](https://", ""),
    "labels in labels": ("", "[[]()", ""),
    "references": ("", "[a]: b\n[a]: b\n> ", ""),
    "references in lists": ("", "  a\n> + [a]: b\n#", ""),
    "emphasis that never ends": ("", "*a **b ", ""),
    "strong words with blanks before their end": ("", "**a *b ", ""),
    "underscores": ("", "__a ", ""),
    "underscores in words": ("", "_a__b", ""),
    "struck words that never end": ("", "~~a ", ""),
    "stars": ("", "*", ""),
    "quotes": ("", "> ", "a"),
    "lists in lists": ("", "- ", "a"),
    "lists and quotes": ("", "+ \n * > ", ""),
    "lines": ("", "a\n", ""),
    "code that never ends": ("", "``a` ", ""),
    "fences": ("", "```\n", ""),
    "angles": ("", "<", ""),
    "addresses that never end": ("", "<https://a|", ""),
    "mentions": ("", "<@U1> ", ""),
    "entities": ("", "&", ""),
    "a status word and many spaces": ("outage ", " ", "x"),
    "a status word and many lines": ("resolved", "\n", "x"),
    "instants": ("", "2026-11-22T06:15:02Z", ""),
    "instants that never end": ("", "2026-11-22T", ""),
    "spaces": ("", " ", "x"),
    "emoji": ("", "😀", ""),
}


LITTLE = 0.05  # seconds: what takes less for the longest text harms nobody


def work(read: Callable[[str], object], first: str, again: str, last: str, size: int) -> float:
    """Seconds of this thread's processor, the least of three: others on the machine do not count."""
    least = math.inf
    for run in range(3):
        text = first + (again * (size // len(again) + 1))[: size - 10] + last + str(run)
        began = time.thread_time()
        read(text)
        least = min(least, time.thread_time() - began)
        if least < LITTLE:
            break
    return least


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", REPEATED)
def test_the_work_grows_with_the_length_of_a_text(reader: str, kind: str) -> None:
    """Four times as much takes four times as long, where quadratic work takes sixteen times as long."""
    read, (first, again, last) = READERS[reader], REPEATED[kind]
    for size in (MOST_MARKS, MAX_TEXT_LENGTH):  # below, nearly all marks are read as such
        long = work(read, first, again, last, size)
        assert long < LITTLE or long < 10 * work(read, first, again, last, size // 4), size


ATOMS = [
    "[",
    "](",
    ")",
    "]",
    "*",
    "**",
    "_",
    "__",
    "~~",
    "`",
    "```",
    "> ",
    "- ",
    "1. ",
    "\n",
    "\n\n",
    "    ",
    "a",
    " ",
]
ATOMS += [
    "<",
    ">",
    "<https://a.b",
    "|",
    "!",
    "\\",
    "&",
    "&amp;",
    "#",
    "---",
    "]: b\n",
    "'",
    '"',
    "é",
    "\t",
    "https://a.b/",
]
UNITS = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=6).map("".join)


@settings(max_examples=60)
@given(
    first=UNITS,
    again=UNITS,
    reader=st.sampled_from(("html", "plain_text", "from_markdown", "to_markdown")),
)
def test_the_work_grows_with_the_length_of_whatever_is_repeated(
    first: str, again: str, reader: str
) -> None:
    read = READERS[reader]
    # A long text may need all four ways of writing it where a short one is right at once.
    most = 40 if reader == "to_markdown" else 10
    for _ in range(5):  # a processor may be slow for a while, but quadratic work always is
        long = work(read, first, again, "", MAX_TEXT_LENGTH)
        if long < 0.06 or long < most * work(read, first, again, "", MAX_TEXT_LENGTH // 4):
            return
    pytest.fail(f"four times as much takes more than {most} times as long")


@settings(max_examples=300)
@given(st.text(st.characters(), max_size=80) | st.lists(UNITS, max_size=30).map("".join))
def test_no_text_raises(text: str) -> None:
    for read in (
        html,
        plain_text,
        from_markdown,
        format_markdown,
        escape,
        one_line,
        sound,
        READERS["a command"],
    ):
        read(text)
    to_markdown(parse_text(text))
    html("\ud800" + text).encode()
    plain_text("\udfff" + text).encode()


def test_what_the_library_stumbles_over_is_shown_as_it_was_written() -> None:
    broken = MarkdownIt("commonmark")

    def stumble(*_: object) -> bool:
        raise RecursionError

    broken.block.ruler.push("broken", stumble)
    broken.inline.ruler.before("text", "broken", stumble)
    for text in ("**a**\n<b>", "[", "a\nb"):
        tokens = parsed(text, broken)
        assert [
            child.content for token in tokens for child in token.children or [] if child.content
        ] == text.split("\n")


def test_more_marks_than_anybody_writes_are_shown_as_they_were_written() -> None:
    many = "**a**\n" * (MOST_MARKS // 5 + 1)
    few = "**a**\n" * (MOST_MARKS // 5)
    assert html(few).count("<strong>") == MOST_MARKS // 5
    assert "<strong>" not in html(many)
    assert html(many).startswith("<p>**a**<br>")
    assert plain_text(many).startswith("**a**\n**a**")
    assert "&lt;script&gt;" in html("<script>" + "[" * MOST_MARKS)
    assert len(MARKS.findall("Plain words, 3 - 2 = 1 (see https://example.org/a-b~c#d)")) == 0


# What nobody sees.

HIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
SIGHTLESS = {
    "a\0b\x01c\x1b[31md": "abc[31md",
    "one\r\ntwo\rthree\x85four\u2028five": "one\ntwo\nthree\nfour\nfive",
    "\x9b2J\x7fgone\x90": "2Jgone",
    "all is \u202ewell\u202c, \u2066really\u2069": "all is well, really",
    "\ufeffhalf \ud83d": "half ?",
    "stay: \t\u200d\u200e\u200f é 👩‍💻 नमस्ते": "stay: \t\u200d\u200e\u200f é 👩‍💻 नमस्ते",
}


@pytest.mark.parametrize("written", SIGHTLESS)
def test_what_nobody_sees_is_taken_out_of_words(written: str) -> None:
    assert sound(written) == SIGHTLESS[written]
    assert one_line(written) == " ".join(SIGHTLESS[written].split())


@given(st.text(st.characters(), max_size=40))
def test_sound_words_stay_sound_and_hide_nothing(text: str) -> None:
    made = sound(text)
    assert sound(made) == made
    assert not HIDDEN.search(made)
    assert all_sound({"a": (text, 1)}) == {"a": (made, 1)}
    made.encode()


POISON = "Up\x1b]0;x\x07loads \u202eliaf\x9b\x01"
PUBLIC: tuple[str, ...] = (
    "/",
    "/incidents/1",
    "/history",
    "/feed/v1/state.json",
    "/api/v2/summary.json",
    "/api/v2/incidents.json",
)
PUBLIC += ("/history.atom", "/history.rss", "/updates.atom", "/badge.svg", "/embed/frame")


async def clean(world: World) -> None:
    """No page, program or subscriber gets what nobody sees, raw or written in JSON's way."""
    for path in PUBLIC:
        body = await world.page(path)
        assert not HIDDEN.search(body), path
        assert not re.search(r"\\u00[01]|&#0*(?:[0-8]|27);", body), path
    assert "Up]0;xloads liaf" in await world.page("/incidents/1")
    for mailing in world.rapidmail.mailings:
        assert not HIDDEN.search(mailing.subject + mailing.html + mailing.text)
    assert not HIDDEN.search(str([m.text for m in world.slack.timeline()]))


async def test_what_nobody_sees_is_shown_to_nobody(world: World) -> None:
    await world.start()
    await world.act("create", title=POISON, text=POISON, summary=POISON, severity="outage")
    await eventually(lambda: world.rapidmail.mailings)
    await clean(world)


async def test_what_an_older_version_has_stored_is_shown_without_it_too(world: World) -> None:
    await world.start()
    await world.act("create", title="TITLE", text="TEXT", severity="outage")
    await eventually(lambda: world.rapidmail.mailings)
    await world.stop()
    old = json.dumps(POISON, ensure_ascii=False)[1:-1]
    with closing(sqlite3.connect(world.folder / "monostat.db")) as db:
        for table in ("facts", "log"):
            db.execute(
                f"UPDATE {table} SET body = replace(replace(body, 'TITLE', ?), 'TEXT', ?)",
                (old, old),
            )
        db.commit()
    await world.start()
    await clean(world)


# What is too long.

BOMB = "[a\\" * 13_300


def told(world: World, times: int) -> bool:
    return len(world.slack.ephemerals) == times


async def test_a_mention_that_is_too_long_is_refused_in_words_and_the_page_goes_on(
    world: World,
) -> None:
    await world.start()
    await world.act("create", title="Uploads fail")
    thread = await world.message("verb:resolve")
    await eventually(lambda: world.slack.connections)
    known = "SELECT 1 FROM facts WHERE kind = 'Posted' AND json_extract(body, '$.ts') = ?"
    await eventually(lambda: world.in_file(known, thread.ts))
    private = world.slack.ephemerals
    for number, long in enumerate((BOMB, "__a " * 10_000, "outage " + " " * 30_000 + "x"), 1):
        await world.slack.say("U_ADA", f"<@{BOT_USER}> {long}", thread_ts=thread.ts)
        await eventually(partial(told, world, number))
    assert "at most 20,000 characters, and this has 39,900" in private[0].text
    assert len((await world.incident())["updates"]) == 1


@pytest.mark.parametrize("field", ["text", "summary", "texts", "changes"])
async def test_words_of_any_field_are_bounded(world: World, field: str) -> None:
    await world.start()
    await world.act(
        "create", title="Uploads fail", text="a" * MAX_TEXT_LENGTH, summary="😀" * MAX_TEXT_LENGTH
    )
    long = "b" * (MAX_TEXT_LENGTH + 1)
    path, verb = str(world.folder / "monostat.sock"), "update" if field == "text" else "edit"
    said = {"text": long, "summary": long, "texts": {"1": long}, "changes": {"summary": long}}[
        field
    ]
    async with ClientSession(connector=UnixConnector(path)) as shell:
        asked = {"verb": verb, "by": "Ada", "incident": 1, field: said}
        async with shell.post("http://x/act", json=asked) as answer:
            assert (
                "at most 20,000 characters, and this has 20,001" in (await answer.json())["refused"]
            )
    assert (await world.incident())["updates"][0]["text"] == "a" * MAX_TEXT_LENGTH


async def test_an_older_database_with_words_that_are_too_long_is_shown(world: World) -> None:
    await world.start()
    await world.act("create", title="Uploads fail", text="TEXT")
    await world.stop()
    with closing(sqlite3.connect(world.folder / "monostat.db")) as db:
        db.execute("UPDATE facts SET body = replace(body, 'TEXT', ?)", (json.dumps(BOMB)[1:-1],))
        db.commit()
    await world.start()
    assert "[a\\[a\\" in await world.page("/incidents/1")


def test_code_can_be_scrolled_by_keyboard() -> None:
    assert html("```\nlong\n```") == '<pre tabindex="0"><code>long\n</code></pre>\n'


@pytest.mark.parametrize("read", [html, plain_text])
def test_a_control_character_that_is_written_as_a_number_is_not_shown(
    read: Callable[[str], str],
) -> None:
    assert not UNSEEN.search(read("a&#7;b&#x1b;[1m&#x202e;c&#x9b;"))
