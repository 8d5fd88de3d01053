"""Wide relations of usage events: what their tables and columns are called, and the SQL that fills them.

Pure rules, no database: a macro hands over what there is (names given so far, the properties that events carry) and
executes the script that comes back. Event names and keys are any text. They become SQL here only, as quoted
identifiers made of `[a-z0-9_]` and as quoted literals.

A name that was given once stays: it is stored in raw, and names are claimed only for what has none. The plain name goes
to the property that is spelled so, then to the more frequent one; whoever meets a taken name gets 8 digits of a hash of
the property's place added, which depend on nothing else.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable

import msgspec

from loaders.warehouse import quote_identifier, quote_literal

__all__ = ["Column", "Node", "State", "Target", "claim_columns", "claim_relations", "script", "slug"]

KEY = "usage_event_key"
OTHER = "other_properties"
# Views over all relations, for the tests that compare them with usage.
_WIDE_EVENTS, _WIDE_VALUES = "raw.wide_events", "raw.wide_values"
# With an underscore before digits, the longest type and 8 digits of a hash: 63, which every database takes.
_SLUG_LENGTH = 45
_HASH_LENGTH = 8

_DATA_TYPES = {
    "string": "VARCHAR",
    "number": "DECIMAL(38,12)",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "json": "VARCHAR",
}
_TYPE_ORDER = {value_type: order for order, value_type in enumerate(_DATA_TYPES)}

# Endings that promise a type in every published table, and the one type of a property that keeps the promise.
_PROMISES: tuple[tuple[re.Pattern[str], str | None], ...] = (
    (re.compile(r"_at$"), None),
    (re.compile(r"_(date|month)$"), None),
    (re.compile(r"(^|_)amount$"), "number"),
    (re.compile(r"(_key|^organization_id)$"), "string"),
)


class Node(msgspec.Struct, frozen=True):
    """What events of one name hold at one place: a value of a type, or `object` where the place has keys below it.

    `double` says that some of the numbers there do not fit DECIMAL(38,12) exactly.
    """

    event_name: str
    pointer: str
    property_path: str
    value_type: str
    event_count: int


class Column(msgspec.Struct, frozen=True):
    """The column that holds the values of one type at one place, for good."""

    relation_name: str
    position: int
    column_name: str
    pointer: str
    property_path: str
    value_type: str


class Relation(msgspec.Struct, frozen=True):
    """A relation's name, for good, and the last load it was written through (none: not written now)."""

    relation_name: str
    event_name: str
    through_load_id: int | None


class Target(msgspec.Struct, frozen=True):
    """An event name that is to have a relation, made anew or only with the changed events."""

    event_name: str
    event_count: int
    is_anew: bool


class State(msgspec.Struct, frozen=True):
    """All that a script depends on. `events`, `batch` and `changed` are relations as SQL text.

    Relations made anew are filled from `events`, others from `batch`, the events there now among those that `changed`
    names; `first_changed_load_id` is the lowest load among these.
    """

    schema: str
    events: str
    last_load_id: int
    column_limit: int
    batch: str | None = None
    changed: str | None = None
    first_changed_load_id: int | None = None
    keywords: list[str] = []
    tables: list[str] = []
    targets: list[Target] = []
    relations: list[Relation] = []
    columns: list[Column] = []
    nodes: list[Node] = []


def script(state_text: str) -> str:
    """Return the statements that bring names, tables, comments and rows up to date, as one SQL script."""
    state = msgspec.json.decode(state_text, type=State)
    given = {relation.event_name: relation.relation_name for relation in state.relations}
    claimed = claim_relations(state.relations, state.targets, state.tables)
    nodes: dict[str, list[Node]] = {target.event_name: [] for target in state.targets}
    for node in state.nodes:
        nodes[node.event_name].append(node)
    statements = [
        f"insert into raw.wide_relations values ({quote_literal(relation)}, {quote_literal(event)}, null)"  # noqa: S608
        for event, relation in claimed.items()
    ]
    columns: dict[str, list[Column]] = {}
    for target in state.targets:
        relation_name = (given | claimed)[target.event_name]
        stored = [column for column in state.columns if column.relation_name == relation_name]
        new = claim_columns(relation_name, stored, nodes[target.event_name], state.column_limit, state.keywords)
        statements += _keep(new)
        statements += _write(state, target, relation_name, stored, new, nodes[target.event_name])
        statements += _record(state, target, relation_name)
        columns[relation_name] = [*stored, *new]
    statements += _settle(state, list(columns))
    statements += _views(state, columns)
    return "".join(f"{statement};\n" for statement in statements)


