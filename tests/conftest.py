"""What tests of several folders share."""

import os
import tempfile

import pytest

from tests import parsed_project
from tests.loaders.main_job.conftest import World


def pytest_configure(config: pytest.Config) -> None:
    """Make a folder for what the processes of this test run share; those that xdist starts know it by its variable."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="meterhouse-tests-")
        os.environ[parsed_project.FOLDER_VARIABLE] = folder.name
        config.add_cleanup(folder.cleanup)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A simulated world and what the job made of it. It is built once in each process of a test run: only read it."""
    return World(tmp_path_factory.mktemp("main_job"))
