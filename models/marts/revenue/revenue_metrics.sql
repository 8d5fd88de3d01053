{#
    Polar's dashboard as a table: each organization's and settlement currency's days, weeks, months and years, in the time
    zone of the var `metrics_time_zone`. Facts are cut into buckets of all four kinds, added up, and laid on a calendar, so
    that running sums need no self joins.
#}
{% set settlement_currency = "'usd'" %}
{# Polar's metrics answer for no earlier day. Older buckets have a row only where something happened. #}
{% set calendar_starts = "date '2023-01-01'" %}
{# A mistyped year must not fill the disk. #}
{% set calendar_years = 50 %}
{% set sums = metric_sums() %}
{% set levels = metric_levels() %}

with

bucket_types as (

    {{ bucket_types() }}

),

facts as (

    select * from {{ ref('int_metric_facts') }}

),

changes as (

    select * from {{ ref('int_metric_changes') }}

),

{# How far anything is known of an organization; what is scheduled for later is not there yet. #}
horizons as (

    select
        organizations.organization_id,
        greatest({{ local_date('organizations.last_record_at') }}, max(recurring_revenue.known_until_date)) as known_until_date
    from {{ ref('int_organizations_covered') }} as organizations
    left join {{ ref('int_recurring_revenue') }} as recurring_revenue on organizations.organization_id = recurring_revenue.organization_id
    group by organizations.organization_id, organizations.last_record_at

),

{# What charges in a currency settled at, day by day: their mean is what a bucket's recurring revenue is converted at. #}
charge_rates as (

    select
        organization_id,
        order_currency,
        currency,
        {{ local_date('booked_at') }} as booked_date,
        {{ rate_numerator('exchange_rate') }} as rate
    from {{ ref('int_settlement_movements') }}
    where kind = 'order' and rate_basis in ('event', 'amounts') and order_currency != currency and exchange_rate > 0

),

settling_currencies as (

    select distinct
        organization_id,
        subscription_currency,
        currency
    from changes

),

settled_subscriptions as (

    select
        subscriptions.organization_id,
        coalesce(settling_currencies.currency, subscriptions.currency, {{ settlement_currency }}) as currency,
        {{ local_time('subscriptions.started_at') }} as started_at,
        {{ local_time('coalesce(subscriptions.ended_at, subscriptions.ends_at)') }} as end_at,
        {{ local_date('subscriptions.canceled_at') }} as canceled_date
    from {{ ref('int_subscriptions_merged') }} as subscriptions
    left join settling_currencies
        on
            subscriptions.organization_id = settling_currencies.organization_id
            and subscriptions.currency = settling_currencies.subscription_currency

),

users as (

    select * from {{ ref('int_active_users') }}

),

daily_costs as (

    select
        organization_id,
        cost_currency,
        metrics_date,
        sum(cost_amount) as cost_amount
    from {{ ref('int_usage_costs_daily') }}
    where cost_amount is not null
    group by organization_id, cost_currency, metrics_date

),

costs as (

    select
        organization_id,
        cost_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'metrics_date') }} as bucket_start_date,
        sum(cost_amount) as cost_amount
    from daily_costs
    cross join bucket_types
    group by organization_id, cost_currency, bucket_type, bucket_start_date

),

happenings as (

    select organization_id, bucket_type, bucket_start_date from facts
    union
    select organization_id, bucket_type, bucket_start_date from users
    union
    select organization_id, bucket_type, bucket_start_date from costs
    union
    select organization_id, bucket_type, bucket_start_date from changes

),

calendar_spans as (

    select
        happenings.organization_id,
        happenings.bucket_type,
        greatest(min(happenings.bucket_start_date), {{ bucket_start('happenings.bucket_type', calendar_starts) }}) as first_date,
        {{ bucket_start('happenings.bucket_type', 'horizons.known_until_date') }} as last_date
    from happenings
    inner join horizons on happenings.organization_id = horizons.organization_id
    group by happenings.organization_id, happenings.bucket_type, horizons.known_until_date

),

calendar as (

    select
        organization_id,
        bucket_type,
        cast(unnest(generate_series(
            cast(first_date as timestamp),
            least(cast(last_date as timestamp), cast(first_date as timestamp) + to_years({{ calendar_years }})),
            case bucket_type
                when 'day' then interval '1 day' when 'week' then interval '7 days'
                when 'month' then interval '1 month' else interval '1 year'
            end
        )) as date) as bucket_start_date
    from calendar_spans
    union
    select
        happenings.organization_id,
        happenings.bucket_type,
        happenings.bucket_start_date
    from happenings
    inner join calendar_spans
        on
            happenings.organization_id = calendar_spans.organization_id
            and happenings.bucket_type = calendar_spans.bucket_type
            and happenings.bucket_start_date <= calendar_spans.last_date

),

row_currencies as (

    select organization_id, currency from facts
    union
    select organization_id, currency from costs
    union
    select organization_id, currency from changes
    union
    {# Users alone are a row too, in the currency that costs would be in. #}
    select organization_id, {{ settlement_currency }} as currency from users

),

bucket_rates as (

    select
        organization_id,
        order_currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'booked_date') }} as bucket_start_date,
        sum(rate) as rate_sum,
        count(*) as rate_count
    from charge_rates
    cross join bucket_types
    group by organization_id, order_currency, bucket_type, bucket_start_date

),

