{#
    What the next order of each open period comes to so far, and where a straight line leads by its end. Measured up to
    the organization's data horizon: what was used later is not known yet, whatever as_of is.
#}

with

periods as (

    select * from {{ ref('int_subscription_periods') }}

),

quantities as (

    select * from {{ ref('int_metered_quantities') }}

),

static_amounts as (

    select * from {{ ref('int_subscription_static_amounts') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

organizations as (

    select * from {{ ref('int_organizations_covered') }}

),

{#
    A price that cannot be rated makes the period's amount unknown, not smaller. Sums and counts go on; a maximum, an
    average, a number of distinct values and what has reached its cap stay what they are.
#}
metered_amounts as (

    select
        billing_period_key,
        currency,
        sum(event_count) as event_count,
        case when count(*) = count(expected_amount) then sum(expected_amount) end as expected_amount,
        coalesce(sum(expected_amount) filter (where is_summable and not is_capped), 0) as growing_amount,
        case
            when count(*) = count(half_time_amount)
                then sum(case when is_summable then least(2 * half_time_amount, case when is_capped then expected_amount end) else half_time_amount end)
        end as half_time_run_rate_amount
    from quantities
    group by billing_period_key, currency

),

open_periods as (

    select
        periods.billing_period_key,
        periods.organization_id,
        subscriptions.customer_key,
        periods.subscription_key,
        periods.period_type,
        periods.period_start_at,
        periods.period_end_at,
        coalesce(metered_amounts.currency, subscriptions.currency) as currency,
        greatest(periods.period_start_at, least(periods.period_end_at, organizations.data_horizon_at)) as measured_until_at,
        case
            when periods.period_type = 'meter' then 0
            when coalesce(subscriptions.ended_at, subscriptions.ends_at) <= periods.period_end_at then 0
            {# Two currencies in one period: the subscription's own has the static price. #}
            when metered_amounts.currency != subscriptions.currency then 0
            else static_amounts.static_amount
        end as expected_static_amount,
        coalesce(metered_amounts.event_count, 0) as event_count,
        case when metered_amounts.billing_period_key is null then 0 else metered_amounts.expected_amount end as expected_metered_amount,
        coalesce(metered_amounts.growing_amount, 0) as growing_amount
    from periods
    inner join subscriptions on periods.subscription_key = subscriptions.subscription_key
    inner join organizations on periods.organization_id = organizations.organization_id
    inner join {{ ref('stg_polar__builds') }} as builds on periods.period_start_at <= builds.as_of
    left join metered_amounts on periods.billing_period_key = metered_amounts.billing_period_key
    left join static_amounts on periods.billing_period_key = static_amounts.billing_period_key
    where not periods.is_closed and subscriptions.currency is not null

),

past_periods as (

    select
        periods.subscription_key,
        periods.period_type,
        metered_amounts.currency,
        count(*) as past_period_count,
        sum(metered_amounts.expected_amount) as past_metered_amount,
        sum(metered_amounts.half_time_run_rate_amount) as past_run_rate_amount,
        sum(abs(metered_amounts.half_time_run_rate_amount - metered_amounts.expected_amount)) as past_run_rate_error_amount
    from periods
    inner join metered_amounts on periods.billing_period_key = metered_amounts.billing_period_key
    where
        periods.is_closed
        and metered_amounts.expected_amount is not null and metered_amounts.half_time_run_rate_amount is not null
    group by periods.subscription_key, periods.period_type, metered_amounts.currency

),

measured_periods as (

    select
        *,
        epoch_us(measured_until_at) - epoch_us(period_start_at) as measured_us,
        epoch_us(period_end_at) - epoch_us(period_start_at) as period_us,
        case
            when measured_us > 0
                then expected_metered_amount - growing_amount + {{ convert_amount('growing_amount', 'period_us', 'measured_us', half='away') }}
        end as run_rate_metered_amount
    from open_periods

)

select
    {{ surrogate_key(["'period_forecast'", 'measured_periods.billing_period_key', 'measured_periods.currency']) }} as period_forecast_key,
    measured_periods.billing_period_key,
    measured_periods.organization_id,
    measured_periods.customer_key,
    measured_periods.subscription_key,
    measured_periods.period_type,
    measured_periods.period_start_at,
    measured_periods.period_end_at,
    measured_periods.measured_until_at,
    measured_periods.measured_us / measured_periods.period_us as measured_ratio,
    measured_periods.currency,
    cast(measured_periods.event_count as bigint) as event_count,
    cast(measured_periods.expected_static_amount as bigint) as expected_static_amount,
    cast(measured_periods.expected_metered_amount as bigint) as expected_metered_amount,
    cast(measured_periods.expected_static_amount + measured_periods.expected_metered_amount as bigint) as expected_subtotal_amount,
    cast(measured_periods.run_rate_metered_amount as bigint) as run_rate_metered_amount,
    cast(measured_periods.expected_static_amount + measured_periods.run_rate_metered_amount as bigint) as run_rate_subtotal_amount,
    coalesce(past_periods.past_period_count, 0) as past_period_count,
    cast(past_periods.past_metered_amount as bigint) as past_metered_amount,
    cast(past_periods.past_run_rate_amount as bigint) as past_run_rate_amount,
    cast(past_periods.past_run_rate_error_amount as bigint) as past_run_rate_error_amount,
    past_periods.past_run_rate_error_amount / nullif(past_periods.past_metered_amount, 0) as past_run_rate_error_ratio
from measured_periods
left join past_periods
    on
        measured_periods.subscription_key = past_periods.subscription_key
        and measured_periods.period_type = past_periods.period_type
        and measured_periods.currency = past_periods.currency
