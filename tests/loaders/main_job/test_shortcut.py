"""A build without dbt leaves what dbt would leave, and whatever is in doubt is left to dbt."""

import json
import re
import shutil
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from loaders import shortcut
from loaders.transform import BuildResult, build
from loaders.warehouse import Home
from tests.loaders.main_job.conftest import AS_OF, ROOT, World, meterhouse
from tests.loaders.main_job.test_increments import (
    Dbt,
    dbt,  # noqa: F401
    differences,
    landed_steps,
    made_anew,
    publish_closed_periods,
)
from tests.parsed_project import shared_parse

WITHOUT_DBT = "Built without dbt"


def log_of(home: Path) -> str:
    return (home / "logs" / "dbt.log").read_text()


def built(home: Path, as_of: str, *, only_affected: bool) -> BuildResult:
    with shared_parse(home):
        result = build(Home(home), as_of=datetime.fromisoformat(f"{as_of}+00:00"), only_affected=only_affected)
    assert result.failures == []
    return result


def check_sequence(world: World, folder: Path, dbt: Dbt, seed: int, compared: range) -> None:  # noqa: F811
    home, other = folder / "home", folder / "other"
    for number, as_of in landed_steps(world, folder, home, seed):
        if number == 0:
            # The first build makes everything, the second one executes every node in place.
            built(home, as_of, only_affected=False)
            built(home, as_of, only_affected=False)
            assert WITHOUT_DBT not in log_of(home)
        else:
            result = built(home, as_of, only_affected=True)
            assert log_of(home).count(WITHOUT_DBT) == number, log_of(home)[-2000:]
            assert result.model_count + result.kept_count > 100
            assert made_anew(home) == []
        if number in compared:
            shutil.rmtree(other, ignore_errors=True)
            shutil.copytree(home, other)
            dbt(other, as_of, "run", "--full-refresh")
            assert differences(home, other) == {}, (seed, number)
        publish_closed_periods(home)


def test_builds_without_dbt_equal_a_full_refresh(world: World, tmp_path: Path, dbt: Dbt) -> None:  # noqa: F811
    check_sequence(world, tmp_path, dbt, seed=101, compared=range(3, 4))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(102, 112))
def test_builds_without_dbt_equal_a_full_refresh_slow(
    world: World,
    tmp_path: Path,
    dbt: Dbt,  # noqa: F811
    seed: int,
) -> None:
    check_sequence(world, tmp_path, dbt, seed, compared=range(1, 4))


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    """A home whose next run needs no dbt."""
    return shutil.copytree(world.home, tmp_path / "home")


EVENT = (
    b'{"id":"8f14e45f-ceea-467f-a830-0c1f4a3b2c11","timestamp":"2026-05-09T00:00:00Z","source":"user","name":"api.call",'
    b'"organization_id":"0f8fad5b-d9cb-469f-a165-70867728950e","external_customer_id":"somebody","metadata":{"calls":1}}\n'
)


def run_with_news(home: Path, *, expect: int = 0) -> str:
    news = home.parent / "news.jsonl"
    news.write_bytes(EVENT)
    return meterhouse("run", news, "--as-of", AS_OF, home=home, expect=expect).stderr


def test_run_starts_no_dbt_once_every_node_was_executed(home: Path) -> None:
    stderr = run_with_news(home)
    assert WITHOUT_DBT in log_of(home)
    assert "models are as they were" in stderr
    # A finding is told by every build, and the count of what ran is the count of dbt.
    assert "rows against assert_metered_usage_is_charged" in stderr
    with duckdb.connect(str(home / "published.duckdb"), read_only=True) as reader:
        assert reader.execute(
            "select count(*) from usage_events where event_id = ?", [json.loads(EVENT)["id"]]
        ).fetchall() == [(1,)]
    with duckdb.connect(str(home / "meterhouse.duckdb"), read_only=True) as work:
        last = (
            "select command, is_complete, succeeded, finished_at >= started_at from raw.builds order by build_id desc"
        )
        assert work.execute(last).fetchone() == ("build", True, True, True)


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"{}", b'{"project": "one", "nodes": {"a": {}}, "statements": {}}']
)
def test_nothing_is_kept_where_it_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "target").mkdir()
    if content is not None:
        (tmp_path / "target" / "statements.json").write_bytes(content)
    assert shortcut._read(Home(tmp_path)) is None


