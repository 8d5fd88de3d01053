{# What Polar's seat webhooks say of seats of subscriptions. #}
{% set seat = '{"id": "VARCHAR", "subscription_id": "VARCHAR", "customer_id": "VARCHAR", "status": "VARCHAR", "created_at": "VARCHAR", "claimed_at": "VARCHAR", "revoked_at": "VARCHAR"}' %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

parsed_seats as (

    select
        organization_id,
        webhook_at,
        from_json(payload, '{{ seat }}') as seat
    from resources
    where kind = 'webhooks' and webhook_type like 'customer\_seat.%' escape '\'

),

seats as (

    select
        organization_id,
        {{ polar_id('seat.id') }} as seat_id,
        {{ polar_id('seat.subscription_id') }} as subscription_id,
        {{ polar_id('seat.customer_id') }} as customer_id,
        seat.status as status,
        {{ utc('seat.created_at') }} as created_at,
        {{ utc('seat.claimed_at') }} as claimed_at,
        {{ utc('seat.revoked_at') }} as revoked_at,
        webhook_at
    from parsed_seats

)

select distinct * from seats
where seat_id is not null and subscription_id is not null
