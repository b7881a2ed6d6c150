"""What stands in a mail, in both its parts and in each language."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from monostat.config import Site
from monostat.core.model import Incident, Severity, Status, Update
from monostat.languages import load_words
from monostat.mail.letter import Letter
from monostat.public.pages import Pages
from tests.policies import POLICY

AT = datetime(2026, 1, 2, 9, tzinfo=UTC)
URL = "https://status.example.com"
EVIL = "{%link_unsubscribe} <script>alert(1)</script> <!channel> &lt;b&gt;"


def incident(
    status: Status = Status.CONFIRMED,
    severity: Severity = Severity.PARTIAL,
    text: str = "We are **on** it.",
    **more: Any,
) -> Incident:
    update = Update(id=5, incident=7, status=status, severity=severity, at=AT, text=text)
    about: dict[str, Any] = {"title": "Uploads fail", "started_at": AT, "status_by": "Ada"} | more
    return Incident(
        number=7,
        severity=severity,
        status=status,
        status_at=AT,
        status_entry=1,
        created_at=AT,
        updated_at=AT,
        reminded_at=AT,
        updates=(update,),
        **about,
    )


def mail(about: Incident, name: str = "Northwind", language: str = "en") -> Letter:
    site = Site(name=name, url=URL, timezone="Europe/Berlin", legal_url="/legal")
    return Pages(web.Application(), load_words(language), site, POLICY, "b").mail(about)


def test_a_mail_has_all_that_readers_need_in_both_parts() -> None:
    letter = mail(incident(summary="Only **new** orders."))
    assert letter.subject == "[Northwind] Partial outage: Uploads fail"
    assert letter.text.startswith("Part of Northwind is not working.\n\nUploads fail\n")
    for part in (letter.html, letter.text):
        for fact in (
            "Part of Northwind is not working.",
            "Confirmed · Partial outage",
            "Next update by 10:30 CET",
            "Since Fri 2 Jan, 10:00 CET",
            f"{URL}/incidents/7",
            f"{URL}/legal",
            "See the live status",
            "{%link_unsubscribe}",
        ):
            assert fact in part
    assert '<a href="{%link_unsubscribe}">Unsubscribe</a>' in letter.html
    assert "<strong>new</strong>" in letter.html
    assert 'overflow:hidden">We are on it.</div>' in letter.html
    assert "<img" not in letter.html


def test_no_address_or_command_makes_a_mail_wider_than_a_phone() -> None:
    letter = mail(incident(text=f"See {URL}/{'long/' * 40}\n\n    restart --every=node --now"))
    body = letter.html[letter.html.index("<body") :]
    assert "overflow-wrap:anywhere" in body.partition(">")[0]
    assert "<pre" in body
    assert "pre { white-space: pre-wrap }" in letter.html


def test_a_mail_is_wholly_in_the_language_of_the_page() -> None:
    letter = mail(incident(text="Wir sind dran."), language="de")
    assert letter.subject == "[Northwind] Teilausfall: Uploads fail"
    assert letter.text.split("\n") == [
        "Ein Teil von Northwind funktioniert nicht.",
        "",
        "Uploads fail",
        "",
        "Wir sind dran.",
        "",
        "Bestätigt · Teilausfall",
        "Nächste Meldung bis 10:30 Uhr (MEZ)",
        "Seit Fr., 2. Jan., 10:00 Uhr (MEZ)",
        "",
        f"Zum aktuellen Status: {URL}/incidents/7",
        "",
        "-- ",
        "Sie erhalten diese E-Mail, weil Sie Meldungen zum Status von Northwind abonniert haben.",
        f"Impressum: {URL}/legal",
        "Abbestellen: {%link_unsubscribe}",
    ]
    assert '<html lang="de">' in letter.html


PLAN: dict[str, Any] = {"planned_start": AT, "planned_end": AT + timedelta(hours=4)}


@pytest.mark.parametrize(
    ("about", "subject", "facts"),
    [
        (
            incident(Status.RESOLVED, ended_at=AT + timedelta(seconds=89)),
            "Resolved: Uploads fail",
            "Resolved · Partial outage|Fri 2 Jan, 10:00–10:01 CET · 1 min 29 s",
        ),
        (
            incident(Status.RESOLVED, Severity.NOTICE, ended_at=AT + timedelta(hours=1)),
            "No longer applies: Uploads fail",
            "Ended · Notice|Fri 2 Jan, 10:00–11:00 CET",
        ),
        (
            incident(Status.PLANNED, Severity.MAINTENANCE, **PLAN),
            "Planned maintenance: Uploads fail",
            "Planned · Maintenance|Planned for Fri 2 Jan, 10:00–14:00 CET",
        ),
        (
            incident(severity=Severity.MAINTENANCE, **PLAN),
            "Maintenance: Uploads fail",
            "Under way · Maintenance|Since Fri 2 Jan, 10:00 CET|Planned until Fri 2 Jan, 14:00 CET",
        ),
        (
            incident(Status.DISMISSED, Severity.MAINTENANCE, **PLAN),
            "Maintenance cancelled: Uploads fail",
            "Cancelled · Maintenance|Planned for Fri 2 Jan, 10:00–14:00 CET",
        ),
        (
            incident(title="Outage", severity=Severity.OUTAGE, has_ready_title=True),
            "Outage",
            "Confirmed · Outage|Next update by 10:30 CET|Since Fri 2 Jan, 10:00 CET",
        ),
        (
            incident(
                Status.RESOLVED, title="Outage", has_ready_title=True, ended_at=AT + timedelta(1)
            ),
            "Resolved: Outage",
            "Resolved · Partial outage|Fri 2 Jan, 10:00–Sat 3 Jan, 10:00 CET · 24 h",
        ),
    ],
)
def test_subject_and_times_fit_where_the_incident_stands(
    about: Incident, subject: str, facts: str
) -> None:
    letter = mail(about)
    assert letter.subject == f"[Northwind] {subject}"
    assert "\n\n" + facts.replace("|", "\n") + "\n\n" in letter.text
    assert not (about.has_ready_title and "\nOutage\n" in letter.text)


def test_what_becomes_worse_while_it_is_watched_is_mailed_as_that_and_not_as_a_fix() -> None:
    about = incident(Status.WATCHING)
    assert mail(about).subject == "[Northwind] Fix in place: Uploads fail"
    worse = replace(about.updates[0], id=6, severity=Severity.OUTAGE)
    about = replace(about, severity=Severity.OUTAGE, updates=(*about.updates, worse))
    assert mail(about).subject == "[Northwind] Outage: Uploads fail"
    assert mail(about).text.startswith("Northwind is down.")
    assert "\nFix in place · Outage\n" in mail(about).text
    more = replace(about, updates=(*about.updates, replace(worse, id=7, text="All of it.")))
    assert mail(more).subject == "[Northwind] Outage: Uploads fail"
    confirmed = replace(about.updates[0], id=4, status=Status.CONFIRMED)
    worse_before = replace(about, updates=(confirmed, worse))
    assert mail(worse_before).subject == "[Northwind] Fix in place: Uploads fail"


@pytest.mark.parametrize("severity", [Severity.MAINTENANCE, Severity.NOTICE])
@pytest.mark.parametrize("language", ["en", "de"])
def test_a_subject_does_not_repeat_a_ready_title(severity: Severity, language: str) -> None:
    title = load_words(language).entries[f"severity.{severity}"]
    about = incident(Status.RESOLVED, severity, title=title, has_ready_title=True, ended_at=AT)
    subject = mail(about, language=language).subject
    assert subject.lower().count(str(title).lower()) == 1


def test_there_are_words_for_every_mail_that_can_leave() -> None:
    for status in Status:
        for severity in Severity:
            about = incident(status, severity, ended_at=AT, **PLAN)
            for ready in (False, True):
                letter = mail(replace(about, has_ready_title=ready), language="de")
                assert letter.subject.startswith("[Northwind] ")


@pytest.mark.parametrize(
    "words", [EVIL, "{%link_unsubscribe}", "&#123;% x", "a\r\nBcc: {{%", "{\u200b%" * 99, "{\n%"]
)
def test_no_words_of_staff_make_a_placeholder_or_a_second_line_in_the_subject(words: str) -> None:
    letter = mail(incident(title=words, text=words, summary=words), words)
    assert letter.html.count("{%") == letter.text.count("{%") == 1
    assert "{%" not in letter.subject
    assert letter.subject.isprintable()
    assert len(letter.subject) <= 150
    json.dumps([letter.subject, letter.html, letter.text]).encode()
