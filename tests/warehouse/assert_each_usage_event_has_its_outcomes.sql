{#
    Every usage event has an outcome on each meter it passes or one `no_meter` row, never both, and each outcome is that
    of an event. Never two for one meter: billing_outcome_key is a hash over event and meter, and unique. An event without
    an outcome is money that nobody misses; one with two is charged twice. Events that changed, or whose outcomes did, are
    enough, those that are gone included: the others have the outcomes that they had. Events are looked up by their place,
    which leaves the others unread.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}
{% set listed = place | join(', ') %}
{% set usage_events, outcomes = ref('usage_events'), ref('billing_outcomes') %}
{% set is_partial = changes_to_test(usage_events) is not none and changes_to_test(outcomes) is not none %}

with

{% if is_partial %}
events_to_test as (

    select {{ listed }} from {{ changed_names(usage_events) }}
    union
    select {{ listed }} from {{ changed_names(outcomes) }}

),
{% endif %}

{# Kept whole, a table that is named twice would be written and read whole. Of changed rows there are few. #}
usage_events as {{ '' if is_partial else 'not materialized ' }}(

    select {{ listed }}, usage_event_key, organization_id
    {% if is_partial -%}
        from {{ rows_with_keys(usage_events, place, 'events_to_test') }}
        semi join events_to_test using ({{ listed }})
    {%- else -%}
        from {{ usage_events }}
    {%- endif %}

),

outcomes as {{ '' if is_partial else 'not materialized ' }}(

    select {{ listed }}, usage_event_key, organization_id, meter_id, outcome
    {% if is_partial -%}
        from {{ rows_with_keys(outcomes, place, 'events_to_test') }}
        semi join events_to_test using ({{ listed }})
    {%- else -%}
        from {{ outcomes }}
    {%- endif %}

),

outcomes_per_event as (

    select
        {{ listed }},
        count(*) as outcome_count,
        count(meter_id) as metered_count,
        count(*) filter (where outcome = 'no_meter') as no_meter_count
    from outcomes
    group by {{ listed }}

)

select
    {% for column in place %}coalesce(usage_events.{{ column }}, outcomes_per_event.{{ column }}) as {{ column }},
    {% endfor -%}
    usage_events.usage_event_key,
    outcomes_per_event.outcome_count,
    outcomes_per_event.metered_count,
    outcomes_per_event.no_meter_count
from usage_events
full outer join outcomes_per_event
    on {% for column in place %}usage_events.{{ column }} = outcomes_per_event.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
where
    usage_events.usage_event_key is null
    or outcomes_per_event.outcome_count is null
    or outcomes_per_event.no_meter_count != outcomes_per_event.outcome_count - outcomes_per_event.metered_count
    or outcomes_per_event.no_meter_count != case when outcomes_per_event.metered_count = 0 then 1 else 0 end
union all
select
    {{ listed }},
    outcomes.usage_event_key,
    null as outcome_count,
    null as metered_count,
    null as no_meter_count
from outcomes
anti join usage_events
    on
        {% for column in place %}outcomes.{{ column }} = usage_events.{{ column }} and {% endfor %}
        outcomes.usage_event_key = usage_events.usage_event_key
        and outcomes.organization_id = usage_events.organization_id
