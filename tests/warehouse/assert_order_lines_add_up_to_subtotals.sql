{{ config(severity='warn') }}
{#
    The lines of an order are its subtotal. Both are as Polar, or an export of it, says: an order whose lines were cut off
    is a finding and holds back nobody's publish.
#}

with

line_sums as (

    select
        order_key,
        sum(amount) as amount
    from {{ ref('order_lines') }}
    group by order_key

)

select
    orders.order_key,
    orders.organization_id,
    orders.order_id,
    orders.subtotal_amount,
    line_sums.amount
from {{ ref('orders') }} as orders
inner join line_sums on orders.order_key = line_sums.order_key
where orders.has_lines and orders.subtotal_amount != line_sums.amount
