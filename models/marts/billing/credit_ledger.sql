{#
    One row per customer, meter and window between resets in which something happened, and always the last, open one, also
    of a meter that a subscription of the customer carried and that was never used. A window holds what was received in it. Credits add up in order of their timestamps, never below zero at any step:
    the sum so far less its lowest point below zero.
#}

with

meters as (

    select * from {{ ref('int_meters_known') }}

),

metered_months as (

    select * from {{ ref('int_metered_months') }}

),

resets as (

    select * from {{ ref('int_meter_resets') }}

),

grants as (

    select
        system_events.organization_id,
        customers.customer_key,
        system_events.meter_id,
        system_events.received_at,
        system_events.occurred_at,
        system_events.event_id,
        system_events.units,
        coalesce(system_events.is_rollover, false) as is_rollover
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join {{ ref('int_customers_merged') }} as customers
        on
            system_events.organization_id = customers.organization_id
            and system_events.customer_id = customers.customer_id
    where system_events.event_name = 'meter.credited' and system_events.units is not null

),

customer_meters as (

    select organization_id, customer_key, meter_id from metered_months
    union
    select organization_id, customer_key, meter_id from grants
    union
    select organization_id, customer_key, meter_id from resets
    union
    select
        carried_prices.organization_id,
        subscriptions.customer_key,
        carried_prices.meter_id
    from {{ ref('int_carried_prices') }} as carried_prices
    inner join {{ ref('int_subscriptions_merged') }} as subscriptions
        on carried_prices.subscription_key = subscriptions.subscription_key
    where subscriptions.customer_key is not null

),

{# The first window begins before all time. #}
window_starts as (

    select customer_key, meter_id, timestamp '-infinity' as starts_at from customer_meters
    union
    select customer_key, meter_id, reset_at as starts_at from resets

),

windows as (

    select
        *,
        lead(starts_at) over (partition by customer_key, meter_id order by starts_at) as ends_at
    from window_starts

),

usage_of_windows as (

    select
        windows.customer_key,
        windows.meter_id,
        windows.starts_at,
        cast(sum(metered_months.event_count) as bigint) as event_count,
        sum(metered_months.units) as units,
        sum(metered_months.units_beyond_decimals order by metered_months.part_starts_at) as units_beyond_decimals,
        max(metered_months.largest_units) as largest_units,
        min(metered_months.smallest_units) as smallest_units,
        len(list_distinct(flatten(list(metered_months.unique_values) filter (where metered_months.unique_values is not null)))) as unique_count
    from metered_months
    asof inner join windows
        on
            metered_months.customer_key = windows.customer_key
            and metered_months.meter_id = windows.meter_id
            and metered_months.part_starts_at >= windows.starts_at
    group by windows.customer_key, windows.meter_id, windows.starts_at

),

grants_so_far as (

    select
        windows.customer_key,
        windows.meter_id,
        windows.starts_at,
        grants.units,
        grants.is_rollover,
        sum(grants.units) over granted as units_so_far,
        sum(grants.units) over granted_of_kind as units_of_kind_so_far
    from grants
    asof inner join windows
        on
            grants.customer_key = windows.customer_key
            and grants.meter_id = windows.meter_id
            and grants.received_at >= windows.starts_at
    window
        granted as (
            partition by windows.customer_key, windows.meter_id, windows.starts_at
            order by grants.occurred_at, grants.event_id rows between unbounded preceding and current row
        ),
        granted_of_kind as (
            partition by windows.customer_key, windows.meter_id, windows.starts_at, grants.is_rollover
            order by grants.occurred_at, grants.event_id rows between unbounded preceding and current row
        )

),

grants_of_windows as (

    select
        customer_key,
        meter_id,
        starts_at,
        cast(sum(units) as bigint) as granted_units,
        cast(sum(units) - least(0, min(units_so_far)) as bigint) as credited_units,
        cast(coalesce(sum(units) filter (where is_rollover), 0) - least(0, min(units_of_kind_so_far) filter (where is_rollover)) as bigint) as rollover_units,
        cast(coalesce(sum(units) filter (where not is_rollover), 0) - least(0, min(units_of_kind_so_far) filter (where not is_rollover)) as bigint) as other_units
    from grants_so_far
    group by customer_key, meter_id, starts_at

),

measured_windows as (

    select
        meters.organization_id,
        windows.customer_key,
        windows.meter_id,
        nullif(windows.starts_at, timestamp '-infinity') as window_start_at,
        windows.ends_at as window_end_at,
        coalesce(grants_of_windows.granted_units, 0) as granted_units,
        coalesce(grants_of_windows.credited_units, 0) as credited_units,
        coalesce(grants_of_windows.rollover_units, 0) as rollover_units,
        coalesce(grants_of_windows.other_units, 0) as other_units,
        case
            when meters.aggregation_function in ('sum', 'count') and usage_of_windows.units_beyond_decimals is null
                then coalesce(usage_of_windows.units, 0)
            when meters.aggregation_function = 'max' then try_cast(coalesce(usage_of_windows.largest_units, 0) as decimal(38, 12))
            when meters.aggregation_function = 'min' then try_cast(coalesce(usage_of_windows.smallest_units, 0) as decimal(38, 12))
        end as exact_units,
        coalesce(
            case meters.aggregation_function
                when 'max' then usage_of_windows.largest_units
                when 'min' then usage_of_windows.smallest_units
                when 'unique' then usage_of_windows.unique_count
                else
                    (coalesce(cast(usage_of_windows.units as double), 0) + coalesce(usage_of_windows.units_beyond_decimals, 0))
                    / case meters.aggregation_function when 'avg' then nullif(usage_of_windows.event_count, 0) else 1 end
            end,
            0
        ) as consumed_units
    from windows
    inner join customer_meters
        on
            windows.customer_key = customer_meters.customer_key
            and windows.meter_id = customer_meters.meter_id
    inner join meters
        on
            customer_meters.organization_id = meters.organization_id
            and customer_meters.meter_id = meters.meter_id
    left join usage_of_windows
        on
            windows.customer_key = usage_of_windows.customer_key
            and windows.meter_id = usage_of_windows.meter_id
            and windows.starts_at = usage_of_windows.starts_at
    left join grants_of_windows
        on
            windows.customer_key = grants_of_windows.customer_key
            and windows.meter_id = grants_of_windows.meter_id
            and windows.starts_at = grants_of_windows.starts_at
    where windows.ends_at is null or usage_of_windows.starts_at is not null or grants_of_windows.starts_at is not null

)

select
    {{ surrogate_key(["'credit_ledger'", 'customer_key', 'meter_id', 'window_start_at']) }} as credit_ledger_key,
    organization_id,
    customer_key,
    meter_id,
    window_start_at,
    window_end_at,
    cast(granted_units as double) as granted_units,
    consumed_units,
    cast(credited_units as double) as credited_units,
    {# The double nearest to the difference of decimals, where they are: 2 - 1.995 is 0.005. #}
    coalesce(cast(credited_units - exact_units as double), credited_units - consumed_units) as balance_units,
    {# Credits without rollover are used first; what is left is cut to whole units. #}
    cast(
        greatest(0, least(rollover_units, trunc(coalesce(other_units + rollover_units - exact_units, other_units + rollover_units - consumed_units))))
        as double
    ) as rollover_units
from measured_windows
