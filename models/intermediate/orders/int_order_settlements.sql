{#
    One row per order: its role, and the period whose usage it settles (null where it settles none).

    Polar's billing_reason decides where it is known. Events do not carry it: then time decides. Only paid orders settle
    a period; an unpaid one is placed on the period that it would settle.
#}

with

orders as (

    select * from {{ ref('int_orders_merged') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

periods as (

    select * from {{ ref('int_subscription_periods') }}

),

metering_periods as (

    select distinct subscription_key from {{ ref('int_metering_periods') }}
    where has_meter_cycle

),

static_amounts as (

    select * from {{ ref('int_subscription_static_amounts') }}

),

changes as (

    select
        subscriptions.subscription_key,
        system_events.occurred_at
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    where
        system_events.event_name in (
            'subscription.product_updated', 'subscription.seats_updated', 'subscription.units_updated',
            'subscription.updated', 'subscription.billing_period_updated'
        )
        {# An update that only sets a discount or a trial makes no proration. #}
        and (
            system_events.event_name != 'subscription.updated'
            or coalesce(system_events.product_id, system_events.proration_behavior) is not null
            or coalesce(system_events.seats, system_events.units) is not null
            or system_events.billing_period_end_at is not null
        )

),

placed_orders as (

    select
        orders.order_key,
        orders.subscription_key,
        orders.organization_id,
        orders.subscription_id,
        orders.billing_reason,
        case
            when orders.billing_reason in ('subscription_cycle', 'subscription_meter_cycle') then orders.billing_reason
            else 'any'
        end as cycle_reason,
        orders.is_paid,
        orders.matched_at,
        orders.subtotal_amount,
        subscriptions.started_at,
        metering_periods.subscription_key is not null as has_meter_cycle,
        row_number() over (
            partition by orders.subscription_key, orders.is_paid order by orders.matched_at, orders.order_id
        ) as order_number
    from orders
    left join subscriptions on orders.subscription_key = subscriptions.subscription_key
    left join metering_periods on orders.subscription_key = metering_periods.subscription_key

),

{# Periods by the reason that asks for their type; where both types end at once, any other order takes the subscription's. #}
ended_periods as (

    select
        subscription_key,
        case period_type when 'subscription' then 'subscription_cycle' else 'subscription_meter_cycle' end as cycle_reason,
        period_end_at,
        billing_period_key,
        period_type
    from periods
    union all
    select
        subscription_key,
        'any' as cycle_reason,
        period_end_at,
        arg_max(billing_period_key, period_type) as billing_period_key,
        max(period_type) as period_type
    from periods
    group by subscription_key, period_end_at

),

{# The period that ended last at or before the order was created. #}
last_ended_periods as (

    select
        placed_orders.order_key,
        ended_periods.billing_period_key,
        ended_periods.period_type,
        ended_periods.period_end_at
    from placed_orders
    asof inner join ended_periods
        on
            placed_orders.subscription_key = ended_periods.subscription_key
            and placed_orders.cycle_reason = ended_periods.cycle_reason
            and placed_orders.matched_at >= ended_periods.period_end_at

),

roles as (

    select
        placed_orders.*,
        case
            when placed_orders.billing_reason = 'purchase' then 'one_time'
            when placed_orders.subscription_id is null then 'one_time'
            when placed_orders.started_at is null then 'unknown_subscription'
            when placed_orders.billing_reason = 'subscription_create' then 'first'
            when placed_orders.billing_reason = 'subscription_update' then 'update'
            when placed_orders.billing_reason in ('subscription_cycle', 'subscription_meter_cycle') then 'cycle'
            when placed_orders.order_number = 1 and placed_orders.matched_at < placed_orders.started_at + interval '1 day' then 'first'
            else 'cycle'
        end as role,
        last_ended_periods.billing_period_key,
        last_ended_periods.period_type,
        last_ended_periods.period_end_at
    from placed_orders
    left join last_ended_periods on placed_orders.order_key = last_ended_periods.order_key

),

{#
    Where a renewal and a meter cycle fall on one instant and no reason tells them apart, the renewal comes first. Of two
    orders made at once it is the one over the static prices: where usage has a cycle of its own, it holds nothing else.
#}
numbered_roles as (

    select
        roles.* exclude (billing_period_key, period_type),
        case when roles.role = 'cycle' then roles.billing_period_key end as billing_period_key,
        case when roles.role = 'cycle' then roles.period_type end as period_type,
        row_number() over (
            partition by roles.role, roles.is_paid, roles.billing_period_key
            order by
                roles.matched_at,
                coalesce(roles.has_meter_cycle and roles.subtotal_amount = static_amounts.static_amount, false) desc,
                roles.order_key
        ) as number_in_period
    from roles
    left join static_amounts
        on
            roles.subscription_key = static_amounts.subscription_key
            and roles.period_end_at = static_amounts.period_start_at

),

meter_twins as (

    select
        numbered_roles.order_key,
        periods.billing_period_key,
        periods.period_type
    from numbered_roles
    inner join periods
        on
            numbered_roles.subscription_key = periods.subscription_key
            and numbered_roles.period_end_at = periods.period_end_at
    where
        numbered_roles.role = 'cycle'
        and numbered_roles.billing_reason is null
        and numbered_roles.has_meter_cycle
        and numbered_roles.period_type = 'subscription'
        and numbered_roles.number_in_period = 2
        and periods.period_type = 'meter'

),

{#
    With a meter cycle the last order of a subscription that ended holds the usage of the meter's last period, which ends
    with the subscription's: Polar may call it a renewal.
#}
final_meter_orders as (

    select
        numbered_roles.order_key,
        meter_periods.billing_period_key,
        meter_periods.period_type
    from numbered_roles
    inner join periods on numbered_roles.billing_period_key = periods.billing_period_key
    inner join periods as meter_periods
        on
            periods.subscription_key = meter_periods.subscription_key
            and periods.period_end_at = meter_periods.period_end_at
    inner join subscriptions on periods.subscription_key = subscriptions.subscription_key
    anti join numbered_roles as meter_orders
        on
            meter_periods.billing_period_key = meter_orders.billing_period_key
            and numbered_roles.is_paid = meter_orders.is_paid
    where
        numbered_roles.billing_reason = 'subscription_cycle'
        and numbered_roles.number_in_period = 1
        and periods.period_type = 'subscription'
        and periods.next_period_start_at is null
        and subscriptions.ended_at is not null
        and meter_periods.period_type = 'meter'

),

settlements as (

    select
        numbered_roles.order_key,
        numbered_roles.subscription_key,
        numbered_roles.is_paid,
        numbered_roles.matched_at,
        case
            when numbered_roles.role != 'cycle' then numbered_roles.role
            when meter_twins.order_key is not null then 'cycle'
            when numbered_roles.billing_period_key is not null and numbered_roles.number_in_period = 1 then 'cycle'
            when
                numbered_roles.billing_reason is null
                and exists (
                    select 1 from changes
                    where
                        changes.subscription_key = numbered_roles.subscription_key
                        and changes.occurred_at >= coalesce(numbered_roles.period_end_at, numbered_roles.started_at)
                        and changes.occurred_at <= numbered_roles.matched_at
                )
                then 'update'
            else 'unexpected'
        end as role,
        coalesce(
            meter_twins.billing_period_key,
            final_meter_orders.billing_period_key,
            case when numbered_roles.number_in_period = 1 then numbered_roles.billing_period_key end
        ) as billing_period_key,
        coalesce(meter_twins.period_type, final_meter_orders.period_type, numbered_roles.period_type) as period_type
    from numbered_roles
    left join meter_twins on numbered_roles.order_key = meter_twins.order_key
    left join final_meter_orders on numbered_roles.order_key = final_meter_orders.order_key

)

select * from settlements
