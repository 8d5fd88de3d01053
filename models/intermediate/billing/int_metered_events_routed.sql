{{ config(
    materialized='incremental', touched_by='int_routing_touched'
) }}

{# One row per usage event and meter, with the subscription, price and period it goes to, or the reason why it does not. #}

with

metered_events as (

    select * from {{ ref('int_metered_events') }}{{ touched_only('int_routing_touched') }}

),

routes as (

    select * from {{ ref('int_billing_routes') }}

)

select
    metered_events.*,
    routes.subscription_key,
    routes.price_id,
    routes.currency,
    routes.billing_period_key,
    case when not metered_events.is_countable then 'non_numeric' else routes.reason end as reason
from metered_events
left join routes
    on
        metered_events.customer_key = routes.customer_key
        and metered_events.meter_id = routes.meter_id
        and metered_events.received_at >= routes.route_starts_at
        and metered_events.received_at < routes.route_ends_at
