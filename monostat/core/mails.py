"""Mails to subscribers: which is next, which are held for the undo window, and let go of."""

from dataclasses import replace
from datetime import datetime, timedelta

from monostat.core.draft import Draft, Refused
from monostat.core.events import Act
from monostat.core.model import GONE, MAX_RETRY_AFTER, Incident, Mail, MailState, Policy, State
from monostat.core.text import exact

#: Seconds between two questions what has become of a mailing, at most.
RAREST_LOOK = 60
#: Where a mail stands that has been handed over, or is about to be.
ON_ITS_WAY = (MailState.CLAIMED, MailState.HANDED_OVER)

# -- Which mail is next


def waiting_mails(state: State) -> list[Mail]:
    """Those to hand over, then those to look after at the vendor; of each the first due first."""
    leaving = leaving_mails(state)
    followed = [mail for mail in state.mails.values() if mail.is_followed]
    leaving.sort(key=_due)
    followed.sort(key=_due)
    return leaving + followed


def _due(mail: Mail) -> datetime:
    return mail.not_before


def _made(mail: Mail) -> int:
    return mail.entry


def leaving_mails(state: State) -> list[Mail]:
    """Of each incident the newest mail that is held, unless one of it is on its way."""
    newest: dict[int, Mail] = {}
    on_their_way = set()
    for mail in sorted(state.mails.values(), key=_made):
        if mail.state is MailState.CLAIMED:
            on_their_way.add(mail.incident)
        if mail.state is not MailState.FAILED:
            newest[mail.incident] = mail
    held = [mail for mail in newest.values() if mail.state is MailState.HELD]
    return [mail for mail in held if mail.incident not in on_their_way]


# -- Holding one, and letting go of it


def hold_mail(draft: Draft, incident: Incident, wanted: bool | None, *, usual: bool) -> None:
    """Holds a mail about the newest update for the undo window.

    `wanted` is the person's wish; where they have none it is sent if that is `usual`, which for a
    maintenance it never is.
    """
    if wanted is None:
        wanted = usual and not incident.is_maintenance
    if not wanted or not draft.policy.mails:
        return
    if incident.is_unconfirmed or incident.silent:
        return
    state = draft.state
    entry = state.entries_made
    update = incident.updates[-1]
    window = timedelta(seconds=draft.policy.undo_window)
    key = f"{state.epoch}:mail:{incident.number}:{update.status}:{entry}"
    draft.mails[key] = Mail(
        key=key,
        incident=incident.number,
        update=update.id,
        entry=entry,
        at=draft.at,
        not_before=draft.at + window,
    )


def withdraw(draft: Draft, incident: Incident) -> tuple[Mail, ...]:
    """Drops the mails of an incident, and returns them.

    Those that the vendor may have are not dropped: they are looked for, and never sent again.
    """
    mails = draft.state.mails_of(incident.number)
    return tuple(mail for mail in mails if let_go(draft, mail))


def let_go(draft: Draft, mail: Mail) -> bool:
    """Drops a mail that the vendor cannot have, and says whether that is so."""
    may_be_there = mail.state in ON_ITS_WAY
    if mail.state is MailState.HELD and mail.ambiguous:
        may_be_there = True
    if may_be_there:
        draft.mails[mail.key] = replace(mail, unwanted=True)
        return False
    draft.drop(mail)
    return True


def outdate(draft: Draft, number: int) -> bool:
    """Has an incident's mails written anew whose words have changed since they were written.

    What the vendor may have stays as it is; whether there is such a mail is the result.
    """
    may_leave = False
    for mail in list(draft.mails.values()):
        is_written = mail.letter and mail.state not in GONE
        if mail.incident != number or not is_written:
            continue
        draft.mails[mail.key] = replace(mail, outdated=True)
        is_there = bool(mail.mailing) or mail.state in ON_ITS_WAY
        if is_there or mail.ambiguous:
            may_leave = True
    return may_leave


def withdraw_unwanted(draft: Draft, incident: Incident) -> None:
    """Of what is silent, or has become a maintenance, nobody is to hear what was held for them."""
    before = draft.incidents[incident.number]
    is_maintenance_now = incident.is_maintenance and not before.is_maintenance
    if incident.silent or is_maintenance_now:
        withdraw(draft, incident)


def last_left(draft: Draft, incident: Incident) -> datetime | None:
    """When the last mail left for Rapidmail, whether or not that has begun to send it."""
    mails = [mail for mail in draft.mails.values() if mail.incident == incident.number]
    left = [mail.handed_over_at for mail in mails if mail.state is MailState.HANDED_OVER]
    left.append(incident.mailed_at)
    times = [at for at in left if at]
    return max(times, default=None)


def bound_times(draft: Draft, mail: Mail) -> None:
    """After a clock that went back: what is further away than its own span counts from now."""
    longest = draft.policy.undo_window
    if mail.is_followed:
        longest = RAREST_LOOK
    elif mail.attempts:
        longest = MAX_RETRY_AFTER
    latest = draft.at + timedelta(seconds=longest)
    if mail.not_before > latest:
        mail = replace(mail, not_before=latest)
    handed_over_at = mail.handed_over_at
    if handed_over_at and handed_over_at > draft.at:
        mail = replace(mail, handed_over_at=draft.at)
    draft.mails[mail.key] = mail


def late_at(mail: Mail, policy: Policy) -> datetime | None:
    """When the thread is to be told that a mail has failed for long; None where it is not."""
    is_failing = mail.state is MailState.HELD and mail.error and not mail.told
    if not is_failing or mail.first_tried is None:
        return None
    return mail.first_tried + timedelta(seconds=policy.mail_tell)


def tell_late(draft: Draft) -> None:
    """Tells the thread of mails that have failed for long, however late their next try is."""
    for mail in list(draft.mails.values()):
        at = late_at(mail, draft.policy)
        if at and at <= draft.at:
            draft.log("mail_late", mail.incident, error=mail.error)
            draft.mails[mail.key] = replace(mail, told=True)


# -- What people do with mails


def send(draft: Draft, act: Act, incident: Incident) -> None:
    """Lets what is held leave now, and announces the incident."""
    kind = "announced_now"
    for mail in draft.state.mails_of(incident.number):
        if mail.state is MailState.HELD and mail.not_before > draft.at:
            kind = "sent_now"
            draft.mails[mail.key] = replace(mail, not_before=draft.at)
    if not incident.undo and kind != "sent_now":
        raise Refused(why_not_sent(draft, incident))
    draft.close_undo_windows(incident)
    draft.log(kind, incident.number, act.by)


def why_not_sent(draft: Draft, incident: Incident) -> str:
    """That nothing waits, and when the last mail left."""
    nothing = f"Nothing is waiting to be sent for #{incident.number}."
    left = last_left(draft, incident)
    if left:
        return f"{nothing} The last mail left at {exact(left)}."
    return nothing


def retry(draft: Draft, act: Act, incident: Incident) -> None:
    """Tries again what has failed.

    What the vendor has is sent anew under the next revision of its title; what it may have is
    looked for under the title that it had.
    """
    mails = draft.state.mails_of(incident.number)
    failed = [mail for mail in mails if mail.state is MailState.FAILED]
    if not failed:
        raise Refused(f"No mail of #{incident.number} has failed.")
    for mail in failed:
        revision = mail.revision
        if mail.mailing and not mail.ambiguous:
            revision += 1
        draft.mails[mail.key] = replace(
            mail,
            state=MailState.HELD,
            not_before=draft.at,
            first_tried=None,
            told=False,
            revision=revision,
            invalid=0,
        )
    draft.log("retried", incident.number, act.by)