# Names


def slug(text: str) -> str:
    """Return `text` in lower case with `_` for all that is no letter, digit or underscore; accents are dropped.

    >>> slug("Größe (cm)")
    'grosse_cm'
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    words = re.sub(r"[^a-z0-9_]+", " ", plain).strip().replace(" ", "_")
    return words if words.strip("_") else ""


def claim_relations(given: Iterable[Relation], targets: Iterable[Target], tables: Iterable[str]) -> dict[str, str]:
    """Return the name of each target's relation that has none yet. No table's name is taken twice."""
    given = list(given)
    names = {relation.event_name for relation in given}
    taken = {relation.relation_name for relation in given} | set(tables)
    claims = [target for target in targets if target.event_name not in names]
    claimed: dict[str, str] = {}
    for target in sorted(claims, key=lambda it: (slug(it.event_name) != it.event_name, -it.event_count, it.event_name)):
        base = slug(target.event_name)
        is_whole = bool(base) and len(base) <= _SLUG_LENGTH
        claimed[target.event_name] = _free_name(
            f"wide_{base[:_SLUG_LENGTH] or 'event'}", target.event_name, is_whole, taken
        )
    return claimed


def claim_columns(
    relation_name: str, given: Iterable[Column], nodes: Iterable[Node], limit: int, keywords: Iterable[str]
) -> list[Column]:
    """Return the columns that `nodes` need beside those given, in order of their positions.

    A place's first type takes the plain name, any further type has it added. A name that promises another type (`_at`,
    `_amount`) or is a keyword of SQL is never given as it is. Beyond `limit` columns, values go to `other_properties`.
    """
    given = list(given)
    reserved = set(keywords)
    taken = {column.column_name for column in given} | {KEY, OTHER}
    places = {column.pointer for column in given}
    known = {(column.pointer, column.value_type) for column in given}
    own_count = sum(column.column_name != OTHER for column in given)
    claims = [node for node in nodes if node.value_type != "object" and (node.pointer, node.value_type) not in known]
    names: dict[Node, str] = {}
    for node in sorted(claims, key=_precedence):
        if len(names) >= limit - own_count:
            names[node] = OTHER
            continue
        is_second = node.pointer in places or node.value_type == "double"
        names[node] = _column_name(node, is_second, reserved, taken)
        places.add(node.pointer)
    return _positioned(relation_name, given, names)


def _precedence(node: Node) -> tuple[bool, bool, int, str, str, int]:
    is_spelled_so = slug(node.property_path) == node.property_path
    order = _TYPE_ORDER[node.value_type]
    return node.value_type == "double", not is_spelled_so, -node.event_count, node.property_path, node.pointer, order


def _column_name(node: Node, is_second: bool, reserved: set[str], taken: set[str]) -> str:
    base = slug(node.property_path)
    is_whole = bool(base) and len(base) <= _SLUG_LENGTH
    name = base[:_SLUG_LENGTH] or "property"
    if name[0].isdigit():
        name = f"_{name}"
    if is_second or any(ending.search(name) and node.value_type != kept for ending, kept in _PROMISES):
        name = f"{name}_{node.value_type}"
    elif name in reserved:
        name = f"{name}_"
    return _free_name(name, node.pointer, is_whole, taken)


def _free_name(name: str, place: str, is_whole: bool, taken: set[str]) -> str:
    """Return `name` where it says all and is free, else with digits of a hash of the place; and take it."""
    digits = hashlib.sha256(place.encode()).hexdigest()
    candidate, length = name, _HASH_LENGTH
    if not is_whole:
        candidate = f"{name}_{digits[:length]}"
    while candidate in taken:
        candidate = f"{name}_{digits[:length]}"
        length += 1
    taken.add(candidate)
    return candidate


def _positioned(relation_name: str, given: list[Column], names: dict[Node, str]) -> list[Column]:
    """Return the columns by place, after those given, plain names first; `other_properties` has one position."""
    last = max((column.position for column in given), default=0)
    places = {column.column_name: column.position for column in given if column.column_name == OTHER}
    columns = []
    # Sorting keeps the order of the claims within a place.
    for node, name in sorted(names.items(), key=lambda it: (it[1] == OTHER, it[0].property_path, it[0].pointer)):
        position = places.setdefault(name, last + 1)
        last = max(last, position)
        columns.append(Column(relation_name, position, name, node.pointer, node.property_path, node.value_type))
    return columns


# Statements


def _keep(columns: list[Column]) -> list[str]:
    rows = [
        f"({quote_literal(column.relation_name)}, {column.position}, {quote_literal(column.column_name)}, "
        f"{quote_literal(column.pointer)}, {quote_literal(column.property_path)}, {quote_literal(column.value_type)})"
        for column in columns
    ]
    return [f"insert into raw.wide_columns values {', '.join(rows)}"] if rows else []  # noqa: S608


def _settle(state: State, written: list[str]) -> list[str]:
    """Drop what is no longer wanted and store through which load the others are written; their names stay given."""
    dropped = [relation.relation_name for relation in state.relations if relation.relation_name not in written]
    statements = [f"drop table if exists {_table(state, name)}" for name in dropped]
    if written or dropped:
        is_written = f"list_contains([{_literals(written)}], relation_name)"
        through = f"case when {is_written} then {state.last_load_id} end"
        statements.append(f"update raw.wide_relations set through_load_id = {through}")  # noqa: S608
    return statements


def _views(state: State, columns: dict[str, list[Column]]) -> list[str]:
    """Let tests ask all relations at once: which events they hold, and how many have each property that has columns.

    A property of several types has several columns. Lists and what is in `other_properties` are counted nowhere else.
    """
    events = [f"select null as relation_name, null as {KEY} where false"]
    values = ["select null as relation_name, null as property_path, 0 as event_count where false"]
    for name, all_columns in columns.items():
        table, relation_name = _table(state, name), quote_literal(name)
        events.append(f"select {relation_name}, {KEY} from {table}")  # noqa: S608
        paths: dict[str, list[str]] = {}
        for column in all_columns:
            if column.value_type != "json":
                paths.setdefault(column.property_path, []).append(column.column_name)
        for path, names in paths.items():
            if OTHER not in names:
                is_there = " or ".join(f"{quote_identifier(it)} is not null" for it in names)
                count = f"count(*) filter (where {is_there})"
                values.append(f"select {relation_name}, {quote_literal(path)}, {count} from {table}")  # noqa: S608
    return [
        f"create or replace view {view} as {' union all '.join(parts)}"
        for view, parts in ((_WIDE_EVENTS, events), (_WIDE_VALUES, values))
    ]


def _write(
    state: State, target: Target, relation_name: str, given: list[Column], new: list[Column], nodes: list[Node]
) -> list[str]:
    table = _table(state, relation_name)
    columns = _physical([*given, *new])
    if target.is_anew:
        listed = ", ".join([f"{KEY} UUID", *(f"{quote_identifier(c.column_name)} {_data_type(c)}" for c in columns)])
        statements = [f"create or replace table {table} ({listed})", *_comments_on_table(table, target.event_name)]
        missing, source = columns, state.events
    else:
        there = {column.column_name for column in given}
        missing, source = [column for column in columns if column.column_name not in there], state.batch or state.events
        statements = [
            f"alter table {table} add column {quote_identifier(c.column_name)} {_data_type(c)}" for c in missing
        ]
        statements += _forget_changed(state, relation_name, table)
    statements += [_comment_on_column(table, column) for column in missing]
    return [*statements, _insert(table, source, target.event_name, [*given, *new], nodes)]


def _physical(columns: list[Column]) -> list[Column]:
    """One for each column that the table has, in the order in which they were given."""
    return list({column.column_name: column for column in sorted(columns, key=lambda it: it.position)}.values())


def _forget_changed(state: State, relation_name: str, table: str) -> list[str]:
    """Delete the changed events' rows. Events of loads that came after the last write have none: no search for them."""
    through = next((it.through_load_id for it in state.relations if it.relation_name == relation_name), None)
    if through is None or state.first_changed_load_id is None or state.first_changed_load_id > through:
        return []
    earlier = f"select {KEY} from {state.changed} where load_id <= {through}"  # noqa: S608
    return [f"delete from {table} where {KEY} in ({earlier})"]  # noqa: S608


