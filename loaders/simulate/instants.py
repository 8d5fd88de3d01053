"""The world's fixed calendar: no clock is read, so the same seed gives the same bytes on any day."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta

EXPORTS_START_AT = datetime(2026, 1, 1, tzinfo=UTC)
COVERAGE_STARTS_AT = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
LAST_USAGE_AT = datetime(2026, 5, 9, 18, tzinfo=UTC)
AS_OF = datetime(2026, 5, 10, tzinfo=UTC)
CATALOG_CREATED_AT = datetime(2025, 11, 3, 9, tzinfo=UTC)


def at(text: str) -> datetime:
    """Read `2026-01-05T10:00`, meant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def iso(moment: datetime) -> str:
    """Write an instant the way Polar's API does: microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def iso_or_none(moment: datetime | None) -> str | None:
    """`iso`, keeping the absence of an instant."""
    return None if moment is None else iso(moment)


def boundary(anchor: datetime, interval: str, count: int) -> datetime:
    """The end of the `count`-th interval after `anchor`: on its day, or the month's last (31 January, 28 February)."""
    if interval in ("day", "week"):
        return anchor + timedelta(days=count * (7 if interval == "week" else 1))
    months = anchor.month - 1 + count * (12 if interval == "year" else 1)
    year, month = anchor.year + months // 12, months % 12 + 1
    return anchor.replace(year=year, month=month, day=min(anchor.day, monthrange(year, month)[1]))
