{{ config(
    materialized='incremental',
    touched_by='int_traces_changed', touched_on=['load_id', 'root_event_key']
) }}

with

usage_events as (

    select * from (
        select * exclude (load_id), root_load_id as load_id from {{ ref('usage_events') }}
    ){{ touched_only('int_traces_changed', ['load_id', 'root_event_key']) }}
    where root_event_key is not null and {{ within_span('int_traces_changed', 'occurred_at', 'started_at', 'ended_at') }}

),

traces as (

    select
        root_event_key,
        organization_id,
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
        load_id
    from usage_events
    group by root_event_key, organization_id, load_id

)

select * from traces
