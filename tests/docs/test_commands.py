"""The commands in the README and in docs: those that can run here do, in a clean clone; the parser takes the others."""

import gzip
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from loaders.cli import COMMANDS
from tests.docs.pages import ROOT, blocks, codes, pages, read
from tests.loaders.main_job.conftest import World, meterhouse

VENV = Path(sys.prefix)
# What asks the network or listens until it is ended; targets of make, which set up, build or test all, get make -n.
PARSED_ONLY = ("sync", "webhooks")
LEFT_OUT = ("curl ", "git pull")
# An erasure builds everything anew, and tests/loaders/main_job/test_erase.py does it: here only its rehearsal runs.
REHEARSED = ("erase",)
EXTERNAL_ID = "account-06"


class Checkout:
    """A clean clone in which a user's files lie, and the shell of whoever types the commands of the pages."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.place, self.world = folder, folder, world
        self.backup = folder / "backup"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("METERHOUSE")}
        self.organization = self.world.answers["identities"][-1]["organization_id"]

    def type(self, command: str) -> None:
        """Run one line as it stands in a page."""
        for step in re.split(r" && (?!set |\.)", command):
            self._type_one(step.partition(" #")[0].strip() if "'" not in step else step)

    def _type_one(self, command: str) -> None:
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.environment[name] = value
        elif command.startswith("cd "):
            self.place = self.place / command.removeprefix("cd ")
        elif command.startswith("make "):
            self._run(f"make -n {command.removeprefix('make ')}")
        elif command.startswith(LEFT_OUT):
            return
        elif command.startswith(".venv/bin/meterhouse "):
            arguments = shlex.split(command.removeprefix(".venv/bin/meterhouse "))
            parse(arguments)
            rehearsed = arguments[0] in REHEARSED and "--dry-run" not in arguments
            # With a token a run would sync.
            asks_polar = arguments[0] in PARSED_ONLY or (arguments[0] == "run" and self._has_token())
            if not (rehearsed or asks_polar):
                self._run(command)
        else:
            self._run(command)
            if command.startswith("git clone "):
                self._furnish(self.place / "meterhouse")

    def _has_token(self) -> bool:
        return "POLAR_ACCESS_TOKEN" in self.environment

    def _run(self, command: str) -> None:
        for written, meant in {
            "<this repository>": str(ROOT),
            "YOUR_ORGANIZATION": self.organization,
            "acct_42": EXTERNAL_ID,
            "/backup/": f"{self.backup}/",
        }.items():
            command = command.replace(written, meant)
        environment = {**self.environment, "PYTHONPATH": str(self.place)}
        done = subprocess.run(
            command, shell=True, cwd=self.place, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    def _furnish(self, clone: Path) -> None:
        """What is not committed yet, the environment that make setup makes, and a user's files in the clone."""
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).exists():
                (clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, clone / name)
        (clone / ".venv").symlink_to(VENV)
        self.backup.mkdir()
        data = self.world.data / "org_d"
        clone.joinpath("events.jsonl").write_bytes(gzip.decompress((data / "events" / "export.jsonl.gz").read_bytes()))
        for kind in ("orders.jsonl", "subscriptions.jsonl", "products.json", "meters.json"):
            (clone / Path(kind).stem).mkdir()
            shutil.copy(data / kind, clone / Path(kind).stem / kind)


def typed(page: str) -> Iterator[str]:
    """The lines of a page that begin with a prompt."""
    for block in blocks("console"):
        if block.page == page:
            for line in block.text.splitlines():
                assert line.startswith("$ "), f"{block}: {line}"
                yield line.removeprefix("$ ")


def parse(arguments: list[str]) -> None:
    """Let the command's own parser take the arguments; no variable of the environment stands in for one."""
    name, *rest = arguments
    assert name in COMMANDS, f"meterhouse {name}"
    command = importlib.import_module(f"loaders.commands.{name}").command
    if isinstance(command, click.Group):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(name, rest)


