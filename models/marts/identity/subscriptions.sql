with

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

static_amounts as (

    select * from {{ ref('int_subscription_static_amounts') }}

),

{# The plan it is on, which a change moves at once and an event of its own tells. #}
latest_plans as (

    select * from {{ ref('int_subscription_plans') }}
    where plan_ends_at = timestamp 'infinity'

),

latest_static_amounts as (

    select
        subscription_key,
        arg_max(static_amount, period_start_at) as static_amount
    from static_amounts
    group by subscription_key

)

select
    subscriptions.subscription_key,
    subscriptions.subscription_id,
    subscriptions.customer_key,
    subscriptions.organization_id,
    coalesce(latest_plans.product_id, subscriptions.product_id) as product_id,
    subscriptions.status,
    subscriptions.started_at,
    subscriptions.trial_ends_at,
    subscriptions.canceled_at,
    subscriptions.ended_at,
    latest_static_amounts.static_amount,
    subscriptions.amount,
    subscriptions.currency,
    subscriptions.recurring_interval,
    subscriptions.recurring_interval_count,
    subscriptions.discount_id
from subscriptions
left join latest_plans on subscriptions.subscription_key = latest_plans.subscription_key
left join latest_static_amounts on subscriptions.subscription_key = latest_static_amounts.subscription_key
