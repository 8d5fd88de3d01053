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

{#
    The last list of the product that was seen while the plan ran. Where the product was taken only once, a list from
    another time is of the same plan. A list without a time of change is the subscription as it was made.
#}
numbered_plans as (

    select
        *,
        count(*) over (partition by subscription_key, product_id) as times_taken
    from plans

),

own_lists as (

    select
        plans.subscription_plan_key,
        listed_prices.price_id
    from numbered_plans as plans
    inner join listed_prices
        on
            plans.organization_id = listed_prices.organization_id
            and plans.subscription_id = listed_prices.subscription_id
            and plans.product_id = listed_prices.product_id
    where
        plans.times_taken = 1
        or listed_prices.listed_at is null
        or (plans.plan_starts_at <= listed_prices.listed_at and listed_prices.listed_at < plans.plan_ends_at)
    qualify rank() over (
        partition by plans.subscription_plan_key
        order by
            listed_prices.listed_at desc nulls last,
            listed_prices.webhook_at desc nulls last,
            (case when listed_prices.listed_at is null then listed_prices.load_id end) desc nulls last,
            (case when listed_prices.listed_at is null then listed_prices.record_number end) desc nulls last,
            listed_prices.content_hash
    ) = 1

),

own_prices as (

    select distinct * from own_lists

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
