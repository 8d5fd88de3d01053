with

usage_events as (

    select * from {{ ref('usage_events') }}

),

daily_usage as (

    select
        organization_id,
        customer_key,
        member_key,
        event_name,
        cast(occurred_at as date) as usage_date,
        cost_currency,
        count(*) as event_count,
        cast(sum(cost_amount) as decimal(38, 12)) as cost_amount,
        cast(sum(llm_input_tokens) as bigint) as llm_input_tokens,
        cast(sum(llm_output_tokens) as bigint) as llm_output_tokens,
        cast(sum(llm_total_tokens) as bigint) as llm_total_tokens
    from usage_events
    group by organization_id, customer_key, member_key, event_name, cast(occurred_at as date), cost_currency

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
