{#
    One row per price and billing period with credits: the running sum max(0, s + units) over its meter.credited events
    in received order. Written without recursion: the sum so far less its lowest point below zero.
#}

with

grants as (

    select
        system_events.*,
        customers.customer_key
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join {{ ref('int_customers_merged') }} as customers
        on
            system_events.organization_id = customers.organization_id
            and system_events.customer_id = customers.customer_id
    where system_events.event_name = 'meter.credited' and system_events.units is not null

),

routes as (

    select * from {{ ref('int_billing_routes') }}

),

routed_grants as (

    select
        grants.event_id,
        grants.received_at,
        grants.units,
        grants.meter_id,
        routes.subscription_key,
        routes.price_id,
        routes.billing_period_key
    from grants
    asof inner join routes
        on
            grants.customer_key = routes.customer_key
            and grants.meter_id = routes.meter_id
            and grants.received_at >= routes.route_starts_at
    where routes.billing_period_key is not null

),

sums_so_far as (

    select
        *,
        sum(units) over grant_order as units_so_far,
        row_number() over grant_order as grant_number
    from routed_grants
    window grant_order as (
        partition by billing_period_key, meter_id order by received_at, event_id
        rows between unbounded preceding and current row
    )

),

credits as (

    select
        billing_period_key,
        meter_id,
        arg_max(price_id, grant_number) as price_id,
        cast(arg_max(units_so_far, grant_number) - least(0, min(units_so_far)) as bigint) as credited_units
    from sums_so_far
    group by billing_period_key, meter_id

)

select * from credits
