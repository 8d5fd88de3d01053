{#
    Each organization has as many usage events after attribution, in each mart and under each customer and member as were
    counted. A join that doubles or drops events would show in one table's totals and not in another's.
#}

with

counts as (

    select organization_id, 'counted' as layer, count(*) as event_count
    from {{ ref('int_usage_events_counted') }} group by organization_id
    union all
    select organization_id, 'usage_events', count(*)
    from {{ ref('usage_events') }} group by organization_id
    union all
    select organization_id, 'usage_daily', sum(event_count)
    from {{ ref('usage_daily') }} group by organization_id
    union all
    select organization_id, 'customers', sum(usage_event_count)
    from {{ ref('customers') }} group by organization_id having sum(usage_event_count) > 0
    union all
    select organization_id, 'billing_outcomes', count(distinct usage_event_key)
    from {{ ref('billing_outcomes') }} group by organization_id
    union all
    select organization_id, 'members and unattributed', sum(event_count)
    from (
        select organization_id, usage_event_count as event_count from {{ ref('members') }}
        union all
        select organization_id, 1 as event_count from {{ ref('usage_events') }}
        where member_key = 'unattributed'
    )
    group by organization_id

)

select
    organization_id,
    map_from_entries(list((layer, event_count) order by layer)) as event_count_by_layer
from counts
group by organization_id
having count(*) != 6 or min(event_count) != max(event_count)
