"""The part of the settings that decides what happens, as the core wants it."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from monostat.config import Config, Timing
from monostat.core.model import Policy


def policy_of(config: Config, timing: Timing) -> Policy:
    """Of an integration without a section the core's own defaults hold."""
    policy = Policy(
        monitoring=config.opsgenie is not None,
        mails=config.rapidmail is not None,
        update_every=config.site.update_every,
        remind_after=config.slack.remind_after if config.slack else (),
        soon=timing.soon,
        mail_tell=timing.mail_tell,
        mail_leave=timing.mail_leave,
        mail_give_up=timing.mail_give_up,
        texts=config.texts.model_dump(),
        zone=ZoneInfo(config.site.timezone),
    )
    if monitoring := config.opsgenie:
        policy = replace(
            policy,
            reopen_within=monitoring.reopen_within,
            max_alert_age=monitoring.max_alert_age,
            incident_title=monitoring.incident_title,
            incident_text=monitoring.incident_text,
        )
    if mails := config.rapidmail:
        policy = replace(policy, subscribe=mails.subscribe, undo_window=mails.undo_window)
    return policy
