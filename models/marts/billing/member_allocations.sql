{{ config(
    materialized='incremental',
    touched_by='int_periods_touched', touched_on=['billing_period_key']
) }}

{#
    The amounts of sum and count meters split over the members that used them, by units. Each share is rounded down to a
    minor unit; the units that are left over go one each to the largest remainders (of equal ones to the one with more
    units, then to the lower key), so that the shares add up. Where no usage is left to split by (units that cancel out)
    the amount is 0 and so is each share.
#}

with

quantities as (

    select * from {{ ref('int_metered_quantities') }}{{ touched_only('int_periods_touched', ['billing_period_key']) }}
    where is_summable

),

routed_events as (

    select * from {{ ref('int_metered_events_routed') }}{{ touched_only('int_periods_touched', ['billing_period_key']) }}
    where
        is_charged
        and {{ within_span('int_periods_touched', 'received_at', 'received_from_at', 'received_to_at') }}

),

{# Before they are joined: members have few prices and many events. #}
member_sums as (

    select
        billing_period_key,
        price_id,
        member_key,
        case when count(*) = count(units) then sum(units) end as exact_units,
        coalesce(cast(sum(units) as double), 0)
        + coalesce(sum(units_as_double order by received_at, usage_event_key) filter (where units is null), 0) as units
    from routed_events
    group by billing_period_key, price_id, member_key

),

member_units as (

    select
        quantities.meter_usage_key,
        quantities.billing_period_key,
        quantities.organization_id,
        quantities.customer_key,
        quantities.expected_amount,
        quantities.currency,
        member_sums.member_key,
        member_sums.exact_units,
        member_sums.units
    from member_sums
    inner join quantities
        on
            member_sums.billing_period_key = quantities.billing_period_key
            and member_sums.price_id = quantities.price_id

),

exact_totals as (

    select
        meter_usage_key,
        case when count(*) = count(exact_units) then sum(exact_units) end as all_exact_units
    from member_units
    group by meter_usage_key

),

inexact_usage as (

    select meter_usage_key from exact_totals
    where all_exact_units is null

),

{# What no decimal holds is added as doubles, in the order of keys. #}
inexact_totals as (

    select
        member_units.meter_usage_key,
        sum(member_units.units order by member_units.member_key) as all_units
    from member_units
    semi join inexact_usage on member_units.meter_usage_key = inexact_usage.meter_usage_key
    group by member_units.meter_usage_key

),

weighed_members as (

    select
        member_units.*,
        exact_totals.all_exact_units,
        coalesce(cast(exact_totals.all_exact_units as double), inexact_totals.all_units) as all_units
    from member_units
    inner join exact_totals on member_units.meter_usage_key = exact_totals.meter_usage_key
    left join inexact_totals on member_units.meter_usage_key = inexact_totals.meter_usage_key

),

{#
    Whole numbers of 128 bits, so that equal remainders are equal: units in millionths of a millionth. What does not fit
    is split by doubles; the shares add up either way.
#}
divisions as (

    select
        *,
        try(cast(all_exact_units * cast(1000000000000 as decimal(13, 0)) as hugeint)) as divisor,
        try(cast(expected_amount as hugeint) * cast(exact_units * cast(1000000000000 as decimal(13, 0)) as hugeint)) as dividend
    from weighed_members

),

{# Division truncates: below zero the next lower whole number is meant. #}
quotas as (

    select
        *,
        coalesce(expected_amount = 0 or all_units = 0, false) as is_nothing,
        case when divisor > 0 then dividend // divisor - case when dividend % divisor < 0 then 1 else 0 end end as exact_quota,
        expected_amount * units / all_units as quota
    from divisions

),

shares as (

    select
        *,
        {# Members far above and far below zero have quotas beyond any amount: what is no amount is left over. #}
        case
            when is_nothing or not abs(coalesce(cast(exact_quota as double), quota)) < 1e15 then 0
            else cast(coalesce(exact_quota, floor(quota)) as bigint)
        end as rounded_amount,
        dividend - exact_quota * divisor as exact_remainder,
        {# Of equal remainders doubles would make the last bits of a division decide. #}
        case when exact_quota is null then quota - floor(quota) end as remainder
    from quotas

),

ranked_shares as (

    select
        *,
        expected_amount - sum(rounded_amount) over usage as left_over,
        row_number() over (usage order by exact_remainder desc, remainder desc, units desc, member_key) as remainder_rank,
        count(*) over usage as member_count
    from shares
    window usage as (partition by meter_usage_key)

)

select
    {{ surrogate_key(["'member_allocation'", 'meter_usage_key', 'member_key']) }} as member_allocation_key,
    meter_usage_key,
    billing_period_key,
    organization_id,
    customer_key,
    member_key,
    units,
    cast(
        rounded_amount
        + case when remainder_rank <= left_over then 1 else 0 end
        {# Doubles may leave over more than one each; one of them takes it. #}
        + case when remainder_rank = 1 then least(0, left_over) + greatest(0, left_over - member_count) else 0 end
        as bigint
    ) as expected_amount,
    currency
from ranked_shares
