{#
    Every usage event has an outcome on each meter it passes or one `no_meter` row, never both and never two for one meter.
    An event without an outcome is money that nobody misses; one with two is charged twice.
#}

with

usage_events as (

    select * from {{ ref('usage_events') }}

),

outcomes_per_event as (

    select
        usage_event_key,
        count(*) as outcome_count,
        count(meter_id) as metered_count,
        count(distinct meter_id) as meter_count,
        count(*) filter (where outcome = 'no_meter') as no_meter_count
    from {{ ref('billing_outcomes') }}
    group by usage_event_key

)

select
    usage_events.usage_event_key,
    usage_events.organization_id,
    usage_events.event_name,
    outcomes_per_event.outcome_count,
    outcomes_per_event.meter_count,
    outcomes_per_event.no_meter_count
from usage_events
left join outcomes_per_event on usage_events.usage_event_key = outcomes_per_event.usage_event_key
where
    outcomes_per_event.usage_event_key is null
    or outcomes_per_event.metered_count != outcomes_per_event.meter_count
    or outcomes_per_event.no_meter_count != outcomes_per_event.outcome_count - outcomes_per_event.metered_count
    or outcomes_per_event.outcome_count != greatest(1, outcomes_per_event.meter_count)
