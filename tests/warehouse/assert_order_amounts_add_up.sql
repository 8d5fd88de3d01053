{#
    total = net + tax on every order, the total lies below the subtotal by the discount, and no more is paid than the total
    and the balance ask for. Amounts of two sources mixed up would pass for revenue.
#}

select
    order_key,
    order_id,
    organization_id,
    currency,
    subtotal_amount,
    discount_amount,
    net_amount,
    tax_amount,
    total_amount,
    applied_balance_amount,
    paid_amount
from {{ ref('orders') }}
where
    total_amount != net_amount + tax_amount
    or subtotal_amount - discount_amount not in (net_amount, net_amount + tax_amount)
    or paid_amount > greatest(0, total_amount + applied_balance_amount)
    or (paid_amount != 0 and not is_paid)
    or (paid_at is not null and not is_paid)
