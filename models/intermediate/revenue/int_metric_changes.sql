{#
    One row per organization, subscription currency, bucket type and bucket in which something that is counted at the end of
    buckets changes: subscriptions, recurring revenue, customers, seats. Each begins in one bucket (plus) and ends in a later
    one (minus); a running sum over buckets is what is there. What ends in the bucket it begins in never was.

    Customers are counted where their money settles, in rows whose subscription currency is the settlement's.
#}
{% set settlement_currency = "'usd'" %}
{% set levels = metric_levels() %}

with

bucket_types as (

    {{ bucket_types() }}

),

subscriptions as (

    select
        *,
        {{ local_date('started_at') }} as started_date,
        {{ local_date('coalesce(ended_at, ends_at)') }} as ended_date
    from {{ ref('int_subscriptions_merged') }}
    where started_at is not null

),

{# A subscription counts where its money settles: where a charge in its currency tells what that becomes. #}
charge_currencies as (

    select
        organization_id,
        order_currency,
        max(currency) as currency
    from {{ ref('int_settlement_movements') }}
    where kind = 'order' and rate_basis in ('event', 'amounts') and order_currency != currency and exchange_rate > 0
    group by organization_id, order_currency

),

settled_subscriptions as (

    select
        subscriptions.*,
        coalesce(subscriptions.currency, {{ settlement_currency }}) as subscription_currency,
        coalesce(charge_currencies.currency, subscriptions.currency, {{ settlement_currency }}) as settling_currency
    from subscriptions
    left join charge_currencies
        on
            subscriptions.organization_id = charge_currencies.organization_id
            and subscriptions.currency = charge_currencies.order_currency

),

recurring_revenue as (

    select
        recurring_revenue.*,
        coalesce(charge_currencies.currency, recurring_revenue.currency) as settling_currency
    from {{ ref('int_recurring_revenue') }} as recurring_revenue
    left join charge_currencies
        on
            recurring_revenue.organization_id = charge_currencies.organization_id
            and recurring_revenue.currency = charge_currencies.order_currency
    where recurring_revenue.currency is not null

),

{# A seat is there from its first word to the one that revokes it, also unclaimed. #}
seats as (

    select
        subscriptions.organization_id,
        subscriptions.customer_key,
        subscriptions.subscription_currency,
        subscriptions.settling_currency,
        {{ local_date('min(coalesce(words.created_at, words.webhook_at))') }} as created_date,
        {{ local_date('max(words.claimed_at)') }} as claimed_date,
        case
            when arg_max(words.status, (words.webhook_at, words.status)) = 'revoked'
                then {{ local_date('max(coalesce(words.revoked_at, words.webhook_at))') }}
        end as revoked_date
    from {{ ref('stg_polar__seats') }} as words
    inner join settled_subscriptions as subscriptions
        on
            words.organization_id = subscriptions.organization_id
            and words.subscription_id = subscriptions.subscription_id
    group by
        subscriptions.organization_id, subscriptions.customer_key, subscriptions.subscription_currency, subscriptions.settling_currency,
        words.seat_id

),

{# Stretches of time in which a customer has any active subscription, or any seat: touching and overlapping ones are one. #}
customers_active as (

    select
        'subscription' as kind,
        organization_id,
        customer_key,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'started_date') }} as from_date,
        coalesce({{ bucket_start('bucket_type', 'ended_date') }}, date '9999-12-31') as to_date
    from settled_subscriptions
    cross join bucket_types
    where from_date < to_date
    union all
    select
        'seat' as kind,
        organization_id,
        customer_key,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'created_date') }} as from_date,
        coalesce({{ bucket_start('bucket_type', 'revoked_date') }}, date '9999-12-31') as to_date
    from seats
    cross join bucket_types
    where from_date < to_date

),

