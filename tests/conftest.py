"""What tests of several folders share."""

import os
import tempfile

import pytest

from tests.loaders.main_job.conftest import World, make_world
from tests.made_once import FOLDER_VARIABLE, made_once


def pytest_configure(config: pytest.Config) -> None:
    """Make a folder for what the processes of this test run share; those that xdist starts know it by its variable."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="meterhouse-tests-")
        os.environ[FOLDER_VARIABLE] = folder.name
        config.add_cleanup(folder.cleanup)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A simulated world and what the job made of it: only read it."""
    return World(made_once("world", make_world), tmp_path_factory.mktemp("main_job") / "home")
