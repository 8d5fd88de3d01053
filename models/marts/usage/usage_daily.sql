{{ config(
    materialized='incremental',
    touched_by='int_usage_days_changed', touched_on=['organization_id', 'customer_key', 'usage_date']
) }}

with

daily_usage as (

    select * from {{ ref('int_usage_summed_daily') }}{{ touched_only('int_usage_days_changed', ['organization_id', 'customer_key', 'usage_date']) }}

)

select
    {{ surrogate_key(["'usage_daily'", 'organization_id', 'customer_key', 'member_key', 'event_name', 'usage_date', 'cost_currency']) }} as usage_daily_key,
    organization_id,
    customer_key,
    member_key,
    event_name,
    usage_date,
    event_count,
    cost_amount,
    cost_currency,
    llm_input_tokens,
    llm_output_tokens,
    llm_total_tokens
from daily_usage
