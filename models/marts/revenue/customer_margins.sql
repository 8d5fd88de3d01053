with

{# A free order is no row: it would only say in which currency nothing was paid. #}
movements as (

    select * from {{ ref('int_settlement_movements') }}
    where
        customer_key is not null and kind != 'as_polar'
        and (revenue_amount != 0 or fee_amount != 0 or refund_amount != 0 or dispute_amount != 0)

),

usage_costs as (

    select * from {{ ref('int_usage_costs_daily') }}

),

revenues as (

    select
        organization_id,
        customer_key,
        currency,
        cast(date_trunc('month', booked_at) as date) as margin_month,
        cast(sum(revenue_amount) as bigint) as revenue_amount,
        cast(sum(revenue_amount - fee_amount - refund_amount - dispute_amount) as bigint) as net_revenue_amount
    from movements
    group by organization_id, customer_key, currency, margin_month

),

costs as (

    select
        organization_id,
        customer_key,
        cost_currency,
        cast(date_trunc('month', usage_date) as date) as margin_month,
        cast(sum(cost_amount) as decimal(38, 12)) as cost_amount
    from usage_costs
    where cost_amount is not null
    group by organization_id, customer_key, cost_currency, margin_month

),

{#
    A cost stands beside the revenue in its currency, else beside one in another that has none of its own: there the
    margin is only known in a reporting currency. Without any revenue it has a row of its own.
#}
revenues_without_cost as (

    select * from revenues
    anti join costs
        on
            revenues.organization_id = costs.organization_id
            and revenues.customer_key = costs.customer_key
            and revenues.margin_month = costs.margin_month
            and revenues.currency = costs.cost_currency
    qualify row_number() over (
        partition by revenues.organization_id, revenues.customer_key, revenues.margin_month order by revenues.currency
    ) = 1

),

costs_without_revenue as (

    select * from costs
    anti join revenues
        on
            costs.organization_id = revenues.organization_id
            and costs.customer_key = revenues.customer_key
            and costs.margin_month = revenues.margin_month
            and costs.cost_currency = revenues.currency
    qualify row_number() over (
        partition by costs.organization_id, costs.customer_key, costs.margin_month order by costs.cost_currency
    ) = 1

),

placed_costs as (

    select
        costs.*,
        case
            when costs_without_revenue.cost_currency is not null then revenues_without_cost.currency
        end as beside_currency
    from costs
    left join costs_without_revenue
        on
            costs.organization_id = costs_without_revenue.organization_id
            and costs.customer_key = costs_without_revenue.customer_key
            and costs.margin_month = costs_without_revenue.margin_month
            and costs.cost_currency = costs_without_revenue.cost_currency
    left join revenues_without_cost
        on
            costs.organization_id = revenues_without_cost.organization_id
            and costs.customer_key = revenues_without_cost.customer_key
            and costs.margin_month = revenues_without_cost.margin_month

),

months as (

    select
        coalesce(revenues.organization_id, placed_costs.organization_id) as organization_id,
        coalesce(revenues.customer_key, placed_costs.customer_key) as customer_key,
        coalesce(revenues.margin_month, placed_costs.margin_month) as margin_month,
        cast(last_day(coalesce(revenues.margin_month, placed_costs.margin_month)) as date) as last_date,
        coalesce(revenues.currency, placed_costs.cost_currency) as currency,
        coalesce(revenues.revenue_amount, 0) as revenue_amount,
        coalesce(revenues.net_revenue_amount, 0) as net_revenue_amount,
        coalesce(placed_costs.cost_amount, 0) as cost_amount,
        coalesce(placed_costs.cost_currency, revenues.currency) as cost_currency
    from revenues
    full join placed_costs
        on
            revenues.organization_id = placed_costs.organization_id
            and revenues.customer_key = placed_costs.customer_key
            and revenues.margin_month = placed_costs.margin_month
            and revenues.currency = coalesce(placed_costs.beside_currency, placed_costs.cost_currency)

),

rated_months as (

    select
        months.*,
        {%- if var('reporting_currency') %}
        case when months.currency = '{{ var('reporting_currency') | lower }}' then cast(1 as decimal(38, 12)) else revenue_rates.rate end as reporting_rate,
        case when months.currency = '{{ var('reporting_currency') | lower }}' then months.last_date else revenue_rates.rate_date end as reporting_rate_date,
        case when months.cost_currency = '{{ var('reporting_currency') | lower }}' then cast(1 as decimal(38, 12)) else cost_rates.rate end as cost_reporting_rate,
        case when months.cost_currency = '{{ var('reporting_currency') | lower }}' then months.last_date else cost_rates.rate_date end as cost_reporting_rate_date
        {%- else %}
        cast(null as decimal(38, 12)) as reporting_rate,
        cast(null as date) as reporting_rate_date,
        cast(null as decimal(38, 12)) as cost_reporting_rate,
        cast(null as date) as cost_reporting_rate_date
        {%- endif %}
    from months
    asof left join {{ ref('int_exchange_rates') }} as revenue_rates
        on
            months.organization_id = revenue_rates.organization_id
            and months.currency = revenue_rates.currency
            and months.last_date >= revenue_rates.rate_date
    asof left join {{ ref('int_exchange_rates') }} as cost_rates
        on
            months.organization_id = cost_rates.organization_id
            and months.cost_currency = cost_rates.currency
            and months.last_date >= cost_rates.rate_date

),

margins as (

    select
        *,
        case
            when currency = cost_currency then cast(revenue_amount as decimal(38, 12)) - cost_amount
            else
                {{ exact_product('revenue_amount', 'reporting_rate') }} - {{ exact_product('cost_amount', 'cost_reporting_rate') }}
        end as margin_amount,
        case
            when currency = cost_currency then cast(net_revenue_amount as decimal(38, 12)) - cost_amount
            else
                {{ exact_product('net_revenue_amount', 'reporting_rate') }} - {{ exact_product('cost_amount', 'cost_reporting_rate') }}
        end as net_margin_amount,
        case
            when currency = cost_currency then currency
            when reporting_rate is not null and cost_reporting_rate is not null
                then '{{ var('reporting_currency') | lower }}'
        end as margin_currency
    from rated_months

)

select
    {{ surrogate_key(["'customer_margin'", 'organization_id', 'customer_key', 'margin_month', 'currency']) }} as customer_margin_key,
    organization_id,
    customer_key,
    margin_month,
    currency,
    revenue_amount,
    net_revenue_amount,
    cast(cost_amount as decimal(38, 12)) as cost_amount,
    cost_currency,
    cast(margin_amount as decimal(38, 12)) as margin_amount,
    cast(net_margin_amount as decimal(38, 12)) as net_margin_amount,
    margin_currency,
    reporting_rate,
    reporting_rate_date,
    cost_reporting_rate,
    cost_reporting_rate_date
from margins
