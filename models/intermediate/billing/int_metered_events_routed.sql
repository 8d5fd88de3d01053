{{ config(
    materialized='incremental', touched_by='int_routing_touched'
) }}

{#
    One row per usage event and meter, with the subscription, price and period it goes to and what a unit is worth there,
    or the reason why it does not; and one of an event without a meter. Whether a period is open, awaits its order or was
    billed is not here: a period that closes changes no row.
#}

with

metered_events as (

    select * from {{ ref('int_metered_events') }}{{ touched_only('int_routing_touched') }}

),

routes as (

    select * from {{ ref('int_billing_routes') }}

),

prices as (

    select * from {{ ref('int_prices_known') }}
    where amount_type = 'metered_unit'

),

reference_prices as (

    select * from {{ ref('int_reference_prices') }}

),

routed_events as (

    select
        metered_events.*,
        routes.subscription_key,
        routes.price_id,
        routes.currency,
        routes.billing_period_key,
        case
            when metered_events.meter_id is null then 'no_meter'
            when not metered_events.is_countable then 'non_numeric'
            else routes.reason
        end as reason
    from metered_events
    left join routes
        on
            metered_events.customer_key = routes.customer_key
            and metered_events.meter_id = routes.meter_id
            and metered_events.received_at >= routes.route_starts_at
            and metered_events.received_at < routes.route_ends_at

)

select
    routed_events.* exclude (aggregation_function, is_countable) replace (
        coalesce(prices.currency, routed_events.currency, reference_prices.currency) as currency
    ),
    routed_events.reason is null and routed_events.billing_period_key is not null as is_charged,
    {# What an event is worth is the product of two columns: it takes more to store than to compute. #}
    case when routed_events.aggregation_function in ('sum', 'count') then prices.unit_amount end as list_unit_amount,
    case
        when routed_events.aggregation_function in ('sum', 'count') and routed_events.price_id is null
            then reference_prices.unit_amount
    end as reference_unit_amount
from routed_events
left join prices
    on
        routed_events.organization_id = prices.organization_id
        and routed_events.price_id = prices.price_id
left join reference_prices
    on
        routed_events.organization_id = reference_prices.organization_id
        and routed_events.meter_id = reference_prices.meter_id
