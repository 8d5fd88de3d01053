{#
    Periods of one subscription and type are half-open, never overlap and leave no gap but a pause; only the last one
    contains as_of. In an overlap usage is billed twice, in a gap never.
#}

with

periods as (

    select
        *,
        lead(period_start_at) over (partition by subscription_key, period_type order by period_start_at) as next_start_at
    from {{ ref('billing_periods') }}

),

pauses as (

    select * from {{ ref('int_subscription_pauses') }}

),

builds as (

    select * from {{ ref('stg_polar__builds') }}

)

select
    periods.billing_period_key,
    periods.subscription_key,
    periods.period_type,
    periods.period_start_at,
    periods.period_end_at,
    periods.next_start_at,
    periods.is_closed
from periods
cross join builds
where
    periods.period_start_at >= periods.period_end_at
    or periods.period_start_at > builds.as_of
    or periods.is_closed != (periods.period_end_at <= builds.as_of)
    or periods.next_start_at < periods.period_end_at
    or (
        periods.next_start_at > periods.period_end_at
        and not exists (
            select 1 from pauses
            where
                pauses.subscription_key = periods.subscription_key
                and pauses.paused_at <= periods.period_end_at
                and coalesce(pauses.resumed_at, timestamp 'infinity') >= periods.next_start_at
        )
    )
