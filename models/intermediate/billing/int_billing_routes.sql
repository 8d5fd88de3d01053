{#
    Where usage of a customer on a meter goes, as half-open stretches of time: one row per customer, meter and stretch
    in which the answer does not change. All rules about customers, subscriptions, trials, prices and periods are
    settled here, on small tables; an event then needs one lookup by the time it was received.
#}

with

meters as (

    select * from {{ ref('int_meters_known') }}

),

customers as (

    select * from {{ ref('int_customers_merged') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

own_intervals as (

    select
        subscriptions.customer_key,
        subscriptions.subscription_key,
        subscriptions.started_at,
        coalesce(subscriptions.trial_ends_at, timestamp '-infinity') as trial_ends_at,
        live_intervals.live_from_at,
        live_intervals.live_to_at
    from {{ ref('int_subscription_live_intervals') }} as live_intervals
    inner join subscriptions on live_intervals.subscription_key = subscriptions.subscription_key

),

{# Who holds a seat of another customer's subscription uses that one where no subscription of their own takes it. #}
live_intervals as (

    select
        *,
        false as is_seat
    from own_intervals
    where customer_key is not null
    union all
    select
        seats.customer_key,
        seats.subscription_key,
        own_intervals.started_at,
        own_intervals.trial_ends_at,
        greatest(own_intervals.live_from_at, seats.held_from_at) as live_from_at,
        least(own_intervals.live_to_at, seats.held_to_at) as live_to_at,
        true as is_seat
    from {{ ref('int_seats_held') }} as seats
    inner join own_intervals
        on
            seats.subscription_key = own_intervals.subscription_key
            and seats.held_from_at < own_intervals.live_to_at
            and own_intervals.live_from_at < seats.held_to_at

),

carried_prices as (

    select * from {{ ref('int_carried_prices') }}

),

periods as (

    select * from {{ ref('int_metering_periods') }}

),

granted_credits as (

    select * from {{ ref('stg_polar__system_events') }}
    where event_name = 'meter.credited'

),

{# Only pairs with something to route. #}
customer_meters as (

    select
        organization_id,
        customer_key,
        meter_id
    from {{ ref('int_customers_metered') }}
    union
    select
        granted_credits.organization_id,
        customers.customer_key,
        granted_credits.meter_id
    from granted_credits
    inner join customers
        on
            granted_credits.organization_id = customers.organization_id
            and granted_credits.customer_id = customers.customer_id
    where granted_credits.meter_id is not null

),

instants_of_customers as (

    select
        customer_key,
        live_from_at as instant
    from live_intervals
    union
    select
        customer_key,
        live_to_at as instant
    from live_intervals
    union
    select
        customer_key,
        trial_ends_at as instant
    from live_intervals
    union
    select
        live_intervals.customer_key,
        carried_prices.carried_from_at as instant
    from carried_prices
    inner join live_intervals on carried_prices.subscription_key = live_intervals.subscription_key
    union
    select
        live_intervals.customer_key,
        carried_prices.carried_to_at as instant
    from carried_prices
    inner join live_intervals on carried_prices.subscription_key = live_intervals.subscription_key
    union
    select
        live_intervals.customer_key,
        periods.period_start_at as instant
    from periods
    inner join live_intervals on periods.subscription_key = live_intervals.subscription_key
    union
    select
        live_intervals.customer_key,
        periods.period_end_at as instant
    from periods
    inner join live_intervals on periods.subscription_key = live_intervals.subscription_key
    union
    select
        customer_key,
        created_at as instant
    from customers
    union
    select
        customer_key,
        deleted_at as instant
    from customers

),

instants as (

    select
        customer_meters.organization_id,
        customer_meters.customer_key,
        customer_meters.meter_id,
        timestamp '-infinity' as instant
    from customer_meters
    union
    select
        customer_meters.organization_id,
        customer_meters.customer_key,
        customer_meters.meter_id,
        instants_of_customers.instant
    from customer_meters
    inner join instants_of_customers on customer_meters.customer_key = instants_of_customers.customer_key
    where instants_of_customers.instant is not null
    union
    select
        customer_meters.organization_id,
        customer_meters.customer_key,
        customer_meters.meter_id,
        meters.created_at as instant
    from customer_meters
    inner join meters
        on
            customer_meters.organization_id = meters.organization_id
            and customer_meters.meter_id = meters.meter_id
    where meters.created_at is not null

),

stretches as (

    select
        organization_id,
        customer_key,
        meter_id,
        instant as route_starts_at,
        coalesce(
            lead(instant) over (partition by customer_key, meter_id order by instant),
            timestamp 'infinity'
        ) as route_ends_at
    from instants
    where instant < timestamp 'infinity'

),

{# Several subscriptions with a price on the meter: the earliest started takes it all. #}
chosen_prices as (

    select
        stretches.customer_key,
        stretches.meter_id,
        stretches.route_starts_at,
        carried_prices.subscription_key,
        carried_prices.price_id,
        carried_prices.carried_to_at,
        carried_prices.currency,
        live_intervals.trial_ends_at
    from stretches
    inner join live_intervals
        on
            stretches.customer_key = live_intervals.customer_key
            and live_intervals.live_from_at <= stretches.route_starts_at
            and stretches.route_starts_at < live_intervals.live_to_at
    inner join carried_prices
        on
            live_intervals.subscription_key = carried_prices.subscription_key
            and stretches.meter_id = carried_prices.meter_id
            and carried_prices.carried_from_at <= stretches.route_starts_at
            and stretches.route_starts_at < carried_prices.carried_to_at
    qualify row_number() over (
        partition by stretches.customer_key, stretches.meter_id, stretches.route_starts_at
        order by live_intervals.is_seat, live_intervals.started_at, carried_prices.subscription_key, carried_prices.price_id
    ) = 1

),

live_customers as (

    select distinct
        stretches.customer_key,
        stretches.route_starts_at
    from stretches
    inner join live_intervals
        on
            stretches.customer_key = live_intervals.customer_key
            and live_intervals.live_from_at <= stretches.route_starts_at
            and stretches.route_starts_at < live_intervals.live_to_at

),

{#
    Only what is carried when a period closes is billed, also where it had left in between. A change that starts a period
    anew bills no usage: what it takes off the subscription is lost.
#}
closing_prices as (

    select distinct
        periods.billing_period_key,
        carried_prices.meter_id,
        carried_prices.price_id
    from periods
    inner join carried_prices
        on
            periods.subscription_key = carried_prices.subscription_key
            and carried_prices.carried_from_at < periods.period_end_at
            and (
                periods.period_end_at < carried_prices.carried_to_at
                or (periods.period_end_at = carried_prices.carried_to_at and not coalesce(periods.is_restarted, false))
            )

),

{# A non-summable meter is billed once over the period, at whatever price is active then: it asks for none. #}
closings as (

    select * from closing_prices
    union
    select
        billing_period_key,
        meter_id,
        null as price_id
    from closing_prices

),

routes as (

    select
        stretches.organization_id,
        stretches.customer_key,
        stretches.meter_id,
        stretches.route_starts_at,
        stretches.route_ends_at,
        chosen_prices.subscription_key,
        chosen_prices.price_id,
        chosen_prices.currency,
        periods.billing_period_key,
        case
            when stretches.route_starts_at < meters.created_at then 'before_meter'
            when
                customers.customer_key is null
                or stretches.route_starts_at < customers.created_at
                or stretches.route_starts_at >= customers.deleted_at
                then 'unknown_customer'
            when chosen_prices.price_id is null and live_customers.customer_key is null then 'no_subscription'
            when chosen_prices.price_id is null then 'no_price'
            when stretches.route_starts_at < chosen_prices.trial_ends_at then 'trial'
            when not periods.has_meter_cycle and periods.is_cut_short then 'stranded'
            when periods.billing_period_key is not null and closings.billing_period_key is null then 'stranded'
        end as reason
    from stretches
    inner join meters
        on
            stretches.organization_id = meters.organization_id
            and stretches.meter_id = meters.meter_id
    left join customers on stretches.customer_key = customers.customer_key
    left join chosen_prices
        on
            stretches.customer_key = chosen_prices.customer_key
            and stretches.meter_id = chosen_prices.meter_id
            and stretches.route_starts_at = chosen_prices.route_starts_at
    left join live_customers
        on
            stretches.customer_key = live_customers.customer_key
            and stretches.route_starts_at = live_customers.route_starts_at
    left join periods
        on
            chosen_prices.subscription_key = periods.subscription_key
            and periods.period_start_at <= stretches.route_starts_at
            and stretches.route_starts_at < periods.period_end_at
    left join closings
        on
            periods.billing_period_key = closings.billing_period_key
            and stretches.meter_id = closings.meter_id
            and case when meters.is_summable then chosen_prices.price_id end is not distinct from closings.price_id

)

select * from routes
