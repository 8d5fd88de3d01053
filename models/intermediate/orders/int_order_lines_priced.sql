{#
    One row per item of an order object, with the price it bills: the one it names, else, where that is none or not known
    and the label names a meter of the organization, the price on it that the subscription carried when the order was made.
#}

with

orders as (

    select * from {{ ref('int_orders_merged') }}
    where has_object

),

prices as (

    select * from {{ ref('int_prices_known') }}

),

carried_prices as (

    select * from {{ ref('int_carried_prices') }}

),

meters as (

    select * from {{ ref('int_meters_known') }}

),

numbered_items as (

    select
        order_key,
        order_id,
        organization_id,
        subscription_key,
        currency,
        created_at,
        unnest(items) as item,
        generate_subscripts(items, 1) as item_number
    from orders

),

items as (

    select
        * exclude (item),
        item.id as item_id,
        item.label as label,
        item.amount as amount,
        coalesce(item.proration, false) as is_proration,
        {{ polar_id('item.product_price_id') }} as named_price_id,
        {{ units_of_label('item.label') }} as units,
        {{ meter_name_of_label('item.label') }} as meter_name,
        row_number() over (partition by order_key, item.id order by item_number) as item_repetition
    from numbered_items

),

{# Of two meters with one name the one that is carried is meant. #}
labelled_prices as (

    select
        items.order_key,
        items.item_number,
        meters.meter_id,
        carried_prices.price_id
    from items
    inner join meters
        on
            items.organization_id = meters.organization_id
            and items.meter_name = meters.meter_name
    left join carried_prices
        on
            items.subscription_key = carried_prices.subscription_key
            and meters.meter_id = carried_prices.meter_id
            and carried_prices.carried_from_at <= items.created_at
    qualify row_number() over (
        partition by items.order_key, items.item_number
        order by
            carried_prices.price_id is null,
            carried_prices.carried_to_at desc,
            carried_prices.carried_from_at desc,
            meters.meter_id,
            carried_prices.price_id
    ) = 1

)

select
    {{ surrogate_key(["'order_line'", 'items.order_key', 'items.item_id', 'items.item_repetition']) }} as order_line_key,
    items.order_key,
    items.order_id,
    items.organization_id,
    items.label,
    case
        when items.is_proration then 'proration'
        when prices.meter_id is not null then 'metered'
        when prices.price_id is null and (labelled_prices.meter_id is not null or items.units is not null) then 'metered'
        else 'static'
    end as line_type,
    {# The label is only asked where the price that is named is not known. #}
    case when prices.price_id is null then labelled_prices.meter_id else prices.meter_id end as meter_id,
    coalesce(prices.price_id, labelled_prices.price_id, items.named_price_id) as price_id,
    items.amount,
    items.currency,
    items.units
from items
left join prices
    on
        items.organization_id = prices.organization_id
        and items.named_price_id = prices.price_id
left join labelled_prices
    on
        items.order_key = labelled_prices.order_key
        and items.item_number = labelled_prices.item_number
