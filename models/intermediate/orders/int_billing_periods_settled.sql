{# Each period with the paid order that settles it: what decides whether its usage is open, awaited or billed. #}

with

periods as (

    select * from {{ ref('int_subscription_periods') }}

),

settlements as (

    select * from {{ ref('int_order_settlements') }}
    where is_paid and role = 'cycle'

)

select
    periods.billing_period_key,
    periods.subscription_key,
    periods.organization_id,
    periods.period_type,
    periods.period_start_at,
    periods.period_end_at,
    periods.is_trial,
    periods.is_closed,
    settlements.order_key
from periods
left join settlements on periods.billing_period_key = settlements.billing_period_key
