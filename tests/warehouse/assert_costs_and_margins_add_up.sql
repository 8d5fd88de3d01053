{#
    Usage costs are those of usage_daily and those that margins and metrics are made of, margins hold every cost once and
    all revenue of customers, and each margin is revenue less cost. A cost that is counted twice, or beside the wrong
    currency, makes a good customer look bad. An event's cost never changes: where only a part was built, counts show what
    should have changed and did not.
#}
{% set is_partial = changes_to_test(ref('usage_daily')) is not none and changes_to_test(ref('usage_costs')) is not none %}
{% set grain = 'cost_currency' if is_partial else 'organization_id, customer_key, cost_currency' %}
{% set grain_of_days = 'cost_currency' if is_partial else 'organization_id, cost_currency' %}

with

daily_costs as (

    select
        {{ grain }},
        {%- if not is_partial %}
        coalesce(sum(cost_amount), 0) as cost_amount,
        {%- endif %}
        sum(event_count) as event_count
    from {{ ref('usage_daily') }}
    group by {{ grain }}

),

usage_costs as (

    select
        {{ grain }},
        {%- if not is_partial %}
        coalesce(sum(cost_amount), 0) as cost_amount,
        {%- endif %}
        sum(event_count) as event_count
    from {{ ref('usage_costs') }}
    group by {{ grain }}

),

only_in_daily as (

    select * from daily_costs
    except
    select * from usage_costs

),

only_in_costs as (

    select * from usage_costs
    except
    select * from daily_costs

),

costs_by_day as (

    select
        {{ grain_of_days }},
        {%- if not is_partial %}
        sum(cost_amount) as cost_amount,
        {%- endif %}
        sum(event_count) as event_count,
        sum(polar_id_event_count) as polar_id_event_count
    from {{ ref('int_usage_costs_daily') }}
    group by {{ grain_of_days }}

),

costs_by_model as (

    select
        {{ grain_of_days }},
        {%- if not is_partial %}
        sum(cost_amount) as cost_amount,
        {%- endif %}
        sum(event_count) as event_count,
        sum(polar_id_event_count) as polar_id_event_count
    from {{ ref('int_usage_costs') }}
    group by {{ grain_of_days }}

),

only_by_day as (

    select * from costs_by_day
    except
    select * from costs_by_model

),

only_by_model as (

    select * from costs_by_model
    except
    select * from costs_by_day

),

cost_totals as (

    select
        organization_id,
        cost_currency as currency,
        sum(cost_amount) as cost_amount
    from {{ ref('int_usage_costs_daily') }}
    where cost_currency is not null
    group by organization_id, cost_currency

),

margin_costs as (

    select
        organization_id,
        cost_currency as currency,
        sum(cost_amount) as cost_amount
    from {{ ref('customer_margins') }}
    group by organization_id, cost_currency

),

metric_costs as (

    select
        organization_id,
        cost_currency as currency,
        sum(cost_amount) as cost_amount
    from {{ ref('revenue_metrics') }}
    where bucket_type = 'month'
    group by organization_id, cost_currency

),

revenues as (

    select
        organization_id,
        currency,
        sum(revenue_amount) as revenue_amount
    from {{ ref('int_settlement_movements') }}
    where customer_key is not null and kind != 'as_polar'
    group by organization_id, currency

),

margin_revenues as (

    select
        organization_id,
        currency,
        sum(revenue_amount) as revenue_amount
    from {{ ref('customer_margins') }}
    group by organization_id, currency

)

select
    'costs_of_days' as claim,
    {{ "'any'" if is_partial else 'organization_id' }} as organization_id,
    cost_currency as currency
from only_in_daily
union all
select
    'events_of_days' as claim,
    {{ "'any'" if is_partial else 'organization_id' }} as organization_id,
    cost_currency as currency
from only_by_day
union all
select
    'events_of_days' as claim,
    {{ "'any'" if is_partial else 'organization_id' }} as organization_id,
    cost_currency as currency
from only_by_model
union all
select
    'costs_of_days' as claim,
    {{ "'any'" if is_partial else 'organization_id' }} as organization_id,
    cost_currency as currency
from only_in_costs
union all
select
    'margins_hold_each_cost_once' as claim,
    cost_totals.organization_id,
    cost_totals.currency
from cost_totals
left join margin_costs
    on
        cost_totals.organization_id = margin_costs.organization_id
        and cost_totals.currency = margin_costs.currency
left join metric_costs
    on
        cost_totals.organization_id = metric_costs.organization_id
        and cost_totals.currency = metric_costs.currency
where
    margin_costs.cost_amount is distinct from cost_totals.cost_amount
    or metric_costs.cost_amount is distinct from cost_totals.cost_amount
union all
select
    'margins_hold_all_revenue' as claim,
    revenues.organization_id,
    revenues.currency
from revenues
left join margin_revenues
    on
        revenues.organization_id = margin_revenues.organization_id
        and revenues.currency = margin_revenues.currency
{# Free orders alone are no row of margins. #}
where coalesce(margin_revenues.revenue_amount, 0) != revenues.revenue_amount
union all
select
    'margin_is_revenue_less_cost' as claim,
    organization_id,
    currency
from {{ ref('customer_margins') }}
where
    (currency = cost_currency and margin_amount is distinct from cast(revenue_amount as decimal(38, 12)) - cost_amount)
    or (currency != cost_currency and reporting_rate is null and margin_amount is not null)
