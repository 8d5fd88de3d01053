{#
    Of all events that are charged, an organization has as many as meter_usage counts. An amount that still counts what
    went elsewhere shows here even where no test looks at the event itself. Two narrow columns of the whole table: no
    join. Whether a charged event is billed, awaits its order or is open comes from its period by join, and cannot differ.
#}

with

charged_events as (

    select
        organization_id,
        count(*) filter (where is_charged) as event_count
    from {{ ref('int_metered_events_routed') }}
    group by organization_id

),

metered_usage as (

    select
        organization_id,
        sum(event_count) as event_count
    from {{ ref('meter_usage') }}
    group by organization_id

)

select
    coalesce(charged_events.organization_id, metered_usage.organization_id) as organization_id,
    charged_events.event_count as charged_event_count,
    metered_usage.event_count as metered_event_count
from charged_events
full outer join metered_usage on charged_events.organization_id = metered_usage.organization_id
where coalesce(charged_events.event_count, 0) != coalesce(metered_usage.event_count, 0)