def _record(state: State, target: Target, relation_name: str) -> list[str]:
    """Say what the build did to the relation, as `record_change` does for models: see raw.model_changes."""
    build, name = "(select max(build_id) from raw.builds)", quote_literal(relation_name)
    statements = [
        f"delete from raw.model_changes where model = {name} and build_id = {build}",  # noqa: S608
        f"insert into raw.model_changes values ({build}, {name}, {str(target.is_anew).lower()})",  # noqa: S608
    ]
    changes = f"changes.{quote_identifier(relation_name)}"
    if target.is_anew:
        return [*statements, f"drop table if exists {changes}"]
    # What is gone has no event name any more: such a key is in no other relation either.
    named = f"select {KEY} from {state.batch} where event_name != {quote_literal(target.event_name)}"  # noqa: S608
    return [
        *statements,
        f"create table if not exists {changes} (build_id bigint, {KEY} uuid)",
        f"delete from {changes} where build_id = {build} or build_id < {build} - 100",  # noqa: S608
        f"insert into {changes} select distinct {build}, {KEY} from {state.changed} where {KEY} not in ({named})",  # noqa: S608
    ]


def _insert(table: str, source: str, event_name: str, columns: list[Column], nodes: list[Node]) -> str:
    """Return the insert that reads each event's metadata once, for the places that these events have."""
    here = _Here(nodes)
    targets, expressions = [], []
    for column in columns:
        if column.column_name != OTHER and here.has(column.pointer, column.value_type):
            targets.append(quote_identifier(column.column_name))
            expressions.append(here.expression(column.pointer, column.value_type))
    others: dict[str, list[str]] = {}
    for column in columns:
        if (
            column.column_name == OTHER
            and column.value_type != "double"
            and here.has(column.pointer, column.value_type)
        ):
            others.setdefault(column.pointer, []).append(column.value_type)
    if others:
        targets.append(OTHER)
        expressions.append(here.object_of(others))
    return (
        f"insert into {table} ({', '.join([KEY, *targets])}) "  # noqa: S608
        f"select {', '.join([KEY, *expressions])} from "
        f"(select {', '.join([KEY, *here.extracts()])} from {source} where event_name = {quote_literal(event_name)})"
    )


