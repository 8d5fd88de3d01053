{#
    One row per subscription, period type and period, up to the period that contains as_of.
#}

with

segments as (

    select * from {{ ref('int_subscription_segments') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

moved_ends as (

    select distinct
        subscriptions.subscription_key,
        system_events.old_period_end_at
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    where
        system_events.event_name = 'subscription.billing_period_updated'
        and system_events.old_period_end_at > system_events.occurred_at
        and system_events.old_period_end_at != system_events.new_period_end_at

),

builds as (

    select * from {{ ref('stg_polar__builds') }}

),

numbered_starts as (

    select
        segments.subscription_key,
        segments.period_type,
        segments.segment_start_at,
        segments.segment_end_at,
        segments.is_trial,
        segments.interval_name,
        segments.interval_count,
        segments.is_last,
        unnest(generate_series(
            0,
            case
                when segments.is_trial or segments.interval_name is null then 0
                else greatest(0, {{ whole_intervals('segments.segment_start_at', 'segments.interval_name', 'segments.interval_count', 'least(segments.segment_end_at, builds.as_of)') }})
            end
        )) as period_number
    from segments
    cross join builds
    where segments.segment_start_at <= builds.as_of

),

computed_periods as (

    select
        subscription_key,
        period_type,
        is_trial,
        is_last and not is_trial
            and segment_end_at < {{ add_intervals('segment_start_at', 'interval_name', 'interval_count', 'period_number + 1') }} as is_cut_short,
        {{ add_intervals('segment_start_at', 'interval_name', 'interval_count', 'period_number') }} as period_start_at,
        least(
            case when is_trial or interval_name is null then segment_end_at
                else {{ add_intervals('segment_start_at', 'interval_name', 'interval_count', 'period_number + 1') }} end,
            segment_end_at
        ) as period_end_at
    from numbered_starts

),

{# A boundary that was moved away is none: the period before it goes on to the next one. #}
kept_periods as (

    select
        computed_periods.subscription_key,
        computed_periods.period_type,
        computed_periods.is_trial,
        computed_periods.is_cut_short,
        computed_periods.period_start_at,
        case
            when moved_ends.old_period_end_at is not null
                then coalesce(
                    lead(computed_periods.period_end_at) over (
                        partition by computed_periods.subscription_key, computed_periods.period_type
                        order by computed_periods.period_start_at
                    ),
                    computed_periods.period_end_at
                )
            else computed_periods.period_end_at
        end as period_end_at,
        lag(moved_ends.old_period_end_at) over (
            partition by computed_periods.subscription_key, computed_periods.period_type
            order by computed_periods.period_start_at
        ) is not distinct from computed_periods.period_start_at as starts_at_moved_end
    from computed_periods
    left join moved_ends
        on
            computed_periods.subscription_key = moved_ends.subscription_key
            and computed_periods.period_end_at = moved_ends.old_period_end_at
            and computed_periods.period_type = 'subscription'
    where computed_periods.period_start_at < computed_periods.period_end_at

),

periods as (

    select
        {{ surrogate_key(["'billing_period'", 'kept_periods.subscription_key', 'kept_periods.period_type', 'kept_periods.period_start_at']) }} as billing_period_key,
        kept_periods.subscription_key,
        subscriptions.organization_id,
        kept_periods.period_type,
        kept_periods.period_start_at,
        kept_periods.period_end_at,
        kept_periods.is_trial,
        {# The subscription was revoked before the period ran out. #}
        kept_periods.is_cut_short,
        kept_periods.period_end_at <= builds.as_of as is_closed,
        {# Where nothing follows, the subscription ended or is paused here: an order at this end carries no new period. #}
        lead(kept_periods.period_start_at) over (
            partition by kept_periods.subscription_key, kept_periods.period_type order by kept_periods.period_start_at
        ) as next_period_start_at
    from kept_periods
    inner join subscriptions on kept_periods.subscription_key = subscriptions.subscription_key
    cross join builds
    where not kept_periods.starts_at_moved_end and kept_periods.period_start_at <= builds.as_of

)

select * from periods
