{#
    One row per price: from products, from subscriptions that carry it, else from the price book. A price is valid from
    its creation; to the time it was archived, or the first later version of its product that no longer lists it.
#}

with

listed_prices as (

    select * from {{ ref('stg_polar__prices') }}

),

price_book as (

    select * from {{ ref('price_book') }}

),

landed_products as (

    select distinct
        organization_id,
        product_id
    from listed_prices

),

product_versions as (

    select distinct
        organization_id,
        product_id,
        listed_at
    from listed_prices
    where listed_by = 'product' and listed_at is not null

),

latest_listings as (

    select * from listed_prices
    qualify row_number() over (
        partition by organization_id, price_id
        order by
            listed_at desc nulls last,
            modified_at desc nulls last,
            (case when listed_at is null then load_id end) desc nulls last,
            listed_by,
            content_hash
    ) = 1

),

last_listed as (

    select
        organization_id,
        product_id,
        price_id,
        max(listed_at) as listed_at
    from listed_prices
    where listed_by = 'product'
    group by organization_id, product_id, price_id

),

delistings as (

    select
        last_listed.organization_id,
        last_listed.price_id,
        min(product_versions.listed_at) as delisted_at
    from last_listed
    inner join product_versions
        on
            last_listed.organization_id = product_versions.organization_id
            and last_listed.product_id = product_versions.product_id
            {# A version that says no time of change is the product as it was made. #}
            and coalesce(last_listed.listed_at, timestamp '-infinity') < product_versions.listed_at
    group by last_listed.organization_id, last_listed.price_id

),

landed_prices as (

    select
        latest_listings.organization_id,
        latest_listings.product_id,
        latest_listings.price_id,
        latest_listings.amount_type,
        case latest_listings.amount_type
            when 'metered_unit' then 'unit'
            when 'metered_tiers' then json_extract_string(latest_listings.tiers, '$.type')
        end as price_type,
        latest_listings.meter_id,
        latest_listings.currency,
        case latest_listings.amount_type
            when 'fixed' then latest_listings.static_amount
            when 'free' then 0
        end as static_amount,
        latest_listings.unit_amount,
        latest_listings.tiers,
        latest_listings.cap_amount,
        latest_listings.created_at as valid_from,
        case
            when latest_listings.is_archived then latest_listings.modified_at
            else delistings.delisted_at
        end as valid_to,
        'landed' as defined_by
    from latest_listings
    left join delistings
        on
            latest_listings.organization_id = delistings.organization_id
            and latest_listings.price_id = delistings.price_id

),

seeded_prices as (

    select
        price_book.organization_id,
        {{ polar_id('price_book.product_id') }} as product_id,
        {{ polar_id('price_book.price_id') }} as price_id,
        case price_book.price_type when 'static' then 'fixed' when 'unit' then 'metered_unit' else 'metered_tiers' end as amount_type,
        nullif(price_book.price_type, 'static') as price_type,
        {{ polar_id('price_book.meter_id') }} as meter_id,
        lower(price_book.currency) as currency,
        price_book.static_amount,
        price_book.unit_amount,
        price_book.tiers,
        price_book.cap_amount,
        price_book.valid_from,
        price_book.valid_to,
        'price_book' as defined_by
    from price_book
    anti join landed_products
        on
            price_book.organization_id = landed_products.organization_id
            and {{ polar_id('price_book.product_id') }} = landed_products.product_id

),

prices as (

    select * from landed_prices
    union all
    select * from seeded_prices

)

select
    {{ surrogate_key(["'price'", 'organization_id', 'price_id']) }} as price_key,
    *
from prices
