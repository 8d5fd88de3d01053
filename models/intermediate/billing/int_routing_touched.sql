{#
    The metered events that may go elsewhere since the last build, or be worth another amount there: those measured anew,
    those received while their customer's route on the meter is another, and those whose price or reference price is, with
    what they were measured and billed as. Empty where the build makes everything anew.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}
{% set answer = ['subscription_key', 'price_id', 'currency', 'billing_period_key', 'reason'] %}

{% if not works_in_place() %}

select
    {{ place | join(', ') }},
    cast(null as uuid) as old_billing_period_key,
    cast(null as uuid) as old_subscription_key,
    cast(null as uuid) as old_customer_key,
    cast(null as varchar) as old_meter_id,
    cast(null as timestamp) as old_received_at,
    cast(null as timestamp) as old_occurred_at
from {{ ref('int_metering_touched') }}
where false
    and load_id in (select load_id from {{ ref('int_metered_events') }})
    and load_id in (select 1 from {{ ref('int_billing_routes') }})
    and 'x' in (select organization_id from {{ ref('int_prices_known') }})
    and 'x' in (select organization_id from {{ ref('int_reference_prices') }})

{% else %}
{% set routes = ref('int_billing_routes') %}

with

{#
    Only customers and meters with any difference; their stretches are then cut at the bounds of either version. What had
    no route had no usage, and what it has now is measured anew: it need not be looked for among all events.
#}
differing_pairs as (

    select distinct
        customer_key,
        meter_id
    from (
        {{ differing_rows('int_billing_routes', ['customer_key', 'meter_id', 'route_starts_at'] + answer) }}
    )
    semi join applied.int_billing_routes using (customer_key, meter_id)

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

{# Kept whole, a table that is named twice would be read whole; as it stands each reader takes its few rows. #}
routed_events as not materialized (

    select * from {{ stored('intermediate', 'int_metered_events_routed') }}

),

changed_prices as (

    {{ differing_rows('int_prices_known', ['organization_id', 'price_id', 'amount_type', 'unit_amount', 'currency']) }}

),

{# What has a price of its own is worth nothing else. #}
prices as (

    select * from {{ ref('int_prices_known') }}
    where amount_type = 'metered_unit'

),

changed_references as (

    {{ differing_rows('int_reference_prices', ['organization_id', 'meter_id', 'unit_amount', 'currency']) }}

),

places as (

    select {{ place | join(', ') }} from {{ ref('int_metering_touched') }}
    union
    select {{ place | join(', ') }} from rerouted_events
    union
    select {{ place | join(', ') }} from routed_events
    semi join changed_prices using (organization_id, price_id)
    union
    select {{ place | join(', ') }} from routed_events
    semi join changed_references using (organization_id, meter_id)
    anti join prices using (organization_id, price_id)

),

old_events as (

    select * from routed_events
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
