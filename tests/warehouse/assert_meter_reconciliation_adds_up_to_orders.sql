{#
    Line by line and as a whole an order is compared with the same usage: the lines' expected amounts are what the order's
    row expects of meters, and what is not comparable for the order is not for its lines.
#}

with

orders as (

    select * from {{ ref('order_reconciliation') }}
    where (comparison = 'lines' or status in ('pending', 'unbilled')) and expected_metered_amount is not null

),

lines as (

    select
        order_reconciliation_key,
        sum(expected_amount) as expected_amount,
        count(*) = count(expected_amount) as is_rated
    from {{ ref('meter_reconciliation') }}
    group by order_reconciliation_key

)

select
    orders.order_reconciliation_key,
    orders.organization_id,
    orders.order_id,
    orders.expected_metered_amount,
    lines.expected_amount
from orders
left join lines on orders.order_reconciliation_key = lines.order_reconciliation_key
where orders.expected_metered_amount != coalesce(lines.expected_amount, 0)
