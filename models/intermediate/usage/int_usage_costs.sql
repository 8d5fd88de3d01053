{{ config(
    materialized='incremental',
    touched_by='int_usage_days_changed', touched_on=['organization_id', 'customer_key', 'usage_date']
) }}

{#
    What usage cost, by who and what: each event's own `_cost` once, whatever its tree. A day of `metrics_time_zone` is cut
    from the events here, because a sum over UTC days cannot be cut again.
#}

with

usage_events as (

    select
        *,
        cast(occurred_at as date) as usage_date,
        {{ local_date('occurred_at') }} as metrics_date
    from {{ ref('int_usage_events_attributed') }}
    where {{ within_span('int_usage_days_changed', 'occurred_at', 'cast(usage_date as timestamp)', 'cast(usage_date + 1 as timestamp)') }}

)

select
    organization_id,
    customer_key,
    member_key,
    event_name,
    llm_vendor,
    llm_model,
    usage_date,
    metrics_date,
    cost_currency,
    count(*) as event_count,
    count(cost_amount) as costed_event_count,
    count(*) filter (where attribution = 'customer_id' or external_customer_id is null) as polar_id_event_count,
    cast(sum(cost_amount) as decimal(38, 12)) as cost_amount,
    cast(sum(llm_total_tokens) as bigint) as llm_total_tokens
from usage_events{{ touched_only('int_usage_days_changed', ['organization_id', 'customer_key', 'usage_date']) }}
group by
    organization_id, customer_key, member_key, event_name, llm_vendor, llm_model, usage_date, metrics_date, cost_currency
{{ in_order_of('usage_date') }}
