{{ config(materialized='incremental', touched_by='int_traces_changed') }}

with

{{ steps_of_traces() }},

traces as (

    select
        any_value(root_event_key) as root_event_key,
        any_value(organization_id) as organization_id,
        arg_min(customer_key, depth) as customer_key,
        arg_min(member_key, depth) as member_key,
        count(*) as event_count,
        max(depth) as max_depth,
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        {# Two currencies are never added up: a trace that holds two has no sum. #}
        case when count(distinct cost_currency) <= 1 then cast(sum(cost_amount) as decimal(38, 12)) end as cost_amount,
        case when count(distinct cost_currency) = 1 then any_value(cost_currency) end as cost_currency,
        cast(sum(llm_total_tokens) as bigint) as llm_total_tokens,
        load_id,
        file_number,
        record_number
    from shared_steps
    group by load_id, file_number, record_number
    union all
    select
        usage_event_key as root_event_key,
        organization_id,
        customer_key,
        member_key,
        1 as event_count,
        0 as max_depth,
        occurred_at as started_at,
        occurred_at as ended_at,
        cost_amount,
        cost_currency,
        llm_total_tokens,
        load_id,
        file_number,
        record_number
    from only_steps

)

select * from traces
