with

usage_events as (

    select * from {{ ref('usage_events') }}
    where root_event_key is not null

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
        cast(sum(llm_total_tokens) as bigint) as llm_total_tokens
    from usage_events
    group by root_event_key, organization_id

)

select * from traces
