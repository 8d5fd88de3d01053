"""Taking a line or document apart: arrays, ingestion envelopes, API pages and webhooks hold records.

A record keeps its exact bytes. One bad record inside a container never takes its neighbours along: where the parser
refuses the whole, a scan of brackets and strings finds the elements, and each is judged alone.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from loaders.records._events import judge_event
from loaders.records._fields import in_utc, missing, optional_instant
from loaders.records._kinds import decide_kind, webhook_kind
from loaders.records._resources import judge_resource, judge_webhook_data
from loaders.records._text import RECORD_BYTE_LIMIT, read_json, too_large
from loaders.records._verdicts import Context, Rejection, Verdict

_TOKEN = re.compile(rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|[\[\]{},"]')
_MEMBER = re.compile(rb'\s*+"([^"\\]*+)"\s*+:\s*+', re.DOTALL)
_BLANKS = b" \t\r\n"


class Judged(msgspec.Struct, gc=False):
    """One input record: its place, its bytes, the verdict. A rejected webhook's bytes are the whole delivery."""

    byte_offset: int
    raw: bytes
    verdict: Verdict


class Page(msgspec.Struct, frozen=True):
    """What an API page says of itself: its items' texts, how many items the list has, and its last page."""

    items: list[bytes]
    total_count: int
    max_page: int


class _Frame(msgspec.Struct):
    """The members of an object that may hold records, as raw text."""

    events: msgspec.Raw = msgspec.Raw()
    items: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


class _Span(msgspec.Struct, gc=False):
    start: int
    raw: bytes


class _Container(msgspec.Struct):
    """An object's fields besides its records, and the records' list."""

    frame: dict[str, Any]
    field: str
    value: _Span


_FRAME_DECODER = msgspec.json.Decoder(_Frame)
_LIST_DECODER = msgspec.json.Decoder(list[msgspec.Raw])
_ANY_DECODER = msgspec.json.Decoder(msgspec.Raw)


def examine(raw: bytes, byte_offset: int, context: Context) -> Iterator[Judged]:
    """Judge each input record in the bytes of one line or document, in order."""
    start = raw[:64].lstrip(_BLANKS)[:1] or raw.lstrip(_BLANKS)[:1]
    if start == b"[":
        spans = _split_list(raw)
        if spans is not None:
            for span in spans:
                yield from _examine_object(span.raw, byte_offset + span.start, context, may_hold_records=True)
            return
    yield from _examine_object(raw, byte_offset, context, may_hold_records=start == b"{")


def is_one_document(raw: bytes) -> bool:
    """Tell whether the whole text is one JSON array or object, judged by its outer structure."""
    stripped = raw.strip(_BLANKS)
    if stripped[:1] not in (b"[", b"{"):
        return False
    try:
        _ANY_DECODER.decode(stripped)
    except (ValueError, RecursionError):
        return _scan(stripped) is not None
    return True


def read_page(raw: bytes) -> Page | None:
    """Return what is in the text of an API page, or None where it is no whole page. A bad item spoils no page."""
    container = _open(raw.strip(_BLANKS))
    if container is None or container.field != "items":
        return None
    pagination = container.frame.get("pagination")
    spans = _split_list(container.value.raw)
    if type(pagination) is not dict or spans is None:
        return None
    total_count, max_page = pagination.get("total_count"), pagination.get("max_page")
    if type(total_count) is not int or type(max_page) is not int:
        return None
    return Page([span.raw for span in spans], total_count, max_page)


def is_unfinished_document(raw: bytes) -> bool:
    """Tell whether the text is the valid beginning of a JSON array or object."""
    try:
        _ANY_DECODER.decode(raw)
    except msgspec.DecodeError as error:
        return str(error) == "Input data was truncated"
    except (ValueError, RecursionError):
        return False
    return False


def _examine_object(raw: bytes, byte_offset: int, context: Context, *, may_hold_records: bool) -> Iterator[Judged]:
    try:
        if len(raw) > RECORD_BYTE_LIMIT:
            raise too_large(raw)
        value, text = read_json(raw)
    except Rejection as rejection:
        container = _open(raw) if may_hold_records else None
        if container is None:
            yield Judged(byte_offset, raw, rejection.verdict(_shown_kind(context), context.organization_id))
            return
    else:
        container = _open(raw) if may_hold_records and _is_container(value) else None
        if container is None:
            yield Judged(byte_offset, raw, _judge(value, text, context))
            return
    yield from _examine_container(raw, byte_offset, container, context)


def _examine_container(raw: bytes, byte_offset: int, container: _Container, context: Context) -> Iterator[Judged]:
    if container.field == "data":
        yield Judged(byte_offset, raw, _judge_webhook(container, context))
        return
    inner = _inner_context(container, context)
    start = byte_offset + container.value.start
    for span in _split_list(container.value.raw) or ():
        yield from _examine_object(span.raw, start + span.start, inner, may_hold_records=False)


def _inner_context(container: _Container, context: Context) -> Context:
    organization_id = container.frame.get("organization_id")
    if type(organization_id) is not str or not organization_id:
        organization_id = context.organization_id
    hint = "events" if container.field == "events" else context.hint
    return msgspec.structs.replace(context, organization_id=organization_id, hint=hint)


