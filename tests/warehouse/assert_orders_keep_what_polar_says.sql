{#
    Every order id in staging is one order, and an order of which Polar's API showed only one version has that version's
    amounts and currency. A merge that loses an order or takes another's amount would pass every test on the merged table.
#}

with

versions as (

    select
        organization_id,
        order_id,
        count(distinct content_hash) as version_count,
        any_value(currency) as currency,
        any_value(subtotal_amount) as subtotal_amount,
        any_value(discount_amount) as discount_amount,
        any_value(tax_amount) as tax_amount,
        any_value(total_amount) as total_amount
    from {{ ref('stg_polar__orders') }}
    group by organization_id, order_id

),

order_events as (

    select distinct
        organization_id,
        order_id
    from {{ ref('stg_polar__system_events') }}
    where event_name in ('order.paid', 'order.voided', 'order.unvoided') and order_id is not null

),

order_ids as (

    select organization_id, order_id from versions
    union
    select organization_id, order_id from order_events

),

orders as (

    select * from {{ ref('orders') }}

)

select
    coalesce(order_ids.organization_id, orders.organization_id) as organization_id,
    coalesce(order_ids.order_id, orders.order_id) as order_id,
    orders.currency,
    versions.currency as currency_of_polar,
    orders.subtotal_amount,
    versions.subtotal_amount as subtotal_of_polar,
    orders.total_amount,
    versions.total_amount as total_of_polar
from order_ids
full outer join orders
    on
        order_ids.organization_id = orders.organization_id
        and order_ids.order_id = orders.order_id
left join versions
    on
        order_ids.organization_id = versions.organization_id
        and order_ids.order_id = versions.order_id
        and versions.version_count = 1
where
    order_ids.order_id is null
    or orders.order_id is null
    or versions.currency != orders.currency
    or versions.subtotal_amount != orders.subtotal_amount
    or versions.discount_amount != orders.discount_amount
    or versions.tax_amount != orders.tax_amount
    or versions.total_amount != orders.total_amount
