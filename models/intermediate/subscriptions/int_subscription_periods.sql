{#
    One row per subscription, period type and period, up to the one that contains as_of, and on to the last record where
    as_of lies before it: as_of classifies, it hides no later usage or order.
#}

with

segments as (

    select * from {{ ref('int_subscription_segments') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

moves as (

    select distinct
        subscriptions.subscription_key,
        system_events.old_period_end_at,
        system_events.new_period_end_at,
        system_events.occurred_at
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

chained_moves as (

    select
        *,
        case when lag(new_period_end_at) over move_order = old_period_end_at then 0 else 1 end as is_new_chain
    from moves
    window move_order as (partition by subscription_key order by occurred_at, old_period_end_at)

),

numbered_moves as (

    select
        *,
        sum(is_new_chain) over (
            partition by subscription_key order by occurred_at, old_period_end_at
        ) as chain_number
    from chained_moves

),

{# An end may be moved again: what counts is where it came to rest. #}
moved_ends as (

    select
        subscription_key,
        old_period_end_at,
        last_value(new_period_end_at) over (
            partition by subscription_key, chain_number order by occurred_at, old_period_end_at
            rows between unbounded preceding and unbounded following
        ) as moved_to_at
    from numbered_moves

),

{# While a subscription is past due the cycle of its meters stands still: what is used is settled when it recovers. #}
past_dues as (

    select
        subscriptions.subscription_key,
        system_events.event_name,
        case system_events.event_name
            when 'subscription.past_due' then coalesce(system_events.past_due_at, system_events.occurred_at)
            else system_events.occurred_at
        end as instant
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    where system_events.event_name in ('subscription.past_due', 'subscription.reactivated')

),

standstills as (

    select
        subscription_key,
        instant as past_due_at,
        lead(instant) over (partition by subscription_key order by instant, event_name) as recovered_at
    from past_dues
    qualify event_name = 'subscription.past_due'

),

builds as (

    select * from {{ ref('stg_polar__builds') }}

),

horizons as (

    select
        subscriptions.subscription_key,
        greatest(builds.as_of, organizations.last_record_at) as horizon_at
    from subscriptions
    cross join builds
    left join {{ ref('int_organizations_covered') }} as organizations
        on subscriptions.organization_id = organizations.organization_id

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
        segments.is_restarted,
        segments.cuts,
        unnest(generate_series(
            0,
            case
                when segments.is_trial or segments.interval_name is null then 0
                else greatest(0, {{ whole_intervals('segments.segment_start_at', 'segments.interval_name', 'segments.interval_count', 'least(segments.segment_end_at, horizons.horizon_at)') }})
            end
        )) as period_number
    from segments
    inner join horizons on segments.subscription_key = horizons.subscription_key
    where segments.segment_start_at <= horizons.horizon_at

),

whole_periods as (

    select
        subscription_key,
        period_type,
        is_trial,
        is_last,
        is_restarted,
        segment_end_at,
        cuts,
        {{ add_intervals('segment_start_at', 'interval_name', 'interval_count', 'period_number') }} as period_start_at,
        case
            when is_trial or interval_name is null then segment_end_at
            else {{ add_intervals('segment_start_at', 'interval_name', 'interval_count', 'period_number + 1') }}
        end as full_period_end_at
    from numbered_starts

),

{# What settles a meter between its boundaries. #}
period_bounds as (

    select
        *,
        list_concat(
            [period_start_at],
            list_filter(cuts, lambda cut: period_start_at < cut and cut < full_period_end_at),
            [full_period_end_at]
        ) as bounds
    from whole_periods

),

numbered_parts as (

    select
        *,
        unnest(generate_series(1, len(bounds) - 1)) as part_number
    from period_bounds

),

computed_periods as (

    select
        subscription_key,
        period_type,
        is_trial,
        is_last,
        is_restarted,
        segment_end_at,
        bounds[part_number] as period_start_at,
        bounds[part_number + 1] as full_period_end_at
    from numbered_parts

),

{# One that has not recovered stands still up to the last period there is. #}
held_ends as (

    select
        standstills.subscription_key,
        'meter' as period_type,
        standstills.past_due_at as held_from_at,
        coalesce(standstills.recovered_at, max(computed_periods.full_period_end_at)) as held_to_at
    from standstills
    inner join computed_periods
        on
            standstills.subscription_key = computed_periods.subscription_key
            and computed_periods.period_type = 'meter'
    group by standstills.subscription_key, standstills.past_due_at, standstills.recovered_at
    union all
    select
        subscription_key,
        'subscription' as period_type,
        old_period_end_at as held_from_at,
        moved_to_at as held_to_at
    from moved_ends

),

{#
    A boundary from an end that was moved away to where it came to rest is none: the period before it goes on. So it does
    over those that a standstill skipped, and what is left of the last of them begins with the recovery.
#}
stretched_periods as (

    select
        computed_periods.subscription_key,
        computed_periods.period_type,
        computed_periods.is_trial,
        computed_periods.is_last,
        computed_periods.is_restarted,
        computed_periods.segment_end_at,
        coalesce(
            max(held_ends.held_to_at) filter (
                where held_ends.period_type = 'meter' and computed_periods.period_start_at >= held_ends.held_from_at
                and computed_periods.period_start_at < held_ends.held_to_at
            ),
            computed_periods.period_start_at
        ) as period_start_at,
        coalesce(
            max(held_ends.held_to_at) filter (
                where held_ends.period_type = 'subscription' or computed_periods.full_period_end_at < held_ends.held_to_at
            ),
            computed_periods.full_period_end_at
        ) as full_period_end_at
    from computed_periods
    left join held_ends
        on
            computed_periods.subscription_key = held_ends.subscription_key
            and computed_periods.period_type = held_ends.period_type
            and not computed_periods.is_trial
            and (
                (
                    computed_periods.full_period_end_at >= held_ends.held_from_at
                    and computed_periods.full_period_end_at < held_ends.held_to_at
                )
                or (
                    computed_periods.period_start_at >= held_ends.held_from_at
                    and computed_periods.period_start_at < held_ends.held_to_at
                )
            )
    group by
        computed_periods.subscription_key,
        computed_periods.period_type,
        computed_periods.is_trial,
        computed_periods.is_last,
        computed_periods.is_restarted,
        computed_periods.segment_end_at,
        computed_periods.period_start_at,
        computed_periods.full_period_end_at

),

cut_periods as (

    select
        *,
        is_last and not is_trial and segment_end_at < full_period_end_at as is_cut_short,
        least(full_period_end_at, segment_end_at) as period_end_at
    from stretched_periods

),

kept_periods as (

    select * from cut_periods
    where period_start_at < period_end_at
    qualify period_start_at >= coalesce(
        max(period_end_at) over (
            partition by subscription_key, period_type order by period_start_at
            rows between unbounded preceding and 1 preceding
        ),
        timestamp '-infinity'
    )

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
        {#
            Started anew by a change, whose order never contains usage: what is pending stays for the renewal, as far as
            its price does.
        #}
        kept_periods.is_restarted and kept_periods.period_end_at = kept_periods.segment_end_at as is_restarted,
        kept_periods.period_end_at <= builds.as_of as is_closed,
        {# Where nothing follows, the subscription ended or is paused here: an order at this end carries no new period. #}
        lead(kept_periods.period_start_at) over (
            partition by kept_periods.subscription_key, kept_periods.period_type order by kept_periods.period_start_at
        ) as next_period_start_at
    from kept_periods
    inner join subscriptions on kept_periods.subscription_key = subscriptions.subscription_key
    cross join builds

)

select * from periods
