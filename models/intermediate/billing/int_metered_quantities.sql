{#
    One row per billing period and price that is carried when the period closes, usage or not; max, min, avg and unique
    meters have one row per meter. Units are added as decimals (a sum of doubles differs from run to run) and are a
    double at the end; what no decimal holds is added as doubles in received order.
#}
{% set slack = "to_minutes(" ~ (var('cutoff_slack_minutes') | int) ~ ")" %}

with

periods as (

    select * from {{ ref('int_metering_periods') }}

),

carried_prices as (

    select * from {{ ref('int_carried_prices') }}

),

meters as (

    select * from {{ ref('int_meters_known') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

routed_events as (

    select * from {{ ref('int_metered_events_routed') }}
    where reason is null and billing_period_key is not null

),

credits as (

    select * from {{ ref('int_credits_granted') }}

),

closing_prices as (

    select
        periods.billing_period_key,
        periods.subscription_key,
        periods.organization_id,
        periods.period_start_at,
        periods.period_end_at,
        carried_prices.price_id,
        carried_prices.meter_id,
        carried_prices.price_type,
        carried_prices.unit_amount,
        carried_prices.tiers,
        carried_prices.cap_amount,
        carried_prices.currency,
        meters.aggregation_function,
        meters.is_summable
    from periods
    inner join carried_prices
        on
            periods.subscription_key = carried_prices.subscription_key
            and carried_prices.carried_from_at < periods.period_end_at
            and periods.period_end_at <= carried_prices.carried_to_at
    inner join meters
        on
            periods.organization_id = meters.organization_id
            and carried_prices.meter_id = meters.meter_id
    qualify meters.is_summable or row_number() over (
        partition by periods.billing_period_key, carried_prices.meter_id order by carried_prices.price_id
    ) = 1

),

{# Which row an event adds to: its own price's, or its meter's where the meter cannot be split by price. #}
measured_events as (

    select
        routed_events.*,
        closing_prices.price_id as closing_price_id,
        closing_prices.aggregation_function as closing_function,
        routed_events.received_at >= closing_prices.period_end_at - {{ slack }} as is_in_tail
    from routed_events
    inner join closing_prices
        on
            routed_events.billing_period_key = closing_prices.billing_period_key
            and routed_events.meter_id = closing_prices.meter_id
            and (not closing_prices.is_summable or routed_events.price_id = closing_prices.price_id)

),

quantities as (

    select
        billing_period_key,
        closing_price_id as price_id,
        count(*) as event_count,
        case any_value(closing_function)
            when 'max' then max(units_as_double)
            when 'min' then min(units_as_double)
            when 'unique' then cast(count(distinct unique_value) as double)
            when 'avg' then
                (coalesce(cast(sum(units) as double), 0)
                + coalesce(sum(units_as_double order by received_at, usage_event_key) filter (where units is null), 0))
                / count(*)
            else
                coalesce(cast(sum(units) as double), 0)
                + coalesce(sum(units_as_double order by received_at, usage_event_key) filter (where units is null), 0)
        end as consumed_units,
        coalesce(cast(sum(units) filter (where is_in_tail) as double), 0) as tail_units
    from measured_events
    group by billing_period_key, closing_price_id

),

metered_quantities as (

    select
        {{ surrogate_key(["'meter_usage'", 'closing_prices.billing_period_key', 'closing_prices.price_id']) }} as meter_usage_key,
        closing_prices.billing_period_key,
        closing_prices.subscription_key,
        subscriptions.organization_id,
        subscriptions.customer_key,
        closing_prices.meter_id,
        closing_prices.price_id,
        closing_prices.price_type,
        closing_prices.is_summable,
        closing_prices.unit_amount,
        closing_prices.cap_amount,
        closing_prices.currency,
        closing_prices.period_start_at,
        closing_prices.period_end_at,
        coalesce(quantities.event_count, 0) as event_count,
        coalesce(quantities.consumed_units, 0) as consumed_units,
        cast(coalesce(credits.credited_units, 0) as double) as credited_units,
        coalesce(quantities.tail_units, 0) as tail_units
    from closing_prices
    inner join subscriptions on closing_prices.subscription_key = subscriptions.subscription_key
    left join quantities
        on
            closing_prices.billing_period_key = quantities.billing_period_key
            and closing_prices.price_id = quantities.price_id
    left join credits
        on
            closing_prices.billing_period_key = credits.billing_period_key
            and closing_prices.meter_id = credits.meter_id
            and closing_prices.price_id = credits.price_id

),

{#
    Polar's job runs every 15 minutes, so usage near a boundary may be billed on either side of it: the tail of this
    period may slip out, the tail of the one before may slip in.
#}
shifted_quantities as (

    select
        *,
        greatest(0, consumed_units - tail_units) as units_without_tail,
        consumed_units + coalesce(lag(tail_units) over (
            partition by subscription_key, price_id order by period_start_at
        ), 0) as units_with_head
    from metered_quantities

),

rated_quantities as (

    select
        *,
        case when price_type = 'unit' then {{ rate_units('unit_amount', 'consumed_units', 'credited_units') }} end as uncapped_amount,
        case when price_type = 'unit' then {{ rate_units('unit_amount', 'units_without_tail', 'credited_units') }} end as low_amount,
        case when price_type = 'unit' then {{ rate_units('unit_amount', 'units_with_head', 'credited_units') }} end as high_amount
    from shifted_quantities

)

select
    meter_usage_key,
    billing_period_key,
    subscription_key,
    organization_id,
    customer_key,
    meter_id,
    price_id,
    currency,
    period_start_at,
    period_end_at,
    event_count,
    consumed_units,
    credited_units,
    greatest(0, consumed_units - credited_units) as billable_units,
    {# least() skips nulls: no cap, no limit; but an amount that cannot be rated stays null. #}
    case when uncapped_amount is not null then least(uncapped_amount, cap_amount) end as expected_amount,
    coalesce(uncapped_amount > cap_amount, false) as is_capped,
    case when uncapped_amount is not null then least(low_amount, cap_amount) - least(uncapped_amount, cap_amount) end as cutoff_low_amount,
    case when uncapped_amount is not null then least(high_amount, cap_amount) - least(uncapped_amount, cap_amount) end as cutoff_high_amount
from rated_quantities
