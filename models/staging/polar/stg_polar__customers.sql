{{ config(materialized='table') }}

{# Customers are seen in many places; every sighting is a row here, and int_customers_merged makes one of them. #}
{% set customer -%}
{
    "id": "VARCHAR", "external_id": "VARCHAR", "type": "VARCHAR", "created_at": "VARCHAR", "modified_at": "VARCHAR",
    "deleted_at": "VARCHAR"
}
{%- endset %}
{% set customer = customer | replace("\n", " ") %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

raw_events as (

    select organization_id, payload from {{ source('raw', 'events') }}
    where shape = 'recorded'
    union all
    select organization_id, payload from {{ source('raw', 'event_rereads') }}
    where shape = 'recorded'

),

landed_customers as (

    select
        organization_id,
        from_json(payload, '{{ customer }}') as customer
    from resources
    where kind = 'customers' or (kind = 'webhooks' and webhook_type like 'customer.%')

),

customers_of_resources as (

    select
        organization_id,
        from_json(payload, '{"customer": {{ customer }}}').customer as customer
    from resources
    where kind in ('orders', 'subscriptions')

),

customer_ids_of_resources as (

    select
        organization_id,
        {
            'id': from_json(payload, '{"customer_id": "VARCHAR"}').customer_id,
            'external_id': cast(null as varchar), 'type': cast(null as varchar), 'created_at': cast(null as varchar),
            'modified_at': cast(null as varchar), 'deleted_at': cast(null as varchar)
        } as customer
    from resources
    where kind in ('orders', 'subscriptions', 'refunds')

),

{# Events repeat the same customer object many times: only the distinct ones go on. #}
customers_of_events as (

    select distinct
        organization_id,
        from_json(payload, '{"customer": {{ customer }}}').customer as customer
    from raw_events

),

{# A recorded event that carries both ids teaches which belong together. #}
customer_ids_of_events as (

    select distinct
        organization_id,
        from_json(payload, '{"customer_id": "VARCHAR", "external_customer_id": "VARCHAR"}') as ids
    from raw_events

),

seen_customers as (

    select * from landed_customers
    union all
    select * from customers_of_resources
    union all
    select * from customer_ids_of_resources
    union all
    select * from customers_of_events
    union all
    select
        organization_id,
        {
            'id': ids.customer_id, 'external_id': ids.external_customer_id, 'type': cast(null as varchar),
            'created_at': cast(null as varchar), 'modified_at': cast(null as varchar), 'deleted_at': cast(null as varchar)
        } as customer
    from customer_ids_of_events

),

customers as (

    select distinct
        organization_id,
        {{ polar_id('customer.id') }} as customer_id,
        customer.external_id as external_customer_id,
        customer.type as customer_type,
        {{ utc('customer.created_at') }} as created_at,
        {{ utc('customer.modified_at') }} as modified_at,
        {{ utc('customer.deleted_at') }} as deleted_at
    from seen_customers
    where customer.id is not null

)

select * from customers
