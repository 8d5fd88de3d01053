"""What a valid record is: kinds, shapes, limits, reasons, keys, content. Pure: no database, files, network or clock.

`examine` takes the bytes of a line or document apart and yields one `Judged` per input record: an `Event`, a
`Resource` or a `Rejected`. Everything else here answers a question about records that were judged before.
"""

from loaders.records._containers import Judged, Page, examine, is_one_document, is_unfinished_document, read_page
from loaders.records._content import EventContent, occurrence_key, position_key, read_event_content
from loaders.records._erasure import (
    ErasedIds,
    Named,
    Person,
    Pseudonyms,
    Redaction,
    blocking_hashes,
    erase_event,
    erase_resource,
    owned_kind,
    people_named,
    rename_parent,
)
from loaders.records._events import CLOCK_TOLERANCE, NAME_LENGTH_LIMIT, TEXT_LENGTH_LIMIT
from loaders.records._kinds import KIND_OPTIONS, hint_from_path
from loaders.records._text import DOCUMENT_BYTE_LIMIT, RECORD_BYTE_LIMIT
from loaders.records._verdicts import Context, Event, Rejected, Resource, Verdict

__all__ = [
    "CLOCK_TOLERANCE",
    "DOCUMENT_BYTE_LIMIT",
    "KIND_OPTIONS",
    "NAME_LENGTH_LIMIT",
    "RECORD_BYTE_LIMIT",
    "TEXT_LENGTH_LIMIT",
    "Context",
    "ErasedIds",
    "Event",
    "EventContent",
    "Judged",
    "Named",
    "Page",
    "Person",
    "Pseudonyms",
    "Redaction",
    "Rejected",
    "Resource",
    "Verdict",
    "blocking_hashes",
    "erase_event",
    "erase_resource",
    "examine",
    "hint_from_path",
    "is_one_document",
    "is_unfinished_document",
    "occurrence_key",
    "owned_kind",
    "people_named",
    "position_key",
    "read_event_content",
    "read_page",
    "rename_parent",
]
