{{ config(
    materialized='incremental_view',
    touched_by='int_usage_days_changed', named_by=['organization_id', 'customer_key', 'usage_date']
) }}

{{ changes_come_from('int_usage_days_changed') }}

with

costs as (

    select * from {{ ref('int_usage_costs').include(database=false) }}

)

select
    {{ surrogate_key(["'usage_cost'", 'organization_id', 'customer_key', 'member_key', 'event_name', 'llm_vendor', 'llm_model', 'usage_date', 'metrics_date', 'cost_currency']) }} as usage_cost_key,
    organization_id,
    customer_key,
    member_key,
    event_name,
    llm_vendor,
    llm_model,
    usage_date,
    metrics_date,
    event_count,
    costed_event_count,
    polar_id_event_count,
    cost_amount,
    cost_currency,
    llm_total_tokens
from costs
