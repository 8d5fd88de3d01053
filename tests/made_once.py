"""What all processes of a test run use and one of them makes: a world that was built costs half a minute."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

# The folder of a test run, which conftest.py makes; the processes that xdist starts know it by this variable.
FOLDER_VARIABLE = "METERHOUSE_TEST_RUN"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that the first process that asks for it fills; others wait for it, and only read it."""
    run = Path(os.environ[FOLDER_VARIABLE])
    folder = run / name
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            try:
                make(folder)
            except BaseException:
                shutil.rmtree(folder)
                raise
    return folder
