{#
    The metered events that may go elsewhere since the last build: those measured anew, and those received while their
    customer's route on the meter is another, with what they were measured and billed as. Empty where the build makes everything
    anew.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}
{% set answer = ['subscription_key', 'price_id', 'currency', 'billing_period_key', 'reason'] %}

{% if not works_in_place() %}

select
    {{ place | join(', ') }},
    cast(null as varchar) as old_billing_period_key,
    cast(null as varchar) as old_subscription_key,
    cast(null as varchar) as old_customer_key,
    cast(null as varchar) as old_meter_id,
    cast(null as timestamp) as old_received_at,
    cast(null as timestamp) as old_occurred_at
from {{ ref('int_metering_touched') }}
where false
    and load_id in (select load_id from {{ ref('int_metered_events') }})
    and load_id in (select 1 from {{ ref('int_billing_routes') }})

{% else %}
{% set routes = ref('int_billing_routes') %}

with

{# Only customers and meters with any difference; their stretches are then cut at the bounds of either version. #}
differing_pairs as (

    select distinct
        customer_key,
        meter_id
    from (
        {{ differing_rows('int_billing_routes', ['customer_key', 'meter_id', 'route_starts_at'] + answer) }}
    )

),

new_routes as (

    select * from {{ routes }}
    semi join differing_pairs using (customer_key, meter_id)

),

old_routes as (

    select * from applied.int_billing_routes
    semi join differing_pairs using (customer_key, meter_id)

),

bounds as (

    select customer_key, meter_id, route_starts_at as instant from new_routes
    union
    select customer_key, meter_id, route_starts_at as instant from old_routes

),

stretches as (

    select
        *,
        coalesce(lead(instant) over (partition by customer_key, meter_id order by instant), timestamp 'infinity') as ends_at
    from bounds

),

changed_stretches as (

    select
        stretches.customer_key,
        stretches.meter_id,
        stretches.instant as starts_at,
        stretches.ends_at
    from stretches
    asof left join new_routes
        on
            stretches.customer_key = new_routes.customer_key
            and stretches.meter_id = new_routes.meter_id
            and stretches.instant >= new_routes.route_starts_at
    asof left join old_routes
        on
            stretches.customer_key = old_routes.customer_key
            and stretches.meter_id = old_routes.meter_id
            and stretches.instant >= old_routes.route_starts_at
    where
        new_routes.customer_key is null
        or old_routes.customer_key is null
        {%- for column in answer %}
        or new_routes.{{ column }} is distinct from old_routes.{{ column }}
        {%- endfor %}

),

rerouted_events as (

    select metered_events.load_id, metered_events.file_number, metered_events.record_number
    from {{ ref('int_metered_events') }} as metered_events
    inner join changed_stretches
        on
            metered_events.customer_key = changed_stretches.customer_key
            and metered_events.meter_id = changed_stretches.meter_id
            and metered_events.received_at >= changed_stretches.starts_at
            and metered_events.received_at < changed_stretches.ends_at

),

places as (

    select {{ place | join(', ') }} from {{ ref('int_metering_touched') }}
    union
    select {{ place | join(', ') }} from rerouted_events

),

old_events as (

    select * from {{ stored('intermediate', 'int_metered_events_routed') }}
    semi join places using ({{ place | join(', ') }})

)

select distinct
    places.load_id,
    places.file_number,
    places.record_number,
    old_events.billing_period_key as old_billing_period_key,
    old_events.subscription_key as old_subscription_key,
    old_events.customer_key as old_customer_key,
    old_events.meter_id as old_meter_id,
    old_events.received_at as old_received_at,
    old_events.occurred_at as old_occurred_at
from places
left join old_events
    on
        places.load_id = old_events.load_id
        and places.file_number = old_events.file_number
        and places.record_number = old_events.record_number

{% endif %}
