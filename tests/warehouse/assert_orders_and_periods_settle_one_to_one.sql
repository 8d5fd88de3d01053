{#
    A paid order settles at most one period, a period is settled by at most one paid order, and the reconciliation, the
    periods and meter_usage name the same pairs. A period settled twice is expected twice and hides what was overbilled.
#}

with

periods as (

    select * from {{ ref('billing_periods') }}

),

settled_periods as (

    select * from periods
    where order_key is not null

),

reconciled_periods as (

    select * from {{ ref('order_reconciliation') }}
    where billing_period_key is not null

),

paid_orders as (

    select * from {{ ref('orders') }}
    where is_paid

),

{# Of an order that is missing the unpaid one is named. #}
settling_orders as (

    select reconciled_periods.*
    from reconciled_periods
    semi join paid_orders on reconciled_periods.order_key = paid_orders.order_key

),

meter_usage as (

    select * from {{ ref('meter_usage') }}

)

select
    'the order settles several periods' as problem,
    order_key,
    string_agg(billing_period_key, ', ' order by billing_period_key) as billing_period_key
from settled_periods
group by order_key
having count(*) > 1
union all
select
    'the period is reconciled several times' as problem,
    string_agg(order_key, ', ' order by order_key) as order_key,
    billing_period_key
from reconciled_periods
group by billing_period_key
having count(*) > 1
union all
select
    'period and reconciliation name different orders' as problem,
    coalesce(settling_orders.order_key, settled_periods.order_key) as order_key,
    coalesce(settling_orders.billing_period_key, settled_periods.billing_period_key) as billing_period_key
from settling_orders
full outer join settled_periods on settling_orders.billing_period_key = settled_periods.billing_period_key
where settling_orders.order_key is distinct from settled_periods.order_key
union all
select
    'meter_usage and period name different orders or times' as problem,
    meter_usage.order_key,
    meter_usage.billing_period_key
from meter_usage
inner join periods on meter_usage.billing_period_key = periods.billing_period_key
where
    meter_usage.order_key is distinct from periods.order_key
    or meter_usage.period_start_at != periods.period_start_at
    or meter_usage.period_end_at != periods.period_end_at
