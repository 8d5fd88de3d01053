with

quantities as (

    select * from {{ ref('int_metered_quantities') }}

),

periods as (

    select * from {{ ref('billing_periods') }}

)

select
    quantities.meter_usage_key,
    quantities.organization_id,
    quantities.customer_key,
    quantities.subscription_key,
    quantities.meter_id,
    quantities.price_id,
    quantities.billing_period_key,
    periods.order_key,
    quantities.period_start_at,
    quantities.period_end_at,
    quantities.currency,
    quantities.event_count,
    quantities.consumed_units,
    quantities.credited_units,
    quantities.billable_units,
    quantities.expected_amount,
    quantities.is_capped
from quantities
inner join periods on quantities.billing_period_key = periods.billing_period_key
