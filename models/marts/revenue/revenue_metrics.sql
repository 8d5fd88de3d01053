{#
    Polar's dashboard as a table: for each organization and settlement currency every day, week, month and year, in the time
    zone of the var `metrics_time_zone`. Facts are cut into buckets of all four kinds, added up, and laid on a calendar, so
    that running sums and what is active need no self joins.
#}
{% set settlement_currency = "'usd'" %}
{# Polar's metrics answer for no earlier day. Older buckets have a row only where something happened. #}
{% set calendar_starts = "date '2023-01-01'" %}
{# A year of a typo must not fill the disk. #}
{% set calendar_years = 50 %}
{% set reasons = [
    'too_expensive', 'missing_features', 'switched_service', 'unused', 'customer_service', 'low_quality', 'too_complex'
] %}
{% set sums = [
    'order_count', 'revenue_amount', 'fee_amount', 'refund_amount', 'refund_reversal_amount', 'dispute_amount',
    'dispute_reversal_amount', 'revenue_amount_as_polar', 'net_revenue_amount_as_polar', 'one_time_order_count',
    'one_time_revenue_amount', 'one_time_net_revenue_amount', 'new_subscription_count', 'new_subscription_revenue_amount',
    'new_subscription_net_revenue_amount', 'renewed_subscription_count', 'renewed_subscription_revenue_amount',
    'renewed_subscription_net_revenue_amount', 'churned_subscription_count', 'canceled_subscription_count', 'canceled_other_count'
] %}
{% for reason in reasons %}{% do sums.append('canceled_' ~ reason ~ '_count') %}{% endfor %}
{% set levels = [
    'active_subscription_count', 'committed_subscription_count', 'trial_subscription_count', 'monthly_recurring_revenue_amount',
    'committed_monthly_recurring_revenue_amount', 'trial_monthly_recurring_revenue_amount',
    'committed_trial_monthly_recurring_revenue_amount', 'restated_recurring_revenue_amount'
] %}

with

bucket_types as (

    {{ bucket_types() }}

),

movements as (

    select
        *,
        {{ local_date('booked_at') }} as booked_date,
        {{ local_date('ordered_at') }} as ordered_date
    from {{ ref('int_settlement_movements') }}

),

subscriptions as (

    select
        *,
        coalesce(ended_at, ends_at) as end_at,
        coalesce(currency, {{ settlement_currency }}) as subscription_currency,
        {{ local_date('started_at') }} as started_date,
        {{ local_date('coalesce(ended_at, ends_at)') }} as ended_date,
        {{ local_date('canceled_at') }} as canceled_date
    from {{ ref('int_subscriptions_merged') }}

),

recurring_revenue as (

    select * from {{ ref('int_recurring_revenue') }}

),

usage_costs as (

    select * from {{ ref('usage_costs') }}

),

{# How far anything is known of an organization; what is scheduled for later is not there yet. #}
horizons as (

    select
        organizations.organization_id,
        greatest({{ local_date('organizations.last_record_at') }}, max(recurring_revenue.known_until_date)) as known_until_date
    from {{ ref('int_organizations_covered') }} as organizations
    left join recurring_revenue on organizations.organization_id = recurring_revenue.organization_id
    group by organizations.organization_id, organizations.last_record_at

),

{# --- currencies: a subscription counts where its money settles --- #}

{# What charges in a currency settled at, day by day: their mean is what a bucket's recurring revenue is converted at. #}
charge_rates as (

    select
        organization_id,
        order_currency,
        currency,
        booked_date,
        {{ rate_numerator('exchange_rate') }} as rate
    from movements
    where kind = 'order' and rate_basis in ('event', 'amounts') and order_currency != currency and exchange_rate > 0

),

subscription_currencies as (

    select distinct
        organization_id,
        currency
    from subscriptions
    where currency is not null

),

settling_currencies as (

    select
        subscription_currencies.organization_id,
        subscription_currencies.currency as subscription_currency,
        coalesce(max(charge_rates.currency), subscription_currencies.currency) as currency
    from subscription_currencies
    left join charge_rates
        on
            subscription_currencies.organization_id = charge_rates.organization_id
            and subscription_currencies.currency = charge_rates.order_currency
    group by subscription_currencies.organization_id, subscription_currencies.currency

),

settled_subscriptions as (

    select
        subscriptions.*,
        coalesce(settling_currencies.currency, {{ settlement_currency }}) as settling_currency
    from subscriptions
    left join settling_currencies
        on
            subscriptions.organization_id = settling_currencies.organization_id
            and subscriptions.currency = settling_currencies.subscription_currency

),

{# --- what happens in a bucket --- #}

{# Refunds of an order stand in the order's own bucket here; disputes do not touch it. #}
orders as (

    select
        movements.organization_id,
        movements.order_id,
        max(movements.currency) filter (where movements.is_order_counted) as currency,
        max(movements.ordered_date) as ordered_date,
        any_value(subscriptions.subscription_key) as subscription_key,
        bool_or(movements.subscription_id is not null) as has_subscription,
        any_value(subscriptions.started_date) as started_date,
        sum(movements.order_revenue_amount) as revenue_amount,
        sum(case
            when movements.kind in ('dispute', 'dispute_reversal') then 0
            else movements.order_revenue_amount - movements.fee_amount - movements.refund_amount
        end) as net_revenue_amount
    from movements
    left join subscriptions
        on
            movements.organization_id = subscriptions.organization_id
            and movements.subscription_id = subscriptions.subscription_id
    where movements.order_id is not null and movements.kind != 'as_polar'
    group by movements.organization_id, movements.order_id
    having bool_or(movements.is_order_counted)

),

bucketed_orders as (

    select
        orders.*,
        bucket_types.bucket_type,
        {{ bucket_start('bucket_types.bucket_type', 'orders.ordered_date') }} as bucket_start_date,
        {{ bucket_start('bucket_types.bucket_type', 'orders.started_date') }} as started_bucket_date
    from orders
    cross join bucket_types

),

facts as (

    select
        movements.organization_id,
        movements.currency,
        bucket_types.bucket_type,
        {{ bucket_start('bucket_types.bucket_type', 'movements.booked_date') }} as bucket_start_date,
        sum(movements.revenue_amount) as revenue_amount,
        sum(movements.fee_amount) as fee_amount,
        sum(movements.refund_amount) as refund_amount,
        sum(movements.refund_reversal_amount) as refund_reversal_amount,
        sum(movements.dispute_amount) as dispute_amount,
        sum(movements.dispute_reversal_amount) as dispute_reversal_amount,
        sum(movements.revenue_amount_as_polar) as revenue_amount_as_polar,
        sum(movements.net_revenue_amount_as_polar) as net_revenue_amount_as_polar
    from movements
    cross join bucket_types
    group by all
    union all by name
    select
        organization_id,
        currency,
        bucket_type,
        bucket_start_date,
        count(*) as order_count,
        count(*) filter (where not has_subscription) as one_time_order_count,
        sum(revenue_amount) filter (where not has_subscription) as one_time_revenue_amount,
        sum(net_revenue_amount) filter (where not has_subscription) as one_time_net_revenue_amount,
        sum(revenue_amount) filter (where started_bucket_date = bucket_start_date) as new_subscription_revenue_amount,
        sum(net_revenue_amount) filter (where started_bucket_date = bucket_start_date) as new_subscription_net_revenue_amount,
        count(distinct subscription_key) filter (where started_bucket_date is distinct from bucket_start_date) as renewed_subscription_count,
        sum(revenue_amount) filter (where has_subscription and started_bucket_date is distinct from bucket_start_date) as renewed_subscription_revenue_amount,
        sum(net_revenue_amount) filter (where has_subscription and started_bucket_date is distinct from bucket_start_date) as renewed_subscription_net_revenue_amount
    from bucketed_orders
    group by all
    union all by name
    select
        organization_id,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'started_date') }} as bucket_start_date,
        count(*) as new_subscription_count
    from settled_subscriptions
    cross join bucket_types
    where
        started_date is not null
        and {{ bucket_start('bucket_type', 'ended_date') }} is distinct from {{ bucket_start('bucket_type', 'started_date') }}
    group by all
    union all by name
    select
        organization_id,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'ended_date') }} as bucket_start_date,
        count(*) as churned_subscription_count
    from settled_subscriptions
    cross join bucket_types
    where ended_date is not null and started_date is not null
    group by all
    union all by name
    select
        organization_id,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'canceled_date') }} as bucket_start_date,
        count(*) as canceled_subscription_count,
        {%- for reason in reasons %}
        count(*) filter (where cancellation_reason = '{{ reason }}') as canceled_{{ reason }}_count,
        {%- endfor %}
        count(*) filter (where coalesce(cancellation_reason, 'other') not in ('{{ reasons | join("', '") }}')) as canceled_other_count
    from settled_subscriptions
    cross join bucket_types
    where canceled_date is not null
    group by all

),

