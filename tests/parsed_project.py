"""dbt's parse of the project, made once for all home folders of a test run: each would take four seconds of its own.

dbt takes what an earlier run parsed only where the profile is the same, and part of it is the path of the work file. So
a parse is handed on with the checksum that dbt would compute for the new path. Where it is wrong in any way dbt parses
as if nothing were there; whether files of the project are the same dbt looks for by itself.
"""

import contextlib
import functools
import hashlib
import os
import pprint
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.made_once import FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parents[1]
_BUILDING = {"build", "run"}
_PARSE = "partial_parse.msgpack"
_CHECKSUM = re.compile(rb"(?<=\xacprofile_hash\x82\xa4name\xa6sha256\xa8checksum\xd9\x40)[0-9a-f]{64}")


@contextlib.contextmanager
def shared_parse(
    home: Path, command: Sequence[str | Path] = ("build",), *, target: Path | None = None
) -> Iterator[None]:
    """Around a command: before one that builds the home takes over a parse, after it others may take over its own.

    A parse that is there stays, damaged or not; only one of another home, whose folder was copied, becomes this one's.
    `target` is dbt's target folder where it is not the home's.
    """
    if not _BUILDING.intersection(command):
        yield
        return
    shared = Path(os.environ[FOLDER_VARIABLE]) / _PARSE
    own = (target or home / "target") / _PARSE
    known = own if own.exists() else shared
    if home.exists() and known.exists():
        _hand_on(known, own, _profile_checksum(home))
    yield
    if own.exists() and not shared.exists():
        _write(shared, own.read_bytes())


def _hand_on(parse: Path, to: Path, checksum: bytes) -> None:
    content = parse.read_bytes()
    found = _CHECKSUM.search(content)
    if found and (found[0] != checksum or parse != to):
        _write(to, content[: found.start()] + checksum + content[found.end() :])


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes of a test run may write it at the same time.
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def _profile_checksum(home: Path) -> bytes:
    """What dbt computes of a connection's settings (dbt/parser/manifest.py)."""
    from dbt.adapters.duckdb.credentials import DuckDBCredentials

    credentials = DuckDBCredentials.from_dict({**_profile(), "path": f"{home}/meterhouse.duckdb"})
    return hashlib.sha256(pprint.pformat(sorted(credentials.connection_info())).encode()).hexdigest().encode()


@functools.cache
def _profile() -> dict[str, Any]:
    import yaml

    output = yaml.safe_load((ROOT / "profiles.yml").read_text())["meterhouse"]["outputs"]["home"]
    return {name: value for name, value in output.items() if name not in ("type", "threads")}
