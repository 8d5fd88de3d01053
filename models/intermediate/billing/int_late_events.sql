{{ config(
    materialized='incremental', touched_by='int_routing_touched'
) }}

{# The metered events that are billed in a later period than the one they occurred in: few, however many the events. #}

with

routed_events as (

    select * from {{ ref('int_metered_events_routed') }}{{ touched_only('int_routing_touched') }}
    {# The second condition follows from what is looked for, and spares most events the join. #}
    where is_charged and occurred_at < received_at

),

periods as (

    select * from {{ ref('int_metering_periods') }}

)

select routed_events.*
from routed_events
inner join periods on routed_events.billing_period_key = periods.billing_period_key
where routed_events.occurred_at < periods.period_start_at
