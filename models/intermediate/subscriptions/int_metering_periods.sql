{# The periods that settle usage: the meter's own cycle where the plan has one, else the subscription's. #}

with

periods as (

    select * from {{ ref('int_subscription_periods') }}

)

select
    *,
    count(*) filter (where period_type = 'meter') over (partition by subscription_key) > 0 as has_meter_cycle
from periods
qualify period_type = case
    when count(*) filter (where period_type = 'meter') over (partition by subscription_key) > 0 then 'meter'
    else 'subscription'
end
