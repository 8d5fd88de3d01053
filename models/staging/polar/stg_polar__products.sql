{{ config(materialized='table') }}

{% set product -%}
{
    "id": "VARCHAR", "name": "VARCHAR", "created_at": "VARCHAR", "modified_at": "VARCHAR",
    "recurring_interval": "VARCHAR", "recurring_interval_count": "DECIMAL(38,12)",
    "meter_interval": "VARCHAR", "meter_interval_count": "DECIMAL(38,12)", "is_archived": "BOOLEAN"
}
{%- endset %}
{% set product = product | replace("\n", " ") %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

seen_products as (

    select
        resources.* exclude (payload, modified_at),
        from_json(payload, '{{ product }}') as product
    from resources
    where kind = 'products'
    union all
    select
        resources.* exclude (payload, modified_at),
        from_json(payload, '{"product": {{ product }}}').product as product
    from resources
    where kind in ('orders', 'subscriptions')

),

typed_products as (

    select
        organization_id,
        {{ polar_id('product.id') }} as product_id,
        product.name as product_name,
        product.recurring_interval as recurring_interval,
        coalesce({{ interval_count('product.recurring_interval_count') }}, 1) as recurring_interval_count,
        product.meter_interval as meter_interval,
        coalesce({{ interval_count('product.meter_interval_count') }}, 1) as meter_interval_count,
        coalesce(product.is_archived, false) as is_archived,
        {{ utc('product.created_at') }} as created_at,
        {{ utc('product.modified_at') }} as modified_at,
        md5(cast(product as varchar)) as content_hash,
        webhook_at,
        load_id,
        file_number,
        record_number
    from seen_products
    where product.id is not null

)

select * from typed_products
{{ latest_version('organization_id, product_id') }}
