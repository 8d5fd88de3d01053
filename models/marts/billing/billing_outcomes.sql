{{ config(materialized='incremental_view', touched_by='int_outcomes_touched') }}

{{ changes_come_from('int_outcomes_touched') }}

{#
    Per event only what never changes is stored upstream; whether a period is open, awaits its order or was billed comes
    from the period by join, so that a period that closes makes no event anew.
#}

with

routed_events as (

    select * from {{ ref('int_metered_events_routed').include(database=false) }}

),

periods as (

    select * from {{ ref('billing_periods').include(database=false) }}

)

select
    {{ surrogate_key(["'billing_outcome'", 'routed_events.usage_event_key', 'routed_events.meter_id']) }} as billing_outcome_key,
    routed_events.usage_event_key,
    routed_events.organization_id,
    routed_events.customer_key,
    routed_events.member_key,
    routed_events.meter_id,
    routed_events.price_id,
    routed_events.subscription_key,
    routed_events.billing_period_key,
    periods.order_key,
    coalesce(
        routed_events.reason,
        case
            when periods.order_key is not null then 'billed'
            when periods.is_closed then 'awaiting_order'
            else 'open'
        end
    ) as outcome,
    coalesce(cast(routed_events.units as double), routed_events.units_as_double) as units,
    {{ amount_of_units('routed_events', 'routed_events.list_unit_amount') }} as list_amount,
    {{ amount_of_units('routed_events', 'routed_events.reference_unit_amount') }} as reference_amount,
    routed_events.currency,
    routed_events.load_id,
    routed_events.file_number,
    routed_events.record_number
from routed_events
left join periods on routed_events.billing_period_key = periods.billing_period_key
