{#
    Periods of one subscription and type are half-open and never overlap, and as_of closes those that end at or before it.
    In an overlap usage is billed twice.
#}

with

periods as (

    select
        *,
        lead(period_start_at) over (partition by subscription_key, period_type order by period_start_at) as next_start_at
    from {{ ref('billing_periods') }}

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
    or periods.is_closed != (periods.period_end_at <= builds.as_of)
    or periods.next_start_at < periods.period_end_at
