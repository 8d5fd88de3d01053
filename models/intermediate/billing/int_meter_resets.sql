{# One row per customer, meter and instant of a meter.reset: where a window of the customer's meter ends and one begins. #}

with

resets as (

    select * from {{ ref('stg_polar__system_events') }}
    where event_name = 'meter.reset'

),

customers as (

    select * from {{ ref('int_customers_merged') }}

)

select distinct
    resets.organization_id,
    customers.customer_key,
    resets.meter_id,
    resets.occurred_at as reset_at
from resets
inner join customers
    on
        resets.organization_id = customers.organization_id
        and resets.customer_id = customers.customer_id
where resets.meter_id is not null
