{#
    Between two periods of one subscription and type lies nothing but a pause, and no charged usage is left without a period.
    Usage in a gap stays open for ever and is missing from meter_usage. It only warns: what is not known of a subscription's
    life (an event that never landed) opens a gap, and must not keep everybody else's numbers from their readers.
#}

{{ config(severity='warn') }}

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

{# Nothing speaks against them, and yet no period counts them. #}
stray_events as (

    select * from {{ ref('int_metered_events_routed') }}
    where reason is null and not is_charged

)

select
    'gap' as finding,
    periods.subscription_key,
    periods.period_type,
    periods.period_end_at as gap_start_at,
    periods.next_start_at as gap_end_at,
    null as event_count
from periods
where
    periods.next_start_at > periods.period_end_at
    and not exists (
        select 1 from pauses
        where
            pauses.subscription_key = periods.subscription_key
            and pauses.paused_at <= periods.period_end_at
            and coalesce(pauses.resumed_at, timestamp 'infinity') >= periods.next_start_at
    )
union all
select
    'usage without a period' as finding,
    subscription_key,
    null as period_type,
    null as gap_start_at,
    null as gap_end_at,
    count(*) as event_count
from stray_events
group by subscription_key
