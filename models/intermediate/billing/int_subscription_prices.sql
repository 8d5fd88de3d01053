{#
    One row per subscription plan and price it carries. The subscription's own copy wins; else the product's prices in
    the subscription's currency that were valid when the plan began. A newer product price does not touch it.
#}

with

plans as (

    select * from {{ ref('int_subscription_plans') }}

),

listed_prices as (

    select * from {{ ref('stg_polar__prices') }}
    where listed_by = 'subscription'

),

prices as (

    select * from {{ ref('int_prices_known') }}

),

latest_lists as (

    select * from listed_prices
    qualify rank() over (
        partition by organization_id, subscription_id, product_id
        order by
            listed_at desc nulls last,
            webhook_at desc nulls last,
            (case when listed_at is null then load_id end) desc nulls last,
            (case when listed_at is null then record_number end) desc nulls last,
            content_hash
    ) = 1

),

own_prices as (

    select distinct
        plans.subscription_plan_key,
        latest_lists.price_id
    from plans
    inner join latest_lists
        on
            plans.organization_id = latest_lists.organization_id
            and plans.subscription_id = latest_lists.subscription_id
            and plans.product_id = latest_lists.product_id

),

product_prices as (

    select
        plans.subscription_plan_key,
        prices.price_id
    from plans
    inner join prices
        on
            plans.organization_id = prices.organization_id
            and plans.product_id = prices.product_id
            and coalesce(plans.currency, prices.currency) = prices.currency
            and coalesce(prices.valid_from, timestamp '-infinity') <= plans.plan_starts_at
            and plans.plan_starts_at < coalesce(prices.valid_to, timestamp 'infinity')
    anti join own_prices on plans.subscription_plan_key = own_prices.subscription_plan_key

),

carried_prices as (

    select * from own_prices
    union all
    select * from product_prices

)

select
    carried_prices.subscription_plan_key,
    plans.subscription_key,
    plans.organization_id,
    plans.plan_starts_at,
    plans.plan_ends_at,
    prices.price_id,
    prices.amount_type,
    prices.price_type,
    prices.meter_id,
    prices.currency,
    prices.static_amount,
    prices.unit_amount,
    prices.tiers,
    prices.cap_amount
from carried_prices
inner join plans on carried_prices.subscription_plan_key = plans.subscription_plan_key
inner join prices
    on
        plans.organization_id = prices.organization_id
        and carried_prices.price_id = prices.price_id
