{% set rows_read = "shape = 'recorded'" %}
{{ config(materialized='incremental', meta={'rows_read': {'events': rows_read, 'event_rereads': rows_read}}) }}

{# What recorded events tell of customers. They repeat it many times: only what differs within a load is kept. #}
{% set structure -%}
{
    "customer_id": "VARCHAR", "external_customer_id": "VARCHAR",
    "customer": {
        "id": "VARCHAR", "external_id": "VARCHAR", "type": "VARCHAR", "created_at": "VARCHAR", "modified_at": "VARCHAR",
        "deleted_at": "VARCHAR"
    }
}
{%- endset %}

with

raw_events as (

    select load_id, organization_id, payload from {{ source('raw', 'events') }}
    where {{ rows_read }} {{ only_new_loads() }}
    union all
    select load_id, organization_id, payload from {{ source('raw', 'event_rereads') }}
    where {{ rows_read }} {{ only_new_loads() }}

),

sightings as (

    select distinct
        load_id,
        organization_id,
        from_json(payload, '{{ structure | replace("\n", " ") }}') as event
    from raw_events

),

{# An event that carries both ids teaches which belong together. #}
customers as (

    select
        load_id,
        organization_id,
        event.customer as customer
    from sightings
    union all
    select
        load_id,
        organization_id,
        {
            'id': event.customer_id, 'external_id': event.external_customer_id, 'type': null, 'created_at': null,
            'modified_at': null, 'deleted_at': null
        } as customer
    from sightings

)

select distinct
    organization_id,
    {{ polar_id('customer.id') }} as customer_id,
    customer.external_id as external_customer_id,
    customer.type as customer_type,
    {{ utc('customer.created_at') }} as created_at,
    {{ utc('customer.modified_at') }} as modified_at,
    {{ utc('customer.deleted_at') }} as deleted_at,
    load_id
from customers
where customer.id is not null
