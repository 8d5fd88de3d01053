"""What dbt needs of Meterhouse, as a dbt-duckdb plugin named in the project's profile.

With it plain `dbt build` is the same build as `meterhouse build`: it holds the home folder's lock while dbt has the
work file open, puts the raw tables in place, hands over `as_of` (METERHOUSE_AS_OF, default now) and adds the
functions that judge meter filters, read long numbers and name the columns of wide relations. Where the folder is
locked, dbt ends with its own exit code 2.
"""

import atexit
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb.func import FunctionNullHandling

from loaders import exact, metering, rating, wide
from loaders.errors import UsageError
from loaders.project import definitions_fingerprint, macros_fingerprint, project_fingerprint
from loaders.warehouse import Home, acquire_lock, prepare_connection, release_lock

_connections: list[duckdb.DuckDBPyConnection] = []
_locked_homes: list[Home] = []

# What `meterhouse run` selects, where it leaves out what cannot have changed; a build of just that is complete.
selection_of_affected = ""


class Plugin(BasePlugin):  # type: ignore[misc]
    """Locks the home folder on connect and prepares the connection that all of dbt's cursors come from."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        self._variables = {
            "meterhouse_affected": selection_of_affected,
            "meterhouse_as_of": requested_as_of(),
            "meterhouse_definitions": definitions_fingerprint(),
            "meterhouse_macros": macros_fingerprint(),
            "meterhouse_project": project_fingerprint(),
        }

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        home = Home(Path(creds.path).parent)
        acquire_lock(home)
        _locked_homes.append(home)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        _connections.append(conn)
        _locked_homes[-1].work_file.chmod(0o600)
        prepare_connection(conn)
        conn.execute("set memory_limit = ?", [requested_memory()])
        # A thread writes what it reads, in load order near enough for zone maps, and keeps nothing to sort it by.
        conn.execute("set preserve_insertion_order = false")
        # Each checkpoint writes where every row group of every table is: one at the end instead of one every 16 MB.
        conn.execute("set checkpoint_threshold = '1GB'")
        conn.create_function("meter_filter_matches", metering.filter_matches, ["VARCHAR", "VARCHAR"], "BOOLEAN")
        conn.create_function(
            "meter_filter_matches_in_sql", metering.filter_matches_in_sql, ["VARCHAR", "VARCHAR"], "BOOLEAN"
        )
        conn.create_function("meter_filter_properties", metering.filter_properties, ["VARCHAR"], "VARCHAR[]")
        conn.create_function("exact_metadata_numbers", exact.exact_metadata_numbers, ["VARCHAR"], "VARCHAR")
        # It may return null, which DuckDB allows only to functions that also take it.
        conn.create_function(
            "rate_tiers",
            rating.rate_tiers,
            ["VARCHAR", "VARCHAR", "DOUBLE", "DOUBLE"],
            "BIGINT",
            null_handling=FunctionNullHandling.SPECIAL,
        )
        conn.create_function("wide_relations_script", wide.script, ["VARCHAR"], "VARCHAR")

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        # Variables belong to a cursor, not to the connection it comes from.
        for name, value in self._variables.items():
            cursor.execute(f"set variable {name} = ?", [value])


def requested_memory() -> str:
    """Return METERHOUSE_MEMORY_LIMIT, or three fifths of the machine's memory: DuckDB by itself keeps four fifths."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return os.environ.get("METERHOUSE_MEMORY_LIMIT") or f"{machine * 3 // 5}B"


def requested_as_of() -> datetime:
    """Return METERHOUSE_AS_OF, or now, as naive UTC. Raises UsageError where it is no timestamp."""
    text = os.environ.get("METERHOUSE_AS_OF")
    if not text:
        return datetime.now(UTC).replace(tzinfo=None)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"METERHOUSE_AS_OF: not an ISO 8601 timestamp: {text!r}. Write it like 2026-05-01T00:00:00Z."
        ) from error
    return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant


@atexit.register
def close_all() -> None:
    """Close what dbt left open and give the locks back, so that this process can go on with the work file."""
    while _connections:
        # An open connection with a Python function in it is reported as a leak when the interpreter ends.
        _connections.pop().close()
    # dbt would hand out the closed connection again to the next build of this process.
    DuckDBConnectionManager._ENV = None
    while _locked_homes:
        release_lock(_locked_homes.pop())
