"""Erasing a customer, or one member of a customer: everywhere, for good, and with every total as it was.

The work file is written anew without the person's data, because a DuckDB file keeps what was overwritten in its free
blocks. Everything that was derived from it (models, dbt's target and log, the published file) holds copies: the caller
builds and publishes anew, in a process that has not read what this one reads (see loaders/file_writer.py). Salted
hashes of the ids stay, so that the same records cannot land again.
"""

import csv
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from loaders import records
from loaders.errors import DataError
from loaders.file_writer import INCOMING, FileWriter
from loaders.metering import filter_properties, property_path
from loaders.project import PROJECT_FOLDER
from loaders.warehouse import Home, locked, open_rewritten, open_work_file

_BATCH = 20_000
_EVENT_TABLES = ("events", "event_rereads", "conflicts")
# What models and publishes leave behind about rows that are gone.
_DERIVED = frozenset({"builds", "increments", "model_changes", "publications"})
# Rows are copied in the order they landed in, some loads at a time: sorted all at once they would fill the disk.
_ROWS_AT_ONCE = 2_000_000

_IDS = """{
    "id": "VARCHAR", "external_id": "VARCHAR", "source": "VARCHAR", "parent_id": "VARCHAR",
    "customer_id": "VARCHAR", "external_customer_id": "VARCHAR", "member_id": "VARCHAR",
    "external_member_id": "VARCHAR", "customer": {"id": "VARCHAR", "external_id": "VARCHAR"},
    "member": {"id": "VARCHAR", "external_id": "VARCHAR"},
    "metadata": {"customer_id": "VARCHAR", "customer_external_id": "VARCHAR", "member_id": "VARCHAR"}
}""".replace("\n", " ")
_ALL_IDS = """[
    ids.id, ids.external_id, ids.customer_id, ids.external_customer_id, ids.member_id, ids.external_member_id,
    ids.customer.id, ids.customer.external_id, ids.member.id, ids.member.external_id,
    ids.metadata.customer_id, ids.metadata.customer_external_id, ids.metadata.member_id
]"""
_NAMES_ONE = f"list_has_any(list_transform({_ALL_IDS}, lambda text: lower(text)), $ids)"
# Which external ids go with which of Polar's, wherever something says so.
_PAIRS = f"""
with sightings as (
    select from_json(payload, '{_IDS}') as ids, 'events' as kind
    from raw.events where organization_id = $organization_id
    union all
    select from_json(payload, '{_IDS}'), 'events' from raw.event_rereads where organization_id = $organization_id
    union all
    select from_json(payload, '{_IDS}'), case when webhook_type like 'customer.%' then 'customers' else kind end
    from raw.resources where organization_id = $organization_id
)
select distinct lower(customer_id), external_id
from (
    select ids.customer.id as customer_id, ids.customer.external_id as external_id from sightings
    union all
    select ids.customer_id, coalesce(ids.external_customer_id, ids.customer.external_id) from sightings
    union all
    select coalesce(ids.metadata.customer_id, ids.customer_id), ids.metadata.customer_external_id from sightings
    where ids.source = 'system'
    union all
    select ids.id, ids.external_id from sightings where kind = 'customers'
)
where customer_id is not null and external_id is not null
"""  # noqa: S608 - a structure of ours
_METERS = "select payload from raw.resources where kind = 'meters' and organization_id = ?"


@dataclass(frozen=True)
class Target:
    """Whom to erase: one of a customer's key, a customer's external id and a member's key, in one organization."""

    organization_id: str
    customer_key: str | None = None
    external_id: str | None = None
    member_key: str | None = None


@dataclass
class Erasure:
    """What an erasure did or, tried only, would do: rewritten rows by raw table, the ids by which the person went."""

    id_count: int
    rewritten: dict[str, int] = field(default_factory=dict)
    removed_files: list[str] = field(default_factory=list)

    @property
    def row_count(self) -> int:
        return sum(self.rewritten.values())


