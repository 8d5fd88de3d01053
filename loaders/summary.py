"""What a run ends with: the published file in a few figures."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from loaders.warehouse import open_published_copy

# Statuses that need a person; pending rows wait, not comparable ones have nothing to compare with.
EXCEPTIONS = ("unbilled", "unexpected", "underbilled", "overbilled")


@dataclass(frozen=True)
class Money:
    """A currency's orders: what usage and prices expect and what was billed, in whole units of the currency."""

    currency: str
    digits: int
    order_count: int
    expected: Decimal
    billed: Decimal
    variance: Decimal


@dataclass(frozen=True)
class StatusLine:
    """How many reconciliation rows have a status in a currency, and the sum of their variances."""

    status: str
    currency: str
    digits: int
    row_count: int
    variance: Decimal


@dataclass(frozen=True)
class Case:
    """One exception: the row's key, who, when, how much, and why."""

    status: str
    cause: str
    customer: str
    order_id: str | None
    period: str
    currency: str
    digits: int
    variance: Decimal


@dataclass(frozen=True)
class Summary:
    """The published file in figures."""

    path: Path
    as_of: str
    events_landed: int
    usage_events: int
    customers: int
    members: int
    quarantined: int
    money: list[Money]
    statuses: list[StatusLine]
    largest: list[Case]

    def count(self, status: str) -> int:
        """How many reconciliation rows have this status."""
        return sum(line.row_count for line in self.statuses if line.status == status)


_MONEY = """
select r.currency, coalesce(any_value(c.minor_unit_digits), 2), count(*), sum(r.expected_subtotal_amount),
    sum(coalesce(r.billed_subtotal_amount, 0) - coalesce(r.proration_amount, 0)), sum(r.variance_amount)
from order_reconciliation as r left join currencies as c on r.currency = c.currency
where r.status not in ('not_comparable', 'pending')
group by r.currency order by r.currency
"""

_STATUSES = """
select r.status, coalesce(r.currency, '-'), coalesce(any_value(c.minor_unit_digits), 2), count(*),
    coalesce(sum(r.variance_amount), 0)
from order_reconciliation as r left join currencies as c on r.currency = c.currency
group by r.status, r.currency order by r.status, r.currency
"""

# Currencies are never added up; to rank across them the amounts are taken in whole units.
_LARGEST = """
select r.status, r.cause, coalesce(u.external_customer_id, u.customer_id, r.customer_key, '-'), r.order_id,
    coalesce(strftime(r.period_end_at, '%Y-%m-%d'), strftime(coalesce(r.paid_at, r.due_at), '%Y-%m-%d'), '-'),
    r.currency, coalesce(c.minor_unit_digits, 2), r.variance_amount
from order_reconciliation as r
left join currencies as c on r.currency = c.currency
left join customers as u on r.customer_key = u.customer_key
where list_contains(?, r.status)
order by abs(r.variance_amount) / power(10, coalesce(c.minor_unit_digits, 2)) desc, r.order_reconciliation_key
limit 5
"""


def summarize(published: Path) -> Summary:
    """Read the summary from a published file. Raises HomeError where there is none."""
    with open_published_copy(published) as reader:

        def one(sql: str) -> int:
            row = reader.execute(sql).fetchone()
            return int(row[0]) if row and row[0] is not None else 0

        as_of = reader.execute("select strftime(as_of, '%Y-%m-%d %H:%M:%S UTC') from publication").fetchone()
        return Summary(
            path=published,
            as_of=as_of[0] if as_of else "-",
            events_landed=one("select sum(landed) from loads"),
            usage_events=one("select count(*) from usage_events"),
            customers=one("select count(*) from customers"),
            members=one("select count(*) from members"),
            quarantined=one("select count(*) from quarantined_records where status = 'open'"),
            money=[
                Money(currency or "-", digits, count, *(_major(amount, digits) for amount in amounts))
                for currency, digits, count, *amounts in reader.execute(_MONEY).fetchall()
            ],
            statuses=[
                StatusLine(status, currency, digits, count, _major(amount, digits))
                for status, currency, digits, count, amount in reader.execute(_STATUSES).fetchall()
            ],
            largest=[_case(*row) for row in reader.execute(_LARGEST, [list(EXCEPTIONS)]).fetchall()],
        )


def _case(
    status: str,
    cause: str,
    customer: str,
    order_id: str | None,
    period: str,
    currency: str,
    digits: int,
    variance: int | None,
) -> Case:
    return Case(status, cause, customer, order_id, period, currency, digits, _major(variance, digits))


def _major(minor: int | None, digits: int) -> Decimal:
    """Minor units as an exact amount of the currency: 1234 with 2 digits is 12.34."""
    return Decimal(minor or 0).scaleb(-digits)
