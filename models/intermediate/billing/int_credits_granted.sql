{#
    One row per billing period, meter and, where usage can be split by price, price with credits: the running sum
    max(0, s + units) over its meter.credited events in received order. A credit goes to the price that was carried when it
    came, as usage does; a meter that is billed once over the period has all its credits in one row. Written without recursion: the sum so far less its lowest point below zero.
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

meters as (

    select * from {{ ref('int_meters_known') }}

),

routed_grants as (

    select
        grants.event_id,
        grants.received_at,
        grants.units,
        grants.meter_id,
        routes.subscription_key,
        case when meters.is_summable then routes.price_id end as price_id,
        routes.billing_period_key
    from grants
    asof inner join routes
        on
            grants.customer_key = routes.customer_key
            and grants.meter_id = routes.meter_id
            and grants.received_at >= routes.route_starts_at
    inner join meters
        on
            grants.organization_id = meters.organization_id
            and grants.meter_id = meters.meter_id
    where routes.billing_period_key is not null

),

sums_so_far as (

    select
        *,
        sum(units) over grant_order as units_so_far,
        row_number() over grant_order as grant_number
    from routed_grants
    window grant_order as (
        partition by billing_period_key, meter_id, price_id order by received_at, event_id
        rows between unbounded preceding and current row
    )

),

credits as (

    select
        billing_period_key,
        meter_id,
        price_id,
        cast(arg_max(units_so_far, grant_number) - least(0, min(units_so_far)) as bigint) as credited_units
    from sums_so_far
    group by billing_period_key, meter_id, price_id

)

select * from credits