{# --- usage: what it cost, and who used anything --- #}

days_of_customers as (

    select
        organization_id,
        customer_key,
        metrics_date,
        bool_or(polar_id_event_count > 0) as has_polar_id,
        bool_or(event_count > polar_id_event_count) as has_external_id
    from usage_costs
    group by organization_id, customer_key, metrics_date
    union all
    select distinct
        system_events.organization_id,
        customers.customer_key,
        {{ local_date('system_events.occurred_at') }} as metrics_date,
        true as has_polar_id,
        false as has_external_id
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join {{ ref('int_customers_merged') }} as customers
        on
            system_events.organization_id = customers.organization_id
            and system_events.customer_id = customers.customer_id

),

{# A person seen under both ids is one; Polar counts two. #}
users as (

    select
        organization_id,
        bucket_type,
        {{ bucket_start('bucket_type', 'metrics_date') }} as bucket_start_date,
        count(distinct customer_key) as active_user_count,
        count(distinct customer_key) filter (where has_polar_id)
        + count(distinct customer_key) filter (where has_external_id) as active_user_count_as_polar
    from days_of_customers
    cross join bucket_types
    group by organization_id, bucket_type, bucket_start_date

),

daily_costs as (

    select
        organization_id,
        cost_currency,
        metrics_date,
        sum(cost_amount) as cost_amount
    from usage_costs
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

{# --- what is active: a change at the bucket where it begins, and its opposite where it ends --- #}

ranges as (

    {# Not active in the bucket of its end: a subscription that ends in the bucket it starts in never is. #}
    select
        organization_id,
        subscription_currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'started_date') }} as from_date,
        {{ bucket_start('bucket_type', 'ended_date') }} as to_date,
        1 as active_subscription_count,
        case when end_at is null then 1 else 0 end as committed_subscription_count
    from subscriptions
    cross join bucket_types
    where started_date is not null
    union all by name
    select
        organization_id,
        subscription_currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'started_date') }} as from_date,
        least({{ bucket_start('bucket_type', 'ended_date') }}, {{ bucket_start('bucket_type', local_date('trial_ends_at')) }}) as to_date,
        1 as trial_subscription_count
    from subscriptions
    cross join bucket_types
    where started_date is not null and trial_ends_at is not null
    union all by name
    select
        organization_id,
        currency as subscription_currency,
        bucket_type,
        recurring_from_date as from_date,
        recurring_to_date as to_date,
        case when not is_restated then monthly_amount end as monthly_recurring_revenue_amount,
        case when not is_restated and is_committed then monthly_amount end as committed_monthly_recurring_revenue_amount,
        case when is_restated then monthly_amount end as restated_recurring_revenue_amount
    from recurring_revenue
    where currency is not null
    union all by name
    select
        organization_id,
        currency as subscription_currency,
        bucket_type,
        trial_from_date as from_date,
        trial_to_date as to_date,
        monthly_amount as trial_monthly_recurring_revenue_amount,
        case when is_committed then monthly_amount end as committed_trial_monthly_recurring_revenue_amount
    from recurring_revenue
    where currency is not null and not is_restated and trial_from_date is not null

),

