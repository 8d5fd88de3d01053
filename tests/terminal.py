"""Running a command as a person does, with a terminal to talk to."""

import contextlib
import os
import pty
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path


def run_on_a_terminal(
    command: list[str], *, cwd: Path, env: Mapping[str, str] | None = None, timeout: float
) -> tuple[int, bytes, bytes]:
    """Return the exit code, what the terminal showed (stderr is one), and stdout, which is none."""
    ours, theirs = pty.openpty()
    # A file takes any amount: a full pipe would hold up the command while we read the terminal.
    with tempfile.TemporaryFile() as stdout:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=stdout, stderr=theirs)
        os.close(theirs)
        shown = b""
        # Read to the end on Linux, where a terminal without a writer raises.
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65536):
                shown += chunk
        os.close(ours)
        process.wait(timeout=timeout)
        stdout.seek(0)
        return process.returncode, shown, stdout.read()
