{{ config(
    materialized='incremental',
    touched_by='int_usage_days_changed', touched_on=['organization_id', 'customer_key', 'usage_date']
) }}

{# One row per organization, customer, member, event name, cost currency and UTC day: what is read instead of the events. #}

with

usage_events as (

    select
        *,
        cast(occurred_at as date) as usage_date
    from {{ ref('int_usage_events_attributed') }}
    where {{ within_span('int_usage_days_changed', 'occurred_at', 'cast(usage_date as timestamp)', 'cast(usage_date + 1 as timestamp)') }}

)

select
    organization_id,
    customer_key,
    member_key,
    event_name,
    cost_currency,
    usage_date,
    {# What Polar knows a customer by is not looked for in its usage. #}
    min(customer_id) as customer_id,
    min(external_customer_id) filter (where attribution = 'unknown_customer') as external_customer_id,
    min(member_id) as member_id,
    min(external_member_id) as external_member_id,
    count(*) as event_count,
    cast(sum(cost_amount) as decimal(38, 12)) as cost_amount,
    cast(sum(llm_input_tokens) as bigint) as llm_input_tokens,
    cast(sum(llm_output_tokens) as bigint) as llm_output_tokens,
    cast(sum(llm_total_tokens) as bigint) as llm_total_tokens,
    min(occurred_at) as first_usage_at,
    max(occurred_at) as last_usage_at
from usage_events{{ touched_only('int_usage_days_changed', ['organization_id', 'customer_key', 'usage_date']) }}
group by organization_id, customer_key, member_key, event_name, cost_currency, usage_date
{{ in_order_of('usage_date') }}
