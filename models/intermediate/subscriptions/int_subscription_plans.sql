{#
    One row per subscription and stretch on one product: which prices it carries depends on it. A change asked for
    `next_period` takes effect at the cycle that names the new product, all others when they are written.
#}

with

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

versions as (

    select * from {{ ref('stg_polar__subscriptions') }}

),

periods as (

    select * from {{ ref('int_subscription_periods') }}
    where period_type = 'subscription'

),

lifecycle_events as (

    select
        system_events.*,
        subscriptions.subscription_key
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    where system_events.event_name like 'subscription.%'

),

postponed_changes as (

    select
        subscription_key,
        product_id,
        occurred_at
    from lifecycle_events
    where event_name = 'subscription.updated' and proration_behavior = 'next_period' and product_id is not null

),

{# A cancellation or a pause names the product too, but tells no plan. #}
told_subscriptions as (

    select distinct subscription_key from lifecycle_events
    where
        case event_name
            when 'subscription.created' then product_id
            when 'subscription.cycled' then product_id
            when 'subscription.product_updated' then new_product_id
        end is not null

),

sightings as (

    select
        lifecycle_events.subscription_key,
        lifecycle_events.product_id,
        case
            when lifecycle_events.event_name = 'subscription.created'
                then coalesce(subscriptions.started_at, lifecycle_events.occurred_at)
            else coalesce(periods.period_start_at, lifecycle_events.occurred_at)
        end as effective_at,
        lifecycle_events.occurred_at
    from lifecycle_events
    inner join subscriptions on lifecycle_events.subscription_key = subscriptions.subscription_key
    left join periods
        on
            lifecycle_events.subscription_key = periods.subscription_key
            and periods.period_start_at <= lifecycle_events.occurred_at
            and lifecycle_events.occurred_at < least(periods.period_end_at, periods.period_start_at + interval '1 day')
    where
        lifecycle_events.event_name in ('subscription.created', 'subscription.cycled')
        and lifecycle_events.product_id is not null
    union all
    select
        lifecycle_events.subscription_key,
        lifecycle_events.new_product_id as product_id,
        lifecycle_events.occurred_at as effective_at,
        lifecycle_events.occurred_at
    from lifecycle_events
    left join postponed_changes
        on
            lifecycle_events.subscription_key = postponed_changes.subscription_key
            and lifecycle_events.new_product_id = postponed_changes.product_id
            and abs(epoch(lifecycle_events.occurred_at - postponed_changes.occurred_at)) <= 60
    where
        lifecycle_events.event_name = 'subscription.product_updated'
        and postponed_changes.subscription_key is null
    union all
    {# The plan before the first change that was seen. #}
    select
        subscriptions.subscription_key,
        arg_min(lifecycle_events.old_product_id, lifecycle_events.occurred_at) as product_id,
        min(subscriptions.started_at) as effective_at,
        min(subscriptions.started_at) as occurred_at
    from lifecycle_events
    inner join subscriptions on lifecycle_events.subscription_key = subscriptions.subscription_key
    where lifecycle_events.event_name = 'subscription.product_updated' and subscriptions.started_at is not null
    group by subscriptions.subscription_key
    union all
    {#
        Each version of the object shows the plan of its running period. Where no event tells one, the first version also
        stands for what was before.
    #}
    select
        subscriptions.subscription_key,
        versions.product_id,
        case
            when
                told_subscriptions.subscription_key is null
                and (versions.modified_at is null or row_number() over (
                    partition by subscriptions.subscription_key order by versions.modified_at nulls first, versions.content_hash
                ) = 1)
                then subscriptions.started_at
            else versions.modified_at
        end as effective_at,
        coalesce(versions.modified_at, subscriptions.started_at) as occurred_at
    from versions
    inner join subscriptions
        on
            versions.organization_id = subscriptions.organization_id
            and versions.subscription_id = subscriptions.subscription_id
    left join told_subscriptions on subscriptions.subscription_key = told_subscriptions.subscription_key
    where
        versions.product_id is not null
        and (told_subscriptions.subscription_key is null or versions.modified_at is not null)

),

{# Of what was said for one instant, the last word counts. #}
last_sightings as (

    select
        subscription_key,
        product_id,
        effective_at
    from sightings
    where effective_at is not null and product_id is not null
    qualify row_number() over (
        partition by subscription_key, effective_at order by occurred_at desc, product_id desc
    ) = 1

),

changes as (

    select * from last_sightings
    qualify lag(product_id) over (partition by subscription_key order by effective_at) is distinct from product_id

),

plans as (

    select
        {{ surrogate_key(["'plan'", 'changes.subscription_key', 'changes.effective_at']) }} as subscription_plan_key,
        changes.subscription_key,
        subscriptions.organization_id,
        subscriptions.subscription_id,
        changes.product_id,
        subscriptions.currency,
        {# The first plan that was seen also stands for what came before it. #}
        case
            when lag(changes.effective_at) over (partition by changes.subscription_key order by changes.effective_at) is null
                then least(changes.effective_at, subscriptions.started_at)
            else changes.effective_at
        end as plan_starts_at,
        coalesce(
            lead(changes.effective_at) over (partition by changes.subscription_key order by changes.effective_at),
            timestamp 'infinity'
        ) as plan_ends_at
    from changes
    inner join subscriptions on changes.subscription_key = subscriptions.subscription_key

)

select * from plans
