"""What a build's result depends on besides the landed records: the project's files, and the versions that read them."""

import hashlib
import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

PROJECT_FOLDER = Path(__file__).resolve().parent.parent
_PACKAGES = ("duckdb", "dbt-core", "dbt-duckdb", "meterhouse")
_PARTS = (
    ("models", "*"),
    ("macros", "*"),
    ("seeds", "*"),
    ("tests/warehouse", "*"),
    ("loaders", "*.py"),
)
_FILES = ("dbt_project.yml", "profiles.yml")


def project_fingerprint() -> str:
    """Return a hash of all that a build reads but the work file: another one may give other tables."""
    files = [path for folder, pattern in _PARTS for path in (PROJECT_FOLDER / folder).rglob(pattern) if path.is_file()]
    files += [PROJECT_FOLDER / name for name in _FILES]
    return _digest(files, [*_settings(), *(f"{package} {version(package)}" for package in _PACKAGES)])


def macros_fingerprint() -> str:
    """Return a hash of what an incremental model's own text does not show of its definition: what it may call."""
    return _digest([*(PROJECT_FOLDER / "macros").glob("*.sql"), PROJECT_FOLDER / "loaders" / "exact.py"], [])


def definitions_fingerprint() -> str:
    """Return a hash of all that tells how tables are made: under another one no table may be changed in place.

    Seeds are records: what they change is found by comparing, as with landed ones.
    """
    files = [*(PROJECT_FOLDER / "models").rglob("*.sql"), *(PROJECT_FOLDER / "macros").glob("*.sql")]
    files += [PROJECT_FOLDER / name for name in _FILES]
    files += [PROJECT_FOLDER / "loaders" / name for name in ("exact.py", "metering.py", "rating.py")]
    return _digest(files, [*_settings(), f"duckdb {version('duckdb')}"])


def _settings() -> list[str]:
    return [f"{name}={os.environ[name]}" for name in sorted(os.environ) if name.startswith("DBT_ENV_")]


def _digest(files: Iterable[Path], facts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        if "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(PROJECT_FOLDER)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    for fact in facts:
        digest.update(fact.encode() + b"\0")
    return digest.hexdigest()
