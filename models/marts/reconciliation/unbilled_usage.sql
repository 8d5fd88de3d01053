{{ config(
    materialized='incremental',
    touched_by='int_routing_touched', touched_on=['load_id']
) }}

{#
    One row per load, customer, meter, month of receipt and outcome that loses money: usage that no order will ever bill
    though a meter was there for it. Read instead of the events.
#}

with

{# None of these depends on whether a period is closed: no need to ask the outcomes, which look it up for each event. #}
routed_events as (

    select * from {{ ref('int_metered_events_routed') }}{{ touched_only('int_routing_touched', ['load_id']) }}
    where reason in ('unknown_customer', 'no_subscription', 'no_price', 'stranded')

)

select
    load_id,
    organization_id,
    customer_key,
    meter_id,
    reason as outcome,
    currency,
    cast(date_trunc('month', received_at) as date) as usage_month,
    count(*) as event_count,
    cast(sum({{ amount_of_units('routed_events', 'coalesce(list_unit_amount, reference_unit_amount)') }}) as decimal(38, 12)) as amount
from routed_events
group by load_id, organization_id, customer_key, meter_id, reason, currency, usage_month