changes as (

    select
        organization_id,
        subscription_currency,
        bucket_type,
        bucket_start_date,
        {%- for name in levels %}
        cast(coalesce(sum(direction * {{ name }}), 0) as bigint) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from (
        select *, from_date as bucket_start_date, 1 as direction from ranges
        where from_date < coalesce(to_date, date '9999-12-31')
        union all
        select *, to_date as bucket_start_date, -1 as direction from ranges
        where from_date < to_date
    )
    group by organization_id, subscription_currency, bucket_type, bucket_start_date

),

{# Stretches of time in which a customer has any active subscription: touching and overlapping ones are one. #}
customers_active as (

    select
        organization_id,
        customer_key,
        settling_currency as currency,
        bucket_type,
        {{ bucket_start('bucket_type', 'started_date') }} as from_date,
        coalesce({{ bucket_start('bucket_type', 'ended_date') }}, date '9999-12-31') as to_date
    from settled_subscriptions
    cross join bucket_types
    where started_date is not null and from_date < to_date

),

customers_active_begun as (

    select
        *,
        coalesce(from_date > max(to_date) over (
            partition by organization_id, customer_key, currency, bucket_type
            order by from_date, to_date rows between unbounded preceding and 1 preceding
        ), true) as begins
    from customers_active

),

customers_active_numbered as (

    select
        *,
        sum(case when begins then 1 else 0 end) over (
            partition by organization_id, customer_key, currency, bucket_type order by from_date, to_date
        ) as stretch_number
    from customers_active_begun

),

customer_stretches as (

    select
        organization_id,
        customer_key,
        currency,
        bucket_type,
        stretch_number,
        min(from_date) as from_date,
        max(to_date) as to_date
    from customers_active_numbered
    group by organization_id, customer_key, currency, bucket_type, stretch_number

),

customer_changes as (

    select
        organization_id,
        currency,
        bucket_type,
        bucket_start_date,
        sum(direction) as active_customer_count
    from (
        select organization_id, currency, bucket_type, from_date as bucket_start_date, 1 as direction from customer_stretches
        union all
        select organization_id, currency, bucket_type, to_date as bucket_start_date, -1 as direction from customer_stretches
    )
    group by organization_id, currency, bucket_type, bucket_start_date

),

{# --- the calendar --- #}

happenings as (

    select organization_id, bucket_type, bucket_start_date from facts
    union
    select organization_id, bucket_type, bucket_start_date from users
    union
    select organization_id, bucket_type, bucket_start_date from costs
    union
    select organization_id, bucket_type, bucket_start_date from changes
    union
    select organization_id, bucket_type, bucket_start_date from customer_changes

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
    select organization_id, currency from customer_changes
    union
    select organization_id, currency from settling_currencies
    where organization_id in (select organization_id from changes)
    union
    {# Users alone are a row too, in the currency that costs would be in. #}
    select organization_id, {{ settlement_currency }} as currency from users

),

{# --- recurring revenue by bucket, converted where it settles in another currency --- #}

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

{# --- the churn rate looks backwards from the bucket's start --- #}

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
            and churn_windows.currency = settled_subscriptions.settling_currency
            and churn_windows.window_start_date <= settled_subscriptions.canceled_date
            and settled_subscriptions.canceled_date < churn_windows.window_end_date
    group by churn_windows.organization_id, churn_windows.currency, churn_windows.bucket_type, churn_windows.bucket_start_date

),

{# The first midnight at which a subscription is active, and the first at which it no longer is. #}
midnights as (

    select
        organization_id,
        settling_currency as currency,
        cast({{ local_time('started_at') }} + interval '1 day' - interval '1 microsecond' as date) as from_date,
        cast({{ local_time('end_at') }} + interval '1 day' - interval '1 microsecond' as date) as to_date
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
    )
    group by organization_id, currency, midnight_date

),

{# --- all of it on the calendar --- #}

facts_of_buckets as (

    select
        organization_id,
        currency,
        bucket_type,
        bucket_start_date,
        {%- for name in sums %}
        cast(coalesce(sum({{ name }}), 0) as bigint) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from facts
    group by organization_id, currency, bucket_type, bucket_start_date

),

buckets as (

    select
        churn_windows.organization_id,
        churn_windows.currency,
        churn_windows.bucket_type,
        churn_windows.bucket_start_date,
        {%- for name in sums %}
        coalesce(facts_of_buckets.{{ name }}, 0) as {{ name }},
        {%- endfor %}
        {%- for name in levels if name != 'restated_recurring_revenue_amount' %}
        cast(coalesce(levels_of_rows.{{ name }}, 0) as bigint) as {{ name }},
        {%- endfor %}
        cast(case
            when churn_windows.currency = {{ settlement_currency }} then coalesce(levels_as_polar.restated_recurring_revenue_amount, 0)
            else 0
        end as bigint) as monthly_recurring_revenue_amount_as_polar,
        cast(coalesce(sum(customer_changes.active_customer_count) over so_far, 0) as bigint) as active_customer_count,
        coalesce(cancellations_in_windows.canceled_count, 0) as canceled_in_window_count,
        coalesce(active_at_midnight.active_count, 0) as active_at_window_start_count,
        coalesce(users.active_user_count, 0) as active_user_count,
        coalesce(users.active_user_count_as_polar, 0) as active_user_count_as_polar,
        cast(coalesce(costs.cost_amount, 0) as decimal(38, 12)) as cost_amount
    from churn_windows
    left join facts_of_buckets using (organization_id, currency, bucket_type, bucket_start_date)
    left join levels_of_rows using (organization_id, currency, bucket_type, bucket_start_date)
    left join levels_as_polar using (organization_id, currency, bucket_type, bucket_start_date)
    left join customer_changes using (organization_id, currency, bucket_type, bucket_start_date)
    left join cancellations_in_windows using (organization_id, currency, bucket_type, bucket_start_date)
    left join costs using (organization_id, currency, bucket_type, bucket_start_date)
    left join users using (organization_id, bucket_type, bucket_start_date)
    asof left join active_at_midnight
        on
            churn_windows.organization_id = active_at_midnight.organization_id
            and churn_windows.currency = active_at_midnight.currency
            and churn_windows.window_start_date >= active_at_midnight.midnight_date
    window so_far as (
        partition by churn_windows.organization_id, churn_windows.currency, churn_windows.bucket_type
        order by churn_windows.bucket_start_date
    )

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
    {%- for reason in reasons %}
    canceled_{{ reason }}_count,
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
