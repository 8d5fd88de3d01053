"""The errors Meterhouse raises on purpose.

    LoaderError                 something a person can mend; `main()` prints it and ends with its exit code
    ├── UsageError              the command line or a setting is wrong (exit code 2)
    ├── HomeError               the machine stops it: disk, permission, damaged file (exit code 1)
    ├── DataError               the data stops it (exit code 1)
    │   └── UnreadableFileError one input file cannot be read to its end; the other files go on
    ├── ApiError                Polar's API cannot be read now (exit code 1)
    │   └── RefusedError        it refuses the request, and would again
    ├── BuildError              models or tests failed (exit code 1)
    ├── PublishError            nothing that may be published, or the copy did not check out (exit code 1)
    └── LockedError             another run holds the home folder (exit code 75)

A message says where, what was found and what to do.
"""


class LoaderError(Exception):
    """Root of all errors with a message for a person."""

    exit_code = 1


class UsageError(LoaderError):
    """The command line or a setting is wrong."""

    exit_code = 2


class HomeError(LoaderError):
    """The home folder or the machine stops the command."""


class DataError(LoaderError):
    """The data stops the command."""


class UnreadableFileError(DataError):
    """One input file cannot be read to its end: it lands nothing, the other files go on."""


class ApiError(LoaderError):
    """Polar's API cannot be read now: the network, the server or the rate limit stops it."""


class RefusedError(ApiError):
    """Polar refuses the request: asking again is of no use before somebody changes something."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BuildError(LoaderError):
    """Models or tests failed."""


class PublishError(LoaderError):
    """There is nothing that may be published, or the copy did not check out."""


class LockedError(LoaderError):
    """Another run holds the home folder's lock."""

    exit_code = 75

    def __init__(self, lock_path: str, holder_pid: int | None) -> None:
        self.lock_path = lock_path
        self.holder_pid = holder_pid
        holder = f"process {holder_pid}" if holder_pid else "another process"
        super().__init__(f"{lock_path}: {holder} is working on this home folder. Wait for it to end and run again.")
