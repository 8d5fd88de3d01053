{#
    The events whose billing outcome may be another since the last build: those routed anew, those of periods that closed
    or were settled, and those whose price or reference price changed. Empty where the build makes everything anew.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}

{% if not works_in_place() %}

select {{ place | join(', ') }} from {{ ref('int_routing_touched') }}
where
    false
    and 1 in (select load_id from {{ ref('int_metered_events_routed') }})
    and 'x' in (select organization_id from {{ ref('int_billing_periods_settled') }})
    and 'x' in (select organization_id from {{ ref('int_prices_known') }})
    and 'x' in (select organization_id from {{ ref('int_reference_prices') }})

{% else %}
{% set changed_periods = differing_rows('int_billing_periods_settled', ['billing_period_key', 'order_key', 'is_closed', 'period_start_at', 'period_end_at']) %}

with

{# Kept whole, a table that is named twice would be read whole; as it stands each reader takes its few rows. #}
routed_events as not materialized (

    select * from {{ ref('int_metered_events_routed') }}

),

changed_periods as (

    {{ changed_periods }}

),

prices as (

    select * from {{ ref('int_prices_known') }}
    where amount_type = 'metered_unit'

),

changed_prices as (

    {{ differing_rows('int_prices_known', ['organization_id', 'price_id', 'amount_type', 'unit_amount', 'currency']) }}

),

changed_references as (

    {{ differing_rows('int_reference_prices', ['organization_id', 'meter_id', 'unit_amount', 'currency']) }}

)

select {{ place | join(', ') }} from {{ ref('int_routing_touched') }}
union
select {{ place | join(', ') }} from routed_events
semi join changed_periods using (billing_period_key)
where
    received_at between {{ value_of('select min(period_start_at) from (' ~ changed_periods ~ ')') }}
    and {{ value_of('select max(period_end_at) from (' ~ changed_periods ~ ')') }}
union
select {{ place | join(', ') }} from routed_events
semi join changed_prices using (organization_id, price_id)
union
select {{ place | join(', ') }} from routed_events
semi join changed_references using (organization_id, meter_id)
anti join prices using (organization_id, price_id)

{% endif %}
