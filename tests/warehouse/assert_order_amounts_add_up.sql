{{ config(severity='warn') }}
{#
    total = net + tax on every order, and the total lies below the subtotal by the discount. Every amount is as Polar, or
    an export of it, says; one order that contradicts itself is a finding and holds back nobody's publish.
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
    total_amount
from {{ ref('orders') }}
where
    total_amount != net_amount + tax_amount
    or subtotal_amount - discount_amount not in (net_amount, net_amount + tax_amount)
