"""Each name that a user may write is in docs, and each name in docs is one of the product."""

import importlib
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from loaders.cli import COMMANDS
from tests.docs.pages import FOLDER, ROOT, codes, pages, read, sections
from tests.loaders.main_job.conftest import World

SETTINGS = FOLDER / "settings.md"
# These are on nearly every command, and settings.md says so in a sentence.
EVERYWHERE = {"--home", "--help"}
VARIABLE = re.compile(r"\b(?:METERHOUSE|POLAR)_[A-Z_]*[A-Z](?:_(?=[<`\"'])|\b)")


def commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = importlib.import_module(f"loaders.commands.{name}").command
        if isinstance(command, click.Group):
            yield from ((f"{name} {one}", command.commands[one]) for one in command.commands)
        else:
            yield name, command


def options(command: click.Command) -> set[str]:
    return {name for option in command.params for name in option.opts if name.startswith("--")}


def documented_options() -> dict[str, set[str]]:
    """By command, from the table in settings.md, whose empty cells repeat the command above."""
    (section,) = [section for section in sections(SETTINGS) if section.title == "Options"]
    made: dict[str, set[str]] = {}
    command = ""
    for row in section.tables[0]:
        command = row["command"].strip("`").removeprefix("meterhouse ") or command
        made.setdefault(command, set()).update(codes(row["option"]))
    return made


def test_each_option_of_each_command_is_documented_and_no_other() -> None:
    assert documented_options() == {name: options(command) - EVERYWHERE for name, command in commands()}


def test_options_that_are_everywhere_are_documented() -> None:
    (section,) = [section for section in sections(SETTINGS) if section.title == "Options"]
    named = {option for code in codes(section.text) for option in re.findall(r"--\w+", code)}
    assert {*EVERYWHERE, "--version"} <= named
    for name, command in commands():
        assert ("--home" in options(command)) is (name != "simulate"), name


def test_each_command_is_in_the_readme() -> None:
    text = read(ROOT / "README.md")
    for name in COMMANDS:
        assert f"`meterhouse {name}" in text, name


@cache
def variables_read() -> set[str]:
    """Those that the code, the project and its scripts name."""
    files = [*(ROOT / "loaders").rglob("*.py"), *(ROOT / "macros").glob("*.sql"), *(ROOT / "scripts").glob("*.sh")]
    files += [ROOT / "profiles.yml", ROOT / "dbt_project.yml", ROOT / "Makefile"]
    return {name for file in files for name in VARIABLE.findall(read(file))}


def test_each_variable_of_the_environment_is_documented() -> None:
    (section,) = [section for section in sections(SETTINGS) if section.title == "Environment"]
    named = {name for row in section.tables[0] for name in VARIABLE.findall(row["variable"])}
    assert named == variables_read()


@pytest.mark.parametrize("file", [*pages(), ROOT / ".env.example"], ids=lambda file: file.name)
def test_each_variable_that_is_named_is_read(file: Path) -> None:
    named = {re.sub(r"(POLAR_ACCESS_TOKEN_).+", r"\1", name) for name in VARIABLE.findall(read(file))}
    assert named <= variables_read(), file.name


def test_the_example_file_has_every_setting_but_the_instant() -> None:
    """METERHOUSE_AS_OF in a file that a scheduler reads would stop the clock."""
    named = set(re.findall(r"^#? ?((?:METERHOUSE|POLAR|DBT)_[A-Z_]+)", read(ROOT / ".env.example"), re.MULTILINE))
    named = {"POLAR_ACCESS_TOKEN_" if name.startswith("POLAR_ACCESS_TOKEN_") else name for name in named}
    assert named == variables_read() - {"METERHOUSE_AS_OF"} | {"DBT_TARGET_PATH", "DBT_LOG_PATH"}


def test_each_var_of_the_project_is_documented_with_its_default() -> None:
    (section,) = [section for section in sections(SETTINGS) if section.title == "Vars"]
    documented = {row["var"].strip("`"): yaml.safe_load(row["default"].strip("`")) for row in section.tables[0]}
    assert documented == yaml.safe_load(read(ROOT / "dbt_project.yml"))["vars"]


def test_each_column_that_is_named_is_in_its_table(world: World) -> None:
    rows = world.published.rows("select table_name, column_name from duckdb_columns() where not internal")
    columns = {(row["table_name"], row["column_name"]) for row in rows}
    tables = {table for table, _ in columns}
    for page in pages():
        for code in codes(read(page)):
            match = re.fullmatch(r"(\w+)\.(\w+)", code)
            if match and match[1] in tables and match[2] != "duckdb":
                assert match.groups() in columns, f"{page.name}: `{code}`"


@cache
def words_of_the_product() -> set[str]:
    """Every word of what is shipped, and the names of its files; pages that name something must find it here."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [
        path
        for path in listed.split()
        if path.startswith(("loaders/", "models/", "macros/", "seeds/", "dashboards/", "scripts/", "tests/warehouse/"))
        or path in ("dbt_project.yml", "profiles.yml", "Makefile", "benchmarks/run.py", ".env.example")
    ]
    words: set[str] = set()
    for path in paths:
        words.update(re.findall(r"\w+", path))
        words.update(re.findall(r"\w+", (ROOT / path).read_text(encoding="utf-8", errors="ignore")))
    return words


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_each_name_in_code_is_one_of_the_product(page: Path, world: World) -> None:
    """A name of several words with `_` between is no English: a page that names none of the product is out of date."""
    rows = world.published.rows("select distinct unnest([table_name, column_name]) as n from duckdb_columns()")
    known = words_of_the_product() | {row["n"] for row in rows}
    for code in codes(read(page)):
        if code.startswith("{") or "://" in code:  # a record that is an example, another program's address
            continue
        for word in re.findall(r"(?<![\w<.$-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w-])", code):
            assert word in known, f"{page.name}: `{code}`: the product knows no {word}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_each_option_in_code_is_one_of_its_command(page: Path) -> None:
    known = {name: options(command) for name, command in commands()}
    every = set().union(*known.values()) | EVERYWHERE | {"--version"}
    for code in codes(read(page)):
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code))
        command = re.match(r"meterhouse ((?:quarantine )?[a-z]+)", code)
        if command and command[1] != "quarantine":
            assert command[1] in known, f"{page.name}: `{code}`"
            assert named <= known[command[1]], f"{page.name}: `{code}`"
        assert named <= every, f"{page.name}: `{code}`"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_each_make_target_and_file_in_code_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    for code in codes(read(page)):
        match = re.match(r"(?:\w+=\S+ )*make ([\w-]+)", code)
        assert match is None or match[1] in targets, f"{page.name}: `{code}`"
        if re.fullmatch(r"(?:seeds|dashboards|loaders|models|macros|scripts|tests|docs)/[\w./-]*", code):
            assert (ROOT / code).exists(), f"{page.name}: `{code}`"
