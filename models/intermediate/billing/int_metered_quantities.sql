{{ config(
    materialized='incremental',
    touched_by='int_periods_touched', touched_on=['billing_period_key']
) }}

{#
    One row per billing period and price that is carried when the period closes, usage or not; max, min, avg and unique
    meters have one row per meter. Units are added as decimals (a sum of doubles differs from run to run) and are a
    double at the end; what no decimal holds is added as doubles in received order.
#}
{% set slack = "to_minutes(" ~ (var('cutoff_slack_minutes') | int) ~ ")" %}
{#
    Polar's job runs every 15 minutes, so usage near a boundary may be billed on either side of it: the tail of a period
    may slip out, the tail of the one before may slip in. Usage that was received later than the period it occurred in
    (late) may have been billed by the other clock. A maximum or an average is not taken apart by subtraction, so each
    quantity is aggregated anew.
#}
{% set quantities = {
    'consumed_units': "share = 'own'",
    'units_without_tail': "share = 'own' and not is_in_tail",
    'units_with_head': "share in ('own', 'head')",
    'units_with_late_out': "share in ('own', 'late_out')",
    'units_without_late_in': "share = 'own' and not is_late_in",
    'units_by_occurrence': "share = 'own' and not is_late_in or share = 'late_out'",
    'units_at_half_time': "share = 'own' and is_in_first_half"
} %}

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

{# Kept whole, a table that is named twice would be written and read whole; as it stands each reader takes its columns. #}
routed_events as not materialized (

    select * from {{ ref('int_metered_events_routed') }}
    where
        is_charged
        and {{ within_span('int_periods_touched', 'received_at', 'received_from_at', 'received_to_at') }}

),

late_events as (

    select * from {{ ref('int_late_events') }}

),

credits as (

    select * from {{ ref('int_credits_granted') }}

),

prices_of_periods as not materialized (

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
    from periods{{ touched_only('int_periods_touched', ['billing_period_key']) }}
    inner join carried_prices
        on
            periods.subscription_key = carried_prices.subscription_key
            and carried_prices.carried_from_at < periods.period_end_at
            and periods.period_end_at <= carried_prices.carried_to_at
    inner join meters
        on
            periods.organization_id = meters.organization_id
            and carried_prices.meter_id = meters.meter_id

),

{# Ranked apart: the others have no rank to look for. #}
closing_prices as (

    select * from prices_of_periods
    where is_summable
    union all
    select * from prices_of_periods
    where not is_summable
    qualify row_number() over (partition by billing_period_key, meter_id order by price_id) = 1

),

{#
    Which row an event adds to: its own price's, or its meter's where the meter cannot be split by price. Named twice, and
    not kept: of what no part adds up there are few events, which are looked for before anything is joined.
#}
measured_events as not materialized (

    select
        routed_events.received_at,
        routed_events.units,
        routed_events.units_as_double,
        routed_events.unique_value,
        closing_prices.billing_period_key as measured_period_key,
        closing_prices.price_id as closing_price_id,
        closing_prices.aggregation_function as closing_function,
        'own' as share,
        routed_events.received_at >= closing_prices.period_end_at - {{ slack }} as is_in_tail,
        routed_events.occurred_at < closing_prices.period_start_at as is_late_in,
        {# What a run rate would have known in the middle of the period. #}
        2 * epoch_us(routed_events.received_at)
        < epoch_us(closing_prices.period_start_at) + epoch_us(closing_prices.period_end_at) as is_in_first_half
    from routed_events
    inner join closing_prices
        on
            routed_events.billing_period_key = closing_prices.billing_period_key
            and routed_events.meter_id = closing_prices.meter_id
            and (not closing_prices.is_summable or routed_events.price_id = closing_prices.price_id)
    union all
    {# The tail of the period that ended where this one starts may slip into it. #}
    select
        routed_events.received_at,
        routed_events.units,
        routed_events.units_as_double,
        routed_events.unique_value,
        closing_prices.billing_period_key as measured_period_key,
        closing_prices.price_id as closing_price_id,
        closing_prices.aggregation_function as closing_function,
        'head' as share,
        false as is_in_tail,
        false as is_late_in,
        false as is_in_first_half
    from routed_events
    inner join periods
        on
            routed_events.billing_period_key = periods.billing_period_key
            and routed_events.received_at >= periods.period_end_at - {{ slack }}
    inner join closing_prices
        on
            periods.subscription_key = closing_prices.subscription_key
            and periods.period_end_at = closing_prices.period_start_at
            and routed_events.meter_id = closing_prices.meter_id
            and (not closing_prices.is_summable or routed_events.price_id = closing_prices.price_id)
    union all
    {# Received in a later period. #}
    select
        late_events.received_at,
        late_events.units,
        late_events.units_as_double,
        late_events.unique_value,
        closing_prices.billing_period_key as measured_period_key,
        closing_prices.price_id as closing_price_id,
        closing_prices.aggregation_function as closing_function,
        'late_out' as share,
        false as is_in_tail,
        false as is_late_in,
        false as is_in_first_half
    from late_events
    inner join closing_prices
        on
            late_events.subscription_key = closing_prices.subscription_key
            and closing_prices.period_start_at <= late_events.occurred_at
            and late_events.occurred_at < closing_prices.period_end_at
            and late_events.meter_id = closing_prices.meter_id
            and (not closing_prices.is_summable or late_events.price_id = closing_prices.price_id)

),

{# By what any quantity asks of an event: few parts a period, from which each is put together. #}
parts as (

    select
        measured_period_key as billing_period_key,
        closing_price_id as price_id,
        closing_function,
        share,
        is_in_tail,
        is_late_in,
        is_in_first_half,
        count(*) as event_count,
        sum(units) as units,
        max(units_as_double) as largest_units,
        min(units_as_double) as smallest_units
    from measured_events
    group by
        measured_period_key, closing_price_id, closing_function, share, is_in_tail, is_late_in, is_in_first_half

),

{# What parts do not add up to: different values, and doubles in received order. #}
whole_quantities as (

    select
        measured_period_key as billing_period_key,
        closing_price_id as price_id,
        {%- for name, condition in quantities.items() %}
        cast(count(distinct unique_value) filter (where {{ condition }}) as double) as distinct_{{ name }},
        coalesce(sum(units_as_double order by received_at, units_as_double) filter (where units is null and ({{ condition }})), 0) as {{ name }}_beyond_decimals{{ "," if not loop.last }}
        {%- endfor %}
    from measured_events
    where unique_value is not null or (units is null and units_as_double is not null)
    group by measured_period_key, closing_price_id

),

summed_parts as (

    select
        billing_period_key,
        price_id,
        closing_function,
        cast(sum(event_count) filter (where share = 'own') as bigint) as event_count,
        bool_or(share = 'late_out' or is_late_in) as has_late_usage,
        {%- for name, condition in quantities.items() %}
        case closing_function
            when 'max' then max(largest_units) filter (where {{ condition }})
            when 'min' then min(smallest_units) filter (where {{ condition }})
            else coalesce(cast(sum(units) filter (where {{ condition }}) as double), 0)
        end as {{ name }},
        case closing_function
            when 'avg' then cast(sum(event_count) filter (where {{ condition }}) as double)
            else 1
        end as {{ name }}_divisor{{ "," if not loop.last }}
        {%- endfor %}
    from parts
    group by billing_period_key, price_id, closing_function

),

quantities as (

    select
        summed_parts.billing_period_key,
        summed_parts.price_id,
        coalesce(summed_parts.event_count, 0) as event_count,
        summed_parts.has_late_usage,
        {%- for name in quantities %}
        coalesce(
            case summed_parts.closing_function
                when 'max' then summed_parts.{{ name }}
                when 'min' then summed_parts.{{ name }}
                when 'unique' then whole_quantities.distinct_{{ name }}
                else (summed_parts.{{ name }} + coalesce(whole_quantities.{{ name }}_beyond_decimals, 0)) / summed_parts.{{ name }}_divisor
            end,
            0
        ) as {{ name }}{{ "," if not loop.last }}
        {%- endfor %}
    from summed_parts
    left join whole_quantities
        on
            summed_parts.billing_period_key = whole_quantities.billing_period_key
            and summed_parts.price_id = whole_quantities.price_id

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
        closing_prices.tiers,
        closing_prices.cap_amount,
        closing_prices.currency,
        closing_prices.period_start_at,
        closing_prices.period_end_at,
        coalesce(quantities.event_count, 0) as event_count,
        coalesce(quantities.consumed_units, 0) as consumed_units,
        cast(coalesce(credits.credited_units, 0) as double) as credited_units,
        coalesce(quantities.has_late_usage, false) as has_late_usage,
        {%- for name in quantities if name != 'consumed_units' %}
        coalesce(quantities.{{ name }}, 0) as {{ name }}{{ "," if not loop.last }}
        {%- endfor %}
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
            and (not closing_prices.is_summable or closing_prices.price_id = credits.price_id)

),

rated_units as (

    select
        *,
        {{ rate_price('', 'consumed_units', 'credited_units') }} as uncapped_amount
    from metered_quantities

),

{# Most periods have nothing in their tail or head: what is the same quantity is not rated again. #}
rated_quantities as (

    select
        *,
        {%- for amount, name in {
            'low_amount': 'units_without_tail', 'high_amount': 'units_with_head', 'uncapped_half_time_amount': 'units_at_half_time'
        }.items() %}
        case
            when {{ name }} = consumed_units then uncapped_amount
            else {{ rate_price('', name, 'credited_units') }}
        end as {{ amount }},
        {%- endfor %}
        {%- for name in ['units_with_late_out', 'units_without_late_in', 'units_by_occurrence'] %}
        case when has_late_usage then {{ rate_price('', name, 'credited_units') }} end as {{ name.replace('units', 'amount') }}{{ "," if not loop.last }}
        {%- endfor %}
    from rated_units

)

select
    meter_usage_key,
    billing_period_key,
    subscription_key,
    organization_id,
    customer_key,
    meter_id,
    price_id,
    is_summable,
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
    case when uncapped_half_time_amount is not null then least(uncapped_half_time_amount, cap_amount) end as half_time_amount,
    {#
        What the tail slipping out and the head slipping in would change. Negative quantities, a lower minimum or a cheaper
        tier turn the sign: whatever it is, nothing slipping lies between the bounds.
    #}
    case when uncapped_amount is not null then
        least(0, least(low_amount, cap_amount) - least(uncapped_amount, cap_amount), least(high_amount, cap_amount) - least(uncapped_amount, cap_amount))
    end as cutoff_low_amount,
    case when uncapped_amount is not null then
        greatest(0, least(low_amount, cap_amount) - least(uncapped_amount, cap_amount), least(high_amount, cap_amount) - least(uncapped_amount, cap_amount))
    end as cutoff_high_amount,
    {%- for name, amount in {
        'late_out_amount': 'amount_with_late_out', 'late_in_amount': 'amount_without_late_in', 'late_both_amount': 'amount_by_occurrence'
    }.items() %}
    case
        when uncapped_amount is not null and {{ amount }} is not null
            then least({{ amount }}, cap_amount) - least(uncapped_amount, cap_amount)
    end as {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
from rated_quantities
