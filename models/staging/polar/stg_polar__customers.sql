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

seen_customers as (

    select * from landed_customers
    union all
    select * from customers_of_resources
    union all
    select * from customer_ids_of_resources

),

customers as (

    select
        organization_id,
        {{ polar_id('customer.id') }} as customer_id,
        customer.external_id as external_customer_id,
        customer.type as customer_type,
        {{ utc('customer.created_at') }} as created_at,
        {{ utc('customer.modified_at') }} as modified_at,
        {{ utc('customer.deleted_at') }} as deleted_at
    from seen_customers
    where customer.id is not null
    union all
    select * exclude (load_id) from {{ ref('stg_polar__customers_of_events') }}

)

select distinct * from customers
