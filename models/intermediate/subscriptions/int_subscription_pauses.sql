{#
    One row per interruption: from when billing stopped to when it went on (null while paused). A revocation that was
    reinstated later is one too; one that was not is the subscription's end. A pause ends the running period and the
    resumption starts another; a revocation that was taken back leaves the periods as they were.
#}

with

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

system_events as (

    select * from {{ ref('stg_polar__system_events') }}

),

versions as (

    select
        subscriptions.subscription_key,
        versions.status,
        versions.paused_at,
        versions.current_period_start_at,
        coalesce(versions.modified_at, versions.created_at) as told_at,
        lag(versions.status) over version_order as previous_status,
        lag(versions.paused_at) over version_order as previous_paused_at
    from {{ ref('stg_polar__subscriptions') }} as versions
    inner join subscriptions
        on
            versions.organization_id = subscriptions.organization_id
            and versions.subscription_id = subscriptions.subscription_id
    where versions.status is not null
    window version_order as (
        partition by subscriptions.subscription_key
        order by versions.modified_at nulls first, versions.webhook_at nulls first, versions.content_hash
    )

),

stops as (

    select
        subscriptions.subscription_key,
        coalesce(system_events.paused_at, system_events.occurred_at) as instant,
        'stop' as kind,
        false as is_revocation
    from system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    where system_events.event_name = 'subscription.paused'
    union
    select
        subscription_key,
        paused_at as instant,
        'stop' as kind,
        false as is_revocation
    from versions
    where paused_at is not null and status = 'paused'
    union
    select
        subscriptions.subscription_key,
        revocations.occurred_at as instant,
        'stop' as kind,
        true as is_revocation
    from system_events as revocations
    inner join subscriptions
        on
            revocations.organization_id = subscriptions.organization_id
            and revocations.subscription_id = subscriptions.subscription_id
    inner join system_events as reinstatements
        on
            revocations.organization_id = reinstatements.organization_id
            and revocations.subscription_id = reinstatements.subscription_id
            and revocations.occurred_at < reinstatements.occurred_at
    where
        revocations.event_name = 'subscription.revoked'
        and reinstatements.event_name = 'subscription.reinstated'

),

starts as (

    select
        subscriptions.subscription_key,
        system_events.occurred_at as instant,
        'start' as kind,
        system_events.event_name = 'subscription.reinstated' as is_revocation
    from system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    where system_events.event_name in ('subscription.resumed', 'subscription.reinstated')
    union
    {# A resumption starts a new period. #}
    select
        subscription_key,
        case when current_period_start_at > previous_paused_at then current_period_start_at else told_at end as instant,
        'start' as kind,
        false as is_revocation
    from versions
    where previous_status = 'paused' and status in ('active', 'trialing', 'past_due')

),

switches as (

    select * from stops
    union all
    select * from starts

),

ordered_switches as (

    select
        subscription_key,
        is_revocation,
        instant,
        kind,
        lag(kind) over switch_order as previous_kind,
        min(case when kind = 'start' then instant end) over (
            partition by subscription_key, is_revocation
            order by instant, kind desc rows between 1 following and unbounded following
        ) as resumed_at
    from switches
    window switch_order as (partition by subscription_key, is_revocation order by instant, kind desc)

)

select
    subscription_key,
    is_revocation,
    instant as paused_at,
    resumed_at
from ordered_switches
where kind = 'stop' and previous_kind is distinct from 'stop'
