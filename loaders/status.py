"""The state of a home folder in facts: landed, built, published, and what blocks the next step."""

from datetime import UTC
from typing import Any

import duckdb

from loaders.errors import HomeError, LockedError
from loaders.sources.spool import Spool
from loaders.warehouse import Home, open_published_copy, open_work_file

Facts = dict[str, Any]


def read_status(home: Home) -> Facts:
    """Return the facts, with naive UTC datetimes. While another run holds the lock, only what is published is told."""
    status: Facts = {"home": str(home.path), "webhooks": _waiting(home), "landed": None, "synced": [], "built": None}
    status.update(published=_published(home), blocks=[])
    if not home.work_file.exists():
        status["blocks"].append("nothing is landed: run 'meterhouse load PATH' or 'meterhouse run PATH'")
        return status
    try:
        with open_work_file(home) as connection:
            status["landed"] = _landed(connection)
            status["synced"] = _synced(connection)
            status["built"] = _built(connection)
            status["blocks"] = _blocks(connection, status)
    except LockedError as error:
        status["blocks"].append(str(error))
    return status


def _waiting(home: Home) -> Facts | None:
    """What the webhook receiver keeps for the next run."""
    waiting = Spool(home.path).facts()
    if waiting.oldest_at is None:
        return None
    oldest_at = waiting.oldest_at.astimezone(UTC).replace(tzinfo=None)
    return {"segments": waiting.segments, "bytes": waiting.bytes, "oldest_at": oldest_at}


def _facts(connection: duckdb.DuckDBPyConnection, sql: str) -> Facts | None:
    cursor = connection.execute(sql)
    row = cursor.fetchone()
    return None if row is None else dict(zip([column[0] for column in cursor.description or ()], row, strict=True))


def _landed(connection: duckdb.DuckDBPyConnection) -> Facts | None:
    return _facts(
        connection,
        "select max(load_id) as last_load, max(finished_at) as last_landed_at, "
        "count(*) filter (where error is null) as files, cast(sum(landed) as bigint) as records, "
        "(select count(*) from raw.events) as events, "
        "(select count(*) from raw.quarantine where status = 'open') as quarantined, "
        "(select count(*) from raw.conflicts) as conflicts from raw.loads having count(*) > 0",
    )


def _synced(connection: duckdb.DuckDBPyConnection) -> list[Facts]:
    """The last sync of each organization that was read to its end; events are read last."""
    cursor = connection.execute(
        """
        with ends as (
            select organization_id, max(finished_at) as last_sync_at, max(covered_to_at) as covered_to_at
            from raw.syncs where is_complete and kind = 'events' group by organization_id
        )
        select organization_id, ends.last_sync_at, ends.covered_to_at, cursors.swept_at as read_whole_at
        from (select distinct organization_option as organization_id from raw.loads where source = 'polar') as loads
        left join ends using (organization_id)
        left join (select * from raw.sync_cursors where kind = 'events') as cursors using (organization_id)
        where organization_id is not null order by organization_id
        """
    )
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _built(connection: duckdb.DuckDBPyConnection) -> Facts | None:
    return _facts(
        connection,
        "select finished_at, as_of, case when finished_at is null then 'did not end' when succeeded then 'passed' "
        "else 'failed' end as result, is_complete, through_load_id as through_load "
        "from raw.builds order by build_id desc limit 1",
    )


def _published(home: Home) -> Facts | None:
    if not home.published_file.exists():
        return None
    try:
        with open_published_copy(home.published_file) as reader:
            return _facts(
                reader,
                "select published_at, built_at, as_of, data_horizon_at, meterhouse_version as version from publication",
            )
    except (HomeError, duckdb.Error) as error:
        return {"error": str(error)}


def _blocks(connection: duckdb.DuckDBPyConnection, status: Facts) -> list[str]:
    landed, built, published = status["landed"], status["built"], status["published"]
    if landed is None:
        return ["nothing is landed: run 'meterhouse load PATH' or 'meterhouse run PATH'"]
    blocks = [f"{name}: {error}" for name, error in _last_errors(connection)]
    for organization_id in _unfinished_syncs(connection):
        blocks.append(f"the last sync of organization {organization_id} did not end: run 'meterhouse sync'")
    if built is None:
        blocks.append("nothing is built: run 'meterhouse build'")
    elif built["result"] != "passed" or not built["is_complete"]:
        blocks.append(
            f"the last build {built['result']}{'' if built['is_complete'] else ' (in part)'}: run 'meterhouse build'"
        )
    elif built["through_load"] < landed["last_load"]:
        blocks.append(f"loads after {built['through_load']} are not built: run 'meterhouse build'")
    elif published is None or published.get("built_at") != built["finished_at"]:
        blocks.append("the last build is not published: run 'meterhouse publish'")
    return blocks


def _last_errors(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """What could not be read by the newest load, and by the newest sync of each organization."""
    return connection.execute(
        """
        select file_name, error from raw.loads as failed
        where error is not null and (
            load_id = (select max(load_id) from raw.loads)
            or source = 'polar' and load_id = (
                select max(load_id) from raw.loads as synced
                where synced.source = 'polar'
                    and (failed.organization_option is null or synced.organization_option = failed.organization_option)
            )
        )
        order by load_id, file_number
        """
    ).fetchall()


def _unfinished_syncs(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Organizations whose last sync neither ended nor says why: it was killed, or works no more."""
    rows = connection.execute(
        """
        with newest as (
            select organization_option as organization_id, max(load_id) as load_id from raw.loads
            where source = 'polar' and organization_option is not null group by all
        )
        select organization_id from newest
        where not exists (
            from raw.syncs where syncs.organization_id = newest.organization_id and syncs.load_id = newest.load_id
                and kind = 'events' and is_complete
        ) and not exists (
            from raw.loads as failed where failed.organization_option = newest.organization_id
                and failed.load_id = newest.load_id and failed.error is not null
        )
        order by organization_id
        """
    ).fetchall()
    return [row[0] for row in rows]
