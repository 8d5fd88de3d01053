{#
    The traces hold each event that has a root, once, with all of its cost. A trace that loses a child makes an agent's
    run look cheaper than it was. A trace in two currencies has no cost of its own; its steps have.
    Traces with changed events or rows are compared one by one: with their changed events, and where those are not all,
    with all. The others are as they were, which the sums of all traces show; an event's cost never changes, so where only a
    part is compared counts are enough. Traces are told apart by their root's place: whole numbers, which leave
    the rows of other loads unread.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}
{% set listed = place | join(', ') %}
{% set usage_events, traces, costs = ref('int_usage_events_attributed'), ref('event_traces'), ref('event_trace_costs') %}
{% set is_partial = changes_to_test(usage_events) is not none and changes_to_test(traces) is not none and changes_to_test(costs) is not none %}
{% set currency, cost = ('null', 'null') if is_partial else ('cost_currency', 'sum(cost_amount)') %}

with

{% if is_partial %}
changed_events as (

    select
        {{ root_place() }},
        cost_currency,
        cost_amount
    from {{ rows_to_test(usage_events) }}
    where not names_parent or root_event_key is not null

),

roots_to_test as (

    select {{ listed }} from changed_events
    union
    select {{ listed }} from {{ changed_names(traces) }}
    union
    select {{ listed }} from {{ changed_names(costs) }}

),

traces as (

    select traces.*
    from {{ rows_with_keys(traces, place, 'roots_to_test') }} as traces
    semi join roots_to_test using ({{ listed }})

),

costs as (

    select costs.*
    from {{ rows_with_keys(costs, place, 'roots_to_test') }} as costs
    semi join roots_to_test using ({{ listed }})

),

changed_counts as (

    select
        {{ listed }},
        count(*) as event_count
    from changed_events
    group by {{ listed }}

),

