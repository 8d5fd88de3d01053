{{ config(
    materialized='incremental',
    touched_by='int_metadata_days_changed', touched_on=['organization_id', 'event_name', 'usage_date']
) }}

{#
    One row per organization, event name, UTC day and structure of metadata: keys and types without values. Events come
    from programs: there are few structures, however many the events.
#}

with

usage_events as (

    select
        *,
        cast(occurred_at as date) as usage_date
    from {{ ref('int_usage_events_attributed') }}
    where {{ within_span('int_metadata_days_changed', 'occurred_at', 'cast(usage_date as timestamp)', 'cast(usage_date + 1 as timestamp)') }}

)

select
    organization_id,
    event_name,
    usage_date,
    metadata_structure,
    count(*) as event_count,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at
from usage_events{{ touched_only('int_metadata_days_changed', ['organization_id', 'event_name', 'usage_date']) }}
group by organization_id, event_name, usage_date, metadata_structure
