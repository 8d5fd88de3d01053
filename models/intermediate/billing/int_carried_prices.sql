{#
    One row per subscription and metered price and unbroken stretch in which the subscription carries it, whatever the
    plan is called in between.
#}

with

subscription_prices as (

    select * from {{ ref('int_subscription_prices') }}
    where meter_id is not null

),

numbered_stretches as (

    select
        *,
        case
            when lag(plan_ends_at) over (
                partition by subscription_key, price_id order by plan_starts_at
            ) = plan_starts_at then 0
            else 1
        end as is_new_stretch
    from subscription_prices

),

stretches as (

    select
        *,
        sum(is_new_stretch) over (
            partition by subscription_key, price_id order by plan_starts_at
        ) as stretch_number
    from numbered_stretches

)

select
    subscription_key,
    organization_id,
    price_id,
    meter_id,
    any_value(price_type) as price_type,
    any_value(currency) as currency,
    any_value(unit_amount) as unit_amount,
    any_value(tiers) as tiers,
    any_value(cap_amount) as cap_amount,
    min(plan_starts_at) as carried_from_at,
    max(plan_ends_at) as carried_to_at
from stretches
group by subscription_key, organization_id, price_id, meter_id, stretch_number
