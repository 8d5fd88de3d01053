{#
    Every paid order has exactly one row in the reconciliation, with its own subtotal and currency. An order left out is
    revenue that nobody compared; one shown twice doubles the variance.
#}

with

paid_orders as (

    select * from {{ ref('orders') }}
    where is_paid

),

reconciled_orders as (

    select
        order_key,
        count(*) as row_count,
        any_value(billed_subtotal_amount) as billed_subtotal_amount,
        any_value(currency) as currency
    from {{ ref('order_reconciliation') }}
    {# A paid order may come without any amount; an unpaid one is named where its payment is missing. #}
    where billed_subtotal_amount is not null or order_key in (select order_key from paid_orders)
    group by order_key

)

select
    coalesce(paid_orders.order_key, reconciled_orders.order_key) as order_key,
    paid_orders.order_id,
    paid_orders.subtotal_amount,
    reconciled_orders.billed_subtotal_amount,
    paid_orders.currency,
    reconciled_orders.row_count
from paid_orders
full outer join reconciled_orders on paid_orders.order_key = reconciled_orders.order_key
where
    reconciled_orders.row_count is distinct from 1
    or paid_orders.subtotal_amount is distinct from reconciled_orders.billed_subtotal_amount
    or paid_orders.currency is distinct from reconciled_orders.currency
