"""What a configuration decides that has every section, and nothing in them that need not be there."""

from datetime import UTC

from monostat.core.model import Policy

POLICY = Policy(
    monitoring=True,
    mails=True,
    subscribe=False,
    undo_window=30,
    reopen_within=900,
    max_alert_age=3600,
    update_every=1800,
    remind_after=(600, 1200),
    soon=600,
    mail_tell=300,
    mail_leave=600,
    mail_give_up=86400,
    incident_title="Possible problem",
    incident_text="Our monitoring has noticed a problem. We are checking.",
    texts={},
    zone=UTC,
)
