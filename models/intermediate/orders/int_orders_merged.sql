{#
    One row per order, from everything that speaks of it: the API object or a webhook (the latest version), order.paid,
    the balance events, refunds and voids. The object knows items and reasons, the events know when.
#}

with

versions as (

    select * from {{ ref('stg_polar__orders') }}

),

system_events as (

    select * from {{ ref('stg_polar__system_events') }}
    where order_id is not null

),

refunds as (

    select * from {{ ref('stg_polar__refunds') }}

),

currencies as (

    select * from {{ ref('currencies') }}

),

latest_versions as (

    select * from versions
    {{ latest_version('organization_id, order_id') }}

),

{# An order may be paid once; a later delivery of the event is the same payment. #}
paid_events as (

    select * from system_events
    where event_name = 'order.paid'
    qualify row_number() over (partition by organization_id, order_id order by occurred_at, event_id) = 1

),

paid_webhooks as (

    select
        organization_id,
        order_id,
        min(webhook_at) as paid_at
    from versions
    where webhook_type = 'order.paid'
    group by organization_id, order_id

),

{# Both are stamped with the creation of the order, not with the payment. #}
balance_events as (

    select
        organization_id,
        order_id,
        min(occurred_at) filter (where event_name in ('balance.order', 'balance.credit_order')) as created_at,
        bool_or(event_name = 'balance.credit_order') as is_credit_order,
        bool_or(event_name = 'balance.order') as is_charged,
        sum(fee) filter (where event_name = 'balance.order') as fee,
        {# A settlement is in US cents; what the order is in stands beside it. #}
        max(case event_name when 'balance.order' then presentment_currency else currency end) as currency
    from system_events
    where event_name in ('balance.order', 'balance.credit_order')
    group by organization_id, order_id

),

{# refunded_amount is cumulative: the last one counts, not the sum. #}
refund_events as (

    select
        organization_id,
        order_id,
        arg_max(refunded_amount, (occurred_at, refunded_amount)) as refunded_amount,
        max(occurred_at) as refunded_at
    from system_events
    where event_name = 'order.refunded'
    group by organization_id, order_id

),

{# A refund that failed later writes no order.refunded: its reversal is the only trace. #}
refund_reversals as (

    select
        reversals.organization_id,
        reversals.order_id,
        sum(coalesce(reversals.presentment_amount, reversals.amount)) as reversed_amount,
        max(reversals.occurred_at) as reversed_at
    from system_events as reversals
    inner join refund_events
        on
            reversals.organization_id = refund_events.organization_id
            and reversals.order_id = refund_events.order_id
            and reversals.occurred_at > refund_events.refunded_at
    where reversals.event_name = 'balance.refund_reversal'
    group by reversals.organization_id, reversals.order_id

),

refund_objects as (

    select
        organization_id,
        order_id,
        coalesce(sum(amount) filter (where status = 'succeeded'), 0) as refunded_amount,
        max(coalesce(modified_at, created_at)) as refunded_at,
        max(coalesce(modified_at, created_at)) filter (where status in ('failed', 'canceled')) as failed_at
    from refunds
    group by organization_id, order_id

),

void_events as (

    select
        organization_id,
        order_id,
        arg_max(event_name, (occurred_at, event_name)) = 'order.voided' as is_voided,
        arg_max(amount, (occurred_at, amount)) as amount,
        arg_max(currency, (occurred_at, currency)) as currency,
        max(occurred_at) as voided_at
    from system_events
    where event_name in ('order.voided', 'order.unvoided')
    group by organization_id, order_id

),

order_ids as (

    select
        organization_id,
        order_id
    from versions
    union
    select
        organization_id,
        order_id
    from paid_events
    union
    select
        organization_id,
        order_id
    from void_events

),

merged_orders as (

    select
        {{ surrogate_key(["'order'", 'order_ids.organization_id', 'order_ids.order_id']) }} as order_key,
        order_ids.order_id,
        order_ids.organization_id,
        coalesce(latest_versions.customer_id, paid_events.customer_id) as customer_id,
        coalesce(latest_versions.subscription_id, paid_events.subscription_id) as subscription_id,
        coalesce(latest_versions.product_id, paid_events.product_id) as product_id,
        coalesce(
            paid_events.billing_type,
            case latest_versions.is_recurring when true then 'recurring' when false then 'one_time' end,
            case
                when coalesce(latest_versions.subscription_id, paid_events.subscription_id) is not null then 'recurring'
                when latest_versions.billing_reason = 'purchase' then 'one_time'
            end
        ) as billing_type,
        latest_versions.billing_reason,
        latest_versions.status,
        latest_versions.order_id is not null as has_object,
        latest_versions.items,
        coalesce(latest_versions.discount_id, paid_events.discount_id) as discount_id,
        {# A payment is final: an older read of the object, landed later, takes none back. #}
        paid_events.order_id is not null
        or paid_webhooks.order_id is not null
        or coalesce(latest_versions.is_paid, false) as is_paid,
        {# Orders of zero at a trial's start have no balance event: they are paid when they are made. #}
        coalesce(latest_versions.created_at, balance_events.created_at, paid_events.occurred_at) as created_at,
        coalesce(paid_events.occurred_at, paid_webhooks.paid_at) as paid_at,
        coalesce(latest_versions.currency, paid_events.currency, void_events.currency, balance_events.currency) as currency,
        latest_versions.subtotal_amount as object_subtotal_amount,
        coalesce(latest_versions.discount_amount, paid_events.discount_amount, case when paid_events.order_id is not null then 0 end) as discount_amount,
        coalesce(
            latest_versions.net_amount,
            paid_events.net_amount,
            paid_events.amount - coalesce(paid_events.tax_amount, 0)
        ) as net_amount,
        coalesce(
            latest_versions.tax_amount,
            paid_events.tax_amount,
            paid_events.amount - paid_events.net_amount,
            case when paid_events.order_id is not null then 0 end
        ) as tax_amount,
        coalesce(latest_versions.total_amount, paid_events.amount, void_events.amount) as total_amount,
        coalesce(latest_versions.applied_balance_amount, paid_events.applied_balance_amount, 0) as applied_balance_amount,
        {# order.paid nearly always says 0: the fee is booked by a later job. #}
        coalesce(nullif(latest_versions.platform_fee_amount, 0), balance_events.fee, latest_versions.platform_fee_amount, paid_events.platform_fee) as platform_fee_amount,
        latest_versions.platform_fee_currency,
        paid_events.order_id is not null or balance_events.order_id is not null as has_events,
        coalesce(balance_events.is_credit_order, false) as is_credit_order,
        coalesce(balance_events.is_charged, false) as is_charged,
        case
            when
                latest_versions.refunded_amount is not null
                and coalesce(
                    latest_versions.modified_at
                    >= greatest(refund_events.refunded_at, refund_reversals.reversed_at, refund_objects.refunded_at),
                    refund_events.refunded_at is null and refund_objects.refunded_at is null
                )
                then latest_versions.refunded_amount
            when refund_objects.refunded_at is not null
                and not coalesce(refund_objects.refunded_at < greatest(refund_events.refunded_at, refund_reversals.reversed_at), false)
                {# Not all of an order's refunds may have landed; but one that failed since takes its part back. #}
                then greatest(
                    refund_objects.refunded_amount,
                    case
                        when not coalesce(refund_objects.failed_at > latest_versions.modified_at, false)
                            then latest_versions.refunded_amount
                    end,
                    case
                        when not coalesce(refund_objects.failed_at > refund_events.refunded_at, false)
                            then refund_events.refunded_amount - coalesce(refund_reversals.reversed_amount, 0)
                    end
                )
            when refund_events.refunded_at is not null
                then refund_events.refunded_amount - coalesce(refund_reversals.reversed_amount, 0)
            else coalesce(refund_objects.refunded_amount, latest_versions.refunded_amount, 0)
        end as refunded_amount,
        case
            when
                latest_versions.status is not null
                and not coalesce(void_events.voided_at > coalesce(latest_versions.modified_at, latest_versions.created_at), false)
                then latest_versions.status = 'void'
            else coalesce(void_events.is_voided, false)
        end as is_voided
    from order_ids
    left join latest_versions
        on
            order_ids.organization_id = latest_versions.organization_id
            and order_ids.order_id = latest_versions.order_id
    left join paid_events
        on
            order_ids.organization_id = paid_events.organization_id
            and order_ids.order_id = paid_events.order_id
    left join paid_webhooks
        on
            order_ids.organization_id = paid_webhooks.organization_id
            and order_ids.order_id = paid_webhooks.order_id
    left join balance_events
        on
            order_ids.organization_id = balance_events.organization_id
            and order_ids.order_id = balance_events.order_id
    left join refund_events
        on
            order_ids.organization_id = refund_events.organization_id
            and order_ids.order_id = refund_events.order_id
    left join refund_reversals
        on
            order_ids.organization_id = refund_reversals.organization_id
            and order_ids.order_id = refund_reversals.order_id
    left join refund_objects
        on
            order_ids.organization_id = refund_objects.organization_id
            and order_ids.order_id = refund_objects.order_id
    left join void_events
        on
            order_ids.organization_id = void_events.organization_id
            and order_ids.order_id = void_events.order_id

),

orders as (

    select
        {# Older events lack the currency: an order is in that of its subscription. #}
        merged_orders.* replace (coalesce(merged_orders.currency, subscriptions.currency) as currency),
        customers.customer_key,
        subscriptions.subscription_key,
        {# Without the object the subtotal is rebuilt; with inclusive tax it still holds the tax. #}
        coalesce(
            merged_orders.object_subtotal_amount,
            merged_orders.net_amount + coalesce(merged_orders.discount_amount, 0)
            {%- if var('tax_behavior') == 'inclusive' %} + coalesce(merged_orders.tax_amount, 0){% endif %}
        ) as subtotal_amount,
        case
            when not merged_orders.is_paid then 0
            when merged_orders.is_credit_order and not merged_orders.is_charged then 0
            when
                not merged_orders.is_charged
                and merged_orders.total_amount + merged_orders.applied_balance_amount < coalesce(currencies.minimum_amount, 0)
                then 0
            else greatest(0, merged_orders.total_amount + merged_orders.applied_balance_amount)
        end as paid_amount
    from merged_orders
    left join {{ ref('int_customers_merged') }} as customers
        on
            merged_orders.organization_id = customers.organization_id
            and merged_orders.customer_id = customers.customer_id
    left join {{ ref('int_subscriptions_merged') }} as subscriptions
        on
            merged_orders.organization_id = subscriptions.organization_id
            and merged_orders.subscription_id = subscriptions.subscription_id
    left join currencies on coalesce(merged_orders.currency, subscriptions.currency) = currencies.currency

)

select
    *,
    created_at as matched_at
from orders
