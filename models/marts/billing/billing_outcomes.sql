{{ config(
    materialized='incremental', touched_by='int_outcomes_touched'
) }}

{#
    Per event only what never changes is stored upstream; whether a period is open, awaits its order or was billed comes
    from the period by join: what a period that closes makes anew is only here.
#}

with

usage_events as (

    select * from {{ ref('int_usage_events_attributed') }}{{ touched_only('int_outcomes_touched') }}

),

routed_events as (

    select * from {{ ref('int_metered_events_routed') }}{{ touched_only('int_outcomes_touched') }}

),

periods as (

    select * from {{ ref('billing_periods') }}

),

prices as (

    select * from {{ ref('int_prices_known') }}
    where amount_type = 'metered_unit'

),

reference_prices as (

    select * from {{ ref('int_reference_prices') }}

),

metered_outcomes as (

    select
        routed_events.load_id,
        routed_events.file_number,
        routed_events.record_number,
        routed_events.usage_event_key,
        routed_events.organization_id,
        routed_events.customer_key,
        routed_events.member_key,
        routed_events.meter_id,
        routed_events.price_id,
        routed_events.subscription_key,
        routed_events.billing_period_key,
        periods.order_key,
        coalesce(
            routed_events.reason,
            case
                when periods.order_key is not null then 'billed'
                when periods.is_closed then 'awaiting_order'
                else 'open'
            end
        ) as outcome,
        coalesce(cast(routed_events.units as double), routed_events.units_as_double) as units,
        case
            when routed_events.aggregation_function in ('sum', 'count') and prices.unit_amount is not null
                then coalesce(
                    {{ exact_product('routed_events.units', 'prices.unit_amount') }},
                    {{ exact_product('routed_events.units_as_double', 'prices.unit_amount') }}
                )
        end as list_amount,
        case
            when routed_events.aggregation_function in ('sum', 'count') and routed_events.price_id is null
                then coalesce(
                    {{ exact_product('routed_events.units', 'reference_prices.unit_amount') }},
                    {{ exact_product('routed_events.units_as_double', 'reference_prices.unit_amount') }}
                )
        end as reference_amount,
        coalesce(prices.currency, routed_events.currency, reference_prices.currency) as currency
    from routed_events
    left join periods on routed_events.billing_period_key = periods.billing_period_key
    left join prices
        on
            routed_events.organization_id = prices.organization_id
            and routed_events.price_id = prices.price_id
    left join reference_prices
        on
            routed_events.organization_id = reference_prices.organization_id
            and routed_events.meter_id = reference_prices.meter_id

),

unmetered_outcomes as (

    select
        usage_events.load_id,
        usage_events.file_number,
        usage_events.record_number,
        usage_events.usage_event_key,
        usage_events.organization_id,
        usage_events.customer_key,
        usage_events.member_key,
        cast(null as varchar) as meter_id,
        cast(null as varchar) as price_id,
        cast(null as varchar) as subscription_key,
        cast(null as varchar) as billing_period_key,
        cast(null as varchar) as order_key,
        'no_meter' as outcome,
        cast(null as double) as units,
        cast(null as decimal(38, 12)) as list_amount,
        cast(null as decimal(38, 12)) as reference_amount,
        cast(null as varchar) as currency
    from usage_events
    anti join routed_events
        on
            usage_events.load_id = routed_events.load_id
            and usage_events.file_number = routed_events.file_number
            and usage_events.record_number = routed_events.record_number

),

outcomes as (

    select * from metered_outcomes
    union all
    select * from unmetered_outcomes

)

select
    {{ surrogate_key(["'billing_outcome'", 'usage_event_key', 'meter_id']) }} as billing_outcome_key,
    usage_event_key,
    organization_id,
    customer_key,
    member_key,
    meter_id,
    price_id,
    subscription_key,
    billing_period_key,
    order_key,
    outcome,
    units,
    list_amount,
    reference_amount,
    currency,
    load_id,
    file_number,
    record_number
from outcomes
