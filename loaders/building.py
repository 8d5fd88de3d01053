"""What a build needs of its connection to the work file, whoever executes it: dbt or loaders/shortcut.py."""

import os
from collections.abc import Mapping
from datetime import datetime

import duckdb
from duckdb.func import FunctionNullHandling

from loaders import exact, metering, rating, wide
from loaders.project import definitions_fingerprint, macros_fingerprint, project_fingerprint
from loaders.warehouse import prepare_connection

# The last build whose tests were this project's and passed: what it left needs no test again.
_TESTED_BUILD = """
select max(build_id), coalesce(max_by(through_load_id, build_id), 0) from raw.builds
where is_complete and succeeded and project = ?
"""

# Every 24th build, once a day where runs are hourly, keeps the work file from growing by the holes of replaced rows.
_IS_TO_BE_COMPACTED = "select 1 from raw.builds having coalesce(max(build_id), 0) % 24 = 0"


def prepare_build(connection: duckdb.DuckDBPyConnection, as_of: datetime, affected: str = "") -> dict[str, object]:
    """Prepare a connection to the work file for a build; return the variables that each cursor of it needs.

    `as_of` is naive UTC. `affected` is what the command line selects where it leaves out what cannot have changed.
    Call it before the build is recorded.
    """
    prepare_connection(connection)
    connection.execute("set memory_limit = ?", [requested_memory()])
    # A thread writes what it reads, in load order near enough for zone maps, and keeps nothing to sort it by.
    connection.execute("set preserve_insertion_order = false")
    # Each checkpoint writes where every row group of every table is: one at the end instead of one every 16 MB.
    connection.execute("set checkpoint_threshold = '1GB'")
    if connection.execute(_IS_TO_BE_COMPACTED).fetchall():
        connection.execute("reset max_vacuum_tasks")
    connection.create_function("meter_filter_matches", metering.filter_matches, ["VARCHAR", "VARCHAR"], "BOOLEAN")
    connection.create_function(
        "meter_filter_matches_in_sql", metering.filter_matches_in_sql, ["VARCHAR", "VARCHAR"], "BOOLEAN"
    )
    connection.create_function("meter_filter_properties", metering.filter_properties, ["VARCHAR"], "VARCHAR[]")
    connection.create_function("exact_metadata_numbers", exact.exact_metadata_numbers, ["VARCHAR"], "VARCHAR")
    # It may return null, which DuckDB allows only to functions that also take it.
    connection.create_function(
        "rate_tiers",
        rating.rate_tiers,
        ["VARCHAR", "VARCHAR", "DOUBLE", "DOUBLE"],
        "BIGINT",
        null_handling=FunctionNullHandling.SPECIAL,
    )
    connection.create_function("wide_relations_script", wide.script, ["VARCHAR"], "VARCHAR")
    project = project_fingerprint()
    tested_build, tested_load = connection.execute(_TESTED_BUILD, [project]).fetchone() or (None, 0)
    return {
        "meterhouse_affected": affected,
        "meterhouse_as_of": as_of,
        "meterhouse_definitions": definitions_fingerprint(),
        "meterhouse_macros": macros_fingerprint(),
        "meterhouse_project": project,
        "meterhouse_tested_build": tested_build,
        "meterhouse_tested_load": tested_load,
    }


def set_variables(cursor: duckdb.DuckDBPyConnection, variables: Mapping[str, object]) -> None:
    """Set the variables of a build. They belong to a cursor, not to the connection it comes from."""
    for name, value in variables.items():
        cursor.execute(f"set variable {name} = ?", [value])


def requested_memory() -> str:
    """Return METERHOUSE_MEMORY_LIMIT, or three fifths of the machine's memory: DuckDB by itself keeps four fifths."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return os.environ.get("METERHOUSE_MEMORY_LIMIT") or f"{machine * 3 // 5}B"
