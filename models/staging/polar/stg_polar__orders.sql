{{ config(materialized='table') }}

{% set amounts = [
    'subtotal_amount', 'discount_amount', 'net_amount', 'tax_amount', 'total_amount', 'applied_balance_amount',
    'refunded_amount', 'platform_fee_amount'
] %}

{% set order -%}
{
    "id": "VARCHAR", "created_at": "VARCHAR", "modified_at": "VARCHAR", "status": "VARCHAR", "paid": "BOOLEAN",
    {%- for name in amounts %}
    "{{ name }}": "DECIMAL(38,12)",
    {%- endfor %}
    "platform_fee_currency": "VARCHAR",
    "currency": "VARCHAR", "billing_reason": "VARCHAR", "customer_id": "VARCHAR", "product_id": "VARCHAR",
    "discount_id": "VARCHAR", "subscription_id": "VARCHAR", "product": {"is_recurring": "BOOLEAN"},
    "items": [{"id": "VARCHAR", "label": "VARCHAR", "amount": "DECIMAL(38,12)", "proration": "BOOLEAN", "product_price_id": "VARCHAR"}]
}
{%- endset %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

parsed_orders as (

    select
        resources.* exclude (payload, modified_at),
        from_json(payload, '{{ order | replace("\n", " ") }}') as polar_order
    from resources
    where kind = 'orders'

),

typed_orders as (

    select
        organization_id,
        {{ polar_id('polar_order.id') }} as order_id,
        {{ polar_id('polar_order.customer_id') }} as customer_id,
        {{ polar_id('polar_order.product_id') }} as product_id,
        {{ polar_id('polar_order.subscription_id') }} as subscription_id,
        {{ polar_id('polar_order.discount_id') }} as discount_id,
        polar_order.status as status,
        polar_order.billing_reason as billing_reason,
        lower(polar_order.currency) as currency,
        {%- for name in amounts %}
        {{ whole_number('polar_order.' ~ name, least=0 if name in ('discount_amount', 'refunded_amount') else none) }} as {{ name }},
        {%- endfor %}
        lower(polar_order.platform_fee_currency) as platform_fee_currency,
        list_transform(
            polar_order.items,
            lambda item: struct_update(item, amount := {{ whole_number('item.amount') }})
        ) as items,
        polar_order.product.is_recurring as is_recurring,
        coalesce(polar_order.paid, polar_order.status in ('paid', 'refunded', 'partially_refunded')) as is_paid,
        webhook_type,
        {{ utc('polar_order.created_at') }} as created_at,
        {{ utc('polar_order.modified_at') }} as modified_at,
        content_hash,
        webhook_at,
        load_id,
        file_number,
        record_number
    from parsed_orders
    where polar_order.id is not null

)

select * from typed_orders
