{#
    The CTEs `steps` (of the traces that changed, by the place of their root), `shared_steps` of traces that have several,
    and `only_steps`: most usage is a trace of one event, and needs no adding up.
#}
{% macro steps_of_traces() %}
{#- Kept whole, a query that is named thrice would be a copy of all events. #}
steps as not materialized (

    select * from (
        select
            * exclude (load_id, file_number, record_number),
            {{ root_place() }}
        from {{ ref('int_usage_events_attributed') }}
    ){{ touched_only('int_traces_changed') }}
    where
        (not names_parent or root_event_key is not null)
        and {{ within_span('int_traces_changed', 'occurred_at', 'started_at', 'ended_at') }}

),

roots_with_steps as (

    select distinct load_id, file_number, record_number from steps
    where names_parent

),

shared_steps as not materialized (

    select
        * exclude (root_event_key, depth),
        case when names_parent then root_event_key else usage_event_key end as root_event_key,
        case when names_parent then depth else 0 end as depth
    from steps
    semi join roots_with_steps using (load_id, file_number, record_number)

),

only_steps as not materialized (

    select * from steps
    anti join roots_with_steps using (load_id, file_number, record_number)

)
{%- endmacro %}
