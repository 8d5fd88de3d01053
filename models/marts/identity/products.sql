with

landed_products as (

    select * from {{ ref('stg_polar__products') }}

),

price_book as (

    select * from {{ ref('price_book') }}

),

{# Products that only the price book knows have no name. #}
products as (

    select
        organization_id,
        product_id,
        product_name,
        recurring_interval,
        is_archived
    from landed_products
    union all
    select distinct
        price_book.organization_id,
        {{ polar_id('price_book.product_id') }} as product_id,
        cast(null as varchar) as product_name,
        cast(null as varchar) as recurring_interval,
        false as is_archived
    from price_book
    anti join landed_products
        on
            price_book.organization_id = landed_products.organization_id
            and {{ polar_id('price_book.product_id') }} = landed_products.product_id

)

select
    {{ surrogate_key(["'product'", 'organization_id', 'product_id']) }} as product_key,
    product_id,
    organization_id,
    product_name,
    recurring_interval,
    is_archived
from products
