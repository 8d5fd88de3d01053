{#
    A paid order settles at most one period, a period is settled by at most one paid order, and the reconciliation, the
    periods and meter_usage name the same pairs. A period settled twice is expected twice and hides what was overbilled.
#}

with

periods as (

    select * from {{ ref('billing_periods') }}

),

reconciled_orders as (

    select * from {{ ref('order_reconciliation') }}
    where billed_subtotal_amount is not null

)

select
    'order settles several periods' as problem,
    order_key,
    string_agg(billing_period_key, ', ' order by billing_period_key) as billing_period_keys
from periods
where order_key is not null
group by order_key
having count(*) > 1
union all
select
    'period reconciled several times' as problem,
    string_agg(order_key, ', ' order by order_key) as order_key,
    billing_period_key as billing_period_keys
from {{ ref('order_reconciliation') }}
where billing_period_key is not null
group by billing_period_key
having count(*) > 1
union all
select
    'period and reconciliation name different orders' as problem,
    coalesce(reconciled_orders.order_key, periods.order_key) as order_key,
    coalesce(reconciled_orders.billing_period_key, periods.billing_period_key) as billing_period_keys
from (select * from reconciled_orders where billing_period_key is not null) as reconciled_orders
full outer join (select * from periods where order_key is not null) as periods
    on reconciled_orders.billing_period_key = periods.billing_period_key
where reconciled_orders.order_key is distinct from periods.order_key
union all
select
    'meter_usage and period name different orders' as problem,
    meter_usage.order_key,
    meter_usage.billing_period_key as billing_period_keys
from {{ ref('meter_usage') }} as meter_usage
inner join periods on meter_usage.billing_period_key = periods.billing_period_key
where
    meter_usage.order_key is distinct from periods.order_key
    or meter_usage.period_start_at != periods.period_start_at
    or meter_usage.period_end_at != periods.period_end_at
