{#
    The traces of an organization hold each of its events that has a root, once, with all of their cost. A trace that
    loses a child makes an agent's run look cheaper than it was.
#}

with

events as (

    select
        organization_id,
        count(*) as event_count,
        sum(cost_amount) as cost_amount
    from {{ ref('usage_events') }}
    where not is_orphan
    group by organization_id

),

traces as (

    select
        organization_id,
        sum(event_count) as event_count,
        sum(cost_amount) as cost_amount
    from {{ ref('event_traces') }}
    group by organization_id

)

select
    events.organization_id,
    events.event_count,
    traces.event_count as trace_event_count,
    events.cost_amount,
    traces.cost_amount as trace_cost_amount
from events
full outer join traces on events.organization_id = traces.organization_id
where
    events.event_count is distinct from traces.event_count
    or events.cost_amount is distinct from traces.cost_amount
