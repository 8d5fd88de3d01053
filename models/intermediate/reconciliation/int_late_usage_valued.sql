{#
    One row per billing period and price with usage on the other side of the two clocks: what the period's amount would
    be if usage that occurred in it and was received after it were added (out), or usage that was received in it and
    occurred before it were taken away (in). A variance that equals one of these is explained by named events.
#}

with

late_events as (

    select * from {{ ref('int_late_events') }}

),

periods as (

    select * from {{ ref('int_metering_periods') }}

),

quantities as (

    select * from {{ ref('int_metered_quantities') }}

),

carried_prices as (

    select * from {{ ref('int_carried_prices') }}

),

late_units as (

    select
        billing_period_key,
        price_id,
        units as units_in,
        null as units_out
    from late_events
    union all
    select
        periods.billing_period_key,
        late_events.price_id,
        null as units_in,
        late_events.units as units_out
    from late_events
    inner join periods
        on
            late_events.subscription_key = periods.subscription_key
            and periods.period_start_at <= late_events.occurred_at
            and late_events.occurred_at < periods.period_end_at

),

late_sums as (

    select
        billing_period_key,
        price_id,
        coalesce(cast(sum(units_in) as double), 0) as units_in,
        coalesce(cast(sum(units_out) as double), 0) as units_out
    from late_units
    group by billing_period_key, price_id

),

revalued as (

    select
        quantities.billing_period_key,
        quantities.expected_amount,
        carried_prices.cap_amount,
        {{ rate_units('carried_prices.unit_amount', '(quantities.consumed_units + late_sums.units_out)', 'quantities.credited_units') }} as amount_with_out,
        {{ rate_units('carried_prices.unit_amount', 'greatest(0, quantities.consumed_units - late_sums.units_in)', 'quantities.credited_units') }} as amount_without_in,
        {{ rate_units('carried_prices.unit_amount', 'greatest(0, quantities.consumed_units - late_sums.units_in + late_sums.units_out)', 'quantities.credited_units') }} as amount_by_occurrence
    from late_sums
    inner join quantities
        on
            late_sums.billing_period_key = quantities.billing_period_key
            and late_sums.price_id = quantities.price_id
    inner join carried_prices
        on
            quantities.subscription_key = carried_prices.subscription_key
            and quantities.price_id = carried_prices.price_id
            and carried_prices.carried_from_at < quantities.period_end_at
            and quantities.period_end_at <= carried_prices.carried_to_at
    where carried_prices.price_type = 'unit'

)

select
    billing_period_key,
    cast(sum(least(amount_with_out, cap_amount) - expected_amount) as bigint) as late_out_amount,
    cast(sum(least(amount_without_in, cap_amount) - expected_amount) as bigint) as late_in_amount,
    cast(sum(least(amount_by_occurrence, cap_amount) - expected_amount) as bigint) as late_both_amount
from revalued
group by billing_period_key
