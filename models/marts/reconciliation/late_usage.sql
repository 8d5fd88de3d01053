{#
    The events that are billed in a later period than the one they occurred in, with both: what `late_usage` is proven by.
#}

with

late_events as (

    select * from {{ ref('int_late_events') }}

),

periods as (

    select * from {{ ref('int_metering_periods') }}

)

select
    {{ surrogate_key(["'late_usage'", 'late_events.usage_event_key', 'late_events.meter_id']) }} as late_usage_key,
    late_events.usage_event_key,
    late_events.organization_id,
    late_events.customer_key,
    late_events.subscription_key,
    late_events.meter_id,
    late_events.price_id,
    periods.billing_period_key as occurred_billing_period_key,
    late_events.billing_period_key as billed_billing_period_key,
    late_events.occurred_at,
    late_events.received_at,
    coalesce(cast(late_events.units as double), late_events.units_as_double) as units
from late_events
left join periods
    on
        late_events.subscription_key = periods.subscription_key
        and periods.period_start_at <= late_events.occurred_at
        and late_events.occurred_at < periods.period_end_at
