{#
    From what an order was paid with to what was settled of it. order.paid says the order's total, which is not what was
    charged: the customer's balance pays part, what lies below the minimum is booked as debt, a charge may need several
    tries. Each step is a column, each difference is named.
#}

with

orders as (

    select * from {{ ref('int_orders_merged') }}
    where is_paid

),

movements as (

    select * from {{ ref('int_settlement_movements') }}
    where order_id is not null and kind != 'as_polar'

),

currencies as (

    select * from {{ ref('currencies') }}

),

{# An order settles in one currency; only where its own is unknown to settlement may its fee be in another. #}
settled_orders as (

    select
        organization_id,
        order_id,
        max(currency) filter (where is_order_counted) as settlement_currency,
        max(exchange_rate) filter (where is_order_counted) as exchange_rate,
        max(rate_at) filter (where is_order_counted) as exchange_rate_at,
        max(rate_basis) filter (where is_order_counted) as exchange_rate_basis,
        bool_or(kind in ('order', 'credit_order', 'order_object')) as is_settled,
        sum(charged_amount) as charged_amount,
        sum(revenue_amount) as revenue_amount,
        sum(settled_amount) as settled_amount,
        max(currency) filter (where fee_amount != 0) as fee_currency,
        sum(fee_amount) as fee_amount,
        sum(refund_amount) as refund_amount,
        sum(dispute_amount) as dispute_amount
    from movements
    group by organization_id, order_id

),

steps as (

    select
        orders.order_key,
        orders.order_id,
        orders.organization_id,
        orders.customer_key,
        orders.currency,
        orders.total_amount,
        orders.applied_balance_amount,
        greatest(0, -(orders.total_amount + orders.applied_balance_amount)) as credited_amount,
        greatest(0, orders.total_amount + orders.applied_balance_amount) - orders.paid_amount as uncharged_amount,
        orders.paid_amount,
        orders.tax_amount,
        settled_orders.charged_amount,
        {# Where nothing is charged, no tax is collected with it. #}
        settled_orders.charged_amount
        - case when orders.paid_amount = 0 then 0 else orders.paid_amount - orders.tax_amount end as charge_difference_amount,
        settled_orders.settlement_currency,
        settled_orders.exchange_rate,
        settled_orders.exchange_rate_at,
        settled_orders.exchange_rate_basis,
        settled_orders.settled_amount,
        settled_orders.revenue_amount - settled_orders.settled_amount as revenue_beyond_cash_amount,
        settled_orders.revenue_amount,
        settled_orders.fee_amount,
        coalesce(settled_orders.fee_currency, settled_orders.settlement_currency) as fee_currency,
        settled_orders.refund_amount,
        settled_orders.dispute_amount,
        settled_orders.is_settled,
        orders.created_at,
        orders.paid_at,
        orders.total_amount + orders.applied_balance_amount < currencies.minimum_amount as is_below_minimum
    from orders
    left join settled_orders
        on
            orders.organization_id = settled_orders.organization_id
            and orders.order_id = settled_orders.order_id
    left join currencies on orders.currency = currencies.currency

)

select
    order_key,
    order_id,
    organization_id,
    customer_key,
    currency,
    total_amount,
    applied_balance_amount,
    cast(credited_amount as bigint) as credited_amount,
    cast(uncharged_amount as bigint) as uncharged_amount,
    paid_amount,
    tax_amount,
    cast(charged_amount as bigint) as charged_amount,
    cast(charge_difference_amount as bigint) as charge_difference_amount,
    settlement_currency,
    exchange_rate,
    exchange_rate_at,
    exchange_rate_basis,
    cast(settled_amount as bigint) as settled_amount,
    cast(revenue_beyond_cash_amount as bigint) as revenue_beyond_cash_amount,
    cast(revenue_amount as bigint) as revenue_amount,
    cast(fee_amount as bigint) as fee_amount,
    fee_currency,
    cast(refund_amount as bigint) as refund_amount,
    cast(dispute_amount as bigint) as dispute_amount,
    concat_ws(
        ', ',
        case when applied_balance_amount < 0 then 'paid_by_balance' when applied_balance_amount > 0 then 'debt_collected' end,
        case when credited_amount > 0 then 'credited' end,
        case when uncharged_amount > 0 and is_below_minimum then 'below_minimum' when uncharged_amount > 0 then 'not_charged' end,
        case when paid_at >= created_at + interval '1 day' then 'paid_later' end,
        case when charge_difference_amount != 0 then 'charged_otherwise' end,
        case when settlement_currency != currency then 'exchanged' end,
        case when not coalesce(is_settled, false) and total_amount != 0 then 'not_settled' end,
        case when refund_amount != 0 then 'refunded' end,
        case when dispute_amount != 0 then 'disputed' end
    ) as differences,
    created_at,
    paid_at
from steps
