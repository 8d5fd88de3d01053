"""What builds did to a model since the last publish, from what they recorded (see `raw.model_changes`)."""

from dataclasses import dataclass

import duckdb

from loaders.warehouse import quote_identifier

# A build that left no word about a model may have changed it all the same: it was killed, failed, or covered a part.
_UNTOLD_BUILDS = """
select count(*) from raw.builds as b
where b.build_id > $since and not exists (
    select 1 from raw.model_changes as c where c.build_id = b.build_id and c.model = $model
)
"""
_WHOLE_BUILDS = "select count(*) from raw.model_changes where build_id > $since and model = $model and is_whole"
_CHANGES_TABLES = """
select table_name from duckdb_tables() where database_name = current_database() and schema_name = 'changes'
"""
_KEYS = """
select column_name from duckdb_columns()
where database_name = current_database() and schema_name = 'changes' and table_name = ? and column_name != 'build_id'
order by column_index
"""


@dataclass(frozen=True)
class Changes:
    """What happened to a model: made anew, or else changed in the rows that match `relation` in the columns `keys`.

    Without keys nothing changed.
    """

    is_whole: bool
    keys: tuple[str, ...] = ()
    relation: str = ""


def changes_since(connection: duckdb.DuckDBPyConnection, model: str, columns: set[str], since: int) -> Changes | None:
    """Return what the builds after `since` did to a model; None where they do not tell, or not in its own columns.

    `relation` is a temporary table of this connection.
    """
    parameters: dict[str, int | str] = {"since": since, "model": model}
    if _number(connection, _WHOLE_BUILDS, parameters):
        return Changes(is_whole=True)
    if _number(connection, _UNTOLD_BUILDS, parameters):
        return None
    keys = tuple(name for (name,) in connection.execute(_KEYS, [model]).fetchall())
    if not columns.issuperset(keys):
        return None
    return _read_keys(connection, model, keys, since) if keys else Changes(is_whole=False)


def _read_keys(connection: duckdb.DuckDBPyConnection, model: str, keys: tuple[str, ...], since: int) -> Changes | None:
    names, relation = ", ".join(map(quote_identifier, keys)), f"temp.{quote_identifier('changed ' + model)}"
    connection.execute(
        f"create or replace temp table {relation} as select distinct {names} "  # noqa: S608
        f"from changes.{quote_identifier(model)} where build_id > ?",
        [since],
    )
    # A key that is not known matches nothing: it would leave out the rows it stands for.
    unknown = " or ".join(f"{quote_identifier(key)} is null" for key in keys)
    if _number(connection, f"select count(*) from {relation} where {unknown}"):  # noqa: S608
        return None
    has_rows = _number(connection, f"select count(*) from {relation}") > 0  # noqa: S608
    return Changes(is_whole=False, keys=keys if has_rows else (), relation=relation)


def changed_rows(table: str, changes: Changes, columns: str = "*") -> str:
    """SQL for the rows of a table that match, in these columns.

    A join on several columns leaves out row groups by the range of each column alone; the first one's values, which for
    a load_id are few and lie together, leave out all that do not hold one of them.
    """
    first, names = quote_identifier(changes.keys[0]), ", ".join(map(quote_identifier, changes.keys))
    sql = f"select {columns} from {table} semi join {changes.relation} using ({names})"  # noqa: S608
    if len(changes.keys) > 1:
        sql += f" where {first} in (select {first} from {changes.relation})"  # noqa: S608
    return sql


def forget_changes(connection: duckdb.DuckDBPyConnection, build_id: int) -> None:
    """Remove what was published, in the caller's transaction: a build's word without its rows would say 'no change'."""
    connection.execute("delete from raw.model_changes where build_id <= ?", [build_id])
    for (table,) in connection.execute(_CHANGES_TABLES).fetchall():
        connection.execute(f"delete from changes.{quote_identifier(table)} where build_id <= ?", [build_id])  # noqa: S608


def _number(connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, int | str] | None = None) -> int:
    row = connection.execute(sql, parameters).fetchone()
    return row[0] if row else 0
