"""Public output speaks the page's language, all of it; moved plans leave nothing of their old times."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import feedparser
from aiohttp import web

from monostat.config import Site
from monostat.core.model import Severity
from monostat.languages import load_words
from monostat.public.pages import Pages
from tests.core.histories import Core
from tests.policies import POLICY
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
    pages += [f"/incidents/{number}" for number in range(1, 8)]
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


async def answered(world: World) -> dict[str, str]:
    """What visitors are answered who subscribe, or try."""
    form = {"email": "ada@example.org"}
    tries: list[tuple[int, dict[str, str], dict[str, str]]] = [
        (200, form, {}),
        (422, {"email": "ada"}, {}),
        (403, form, {"Sec-Fetch-Site": "cross-site"}),
        (415, form, {"Content-Encoding": "gzip"}),
        (503, form, {}),
    ]
    tries += [(429, {}, {"X-Forwarded-For": "203.0.113.9"})] * 6
    texts = {}
    for wanted, data, headers in tries:
        if wanted == 503:
            world.rapidmail.faults.fail_next(503)
        async with world.http.post(f"{world.url}/subscribe", data=data, headers=headers) as answer:
            texts[f"POST /subscribe ({answer.status})"] = read(await answer.text())
    assert len(texts) == 6, [*texts]
    return texts


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
    world.settings["site"]["update_every"] = 1
    world.settings["opsgenie"]["stale_after"] = 2
    await world.start()
    seen: dict[str, str] = {}

    async def walk(state: str, path: str = "/") -> None:
        """Reads all, once the page at that path says in its words that it has come so far."""

        async def is_there() -> bool:
            return state in read(await world.page(path))

        await eventually(is_there)
        texts = await said(world)
        seen.update({f"{where} ({state})": text for where, text in texts.items()})

    await walk("Nordwind funktioniert")
    seen |= await answered(world)
    alert = world.opsgenie.fire("disk full")
    await walk("Nordwind hat möglicherweise Probleme")
    world.opsgenie.close(alert)
    await walk("Von selbst beendet", "/incidents/1")
    world.opsgenie.fire("disk full")
    await world.becomes("suspected")
    await world.act("confirm", incident=1, severity="partial")
    await walk("Sie verspätet sich")
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
    await walk("Nordwind läuft wieder an")
    world.opsgenie.faults.fail_next(503, times=100_000)
    await walk("antwortet unsere Überwachung nicht")
    world.opsgenie.faults.release()
    await world.act("resolve", incident=1)
    await world.act("resolve", incident=4)
    await walk("Nordwind funktioniert wieder")
    world.opsgenie.fire("disk full, again")
    await world.becomes("suspected", 6)
    await world.act("dismiss", incident=6)
    await walk("Fehlalarm", "/incidents/6")
    assert {where: found for where, text in seen.items() if (found := english_in(text))} == {}


def test_a_german_mail_of_any_kind_says_nothing_in_english() -> None:
    site = Site(name="Nordwind", url="https://status.example.com", timezone="Europe/Berlin")
    pages = Pages(web.Application(), GERMAN, site, POLICY, "build")
    subjects = set()
    for severity, is_ready in product(Severity, (False, True)):
        core = Core()
        start = core.at + timedelta(hours=2)
        end = start + timedelta(hours=2)
        core.does("create", title="Umzug", severity=severity, text="Mehr dazu bald.")
        core.does("plan", title="Umzug", severity=severity, text="Bald.", start=start, end=end)
        steps = [core.of(1), core.of(2)]
        steps += [core.does("watch", 1, text="Gleich."), core.does("resolve", 1, text="Vorbei.")]
        steps.append(core.does("cancel", 2, text="Doch nicht."))
        for step in steps:
            said_then = [replace(update, text="Worte.") for update in step.updates]
            incident = replace(step, has_ready_title=is_ready, updates=tuple(said_then))
            letter = pages.mail(incident)
            subjects.add(letter.subject)
            assert english_in("\n".join([letter.subject, read(letter.html), letter.text])) == []
    assert len(subjects) == 20


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
