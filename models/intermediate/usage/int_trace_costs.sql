{{ config(materialized='incremental', touched_by='int_traces_changed') }}

{# A trace's steps may run for other members than its root and on several models: here is who and what cost what. #}

with

{{ steps_of_traces() }},

costs as (

    select
        any_value(root_event_key) as root_event_key,
        any_value(organization_id) as organization_id,
        customer_key,
        member_key,
        llm_vendor,
        llm_model,
        cost_currency,
        load_id,
        file_number,
        record_number,
        count(*) as event_count,
        cast(sum(cost_amount) as decimal(38, 12)) as cost_amount,
        cast(sum(llm_input_tokens) as bigint) as llm_input_tokens,
        cast(sum(llm_cached_input_tokens) as bigint) as llm_cached_input_tokens,
        cast(sum(llm_output_tokens) as bigint) as llm_output_tokens,
        cast(sum(llm_total_tokens) as bigint) as llm_total_tokens
    from shared_steps
    group by load_id, file_number, record_number, customer_key, member_key, llm_vendor, llm_model, cost_currency
    union all
    select
        usage_event_key as root_event_key,
        organization_id,
        customer_key,
        member_key,
        llm_vendor,
        llm_model,
        cost_currency,
        load_id,
        file_number,
        record_number,
        1 as event_count,
        cost_amount,
        llm_input_tokens,
        llm_cached_input_tokens,
        llm_output_tokens,
        llm_total_tokens
    from only_steps

)

select * from costs
