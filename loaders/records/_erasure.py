"""Erasing a person from records: which records name them, and what stays of those.

What stays is what usage and money are made of: instants, amounts, costs, tokens, the properties that meters read, and
ids. Ids of the person become pseudonyms, the same ones everywhere, so that what was one customer still is. All else
goes: what may stay is listed here, so that a field that is not known yet goes too.
"""

import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from loaders.records._text import STRING, decode_exactly

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# So long is an id that is looked for within texts; a shorter one might mean anything there.
_FOUND_WITHIN = 8

_EVENT_FIELDS = ("id", "timestamp", "ingested_at", "organization_id", "name", "source", "child_count")
_TOKEN_COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "total_tokens")
_PERSON_FIELDS = ("created_at", "modified_at", "deleted_at", "organization_id", "type")

# Texts of Polar's objects and of its events' metadata that say nothing of a person: by the end of their name.
_KEPT_TEXT = re.compile(
    r"(^|_)(id|at|start|end|timestamp|currency|interval|type|status|reason|behavior|provider|rate|label|date)$"
    r"|^(unit_amount|name|conjunction|func|property|operator|duration|proration|amount)$"
)
# Ids that are not of a thing but of a person, by the kind that names them.
_ID_KINDS = {
    "customer_id": "customer",
    "external_customer_id": "external_customer",
    "customer_external_id": "external_customer",
    "member_id": "member",
    "external_member_id": "external_member",
}
_PEOPLE = {"customer": ("customer", "external_customer"), "member": ("member", "external_member")}
# Kinds of objects that are people: their own id is one.
_PERSON_OF_KIND = {"customers": "customer", "members": "member"}
_DROPPED = frozenset(
    {"tax_id", "user_id", "default_payment_method_id", "metadata", "custom_field_data", "seat_metadata", "properties"}
)
# What a merchant sells and measures: no person is in there.
_CATALOG = frozenset(
    {"product", "prices", "items", "discount", "meter", "filter", "aggregation", "tiers", "seat_tiers"}
)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """The ids by which records of one organization name a customer, or one member of it.

    A member is meant where `member_ids` or `external_member_ids` holds something: records of the customer that name no
    such member are not theirs.
    """

    customer_ids: frozenset[str] = frozenset()
    external_customer_ids: frozenset[str] = frozenset()
    member_ids: frozenset[str] = frozenset()
    external_member_ids: frozenset[str] = frozenset()

    @property
    def is_member(self) -> bool:
        return bool(self.member_ids or self.external_member_ids)

    @property
    def ids(self) -> frozenset[str]:
        """The ids that are to be seen nowhere any more: a member's, or else all."""
        members = self.member_ids | self.external_member_ids
        return members or self.customer_ids | self.external_customer_ids


class Pseudonyms:
    """What stands in the place of a person's ids: salted hashes, so that one id has one pseudonym for good.

    `salt` stays in the work file. A pseudonym of one of Polar's ids is a UUID too; the others begin with `erased-`.
    """

    def __init__(self, salt: str, organization_id: str, person: Person) -> None:
        self._salt = salt
        self._organization_id = organization_id
        self._person = person
        self.erased_event_ids: set[str] = set()
        long = sorted((text for text in person.ids if len(text) >= _FOUND_WITHIN), key=len, reverse=True)
        self._long_ids = re.compile("|".join(map(re.escape, long)), re.IGNORECASE) if long else None

    def of(self, id_kind: str, text: str) -> str:
        """Return the pseudonym of an id in a record of the person; ids of others stay."""
        person = self._person
        if id_kind == "customer":
            is_theirs = not person.is_member and _as_known(id_kind, text) in person.customer_ids
        elif id_kind == "external_customer":
            is_theirs = not person.is_member and text in person.external_customer_ids
        else:
            # Whoever uses the account of a customer goes with it.
            is_theirs = (
                not person.is_member or _as_known(id_kind, text) in person.member_ids | person.external_member_ids
            )
        return self._made(id_kind, text) if is_theirs else text

    def of_event(self, external_id: str) -> str:
        """Return what an event of the person is called instead of its external id."""
        self.erased_event_ids.add(external_id)
        return self._made("event", external_id)

    def of_parent(self, reference: str) -> str:
        """Return a reference to an event: by an external id as that is called now; Polar's own ids stay."""
        if _UUID.fullmatch(reference) and reference not in self.erased_event_ids:
            return reference
        return self._made("event", reference)

    def in_text(self, text: str) -> str:
        """Return a text in which the person's ids are replaced, but for short ones, which might mean anything."""
        if self._long_ids is None:
            return text
        return self._long_ids.sub(lambda found: self._made("text", found.group().lower()), text)

    def _made(self, id_kind: str, text: str) -> str:
        text = _as_known(id_kind, text)
        digits = salted_hash(self._salt, self._organization_id, f"{id_kind} pseudonym", text)
        if id_kind in ("customer", "member"):
            return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"
        return f"erased-{digits[:24]}"


