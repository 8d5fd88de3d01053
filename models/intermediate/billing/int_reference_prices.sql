{# What usage without a price is valued at: the meter's price in the organization's most used product. #}

with

prices as (

    select * from {{ ref('int_prices_known') }}
    where amount_type = 'metered_unit'

),

price_uses as (

    select
        organization_id,
        price_id,
        count(distinct subscription_key) as subscription_count
    from {{ ref('int_carried_prices') }}
    group by organization_id, price_id

)

select
    prices.organization_id,
    prices.meter_id,
    prices.unit_amount,
    prices.currency
from prices
left join price_uses
    on
        prices.organization_id = price_uses.organization_id
        and prices.price_id = price_uses.price_id
qualify row_number() over (
    partition by prices.organization_id, prices.meter_id
    order by coalesce(price_uses.subscription_count, 0) desc, prices.product_id, prices.price_id
) = 1
