{#
    One row per stretch of a subscription in which every boundary is the start plus whole intervals. A seen boundary
    that the series already has changes nothing; any other starts a new stretch there. Pauses and the end cut it.
#}

with recursive

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

boundaries as (

    select * from {{ ref('int_subscription_boundaries_seen') }}
    where not coalesce(is_cut, false)

),

cuts as (

    select
        subscription_key,
        period_type,
        list(boundary_at order by boundary_at) as cuts
    from {{ ref('int_subscription_boundaries_seen') }}
    where is_cut
    group by subscription_key, period_type

),

pauses as (

    select * from {{ ref('int_subscription_pauses') }}
    where not coalesce(is_revocation, false)

),

period_types as (

    select
        subscription_key,
        'subscription' as period_type
    from subscriptions
    union all
    select
        subscription_key,
        'meter' as period_type
    from subscriptions
    where
        meter_interval is not null
        or subscription_key in (
            select boundaries.subscription_key from boundaries
            where boundaries.period_type = 'meter' and boundaries.interval_name is not null
        )

),

first_boundaries as (

    select
        subscription_key,
        period_type,
        min(boundary_at) as boundary_at,
        arg_min(interval_name, boundary_at) filter (where interval_name is not null) as interval_name,
        arg_min(interval_count, boundary_at) filter (where interval_name is not null) as interval_count
    from boundaries
    group by subscription_key, period_type

),

{# A plan's interval may have changed since: the first stretch has the interval first seen. #}
starts as (

    select
        period_types.subscription_key,
        period_types.period_type,
        coalesce(subscriptions.started_at, first_boundaries.boundary_at) as started_at,
        subscriptions.trial_ends_at,
        case period_types.period_type
            when 'meter' then coalesce(subscriptions.meter_interval, first_boundaries.interval_name, 'month')
            else coalesce(first_boundaries.interval_name, subscriptions.recurring_interval)
        end as interval_name,
        coalesce(
            case period_types.period_type
                when 'meter' then coalesce(subscriptions.meter_interval_count, first_boundaries.interval_count)
                else coalesce(first_boundaries.interval_count, subscriptions.recurring_interval_count)
            end,
            1
        ) as interval_count
    from period_types
    inner join subscriptions on period_types.subscription_key = subscriptions.subscription_key
    left join first_boundaries
        on
            period_types.subscription_key = first_boundaries.subscription_key
            and period_types.period_type = first_boundaries.period_type

),

{# A trial is one period of its own; the series starts when it ends. #}
anchors as (

    select
        *,
        case when trial_ends_at > started_at then trial_ends_at else started_at end as anchored_at
    from starts
    where started_at is not null

),

later_boundaries as (

    select
        boundaries.*,
        row_number() over (
            partition by boundaries.subscription_key, boundaries.period_type order by boundaries.boundary_at
        ) as boundary_number
    from boundaries
    inner join anchors
        on
            boundaries.subscription_key = anchors.subscription_key
            and boundaries.period_type = anchors.period_type
    where boundaries.boundary_at > anchors.anchored_at

),

series as (

    select
        subscription_key,
        period_type,
        cast(0 as bigint) as boundary_number,
        anchored_at as segment_start_at,
        false as is_reset,
        interval_name,
        interval_count
    from anchors
    union all
    select
        series.subscription_key,
        series.period_type,
        later_boundaries.boundary_number,
        case
            when
                later_boundaries.is_reset or series.interval_name is null
                or later_boundaries.boundary_at >= {{ add_intervals('series.segment_start_at', 'series.interval_name', 'series.interval_count', whole_intervals('series.segment_start_at', 'series.interval_name', 'series.interval_count', 'later_boundaries.boundary_at')) }}
                + case when later_boundaries.is_exact then interval '1 microsecond' else interval '1 day' end
                then later_boundaries.boundary_at
            when
                coalesce(later_boundaries.interval_name, series.interval_name) = series.interval_name
                and coalesce(later_boundaries.interval_count, series.interval_count) = series.interval_count
                then series.segment_start_at
            {# Another interval from here on. #}
            else {{ add_intervals('series.segment_start_at', 'series.interval_name', 'series.interval_count', whole_intervals('series.segment_start_at', 'series.interval_name', 'series.interval_count', 'later_boundaries.boundary_at')) }}
        end as segment_start_at,
        later_boundaries.is_reset,
        coalesce(later_boundaries.interval_name, series.interval_name) as interval_name,
        coalesce(later_boundaries.interval_count, series.interval_count) as interval_count
    from series
    inner join later_boundaries
        on
            series.subscription_key = later_boundaries.subscription_key
            and series.period_type = later_boundaries.period_type
            and series.boundary_number + 1 = later_boundaries.boundary_number

),

segment_starts as (

    select
        subscription_key,
        period_type,
        segment_start_at,
        false as is_trial,
        bool_or(is_reset) as is_reset,
        any_value(interval_name) as interval_name,
        any_value(interval_count) as interval_count
    from series
    group by subscription_key, period_type, segment_start_at
    union all
    select
        subscription_key,
        period_type,
        started_at as segment_start_at,
        true as is_trial,
        false as is_reset,
        interval_name,
        interval_count
    from anchors
    where anchored_at > started_at

),

next_starts as (

    select
        *,
        lead(segment_start_at) over start_order as next_start_at,
        lead(is_reset) over start_order as is_reset_next
    from segment_starts
    window start_order as (partition by subscription_key, period_type order by segment_start_at)

),

passed_boundaries as (

    select
        next_starts.subscription_key,
        case
            when next_starts.is_trial or next_starts.interval_name is null then next_starts.segment_start_at
            else {{ add_intervals('next_starts.segment_start_at', 'next_starts.interval_name', 'next_starts.interval_count', whole_intervals('next_starts.segment_start_at', 'next_starts.interval_name', 'next_starts.interval_count', 'subscriptions.ended_at')) }}
        end as boundary_at
    from next_starts
    inner join subscriptions on next_starts.subscription_key = subscriptions.subscription_key
    where
        next_starts.period_type = 'subscription'
        and next_starts.segment_start_at <= subscriptions.ended_at
        and subscriptions.ended_at < coalesce(next_starts.next_start_at, timestamp 'infinity')

),

{#
    An end that was scheduled takes effect when the job runs: the schedule is the end. Where it is not told, it is the
    boundary that passed since the cancellation was asked for.
#}
ends as (

    select
        subscriptions.subscription_key,
        coalesce(
            subscriptions.ends_at,
            case when subscriptions.canceled_at < passed_boundaries.boundary_at then passed_boundaries.boundary_at end
        ) as scheduled_end_at,
        case
            when
                scheduled_end_at <= subscriptions.ended_at
                and subscriptions.ended_at < scheduled_end_at + interval '1 day'
                then scheduled_end_at
            else subscriptions.ended_at
        end as ended_at
    from subscriptions
    left join passed_boundaries on subscriptions.subscription_key = passed_boundaries.subscription_key

),

first_pauses as (

    select
        next_starts.subscription_key,
        next_starts.period_type,
        next_starts.segment_start_at,
        min(pauses.paused_at) as paused_at,
        arg_min_null(pauses.resumed_at, pauses.paused_at) as resumed_at
    from next_starts
    inner join pauses
        on
            next_starts.subscription_key = pauses.subscription_key
            and next_starts.segment_start_at <= pauses.paused_at
    group by next_starts.subscription_key, next_starts.period_type, next_starts.segment_start_at

),

{# least() skips nulls: what is not known does not cut. #}
cut_segments as (

    select
        next_starts.subscription_key,
        next_starts.period_type,
        next_starts.segment_start_at,
        next_starts.is_trial,
        next_starts.interval_name,
        next_starts.interval_count,
        next_starts.next_start_at,
        next_starts.is_reset_next,
        coalesce(
            least(next_starts.next_start_at, ends.ended_at, first_pauses.paused_at),
            timestamp 'infinity'
        ) as segment_end_at,
        ends.ended_at,
        first_pauses.paused_at,
        first_pauses.resumed_at
    from next_starts
    inner join ends on next_starts.subscription_key = ends.subscription_key
    left join first_pauses
        on
            next_starts.subscription_key = first_pauses.subscription_key
            and next_starts.period_type = first_pauses.period_type
            and next_starts.segment_start_at = first_pauses.segment_start_at

)

select
    cut_segments.subscription_key,
    cut_segments.period_type,
    segment_start_at,
    is_trial,
    interval_name,
    interval_count,
    segment_end_at,
    cuts.cuts,
    {# Nothing follows a pause in which the subscription ended. #}
    coalesce(
        segment_end_at = ended_at
        or (segment_end_at = paused_at and ended_at <= coalesce(resumed_at, timestamp 'infinity')),
        false
    ) as is_last,
    coalesce(segment_end_at = next_start_at and is_reset_next, false) as is_restarted,
    ended_at
from cut_segments
left join cuts
    on
        cut_segments.subscription_key = cuts.subscription_key
        and cut_segments.period_type = cuts.period_type
where segment_start_at < segment_end_at
