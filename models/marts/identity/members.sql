with

monthly_usage as (

    select * from {{ ref('int_usage_summed_monthly') }}
    where member_key != {{ unattributed() }}

),

{# A member known by both ids is one row: its Polar id may come from one event and its external id from another. #}
members as (

    select
        member_key,
        customer_key,
        organization_id,
        min(member_id) as member_id,
        min(external_member_id) as external_member_id,
        min(first_usage_at) as first_usage_at,
        max(last_usage_at) as last_usage_at,
        cast(sum(event_count) as bigint) as usage_event_count
    from monthly_usage
    group by member_key, customer_key, organization_id

)

select
    * replace ({{ published_external_id('organization_id', 'external_member_id') }} as external_member_id)
from members
