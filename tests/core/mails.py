"""What the mail's outbox would do next, by the list that it works on."""

from datetime import datetime

from monostat.core.mails import waiting_mails
from monostat.core.model import Mail, MailState, State


def due_mail(state: State, at: datetime) -> Mail | None:
    """The mail to hand over now, the one that has waited longest, or None."""
    held = (mail for mail in waiting_mails(state) if mail.state is MailState.HELD)
    return next((mail for mail in held if mail.not_before <= at), None)


def next_mail(state: State) -> datetime | None:
    """When something is to be done with a mail, or None."""
    return min((mail.not_before for mail in waiting_mails(state)), default=None)
