with

sightings as (

    select * from {{ ref('stg_polar__customers') }}

),

customer_events as (

    select * from {{ ref('stg_polar__system_events') }}

),

orders as (

    select * from {{ ref('stg_polar__orders') }}

),

all_sightings as (

    select * from sightings
    union all
    select
        organization_id,
        customer_id,
        customer_external_id as external_customer_id,
        null as customer_type,
        case when event_name = 'customer.created' then occurred_at end as created_at,
        null as modified_at,
        case when event_name = 'customer.deleted' then occurred_at end as deleted_at
    from customer_events
    where customer_id is not null

),

{# An external id never changes once set, a creation never moves and a deletion is final: any sighting will do. #}
customers as (

    select
        organization_id,
        customer_id,
        {{ surrogate_key(["'customer'", 'organization_id', 'customer_id']) }} as customer_key,
        min(external_customer_id) as external_customer_id,
        arg_max(customer_type, (coalesce(modified_at, created_at, timestamp '1970-01-01'), customer_type))
            filter (where customer_type is not null) as customer_type,
        min(created_at) as created_at,
        min(deleted_at) as deleted_at
    from all_sightings
    group by organization_id, customer_id

)

select * from customers