def erase(home: Home, target: Target, *, dry_run: bool = False, now: datetime | None = None) -> Erasure:
    """Take the target's personal data out of the home folder, but for the published file and what a build makes anew.

    Until the new work file is complete nothing is changed; a kill leaves the old one. Raises DataError where nobody of
    that name is known, HomeError where the disk stops it.
    """
    erased_at = (now or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
    with locked(home):
        with open_work_file(home) as connection:
            person = _find_person(connection, target)
            salt = _salt(connection)
            rewriting = _Rewriting(connection, target.organization_id, person, salt)
            erased = rewriting.run()
        result = Erasure(len(person.ids), {table: len(rows) for table, rows in erased.items() if rows})
        if dry_run:
            return result
        with open_rewritten(home) as writer:
            with open_work_file(home) as connection:
                _write_anew(connection, writer, erased, rewriting.pseudonyms)
            writer.execute("insert into raw.erasure_salt select ? where not exists (from raw.erasure_salt)", [salt])
            for found in records.blocking_hashes(salt, target.organization_id, person):
                writer.execute(
                    "insert into raw.erased_ids values (?, ?, ?::timestamp)",
                    [target.organization_id, found, str(erased_at)],
                )
        result.removed_files = _remove_copies(home, person)
    return result


def _find_person(connection: duckdb.DuckDBPyConnection, target: Target) -> records.Person:
    """Return all ids of the target. A customer has every id that some record ties to one of theirs."""
    if target.external_id is not None:
        customer_ids: set[str] = set()
        external_ids = {target.external_id}
    else:
        customer_ids, external_ids = _ids_of_key(connection, target)
    pairs = connection.execute(_PAIRS, {"organization_id": target.organization_id}).fetchall()
    found = 0
    while found != (found := len(customer_ids) + len(external_ids)):
        for customer_id, external_id in pairs:
            if customer_id in customer_ids or external_id in external_ids:
                customer_ids.add(customer_id)
                external_ids.add(external_id)
    member_ids, external_member_ids = _ids_of_member(connection, target) if target.member_key else (set(), set())
    return records.Person(
        customer_ids=frozenset(customer_ids),
        external_customer_ids=frozenset(external_ids),
        member_ids=frozenset(member_ids),
        external_member_ids=frozenset(external_member_ids),
    )


# Who a key is, from what models were made of: the published tables may have hashed ids.
_CUSTOMERS_IDS = """
select customer_id, external_customer_id from intermediate.int_customers_merged
where organization_id = $organization_id and customer_key = try_cast($key as uuid)
union
select customer_id, external_customer_id from intermediate.int_usage_summed_daily
where organization_id = $organization_id and customer_key = try_cast($key as uuid)
"""
_MEMBERS_IDS = """
select customer_key, member_id, external_member_id from intermediate.int_usage_summed_daily
where organization_id = $organization_id and member_key = try_cast($key as uuid)
"""


def _ids_of_key(connection: duckdb.DuckDBPyConnection, target: Target) -> tuple[set[str], set[str]]:
    what, key = ("member", target.member_key) if target.member_key else ("customer", target.customer_key)
    customer_key = key
    if target.member_key:
        members = _rows(connection, _MEMBERS_IDS, target.organization_id, target.member_key)
        customer_key = members[0][0] if members else None
    rows = _rows(connection, _CUSTOMERS_IDS, target.organization_id, customer_key)
    if not rows:
        raise DataError(
            f"{key}: no {what} of organization {target.organization_id} has this key. "
            f"Keys are in the table {what}s of the published file, column {what}_key."
        )
    return {row[0].lower() for row in rows if row[0]}, {row[1] for row in rows if row[1]}


def _ids_of_member(connection: duckdb.DuckDBPyConnection, target: Target) -> tuple[set[str], set[str]]:
    rows = _rows(connection, _MEMBERS_IDS, target.organization_id, target.member_key)
    return {row[1].lower() for row in rows if row[1]}, {row[2] for row in rows if row[2]}


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, organization_id: str, key: str | None) -> list[Any]:
    try:
        return connection.execute(sql, {"organization_id": organization_id, "key": key}).fetchall()
    except duckdb.CatalogException as error:
        raise DataError(
            "nothing is built yet, so keys are unknown. Run 'meterhouse build', or name an --external-id."
        ) from error


