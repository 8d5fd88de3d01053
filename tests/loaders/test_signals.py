"""How a command ends on a signal, wherever in Python it arrives."""

import signal
import subprocess
import sys

import pytest

# Python drops what is raised within a destructor.
_LOSES_ITS_SIGNAL = """
import signal, sys, time
from loaders import cli

class Closing:
    def __del__(self):
        signal.raise_signal({number})

def work(*arguments, **options):
    Closing()
    time.sleep(60)

cli.meterhouse.main = work
sys.exit(cli.main([]))
"""


@pytest.mark.parametrize(("number", "code"), [("signal.SIGINT", 130), ("signal.SIGTERM", 143)])
def test_signal_that_is_lost_is_raised_again(number: str, code: int) -> None:
    command = [sys.executable, "-c", _LOSES_ITS_SIGNAL.format(number=number)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=40,
        # A shell lets its jobs in the background ignore Ctrl-C, and so would they.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    assert done.returncode == code, done.stderr
    assert "Exception ignored in: <function Closing.__del__" in done.stderr
    assert done.stderr.endswith("error: interrupted; run the same command again to finish.\n")
