"""The part of the settings that decides what happens, as the core wants it."""

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from monostat.config import PLACES, PREFIXES, Config, OpsGenieSettings, RapidmailSettings, Timing
from monostat.core.model import Policy
from monostat.core.words import Words

SENTENCES = re.compile(r"(?<=[.!?])\s+")


def policy_of(config: Config, timing: Timing, words: Words) -> Policy:
    """Of an integration without a section the defaults of its settings hold."""
    monitoring = config.opsgenie or OpsGenieSettings.model_construct()
    mails = config.rapidmail or RapidmailSettings.model_construct()
    remind_after = config.slack.remind_after if config.slack else ()
    return Policy(
        monitoring=config.opsgenie is not None,
        mails=config.rapidmail is not None,
        subscribe=config.rapidmail is not None and mails.subscribe,
        undo_window=mails.undo_window,
        reopen_within=monitoring.reopen_within,
        max_alert_age=monitoring.max_alert_age,
        update_every=config.site.update_every,
        remind_after=remind_after,
        soon=timing.soon,
        mail_tell=timing.mail_tell,
        mail_leave=timing.mail_leave,
        mail_give_up=timing.mail_give_up,
        incident_title=monitoring.incident_title or words("suspicion.title"),
        incident_text=monitoring.incident_text or words("suspicion.text"),
        texts=ready_sentences(config, words),
        zone=ZoneInfo(config.site.timezone),
    )


def ready_sentences(config: Config, words: Words) -> Mapping[str, str]:
    """Every ready sentence by its key.

    The first of these: the settings' own of this kind, their own of every kind, the catalogue's.
    """
    own = {key: without_places(text) for key, text in config.texts}
    defaults = words.table("texts")
    texts = {}
    for key in own:
        text = own[key] or own.get(_of_every_kind(key)) or defaults.get(key)
        if text:
            texts[key] = text
    return texts


def without_places(text: str) -> str:
    """A text without the sentences that want times filled in, which would be wrong once moved."""
    return " ".join(part for part in SENTENCES.split(text) if not PLACES.search(part))


def _of_every_kind(key: str) -> str:
    """The key without the severity that may stand before it."""
    if key.startswith(PREFIXES):
        _, _, key = key.partition("_")
    return key
