"""What becomes of a mail: claimed, handed over, and followed until it leaves, or has failed."""

from dataclasses import replace
from datetime import timedelta

from monostat.core.draft import Draft, Refused
from monostat.core.events import MailClaimed, MailSettled
from monostat.core.mailing import RAREST_LOOK, leaving_mails
from monostat.core.model import Mail, Post

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
        state=Post.CLAIMED,
        attempts=mail.attempts + 1,
        first_tried=mail.first_tried or draft.at,
        letter=mail.last_letter or event.letter,
        outdated=mail.outdated and mail.ambiguous,
    )


def settle_mail(draft: Draft, event: MailSettled) -> None:
    """The vendor has it, sends it, has stopped it, or did not take it."""
    mail = draft.mails.get(event.key)
    if mail is None or not (mail.is_followed or mail.state is Post.CLAIMED):
        raise Refused(f"{event.key} is not on its way")
    if event.mailing not in (0, mail.mailing):
        mail = replace(mail, mailing=event.mailing, handed_over_at=draft.at, ambiguous=False)
    if event.absent and mail.unwanted:
        draft.drop(mail)
    elif event.absent:
        draft.mails[mail.key] = replace(mail, state=Post.HELD, not_before=draft.at, ambiguous=False)
    elif not event.error and not event.waiting:
        _leave(draft, mail)
    elif mail.state is Post.FAILED:
        _follow_failed(draft, mail, event)
    elif event.mailing or mail.state is Post.HANDED_OVER:
        _follow(draft, mail, event)
    else:
        _try_again(draft, mail, event)


def _leave(draft: Draft, mail: Mail) -> None:
    """Subscribers get it: counts from when it was handed over."""
    at = mail.handed_over_at or draft.at
    draft.mails[mail.key] = replace(mail, state=Post.SENT, error="")
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
    patience = draft.policy.mail_leave
    waited = draft.at - (mail.handed_over_at or draft.at)
    since = waited.total_seconds()
    again = event.retry_at or draft.at
    error = event.error
    if event.waiting and since >= patience:
        error = (
            f"Rapidmail has not begun to send it for {patience / 60:g} minutes"
            f" (“{event.waiting}”): look there what it waits for, or tap Retry,"
            " which deletes it there and sends a new one"
        )
    is_unknown = bool(event.error) and not event.permanent
    is_given_up = is_unknown and since >= draft.policy.mail_give_up
    if is_given_up:
        error = (
            f"it is not known whether Rapidmail has sent it ({error}): look there, then tap Retry"
        )
    has_failed = event.permanent or is_given_up or bool(error and event.waiting)
    if has_failed and mail.unwanted:
        draft.mails[mail.key] = replace(mail, state=Post.DROPPED)
    elif has_failed:
        draft.log("mail_failed", mail.incident, error=error)
        mail = replace(mail, state=Post.FAILED, error=error)
        _follow_failed(draft, mail, event)
    elif error and mail.state is Post.CLAIMED:
        # It was found, and stopped there: it is deleted, then sent anew.
        draft.mails[mail.key] = replace(
            mail,
            state=Post.HELD,
            not_before=again,
            error=error,
            revision=mail.revision + 1,
            ambiguous=False,
        )
    else:
        tells = bool(error) and not mail.told and since >= patience
        if tells:
            draft.log("mail_unclear", mail.incident, error=error)
        draft.mails[mail.key] = replace(
            mail, state=Post.HANDED_OVER, not_before=again, error=error, told=mail.told or tells
        )


def _follow_failed(draft: Draft, mail: Mail, event: MailSettled) -> None:
    """Goes on asking for a day: somebody may release at the vendor what had stopped there."""
    since = draft.at - (mail.handed_over_at or draft.at)
    is_over = event.gone or since.total_seconds() >= draft.policy.mail_give_up
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
    invalid = mail.invalid + event.invalid
    tried = draft.at - (mail.first_tried or draft.at)
    trying = tried.total_seconds()
    has_failed = event.permanent or trying >= policy.mail_give_up or invalid >= MOST_INVALID
    is_told = mail.told
    state = Post.HELD
    if has_failed and mail.unwanted:
        state = Post.DROPPED
    elif has_failed:
        state = Post.FAILED
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
