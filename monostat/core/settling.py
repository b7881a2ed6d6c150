"""What becomes of a mail: claimed, handed over, and followed until it leaves, or has failed."""

from dataclasses import replace
from datetime import timedelta

from monostat.core.draft import Draft, Refused
from monostat.core.events import MailClaimed, MailSettled
from monostat.core.mails import RAREST_LOOK, leaving_mails
from monostat.core.model import Mail, MailState

#: Tries of a mail that the vendor calls invalid without saying why.
MOST_INVALID = 3


def claim_mail(draft: Draft, event: MailClaimed) -> None:
    """It is about to be handed over, with the words that it keeps while the vendor may have it."""
    mail = draft.mails.get(event.key)
    leaving = leaving_mails(draft.before) + leaving_mails(draft.state)
    if mail is None or mail not in leaving:
        raise Refused(f"{event.key} is not to be sent now")
    draft.mails[mail.key] = replace(
        mail,
        state=MailState.CLAIMED,
        attempts=mail.attempts + 1,
        first_tried=mail.first_tried or draft.at,
        letter=mail.last_letter or event.letter,
        outdated=mail.outdated and mail.ambiguous,
    )


def settle_mail(draft: Draft, event: MailSettled) -> None:
    """The vendor has it, sends it, has stopped it, or did not take it."""
    mail = draft.mails.get(event.key)
    if mail is None or not (mail.is_followed or mail.state is MailState.CLAIMED):
        raise Refused(f"{event.key} is not on its way")
    if event.mailing not in (0, mail.mailing):
        mail = replace(mail, mailing=event.mailing, handed_over_at=draft.at, ambiguous=False)
    if event.absent and mail.unwanted:
        draft.drop(mail)
    elif event.absent:
        draft.mails[mail.key] = replace(
            mail, state=MailState.HELD, not_before=draft.at, ambiguous=False
        )
    elif not event.error and not event.waiting:
        _leave(draft, mail)
    elif mail.state is MailState.FAILED:
        _follow_failed(draft, mail, event)
    elif event.mailing or mail.state is MailState.HANDED_OVER:
        _follow(draft, mail, event)
    else:
        _try_again(draft, mail, event)


def _leave(draft: Draft, mail: Mail) -> None:
    """Subscribers get it: counts from when it was handed over."""
    at = mail.handed_over_at or draft.at
    draft.mails[mail.key] = replace(mail, state=MailState.SENT, error="")
    for other in list(draft.mails.values()):
        if other.incident == mail.incident and other.entry < mail.entry:
            draft.drop(other)
    said_in = ""
    incident = draft.incidents.get(mail.incident)
    if incident:
        first = min(at, incident.first_mailed_at or at)
        last = max(at, incident.mailed_at or at)
        draft.put(replace(incident, first_mailed_at=first, mailed_at=last))
        for update in incident.updates:
            if update.id == mail.update:
                said_in = update.source
    draft.log("mail_sent", mail.incident, cause=str(mail.entry), said_in=said_in)


def _follow(draft: Draft, mail: Mail, event: MailSettled) -> None:
    """Keeps an eye on what the vendor has, until it leaves, or is known not to."""
    failure = _failure(draft, mail, event)
    again = event.retry_at or draft.at
    if failure and mail.unwanted:
        draft.mails[mail.key] = replace(mail, state=MailState.DROPPED)
    elif failure:
        draft.log("mail_failed", mail.incident, error=failure)
        mail = replace(mail, state=MailState.FAILED, error=failure)
        _follow_failed(draft, mail, event)
    elif event.error and mail.state is MailState.CLAIMED:
        # It was found, and stopped there: it is deleted, then sent anew.
        draft.mails[mail.key] = replace(
            mail,
            state=MailState.HELD,
            not_before=again,
            error=event.error,
            revision=mail.revision + 1,
            ambiguous=False,
        )
    else:
        is_unclear = bool(event.error) and _seconds_there(draft, mail) >= draft.policy.mail_leave
        if is_unclear and not mail.told:
            draft.log("mail_unclear", mail.incident, error=event.error)
        draft.mails[mail.key] = replace(
            mail,
            state=MailState.HANDED_OVER,
            not_before=again,
            error=event.error,
            told=mail.told or is_unclear,
        )


def _failure(draft: Draft, mail: Mail, event: MailSettled) -> str:
    """Why a human has to look after what the vendor has; empty while it may leave by itself."""
    seconds = _seconds_there(draft, mail)
    patience = draft.policy.mail_leave
    if event.waiting and seconds >= patience:
        return (
            f"Rapidmail has not begun to send it for {patience / 60:g} minutes"
            f" (“{event.waiting}”): look there what it waits for, or tap Retry,"
            " which deletes it there and sends a new one"
        )
    if event.permanent:
        return event.error
    if event.error and seconds >= draft.policy.mail_give_up:
        return (
            f"it is not known whether Rapidmail has sent it ({event.error}): look there,"
            " then tap Retry"
        )
    return ""


def _seconds_there(draft: Draft, mail: Mail) -> float:
    """For how long the vendor has had it."""
    there = draft.at - (mail.handed_over_at or draft.at)
    return there.total_seconds()


def _follow_failed(draft: Draft, mail: Mail, event: MailSettled) -> None:
    """Goes on asking for a day: somebody may release at the vendor what had stopped there."""
    is_over = event.gone or _seconds_there(draft, mail) >= draft.policy.mail_give_up
    draft.mails[mail.key] = replace(
        mail,
        releasable=not is_over,
        not_before=event.retry_at or draft.at + timedelta(seconds=RAREST_LOOK),
    )


def _try_again(draft: Draft, mail: Mail, event: MailSettled) -> None:
    """Of a mail that the vendor did not take, or may have taken."""
    is_unclear = mail.ambiguous or event.ambiguous
    if mail.unwanted and not is_unclear:
        draft.drop(mail)
        return
    policy = draft.policy
    invalid = mail.invalid
    if event.invalid:
        invalid += 1
    tried = draft.at - (mail.first_tried or draft.at)
    trying = tried.total_seconds()
    has_failed = event.permanent or trying >= policy.mail_give_up or invalid >= MOST_INVALID
    is_told = mail.told
    state = MailState.HELD
    if has_failed and mail.unwanted:
        state = MailState.DROPPED
    elif has_failed:
        state = MailState.FAILED
        draft.log("mail_failed", mail.incident, error=event.error)
    elif trying >= policy.mail_tell and not is_told:
        is_told = True
        draft.log("mail_late", mail.incident, error=event.error)
    draft.mails[mail.key] = replace(
        mail,
        state=state,
        not_before=event.retry_at or draft.at,
        told=is_told,
        error=event.error,
        ambiguous=is_unclear,
        invalid=invalid,
        releasable=bool(mail.mailing),
    )
