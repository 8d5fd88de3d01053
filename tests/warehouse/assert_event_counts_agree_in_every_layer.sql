{#
    Each organization has as many usage events after attribution, in each mart and under each customer and member as were
    counted. A join that doubles or drops events would show in one table's totals and not in another's.
#}

with

counts as (

    select
        organization_id,
        'counted' as layer,
        count(*) as event_count
    from {{ ref('int_usage_events_counted') }}
    group by organization_id
    union all
    select
        organization_id,
        'usage_events' as layer,
        count(*) as event_count
    from {{ ref('usage_events') }}
    group by organization_id
    union all
    select
        organization_id,
        'usage_daily' as layer,
        sum(event_count) as event_count
    from {{ ref('usage_daily') }}
    group by organization_id
    union all
    select
        organization_id,
        'customers' as layer,
        sum(usage_event_count) as event_count
    from {{ ref('customers') }}
    where usage_event_count > 0
    group by organization_id
    union all
    select
        organization_id,
        'billing_outcomes' as layer,
        count(distinct usage_event_key) as event_count
    from {{ ref('billing_outcomes') }}
    group by organization_id

),

{# Usage without a member is in no row of members. #}
member_counts as (

    select
        organization_id,
        usage_event_count as event_count
    from {{ ref('members') }}
    union all
    select
        organization_id,
        1 as event_count
    from {{ ref('usage_events') }}
    where member_key = 'unattributed'

),

all_counts as (

    select * from counts
    union all
    select
        organization_id,
        'members and unattributed' as layer,
        sum(event_count) as event_count
    from member_counts
    group by organization_id

)

select
    organization_id,
    map_from_entries(list((layer, event_count) order by layer)) as event_count_by_layer
from all_counts
group by organization_id
having count(*) != 6 or min(event_count) != max(event_count)