def salted_hash(salt: str, organization_id: str, id_kind: str, text: str) -> str:
    """Return the SHA-256 of an id, in hexadecimal, that nobody can look up without the salt."""
    return hashlib.sha256(chr(31).join((salt, organization_id, id_kind, text)).encode()).hexdigest()


class Named(msgspec.Struct, frozen=True):
    """The ids of people in one record."""

    customer_ids: frozenset[str]
    external_customer_ids: frozenset[str]
    member_ids: frozenset[str]
    external_member_ids: frozenset[str]

    def is_of(self, person: Person) -> bool:
        is_customers = bool(
            self.customer_ids & person.customer_ids or self.external_customer_ids & person.external_customer_ids
        )
        if not person.is_member:
            return is_customers
        return bool(
            self.member_ids & person.member_ids
            or (is_customers and self.external_member_ids & person.external_member_ids)
        )


class ErasedIds:
    """What must not land again: salted hashes of ids."""

    def __init__(self, salt: str, hashes: frozenset[str]) -> None:
        self._salt = salt
        self._hashes = hashes

    def are_in(self, organization_id: str, named: Named) -> bool:
        """Tell whether a record that names these people is of an erased one."""
        owners = (*named.customer_ids, *named.external_customer_ids)
        kinds = (
            ("customer", named.customer_ids),
            ("external_customer", named.external_customer_ids),
            ("member", named.member_ids),
            ("external_member", [owner + chr(31) + text for owner in owners for text in named.external_member_ids]),
        )
        return any(
            salted_hash(self._salt, organization_id, id_kind, text) in self._hashes
            for id_kind, ids in kinds
            for text in ids
        )

    def are_quoted_in(self, organization_id: str | None, raw: bytes) -> bool:
        """Tell whether a record that was refused holds an erased customer's id as one of its texts."""
        texts = {match[1:-1].decode("utf-8", "replace") for match in STRING.findall(raw)}
        return organization_id is not None and any(
            salted_hash(self._salt, organization_id, "customer", text.lower()) in self._hashes
            or salted_hash(self._salt, organization_id, "external_customer", text) in self._hashes
            for text in texts
        )


def blocking_hashes(salt: str, organization_id: str, person: Person) -> list[str]:
    """Return what `ErasedIds` knows a person by: a customer by each id, a member by theirs under each of those."""

    def hashed(id_kind: str, text: str) -> str:
        return salted_hash(salt, organization_id, id_kind, text)

    if not person.is_member:
        return [
            *(hashed("customer", text) for text in person.customer_ids),
            *(hashed("external_customer", text) for text in person.external_customer_ids),
        ]
    owners = person.customer_ids | person.external_customer_ids
    return [
        *(hashed("member", text) for text in person.member_ids),
        *(hashed("external_member", owner + chr(31) + text) for owner in owners for text in person.external_member_ids),
    ]


