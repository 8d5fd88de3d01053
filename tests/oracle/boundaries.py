"""When one period ends and the next starts: the anchor-day rule (semantics, 6.1)."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import datetime, timedelta

MONTHS = {"month": 1, "year": 12}
DAYS = {"day": 1, "week": 7}


def boundaries(start_at: datetime, interval: tuple[str, int]) -> Iterator[datetime]:
    """Yield the ends of the periods that follow each other from a start, whose day is the anchor, without end.

    Monthly from 31 January: 28 or 29 February, 31 March, 30 April.
    """
    name, count = interval
    end_at = start_at
    while True:
        if name in DAYS:
            end_at += timedelta(days=DAYS[name] * count)
        else:
            end_at = add_months(end_at, MONTHS[name] * count, anchor=start_at.day)
        yield end_at


def add_months(at: datetime, months: int, anchor: int) -> datetime:
    """Add months, then set the day to the anchor or to the month's last day if that is earlier."""
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    return at.replace(year=year, month=month + 1, day=min(anchor, monthrange(year, month + 1)[1]))
