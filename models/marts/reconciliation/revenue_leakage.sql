{#
    What needs a person, biggest money first: orders that do not agree with usage, usage that no order will bill, usage
    that Polar never recorded, meters whose balances count other events than their bills, and customers whose usage costs
    more than they pay. Rows of accepted_exceptions.csv stay and say so.
#}

with

orders as (

    select
        order_reconciliation.*,
        currencies.minor_unit_digits,
        causes.explanation as cause_explanation
    from {{ ref('order_reconciliation') }} as order_reconciliation
    left join {{ ref('currencies') }} as currencies on order_reconciliation.currency = currencies.currency
    inner join {{ ref('reconciliation_causes') }} as causes on order_reconciliation.cause = causes.cause
    where order_reconciliation.status in ('unbilled', 'unexpected', 'underbilled', 'overbilled')

),

unbilled_usage as (

    select
        organization_id,
        customer_key,
        meter_id,
        usage_month,
        outcome,
        currency,
        cast(sum(event_count) as bigint) as event_count,
        cast(sum(amount) as decimal(38, 12)) as amount
    from {{ ref('unbilled_usage') }}
    group by organization_id, customer_key, meter_id, usage_month, outcome, currency

),

deliveries as (

    select * from {{ ref('delivery_reconciliation') }}
    where missing_count > 0

),

meter_differences as (

    select * from {{ ref('meter_matching_differences') }}
    where event_count > 0

),

{#
    Usage is billed in arrears: what the last known month cost, no order can have billed. Payments of that month count,
    because they are for the usage before it.
#}
margins as (

    select
        margins.organization_id,
        margins.customer_key,
        margins.margin_currency as currency,
        min(margins.margin_month) as first_month,
        max(margins.margin_month) as last_month,
        sum(margins.margin_amount + case
            when margins.margin_month < date_trunc('month', organizations.data_horizon_at) then 0
            when margins.cost_currency = margins.margin_currency then margins.cost_amount
            else {{ exact_product('margins.cost_amount', 'margins.cost_reporting_rate') }}
        end) as margin_amount
    from {{ ref('customer_margins') }} as margins
    inner join {{ ref('int_organizations_covered') }} as organizations on margins.organization_id = organizations.organization_id
    where margins.margin_amount is not null
    group by margins.organization_id, margins.customer_key, margins.margin_currency

),

exceptions as (

    select
        status || '_order' as kind,
        order_reconciliation_key as key,
        organization_id,
        customer_key,
        period_start_at,
        period_end_at,
        cast(abs(variance_amount) as decimal(38, 12)) as amount,
        currency,
        cast(null as bigint) as event_count,
        concat_ws(
            ' ',
            case status
                when 'unbilled' then concat(
                    'An order of ', {{ money_text('expected_subtotal_amount', 'minor_unit_digits', 'currency') }},
                    ' was due on ', cast(cast(due_at as date) as varchar), ' and none was paid.'
                )
                when 'unexpected' then concat(
                    'An order of ', {{ money_text('billed_subtotal_amount', 'minor_unit_digits', 'currency') }},
                    ' was paid that settles no period and is no first order.'
                )
                else concat(
                    'The order bills ', {{ money_text('billed_subtotal_amount - proration_amount', 'minor_unit_digits', 'currency') }},
                    ' where usage and prices say ', {{ money_text('expected_subtotal_amount', 'minor_unit_digits', 'currency') }}, '.'
                )
            end,
            cause_explanation
        ) as explanation
    from orders
    union all
    select
        case unbilled_usage.outcome
            when 'unknown_customer' then 'usage_of_unknown_customer'
            when 'no_subscription' then 'usage_without_subscription'
            when 'no_price' then 'usage_without_price'
            else 'stranded_usage'
        end as kind,
        {{ surrogate_key(["'unbilled_usage'", 'unbilled_usage.organization_id', 'unbilled_usage.customer_key', 'unbilled_usage.meter_id', 'unbilled_usage.usage_month', 'unbilled_usage.outcome', 'unbilled_usage.currency']) }} as key,
        unbilled_usage.organization_id,
        unbilled_usage.customer_key,
        cast(unbilled_usage.usage_month as timestamp) as period_start_at,
        cast(unbilled_usage.usage_month as timestamp) + interval '1 month' as period_end_at,
        unbilled_usage.amount,
        unbilled_usage.currency,
        unbilled_usage.event_count,
        concat('Usage of a month that no order will bill. ', outcomes.explanation) as explanation
    from unbilled_usage
    inner join {{ ref('billing_outcomes_explained') }} as outcomes on unbilled_usage.outcome = outcomes.outcome
    union all
    select
        'unrecorded_usage' as kind,
        delivery_reconciliation_key as key,
        organization_id,
        customer_key,
        cast(usage_date as timestamp) as period_start_at,
        cast(usage_date as timestamp) + interval '1 day' as period_end_at,
        null as amount,
        null as currency,
        missing_count as event_count,
        'Events of a day that were submitted and that Polar does not have: it cannot bill them.' as explanation
    from deliveries
    union all
    select
        'meter_mismatch' as kind,
        meter_key as key,
        organization_id,
        null as customer_key,
        null as period_start_at,
        null as period_end_at,
        null as amount,
        null as currency,
        event_count,
        'Polar''s balances and previews of this meter count other events than its bills: a filter compares a property with a value of another type.' as explanation
    from meter_differences
    union all
    select
        'cost_above_revenue' as kind,
        {{ surrogate_key(["'cost_above_revenue'", 'organization_id', 'customer_key', 'currency']) }} as key,
        organization_id,
        customer_key,
        cast(first_month as timestamp) as period_start_at,
        cast(last_month as timestamp) + interval '1 month' as period_end_at,
        cast(-margin_amount as decimal(38, 12)) as amount,
        currency,
        cast(null as bigint) as event_count,
        'The customer''s usage costs more than the customer has paid, before fees and refunds; costs of the last known month are left out, for no order has billed them yet.' as explanation
    from margins
    where margin_amount < 0

)

select
    exceptions.kind,
    exceptions.key,
    exceptions.organization_id,
    exceptions.customer_key,
    cast(cast(exceptions.period_start_at as date) as varchar) || '/' || cast(cast(exceptions.period_end_at as date) as varchar) as period,
    exceptions.period_start_at,
    exceptions.period_end_at,
    exceptions.amount,
    exceptions.currency,
    exceptions.event_count,
    exceptions.explanation,
    accepted.kind is not null as is_accepted
from exceptions
left join {{ ref('accepted_exceptions') }} as accepted
    on
        exceptions.kind = accepted.kind
        and {{ key_text('exceptions.key') }} = accepted.key
order by exceptions.amount desc nulls last, exceptions.event_count desc nulls last, exceptions.kind, exceptions.key
