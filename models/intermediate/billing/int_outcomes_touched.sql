{#
    The events whose billing outcome may be another since the last build: those routed or valued anew, and those of periods
    that closed or were settled. Empty where the build makes everything anew.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}

{% if not works_in_place() %}

select {{ place | join(', ') }} from {{ ref('int_routing_touched') }}
where
    false
    and 1 in (select load_id from {{ ref('int_metered_events_routed') }})
    and 'x' in (select organization_id from {{ ref('int_billing_periods_settled') }})

{% else %}
{% set changed_periods = differing_rows('int_billing_periods_settled', ['billing_period_key', 'order_key', 'is_closed', 'period_start_at', 'period_end_at']) %}

with

changed_periods as (

    {{ changed_periods }}

)

select {{ place | join(', ') }} from {{ ref('int_routing_touched') }}
union
select {{ place | join(', ') }} from {{ ref('int_metered_events_routed') }}
semi join changed_periods using (billing_period_key)
where
    received_at between {{ value_of('select min(period_start_at) from (' ~ changed_periods ~ ')') }}
    and {{ value_of('select max(period_end_at) from (' ~ changed_periods ~ ')') }}

{% endif %}
