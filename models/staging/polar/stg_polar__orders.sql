{{ config(materialized='table') }}

{% set order -%}
{
    "id": "VARCHAR", "created_at": "VARCHAR", "modified_at": "VARCHAR", "status": "VARCHAR", "paid": "BOOLEAN",
    "subtotal_amount": "BIGINT", "discount_amount": "BIGINT", "net_amount": "BIGINT", "tax_amount": "BIGINT",
    "total_amount": "BIGINT", "applied_balance_amount": "BIGINT", "due_amount": "BIGINT",
    "refunded_amount": "BIGINT", "platform_fee_amount": "BIGINT", "platform_fee_currency": "VARCHAR",
    "currency": "VARCHAR", "billing_reason": "VARCHAR", "customer_id": "VARCHAR", "product_id": "VARCHAR",
    "discount_id": "VARCHAR", "subscription_id": "VARCHAR", "product": {"is_recurring": "BOOLEAN"},
    "items": [{"id": "VARCHAR", "label": "VARCHAR", "amount": "BIGINT", "proration": "BOOLEAN", "product_price_id": "VARCHAR"}]
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
        polar_order.subtotal_amount as subtotal_amount,
        polar_order.discount_amount as discount_amount,
        polar_order.net_amount as net_amount,
        polar_order.tax_amount as tax_amount,
        polar_order.total_amount as total_amount,
        polar_order.applied_balance_amount as applied_balance_amount,
        polar_order.refunded_amount as refunded_amount,
        polar_order.platform_fee_amount as platform_fee_amount,
        lower(polar_order.platform_fee_currency) as platform_fee_currency,
        polar_order.items as items,
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
