"""Running dbt in this process: models and tests, on the home folder's work file."""

import gc
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging import makeLogRecord
from logging.handlers import RotatingFileHandler
from typing import Any

from loaders import shortcut
from loaders.affected import affected_nodes, next_boundary, nodes_of, stands_on_tested_build
from loaders.building import prepare_build, set_variables
from loaders.errors import BuildError, HomeError
from loaders.project import PROJECT_FOLDER, project_fingerprint
from loaders.warehouse import Home, locked, open_work_file

# Of the last build, where it was complete, passed, and nothing came in since. Each change of raw records has a load.
_LAST_BUILD = """
select project, as_of from raw.builds
where is_complete and succeeded and through_load_id = coalesce((select max(load_id) from raw.loads), 0)
    and build_id = (select max(build_id) from raw.builds)
"""

_AFFECTED = "affected"

_LOG_BYTES = 10 * 2**20

# dbt's events of a finished node, and what each calls the number of all nodes.
_NODE_COUNTS = {"LogModelResult": "total", "LogSeedResult": "total", "LogTestResult": "num_models"}

# Called with the number of finished nodes, of all nodes, and the name of the last one.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Failure:
    """A model or test that did not pass: its name, dbt's status and message, and how many rows a test found.

    `rules` says which of a model's rules how many of those rows break, where one test holds them all.
    """

    name: str
    status: str
    message: str
    row_count: int
    rules: str = ""


@dataclass(frozen=True)
class BuildResult:
    """What a build did. `failures` block a publish; `warnings` are findings about the data.

    `kept_count` models were left out, because nothing they are made of has changed.
    """

    as_of: datetime
    seconds: float
    model_count: int
    test_count: int
    failures: list[Failure] = field(default_factory=list)
    warnings: list[Failure] = field(default_factory=list)
    kept_count: int = 0


def build(
    home: Home,
    *,
    as_of: datetime | None = None,
    full_refresh: bool = False,
    select: tuple[str, ...] = (),
    only_affected: bool = False,
    progress: Progress | None = None,
) -> BuildResult:
    """Build models and run their tests; return what failed instead of raising for it.

    `as_of` (UTC, default now) becomes an input of the build. `only_affected` leaves out what cannot differ from what
    the last complete build that passed left; such a build is complete too, and starts dbt only for what none before it
    has executed (see loaders/shortcut.py). Raises LockedError where another run holds the home folder, BuildError where
    dbt could not start, HomeError where the project's files are not beside the package.
    """
    if not (PROJECT_FOLDER / "dbt_project.yml").is_file():
        raise HomeError(f"{PROJECT_FOLDER}: no dbt_project.yml here. Run meterhouse from its checkout ('make setup').")
    instant = (as_of or datetime.now(UTC)).astimezone(UTC)
    started = time.monotonic()
    with locked(home):
        if only_affected and (repeated := _repeat(home, instant, progress)) is not None:
            return BuildResult(
                as_of=instant,
                seconds=time.monotonic() - started,
                model_count=repeated.model_count,
                test_count=repeated.test_count,
                warnings=[Failure(it.name, "warn", "", it.row_count) for it in repeated.findings],
                kept_count=repeated.kept_count,
            )
        results, kept_count = _invoke(home, _arguments(full_refresh, select), instant, progress, only_affected)
        rules = _broken_rules(home, results, instant)
    nodes = [result for result in results if result.node.resource_type in ("model", "seed", "test")]
    return BuildResult(
        as_of=instant,
        seconds=time.monotonic() - started,
        model_count=sum(result.node.resource_type != "test" for result in nodes),
        test_count=sum(result.node.resource_type == "test" for result in nodes),
        failures=[
            _failure(result, rules) for result in results if str(result.status) in ("error", "fail", "runtime error")
        ],
        warnings=[_failure(result, rules) for result in results if str(result.status) == "warn"],
        kept_count=kept_count,
    )


