"""What may not be stored: records of people who were erased, and the fields that a setting names."""

import os

import duckdb
import msgspec
import pyarrow as pa

from loaders import records

REDACT = "METERHOUSE_REDACT"


def _redacted_paths() -> list[str]:
    """Return the paths in METERHOUSE_REDACT: fields of a record, dots between levels, commas between paths."""
    return [path.strip() for path in os.environ.get(REDACT, "").split(",") if path.strip()]


class Guard:
    """Looks at each record before it is stored; without erased people and redacted paths there is nothing to see.

    It asks the environment itself: a command that forgot to would store what must not be stored.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        hashes = connection.execute("select id_hash from raw.erased_ids").fetchall()
        salt = connection.execute("select salt from raw.erasure_salt").fetchone()
        self._erased = records.ErasedIds(salt[0], frozenset(row[0] for row in hashes)) if salt and hashes else None
        paths = _redacted_paths()
        self._redaction = records.Redaction(paths) if paths else None

    @property
    def is_idle(self) -> bool:
        return self._erased is None and self._redaction is None

    def passed(self, plain: pa.Table) -> pa.Table:
        """Return the plain events that may be stored as they are; the others are looked at one by one."""
        if self.is_idle:
            return plain
        may_pass = [
            not (self._redaction and self._redaction.may_touch(payload.encode()))
            and not (self._erased and self._names_erased(organization_id, payload, "events"))
            for organization_id, payload in zip(
                plain["organization_id"].to_pylist(), plain["payload"].to_pylist(), strict=True
            )
        ]
        return plain.filter(pa.array(may_pass, pa.bool_()))

    def is_of_erased(self, verdict: records.Verdict, raw: bytes) -> bool:
        """Tell whether a record, valid or not, is of someone who was erased."""
        if self._erased is None:
            return False
        if isinstance(verdict, records.Event):
            return self._names_erased(verdict.organization_id, verdict.payload, "events")
        if isinstance(verdict, records.Resource):
            kind = records.owned_kind(verdict.kind, verdict.webhook_type)
            return self._names_erased(verdict.organization_id, verdict.payload, kind)
        return self._erased.are_quoted_in(verdict.organization_id, raw)

    def _names_erased(self, organization_id: str, payload: str, kind: str) -> bool:
        named = records.people_named(msgspec.json.decode(payload), kind)
        return self._erased is not None and self._erased.are_in(organization_id, named)

    def redacted(self, payload: str) -> str | None:
        """Return a valid record's text without what the setting names; None where it is stored as it came."""
        if self._redaction is None or not self._redaction.may_touch(payload.encode()):
            return None
        return self._redaction.of(payload)

    def redact_rejected(self, verdict: records.Rejected, raw: bytes) -> bytes:
        """Return what is kept of a refused record. What cannot be read as JSON is kept as it is."""
        if self._redaction is None or not self._redaction.may_touch(raw):
            return raw
        if self._redaction.names(verdict.field):
            verdict.found = None
        try:
            text = self._redaction.of(raw.decode())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError, ValueError):
            return raw
        if text is None:
            return raw
        verdict.found = None
        return text.encode()
