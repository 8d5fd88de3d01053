{# One row per stretch in which a subscription is billable: trialing, active or past due. #}

with

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

pauses as (

    select * from {{ ref('int_subscription_pauses') }}

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

    {# A scheduled end takes effect when the job runs, but the last period and what it bills end on schedule. #}
    select
        subscription_key,
        case
            when ends_at <= ended_at and ended_at < ends_at + interval '1 day' then ends_at
            else ended_at
        end as live_to_at
    from subscriptions
    where ended_at is not null
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
