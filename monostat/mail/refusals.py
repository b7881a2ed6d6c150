"""What Rapidmail's refusals mean for us and for the operator."""

from collections.abc import Mapping
from typing import Any

from monostat.core.lenient import object_of, part_of
from monostat.vendor import Answer, Undelivered, retry_after

# https://developer.rapidmail.wiki: these were surely not stored, and the same words will be
# refused again.
REFUSED = {
    400: "did not understand the mailing (400): please report this as a bug",
    401: "refused the user name or password (401): check rapidmail.username and rapidmail.password",
    403: "does not let this API user send (403): check its rights in Rapidmail",
    404: "knows nothing at this address (404): check rapidmail.url",
    409: "refused the mailing (409)",
    415: "did not understand the mailing (415): please report this as a bug",
    422: "refused the mailing (422): check rapidmail.from_email and rapidmail.recipientlist_id",
}


def is_final(status: int) -> bool:
    """Whether nothing was done, and the same request would fare no better."""
    return 400 <= status < 500 and status not in (408, 429)


def fields_of(body: object) -> list[str]:
    """The names of the fields that a 422 finds wrong; empty where it names none."""
    return list(object_of(part_of(body, "validation_messages")))


# Any 4xx was not stored; of everything else nobody knows.
def refusal(answer: Answer, body: Mapping[str, Any], *, is_look: bool) -> Undelivered:
    """What an answer that is no success means, for us and for the operator."""
    status = answer.status
    final = is_final(status)
    reason = f"is in trouble ({status})"
    if final:
        reason = f"refused the mailing ({status})"
    reason = f"Rapidmail {REFUSED.get(status, reason)}"
    fields = fields_of(body)
    if body.get("detail") and (status == 422 or status not in REFUSED):
        detail = " ".join(f"{body['detail']} {', '.join(fields)}".split())
        reason += f". It says: {detail[:200]}"
    # A 422 that names no field has been seen to pass at another try.
    is_lasting = final and (status != 422 or bool(fields))
    if is_look:
        is_lasting = status in (401, 403)
    return Undelivered(
        reason,
        permanent=is_lasting,
        ambiguous=is_look or not (final or status == 429),
        retry_after=retry_after(answer.headers),
        status=status,
    )
