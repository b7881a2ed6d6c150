"""Public output speaks the page's language, all of it; moved plans leave nothing of their old times."""

import json
import re
from datetime import UTC, datetime, timedelta

import feedparser

from monostat.languages import load_words
from tests.public.readers import ENGLISH, foreign, read, stands_in
from tests.waiting import eventually
from tests.world import World

GERMAN = load_words("de")
FOREIGN = foreign(load_words("en"), GERMAN)
PAGES = ("/", "/history", "/subscribe", "/nothing", "/broken", "/embed/frame")
FEEDS = ("/history.atom", "/history.rss", "/updates.atom")


def english_in(text: str) -> list[str]:
    """The English in a German text: sentences of the catalogue, and words of any."""
    return [each for each in FOREIGN if stands_in(each, text)] + ENGLISH.findall(text)


async def said(world: World) -> dict[str, str]:
    """All that the public reads now, by where."""
    today = datetime.now(UTC).date()
    pages = [*PAGES, f"/{today}", f"/{today - timedelta(days=1)}", f"/{today + timedelta(days=1)}"]
    numbers = [number for number in range(1, 7) if number in await numbers_of(world)]
    pages += [f"/incidents/{number}" for number in numbers]
    texts = {path: read(await world.page(path)) for path in (*pages, *FEEDS)}
    badge = json.loads(await world.page("/badge.json"))
    texts["/badge.json"] = f"{badge['label']}: {badge['message']}"
    texts["/badge.svg"] = read(await world.page("/badge.svg"))
    calendar = (await world.page("/maintenance.ics")).replace("\r\n ", "")
    texts["/maintenance.ics"] = "\n".join(
        re.findall("(?m)^(?:NAME|SUMMARY|DESCRIPTION):.*", calendar)
    )
    monostat = json.loads(await world.page("/api/v2/summary.json"))["monostat"]
    texts["summary.json"] = "\n".join([monostat["headline"], *monostat["words"].values()])
    for mailing in world.rapidmail.mailings:
        texts[mailing.title] = "\n".join([mailing.subject, read(mailing.html), mailing.text])
    return texts


async def numbers_of(world: World) -> set[int]:
    state = await world.state()
    return {int(i["id"]) for i in [*state["open"], *state["planned"], *state["recent"]]}


async def test_a_german_page_says_nothing_in_english(world: World) -> None:
    world.settings["site"] |= {
        "language": "de",
        "name": "Nordwind",
        "timezone": "Europe/Berlin",
        "support_phone": "+49 30 1",
        "legal_url": "/impressum",
        "privacy_url": "/datenschutz",
    }
    world.settings["rapidmail"]["undo_window"] = 0
    await world.start()
    assert "Nordwind funktioniert" in await world.page()
    seen = await said(world)
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    seen |= {f"{where} (suspected)": text for where, text in (await said(world)).items()}
    await world.act("confirm", incident=1, severity="partial")
    soon = datetime.now(UTC) + timedelta(hours=1)
    for severity in ("maintenance", "partial"):
        end = soon + timedelta(hours=2)
        number = await world.act(
            "plan", title="Umzug", severity=severity, start=soon, end=end, mail=True
        )
        await world.act("postpone", incident=number)
    await world.act("cancel", incident=2, mail=True)
    await world.act("create", title="Preise", severity="notice", text="Neue Preise.")
    await world.act("create", title="Schrift", severity="bug")
    await world.act("watch", incident=1)
    await world.act("resolve", incident=5)
    await eventually(lambda: len(world.rapidmail.mailings) >= 3)
    seen |= await said(world)
    assert {where: found for where, text in seen.items() if (found := english_in(text))} == {}


def test_an_english_sentence_that_is_planted_in_german_output_is_found() -> None:
    page = "<p>Nordwind funktioniert</p><p title='{}'>Keine Störungen</p>"
    assert english_in(read(page)) == []
    planted = 0
    for sentence in FOREIGN:
        filled = re.sub(r"\{\w+\}", "7", sentence)
        assert english_in(read(page.format(filled.replace("'", "&#39;")))), sentence
        planted += 1
    assert planted > 200
    assert english_in("Hier ist something of the Seite.") == ["of", "the"]


def has(text: str, at: datetime) -> bool:
    """Whether a time stands in it, in any of the forms that public output has."""
    return bool(re.search(rf"(?<![\d:]){at:%H:%M}|T{at:%H:%M}|{at:%Y%m%dT%H%M}", text))


async def test_a_plan_moved_by_an_edit_leaves_nothing_of_its_old_times(world: World) -> None:
    world.settings["rapidmail"]["undo_window"] = 0
    await world.start()
    now = datetime.now(UTC)
    old = [now + timedelta(days=3, hours=hours) for hours in (2, 4)]
    new = [now + timedelta(days=3, hours=hours) for hours in (6, 8)]
    await world.act("plan", title="Move", start=old[0], end=old[1])

    async def announced() -> bool:
        return has(await world.page("/history.atom"), old[0])

    await eventually(announced)
    before = feedparser.parse(await world.page("/updates.atom")).entries
    changes = {"start": new[0].isoformat(), "end": new[1].isoformat()}
    await world.act("edit", incident=1, changes=changes)
    api = "/api/v2/scheduled-maintenances.json"
    for path in ("/", "/incidents/1", "/feed/v1/state.json", "/maintenance.ics", api, *FEEDS):
        text = await world.page(path)
        assert all(has(text, at) for at in new), path
        assert not any(has(text, at) for at in old), path
    after = feedparser.parse(await world.page("/updates.atom")).entries
    assert (len(before), len(after)) == (1, 2)
    assert "moved to another time" in after[0].content[0].value
