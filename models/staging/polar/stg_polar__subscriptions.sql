{{ config(materialized='table') }}

{# One row per version of a subscription, from the subscription itself or from an order that embeds it. #}
{% set subscription -%}
{
    "id": "VARCHAR", "created_at": "VARCHAR", "modified_at": "VARCHAR", "amount": "DECIMAL(38,12)", "currency": "VARCHAR",
    "recurring_interval": "VARCHAR", "recurring_interval_count": "DECIMAL(38,12)", "status": "VARCHAR",
    "current_period_start": "VARCHAR", "current_period_end": "VARCHAR",
    "current_meter_period_start": "VARCHAR", "current_meter_period_end": "VARCHAR",
    "trial_start": "VARCHAR", "trial_end": "VARCHAR", "cancel_at_period_end": "BOOLEAN", "canceled_at": "VARCHAR",
    "started_at": "VARCHAR", "ends_at": "VARCHAR", "ended_at": "VARCHAR", "past_due_at": "VARCHAR",
    "paused_at": "VARCHAR", "resumes_at": "VARCHAR", "customer_id": "VARCHAR", "product_id": "VARCHAR",
    "discount_id": "VARCHAR", "seats": "DECIMAL(38,12)", "units": "DECIMAL(38,12)", "customer_cancellation_reason": "VARCHAR"
}
{%- endset %}
{% set subscription = subscription | replace("\n", " ") %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

seen_subscriptions as (

    select
        resources.* exclude (payload, modified_at),
        from_json(payload, '{{ subscription }}') as subscription
    from resources
    where kind = 'subscriptions'
    union all
    select
        resources.* exclude (payload, modified_at),
        from_json(payload, '{"subscription": {{ subscription }}}').subscription as subscription
    from resources
    where kind = 'orders'

),

typed_subscriptions as (

    select
        organization_id,
        {{ polar_id('subscription.id') }} as subscription_id,
        {{ polar_id('subscription.customer_id') }} as customer_id,
        {{ polar_id('subscription.product_id') }} as product_id,
        {{ polar_id('subscription.discount_id') }} as discount_id,
        subscription.status as status,
        {{ whole_number('subscription.amount', least=0) }} as amount,
        lower(subscription.currency) as currency,
        subscription.recurring_interval as recurring_interval,
        subscription.customer_cancellation_reason as customer_cancellation_reason,
        coalesce({{ interval_count('subscription.recurring_interval_count') }}, 1) as recurring_interval_count,
        {{ whole_number('subscription.seats') }} as seats,
        {{ whole_number('subscription.units') }} as units,
        coalesce(subscription.cancel_at_period_end, false) as is_cancel_at_period_end,
        {{ utc('subscription.created_at') }} as created_at,
        {{ utc('subscription.modified_at') }} as modified_at,
        {{ utc('subscription.started_at') }} as started_at,
        {{ utc('subscription.trial_start') }} as trial_started_at,
        {{ utc('subscription.trial_end') }} as trial_ends_at,
        {{ utc('subscription.current_period_start') }} as current_period_start_at,
        {{ utc('subscription.current_period_end') }} as current_period_end_at,
        {{ utc('subscription.current_meter_period_start') }} as current_meter_period_start_at,
        {{ utc('subscription.current_meter_period_end') }} as current_meter_period_end_at,
        {{ utc('subscription.canceled_at') }} as canceled_at,
        {{ utc('subscription.ends_at') }} as ends_at,
        {{ utc('subscription.ended_at') }} as ended_at,
        {{ utc('subscription.paused_at') }} as paused_at,
        md5(cast(subscription as varchar)) as content_hash,
        webhook_at,
        load_id,
        file_number,
        record_number
    from seen_subscriptions
    where subscription.id is not null

)

select * from typed_subscriptions
