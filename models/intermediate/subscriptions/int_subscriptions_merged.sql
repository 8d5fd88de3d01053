{#
    One row per subscription, from its API object's latest version and its events. The object knows more; an event that
    is newer than the object wins for what it says.
#}

with

versions as (

    select * from {{ ref('stg_polar__subscriptions') }}

),

system_events as (

    select * from {{ ref('stg_polar__system_events') }}
    where subscription_id is not null

),

orders as (

    select * from {{ ref('stg_polar__orders') }}
    where subscription_id is not null

),

products as (

    select * from {{ ref('stg_polar__products') }}

),

customers as (

    select * from {{ ref('int_customers_merged') }}

),

latest_versions as (

    select * from versions
    {{ latest_version('organization_id, subscription_id') }}

),

lifecycle_events as (

    select * from system_events
    where event_name like 'subscription.%'

),

created_events as (

    select
        organization_id,
        subscription_id,
        min(coalesce(started_at, occurred_at)) as started_at,
        min(occurred_at) as created_at
    from lifecycle_events
    where event_name = 'subscription.created'
    group by organization_id, subscription_id

),

{# What an event says about the plan holds until a later one says otherwise. #}
plan_events as (

    select
        organization_id,
        subscription_id,
        arg_max(product_id, (occurred_at, product_id)) filter (where product_id is not null) as product_id,
        arg_max(amount, (occurred_at, amount)) filter (where amount is not null) as amount,
        arg_max(currency, (occurred_at, currency)) filter (where currency is not null) as currency,
        arg_max(recurring_interval, (occurred_at, recurring_interval))
            filter (where recurring_interval is not null) as recurring_interval,
        arg_max(recurring_interval_count, (occurred_at, recurring_interval_count))
            filter (where recurring_interval_count is not null) as recurring_interval_count,
        max(occurred_at) as occurred_at
    from lifecycle_events
    where event_name not in ('subscription.updated', 'subscription.product_updated')
    group by organization_id, subscription_id

),

trial_events as (

    select
        organization_id,
        subscription_id,
        arg_max(trial_ends_at, (occurred_at, trial_ends_at)) as trial_ends_at,
        max(occurred_at) as occurred_at
    from lifecycle_events
    where trial_ends_at is not null
    group by organization_id, subscription_id

),

{#
    Events name a trial's end only when it was changed. But a trial starts with an order of zero though the plan costs
    something and nothing is discounted, and ends with the first cycle.
#}
zero_orders as (

    select
        organization_id,
        subscription_id,
        occurred_at as ordered_at
    from system_events
    where event_name = 'order.paid' and amount = 0 and coalesce(discount_amount, 0) = 0 and discount_id is null
    union
    select
        organization_id,
        subscription_id,
        created_at as ordered_at
    from orders
    where is_paid and subtotal_amount = 0

),

trials_seen_in_orders as (

    select
        zero_orders.organization_id,
        zero_orders.subscription_id,
        min(cycles.occurred_at) as trial_ends_at
    from zero_orders
    inner join lifecycle_events as creations
        on
            zero_orders.organization_id = creations.organization_id
            and zero_orders.subscription_id = creations.subscription_id
            and zero_orders.ordered_at < coalesce(creations.started_at, creations.occurred_at) + interval '1 day'
    inner join lifecycle_events as cycles
        on
            zero_orders.organization_id = cycles.organization_id
            and zero_orders.subscription_id = cycles.subscription_id
            and zero_orders.ordered_at < cycles.occurred_at
    where
        creations.event_name = 'subscription.created'
        and creations.amount > 0
        and cycles.event_name = 'subscription.cycled'
    group by zero_orders.organization_id, zero_orders.subscription_id

),

{# A scheduled cancellation is written at the request and again when it takes effect; only revoked ends it. #}
status_events as (

    select
        organization_id,
        subscription_id,
        occurred_at,
        event_name,
        case event_name
            when 'subscription.revoked' then 'canceled'
            when 'subscription.past_due' then 'past_due'
            when 'subscription.paused' then 'paused'
            else 'active'
        end as status
    from lifecycle_events
    where
        event_name in (
            'subscription.created', 'subscription.cycled', 'subscription.revoked', 'subscription.past_due',
            'subscription.paused', 'subscription.resumed', 'subscription.reactivated', 'subscription.reinstated'
        )

),

latest_statuses as (

    select * from status_events
    qualify row_number() over (
        partition by organization_id, subscription_id order by occurred_at desc, status
    ) = 1

),

cancellations as (

    select
        organization_id,
        subscription_id,
        max(canceled_at) as canceled_at,
        arg_max(customer_cancellation_reason, (occurred_at, customer_cancellation_reason))
            filter (where customer_cancellation_reason is not null) as cancellation_reason,
        arg_max(ends_at, (occurred_at, ends_at)) filter (where ends_at is not null) as ends_at,
        max(occurred_at) as occurred_at
    from lifecycle_events
    where event_name = 'subscription.canceled'
    group by organization_id, subscription_id

),

withdrawn_cancellations as (

    select
        organization_id,
        subscription_id,
        max(occurred_at) as occurred_at
    from lifecycle_events
    where event_name in ('subscription.uncanceled', 'subscription.reinstated')
    group by organization_id, subscription_id

),

{# Every place that names a subscription makes it exist, even where nothing else is known of it. #}
subscription_ids as (

    select organization_id, subscription_id, customer_id from versions
    union all
    select organization_id, subscription_id, customer_id from system_events
    union all
    select organization_id, subscription_id, customer_id from orders

),

subscriptions as (

    select
        organization_id,
        subscription_id,
        min(customer_id) as customer_id
    from subscription_ids
    group by organization_id, subscription_id

),

merged_subscriptions as (

    select
        {{ surrogate_key(["'subscription'", 'subscriptions.organization_id', 'subscriptions.subscription_id']) }} as subscription_key,
        subscriptions.organization_id,
        subscriptions.subscription_id,
        coalesce(latest_versions.customer_id, subscriptions.customer_id) as customer_id,
        customers.customer_key,
        coalesce(latest_versions.modified_at, latest_versions.created_at) as told_at,
        case
            when latest_versions.product_id is not null
                and not coalesce(plan_events.occurred_at > latest_versions.modified_at, false)
                then latest_versions.product_id
            else coalesce(plan_events.product_id, latest_versions.product_id)
        end as product_id,
        latest_versions.discount_id,
        case
            when latest_versions.status is not null
                and not coalesce(latest_statuses.occurred_at > told_at, false)
                then latest_versions.status
            else coalesce(latest_statuses.status, latest_versions.status)
        end as status,
        case
            when latest_versions.amount is not null
                and not coalesce(plan_events.occurred_at > latest_versions.modified_at, false)
                then latest_versions.amount
            else coalesce(plan_events.amount, latest_versions.amount)
        end as amount,
        coalesce(latest_versions.currency, plan_events.currency) as currency,
        {% for name in ['recurring_interval', 'recurring_interval_count'] -%}
        coalesce(
            case when plan_events.occurred_at > latest_versions.modified_at then plan_events.{{ name }} end,
            latest_versions.{{ name }},
            plan_events.{{ name }},
            products.{{ name }}
        ) as {{ name }},
        {% endfor -%}
        products.meter_interval,
        products.meter_interval_count,
        latest_versions.seats,
        latest_versions.units,
        latest_versions.subscription_id is not null as has_object,
        coalesce(latest_versions.started_at, created_events.started_at) as started_at,
        {# An object that only an order embeds may know nothing of dates. #}
        coalesce(latest_versions.started_at, latest_versions.trial_ends_at) is not null as is_trial_known,
        case
            when trial_events.occurred_at > told_at then trial_events.trial_ends_at
            when coalesce(latest_versions.started_at, latest_versions.trial_ends_at) is not null then latest_versions.trial_ends_at
            else coalesce(trial_events.trial_ends_at, trials_seen_in_orders.trial_ends_at)
        end as trial_ends_at,
        {# Also where no event of the cancellation is known that the object tells of. #}
        coalesce(
            withdrawn_cancellations.occurred_at >= coalesce(cancellations.occurred_at, timestamp '-infinity'), false
        ) as is_withdrawn,
        coalesce(withdrawn_cancellations.occurred_at > told_at, false) as is_withdrawn_since,
        coalesce(cancellations.occurred_at > told_at, false) as is_canceled_since,
        {% for name in ['canceled_at', 'ends_at'] -%}
        case
            when is_withdrawn and is_withdrawn_since then null
            when is_withdrawn then latest_versions.{{ name }}
            when is_canceled_since then coalesce(cancellations.{{ name }}, latest_versions.{{ name }})
            else coalesce(latest_versions.{{ name }}, cancellations.{{ name }})
        end as {{ name }},
        {% endfor -%}
        case
            {# It went on after it had ended, as an event says that is newer than the object, or the object itself. #}
            when
                latest_statuses.event_name != 'subscription.revoked'
                and latest_statuses.occurred_at > greatest(told_at, latest_versions.ended_at)
                then null
            when latest_versions.status in ('active', 'trialing', 'past_due') and told_at > latest_statuses.occurred_at
                then latest_versions.ended_at
            else coalesce(
                latest_versions.ended_at,
                case when latest_statuses.event_name = 'subscription.revoked' then latest_statuses.occurred_at end
            )
        end as ended_at,
        coalesce(latest_versions.customer_cancellation_reason, cancellations.cancellation_reason) as cancellation_reason,
        latest_versions.paused_at
    from subscriptions
    left join latest_versions
        on
            subscriptions.organization_id = latest_versions.organization_id
            and subscriptions.subscription_id = latest_versions.subscription_id
    left join created_events
        on
            subscriptions.organization_id = created_events.organization_id
            and subscriptions.subscription_id = created_events.subscription_id
    left join plan_events
        on
            subscriptions.organization_id = plan_events.organization_id
            and subscriptions.subscription_id = plan_events.subscription_id
    left join trial_events
        on
            subscriptions.organization_id = trial_events.organization_id
            and subscriptions.subscription_id = trial_events.subscription_id
    left join trials_seen_in_orders
        on
            subscriptions.organization_id = trials_seen_in_orders.organization_id
            and subscriptions.subscription_id = trials_seen_in_orders.subscription_id
    left join latest_statuses
        on
            subscriptions.organization_id = latest_statuses.organization_id
            and subscriptions.subscription_id = latest_statuses.subscription_id
    left join cancellations
        on
            subscriptions.organization_id = cancellations.organization_id
            and subscriptions.subscription_id = cancellations.subscription_id
    left join withdrawn_cancellations
        on
            subscriptions.organization_id = withdrawn_cancellations.organization_id
            and subscriptions.subscription_id = withdrawn_cancellations.subscription_id
    left join customers
        on
            subscriptions.organization_id = customers.organization_id
            and coalesce(latest_versions.customer_id, subscriptions.customer_id) = customers.customer_id
    left join products
        on
            subscriptions.organization_id = products.organization_id
            and coalesce(latest_versions.product_id, plan_events.product_id) = products.product_id

)

select * exclude (told_at, is_withdrawn, is_withdrawn_since, is_canceled_since) from merged_subscriptions