def _salt(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute("select salt from raw.erasure_salt").fetchone()
    return row[0] if row else secrets.token_hex(32)


# A row of a raw table by its place: load, file and record number.
_Place = tuple[int, int, int]


class _Rewriting:
    """Finds the rows that name a person and says what stays of each."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, organization_id: str, person: records.Person, salt: str
    ) -> None:
        self._connection = connection
        self._organization_id = organization_id
        self._person = person
        self._kept_properties = _metered_properties(connection, organization_id)
        self.pseudonyms = records.Pseudonyms(salt, organization_id, person)

    def run(self) -> dict[str, dict[_Place, str]]:
        """Return the new payload of each row by raw table. Raises DataError where no record names the person."""
        erased: dict[str, dict[_Place, str]] = {table: dict(self._erased_events(table)) for table in _EVENT_TABLES}
        erased["resources"] = dict(self._erased_resources())
        erased["quarantine"] = dict(self._erased_quarantine())
        if not any(erased.values()):
            raise DataError(
                f"no record of organization {self._organization_id} names this customer or member: nothing to erase. "
                "Check the id and the organization."
            )
        for table in _EVENT_TABLES:
            for place, payload in self._children(table):
                erased[table].setdefault(place, payload)
        return erased

    def _candidates(self, table: str, columns: str, condition: str, ids: frozenset[str] | set[str]) -> Iterator[Any]:
        """Yield rows whose payload holds one of the ids where ids are; for exactly which, Python decides."""
        cursor = self._connection.cursor().execute(
            f"""
            select load_id, file_number, record_number, payload, {columns}
            from (
                select *, from_json(payload, '{_IDS}') as ids from raw.{table} where organization_id = $organization_id
            )
            where {condition}
            """,  # noqa: S608 - names of ours
            {"organization_id": self._organization_id, "ids": sorted({text.lower() for text in ids})},
        )
        while rows := cursor.fetchmany(_BATCH):
            yield from rows

    def _named(self) -> frozenset[str]:
        person = self._person
        return person.customer_ids | person.external_customer_ids | person.member_ids

    def _erased_events(self, table: str) -> Iterator[tuple[_Place, str]]:
        for *place, payload, _ in self._candidates(table, "null", _NAMES_ONE, self._named()):
            if records.people_named(msgspec.json.decode(payload), "events").is_of(self._person):
                yield (*place,), records.erase_event(payload, self.pseudonyms, self._kept_properties)

    def _children(self, table: str) -> Iterator[tuple[_Place, str]]:
        """Yield other customers' events whose parent is an event of the person, called by its external id."""
        ids = self.pseudonyms.erased_event_ids
        if ids:
            condition = "list_contains($ids, lower(ids.parent_id))"
            for *place, payload, _ in self._candidates(table, "null", condition, ids):
                if msgspec.json.decode(payload).get("parent_id") in ids:
                    yield (*place,), records.rename_parent(payload, self.pseudonyms)

    def _erased_resources(self) -> Iterator[tuple[_Place, str]]:
        for *place, payload, kind, webhook_type in self._candidates(
            "resources", "kind, webhook_type", _NAMES_ONE, self._named()
        ):
            shape = records.owned_kind(kind, webhook_type)
            if records.people_named(msgspec.json.decode(payload), shape).is_of(self._person):
                yield (*place,), records.erase_resource(payload, shape, self.pseudonyms)

    def _erased_quarantine(self) -> Iterator[tuple[_Place, str]]:
        """Of a record that was refused nothing is counted, so nothing of it has to stay."""
        rows = self._connection.cursor().execute(
            """
            select load_id, file_number, record_number, payload from raw.quarantine
            where organization_id = ? or organization_id is null
            """,
            [self._organization_id],
        )
        while batch := rows.fetchmany(_BATCH):
            for *place, payload in batch:
                if self._is_named_in(payload):
                    yield (*place,), "{}"

    def _is_named_in(self, raw: bytes) -> bool:
        try:
            record = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            record = None
        if isinstance(record, dict):
            for part in (record, record.get("data")):
                if any(
                    records.people_named(part, kind).is_of(self._person) for kind in ("events", "customers", "members")
                ):
                    return True
        # What cannot be read may still hold an id.
        text = raw.decode("utf-8", "replace")
        return self.pseudonyms.in_text(text) != text


def _metered_properties(connection: duckdb.DuckDBPyConnection, organization_id: str) -> frozenset[str]:
    """Return the paths of metadata that any meter of the organization reads, landed or in the seed."""
    definitions = [
        (meter.get("filter"), (meter.get("aggregation") or {}).get("property"))
        for meter in (msgspec.json.decode(row[0]) for row in connection.execute(_METERS, [organization_id]).fetchall())
    ]
    with (PROJECT_FOLDER / "seeds" / "meters.csv").open(newline="", encoding="utf-8") as seed:
        for row in csv.DictReader(seed):
            if row["organization_id"] == organization_id:
                definitions.append((msgspec.json.decode(row["filter"] or "null"), row["aggregation_property"] or None))
    paths: set[str] = set()
    for clauses, aggregated in definitions:
        if clauses is not None:
            paths.update(filter_properties(msgspec.json.encode(clauses).decode()))
        if aggregated:
            paths.add(property_path(aggregated))
    return frozenset(paths - {"name", "source", "timestamp"})


def _write_anew(
    connection: duckdb.DuckDBPyConnection,
    writer: FileWriter,
    erased: dict[str, dict[_Place, str]],
    pseudonyms: records.Pseudonyms,
) -> None:
    """Send the raw tables with the new payloads, and without what only belongs to what was built.

    Each row is written once, as it is to stay: what an update replaces would remain in the new file too.
    """
    # Those of the new file: builds put more beside the old one's.
    tables = writer.execute(
        "select table_name from duckdb_tables() "
        "where database_name = current_database() and schema_name = 'raw' order by table_name"
    )
    for (table,) in tables:
        if table in _DERIVED:
            continue
        if table in erased:
            _send_payloads(connection, writer, table, erased[table], pseudonyms)
        elif table == "loads":
            _register_renames(connection, table, ("file_name", "error"), pseudonyms)
            renamed = f"{_renamed('file_name')}, {_renamed('error')}"
            loads = f"select old.* replace ({renamed}) from raw.loads as old order by all"  # noqa: S608
            _send(connection, writer, table, loads)
        elif table == "wide_columns":
            _send_wide_columns(connection, writer, pseudonyms)
        else:
            _send(connection, writer, table, f"from raw.{table}")


def _send(
    connection: duckdb.DuckDBPyConnection,
    writer: FileWriter,
    table: str,
    query: str,
    parameters: list[int] | None = None,
) -> None:
    writer.send(f"insert into raw.{table} by name from {INCOMING}", connection, query, parameters)


def _send_payloads(
    connection: duckdb.DuckDBPyConnection,
    writer: FileWriter,
    table: str,
    rows: dict[_Place, str],
    pseudonyms: records.Pseudonyms,
) -> None:
    new = ["coalesce(erased.payload, old.payload) as payload"]
    if table == "quarantine":
        new = [
            "case when erased.payload is null then old.payload else encode(erased.payload) end as payload",
            "case when erased.payload is null then old.field end as field",
            "case when erased.payload is null then old.message else 'Erased on request.' end as message",
            "case when erased.payload is null then old.found end as found",
            "case when erased.payload is null then old.sha256 else sha256(erased.payload) end as sha256",
        ]
    if table == "resources":
        _register_renames(connection, table, ("resource_id",), pseudonyms)
        new.append(_renamed("resource_id"))
    places = list(zip(*rows, strict=True)) or [(), (), ()]
    connection.register(
        "erased",
        pa.table(
            {
                "load_id": pa.array(places[0], pa.int64()),
                "file_number": pa.array(places[1], pa.int32()),
                "record_number": pa.array(places[2], pa.int64()),
                "payload": pa.array(list(rows.values()), pa.large_string()),
            }
        ),
    )
    loads = connection.execute(
        f"select load_id, count(*) from raw.{table} group by load_id order by load_id"  # noqa: S608
    ).fetchall()
    for first, last in _ranges(loads):
        _send(
            connection,
            writer,
            table,
            f"""
            select old.* replace ({", ".join(new)})
            from raw.{table} as old
            left join erased
                on old.load_id = erased.load_id
                and old.file_number = erased.file_number and old.record_number = erased.record_number
            where old.load_id between ? and ?
            order by old.load_id, old.file_number, old.record_number
            """,  # noqa: S608 - names of ours
            [first, last],
        )
    connection.unregister("erased")


def _renamed(column: str) -> str:
    """A column with the person's texts replaced, as SQL: see `_register_renames`."""
    return f"coalesce((select new_text from renames where old_text = old.{column}), old.{column}) as {column}"  # noqa: S608


def _register_renames(
    connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...], pseudonyms: records.Pseudonyms
) -> None:
    """Put columns' texts that name the person, and what they are to say, where SQL finds them: `renames`."""
    texts = {
        text
        for column in columns
        for (text,) in connection.execute(
            f"select distinct {column} from raw.{table} where {column} is not null"  # noqa: S608 - names of ours
        ).fetchall()
    }
    renames = {text: renamed for text in texts if (renamed := pseudonyms.in_text(text)) != text}
    connection.register(
        "renames",
        pa.table(
            {
                "old_text": pa.array(list(renames), pa.large_string()),
                "new_text": pa.array(list(renames.values()), pa.large_string()),
            }
        ),
    )


