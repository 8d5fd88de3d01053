{% set grace = "to_days(" ~ (var('order_grace_days') | int) ~ ")" %}
{% set floor_amount = var('tolerance_floor_amount') | int %}

with

expectations as (

    select * from {{ ref('int_order_expectations') }}

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

organizations as (

    select * from {{ ref('int_organizations_covered') }}

),

late_usage as (

    select * from {{ ref('int_late_usage_valued') }}

),

builds as (

    select * from {{ ref('stg_polar__builds') }}

),

compared_orders as (

    select
        expectations.*,
        expectations.expected_static_amount + expectations.expected_metered_amount as expected_subtotal_amount,
        expectations.missing_order_cause is null as is_billed,
        greatest({{ floor_amount }}, coalesce(expectations.active_price_count, 0)) as allowed_variance_amount,
        case
            when expectations.role = 'one_time' then 'one_time'
            when subscriptions.started_at is null then 'missing_subscription'
            when (expectations.role = 'update' or expectations.may_hold_prorations) and not expectations.has_lines then 'proration'
            when expectations.currency != coalesce(subscriptions.currency, expectations.currency) then 'currency_mismatch'
            when
                (expectations.role = 'cycle' and not expectations.has_known_prices)
                or expectations.expected_static_amount + expectations.expected_metered_amount is null
                then 'missing_price'
            when expectations.period_start_at < organizations.history_starts_at then 'incomplete_history'
            {# Neither the event nor an object says what the order was: there is nothing to compare. #}
            when is_billed and expectations.billed_subtotal_amount is null then 'incomplete_history'
        end as incomparable_cause,
        least(organizations.data_horizon_at, builds.as_of) < expectations.due_at + {{ grace }} as is_within_grace,
        late_usage.late_out_amount,
        late_usage.late_in_amount,
        late_usage.late_both_amount
    from expectations
    cross join builds
    left join subscriptions on expectations.subscription_key = subscriptions.subscription_key
    left join organizations on expectations.organization_id = organizations.organization_id
    left join late_usage on expectations.billing_period_key = late_usage.billing_period_key
    {# An order that was due before the history starts is not missing: it is not here. #}
    where expectations.missing_order_cause is null or expectations.due_at >= organizations.history_starts_at

),

variances as (

    select
        *,
        case
            when incomparable_cause is not null then null
            when is_billed then billed_subtotal_amount - proration_amount - expected_subtotal_amount
            else -expected_subtotal_amount
        end as variance_amount
    from compared_orders
    where is_billed or coalesce(expected_subtotal_amount, 1) != 0

),

judged_orders as (

    select
        *,
        case
            when incomparable_cause is not null then 'not_comparable'
            when not is_billed and is_within_grace then 'pending'
            when not is_billed then 'unbilled'
            when role = 'unexpected' then 'unexpected'
            when variance_amount = 0 then 'matched'
            when abs(variance_amount) <= allowed_variance_amount then 'within_tolerance'
            when variance_amount between cutoff_low_amount and cutoff_high_amount then 'within_tolerance'
            when variance_amount < 0 then 'underbilled'
            else 'overbilled'
        end as status
    from variances

),

explained_orders as (

    select
        *,
        case
            when status = 'not_comparable' then incomparable_cause
            when not is_billed then missing_order_cause
            when status = 'unexpected' then 'unexplained'
            when status = 'matched' and is_trial_start then 'trial'
            when status = 'matched' then 'none'
            when status = 'within_tolerance' and abs(variance_amount) <= allowed_variance_amount then 'rounding'
            when status = 'within_tolerance' then 'cutoff_timing'
            when variance_amount in (late_out_amount, late_in_amount, late_both_amount) then 'late_usage'
            else 'unexplained'
        end as cause
    from judged_orders

)

select
    {{ surrogate_key(["'order_reconciliation'", "case when is_billed then " ~ key_text('order_key') ~ " else 'missing' end", 'subscription_key', 'billing_period_key']) }} as order_reconciliation_key,
    organization_id,
    customer_key,
    subscription_key,
    subscription_id,
    order_key,
    order_id,
    currency,
    billing_period_key,
    period_start_at,
    period_end_at,
    due_at,
    paid_at,
    cast(expected_static_amount as bigint) as expected_static_amount,
    cast(expected_metered_amount as bigint) as expected_metered_amount,
    cast(expected_subtotal_amount as bigint) as expected_subtotal_amount,
    cast(proration_amount as bigint) as proration_amount,
    cast(billed_subtotal_amount as bigint) as billed_subtotal_amount,
    cast(variance_amount as bigint) as variance_amount,
    cast(allowed_variance_amount as bigint) as allowed_variance_amount,
    cast(cutoff_low_amount as bigint) as cutoff_low_amount,
    cast(cutoff_high_amount as bigint) as cutoff_high_amount,
    status,
    cause,
    case when has_lines then 'lines' else 'order_total' end as comparison
from explained_orders
