{{ config(
    materialized='incremental',
    touched_by='int_usage_days_changed', touched_on=['organization_id', 'customer_key', 'usage_month']
) }}

{# One row per organization, customer, member and UTC month: what customers and members are made of, instead of all days. #}

with

daily_usage as (

    select
        *,
        cast(date_trunc('month', usage_date) as date) as usage_month
    from {{ ref('int_usage_summed_daily') }}
    where {{ within_span('int_usage_days_changed', 'usage_date', 'usage_month', 'usage_month + 30') }}

)

select
    organization_id,
    customer_key,
    member_key,
    usage_month,
    min(customer_id) as customer_id,
    min(external_customer_id) as external_customer_id,
    min(member_id) as member_id,
    min(external_member_id) as external_member_id,
    cast(sum(event_count) as bigint) as event_count,
    min(first_usage_at) as first_usage_at,
    max(last_usage_at) as last_usage_at
from daily_usage{{ touched_only('int_usage_days_changed', ['organization_id', 'customer_key', 'usage_month']) }}
group by organization_id, customer_key, member_key, usage_month
{{ in_order_of('usage_month') }}
