{#
    Every usage event has an outcome on each meter it passes or one `no_meter` row, never both and never two for one meter.
    An event without an outcome is money that nobody misses; one with two is charged twice. Events that changed, or whose
    outcomes did, are enough, those that are gone included: the others have the outcomes that they had.
#}

with

{% set changes = changes_to_test(ref('usage_events')) %}

events_to_test as (

    select usage_event_key from {{ rows_to_test(ref('usage_events')) }}
    union
    select usage_event_key from {{ rows_to_test(ref('billing_outcomes')) }}
    {% if changes is not none and 'usage_event_key' in changes.columns | map(attribute='name') -%}
        union
        select usage_event_key from {{ changed_names(ref('usage_events')) }}
    {%- endif %}

),

usage_events as (

    select events.*
    from {{ rows_with_keys(ref('usage_events'), 'usage_event_key', 'events_to_test') }} as events
    semi join events_to_test on events.usage_event_key = events_to_test.usage_event_key

),

outcomes as (

    select outcomes.*
    from {{ rows_with_keys(ref('billing_outcomes'), 'usage_event_key', 'events_to_test') }} as outcomes
    semi join events_to_test on outcomes.usage_event_key = events_to_test.usage_event_key

),

outcomes_per_event as (

    select
        usage_event_key,
        count(*) as outcome_count,
        count(meter_id) as metered_count,
        count(distinct meter_id) as meter_count,
        count(*) filter (where outcome = 'no_meter') as no_meter_count
    from outcomes
    group by usage_event_key

)

select
    coalesce(usage_events.usage_event_key, outcomes_per_event.usage_event_key) as usage_event_key,
    usage_events.organization_id,
    usage_events.event_name,
    outcomes_per_event.outcome_count,
    outcomes_per_event.meter_count,
    outcomes_per_event.no_meter_count
from usage_events
full outer join outcomes_per_event on usage_events.usage_event_key = outcomes_per_event.usage_event_key
where
    usage_events.usage_event_key is null
    or outcomes_per_event.usage_event_key is null
    or outcomes_per_event.metered_count != outcomes_per_event.meter_count
    or outcomes_per_event.no_meter_count != outcomes_per_event.outcome_count - outcomes_per_event.metered_count
    or outcomes_per_event.outcome_count != greatest(1, outcomes_per_event.meter_count)
