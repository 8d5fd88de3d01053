{{ config(materialized='table') }}

{#
    One row per price and place that lists it: a version of a product, or a version of a subscription (which keeps its
    own copy). unit_amount comes as text or number and is exact either way.
#}
{% set price -%}
{
    "id": "VARCHAR", "amount_type": "VARCHAR", "price_currency": "VARCHAR", "product_id": "VARCHAR",
    "meter_id": "VARCHAR", "unit_amount": "DECIMAL(38,12)", "cap_amount": "DECIMAL(38,12)",
    "price_amount": "DECIMAL(38,12)", "tiers": "JSON", "seat_tiers": "JSON",
    "is_archived": "BOOLEAN", "created_at": "VARCHAR", "modified_at": "VARCHAR"
}
{%- endset %}
{% set price = price | replace("\n", " ") %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

price_lists as (

    select
        resources.* exclude (payload),
        'product' as listed_by,
        {{ polar_id('resource_id') }} as product_id,
        cast(null as varchar) as subscription_id,
        modified_at as listed_at,
        from_json(payload, '{"prices": [{{ price }}]}').prices as prices
    from resources
    where kind = 'products'
    union all
    select
        resources.* exclude (payload),
        'product' as listed_by,
        {{ polar_id("from_json(payload, '{\"product\": {\"id\": \"VARCHAR\"}}').product.id") }} as product_id,
        cast(null as varchar) as subscription_id,
        {{ utc("from_json(payload, '{\"product\": {\"modified_at\": \"VARCHAR\"}}').product.modified_at") }} as listed_at,
        from_json(payload, '{"product": {"prices": [{{ price }}]}}').product.prices as prices
    from resources
    where kind = 'subscriptions'
    union all
    select
        resources.* exclude (payload),
        'subscription' as listed_by,
        {{ polar_id("from_json(payload, '{\"product_id\": \"VARCHAR\"}').product_id") }} as product_id,
        {{ polar_id('resource_id') }} as subscription_id,
        modified_at as listed_at,
        from_json(payload, '{"prices": [{{ price }}]}').prices as prices
    from resources
    where kind = 'subscriptions'

),

listed_prices as (

    select
        price_lists.* exclude (prices),
        unnest(prices) as price
    from price_lists
    where len(prices) > 0

),

typed_prices as (

    select
        organization_id,
        {{ polar_id('price.id') }} as price_id,
        listed_by,
        product_id,
        subscription_id,
        price.amount_type as amount_type,
        lower(price.price_currency) as currency,
        {{ polar_id('price.meter_id') }} as meter_id,
        case when price.unit_amount >= 0 then price.unit_amount end as unit_amount,
        cast(coalesce(price.tiers, price.seat_tiers) as varchar) as tiers,
        {{ whole_number('price.cap_amount', least=0) }} as cap_amount,
        {{ whole_number('price.price_amount', least=0) }} as static_amount,
        coalesce(price.is_archived, false) as is_archived,
        {{ utc('price.created_at') }} as created_at,
        {{ utc('price.modified_at') }} as modified_at,
        listed_at,
        content_hash,
        webhook_at,
        load_id,
        file_number,
        record_number
    from listed_prices
    where price.id is not null

)

select * from typed_prices
