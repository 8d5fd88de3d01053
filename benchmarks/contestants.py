"""One contestant a process: `python contestants.py NAME FOLDER FILE`. Its output is nobody's, its cost counts.

Only the standard library is imported at the top: dlt runs in an environment of its own, without meterhouse.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The fields that both shapes of an event have, typed as a loader by hand would type them.
TYPED = {
    "id": "VARCHAR", "source": "VARCHAR", "name": "VARCHAR", "organization_id": "VARCHAR", "external_id": "VARCHAR",
    "external_customer_id": "VARCHAR", "customer_id": "VARCHAR", "timestamp": "TIMESTAMPTZ",
    "metadata": 'STRUCT(_cost STRUCT(amount VARCHAR, currency VARCHAR), _llm STRUCT(vendor VARCHAR, model VARCHAR, '
    'input_tokens BIGINT, output_tokens BIGINT, total_tokens BIGINT), route VARCHAR, status BIGINT, latency_ms DOUBLE, '
    'gib_hours DOUBLE, region VARCHAR, billable BOOLEAN)',
}  # fmt: skip


def meterhouse(folder: Path, file: Path) -> None:
    """`meterhouse load`, command line and all."""
    from loaders.cli import main

    sys.exit(main(["load", "--home", str(folder / "home"), str(file)]))


def duckdb_typed(folder: Path, file: Path) -> None:
    """Bare DuckDB: one typed `create table as` into a file. No check, no key, no text, no ledger."""
    import duckdb

    with duckdb.connect(str(folder / "bare.duckdb")) as connection:
        connection.execute(
            "create table events as select * from read_json($file, format = 'newline_delimited', columns = "
            + "{" + ", ".join(f"{name}: '{kind}'" for name, kind in TYPED.items()) + "})",
            {"file": str(file)},
        )  # fmt: skip


def polars_ndjson(folder: Path, file: Path) -> None:
    """polars.read_ndjson, then into a DuckDB file."""
    import duckdb
    import polars

    frame = polars.read_ndjson(file, infer_schema_length=10_000)
    with duckdb.connect(str(folder / "polars.duckdb")) as connection:
        connection.register("frame", frame.to_arrow())
        connection.execute("create table events as from frame")


def sha256(folder: Path, file: Path) -> None:
    """Reading and hashing the file: what a second landing cannot do without."""
    import hashlib

    with file.open("rb") as stream:
        print(hashlib.file_digest(stream, "sha256").hexdigest())


def dlt_nested(folder: Path, file: Path) -> None:
    """dlt as its documentation begins: records in, tables of columns out."""
    _run_dlt(folder, _records(file), write_disposition="append")


def dlt_lean(folder: Path, file: Path) -> None:
    """dlt at its leanest for this purpose: a key and the payload's text, merged on the key."""
    rows = (
        {"key": str(record.get("id") or record.get("external_id")), "payload": line}
        for record, line in _records_and_lines(file)
    )
    _run_dlt(folder, rows, write_disposition="merge", primary_key="key")


def _run_dlt(folder: Path, rows: Iterator[dict[str, Any]], **options: Any) -> None:
    import dlt

    destination = dlt.destinations.duckdb(str(folder / "dlt.duckdb"))
    pipeline = dlt.pipeline("bench", pipelines_dir=str(folder / "dlt"), destination=destination, dataset_name="raw")
    pipeline.run(dlt.resource(rows, name="events", **options), loader_file_format="parquet")


def _records(file: Path) -> Iterator[dict[str, Any]]:
    for record, _ in _records_and_lines(file):
        yield record


def _records_and_lines(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    with file.open() as lines:
        for line in lines:
            yield json.loads(line), line.rstrip("\n")


CONTESTANTS: dict[str, Callable[[Path, Path], None]] = {
    contestant.__name__: contestant
    for contestant in (meterhouse, duckdb_typed, polars_ndjson, sha256, dlt_nested, dlt_lean)
}

if __name__ == "__main__":
    CONTESTANTS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
