{{ config(enabled=var('published_customer_fields') | length > 0) }}

{# What customers are called, in the version that was changed last. Personal: only for the var `published_customer_fields`. #}
{% set customer = '{"id": "VARCHAR", "name": "VARCHAR", "email": "VARCHAR", "modified_at": "VARCHAR"}' %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

sightings as (

    select
        organization_id,
        from_json(payload, '{{ customer }}') as customer,
        load_id,
        record_number
    from resources
    where kind = 'customers' or (kind = 'webhooks' and webhook_type like 'customer.%')
    union all
    select
        organization_id,
        from_json(payload, '{"customer": {{ customer }}}').customer as customer,
        load_id,
        record_number
    from resources
    where kind in ('orders', 'subscriptions')

)

select
    organization_id,
    {{ polar_id('customer.id') }} as customer_id,
    customer.name as name,
    customer.email as email
from sightings
where customer.id is not null
qualify row_number() over (
    partition by organization_id, {{ polar_id('customer.id') }}
    order by {{ utc('customer.modified_at') }} desc nulls last, load_id desc, record_number desc
) = 1
