{#
    The traces that may have other steps since the last build, by the place of their root, and the span in which their
    steps lie. Empty where the build makes everything anew.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}

{% if not works_in_place() %}

select
    {{ place | join(', ') }},
    occurred_at as started_at,
    occurred_at as ended_at
from {{ ref('int_usage_events_changed') }}
where
    false
    and load_id in (select load_id from {{ ref('int_usage_events_attributed') }})

{% else %}

with

changed_events as (

    select * from {{ ref('int_usage_events_changed') }}

),

steps as (

    select
        {{ root_place() }},
        occurred_at
    from {{ ref('int_usage_events_attributed') }}
    semi join changed_events using ({{ place | join(', ') }})
    where not names_parent or root_event_key is not null
    union all
    select
        {%- for column in place %}
        old_root_{{ column }} as {{ column }},
        {%- endfor %}
        occurred_at
    from changed_events
    where old_root_load_id is not null

),

{# A root that is new brings its whole trace: whatever was there before hung on no root and is touched too. #}
older_roots as (

    select distinct {{ place | join(', ') }} from steps
    anti join (
        select {{ place | join(', ') }} from changed_events
        where old_customer_key is null
    ) as new_roots using ({{ place | join(', ') }})

),

old_traces as (

    select
        {{ place | join(', ') }},
        started_at,
        ended_at
    from {{ stored('marts', 'event_traces') }}
    semi join older_roots using ({{ place | join(', ') }})

)

select
    steps.load_id,
    steps.file_number,
    steps.record_number,
    least(min(steps.occurred_at), min(old_traces.started_at)) as started_at,
    greatest(max(steps.occurred_at), max(old_traces.ended_at)) as ended_at
from steps
left join old_traces
    on
        steps.load_id = old_traces.load_id
        and steps.file_number = old_traces.file_number
        and steps.record_number = old_traces.record_number
group by steps.load_id, steps.file_number, steps.record_number

{% endif %}
