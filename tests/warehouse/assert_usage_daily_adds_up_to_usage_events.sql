{#
    Per customer and cost currency the daily table has the cost and tokens of its events, to the last of 12 decimals.
    A daily table that drifts from the events makes margins that nobody can trace.
#}

with

usage_events as (

    select
        organization_id,
        customer_key,
        cost_currency,
        count(*) as event_count,
        sum(cost_amount) as cost_amount,
        sum(llm_input_tokens) as llm_input_tokens,
        sum(llm_output_tokens) as llm_output_tokens,
        sum(llm_total_tokens) as llm_total_tokens
    from {{ ref('usage_events') }}
    group by organization_id, customer_key, cost_currency

),

usage_daily as (

    select
        organization_id,
        customer_key,
        cost_currency,
        sum(event_count) as event_count,
        sum(cost_amount) as cost_amount,
        sum(llm_input_tokens) as llm_input_tokens,
        sum(llm_output_tokens) as llm_output_tokens,
        sum(llm_total_tokens) as llm_total_tokens
    from {{ ref('usage_daily') }}
    group by organization_id, customer_key, cost_currency

),

only_in_events as (

    select * from usage_events
    except
    select * from usage_daily

),

only_in_daily as (

    select * from usage_daily
    except
    select * from usage_events

)

select 'usage_events' as found_in, * from only_in_events
union all
select 'usage_daily' as found_in, * from only_in_daily