{# Of whose events a part is unchanged: their trace counts more events than changed. #}
partly_changed_roots as (

    select {{ listed }}
    from roots_to_test
    left join traces using ({{ listed }})
    left join changed_counts using ({{ listed }})
    where traces.event_count is distinct from changed_counts.event_count

),

events as (

    select * from changed_events
    anti join partly_changed_roots using ({{ listed }})
    union all
    select {{ listed }}, cost_currency, cost_amount from {{ usage_events }}
    semi join partly_changed_roots using ({{ listed }})
    where not names_parent
    union all
    select
        children.root_load_id as load_id,
        children.root_file_number as file_number,
        children.root_record_number as record_number,
        children.cost_currency,
        children.cost_amount
    from {{ usage_events }} as children
    semi join partly_changed_roots
        on
            children.root_load_id = partly_changed_roots.load_id
            and children.root_file_number = partly_changed_roots.file_number
            and children.root_record_number = partly_changed_roots.record_number
    where children.names_parent

),

roots as (

    select {{ listed }}, usage_event_key, organization_id from {{ rows_with_keys(usage_events, place, 'roots_to_test') }}
    semi join roots_to_test using ({{ listed }})
    where not names_parent

),
{% else %}
{# Kept whole, a table that is named twice would be written and read whole; as it stands each reader takes its columns. #}
traces as not materialized (

    select * from {{ traces }}

),

costs as not materialized (

    select * from {{ costs }}

),

events as (

    select
        {{ root_place() }},
        cost_currency,
        cost_amount
    from {{ usage_events }}
    where not names_parent or root_event_key is not null

),

roots as (

    select {{ listed }}, usage_event_key, organization_id from {{ usage_events }}
    where not names_parent

),
{% endif %}

events_by_currency as (

    select
        {{ listed }},
        cost_currency,
        count(*) as event_count,
        sum(cost_amount) as cost_amount
    from events
    group by {{ listed }}, cost_currency

),

costs_by_currency as (

    select
        {{ listed }},
        cost_currency,
        sum(event_count) as event_count,
        sum(cost_amount) as cost_amount
    from costs
    group by {{ listed }}, cost_currency

),

events_by_trace as (

    select
        {{ listed }},
        sum(event_count) as event_count,
        {# One row for each currency: as many are not null as there are. #}
        case when count(cost_currency) <= 1 then sum(cost_amount) end as cost_amount
    from events_by_currency
    group by {{ listed }}

),

totals as (

    select
        'usage_events' as table_name,
        {{ currency }} as cost_currency,
        {% if is_partial -%}
            {# Asked of each row and not of the table, which takes DuckDB a tenth of the time. #}
            count(*) filter (where not names_parent or root_load_id is not null) as event_count,
        {%- else -%}
            count(*) as event_count,
        {%- endif %}
        {{ cost }} as cost_amount
    from {{ usage_events }}
    {% if not is_partial -%}
        where not names_parent or root_load_id is not null
        group by cost_currency
    {%- endif %}
    union all
    select
        'event_trace_costs' as table_name,
        {{ currency }} as cost_currency,
        coalesce(sum(event_count), 0) as event_count,
        {{ cost }} as cost_amount
    from {{ ref('event_trace_costs') }}
    {{ 'group by cost_currency' if not is_partial }}

),

trace_totals as (

    select
        coalesce(sum(event_count) filter (where table_name = 'usage_events'), 0) as event_count,
        coalesce((select sum(event_count) from {{ ref('event_traces') }}), 0) as trace_event_count
    from totals

)

select
    {% for column in place %}coalesce(events_by_currency.{{ column }}, costs_by_currency.{{ column }}) as {{ column }},{% endfor %}
    'usage_events and event_trace_costs' as difference_between,
    coalesce(events_by_currency.cost_currency, costs_by_currency.cost_currency) as cost_currency,
    events_by_currency.event_count,
    costs_by_currency.event_count as other_event_count,
    events_by_currency.cost_amount,
    costs_by_currency.cost_amount as other_cost_amount
from events_by_currency
full outer join costs_by_currency
    on
        {% for column in place %}events_by_currency.{{ column }} = costs_by_currency.{{ column }} and {% endfor %}
        coalesce(events_by_currency.cost_currency, '') = coalesce(costs_by_currency.cost_currency, '')
where
    events_by_currency.event_count is distinct from costs_by_currency.event_count
    or events_by_currency.cost_amount is distinct from costs_by_currency.cost_amount
union all
select
    {% for column in place %}coalesce(events_by_trace.{{ column }}, traces.{{ column }}) as {{ column }},{% endfor %}
    'usage_events and event_traces' as difference_between,
    traces.cost_currency,
    events_by_trace.event_count,
    traces.event_count as other_event_count,
    events_by_trace.cost_amount,
    traces.cost_amount as other_cost_amount
from events_by_trace
full outer join traces
    on {% for column in place %}events_by_trace.{{ column }} = traces.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
where
    events_by_trace.event_count is distinct from traces.event_count
    or events_by_trace.cost_amount is distinct from traces.cost_amount
union all
select
    {{ listed }},
    'root_event_key of ' || keys.table_name as difference_between,
    null as cost_currency,
    null as event_count,
    null as other_event_count,
    null as cost_amount,
    null as other_cost_amount
from (
    select 'event_traces' as table_name, {{ listed }}, root_event_key as usage_event_key, organization_id from traces
    union all
    select 'event_trace_costs' as table_name, {{ listed }}, root_event_key as usage_event_key, organization_id from costs
) as keys
anti join roots
    on
        {% for column in place %}keys.{{ column }} = roots.{{ column }} and {% endfor %}
        keys.usage_event_key = roots.usage_event_key
        and keys.organization_id = roots.organization_id
union all
select
    null as load_id,
    null as file_number,
    null as record_number,
    'all usage_events and event_trace_costs' as difference_between,
    cost_currency,
    max(event_count) filter (where table_name = 'usage_events') as event_count,
    max(event_count) filter (where table_name = 'event_trace_costs') as other_event_count,
    max(cost_amount) filter (where table_name = 'usage_events') as cost_amount,
    max(cost_amount) filter (where table_name = 'event_trace_costs') as other_cost_amount
from totals
group by cost_currency
having
    count(*) != 2
    or min(event_count) != max(event_count)
    or min(cost_amount) != max(cost_amount)
union all
select
    null as load_id,
    null as file_number,
    null as record_number,
    'all usage_events and event_traces' as difference_between,
    null as cost_currency,
    event_count,
    trace_event_count as other_event_count,
    null as cost_amount,
    null as other_cost_amount
from trace_totals
where event_count != trace_event_count
