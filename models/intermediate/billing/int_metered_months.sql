{{ config(
    materialized='incremental',
    touched_by='int_metered_months_touched', touched_on=['customer_key', 'meter_id', 'usage_month']
) }}

{#
    One row per customer, meter, month in which usage was received and, where the meter was reset within it, part of that
    month: what windows between resets are added up from, instead of from events.
#}

with

metered_events as (

    select
        *,
        cast(date_trunc('month', received_at) as date) as usage_month
    from {{ ref('int_metered_events') }}
    where
        is_countable
        and {{ within_span('int_metered_months_touched', 'received_at', 'received_from_at', 'received_to_at') }}

),

resets_of_months as (

    select
        customer_key,
        meter_id,
        cast(date_trunc('month', reset_at) as date) as usage_month,
        list(reset_at) as resets
    from {{ ref('int_meter_resets') }}
    group by customer_key, meter_id, usage_month

),

{# Kept whole, a query that is named twice would be a copy of all events. #}
placed_events as not materialized (

    select
        metered_events.*,
        coalesce(
            list_max(list_filter(resets_of_months.resets, lambda reset_at: reset_at <= metered_events.received_at)),
            cast(metered_events.usage_month as timestamp)
        ) as part_starts_at
    from metered_events{{ touched_only('int_metered_months_touched', ['customer_key', 'meter_id', 'usage_month']) }}
    left join resets_of_months
        on
            metered_events.customer_key = resets_of_months.customer_key
            and metered_events.meter_id = resets_of_months.meter_id
            and metered_events.usage_month = resets_of_months.usage_month

),

summed_months as (

    select
        organization_id,
        customer_key,
        meter_id,
        usage_month,
        part_starts_at,
        count(*) as event_count,
        cast(sum(units) as decimal(38, 12)) as units,
        {# What no decimal holds is added as doubles, in received order. #}
        sum(units_as_double order by received_at, usage_event_key) filter (where units is null) as units_beyond_decimals,
        max(units_as_double) as largest_units,
        min(units_as_double) as smallest_units
    from placed_events
    group by organization_id, customer_key, meter_id, usage_month, part_starts_at

),

unique_values as (

    select
        customer_key,
        meter_id,
        usage_month,
        part_starts_at,
        list(distinct unique_value) as unique_values
    from placed_events
    where unique_value is not null
    group by customer_key, meter_id, usage_month, part_starts_at

)

select
    summed_months.*,
    unique_values.unique_values
from summed_months
left join unique_values
    on
        summed_months.customer_key = unique_values.customer_key
        and summed_months.meter_id = unique_values.meter_id
        and summed_months.usage_month = unique_values.usage_month
        and summed_months.part_starts_at = unique_values.part_starts_at
