"""What dbt needs of Meterhouse, as a dbt-duckdb plugin named in the project's profile.

With it plain `dbt build` is the same build as `meterhouse build`: it holds the home folder's lock while dbt has the
work file open, puts the raw tables in place, and hands over `as_of` (METERHOUSE_AS_OF, default now) and the functions
that models call. Where the folder is locked, dbt ends with its own exit code 2.
"""

import atexit
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.duckdb.plugins import BasePlugin

from loaders.building import prepare_build, set_variables
from loaders.errors import UsageError
from loaders.warehouse import Home, acquire_lock, ensure_work_file, release_lock

_connections: list[duckdb.DuckDBPyConnection] = []
_locked_homes: list[Home] = []

# What `meterhouse run` selects, where it leaves out what cannot have changed; a build of just that is complete.
selection_of_affected = ""


class Plugin(BasePlugin):  # type: ignore[misc]
    """Locks the home folder on connect and prepares the connection that all of dbt's cursors come from."""

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        home = Home(Path(creds.path).parent)
        acquire_lock(home)
        _locked_homes.append(home)
        ensure_work_file(home)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        _connections.append(conn)
        _locked_homes[-1].work_file.chmod(0o600)
        self._variables = prepare_build(conn, requested_as_of(), selection_of_affected)

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        set_variables(cursor, self._variables)


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