@pytest.mark.slow
def test_dbt_builds_where_another_project_was_executed(home: Path) -> None:
    path = home / "target" / "statements.json"
    path.write_bytes(b'{"project": "another", "nodes": {}, "statements": {}}')
    run_with_news(home)
    assert WITHOUT_DBT not in log_of(home)
    assert json.loads(path.read_bytes())["statements"]


def test_dbt_builds_a_node_that_none_has_executed_so(home: Path) -> None:
    path = home / "target" / "statements.json"
    kept = json.loads(path.read_bytes())
    kept["statements"]["model.meterhouse.usage_events"] = None
    path.write_text(json.dumps(kept))
    run_with_news(home)
    assert WITHOUT_DBT not in log_of(home)
    assert json.loads(path.read_bytes())["statements"]["model.meterhouse.usage_events"]


def test_statement_that_fails_leaves_nothing_of_the_build_and_goes_to_dbt(home: Path) -> None:
    path = home / "target" / "statements.json"
    kept = json.loads(path.read_bytes())
    kept["statements"]["model.meterhouse.usage_daily"].append("select error('no such day')")
    path.write_text(json.dumps(kept))
    stderr = run_with_news(home)
    assert re.search(r"given up.*: model\.meterhouse\.usage_daily: .*no such day", log_of(home))
    assert WITHOUT_DBT not in log_of(home)
    assert "models are as they were" in stderr
    assert made_anew(home) == [], "the build that was given up must not cost a build of everything"


def test_test_that_does_not_pass_is_told_by_dbt_and_nothing_is_published(home: Path) -> None:
    before = (home / "published.duckdb").read_bytes()
    with duckdb.connect(str(home / "meterhouse.duckdb")) as work:
        work.execute(
            "insert into raw.loads select * replace (load_id + 1 as load_id, landed + 1 as landed) "
            "from raw.loads order by load_id desc limit 1"
        )
    stderr = run_with_news(home, expect=1)
    assert "rows against assert_ledger_adds_up" in stderr
    assert re.search(r"given up.*: \d+ rows against assert_ledger_adds_up", log_of(home))
    assert (home / "published.duckdb").read_bytes() == before


# Who else asks the database while it compiles might shape a statement by the answer, which the next build would repeat.
ASKING = {
    "value_of": "set variable",
    "statement_of": shortcut.RETURNS_NEXT,
    "changes_to_test": shortcut.SAME_IN_PLACE,
    "compare_contract": shortcut.SAME_IN_PLACE,
}
# Part of hooks and operations, or told what to execute by `statement_of`.
ACTING = {
    "has_every_model",
    "drop_outdated_increments",
    "drop_unless_built",
    "drop_what_no_model_makes",
    "rewrite_wide_relations",
    "take_changed_events",
}


def test_only_known_macros_ask_the_database_while_they_compile() -> None:
    found: set[str] = set()
    for path in [*ROOT.glob("macros/*.sql"), *ROOT.glob("models/**/*.sql"), *ROOT.glob("tests/warehouse/**/*.sql")]:
        text = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
        for part in re.split(r"(?=\{%-? macro )", text):
            if re.search(r"run_query|call statement|get_relation|load_relation", part) is None:
                continue
            name = re.match(r"\{%-? macro (\w+)", part)
            found.add(name[1] if name else path.stem)
            if name and name[1] in ASKING:
                assert ASKING[name[1]] in part, name[1]
    # Relations are there, and built, wherever a build works in place.
    placed = {"stored", "materializations"}
    assert found == {*ASKING, *ACTING, *placed}


def test_question_without_a_mark_makes_its_node_dbts() -> None:
    def kept(*statements: str, unique_id: str = "model.meterhouse.one") -> list[str] | None:
        return shortcut._repeatable(unique_id, list(statements))

    create, test = "create or replace table one as select 1", "select count(*) as failures from ()"
    assert kept("select max(day) from days", create) is None
    assert kept(f"{shortcut.SAME_IN_PLACE} select 1", create) == [create]
    assert kept("select table_name from duckdb_tables()", create) == [create]
    assert kept(f"{shortcut.RETURNS_NEXT} select 'drop'", "drop", create) == [
        f"{shortcut.RETURNS_NEXT} select 'drop'",
        create,
    ]
    assert kept("select 1", test, unique_id="test.meterhouse.one") is None
    assert kept("set variable a = 1", test, unique_id="test.meterhouse.one") == ["set variable a = 1", test]
