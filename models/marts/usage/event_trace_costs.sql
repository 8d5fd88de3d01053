{{ config(materialized='incremental_view', touched_by='int_traces_changed') }}

{{ changes_come_from('int_traces_changed') }}

with

costs as (

    select * from {{ ref('int_trace_costs').include(database=false) }}

)

select
    {{ surrogate_key(["'event_trace_cost'", 'root_event_key', 'customer_key', 'member_key', 'llm_vendor', 'llm_model', 'cost_currency']) }} as event_trace_cost_key,
    root_event_key,
    organization_id,
    customer_key,
    member_key,
    llm_vendor,
    llm_model,
    event_count,
    cost_amount,
    cost_currency,
    llm_input_tokens,
    llm_cached_input_tokens,
    llm_output_tokens,
    llm_total_tokens,
    load_id,
    file_number,
    record_number
from costs
