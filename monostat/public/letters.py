"""The mail about an incident: what stands in it, in the page's language and zone.

`templates/mail.html` and `mail.txt` have its layout.
"""

from datetime import datetime
from typing import NamedTuple

from jinja2 import Environment

from monostat.config import Site
from monostat.core.markdown import cut, plain_text
from monostat.core.model import DISMISSED, PLANNED, RESOLVED, WATCHING, Incident, Policy, Severity
from monostat.core.reminders import promised_by
from monostat.core.snapshot import title_of
from monostat.core.text import one_line
from monostat.core.times import Times
from monostat.mail.letter import Letter
from monostat.public.labels import status_key

LONGEST_SUBJECT = 150  # characters
LONGEST_PREVIEW = 140
#: What a mail is by the status that an incident has reached, where that is not its severity.
BY_STATUS = {PLANNED: "planned", DISMISSED: "cancelled", RESOLVED: "resolved"}


class Letters(NamedTuple):
    """Writes the mails of a site; `templates` break what Rapidmail would take for its own."""

    site: Site
    policy: Policy
    times: Times
    templates: Environment

    def letter(self, incident: Incident) -> Letter:
        """The mail about an incident as it is now; nobody needs to load the page to know."""
        words = self.times.words
        kind = kind_of_mail(incident)
        text = incident.updates[-1].text
        subject = self.subject(incident)
        title = one_line(title_of(incident))
        context = {
            "incident": incident,
            "subject": subject,
            "first": words(f"mail_first.{kind}", name=self.site.name),
            "title": title,
            "text": text,
            "preview": cut(one_line(plain_text(text)), LONGEST_PREVIEW),
            "facts": self.facts(incident),
            "address": f"{self.site.url}/incidents/{incident.number}",
            "legal": absolute(self.site.legal_url, self.site.url),
        }
        return Letter(
            subject,
            self.templates.get_template("mail.html").render(context),
            self.templates.get_template("mail.txt").render(context),
        )

    def subject(self, incident: Incident) -> str:
        """One line, in which a ready title does not repeat what the first words say."""
        kind = kind_of_mail(incident)
        words = self.times.words
        key = f"mail_subject.{kind}"
        if incident.has_ready_title and f"{key}_ready" in words.entries:
            key = f"{key}_ready"
        subject = words(key, name=self.site.name, title=one_line(incident.title))
        harmless = subject.replace("{%", "{ %")
        printable = ""
        for character in harmless:
            if not character.isprintable():
                character = " "
            printable += character
        return cut(printable, LONGEST_SUBJECT)

    def facts(self, incident: Incident) -> list[str]:
        """Where it stands and how bad it is, and all the times that matter then."""
        words = self.times.words
        stands = words(
            "mail.stands",
            status=words(status_key(incident)),
            severity=words(f"severity.{incident.severity}"),
        )
        return [stands, *self.when(incident)]

    def when(self, incident: Incident) -> list[str]:
        """When the next word comes, and when it all began, or is planned, or was."""
        words = self.times.words
        start = incident.planned_start
        end = incident.planned_end
        if start and end and incident.status in (PLANNED, DISMISSED):
            return [words("mail.planned", range=self.range(incident, start, end))]
        if incident.status is RESOLVED and incident.ended_at:
            return [self.duration(incident, incident.started_at, incident.ended_at)]
        now = incident.updated_at
        facts = []
        promised = promised_by(incident, self.policy)
        if promised:
            by = self.times.moment(promised, now)
            facts.append(words("mail.next", at=self.zoned(by, promised)))
        began = self.times.dated(incident.started_at, now)
        facts.append(words("mail.since", at=self.zoned(began, incident.started_at)))
        if end:
            until = self.times.dated(end, now)
            facts.append(words("mail.until", at=self.zoned(until, end)))
        return facts

    def duration(self, incident: Incident, start: datetime, end: datetime) -> str:
        """From when to when it lasted, and how long that was, which of a notice says nothing."""
        whole = self.range(incident, start, end)
        if incident.severity is Severity.NOTICE:
            return whole
        lasted = end - start
        span = self.times.span(lasted.total_seconds())
        return self.times.words("mail.lasted", range=whole, span=span)

    def range(self, incident: Incident, start: datetime, end: datetime) -> str:
        """Both times with the day and the zone."""
        whole = self.times.range(start, end, incident.updated_at, planned=True)
        return self.zoned(whole, end)

    def zoned(self, text: str, at: datetime) -> str:
        """A time in words with the name that the zone has at that time."""
        return self.times.words("time.zoned", at=text, zone=self.times.zone_name(at))


def kind_of_mail(incident: Incident) -> str:
    """What a mail about it is, as a key of the catalogue's [mail_subject] and [mail_first]."""
    status = incident.status
    is_notice = incident.severity is Severity.NOTICE
    if status is WATCHING and not (is_notice or incident.is_maintenance or is_regraded(incident)):
        return "watching"
    if status is RESOLVED and is_notice:
        return "notice_resolved"
    kind = BY_STATUS.get(status)
    if kind is None:
        return str(incident.severity)
    if incident.is_maintenance:
        return f"maintenance_{kind}"
    return kind


def is_regraded(incident: Incident) -> bool:
    """Whether it was said how bad it is now after it had come to stand where it stands."""
    newest = incident.updates[-1]
    first = newest
    for update in reversed(incident.updates):
        if update.status is not incident.status:
            break
        first = update
    return first.severity is not newest.severity


def absolute(link: str, url: str) -> str:
    """A link of the settings as a mail needs it: with the site's address where it has none."""
    if link.startswith("/"):
        return f"{url}{link}"
    return link
