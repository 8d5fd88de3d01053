{#
    One row per subscription, bucket type and stretch of time with one amount: from which bucket to before which one it is
    recurring revenue, and from which to before which it is still a trial. A change counts from the bucket it lies in on.

    Polar computes from the subscription's row as it is now, and so restates the past with every change of price; that is
    the row with is_restated. The others hold what held: each amount from when an event or an object first told of it.
#}

with

bucket_types as (

    {{ bucket_types() }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}
    where started_at is not null

),

versions as (

    select * from {{ ref('stg_polar__subscriptions') }}
    where amount is not null

),

lifecycle_events as (

    select * from {{ ref('stg_polar__system_events') }}
    where event_name like 'subscription.%' and subscription_id is not null and amount is not null

),

sightings as (

    select
        organization_id,
        subscription_id,
        amount,
        recurring_interval,
        recurring_interval_count,
        occurred_at as seen_at
    from lifecycle_events
    union all
    select
        organization_id,
        subscription_id,
        amount,
        recurring_interval,
        recurring_interval_count,
        coalesce(modified_at, created_at) as seen_at
    from versions
    where coalesce(modified_at, created_at) is not null

),

{# Where two speak at the same instant the larger amount counts, so that no order of landing matters. #}
monthly_sightings as (

    select
        subscriptions.subscription_key,
        {{ monthly_amount(
            'sightings.amount',
            'coalesce(sightings.recurring_interval, subscriptions.recurring_interval)',
            'coalesce(sightings.recurring_interval_count, subscriptions.recurring_interval_count)'
        ) }} as monthly_amount,
        sightings.seen_at
    from sightings
    inner join subscriptions
        on
            sightings.organization_id = subscriptions.organization_id
            and sightings.subscription_id = subscriptions.subscription_id
    qualify row_number() over (
        partition by subscriptions.subscription_key, sightings.seen_at order by monthly_amount desc
    ) = 1

),

changes as (

    select * from monthly_sightings
    qualify
        lag(monthly_amount) over (partition by subscription_key order by seen_at) is distinct from monthly_amount
        or row_number() over (partition by subscription_key order by seen_at) = 1

),

{# What was before the first word is taken to be as the first word says. #}
stretches as (

    select
        subscription_key,
        monthly_amount,
        false as is_restated,
        case when row_number() over stretch > 1 then {{ local_date('seen_at') }} end as from_date,
        {{ local_date('lead(seen_at) over stretch') }} as to_date
    from changes
    window stretch as (partition by subscription_key order by seen_at)
    union all
    select
        subscription_key,
        {{ monthly_amount('amount', 'recurring_interval', 'recurring_interval_count') }} as monthly_amount,
        true as is_restated,
        null as from_date,
        null as to_date
    from subscriptions
    where amount is not null

),

bucketed_stretches as (

    select
        subscriptions.subscription_key,
        subscriptions.organization_id,
        subscriptions.customer_key,
        subscriptions.currency,
        coalesce(subscriptions.ended_at, subscriptions.ends_at) is null as is_committed,
        stretches.is_restated,
        stretches.monthly_amount,
        bucket_types.bucket_type,
        max({{ local_date('greatest(organizations.last_record_at, subscriptions.started_at, subscriptions.canceled_at, subscriptions.ended_at)') }}) over (
            partition by subscriptions.organization_id
        ) as known_until_date,
        {{ bucket_start('bucket_types.bucket_type', local_date('subscriptions.started_at')) }} as started_date,
        {{ bucket_start('bucket_types.bucket_type', local_date('subscriptions.trial_ends_at')) }} as trial_ended_date,
        {{ bucket_start('bucket_types.bucket_type', local_date('coalesce(subscriptions.ended_at, subscriptions.ends_at)')) }} as ended_date,
        {{ bucket_start('bucket_types.bucket_type', 'stretches.from_date') }} as from_date,
        {{ bucket_start('bucket_types.bucket_type', 'stretches.to_date') }} as to_date
    from subscriptions
    inner join stretches on subscriptions.subscription_key = stretches.subscription_key
    left join {{ ref('int_organizations_covered') }} as organizations on subscriptions.organization_id = organizations.organization_id
    cross join bucket_types

)

{# greatest() and least() pass over nulls: no trial, no end, no further change. #}
select
    subscription_key,
    organization_id,
    customer_key,
    currency,
    bucket_type,
    is_restated,
    is_committed,
    known_until_date,
    monthly_amount,
    greatest(started_date, trial_ended_date, from_date) as recurring_from_date,
    least(ended_date, to_date) as recurring_to_date,
    case when trial_ended_date is not null then greatest(started_date, from_date) end as trial_from_date,
    case when trial_ended_date is not null then least(trial_ended_date, ended_date, to_date) end as trial_to_date
from bucketed_stretches
