"""Exporting tables as Parquet: what is published, and on request the raw records they were made of."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from loaders.errors import HomeError
from loaders.warehouse import Home, open_published_copy, open_work_file, quote_identifier

_BATCH_ROWS = 122_880
# Records and what is known of where they came from; not what builds and publishes keep for themselves.
RAW_TABLES = ("loads", "events", "event_rereads", "resources", "conflicts", "quarantine", "syncs")
_TABLES = """
select table_name from duckdb_tables() where not internal and schema_name = ? order by table_name
"""


def export(home: Home, folder: Path, *, has_raw: bool = False) -> dict[str, int]:
    """Write each published table to `folder`/<table>.parquet, raw ones to `folder`/raw; return rows by file.

    A file that is there is replaced when its successor is complete. Raises HomeError where nothing is published, or
    the folder cannot be written.
    """
    try:
        with open_published_copy(home.published_file) as reader:
            folder.mkdir(parents=True, exist_ok=True)
            names = [name for (name,) in reader.execute(_TABLES, ["main"]).fetchall()]
            written = {f"{name}.parquet": _write(reader, "main", name, folder) for name in names}
        if has_raw:
            (folder / "raw").mkdir(mode=0o700, exist_ok=True)
            with open_work_file(home) as connection:
                for name in RAW_TABLES:
                    written[f"raw/{name}.parquet"] = _write(connection, "raw", name, folder / "raw")
    except OSError as error:
        raise HomeError(
            f"{folder}: cannot be written ({error.strerror}). Choose another folder or free space."
        ) from error
    return written


def _write(connection: duckdb.DuckDBPyConnection, schema: str, table: str, folder: Path) -> int:
    """Write one table in its order; a UUID is written as text, as the published tables have it."""
    columns = connection.execute(
        "select column_name, data_type from duckdb_columns() where schema_name = ? and table_name = ? "
        "order by column_index",
        [schema, table],
    ).fetchall()
    selected = ", ".join(
        f"{quote_identifier(name)}::varchar as {quote_identifier(name)}" if kind == "UUID" else quote_identifier(name)
        for name, kind in columns
    )
    source = f"{quote_identifier(schema)}.{quote_identifier(table)}"
    batches: Any = connection.sql(f"select {selected} from {source}").to_arrow_reader(_BATCH_ROWS)  # noqa: S608
    count = 0
    with (
        _replacing(folder / f"{table}.parquet") as path,
        pq.ParquetWriter(path, batches.schema, compression="zstd") as file,
    ):
        for batch in batches:
            file.write_table(pa.Table.from_batches([batch]))
            count += batch.num_rows
    return count


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write to, which becomes `path` once all is written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