@pytest.fixture(scope="module")
def checkout(world: World, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A clone in which everything was typed that the README says."""
    made = Checkout(tmp_path_factory.mktemp("clone"), world)
    for line in typed("README.md"):
        made.type(line)
    made.environment.pop("POLAR_ACCESS_TOKEN")
    return made


def test_commands_of_the_readme_lead_to_a_published_file_and_a_report(checkout: Checkout) -> None:
    assert (checkout.place / "warehouse" / "published.duckdb").exists()
    assert (checkout.place / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("page", [page.name for page in pages()[1:] if list(typed(page.name))])
def test_commands_of_each_page_run(checkout: Checkout, page: str) -> None:
    before = dict(checkout.environment)
    try:
        for line in typed(page):
            checkout.type(line)
    finally:
        checkout.environment = before


def test_the_backup_of_the_pages_is_one(checkout: Checkout) -> None:
    """A run in the folder that was put back finds all as it was left."""
    (command,) = [line for line in typed("running.md") if "cp -a" in line]
    shutil.rmtree(checkout.backup)
    checkout.backup.mkdir()
    checkout.type(command)
    restored = checkout.backup / "warehouse"
    done = subprocess.run(
        [".venv/bin/meterhouse", "--home", restored, "run"],
        cwd=checkout.place,
        env={**checkout.environment, "PYTHONPATH": str(checkout.place)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing is new since the last build." in done.stderr


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_parser_takes_each_command_of_a_page(page: Path) -> None:
    """In blocks of any language: crontabs and units too."""
    inside = [
        block.text for language in ("text", "ini", "yaml") for block in blocks(language) if block.page == page.name
    ]
    for line in "\n".join(inside).splitlines():
        match = re.search(r"\.venv/bin/meterhouse ([^>\n]+)", line)
        if match:
            parse(shlex.split(match[1]))


def test_the_demo_says_what_the_readme_shows(world: World) -> None:
    (shown,) = [block.text for block in blocks("text") if "Wrote demo/world/data" in block.text]
    said = "Wrote demo/world/data; the answers are in demo/world/answers.json.\n" + world.run_stderr + world.run_stdout
    assert _without_time(shown) == _without_time(said.replace(str(world.home), "demo/home"))


def _without_time(text: str) -> list[str]:
    lines = (re.sub(r"in [\d.]+ s,", "in some time,", line).rstrip() for line in text.splitlines())
    return [line for line in lines if line]


def test_the_demo_runs_what_the_tests_run() -> None:
    script = read(ROOT / "scripts" / "demo.sh")
    assert "--as-of 2026-05-10T00:00:00Z" in script
    assert "simulate demo/world\n" in script


def test_examples_of_the_help_are_taken_by_the_parser() -> None:
    for name in COMMANDS:
        command = importlib.import_module(f"loaders.commands.{name}").command
        parts = command.commands.values() if isinstance(command, click.Group) else (command,)
        for part in parts:
            for line in re.findall(r"^ *meterhouse (.+)$", part.help or "", re.MULTILINE):
                parse(shlex.split(line))


def test_the_help_names_a_rejected_record_as_the_list_does(world: World) -> None:
    first = meterhouse("quarantine", "list", home=world.home).stdout.split()[0]
    shape = re.sub(r"\w+", "x", first)
    text = meterhouse("quarantine", "replay", "--help", home=world.home).stdout
    named = [*re.findall(r"--record ([A-Z]+\S+) ", text), *re.findall(r"--record (\d\S*)", text)]
    assert [re.sub(r"\w+", "x", name) for name in named] == [shape, shape]


def test_each_page_names_commands_that_exist() -> None:
    for page in pages():
        for code in codes(read(page)):
            match = re.match(r"meterhouse ([a-z]+)\b", code)
            assert match is None or match[1] in COMMANDS, f"{page.name}: `{code}`"
