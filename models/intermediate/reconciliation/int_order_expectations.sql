{#
    One row per paid order, and one per order that usage and the subscription say should exist and that was not paid:
    what it should have come to. The status is judged in order_reconciliation.
#}

with

orders as (

    select * from {{ ref('int_orders_merged') }}

),

settlements as (

    select * from {{ ref('int_order_settlements') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

periods as (

    select * from {{ ref('int_subscription_periods') }}

),

metering_periods as (

    select * from {{ ref('int_metering_periods') }}

),

static_amounts as (

    select * from {{ ref('int_subscription_static_amounts') }}

),

quantities as (

    select * from {{ ref('int_metered_quantities') }}

),

first_periods as (

    select * from periods
    where period_type = 'subscription'
    qualify row_number() over (partition by subscription_key order by period_start_at) = 1

),

metered_amounts as (

    select
        billing_period_key,
        case when count(*) = count(expected_amount) then cast(sum(expected_amount) as bigint) end as expected_amount,
        coalesce(list(price_id) filter (where event_count > 0 or credited_units > 0), []) as active_price_ids,
        cast(sum(cutoff_low_amount) as bigint) as cutoff_low_amount,
        cast(sum(cutoff_high_amount) as bigint) as cutoff_high_amount
    from quantities
    group by billing_period_key

),

{# What each period's settling order should carry in advance: the price of the period that starts then. #}
settled_periods as (

    select
        periods.billing_period_key,
        periods.subscription_key,
        periods.period_type,
        periods.period_start_at,
        periods.period_end_at,
        periods.is_closed,
        periods.is_cut_short,
        {# After a pause the order comes with the resumption. #}
        case
            when periods.period_type = 'subscription' and periods.next_period_start_at is not null
                then periods.next_period_start_at
            else periods.period_end_at
        end as due_at,
        periods.next_period_start_at is null
            and pauses.subscription_key is not null as is_waiting_for_resumption,
        case
            when periods.period_type = 'meter' or periods.next_period_start_at is null then 0
            else static_amounts.static_amount
        end as static_amount,
        case
            when metering_periods.billing_period_key is null then 0
            when metered_amounts.billing_period_key is null then 0
            else metered_amounts.expected_amount
        end as metered_amount,
        metered_amounts.active_price_ids,
        coalesce(metered_amounts.cutoff_low_amount, 0) as cutoff_low_amount,
        coalesce(metered_amounts.cutoff_high_amount, 0) as cutoff_high_amount,
        coalesce(own_amounts.has_known_prices, true) as has_known_prices
    from periods
    left join static_amounts
        on
            periods.subscription_key = static_amounts.subscription_key
            and periods.next_period_start_at = static_amounts.period_start_at
            and periods.period_type = 'subscription'
    left join static_amounts as own_amounts on periods.billing_period_key = own_amounts.billing_period_key
    left join metering_periods on periods.billing_period_key = metering_periods.billing_period_key
    left join metered_amounts on periods.billing_period_key = metered_amounts.billing_period_key
    left join {{ ref('int_subscription_pauses') }} as pauses
        on
            periods.subscription_key = pauses.subscription_key
            and periods.period_end_at = pauses.paused_at
            and not coalesce(pauses.is_revocation, false)

),

first_orders as (

    select
        first_periods.subscription_key,
        first_periods.period_start_at as due_at,
        case when first_periods.is_trial then 0 else static_amounts.static_amount end as static_amount,
        first_periods.is_trial
    from first_periods
    left join static_amounts on first_periods.billing_period_key = static_amounts.billing_period_key

),

{# A reset or a change of interval starts a full new period at once, and charges it with the change. #}
restarts as (

    select
        settlements.order_key,
        settlements.subscription_key,
        max(static_amounts.period_start_at) as period_start_at,
        max(static_amounts.static_amount) as static_amount
    from settlements
    inner join static_amounts
        on
            settlements.subscription_key = static_amounts.subscription_key
            and static_amounts.period_start_at <= settlements.matched_at
            and settlements.matched_at < static_amounts.period_start_at + interval '1 hour'
    inner join periods on static_amounts.billing_period_key = periods.billing_period_key
    inner join {{ ref('int_subscription_boundaries_seen') }} as boundaries
        on
            static_amounts.subscription_key = boundaries.subscription_key
            and static_amounts.period_start_at = boundaries.boundary_at
            and boundaries.is_reset
    where settlements.role = 'update'
    group by settlements.order_key, settlements.subscription_key

),

changes as (

    select
        subscriptions.subscription_key,
        system_events.event_name,
        system_events.proration_behavior,
        system_events.occurred_at
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id

),

{#
    A change in the period is settled with the next order unless it says otherwise, or an order of its own settled it.
    Without lines its share of that order cannot be told from the rest.
#}
unsettled_changes as (

    select distinct periods.billing_period_key
    from changes
    inner join periods
        on
            changes.subscription_key = periods.subscription_key
            and periods.period_start_at <= changes.occurred_at
            and changes.occurred_at < periods.period_end_at
    left join changes as requests
        on
            changes.subscription_key = requests.subscription_key
            and requests.event_name = 'subscription.updated'
            and abs(epoch(changes.occurred_at - requests.occurred_at)) <= 60
    where
        periods.period_type = 'subscription'
        {# Nothing is charged in a trial, so a change in it has nothing to prorate. #}
        and not coalesce(periods.is_trial, false)
        and changes.event_name in (
            'subscription.product_updated', 'subscription.seats_updated', 'subscription.units_updated'
        )
        and coalesce(changes.proration_behavior, requests.proration_behavior, 'prorate') = 'prorate'
        and not exists (
            select 1 from settlements
            where
                settlements.subscription_key = changes.subscription_key
                and settlements.role = 'update'
                and settlements.matched_at >= changes.occurred_at
                and settlements.matched_at < periods.period_end_at
        )

),

order_items as (

    select
        order_key,
        organization_id,
        unnest(items) as item
    from orders

),

billed_prices as (

    select
        order_items.order_key,
        list(distinct prices.price_id) as price_ids
    from order_items
    inner join {{ ref('int_prices_known') }} as prices
        on
            order_items.organization_id = prices.organization_id
            and order_items.item.product_price_id = prices.price_id
    where prices.meter_id is not null
    group by order_items.order_key

),

paid_orders as (

    select
        orders.order_key,
        orders.order_id,
        orders.organization_id,
        orders.customer_key,
        orders.subscription_key,
        orders.subscription_id,
        orders.currency,
        orders.paid_at,
        orders.subtotal_amount as billed_subtotal_amount,
        orders.has_object and orders.items is not null as has_lines,
        coalesce(list_sum(list_transform(
            list_filter(orders.items, lambda item: item.proration), lambda item: item.amount
        )), 0) as proration_amount,
        settlements.role,
        {# A trial whose end no event has named yet; the subscription's object would name it. #}
        orders.subtotal_amount = 0 and coalesce(orders.discount_amount, 0) = 0
        and not coalesce(subscriptions.is_trial_known, false) as starts_unseen_trial,
        unsettled_changes.billing_period_key is not null as may_hold_prorations,
        settlements.billing_period_key,
        settled_periods.period_start_at,
        settled_periods.period_end_at,
        case settlements.role
            when 'first' then first_orders.due_at
            when 'cycle' then settled_periods.due_at
        end as due_at,
        case settlements.role
            when 'first' then case
                when starts_unseen_trial then 0
                else first_orders.static_amount
            end
            when 'cycle' then settled_periods.static_amount
            {# Where all its lines are prorations, the new period's price is one of them. #}
            when 'update' then case
                when len(list_filter(orders.items, lambda item: not item.proration)) = 0 and proration_amount != 0 then 0
                else coalesce(restarts.static_amount, 0)
            end
            when 'unexpected' then 0
        end as expected_static_amount,
        case settlements.role
            when 'cycle' then settled_periods.metered_amount
            when 'one_time' then null
            when 'unknown_subscription' then null
            else 0
        end as expected_metered_amount,
        {# One minor unit of rounding for each metered price with usage, credits or a line on the order. #}
        len(list_distinct(list_concat(
            coalesce(settled_periods.active_price_ids, []), coalesce(billed_prices.price_ids, [])
        ))) as active_price_count,
        coalesce(settled_periods.cutoff_low_amount, 0) as cutoff_low_amount,
        coalesce(settled_periods.cutoff_high_amount, 0) as cutoff_high_amount,
        settlements.role = 'first' and (
            coalesce(first_orders.is_trial, false)
            or (first_orders.static_amount > 0 and starts_unseen_trial)
        ) as is_trial_start,
        coalesce(settled_periods.has_known_prices, true) as has_known_prices,
        null as missing_order_cause
    from orders
    inner join settlements on orders.order_key = settlements.order_key
    left join subscriptions on orders.subscription_key = subscriptions.subscription_key
    left join settled_periods on settlements.billing_period_key = settled_periods.billing_period_key
    left join first_orders on orders.subscription_key = first_orders.subscription_key
    left join restarts on orders.order_key = restarts.order_key
    left join billed_prices on orders.order_key = billed_prices.order_key
    left join unsettled_changes on settlements.billing_period_key = unsettled_changes.billing_period_key
    where orders.is_paid

),

{# An order that exists unpaid is named, so that the reader need not look for it. #}
unpaid_orders as (

    select
        settlements.billing_period_key,
        settlements.subscription_key,
        settlements.role,
        orders.order_key,
        orders.order_id
    from settlements
    inner join orders on settlements.order_key = orders.order_key
    where not orders.is_paid and orders.status != 'draft'
    qualify row_number() over (
        partition by settlements.subscription_key, settlements.role, settlements.billing_period_key
        order by orders.matched_at desc, orders.order_id
    ) = 1

),

{# The order of the change has charged the period that it started: no cycle order is due for that. #}
restarts_charged as (

    select distinct
        restarts.subscription_key,
        restarts.period_start_at
    from restarts
    semi join paid_orders on restarts.order_key = paid_orders.order_key

),

missing_cycle_orders as (

    select
        unpaid_orders.order_key,
        unpaid_orders.order_id,
        subscriptions.organization_id,
        subscriptions.customer_key,
        settled_periods.subscription_key,
        subscriptions.subscription_id,
        subscriptions.currency,
        null as paid_at,
        null as billed_subtotal_amount,
        false as has_lines,
        0 as proration_amount,
        'cycle' as role,
        settled_periods.billing_period_key,
        settled_periods.period_start_at,
        settled_periods.period_end_at,
        settled_periods.due_at,
        case when restarts_charged.subscription_key is null then settled_periods.static_amount else 0 end
            as expected_static_amount,
        settled_periods.metered_amount as expected_metered_amount,
        len(coalesce(settled_periods.active_price_ids, [])) as active_price_count,
        settled_periods.cutoff_low_amount,
        settled_periods.cutoff_high_amount,
        false as is_trial_start,
        settled_periods.has_known_prices,
        case
            when unpaid_orders.order_key is not null then 'unpaid_order'
            when subscriptions.ended_at is not null and subscriptions.ended_at <= settled_periods.period_end_at + interval '1 day'
                {# Canceled at once is written as an end scheduled for that moment. #}
                and coalesce(
                    subscriptions.ends_at <= subscriptions.canceled_at,
                    settled_periods.is_cut_short or coalesce(subscriptions.canceled_at >= settled_periods.period_end_at, true)
                )
                then 'revoked'
            when settled_periods.is_waiting_for_resumption then 'revoked'
            else 'missing_order'
        end as missing_order_cause
    from settled_periods
    inner join subscriptions on settled_periods.subscription_key = subscriptions.subscription_key
    anti join paid_orders on settled_periods.billing_period_key = paid_orders.billing_period_key
    left join unpaid_orders
        on
            settled_periods.billing_period_key = unpaid_orders.billing_period_key
            and unpaid_orders.role = 'cycle'
    left join restarts_charged
        on
            settled_periods.subscription_key = restarts_charged.subscription_key
            and settled_periods.period_type = 'subscription'
            and settled_periods.due_at = restarts_charged.period_start_at
    where
        settled_periods.is_closed
        and not (settled_periods.is_waiting_for_resumption and subscriptions.ended_at is null)
        and (restarts_charged.subscription_key is null or settled_periods.metered_amount is distinct from 0)

),

missing_first_orders as (

    select
        unpaid_orders.order_key,
        unpaid_orders.order_id,
        subscriptions.organization_id,
        subscriptions.customer_key,
        first_orders.subscription_key,
        subscriptions.subscription_id,
        subscriptions.currency,
        null as paid_at,
        null as billed_subtotal_amount,
        false as has_lines,
        0 as proration_amount,
        'first' as role,
        null as billing_period_key,
        null as period_start_at,
        null as period_end_at,
        first_orders.due_at,
        first_orders.static_amount as expected_static_amount,
        0 as expected_metered_amount,
        0 as active_price_count,
        0 as cutoff_low_amount,
        0 as cutoff_high_amount,
        false as is_trial_start,
        true as has_known_prices,
        case when unpaid_orders.order_key is not null then 'unpaid_order' else 'missing_order' end as missing_order_cause
    from first_orders
    inner join subscriptions on first_orders.subscription_key = subscriptions.subscription_key
    left join unpaid_orders
        on
            first_orders.subscription_key = unpaid_orders.subscription_key
            and unpaid_orders.role = 'first'
    where
        not exists (
            select 1 from paid_orders
            where paid_orders.subscription_key = first_orders.subscription_key and paid_orders.role = 'first'
        )

),

expectations as (

    select * from paid_orders
    union all by name
    select * from missing_cycle_orders
    union all by name
    select * from missing_first_orders

)

select * from expectations
