{#
    billed_at of an event lies in the period it is put into, start inclusive and end exclusive. An event on the wrong side
    is expected on an order that Polar has already closed, and both orders then show a variance. Changed outcomes are
    enough: no event's billed_at moves, and no period's times, without another outcome of the event.
#}

with

outcomes as (

    select * from {{ rows_to_test(ref('billing_outcomes')) }}
    where billing_period_key is not null

),

usage_events as (

    select * from {{ rows_with_keys(ref('usage_events'), ['load_id', 'file_number', 'record_number'], 'outcomes') }}

),

periods as (

    select * from {{ ref('billing_periods') }}

)

select
    outcomes.usage_event_key,
    outcomes.meter_id,
    outcomes.outcome,
    outcomes.billing_period_key,
    usage_events.billed_at,
    periods.period_start_at,
    periods.period_end_at
from outcomes
inner join usage_events
    on
        outcomes.load_id = usage_events.load_id
        and outcomes.file_number = usage_events.file_number
        and outcomes.record_number = usage_events.record_number
inner join periods on outcomes.billing_period_key = periods.billing_period_key
where usage_events.billed_at < periods.period_start_at or usage_events.billed_at >= periods.period_end_at
