{#
    The traces hold each event that has a root, once, with all of its cost. A trace that loses a child makes an agent's
    run look cheaper than it was. A trace in two currencies has no cost of its own; its steps have.
    Traces with changed events or rows are compared one by one: with their changed events, and where those are not all,
    with all. The others are as they were, which the sums of all traces show.
#}

with

changed_events as (

    select
        root_event_key,
        cost_currency,
        cost_amount
    from {{ rows_to_test(ref('usage_events')) }}
    where not is_orphan

),

changed_costs as (

    select * from {{ rows_to_test(ref('event_trace_costs')) }}

),

roots_to_test as (

    select root_event_key from changed_events
    union
    select root_event_key from {{ rows_to_test(ref('event_traces')) }}
    union
    select root_event_key from changed_costs

),

traces as (

    select traces.*
    from {{ rows_with_keys(ref('event_traces'), 'root_event_key', 'roots_to_test') }} as traces
    semi join roots_to_test on traces.root_event_key = roots_to_test.root_event_key

),

costs as (

    select
        costs.root_event_key,
        sum(costs.event_count) as event_count,
        coalesce(
            list(distinct costs.cost_currency order by costs.cost_currency) filter (where costs.cost_currency is not null), []
        ) as currencies,
        sum(costs.cost_amount) as cost_amount
    from {{ rows_with_keys(ref('event_trace_costs'), 'root_event_key', 'roots_to_test') }} as costs
    semi join roots_to_test on costs.root_event_key = roots_to_test.root_event_key
    group by costs.root_event_key

),

changed_counts as (

    select
        root_event_key,
        count(*) as event_count
    from changed_events
    group by root_event_key

),

{# Of whose events a part is unchanged: their trace counts more events than changed. #}
partly_changed_roots as (

    select roots_to_test.root_event_key
    from roots_to_test
    left join traces on roots_to_test.root_event_key = traces.root_event_key
    left join changed_counts on roots_to_test.root_event_key = changed_counts.root_event_key
    where traces.event_count is distinct from changed_counts.event_count

),

events_of_roots as (

    select changed_events.*
    from changed_events
    anti join partly_changed_roots on changed_events.root_event_key = partly_changed_roots.root_event_key
    union all
    select
        usage_events.root_event_key,
        usage_events.cost_currency,
        usage_events.cost_amount
    from {{ ref('usage_events') }} as usage_events
    semi join partly_changed_roots on usage_events.root_event_key = partly_changed_roots.root_event_key
    where not usage_events.is_orphan

),

events as (

    select
        root_event_key,
        count(*) as event_count,
        coalesce(list(distinct cost_currency order by cost_currency) filter (where cost_currency is not null), []) as currencies,
        sum(cost_amount) as cost_amount
    from events_of_roots
    group by root_event_key

),

totals as (

    select
        'usage_events' as table_name,
        cost_currency,
        count(*) as event_count,
        sum(cost_amount) as cost_amount
    from {{ ref('usage_events') }}
    where not is_orphan
    group by cost_currency
    union all
    select
        'event_trace_costs' as table_name,
        cost_currency,
        sum(event_count) as event_count,
        sum(cost_amount) as cost_amount
    from {{ ref('event_trace_costs') }}
    group by cost_currency

),

differing_totals as (

    select
        'all, in ' || coalesce(cost_currency, 'no currency') as root_event_key,
        max(event_count) filter (where table_name = 'usage_events') as event_count,
        max(event_count) filter (where table_name = 'event_trace_costs') as cost_event_count,
        max(cost_amount) filter (where table_name = 'usage_events') as cost_amount,
        max(cost_amount) filter (where table_name = 'event_trace_costs') as summed_cost_amount
    from totals
    group by cost_currency
    having
        count(*) != 2
        or min(event_count) != max(event_count)
        or min(cost_amount) != max(cost_amount)

),

trace_totals as (

    select
        (select count(*) filter (where not is_orphan) from {{ ref('usage_events') }}) as event_count,
        coalesce((select sum(event_count) from {{ ref('event_traces') }}), 0) as trace_event_count

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
union all
select
    root_event_key,
    event_count,
    null as trace_event_count,
    cost_event_count,
    cost_amount,
    null as trace_cost_amount,
    summed_cost_amount
from differing_totals
union all
select
    'all' as root_event_key,
    event_count,
    trace_event_count,
    null as cost_event_count,
    null as cost_amount,
    null as trace_cost_amount,
    null as summed_cost_amount
from trace_totals
where event_count != trace_event_count
