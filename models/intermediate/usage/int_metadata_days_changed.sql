{# The days of event names whose metadata may count otherwise since the last build. #}

select distinct
    organization_id,
    old_event_name as event_name,
    cast(occurred_at as date) as usage_date
from {{ ref('int_usage_events_changed') }}
where old_event_name is not null
union
select distinct
    attributed_events.organization_id,
    attributed_events.event_name,
    cast(attributed_events.occurred_at as date) as usage_date
from {{ ref('int_usage_events_attributed') }} as attributed_events
semi join {{ ref('int_usage_events_changed') }} as changed_events
    on
        attributed_events.load_id = changed_events.load_id
        and attributed_events.file_number = changed_events.file_number
        and attributed_events.record_number = changed_events.record_number
