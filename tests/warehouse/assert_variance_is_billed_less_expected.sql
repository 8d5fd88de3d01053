{#
    expected subtotal = static + metered; variance = billed - proration - expected, or -expected where no paid order exists;
    it is null exactly where the status is not_comparable, and its sign agrees with the status. These are the numbers that
    a finance team acts on.
#}

select
    order_reconciliation_key,
    order_id,
    subscription_id,
    status,
    cause,
    billed_subtotal_amount,
    proration_amount,
    expected_static_amount,
    expected_metered_amount,
    expected_subtotal_amount,
    variance_amount,
    allowed_variance_amount
from {{ ref('order_reconciliation') }}
where
    expected_subtotal_amount is distinct from expected_static_amount + expected_metered_amount
    or (variance_amount is null) != (status = 'not_comparable')
    or (
        status != 'not_comparable'
        and variance_amount is distinct from
        coalesce(billed_subtotal_amount - proration_amount, 0) - expected_subtotal_amount
    )
    or (status in ('pending', 'unbilled')) != (billed_subtotal_amount is null and status != 'not_comparable')
    or (status = 'matched' and variance_amount != 0)
    or (status = 'underbilled' and variance_amount >= -allowed_variance_amount)
    or (status = 'overbilled' and variance_amount <= allowed_variance_amount)
    or (
        status = 'within_tolerance'
        and abs(variance_amount) > allowed_variance_amount
        and variance_amount not between cutoff_low_amount and cutoff_high_amount
    )