def people_named(record: Any, kind: str) -> Named:
    """Return the ids of people in a record of `kind` (events, customers, ...; member for a member's webhook)."""
    found: dict[str, set[str]] = {id_kind: set() for ids in _PEOPLE.values() for id_kind in ids}
    for id_kind, text in _ids(record, kind):
        found[id_kind].add(_as_known(id_kind, text))
    return Named(*(frozenset(ids) for ids in found.values()))


def _as_known(id_kind: str, text: str) -> str:
    """Polar writes its ids in lower case, whatever a merchant sends."""
    return text.lower() if id_kind in ("customer", "member") else text


def owned_kind(kind: str, webhook_type: str | None) -> str:
    """Return the kind by which `people_named` knows an object whose own id is a person's, else its kind."""
    if kind == "webhooks" and webhook_type is not None:
        return {"member": "members", "customer": "customers"}.get(webhook_type.partition(".")[0], kind)
    return kind


def _ids(record: Any, kind: str) -> Iterator[tuple[str, str]]:
    if not isinstance(record, dict):
        return
    own = _PERSON_OF_KIND.get(kind)
    if own is not None:
        yield from _ids_of_person(record, own)
    for field, value in record.items():
        if field in _ID_KINDS and isinstance(value, str):
            yield _ID_KINDS[field], value
        elif field in _PEOPLE:
            yield from _ids_of_person(value, field)
    # Only Polar's own events name people in their metadata; a merchant's may hold a key of that name.
    if kind == "events" and record.get("source") == "system":
        yield from _ids(record.get("metadata"), "")