def _send_wide_columns(
    connection: duckdb.DuckDBPyConnection, writer: FileWriter, pseudonyms: records.Pseudonyms
) -> None:
    """Leave out columns named after the person: a property may be called by an id."""
    pointers = connection.execute("select distinct pointer from raw.wide_columns").fetchall()
    kept = pa.array([pointer for (pointer,) in pointers if pseudonyms.in_text(pointer) == pointer], pa.large_string())
    connection.register("kept", pa.table({"pointer": kept}))
    _send(connection, writer, "wide_columns", "from raw.wide_columns semi join kept using (pointer) order by all")
    connection.unregister("kept")


def _ranges(loads: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield first and last of some loads at a time, of about `_ROWS_AT_ONCE` rows."""
    first, count = None, 0
    for load_id, rows in loads:
        first = load_id if first is None else first
        count += rows
        if count >= _ROWS_AT_ONCE:
            yield first, load_id
            first, count = None, 0
    if first is not None:
        yield first, loads[-1][0]


def _remove_copies(home: Home, person: records.Person) -> list[str]:
    """Remove what may hold copies and is made anew: dbt's target and logs, temporary files, damaged deliveries."""
    for name in ("target", "logs", f"{home.work_file.name}.tmp"):
        shutil.rmtree(home.path / name, ignore_errors=True)
    removed = []
    for path in sorted((home.path / "webhooks").glob("*.damaged")):
        raw = path.read_bytes()
        if any(text.encode() in raw for text in person.ids):
            path.unlink()
            removed.append(str(Path("webhooks") / path.name))
    return removed