def is_current(home: Home, as_of: datetime | None = None) -> bool:
    """Tell whether a build now would give the tables that the last one gave: the same records, files and versions.

    as_of may have moved on, but not past a boundary that the last build knew of. In doubt the answer is no.
    """
    if not home.work_file.exists():
        return False
    instant = (as_of or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
    with open_work_file(home) as connection:
        row = connection.execute(_LAST_BUILD).fetchone()
        if row is None or row[0] != project_fingerprint():
            return False
        _, built_as_of = row
        return bool(built_as_of <= instant < next_boundary(connection))


def _common_arguments(home: Home) -> list[str]:
    arguments = ["--quiet", "--no-use-colors"]
    # dbt words each of some thousand debug events before it leaves it out of its log: _Watcher writes what is kept.
    arguments += ["--log-level", "none", "--log-level-file", "none", "--no-write-json"]
    arguments += ["--project-dir", str(PROJECT_FOLDER), "--profiles-dir", str(PROJECT_FOLDER)]
    return [*arguments, "--target-path", str(home.path / "target"), "--log-path", str(home.path / "logs")]


def _arguments(full_refresh: bool, select: tuple[str, ...]) -> list[str]:
    # Unit tests judge models with made-up rows; they belong to the project's own tests, not to every build.
    arguments = ["build", "--exclude", "test_type:unit"]
    if full_refresh:
        arguments.append("--full-refresh")
    for selector in select:
        # Tests that compare with models outside the selection would only say that those are missing.
        arguments += ["--select", selector, "--indirect-selection", "buildable"]
    return arguments


def _repeat(home: Home, as_of: datetime, progress: Progress | None) -> shortcut.Repeated | None:
    with _Log(home) as log:
        return shortcut.repeat_build(home, as_of.replace(tzinfo=None), log.write, progress)


def _invoke(
    home: Home, arguments: list[str], as_of: datetime, progress: Progress | None, only_affected: bool
) -> tuple[list[Any], int]:
    """Run dbt; return its results, and how many models were left out because they cannot have changed."""
    settings = {"METERHOUSE_HOME": str(home.path), "METERHOUSE_AS_OF": as_of.isoformat()}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    # Python's search for cycles goes through all that dbt imported and parsed, over and over: a tenth of a small build.
    gc.disable()
    # Importing dbt takes a second: only a build pays for it.
    from dbt.cli.main import dbtRunner

    from loaders import dbt_plugin

    log = _Log(home)
    watcher, recorder = _Watcher(progress, log), shortcut.Recorder()
    # What a first build executes, or one of a part, no later one may repeat.
    is_repeatable = arguments == _arguments(full_refresh=False, select=()) and stands_on_tested_build(home)
    try:
        manifest = _parse(home, watcher)
        kept_count = 0
        nodes = nodes_of(manifest)
        affected = affected_nodes(home, nodes, as_of.replace(tzinfo=None)) if only_affected else None
        if affected is not None:
            # By a tag: dbt compares each name of a longer selection with each node's.
            for unique_id in affected:
                manifest.nodes[unique_id].tags.append(_AFFECTED)
            dbt_plugin.selection_of_affected = f"tag:{_AFFECTED}"
            arguments = [*arguments, "--select", dbt_plugin.selection_of_affected, "--indirect-selection", "empty"]
            kept_count = sum(node.is_table and unique_id not in affected for unique_id, node in nodes.items())
        runner = dbtRunner(manifest=manifest, callbacks=[watcher.notice, recorder.notice])
        outcome = runner.invoke([*arguments, *_common_arguments(home)])
        if is_repeatable and outcome.success:
            recorder.keep(home, nodes)
    finally:
        dbt_plugin.selection_of_affected = ""
        dbt_plugin.close_all()
        log.close()
        gc.enable()
        # A later command of this process must not take this build's instant for the user's.
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    if outcome.result is None or not hasattr(outcome.result, "results"):
        raise BuildError(f"dbt could not start the build: {outcome.exception or watcher.last_error}")
    return list(outcome.result.results), kept_count


def _parse(home: Home, watcher: "_Watcher") -> Any:
    """Return dbt's manifest of the project, from what the last build left in the target folder where that is there."""
    from dbt.cli.main import dbtRunner

    arguments = ["parse", *_common_arguments(home)]
    outcome = dbtRunner(callbacks=[watcher.notice]).invoke(arguments)
    if outcome.exception is not None and _is_damaged_cache(outcome.exception):
        shutil.rmtree(home.path / "target", ignore_errors=True)
        outcome = dbtRunner(callbacks=[watcher.notice]).invoke(arguments)
    if outcome.exception is not None or outcome.result is None:
        raise BuildError(f"dbt could not start the build: {outcome.exception or watcher.last_error}")
    return outcome.result


def _is_damaged_cache(error: BaseException) -> bool:
    """A kill can leave half a partial-parse file behind; dbt then fails with whatever its decoder raises."""
    return type(error).__module__.partition(".")[0] in ("msgpack", "mashumaro")


class _Log:
    """The log of builds in the home folder."""

    def __init__(self, home: Home) -> None:
        folder = home.path / "logs"
        folder.mkdir(exist_ok=True)
        self._file = RotatingFileHandler(folder / "dbt.log", maxBytes=_LOG_BYTES, backupCount=5, encoding="utf-8")

    def __enter__(self) -> "_Log":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def write(self, level: str, text: str) -> None:
        self._file.emit(makeLogRecord({"msg": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {level:5} {text}"}))


class _Watcher:
    """Follows dbt's events: the log, how far the build is, and the last error where there is no result to ask."""

    def __init__(self, progress: Progress | None, log: _Log) -> None:
        self._progress = progress
        self._log = log
        self._finished = 0
        self.last_error = "no reason was given"

    def notice(self, event: Any) -> None:
        if event.info.level in ("info", "warn", "error") and event.info.msg:
            self._log.write(event.info.level, event.info.msg)
        if event.info.level == "error":
            self.last_error = event.info.msg
        if self._progress is None or event.info.name not in _NODE_COUNTS:
            return
        self._finished += 1
        total = getattr(event.data, _NODE_COUNTS[event.info.name])
        self._progress(self._finished, total, event.data.node_info.node_name)


def _broken_rules(home: Home, results: list[Any], as_of: datetime) -> dict[str, str]:
    """Ask the tests that hold all rules of a model, and did not pass, which rule it was; dbt only keeps a number."""
    broken = [
        result.node
        for result in results
        if str(result.status) in ("fail", "warn") and getattr(result.node, "test_metadata", None) is not None
    ]
    if not broken:
        return {}
    with open_work_file(home) as connection:
        set_variables(connection, prepare_build(connection, as_of.replace(tzinfo=None)))
        return {
            node.name: ", ".join(
                f"{rule} ({columns}) {count:,}"
                for rule, columns, count in connection.execute(
                    f"select rule, columns, count(*) from ({node.compiled_code}) group by all order by all"  # noqa: S608
                ).fetchall()
            )
            for node in broken
        }


def _failure(result: Any, rules: dict[str, str]) -> Failure:
    return Failure(
        name=result.node.name,
        status=str(result.status),
        message=(result.message or "").strip(),
        row_count=result.failures or 0,
        rules=rules.get(result.node.name, ""),
    )