def _ids_of_person(value: Any, person: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for field, id_kind in zip(("id", "external_id"), _PEOPLE[person], strict=True):
            if isinstance(value.get(field), str):
                yield id_kind, value[field]


def erase_event(payload: str, pseudonyms: Pseudonyms, kept_properties: frozenset[str]) -> str:
    """Return what stays of an event; `kept_properties` are the paths of metadata that meters read, with dots."""
    event = decode_exactly(payload)
    kept: dict[str, Any] = {field: event[field] for field in _EVENT_FIELDS if field in event}
    for field, id_kind in _ID_KINDS.items():
        if field in event:
            kept[field] = _replaced(event[field], id_kind, pseudonyms)
    if isinstance(event.get("external_id"), str):
        kept["external_id"] = pseudonyms.of_event(event["external_id"])
    if isinstance(event.get("parent_id"), str):
        kept["parent_id"] = pseudonyms.of_parent(event["parent_id"])
    for person in _PEOPLE:
        if person in event:
            kept[person] = _erased_person(event[person], person, pseudonyms)
    metadata = event.get("metadata")
    if event.get("source") == "system":
        kept["metadata"] = _erased_object(metadata, pseudonyms) if isinstance(metadata, dict) else {}
    elif isinstance(metadata, dict):
        kept["metadata"] = _kept_metadata(metadata, kept_properties)
    return write_json(_without_ids(kept, pseudonyms))


def rename_parent(payload: str, pseudonyms: Pseudonyms) -> str:
    """Return another customer's event with its parent, an event of the person, as that is called now."""
    event = decode_exactly(payload)
    return write_json({**event, "parent_id": pseudonyms.of_parent(event["parent_id"])})


def erase_resource(payload: str, kind: str, pseudonyms: Pseudonyms) -> str:
    """Return what stays of one of Polar's objects; `kind` as in `people_named`."""
    record = decode_exactly(payload)
    person = _PERSON_OF_KIND.get(kind)
    if person is not None:
        kept = _erased_person(record, person, pseudonyms) or {}
        others = {field: value for field, value in record.items() if field in _ID_KINDS}
        kept = {**kept, **_erased_object(others, pseudonyms)}
    else:
        kept = _erased_object(record, pseudonyms)
    return write_json(_without_ids(kept, pseudonyms))


def _erased_object(record: dict[str, Any], pseudonyms: Pseudonyms) -> dict[str, Any]:
    kept = {}
    for field, value in record.items():
        if field in _ID_KINDS:
            kept[field] = _replaced(value, _ID_KINDS[field], pseudonyms)
        elif field in _PEOPLE:
            kept[field] = _erased_person(value, field, pseudonyms)
        elif field in _CATALOG:
            kept[field] = value
        elif field in _DROPPED or field == "name":
            continue
        elif isinstance(value, dict):
            kept[field] = _erased_object(value, pseudonyms)
        elif isinstance(value, list):
            kept[field] = [_erased_object(item, pseudonyms) for item in value if isinstance(item, dict)]
        elif not isinstance(value, str) or _KEPT_TEXT.search(field):
            kept[field] = value
    return kept


def _erased_person(value: Any, person: str, pseudonyms: Pseudonyms) -> Any:
    if not isinstance(value, dict):
        return None
    kept: dict[str, Any] = {}
    for field, id_kind in zip(("id", "external_id"), _PEOPLE[person], strict=True):
        if field in value:
            kept[field] = _replaced(value[field], id_kind, pseudonyms)
    return {**kept, **{field: value[field] for field in _PERSON_FIELDS if field in value}}


def _replaced(value: Any, id_kind: str, pseudonyms: Pseudonyms) -> Any:
    return pseudonyms.of(id_kind, value) if isinstance(value, str) else value


def _kept_metadata(metadata: dict[str, Any], kept_properties: frozenset[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    cost, llm = metadata.get("_cost"), metadata.get("_llm")
    if isinstance(cost, dict):
        kept["_cost"] = {field: cost[field] for field in ("amount", "currency") if field in cost}
    if isinstance(llm, dict):
        kept["_llm"] = {field: llm[field] for field in _TOKEN_COUNTS if field in llm}
    for path in sorted(kept_properties):
        _keep_path(metadata, path.split("."), kept)
    return kept


def _keep_path(source: dict[str, Any], path: list[str], kept: dict[str, Any]) -> None:
    """Copy the one value at a path, and the objects around it."""
    field, *rest = path
    if field not in source:
        return
    if not rest:
        kept[field] = source[field]
    elif isinstance(source[field], dict):
        inner = kept.setdefault(field, {})
        if isinstance(inner, dict):
            _keep_path(source[field], rest, inner)


def write_json(value: Any) -> str:
    """Return a decoded value as JSON, numbers with every digit they had."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(field)}:{write_json(item)}" for field, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write_json, value)) + "]"
    return _text(value)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _without_ids(value: Any, pseudonyms: Pseudonyms) -> Any:
    """Return a decoded value in which no text is, or holds, an id of the person."""
    if isinstance(value, str):
        return pseudonyms.in_text(value)
    if isinstance(value, dict):
        return {pseudonyms.in_text(field): _without_ids(item, pseudonyms) for field, item in value.items()}
    if isinstance(value, list):
        return [_without_ids(item, pseudonyms) for item in value]
    return value


class Redaction:
    """Paths of fields that are taken out of records before they are stored (`metadata._llm.prompt`)."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = [path.split(".") for path in paths]
        self._last_fields = [path[-1].encode() for path in self._paths]

    def names(self, field: str | None) -> bool:
        """Tell whether a field, by its path, is one of the paths or lies below one."""
        path = field.split(".") if field else []
        return any(path[: len(named)] == named for named in self._paths)

    def may_touch(self, raw: bytes) -> bool:
        """Tell whether a record may hold one of the fields: quickly, and true where in doubt."""
        return b"\\u" in raw or any(field in raw for field in self._last_fields)

    def of(self, payload: str) -> str | None:
        """Return a valid record's text without the fields; None where it has none of them."""
        record = decode_exactly(payload)
        found = [self._is_removed(record, path) for path in self._paths]
        return write_json(record) if any(found) else None

    def _is_removed(self, value: Any, path: list[str]) -> bool:
        field, *rest = path
        if isinstance(value, list):
            removed = [self._is_removed(item, path) for item in value]
            return any(removed)
        if not isinstance(value, dict) or field not in value:
            return False
        if rest:
            return self._is_removed(value[field], rest)
        del value[field]
        return True