customers_active_begun as (

    select
        *,
        coalesce(from_date > max(to_date) over (
            partition by kind, organization_id, customer_key, currency, bucket_type
            order by from_date, to_date rows between unbounded preceding and 1 preceding
        ), true) as begins
    from customers_active

),

customers_active_numbered as (

    select
        *,
        sum(case when begins then 1 else 0 end) over (
            partition by kind, organization_id, customer_key, currency, bucket_type order by from_date, to_date
        ) as stretch_number
    from customers_active_begun

),

customer_stretches as (

    select
        kind,
        organization_id,
        customer_key,
        currency,
        bucket_type,
        stretch_number,
        min(from_date) as from_date,
        nullif(max(to_date), date '9999-12-31') as to_date
    from customers_active_numbered
    group by kind, organization_id, customer_key, currency, bucket_type, stretch_number

),

ranges as (

    {# Not active in the bucket of its end: a subscription that ends in the bucket it starts in never is. #}
    select
        organization_id,
        subscription_currency,
        settling_currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'started_date') }} as from_date,
        {{ bucket_start('bucket_type', 'ended_date') }} as to_date,
        1 as active_subscription_count,
        case when ended_date is null then 1 else 0 end as committed_subscription_count
    from settled_subscriptions
    cross join bucket_types
    union all by name
    select
        organization_id,
        subscription_currency,
        settling_currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'started_date') }} as from_date,
        least({{ bucket_start('bucket_type', 'ended_date') }}, {{ bucket_start('bucket_type', local_date('trial_ends_at')) }}) as to_date,
        1 as trial_subscription_count
    from settled_subscriptions
    cross join bucket_types
    where trial_ends_at is not null
    union all by name
    select
        organization_id,
        currency as subscription_currency,
        settling_currency,
        bucket_type,
        recurring_from_date as from_date,
        recurring_to_date as to_date,
        case when not is_restated then monthly_amount end as monthly_recurring_revenue_amount,
        case when not is_restated and is_committed then monthly_amount end as committed_monthly_recurring_revenue_amount,
        case when is_restated then monthly_amount end as restated_recurring_revenue_amount
    from recurring_revenue
    union all by name
    select
        organization_id,
        currency as subscription_currency,
        settling_currency,
        bucket_type,
        trial_from_date as from_date,
        trial_to_date as to_date,
        monthly_amount as trial_monthly_recurring_revenue_amount,
        case when is_committed then monthly_amount end as committed_trial_monthly_recurring_revenue_amount
    from recurring_revenue
    where not is_restated and trial_from_date is not null
    union all by name
    select
        organization_id,
        subscription_currency,
        settling_currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'created_date') }} as from_date,
        {{ bucket_start('bucket_type', 'revoked_date') }} as to_date,
        1 as seat_count
    from seats
    cross join bucket_types
    union all by name
    select
        organization_id,
        subscription_currency,
        settling_currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'claimed_date') }} as from_date,
        {{ bucket_start('bucket_type', 'revoked_date') }} as to_date,
        1 as claimed_seat_count
    from seats
    cross join bucket_types
    where claimed_date is not null
    union all by name
    select
        organization_id,
        currency as subscription_currency,
        currency as settling_currency,
        bucket_type,
        from_date,
        to_date,
        case when kind = 'subscription' then 1 end as active_customer_count,
        case when kind = 'seat' then 1 end as seat_customer_count
    from customer_stretches

)

select
    organization_id,
    subscription_currency,
    settling_currency as currency,
    bucket_type,
    bucket_start_date,
    {%- for name in levels %}
    cast(coalesce(sum(direction * {{ name }}), 0) as bigint) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor %}
from (
    select *, from_date as bucket_start_date, 1 as direction from ranges
    where from_date < coalesce(to_date, date '9999-12-31')
    union all
    select *, to_date as bucket_start_date, -1 as direction from ranges
    where from_date < to_date
) as both_ends
group by organization_id, subscription_currency, settling_currency, bucket_type, bucket_start_date
