"""One broken rule in each area of the billing engine, and the test that must see it."""

from dataclasses import dataclass

BILLING = "models/intermediate/billing"
MARTS = "models/marts"


@dataclass(frozen=True)
class Mutation:
    """A rule that is broken by replacing `old` with `new` in a file, once.

    `seen_by` is a test file, or a model whose unit tests are meant.
    """

    area: str
    rule: str
    file: str
    old: str
    new: str
    seen_by: str


MUTATIONS = [
    Mutation(
        "filter",
        "no clauses match everything",
        "loaders/metering.py",
        "    if not clauses:\n        return True",
        "    if not clauses:\n        return False",
        "tests/loaders/test_metering.py",
    ),
    Mutation(
        "filter",
        "a missing property matches nothing, also for not_like",
        "loaders/metering.py",
        "found is None or not",
        "False or not",
        "tests/loaders/test_metering.py",
    ),
    Mutation(
        "aggregation",
        "only JSON numbers are summed",
        f"{BILLING}/int_metered_events.sql",
        "as double) end as units_as_double",
        "as double) else try_cast(value ->> '$' as double) end as units_as_double",
        "int_metered_events",
    ),
    Mutation(
        "aggregation",
        "the average's denominator leaves out what is no number",
        f"{BILLING}/int_metered_quantities.sql",
        "when 'avg' then cast(sum(event_count) filter (where {{ condition }}) as double)",
        "when 'avg' then cast(1 + sum(event_count) as double)",
        "int_metered_quantities",
    ),
    Mutation(
        "credits",
        "the running sum never goes below zero at any step",
        f"{MARTS}/billing/credit_ledger.sql",
        "cast(sum(units) - least(0, min(units_so_far)) as bigint) as credited_units",
        "cast(greatest(0, sum(units)) as bigint) as credited_units",
        "credit_ledger",
    ),
    Mutation(
        "credits",
        "a window starts with the reset's own instant",
        f"{MARTS}/billing/credit_ledger.sql",
        "metered_months.part_starts_at >= windows.starts_at",
        "metered_months.part_starts_at > windows.starts_at",
        "credit_ledger",
    ),
    Mutation(
        "rating",
        "half a minor unit goes away from zero",
        "loaders/rating.py",
        "floor(abs(amount) + Fraction(1, 2))",
        "round(abs(amount))",
        "tests/loaders/test_rating.py",
    ),
    Mutation(
        "rating",
        "a bound is inclusive",
        "loaders/rating.py",
        "quantity <= bound",
        "quantity < bound",
        "tests/loaders/test_rating.py",
    ),
    Mutation(
        "rating",
        "unit prices round half away from zero",
        "macros/rate_units.sql",
        "then 1\n                else 0",
        "then 0\n                else 0",
        "int_metered_quantities",
    ),
    Mutation(
        "attribution",
        "trial usage is never billed",
        f"{BILLING}/int_billing_routes.sql",
        "when stretches.route_starts_at < chosen_prices.trial_ends_at then 'trial'",
        "",
        "int_billing_routes",
    ),
    Mutation(
        "attribution",
        "a subscription of one's own comes before a seat",
        f"{BILLING}/int_billing_routes.sql",
        "order by live_intervals.is_seat, live_intervals.started_at",
        "order by live_intervals.started_at",
        "int_billing_routes",
    ),
    Mutation(
        "order_amounts",
        "exclusive tax is no part of the subtotal",
        "models/intermediate/orders/int_orders_merged.sql",
        "{%- if var('tax_behavior') == 'inclusive' %}",
        "{%- if true %}",
        "int_orders_merged",
    ),
    Mutation(
        "order_amounts",
        "the price that is named decides what a line is",
        "models/intermediate/orders/int_order_lines_priced.sql",
        "when prices.price_id is null and (labelled",
        "when (labelled",
        "int_order_lines_priced",
    ),
    Mutation(
        "refunds",
        "a failed refund is taken back",
        "models/intermediate/orders/int_orders_merged.sql",
        "refund_events.refunded_amount - coalesce(refund_reversals.reversed_amount, 0)",
        "refund_events.refunded_amount",
        "int_orders_merged",
    ),
    Mutation(
        "dedup",
        "a recorded copy takes the submission's place",
        "models/intermediate/usage/int_usage_events_counted.sql",
        "recorded_copies.external_id is null and not coalesce(",
        "not coalesce(",
        "int_usage_events_counted",
    ),
    Mutation(
        "hierarchy",
        "an external id is tried before Polar's",
        "models/intermediate/usage/int_usage_event_trees.sql",
        "coalesce(parents_by_external_id.parent_event_key, parents_by_id.parent_event_key)",
        "coalesce(parents_by_id.parent_event_key, parents_by_external_id.parent_event_key)",
        "int_usage_event_trees",
    ),
    Mutation(
        "validation",
        "a name has 128 characters at most",
        "loaders/records/_events.py",
        "NAME_LENGTH_LIMIT = 128",
        "NAME_LENGTH_LIMIT = 129",
        "tests/loaders/test_records_reasons.py",
    ),
    Mutation(
        "reconciliation",
        "a line is judged by its own variance",
        f"{MARTS}/reconciliation/meter_reconciliation.sql",
        "else billed_amount - expected_amount",
        "else 0",
        "meter_reconciliation",
    ),
    Mutation(
        "reconciliation",
        "late usage is valued in the period it occurred in",
        f"{BILLING}/int_metered_quantities.sql",
        "share in ('own', 'late_out')",
        "share = 'own'",
        "int_metered_quantities",
    ),
    Mutation(
        "reconciliation",
        "what was published first is what a period is compared with",
        f"{MARTS}/reconciliation/period_restatements.sql",
        "where published_periods.expected_amount is distinct from current_periods.expected_amount",
        "where true",
        "period_restatements",
    ),
    Mutation(
        "allocation",
        "what is left over goes to the largest remainders",
        f"{MARTS}/billing/member_allocations.sql",
        "case when remainder_rank <= left_over then 1 else 0 end",
        "0",
        "member_allocations",
    ),
    Mutation(
        "sync",
        "a page may be short before the last one",
        "loaders/sources/polar.py",
        "if number >= last or not ahead:",
        "if number >= last or len(arrival.page.items) < _PAGE_SIZE:",
        "tests/sync/test_list_traps.py",
    ),
    Mutation(
        "sync",
        "the bounds of a window are exclusive",
        "loaders/sources/polar.py",
        "_written(window.start - _MILLISECOND)",
        "_written(window.start)",
        "tests/sync/test_list_traps.py",
    ),
    Mutation(
        "sync",
        "a window that moved is not complete",
        "loaders/sources/polar.py",
        "        if reading.is_whole():\n            return\n",
        "        if reading.is_over:\n            return\n",
        "tests/sync/test_list_traps.py",
    ),
    Mutation(
        "sync",
        "an order that was open is read again",
        "loaders/sync.py",
        "in ('draft', 'pending')",
        "in ('draft')",
        "tests/sync/test_list_traps.py",
    ),
    Mutation(
        "sync",
        "--since leaves no gap",
        "loaders/sync.py",
        "start = min(_aware(cursor.covered_to_at) - options.reread, limit)",
        "start = options.since or _aware(cursor.covered_to_at) - options.reread",
        "tests/sync/test_list_traps.py",
    ),
    Mutation(
        "sync",
        "events end after all else was read",
        "loaders/sync.py",
        'may_end=is_whole or kind != "events"',
        "may_end=True",
        "tests/sync/test_list_traps.py",
    ),
    Mutation(
        "sync",
        "an order with a new refund is read again",
        "loaders/sync.py",
        "or resource_id in (select order_id from refunded where order_id is not null)",
        "",
        "tests/sync/test_list_traps.py",
    ),
    Mutation(
        "sync",
        "the last minutes are not vouched for",
        "loaders/sync.py",
        "SETTLING = timedelta(minutes=15)",
        "SETTLING = timedelta()",
        "tests/sync/test_list_traps.py",
    ),
    Mutation(
        "sync",
        "a cursor is read back after COMMIT",
        "loaders/landing.py",
        "if not is_written or not (mark is None or mark.is_written()):",
        "if not is_written:",
        "tests/sync/test_failures.py",
    ),
    Mutation(
        "sync",
        "Retry-After is waited for",
        "loaders/sources/polar_api.py",
        "max(failure.retry_after or 0.0, 0.0) + ",
        "",
        "tests/sync/test_failures.py",
    ),
    Mutation(
        "sync",
        "a burst counts to the minute it begins",
        "loaders/sources/polar_api.py",
        "60.0 / (per_minute - self._burst + 1)",
        "60.0 / per_minute",
        "tests/sync/test_failures.py",
    ),
    Mutation(
        "sync",
        "a clock that is ahead vouches for nothing to come",
        "loaders/sync.py",
        "return ahead if ahead > _CLOCK_TOLERANCE else timedelta()",
        "return timedelta()",
        "tests/sync/test_failures.py",
    ),
    Mutation(
        "webhooks",
        "a segment is known by its name",
        "loaders/landing.py",
        "if self._origin.has_own_name:",
        "if self._origin.name is None:",
        "tests/webhooks/test_spool.py",
    ),
]
