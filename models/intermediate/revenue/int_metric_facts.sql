{#
    One row per organization, settlement currency, bucket type and bucket in which something happened: money that was booked,
    orders, subscriptions that began, ended or were canceled.
#}
{% set settlement_currency = "'usd'" %}
{% set reasons = cancellation_reasons() %}
{% set sums = metric_sums() %}

with

bucket_types as (

    {{ bucket_types() }}

),

movements as (

    select
        *,
        {{ local_date('booked_at') }} as booked_date,
        {{ local_date('ordered_at') }} as ordered_date
    from {{ ref('int_settlement_movements') }}

),

subscriptions as (

    select
        *,
        {{ local_date('started_at') }} as started_date,
        {{ local_date('coalesce(ended_at, ends_at)') }} as ended_date,
        {{ local_date('canceled_at') }} as canceled_date
    from {{ ref('int_subscriptions_merged') }}

),

settling_currencies as (

    select distinct
        organization_id,
        subscription_currency,
        currency
    from {{ ref('int_metric_changes') }}

),

settled_subscriptions as (

    select
        subscriptions.*,
        coalesce(settling_currencies.currency, subscriptions.currency, {{ settlement_currency }}) as settling_currency
    from subscriptions
    left join settling_currencies
        on
            subscriptions.organization_id = settling_currencies.organization_id
            and subscriptions.currency = settling_currencies.subscription_currency

),

{# Refunds of an order stand in the order's own bucket here; disputes do not touch it. #}
orders as (

    select
        movements.organization_id,
        movements.order_id,
        max(movements.currency) filter (where movements.is_order_counted) as currency,
        max(movements.ordered_date) as ordered_date,
        any_value(subscriptions.subscription_key) as subscription_key,
        bool_or(movements.subscription_id is not null) as has_subscription,
        any_value(subscriptions.started_date) as started_date,
        sum(movements.order_revenue_amount) as revenue_amount,
        sum(case
            when movements.kind in ('dispute', 'dispute_reversal') then 0
            else movements.order_revenue_amount - movements.fee_amount - movements.refund_amount
        end) as net_revenue_amount
    from movements
    left join subscriptions
        on
            movements.organization_id = subscriptions.organization_id
            and movements.subscription_id = subscriptions.subscription_id
    where movements.order_id is not null and movements.kind != 'as_polar'
    group by movements.organization_id, movements.order_id
    having bool_or(movements.is_order_counted)

),

bucketed_orders as (

    select
        orders.*,
        bucket_types.bucket_type,
        {{ bucket_start('bucket_types.bucket_type', 'orders.ordered_date') }} as bucket_start_date,
        {{ bucket_start('bucket_types.bucket_type', 'orders.started_date') }} as started_bucket_date
    from orders
    cross join bucket_types

),

facts as (

    select
        movements.organization_id,
        movements.currency,
        bucket_types.bucket_type,
        {{ bucket_start('bucket_types.bucket_type', 'movements.booked_date') }} as bucket_start_date,
        sum(movements.revenue_amount) as revenue_amount,
        sum(movements.fee_amount) as fee_amount,
        sum(movements.refund_amount) as refund_amount,
        sum(movements.refund_reversal_amount) as refund_reversal_amount,
        sum(movements.dispute_amount) as dispute_amount,
        sum(movements.dispute_reversal_amount) as dispute_reversal_amount,
        sum(movements.revenue_amount_as_polar) as revenue_amount_as_polar,
        sum(movements.net_revenue_amount_as_polar) as net_revenue_amount_as_polar
    from movements
    cross join bucket_types
    group by all
    union all by name
    select
        organization_id,
        currency,
        bucket_type,
        bucket_start_date,
        count(*) as order_count,
        count(*) filter (where not has_subscription) as one_time_order_count,
        sum(revenue_amount) filter (where not has_subscription) as one_time_revenue_amount,
        sum(net_revenue_amount) filter (where not has_subscription) as one_time_net_revenue_amount,
        sum(revenue_amount) filter (where started_bucket_date = bucket_start_date) as new_subscription_revenue_amount,
        sum(net_revenue_amount) filter (where started_bucket_date = bucket_start_date) as new_subscription_net_revenue_amount,
        count(distinct subscription_key) filter (where started_bucket_date is distinct from bucket_start_date) as renewed_subscription_count,
        sum(revenue_amount) filter (where has_subscription and started_bucket_date is distinct from bucket_start_date) as renewed_subscription_revenue_amount,
        sum(net_revenue_amount) filter (where has_subscription and started_bucket_date is distinct from bucket_start_date) as renewed_subscription_net_revenue_amount
    from bucketed_orders
    group by all
    union all by name
    select
        organization_id,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'started_date') }} as bucket_start_date,
        count(*) as new_subscription_count
    from settled_subscriptions
    cross join bucket_types
    where
        started_date is not null
        and {{ bucket_start('bucket_type', 'ended_date') }} is distinct from {{ bucket_start('bucket_type', 'started_date') }}
    group by all
    union all by name
    select
        organization_id,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'ended_date') }} as bucket_start_date,
        count(*) as churned_subscription_count
    from settled_subscriptions
    cross join bucket_types
    where ended_date is not null and started_date is not null
    group by all
    union all by name
    select
        organization_id,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'canceled_date') }} as bucket_start_date,
        count(*) as canceled_subscription_count,
        {%- for reason in reasons %}
        count(*) filter (where cancellation_reason = '{{ reason }}') as canceled_{{ reason }}_count,
        {%- endfor %}
        count(*) filter (where coalesce(cancellation_reason, 'other') not in ('{{ reasons | join("', '") }}')) as canceled_other_count
    from settled_subscriptions
    cross join bucket_types
    where canceled_date is not null
    group by all

)

select
    organization_id,
    currency,
    bucket_type,
    bucket_start_date,
    {%- for name in sums %}
    cast(coalesce(sum({{ name }}), 0) as bigint) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
from facts
group by organization_id, currency, bucket_type, bucket_start_date