def _judge(value: Any, text: str, context: Context, kind: str | None = None) -> Verdict:
    try:
        if type(value) is not dict:
            message = "A record must be a JSON object: write one object a line, or a list of objects."
            raise Rejection("not_an_object", message, found=text)
        kind = kind or decide_kind(value, context)
        if kind == "events":
            return judge_event(value, text, context)
        return judge_resource(value, text, kind, context)
    except Rejection as rejection:
        return rejection.verdict(kind or _shown_kind(context), _known_organization(value) or context.organization_id)


def _judge_webhook(container: _Container, context: Context) -> Verdict:
    kind = "webhooks"
    try:
        webhook_type = container.frame["type"]
        kind = webhook_kind(webhook_type)
        value, text = read_json(container.value.raw)
        instant = optional_instant(container.frame, "timestamp")
        if instant is None:
            raise missing("timestamp")
        webhook_at = in_utc(instant, "timestamp")
        return judge_webhook_data(value, text, kind, context, webhook_type, webhook_at)
    except Rejection as rejection:
        return rejection.verdict(kind, context.organization_id)


def _shown_kind(context: Context) -> str:
    return context.kind or context.hint or "auto"


def _known_organization(value: Any) -> str | None:
    organization_id = value.get("organization_id") if type(value) is dict else None
    return organization_id if type(organization_id) is str else None


def _is_container(value: Any) -> bool:
    if type(value) is not dict:
        return False
    if type(value.get("events")) is list:
        return "id" not in value and "name" not in value
    if type(value.get("items")) is list:  # an order has items too
        return "pagination" in value or len(value) == 1
    return type(value.get("data")) is dict and type(value.get("type")) is str


def _open(raw: bytes) -> _Container | None:
    """Return the container in the text of an object, or None where it holds no records."""
    try:
        frame = _FRAME_DECODER.decode(raw)
        found = {name: bytes(getattr(frame, name)) for name in ("events", "items", "data")}
        spans = {name: _Span(raw.find(value), value) for name, value in found.items() if value}
        # The same text may stand earlier in the object; the scan knows the place for sure.
        return (_close_frame(raw, spans) or _open_by_scan(raw)) if spans else None
    except (ValueError, RecursionError):
        return _open_by_scan(raw)


def _open_by_scan(raw: bytes) -> _Container | None:
    members = {}
    for span in _scan(raw) or ():
        if (match := _MEMBER.match(span.raw)) is None:
            return None
        value = span.raw[match.end() :].rstrip(_BLANKS)
        members[match.group(1).decode("utf-8", "replace")] = _Span(span.start + match.end(), value)
    return _close_frame(raw, {name: span for name, span in members.items() if name in ("events", "items", "data")})


def _close_frame(raw: bytes, spans: dict[str, _Span]) -> _Container | None:
    """Read the frame around the records' span with `null` in its place: what is wrong there spoils the container."""
    for field, start in (("events", b"["), ("items", b"["), ("data", b"{")):
        span = spans.get(field)
        if span is None or not span.raw.startswith(start):
            continue
        try:
            frame, _ = read_json(raw[: span.start] + b"null" + raw[span.start + len(span.raw) :])
        except Rejection:
            return None
        placeholder: Any = {} if field == "data" else []
        if type(frame) is dict and frame.get(field, 0) is None and _is_container({**frame, field: placeholder}):
            return _Container(frame, field, span)
    return None


def _split_list(raw: bytes) -> list[_Span] | None:
    """Return the elements of the text of an array, or None where its outer structure is broken."""
    try:
        elements = [bytes(element) for element in _LIST_DECODER.decode(raw)]
    except (ValueError, RecursionError):
        return _scan(raw)
    spans = []
    position = raw.index(b"[") + 1
    for element in elements:
        # Between elements stand blanks and commas only, and no element begins with those.
        start = raw.index(element, position)
        spans.append(_Span(start, element))
        position = start + len(element)
    return spans


def _scan(raw: bytes) -> list[_Span] | None:
    """Return what stands between the outer brackets, split at their commas; None where that cannot be told."""
    depth, begin, spans = 0, -1, []
    has_nested = False
    for match in _TOKEN.finditer(raw):
        token = match.group()
        if token == b'"' or (depth == 0 and (begin >= 0 or raw[: match.start()].strip(_BLANKS))):
            return None
        if token in (b"[", b"{"):
            if depth == 1 and has_nested:
                return None
            has_nested = depth == 1 or (has_nested and depth > 1)
            begin = match.end() if depth == 0 else begin
            depth += 1
        elif token in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                spans.append(_trimmed(raw, begin, match.start()))
                return _checked(spans) if not raw[match.end() :].strip(_BLANKS) else None
        elif token == b"," and depth == 1:
            spans.append(_trimmed(raw, begin, match.start()))
            begin, has_nested = match.end(), False
        elif depth == 0:
            return None
        if depth < 0:
            return None
    return None


def _trimmed(raw: bytes, begin: int, end: int) -> _Span:
    text = raw[begin:end]
    return _Span(begin + len(text) - len(text.lstrip(_BLANKS)), text.strip(_BLANKS))


def _checked(spans: list[_Span]) -> list[_Span] | None:
    if len(spans) == 1 and not spans[0].raw:
        return []
    return spans if all(span.raw for span in spans) else None
