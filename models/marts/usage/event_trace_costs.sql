{{ config(
    materialized='incremental',
    touched_by='int_traces_changed', touched_on=['load_id', 'root_event_key']
) }}

{# A trace's steps may run for other members than its root and on several models: here is who and what cost what. #}

with

usage_events as (

    select * from (
        select * exclude (load_id), root_load_id as load_id from {{ ref('usage_events') }}
    ){{ touched_only('int_traces_changed', ['load_id', 'root_event_key']) }}
    where root_event_key is not null and {{ within_span('int_traces_changed', 'occurred_at', 'started_at', 'ended_at') }}

),

costs as (

    select
        root_event_key,
        organization_id,
        customer_key,
        member_key,
        llm_vendor,
        llm_model,
        cost_currency,
        load_id,
        count(*) as event_count,
        cast(sum(cost_amount) as decimal(38, 12)) as cost_amount,
        cast(sum(llm_input_tokens) as bigint) as llm_input_tokens,
        cast(sum(llm_cached_input_tokens) as bigint) as llm_cached_input_tokens,
        cast(sum(llm_output_tokens) as bigint) as llm_output_tokens,
        cast(sum(llm_total_tokens) as bigint) as llm_total_tokens
    from usage_events
    group by root_event_key, organization_id, customer_key, member_key, llm_vendor, llm_model, cost_currency, load_id

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
    load_id
from costs
