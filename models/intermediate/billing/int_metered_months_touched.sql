{#
    The months of customers' meters whose usage may add up otherwise since the last build: those with touched events, as
    they were and as they are, and those with a reset that was not known or is gone. Empty where the build makes
    everything anew.
#}
{% if not works_in_place() %}

select
    customer_key,
    meter_id,
    cast(reset_at as date) as usage_month,
    reset_at as received_from_at,
    reset_at as received_to_at
from {{ ref('int_meter_resets') }}
where
    false
    and 1 in (select load_id from {{ ref('int_routing_touched') }})
    and 1 in (select load_id from {{ ref('int_metering_touched') }})
    and customer_key in (select customer_key from {{ ref('int_metered_events') }})

{% else %}

with

changed_resets as (

    {{ differing_rows('int_meter_resets', ['customer_key', 'meter_id', 'reset_at']) }}

),

touched_instants as (

    select old_customer_key as customer_key, old_meter_id as meter_id, old_received_at as received_at
    from {{ ref('int_routing_touched') }}
    where old_meter_id is not null
    union all
    select customer_key, meter_id, received_at from {{ ref('int_metered_events') }}
    {{ touched_only('int_metering_touched') }}
    where meter_id is not null
    union all
    select customer_key, meter_id, reset_at as received_at from changed_resets

)

select distinct
    customer_key,
    meter_id,
    cast(date_trunc('month', received_at) as date) as usage_month,
    date_trunc('month', received_at) as received_from_at,
    date_trunc('month', received_at) + interval '1 month' as received_to_at
from touched_instants

{% endif %}
