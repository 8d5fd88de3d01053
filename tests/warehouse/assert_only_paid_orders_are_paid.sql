{#
    No more is paid than the total and the balance ask for, and nothing on an order that is not paid. Cash that nobody
    paid would pass for revenue.
#}

select
    order_key,
    order_id,
    organization_id,
    currency,
    total_amount,
    applied_balance_amount,
    paid_amount,
    is_paid,
    paid_at
from {{ ref('orders') }}
where
    paid_amount > greatest(0, total_amount + applied_balance_amount)
    or (paid_amount != 0 and not is_paid)
    or (paid_at is not null and not is_paid)
