{#
    One row per subscription period: the list price of what is charged in advance when the period starts. Without a
    discount the amount that Polar wrote into subscription.created or cycled at that boundary wins; with one that amount
    is net of it, so the list price is the sum of the static prices the plan carries.
#}

with

periods as (

    select * from {{ ref('int_subscription_periods') }}
    where period_type = 'subscription'

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

subscription_prices as (

    select * from {{ ref('int_subscription_prices') }}

),

orders as (

    select * from {{ ref('int_orders_merged') }}

),

discounted_subscriptions as (

    select subscription_key from subscriptions
    where discount_id is not null
    union
    select subscription_key from orders
    where subscription_key is not null and (discount_id is not null or discount_amount != 0)

),

written_amounts as (

    select
        subscriptions.subscription_key,
        system_events.amount,
        case
            when system_events.event_name = 'subscription.created' then subscriptions.started_at
            else system_events.occurred_at
        end as written_at
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    anti join discounted_subscriptions on subscriptions.subscription_key = discounted_subscriptions.subscription_key
    where
        system_events.event_name in ('subscription.created', 'subscription.cycled', 'subscription.resumed')
        and system_events.amount is not null

),

amounts_at_boundaries as (

    select
        periods.billing_period_key,
        arg_min(written_amounts.amount, (written_amounts.written_at, written_amounts.amount)) as amount
    from periods
    inner join written_amounts
        on
            periods.subscription_key = written_amounts.subscription_key
            and periods.period_start_at <= written_amounts.written_at
            and written_amounts.written_at < least(periods.period_end_at, periods.period_start_at + interval '1 day')
    group by periods.billing_period_key

),

list_amounts as (

    select
        periods.billing_period_key,
        {# One price of unknown amount makes the sum unknown: null, not too little. #}
        case
            when count(*) filter (where subscription_prices.meter_id is null and subscription_prices.static_amount is null) = 0
                then cast(coalesce(sum(subscription_prices.static_amount), 0) as bigint)
        end as amount
    from periods
    inner join subscription_prices
        on
            periods.subscription_key = subscription_prices.subscription_key
            and subscription_prices.plan_starts_at <= periods.period_start_at
            and periods.period_start_at < subscription_prices.plan_ends_at
    group by periods.billing_period_key

),

custom_prices as (

    select distinct subscription_key from subscription_prices
    where amount_type = 'custom'

)

select
    periods.billing_period_key,
    periods.subscription_key,
    periods.period_start_at,
    coalesce(
        amounts_at_boundaries.amount,
        list_amounts.amount,
        {# Pay what you want: the amount chosen is the subscription's own, if no discount hides it. #}
        case
            when custom_prices.subscription_key is not null and discounted_subscriptions.subscription_key is null
                then subscriptions.amount
        end
    ) as static_amount,
    list_amounts.billing_period_key is not null as has_known_prices
from periods
inner join subscriptions on periods.subscription_key = subscriptions.subscription_key
left join amounts_at_boundaries on periods.billing_period_key = amounts_at_boundaries.billing_period_key
left join list_amounts on periods.billing_period_key = list_amounts.billing_period_key
left join custom_prices on periods.subscription_key = custom_prices.subscription_key
left join discounted_subscriptions on periods.subscription_key = discounted_subscriptions.subscription_key
