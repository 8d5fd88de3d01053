{#
    Each price of the price book says what its type needs, in a currency that exists, for a time that is not empty. A typo
    there would rate usage at nothing or at another price without a word; the row and what is wrong with it are returned.
#}

with

price_book as (

    select * from {{ ref('price_book') }}

),

currencies as (

    select * from {{ ref('currencies') }}

),

checked_prices as (

    select
        price_book.*,
        concat_ws(
            '; ',
            case when price_type = 'static' and static_amount is null then 'static_amount is missing' end,
            case when price_type != 'static' and static_amount is not null then 'static_amount is only for static prices' end,
            case when price_type != 'static' and meter_id is null then 'meter_id is missing' end,
            case when price_type = 'static' and meter_id is not null then 'meter_id is only for metered prices' end,
            case when price_type = 'unit' and unit_amount is null then 'unit_amount is missing' end,
            case when price_type in ('volume', 'graduated') and tiers is null then 'tiers are missing' end,
            case when tiers is not null and not json_valid(tiers) then 'tiers are no JSON' end,
            case when valid_from >= valid_to then 'valid_to is not after valid_from' end,
            case when currencies.currency is null then 'currency is not one of currencies' end
        ) as problem
    from price_book
    left join currencies on lower(price_book.currency) = currencies.currency

)

select
    organization_id,
    product_id,
    price_id,
    price_type,
    problem
from checked_prices
where problem != ''
