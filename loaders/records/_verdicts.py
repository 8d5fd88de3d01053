"""The possible verdicts on one input record, and what a verdict depends on besides the record itself."""

import json
from datetime import datetime

import msgspec

FOUND_LENGTH = 200


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict depends on besides the bytes.

    `now` is the machine's clock (aware); `kind` is what the user named, `hint` what the file's name suggests, and
    `organization_id` stands in where a record carries none.
    """

    now: datetime
    kind: str | None = None
    hint: str | None = None
    organization_id: str | None = None


class Event(msgspec.Struct, gc=False):
    """A usage or system event. It has one of: a record_key, an occurrence_of (content digest), or neither.

    An event without either is known by its place only: see `position_key`.
    """

    organization_id: str
    shape: str
    source: str
    payload: str
    record_key: str | None = None
    occurrence_of: str | None = None


class Resource(msgspec.Struct, gc=False):
    """An order, subscription, customer, product, meter, refund, or another webhook's data, in one version."""

    organization_id: str
    kind: str
    resource_id: str
    content_hash: str
    modified_at: datetime | None
    payload: str
    webhook_type: str | None = None
    webhook_at: datetime | None = None


class Rejected(msgspec.Struct, gc=False):
    """A record that cannot land. `message` is a template without values; the value is in `found`."""

    kind: str
    reason_code: str
    field: str | None
    message: str
    found: str | None
    organization_id: str | None = None


Verdict = Event | Resource | Rejected


class Rejection(Exception):
    """Ends the judging of one record; never leaves this package."""

    def __init__(self, reason_code: str, message: str, field: str | None = None, found: object = None) -> None:
        super().__init__(reason_code)
        self.reason_code = reason_code
        self.message = message
        self.field = field
        self.found = found

    def verdict(self, kind: str, organization_id: str | None = None) -> Rejected:
        """Return the rejection as a row, with what was found cut to a readable length."""
        return Rejected(kind, self.reason_code, self.field, self.message, _shorten(self.found), organization_id)


def _shorten(found: object) -> str | None:
    if found is None:
        return None
    if isinstance(found, bytes):
        text = found[: 4 * FOUND_LENGTH].decode("utf-8", "replace")
    else:
        text = found if isinstance(found, str) else json.dumps(found, default=str, ensure_ascii=False)
    text = text.replace("\x00", "\\u0000")
    return text if len(text) <= FOUND_LENGTH else text[: FOUND_LENGTH - 1] + "…"