class _Here:
    """What the events of one insert hold, and how each place is read from them.

    One list of places is extracted for texts and one for types, so that the JSON is parsed once for each list, however
    many the columns. Types are read only where these events have several at a place.
    """

    _TYPES: dict[str, Callable[[str, str], str]] = {  # noqa: RUF012
        "string": lambda kind, _: f"{kind} = 'VARCHAR'",
        "number": lambda kind, _: f"{kind} in ('UBIGINT', 'BIGINT', 'UHUGEINT', 'HUGEINT', 'DOUBLE')",
        "boolean": lambda kind, _: f"{kind} = 'BOOLEAN'",
        "json": lambda kind, text: f"({kind} = 'ARRAY' or ({kind} = 'OBJECT' and {text} = '{{}}'))",
    }

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._kinds: dict[str, set[str]] = {}
        for node in nodes:
            self._kinds.setdefault(node.pointer, set()).add(node.value_type)
        self._texts: dict[str, int] = {}
        self._types: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._jsons: dict[str, int] = {}

    def has(self, pointer: str, value_type: str) -> bool:
        return value_type in self._kinds.get(pointer, ())

    def expression(self, pointer: str, value_type: str) -> str:
        text = f"texts[{_index(self._texts, pointer)}]"
        value = text
        if value_type in ("number", "double"):
            number = f"numbers[{_index(self._numbers, pointer)}]"
            if value_type == "number":
                value = f"coalesce(try_cast({number} as decimal(38, 12)), try_cast({text} as decimal(38, 12)))"
            else:
                value = f"case when exact_numbers is not null and {number} is null then try_cast({text} as double) end"
        elif value_type == "boolean":
            value = f"try_cast({text} as boolean)"
        conditions = self._conditions(pointer, [value_type], text)
        return f"case when {' and '.join(conditions)} then {value} end" if conditions else value

    def object_of(self, pointers: dict[str, list[str]]) -> str:
        """Return an object from pointer to value. A patch leaves out the members that are null."""
        members = []
        for pointer, value_types in pointers.items():
            text = f"texts[{_index(self._texts, pointer)}]"
            value = f"jsons[{_index(self._jsons, pointer)}]"
            conditions = self._conditions(pointer, value_types, text)
            value = f"case when {' and '.join(conditions)} then {value} end" if conditions else value
            members.append(f"{quote_literal(pointer)}, {value}")
        return f"nullif(cast(json_merge_patch('{{}}', json_object({', '.join(members)})) as varchar), '{{}}')"

    def extracts(self) -> list[str]:
        """Return the lists that the expressions asked for so far read from."""
        lists = [
            ("json_extract_string(metadata, [{}]) as texts", self._texts),
            ("json_type(metadata, [{}]) as types", self._types),
            ("json_extract(metadata, [{}]) as jsons", self._jsons),
        ]
        extracts = [form.format(_literals(pointers)) for form, pointers in lists if pointers]
        if self._numbers:
            # The exact numbers of an event are one object whose keys are pointers.
            keys = _literals(f"/{_escaped(pointer)}" for pointer in self._numbers)
            extracts += ["exact_numbers", f"json_extract_string(exact_numbers, [{keys}]) as numbers"]
        return extracts

    def _conditions(self, pointer: str, value_types: list[str], text: str) -> list[str]:
        conditions = []
        kinds = self._kinds[pointer] - {"double"}
        wanted = {"number" if value_type == "double" else value_type for value_type in value_types}
        if kinds != wanted:
            kind = f"types[{_index(self._types, pointer)}]"
            conditions.append("(" + " or ".join(self._TYPES[it](kind, text) for it in sorted(wanted)) + ")")
        # Digits in a pointer are a key of an object and an item of a list: here, they are a key.
        keys = pointer.split("/")
        for depth in range(2, len(keys)):
            above = "/".join(keys[:depth])
            if keys[depth].isdigit() and "json" in self._kinds.get(above, ()):
                conditions.append(f"types[{_index(self._types, above)}] = 'OBJECT'")
        return conditions


