{{ config(severity='warn') }}
{#
    Every order has a currency. Polar's older events lack it, and where neither a balance event nor a subscription names
    one it stays unknown: a finding of one organization, which holds back nobody's publish.
#}

select
    'orders' as table_name,
    order_key as row_key,
    'total_amount' as amount_name
from {{ ref('orders') }}
where coalesce(subtotal_amount, total_amount) is not null and currency is null
union all
select
    'order_reconciliation' as table_name,
    order_reconciliation_key as row_key,
    'billed_subtotal_amount' as amount_name
from {{ ref('order_reconciliation') }}
where
    currency is null
    and (billed_subtotal_amount is not null or expected_subtotal_amount != 0 or variance_amount is not null)