first_bucket_rates as (

    select * from bucket_rates
    qualify row_number() over (partition by organization_id, order_currency, bucket_type order by bucket_start_date) = 1

),

currencies_of_changes as (

    select distinct
        organization_id,
        subscription_currency
    from changes

),

{# In the subscriptions' own currencies: running sums of the changes. #}
levels_of_currencies as (

    select
        calendar.organization_id,
        calendar.bucket_type,
        calendar.bucket_start_date,
        currencies.subscription_currency,
        {%- for name in levels %}
        coalesce(sum(changes.{{ name }}) over so_far, 0) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from calendar
    inner join currencies_of_changes as currencies on calendar.organization_id = currencies.organization_id
    left join changes
        on
            calendar.organization_id = changes.organization_id
            and calendar.bucket_type = changes.bucket_type
            and calendar.bucket_start_date = changes.bucket_start_date
            and currencies.subscription_currency = changes.subscription_currency
    window so_far as (
        partition by calendar.organization_id, calendar.bucket_type, currencies.subscription_currency
        order by calendar.bucket_start_date
    )

),

{# At the mean rate of the bucket's charges, else of the latest bucket before that had some, else of the first one after. #}
converted_levels as (

    select
        levels.organization_id,
        levels.bucket_type,
        levels.bucket_start_date,
        levels.subscription_currency,
        coalesce(settling_currencies.currency, levels.subscription_currency) as currency,
        coalesce(bucket_rates.rate_sum, first_bucket_rates.rate_sum, 1) as rate_total,
        coalesce(
            bucket_rates.rate_count * {{ rate_unit() }}, first_bucket_rates.rate_count * {{ rate_unit() }}, 1
        ) as rate_divisor,
        {%- for name in levels %}
        {%- if name.endswith('_count') %}
        levels.{{ name }}{{ ',' if not loop.last }}
        {%- else %}
        {{ convert_amount('levels.' ~ name, 'rate_total', 'rate_divisor', half='away') }} as {{ name }}{{ ',' if not loop.last }}
        {%- endif %}
        {%- endfor %}
    from levels_of_currencies as levels
    left join settling_currencies
        on
            levels.organization_id = settling_currencies.organization_id
            and levels.subscription_currency = settling_currencies.subscription_currency
    asof left join bucket_rates
        on
            levels.organization_id = bucket_rates.organization_id
            and levels.subscription_currency = bucket_rates.order_currency
            and levels.bucket_type = bucket_rates.bucket_type
            and levels.bucket_start_date >= bucket_rates.bucket_start_date
    left join first_bucket_rates
        on
            levels.organization_id = first_bucket_rates.organization_id
            and levels.subscription_currency = first_bucket_rates.order_currency
            and levels.bucket_type = first_bucket_rates.bucket_type

),

{# Polar knows one currency: what has no rate counts at 1 there. #}
levels_as_polar as (

    select
        organization_id,
        {{ settlement_currency }} as currency,
        bucket_type,
        bucket_start_date,
        sum(restated_recurring_revenue_amount) as restated_recurring_revenue_amount
    from converted_levels
    group by organization_id, bucket_type, bucket_start_date

),

levels_of_rows as (

    select
        organization_id,
        currency,
        bucket_type,
        bucket_start_date,
        {%- for name in levels if name != 'restated_recurring_revenue_amount' %}
        sum({{ name }}) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from converted_levels
    group by organization_id, currency, bucket_type, bucket_start_date

),

{# The churn rate looks backwards from the bucket's start, a year's into it. #}
churn_windows as (

    select
        calendar.organization_id,
        row_currencies.currency,
        calendar.bucket_type,
        calendar.bucket_start_date,
        case when calendar.bucket_type = 'year' then calendar.bucket_start_date else calendar.bucket_start_date - 30 end as window_start_date,
        case
            when calendar.bucket_type = 'year' then {{ next_bucket_start("'year'", 'calendar.bucket_start_date') }}
            else calendar.bucket_start_date
        end as window_end_date
    from calendar
    inner join row_currencies on calendar.organization_id = row_currencies.organization_id

),

cancellations_in_windows as (

    select
        churn_windows.organization_id,
        churn_windows.currency,
        churn_windows.bucket_type,
        churn_windows.bucket_start_date,
        count(*) as canceled_count
    from churn_windows
    inner join settled_subscriptions
        on
            churn_windows.organization_id = settled_subscriptions.organization_id
            and churn_windows.currency = settled_subscriptions.currency
            and churn_windows.window_start_date <= settled_subscriptions.canceled_date
            and settled_subscriptions.canceled_date < churn_windows.window_end_date
    group by churn_windows.organization_id, churn_windows.currency, churn_windows.bucket_type, churn_windows.bucket_start_date

),

{# The first midnight at which a subscription is active, and the first at which it no longer is. #}
midnights as (

    select
        organization_id,
        currency,
        cast(started_at + interval '1 day' - interval '1 microsecond' as date) as from_date,
        cast(end_at + interval '1 day' - interval '1 microsecond' as date) as to_date
    from settled_subscriptions
    where started_at is not null

),

active_at_midnight as (

    select
        organization_id,
        currency,
        midnight_date,
        sum(sum(direction)) over (partition by organization_id, currency order by midnight_date) as active_count
    from (
        select organization_id, currency, from_date as midnight_date, 1 as direction from midnights
        where from_date < coalesce(to_date, date '9999-12-31')
        union all
        select organization_id, currency, to_date as midnight_date, -1 as direction from midnights
        where from_date < to_date
    ) as ends
    group by organization_id, currency, midnight_date

),

buckets as (

    select
        churn_windows.organization_id,
        churn_windows.currency,
        churn_windows.bucket_type,
        churn_windows.bucket_start_date,
        {%- for name in sums %}
        coalesce(facts.{{ name }}, 0) as {{ name }},
        {%- endfor %}
        {%- for name in levels if name != 'restated_recurring_revenue_amount' %}
        cast(coalesce(levels_of_rows.{{ name }}, 0) as bigint) as {{ name }},
        {%- endfor %}
        cast(case
            when churn_windows.currency = {{ settlement_currency }} then coalesce(levels_as_polar.restated_recurring_revenue_amount, 0)
            else 0
        end as bigint) as monthly_recurring_revenue_amount_as_polar,
        coalesce(cancellations_in_windows.canceled_count, 0) as canceled_in_window_count,
        coalesce(active_at_midnight.active_count, 0) as active_at_window_start_count,
        coalesce(users.active_user_count, 0) as active_user_count,
        coalesce(users.active_user_count_as_polar, 0) as active_user_count_as_polar,
        cast(coalesce(costs.cost_amount, 0) as decimal(38, 12)) as cost_amount
    from churn_windows
    {%- for name in ['facts', 'levels_of_rows', 'levels_as_polar', 'cancellations_in_windows', 'costs', 'users'] %}
    left join {{ name }}
        on
            churn_windows.organization_id = {{ name }}.organization_id
            and churn_windows.bucket_type = {{ name }}.bucket_type
            and churn_windows.bucket_start_date = {{ name }}.bucket_start_date
            {%- if name != 'users' %}
            and churn_windows.currency = {{ name }}.currency
            {%- endif %}
    {%- endfor %}
    asof left join active_at_midnight
        on
            churn_windows.organization_id = active_at_midnight.organization_id
            and churn_windows.currency = active_at_midnight.currency
            and churn_windows.window_start_date >= active_at_midnight.midnight_date

),

running_buckets as (

    select
        *,
        revenue_amount - fee_amount - refund_amount - dispute_amount as net_revenue_amount,
        cast(sum(revenue_amount) over so_far as bigint) as cumulative_revenue_amount,
        cast(sum(revenue_amount - fee_amount - refund_amount - dispute_amount) over so_far as bigint) as cumulative_net_revenue_amount,
        cast(sum(cost_amount) over so_far as decimal(38, 12)) as cumulative_cost_amount
    from buckets
    window so_far as (partition by organization_id, currency, bucket_type order by bucket_start_date)

)

select
    {{ surrogate_key(["'revenue_metric'", 'organization_id', 'currency', 'bucket_type', 'bucket_start_date']) }} as revenue_metric_key,
    organization_id,
    currency,
    bucket_type,
    bucket_start_date,
    {{ next_bucket_start('bucket_type', 'bucket_start_date') }} as bucket_end_date,
    {{ dbt.string_literal(var('metrics_time_zone')) }} as time_zone,
    order_count,
    revenue_amount,
    net_revenue_amount,
    cumulative_revenue_amount,
    cumulative_net_revenue_amount,
    {# Rounded up to a whole minor unit, as Polar shows it; `//` cuts towards zero. #}
    {%- for name, total in {'average_order_amount': 'revenue_amount', 'average_net_order_amount': 'net_revenue_amount'}.items() %}
    coalesce(
        {{ total }} // nullif(order_count, 0)
        + case when {{ total }} > 0 and {{ total }} % nullif(order_count, 0) != 0 then 1 else 0 end, 0
    ) as {{ name }},
    {%- endfor %}
    one_time_order_count,
    one_time_revenue_amount,
    one_time_net_revenue_amount,
    new_subscription_count,
    new_subscription_revenue_amount,
    new_subscription_net_revenue_amount,
    renewed_subscription_count,
    renewed_subscription_revenue_amount,
    renewed_subscription_net_revenue_amount,
    fee_amount,
    refund_amount,
    refund_reversal_amount,
    dispute_amount,
    dispute_reversal_amount,
    cost_amount,
    currency as cost_currency,
    cumulative_cost_amount,
    cast(cumulative_revenue_amount - cumulative_cost_amount as decimal(38, 12)) as gross_margin_amount,
    case
        when cumulative_revenue_amount = 0 then 0.0
        else cast(cumulative_revenue_amount - cumulative_cost_amount as double) / cumulative_revenue_amount
    end as gross_margin_ratio,
    cast(revenue_amount - cost_amount as decimal(38, 12)) as cash_flow_amount,
    active_subscription_count,
    committed_subscription_count,
    trial_subscription_count,
    active_customer_count,
    churned_subscription_count,
    canceled_subscription_count,
    {%- for name in metric_reasons_counted() %}
    {{ name }},
    {%- endfor %}
    canceled_other_count,
    case
        when active_at_window_start_count = 0 then 0.0
        else canceled_in_window_count / active_at_window_start_count
    end as churn_ratio,
    monthly_recurring_revenue_amount,
    committed_monthly_recurring_revenue_amount,
    trial_monthly_recurring_revenue_amount,
    committed_trial_monthly_recurring_revenue_amount,
    12 * monthly_recurring_revenue_amount as annual_recurring_revenue_amount,
    12 * committed_monthly_recurring_revenue_amount as committed_annual_recurring_revenue_amount,
    coalesce({{ convert_amount('monthly_recurring_revenue_amount', '1', 'nullif(active_customer_count, 0)', half='away') }}, 0) as average_revenue_per_user_amount,
    seat_count,
    claimed_seat_count,
    seat_count - claimed_seat_count as pending_seat_count,
    coalesce(seat_count / nullif(seat_customer_count, 0), 0.0) as average_seats_per_customer,
    coalesce(claimed_seat_count / nullif(seat_count, 0), 0.0) as seat_utilization_ratio,
    active_user_count,
    {# Cut after twelve decimals. #}
    {%- for name, count in {
        'cost_per_user_amount': 'active_user_count', 'cost_per_user_amount_as_polar': 'active_user_count_as_polar'
    }.items() %}
    {%- set quotient %}({{ rate_numerator('cost_amount') }} // nullif({{ count }}, 0)){% endset %}
    coalesce(
        cast(
            cast({{ quotient }} // {{ rate_unit() }} as decimal(25, 0))
            + cast({{ quotient }} % {{ rate_unit() }} as decimal(12, 0)) * cast('0.000000000001' as decimal(12, 12))
            as decimal(38, 12)
        ), 0
    ) as {{ name }},
    {%- endfor %}
    revenue_amount_as_polar,
    net_revenue_amount_as_polar,
    monthly_recurring_revenue_amount_as_polar,
    active_user_count_as_polar
from running_buckets