def _index(places: dict[str, int], pointer: str) -> int:
    return places.setdefault(pointer, len(places) + 1)


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _literals(texts: Iterable[str]) -> str:
    return ", ".join(quote_literal(text) for text in texts)


def _table(state: State, relation_name: str) -> str:
    return f"{quote_identifier(state.schema)}.{quote_identifier(relation_name)}"


def _data_type(column: Column) -> str:
    return "VARCHAR" if column.column_name == OTHER else _DATA_TYPES[column.value_type]


def _comments_on_table(table: str, event_name: str) -> list[str]:
    text = (
        f"One row per usage event named {_shown(event_name)}, one column per property of its metadata. Join "
        "usage_events by usage_event_key for the rest; metadata_columns says which property each column holds."
    )
    key = "The event, as in usage_events."
    return [f"comment on table {table} is {quote_literal(text)}", f"comment on column {table}.{KEY} is '{key}'"]


def _comment_on_column(table: str, column: Column) -> str:
    meanings = {
        "string": "where it is text.",
        "number": "where it is a number: exact, or rounded to 12 decimals where the column of type double has it too.",
        "double": "where it is a number that 26 digits before and 12 behind the point do not hold exactly.",
        "boolean": "where it is true or false.",
        "json": "where it is a list or an empty object, as JSON text; its fractions are doubles.",
    }
    text = f"Property {_shown(column.property_path)}, {meanings[column.value_type]}"
    if column.column_name == OTHER:
        text = "Properties beyond the relation's column limit: an object from JSON pointer to value, as JSON text."
    return f"comment on column {table}.{quote_identifier(column.column_name)} is {quote_literal(text)}"


def _shown(text: str) -> str:
    return f"`{text}`" if text else "that is empty"
