{#
    A billed outcome lies in a period with a paid order, awaiting_order in a closed period without one, open in a period
    that as_of has not closed; the order named is the period's. Otherwise the same usage is billed here and missing there.
    Changed outcomes are looked at; one that should have changed with its period and did not is missing from the totals of
    assert_outcomes_add_up_to_meter_usage.
#}

with

outcomes as (

    select * from {{ rows_to_test(ref('billing_outcomes')) }}

),

periods as (

    select * from {{ ref('billing_periods') }}

)

select
    outcomes.usage_event_key,
    outcomes.meter_id,
    outcomes.outcome,
    outcomes.billing_period_key,
    outcomes.order_key,
    periods.order_key as order_of_period,
    periods.is_closed
from outcomes
left join periods on outcomes.billing_period_key = periods.billing_period_key
where
    outcomes.order_key is distinct from periods.order_key
    or outcomes.subscription_key is distinct from coalesce(periods.subscription_key, outcomes.subscription_key)
    or (outcomes.outcome = 'billed' and periods.order_key is null)
    or (outcomes.outcome = 'awaiting_order' and (periods.order_key is not null or not coalesce(periods.is_closed, false)))
    or (outcomes.outcome = 'open' and (periods.order_key is not null or coalesce(periods.is_closed, false)))
    or ((outcomes.meter_id is null) != (outcomes.outcome = 'no_meter'))
