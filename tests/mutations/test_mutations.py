"""Each mutation breaks a rule in a copy of the project: the test that guards it passes before and must fail after."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutations.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("loaders", "macros", "models", "seeds", "tests", "dbt_project.yml", "profiles.yml", "pyproject.toml")


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the environment's Python on a copy of the project."""
    environment = os.environ | {
        "METERHOUSE_HOME": str(project / "home"),
        "METERHOUSE_AS_OF": "2026-05-10T00:00:00Z",
        "PYTHONPATH": str(project),
    }
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=600)


def guard(project: Path, mutation: Mutation) -> subprocess.CompletedProcess[str]:
    """Run what must see the mutation."""
    if mutation.seen_by.endswith(".py"):
        return run(project, "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.seen_by)
    return run(project, "dbt.cli.main", "--quiet", "test", "--select", f"test_type:unit,{mutation.seen_by}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose models are built once, on nothing: unit tests ask them for their columns."""
    copy = tmp_path_factory.mktemp("mutations") / "project"
    copy.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    built = run(copy, "dbt.cli.main", "--quiet", "build", "--exclude-resource-types", "unit_test", "test")
    assert built.returncode == 0, built.stdout + built.stderr
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.area}: {mutation.rule}")
def test_a_broken_rule_is_seen(project: Path, mutation: Mutation) -> None:
    path = project / mutation.file
    whole = path.read_text(encoding="utf-8")
    before = guard(project, mutation)
    assert before.returncode == 0, before.stdout + before.stderr
    path.write_text(whole.replace(mutation.old, mutation.new, 1), encoding="utf-8")
    try:
        after = guard(project, mutation)
    finally:
        path.write_text(whole, encoding="utf-8")
    assert after.returncode == 1, after.stdout + after.stderr


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.area}: {mutation.rule}")
def test_a_mutation_still_has_its_place(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) >= 1
    assert mutation.old != mutation.new


def test_the_list_in_the_readme_is_this_one() -> None:
    listed = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    for mutation in MUTATIONS:
        assert f"| {mutation.area} | {mutation.rule} | `{mutation.seen_by}` |" in listed
