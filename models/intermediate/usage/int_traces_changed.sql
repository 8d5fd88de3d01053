{#
    The traces that may have other steps since the last build, and the span in which their steps lie. Empty where the build
    makes everything anew.
#}
{% if not works_in_place() %}

select
    load_id,
    usage_event_key as root_event_key,
    occurred_at as started_at,
    occurred_at as ended_at
from {{ ref('int_usage_events_changed') }}
where
    false
    and usage_event_key in (select usage_event_key from {{ ref('int_usage_events_attributed') }})
    and usage_event_key in (select usage_event_key from {{ ref('int_usage_event_trees') }})

{% else %}

with

changed_events as (

    select * from {{ ref('int_usage_events_changed') }}

),

changed_trees as (

    select * from {{ ref('int_usage_event_trees') }}
    semi join changed_events using (load_id, file_number, record_number)

),

steps as (

    select
        case when trees.usage_event_key is null then events.load_id else trees.root_load_id end as load_id,
        case when trees.usage_event_key is null then events.usage_event_key else trees.root_event_key end as root_event_key,
        events.occurred_at
    from {{ ref('int_usage_events_attributed') }} as events
    semi join changed_events using (load_id, file_number, record_number)
    left join changed_trees as trees on events.usage_event_key = trees.usage_event_key
    where trees.usage_event_key is null or trees.root_event_key is not null
    union all
    select
        old_root_load_id as load_id,
        old_root_event_key as root_event_key,
        occurred_at
    from changed_events
    where old_root_event_key is not null

),

{# A root that is new brings its whole trace: whatever was there before hung on no root and is touched too. #}
older_roots as (

    select distinct
        load_id,
        root_event_key
    from steps
    anti join (
        select usage_event_key as root_event_key from changed_events
        where old_customer_key is null
    ) as new_roots using (root_event_key)

),

old_traces as (

    select
        root_event_key,
        started_at,
        ended_at
    from {{ stored('marts', 'event_traces') }}
    semi join older_roots using (load_id, root_event_key)

)

select
    steps.load_id,
    steps.root_event_key,
    least(min(steps.occurred_at), min(old_traces.started_at)) as started_at,
    greatest(max(steps.occurred_at), max(old_traces.ended_at)) as ended_at
from steps
left join old_traces on steps.root_event_key = old_traces.root_event_key
group by steps.load_id, steps.root_event_key

{% endif %}
