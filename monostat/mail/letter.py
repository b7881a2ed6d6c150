"""A mail in both its parts, as it is written once and kept until it is sent."""

import json
from typing import NamedTuple


class Letter(NamedTuple):
    """The subject, and the same text as HTML and as plain text."""

    subject: str
    html: str
    text: str

    def stored(self) -> str:
        """As the database keeps it; raises TypeError or ValueError where a part is no text."""
        return json.dumps(self)


def read_letter(stored: str) -> Letter:
    """The letter that the database keeps; raises TypeError or ValueError where it is none."""
    return Letter(*json.loads(stored))
