{#
    Line by line what order_reconciliation compares as a whole: the usage of the period that an order settles beside the
    order's metered lines, by price and currency. What holds for the order (it does not exist, or cannot be compared
    for a reason that is not about static prices) holds for its lines.
#}
{% set allowed_amount = [var('tolerance_floor_amount') | int, 1] | max %}

with

{# Without lines only the total can be compared. An order that does not exist has none to know. #}
orders as (

    select
        *,
        status in ('pending', 'unbilled') as is_missing
    from {{ ref('order_reconciliation') }}
    where comparison = 'lines' or status in ('pending', 'unbilled')

),

usage as (

    select
        orders.order_reconciliation_key,
        quantities.*
    from {{ ref('int_metered_quantities') }} as quantities
    inner join orders on quantities.billing_period_key = orders.billing_period_key
    {# Nothing is missing where nothing was to be billed. #}
    where not orders.is_missing or coalesce(quantities.expected_amount, 1) != 0

),

{# Polar writes one line per price; an export may split it. #}
lines as (

    select
        orders.order_reconciliation_key,
        order_lines.meter_id,
        order_lines.price_id,
        order_lines.currency,
        min(order_lines.order_line_key) as order_line_key,
        case when count(*) = count(order_lines.units) then sum(order_lines.units) end as billed_units,
        cast(sum(order_lines.amount) as bigint) as billed_amount
    from {{ ref('int_order_lines_priced') }} as order_lines
    inner join orders on order_lines.order_key = orders.order_key
    where order_lines.line_type = 'metered' and not orders.is_missing
    group by orders.order_reconciliation_key, order_lines.meter_id, order_lines.price_id, order_lines.currency

),

{# Two nulls are one: a line whose price or meter is not known stays a line. #}
compared_lines as (

    select
        coalesce(usage.order_reconciliation_key, lines.order_reconciliation_key) as order_reconciliation_key,
        usage.meter_usage_key,
        lines.order_line_key,
        coalesce(usage.meter_id, lines.meter_id) as meter_id,
        coalesce(usage.price_id, lines.price_id) as price_id,
        coalesce(usage.currency, lines.currency) as currency,
        usage.billable_units as expected_units,
        lines.billed_units,
        {# What no usage stands for is expected to be nothing; what cannot be rated has no amount. #}
        case when usage.meter_usage_key is null then 0 else usage.expected_amount end as expected_amount,
        coalesce(lines.billed_amount, 0) as billed_amount,
        coalesce(usage.cutoff_low_amount, 0) as cutoff_low_amount,
        coalesce(usage.cutoff_high_amount, 0) as cutoff_high_amount,
        usage.late_out_amount,
        usage.late_in_amount,
        usage.late_both_amount
    from usage
    full outer join lines
        on
            usage.order_reconciliation_key = lines.order_reconciliation_key
            and usage.price_id = lines.price_id
            and usage.currency is not distinct from lines.currency

),

lines_of_orders as (

    select
        {# Of an order whose prices are not known, a line without usage is no line too much. #}
        compared_lines.* replace (
            case
                when compared_lines.meter_usage_key is not null or orders.cause != 'missing_price' then compared_lines.expected_amount
            end as expected_amount
        ),
        orders.order_key,
        orders.organization_id,
        orders.customer_key,
        orders.subscription_key,
        orders.period_start_at,
        orders.period_end_at,
        orders.is_missing,
        orders.status as order_status,
        orders.cause as order_cause,
        case
            when orders.status = 'not_comparable' and orders.cause not in ('missing_price', 'proration') then orders.cause
            when compared_lines.expected_amount is null then 'missing_price'
            when compared_lines.meter_usage_key is null and orders.cause = 'missing_price' then 'missing_price'
        end as incomparable_cause
    from compared_lines
    inner join orders on compared_lines.order_reconciliation_key = orders.order_reconciliation_key

),

variances as (

    select
        *,
        case
            when incomparable_cause is not null then null
            when is_missing then -expected_amount
            else billed_amount - expected_amount
        end as variance_amount
    from lines_of_orders

),

judged_lines as (

    select
        *,
        case
            when incomparable_cause is not null then 'not_comparable'
            when is_missing or order_status = 'unexpected' then order_status
            when variance_amount = 0 then 'matched'
            when abs(variance_amount) <= {{ allowed_amount }} then 'within_tolerance'
            when variance_amount between cutoff_low_amount and cutoff_high_amount then 'within_tolerance'
            when variance_amount < 0 then 'underbilled'
            else 'overbilled'
        end as status
    from variances

)

select
    {{ surrogate_key(["'meter_reconciliation'", 'order_reconciliation_key', 'meter_id', 'price_id', 'currency']) }} as meter_reconciliation_key,
    order_reconciliation_key,
    meter_usage_key,
    order_line_key,
    order_key,
    organization_id,
    customer_key,
    subscription_key,
    meter_id,
    price_id,
    currency,
    period_start_at,
    period_end_at,
    expected_units,
    billed_units,
    cast(expected_amount as bigint) as expected_amount,
    case when not is_missing then billed_amount end as billed_amount,
    cast(variance_amount as bigint) as variance_amount,
    status,
    case
        when status = 'not_comparable' then incomparable_cause
        when is_missing then order_cause
        when status = 'unexpected' then 'unexplained'
        when status = 'matched' then 'none'
        when status = 'within_tolerance' and abs(variance_amount) <= {{ allowed_amount }} then 'rounding'
        when status = 'within_tolerance' then 'cutoff_timing'
        when variance_amount in (late_out_amount, late_in_amount, late_both_amount) then 'late_usage'
        else 'unexplained'
    end as cause
from judged_lines
