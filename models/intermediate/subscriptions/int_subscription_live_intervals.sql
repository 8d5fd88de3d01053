{# One row per stretch in which a subscription is billable: trialing, active or past due. #}

with

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

pauses as (

    select * from {{ ref('int_subscription_pauses') }}

),

scheduled_ends as (

    select distinct
        subscription_key,
        ended_at
    from {{ ref('int_subscription_segments') }}

),

starts as (

    select
        subscription_key,
        started_at as live_from_at
    from subscriptions
    where started_at is not null
    union
    select
        subscription_key,
        resumed_at as live_from_at
    from pauses
    where resumed_at is not null

),

ends as (

    {# What a scheduled end's job does late is no longer billed. #}
    select
        subscriptions.subscription_key,
        coalesce(scheduled_ends.ended_at, subscriptions.ended_at) as live_to_at
    from subscriptions
    left join scheduled_ends on subscriptions.subscription_key = scheduled_ends.subscription_key
    where subscriptions.ended_at is not null
    union
    select
        subscription_key,
        paused_at as live_to_at
    from pauses

)

select
    starts.subscription_key,
    starts.live_from_at,
    coalesce(min(ends.live_to_at), timestamp 'infinity') as live_to_at
from starts
left join ends
    on
        starts.subscription_key = ends.subscription_key
        and starts.live_from_at < ends.live_to_at
group by starts.subscription_key, starts.live_from_at
