{#
    One row per subscription, period type and instant at which something seen says that a period starts. A boundary
    that was seen beats a computed one. Exact ones come from the objects and from events that name the boundary; a
    cycle event is only stamped when the job ran, up to a day after it.
#}

with

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

versions as (

    select
        *,
        {# At once, not at the period's end. #}
        coalesce(
            recurring_interval != lag(recurring_interval) over version_order
            or recurring_interval_count != lag(recurring_interval_count) over version_order,
            false
        )
        and coalesce(current_period_start_at < lag(current_period_end_at) over version_order, true) as has_new_interval
    from {{ ref('stg_polar__subscriptions') }}
    window version_order as (
        partition by organization_id, subscription_id
        order by modified_at nulls first, webhook_at nulls first, content_hash
    )

),

latest_versions as (

    select * from versions
    {{ latest_version('organization_id, subscription_id') }}

),

system_events as (

    select
        system_events.*,
        subscriptions.subscription_key
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id

),

{# A change of plan is written when it is asked for, also one for the next period. #}
plan_changes as (

    select * from system_events
    where
        event_name = 'subscription.product_updated'
        and not exists (
            select 1 from system_events as requests
            where
                requests.event_name = 'subscription.updated'
                and requests.proration_behavior = 'next_period'
                and requests.subscription_key = system_events.subscription_key
                and requests.product_id = system_events.new_product_id
                and abs(epoch(requests.occurred_at - system_events.occurred_at)) <= 60
        )

),

products as (

    select * from {{ ref('stg_polar__products') }}

),

{# A meter's reset names the customer, not the subscription: it is used where the customer has only one. #}
customers_with_one_subscription as (

    select
        organization_id,
        customer_id,
        min(subscription_key) as subscription_key,
        bool_or(meter_interval is not null) as has_meter_cycle
    from subscriptions
    group by organization_id, customer_id
    having count(*) = 1

),

{# Meters that prices of the subscription, or of a product it ever was on, are on. #}
metered_products as (

    select
        organization_id,
        subscription_id,
        product_id
    from versions
    union
    select
        organization_id,
        subscription_id,
        product_id
    from subscriptions
    union
    select
        organization_id,
        subscription_id,
        unnest([product_id, old_product_id, new_product_id]) as product_id
    from {{ ref('stg_polar__system_events') }}
    where event_name like 'subscription.%'

),

subscription_meters as (

    select
        organization_id,
        subscription_id,
        meter_id
    from {{ ref('stg_polar__prices') }}
    where listed_by = 'subscription' and meter_id is not null
    union
    select
        metered_products.organization_id,
        metered_products.subscription_id,
        prices.meter_id
    from metered_products
    inner join {{ ref('int_prices_known') }} as prices
        on
            metered_products.organization_id = prices.organization_id
            and metered_products.product_id = prices.product_id
    where prices.meter_id is not null

),

meters_of_subscriptions as (

    select
        subscriptions.subscription_key,
        list(subscription_meters.meter_id) as meter_ids
    from subscription_meters
    inner join subscriptions
        on
            subscription_meters.organization_id = subscriptions.organization_id
            and subscription_meters.subscription_id = subscriptions.subscription_id
    group by subscriptions.subscription_key

),

{# The reset of a meter that the subscription has nothing to do with ends no period of it. #}
meter_resets as (

    select distinct
        customers_with_one_subscription.subscription_key,
        case when customers_with_one_subscription.has_meter_cycle then 'meter' else 'subscription' end as period_type,
        resets.occurred_at as boundary_at
    from {{ ref('stg_polar__system_events') }} as resets
    inner join customers_with_one_subscription
        on
            resets.organization_id = customers_with_one_subscription.organization_id
            and resets.customer_id = customers_with_one_subscription.customer_id
    left join meters_of_subscriptions
        on customers_with_one_subscription.subscription_key = meters_of_subscriptions.subscription_key
    where
        resets.event_name = 'meter.reset'
        and coalesce(list_contains(meters_of_subscriptions.meter_ids, resets.meter_id), true)

),

boundaries as (

    select
        subscriptions.subscription_key,
        'subscription' as period_type,
        versions.current_period_start_at as boundary_at,
        true as is_exact,
        versions.has_new_interval as is_reset,
        true as is_told,
        false as is_cut,
        versions.recurring_interval as interval_name,
        versions.recurring_interval_count as interval_count
    from versions
    inner join subscriptions
        on
            versions.organization_id = subscriptions.organization_id
            and versions.subscription_id = subscriptions.subscription_id
    union all
    {# Only the latest version's end is a fact: an earlier one may have been moved since. #}
    select
        subscriptions.subscription_key,
        'subscription' as period_type,
        latest_versions.current_period_end_at as boundary_at,
        true as is_exact,
        false as is_reset,
        false as is_told,
        false as is_cut,
        latest_versions.recurring_interval as interval_name,
        latest_versions.recurring_interval_count as interval_count
    from latest_versions
    inner join subscriptions
        on
            latest_versions.organization_id = subscriptions.organization_id
            and latest_versions.subscription_id = subscriptions.subscription_id
    where subscriptions.ended_at is null and subscriptions.status != 'paused'
    union all
    select
        subscriptions.subscription_key,
        'meter' as period_type,
        versions.current_meter_period_start_at as boundary_at,
        true as is_exact,
        false as is_reset,
        true as is_told,
        false as is_cut,
        subscriptions.meter_interval as interval_name,
        subscriptions.meter_interval_count as interval_count
    from versions
    inner join subscriptions
        on
            versions.organization_id = subscriptions.organization_id
            and versions.subscription_id = subscriptions.subscription_id
    union all
    select
        subscription_key,
        period_type,
        boundary_at,
        true as is_exact,
        false as is_reset,
        false as is_told,
        false as is_cut,
        null as interval_name,
        null as interval_count
    from meter_resets
    union all
    select
        subscription_key,
        'subscription' as period_type,
        coalesce(new_period_end_at, billing_period_end_at) as boundary_at,
        true as is_exact,
        false as is_reset,
        false as is_told,
        false as is_cut,
        null as interval_name,
        null as interval_count
    from system_events
    where
        event_name in ('subscription.billing_period_updated', 'subscription.updated')
        {# An end that was moved on since is none. #}
        and not exists (
            select 1 from system_events as later_moves
            where
                later_moves.event_name = 'subscription.billing_period_updated'
                and later_moves.subscription_key = system_events.subscription_key
                and later_moves.occurred_at > system_events.occurred_at
                and later_moves.old_period_end_at = coalesce(system_events.new_period_end_at, system_events.billing_period_end_at)
                and later_moves.old_period_end_at != later_moves.new_period_end_at
        )
    union all
    select
        subscription_key,
        'subscription' as period_type,
        case event_name when 'subscription.created' then coalesce(started_at, occurred_at) else occurred_at end as boundary_at,
        false as is_exact,
        event_name = 'subscription.resumed' as is_reset,
        false as is_told,
        false as is_cut,
        recurring_interval as interval_name,
        recurring_interval_count as interval_count
    from system_events
    where event_name in ('subscription.created', 'subscription.cycled', 'subscription.resumed')
    union all
    select
        subscription_key,
        'subscription' as period_type,
        occurred_at as boundary_at,
        true as is_exact,
        true as is_reset,
        false as is_told,
        false as is_cut,
        null as interval_name,
        null as interval_count
    from system_events
    where event_name = 'subscription.updated' and proration_behavior = 'reset'
    union all
    {# A plan with another interval starts a new full period at once. #}
    select
        plan_changes.subscription_key,
        'subscription' as period_type,
        plan_changes.occurred_at as boundary_at,
        true as is_exact,
        true as is_reset,
        false as is_told,
        false as is_cut,
        new_products.recurring_interval as interval_name,
        new_products.recurring_interval_count as interval_count
    from plan_changes
    inner join products as old_products
        on
            plan_changes.organization_id = old_products.organization_id
            and plan_changes.old_product_id = old_products.product_id
    inner join products as new_products
        on
            plan_changes.organization_id = new_products.organization_id
            and plan_changes.new_product_id = new_products.product_id
    where
        (old_products.recurring_interval, old_products.recurring_interval_count)
        is distinct from (new_products.recurring_interval, new_products.recurring_interval_count)
    union all
    {# With a cycle of its own, a meter is settled when the subscription goes on. #}
    select
        subscription_key,
        'meter' as period_type,
        occurred_at as boundary_at,
        true as is_exact,
        true as is_reset,
        false as is_told,
        false as is_cut,
        null as interval_name,
        null as interval_count
    from system_events
    where event_name = 'subscription.resumed'
    union all
    {# And when the plan changes, but its anchor stays (semantics, 6.1). #}
    select
        subscription_key,
        'meter' as period_type,
        occurred_at as boundary_at,
        true as is_exact,
        false as is_reset,
        false as is_told,
        true as is_cut,
        null as interval_name,
        null as interval_count
    from plan_changes

),

{# The event of a reset is written moments after the period that it starts: what an object names as its start counts. #}
told_boundaries as (

    select
        boundaries.*,
        starts.boundary_at as told_at
    from boundaries
    left join boundaries as starts
        on
            boundaries.subscription_key = starts.subscription_key
            and boundaries.period_type = starts.period_type
            and boundaries.is_reset
            and starts.is_exact
            and starts.is_told
            and starts.boundary_at between boundaries.boundary_at - interval '1 minute' and boundaries.boundary_at
    where boundaries.boundary_at is not null

)

select
    subscription_key,
    period_type,
    coalesce(told_at, boundary_at) as boundary_at,
    bool_or(is_exact) as is_exact,
    bool_or(is_reset) as is_reset,
    bool_and(is_cut) as is_cut,
    max(interval_name) as interval_name,
    max(interval_count) as interval_count
from told_boundaries
group by all
