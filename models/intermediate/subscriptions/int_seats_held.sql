{#
    One row per seat of a subscription and customer who holds it, from when it was claimed to when it was revoked, or to
    when a later word on the seat names somebody else. The purchaser's own seats are not here: what is used on them is
    the purchaser's anyway.
#}

with

seats as (

    select * from {{ ref('stg_polar__seats') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

customers as (

    select * from {{ ref('int_customers_merged') }}

),

claims as (

    select
        organization_id,
        seat_id,
        subscription_id,
        customer_id,
        min(coalesce(claimed_at, webhook_at)) as held_from_at
    from seats
    where customer_id is not null and (claimed_at is not null or status = 'claimed')
    group by organization_id, seat_id, subscription_id, customer_id

),

ends as (

    select
        claims.organization_id,
        claims.seat_id,
        claims.customer_id,
        min(coalesce(case when seats.customer_id = claims.customer_id then seats.revoked_at end, seats.webhook_at)) as held_to_at
    from claims
    inner join seats
        on
            claims.organization_id = seats.organization_id
            and claims.seat_id = seats.seat_id
            and claims.held_from_at < seats.webhook_at
            and (seats.status = 'revoked' or seats.customer_id is distinct from claims.customer_id)
    group by claims.organization_id, claims.seat_id, claims.customer_id

)

select
    claims.organization_id,
    claims.seat_id,
    customers.customer_key,
    subscriptions.subscription_key,
    claims.held_from_at,
    coalesce(ends.held_to_at, timestamp 'infinity') as held_to_at
from claims
inner join subscriptions
    on
        claims.organization_id = subscriptions.organization_id
        and claims.subscription_id = subscriptions.subscription_id
inner join customers
    on
        claims.organization_id = customers.organization_id
        and claims.customer_id = customers.customer_id
left join ends
    on
        claims.organization_id = ends.organization_id
        and claims.seat_id = ends.seat_id
        and claims.customer_id = ends.customer_id
where customers.customer_key is distinct from subscriptions.customer_key
