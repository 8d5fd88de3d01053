{#
    Each organization has as many usage events after attribution, in each mart and under each customer and member as were
    counted. A join that doubles or drops events would show in one table's totals and not in another's. Whole tables, but
    of each only the organization and what is counted. Outcomes are counted by event only where they were made anew: else
    assert_each_usage_event_has_its_outcomes looks at the events that changed.
#}
{% set is_partial = changes_to_test(ref('billing_outcomes')) is not none %}

with

counts as (

    select
        organization_id,
        'counted' as layer,
        count(*) as event_count
    from {{ ref('int_usage_events_counted') }}
    where is_counted
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
    {% if not is_partial -%}
        union all
        select
            organization_id,
            'billing_outcomes' as layer,
            count(distinct usage_event_key) as event_count
        from {{ ref('billing_outcomes') }}
        group by organization_id
    {%- endif %}

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
        count(*) as event_count
    from {{ ref('usage_events') }}
    where member_key = {{ unattributed() }}
    group by organization_id

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
having count(*) != {{ 5 if is_partial else 6 }} or min(event_count) != max(event_count)
