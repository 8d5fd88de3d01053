{{ config(
    materialized='incremental_view',
    touched_by='int_usage_days_changed', named_by=['organization_id', 'customer_key', 'usage_date']
) }}

{{ changes_come_from('int_usage_days_changed') }}

with

daily_usage as (

    select * from {{ ref('int_usage_summed_daily').include(database=false) }}

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
