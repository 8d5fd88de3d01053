{{ config(
    materialized='incremental',
    touched_by='int_outcomes_touched', touched_on=['load_id']
) }}

{#
    One row per load, customer, meter, month of receipt and outcome that loses money: usage that no order will ever bill
    though a meter was there for it. Read instead of the outcomes.
#}

with

outcomes as (

    select * from {{ ref('billing_outcomes') }}{{ touched_only('int_outcomes_touched', ['load_id']) }}
    where outcome in ('unknown_customer', 'no_subscription', 'no_price', 'stranded')

),

usage_events as (

    select * from {{ ref('int_usage_events_attributed') }}
    {{ touched_only('int_outcomes_touched', ['load_id']) }}

)

select
    outcomes.load_id,
    outcomes.organization_id,
    outcomes.customer_key,
    outcomes.meter_id,
    outcomes.outcome,
    outcomes.currency,
    cast(date_trunc('month', usage_events.received_at) as date) as usage_month,
    count(*) as event_count,
    cast(sum(coalesce(outcomes.list_amount, outcomes.reference_amount)) as decimal(38, 12)) as amount
from outcomes
inner join usage_events
    on
        outcomes.load_id = usage_events.load_id
        and outcomes.file_number = usage_events.file_number
        and outcomes.record_number = usage_events.record_number
group by outcomes.load_id, outcomes.organization_id, outcomes.customer_key, outcomes.meter_id, outcomes.outcome, outcomes.currency, usage_month
