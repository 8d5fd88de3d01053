{#
    Per customer and cost currency the daily table has the cost and tokens of its events, to the last of 12 decimals.
    A daily table that drifts from the events makes margins that nobody can trace. Where a build only changed a part, what
    it should have changed and did not is looked for in counts by currency: an event's cost and tokens never change. Each
    customer's events are counted against `customers`, each organization's in every layer.
#}
{% set is_partial = changes_to_test(ref('usage_events')) is not none and changes_to_test(ref('usage_daily')) is not none %}
{% set grain = 'cost_currency' if is_partial else 'organization_id, customer_key, cost_currency' %}

with

usage_events as (

    select
        {{ grain }},
        {%- if not is_partial %}
        sum(llm_input_tokens) as llm_input_tokens,
        sum(llm_output_tokens) as llm_output_tokens,
        sum(llm_total_tokens) as llm_total_tokens,
        sum(cost_amount) as cost_amount,
        {%- endif %}
        count(*) as event_count
    from {{ ref('usage_events') }}
    group by {{ grain }}

),

usage_daily as (

    select
        {{ grain }},
        {%- if not is_partial %}
        sum(llm_input_tokens) as llm_input_tokens,
        sum(llm_output_tokens) as llm_output_tokens,
        sum(llm_total_tokens) as llm_total_tokens,
        sum(cost_amount) as cost_amount,
        {%- endif %}
        sum(event_count) as event_count
    from {{ ref('usage_daily') }}
    group by {{ grain }}

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
