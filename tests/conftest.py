"""What tests of several folders share."""

import pytest

from tests.loaders.main_job.conftest import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A simulated world and what the job made of it. It is built once in each process of a test run: only read it."""
    return World(tmp_path_factory.mktemp("main_job"))
