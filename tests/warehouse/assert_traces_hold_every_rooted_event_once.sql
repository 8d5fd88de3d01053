{#
    The traces hold each event that has a root, once, with all of its cost. A trace that loses a child makes an agent's
    run look cheaper than it was. A trace in two currencies has no cost of its own; its steps have.
#}

with

events as (

    select
        root_event_key,
        count(*) as event_count,
        coalesce(list(distinct cost_currency order by cost_currency) filter (where cost_currency is not null), []) as currencies,
        sum(cost_amount) as cost_amount
    from {{ ref('usage_events') }}
    where not is_orphan
    group by root_event_key

),

traces as (

    select * from {{ ref('event_traces') }}

),

costs as (

    select
        root_event_key,
        sum(event_count) as event_count,
        coalesce(list(distinct cost_currency order by cost_currency) filter (where cost_currency is not null), []) as currencies,
        sum(cost_amount) as cost_amount
    from {{ ref('event_trace_costs') }}
    group by root_event_key

)

select
    events.root_event_key,
    events.event_count,
    traces.event_count as trace_event_count,
    costs.event_count as cost_event_count,
    events.cost_amount,
    traces.cost_amount as trace_cost_amount,
    costs.cost_amount as summed_cost_amount
from events
full outer join traces on events.root_event_key = traces.root_event_key
full outer join costs on coalesce(events.root_event_key, traces.root_event_key) = costs.root_event_key
where
    events.event_count is distinct from traces.event_count
    or events.event_count is distinct from costs.event_count
    or events.currencies is distinct from costs.currencies
    or events.cost_amount is distinct from costs.cost_amount
    or (len(events.currencies) <= 1 and events.cost_amount is distinct from traces.cost_amount)
    or (len(events.currencies) > 1 and traces.cost_amount is not null)
