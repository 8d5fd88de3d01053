with

movements as (

    select * from {{ ref('int_settlement_movements') }}

),

booked_movements as (

    select
        organization_id,
        currency,
        cast(booked_at as date) as revenue_date,
        0 as order_count,
        revenue_amount,
        fee_amount,
        repeated_fee_amount,
        refund_amount,
        refund_reversal_amount,
        dispute_amount,
        dispute_reversal_amount,
        revenue_amount_as_polar,
        net_revenue_amount_as_polar
    from movements
    union all by name
    select
        organization_id,
        currency,
        cast(ordered_at as date) as revenue_date,
        1 as order_count
    from movements
    where is_order_counted

),

days as (

    select
        organization_id,
        currency,
        revenue_date,
        cast(sum(order_count) as bigint) as order_count,
        {%- for name in [
            'revenue_amount', 'fee_amount', 'repeated_fee_amount', 'refund_amount', 'refund_reversal_amount', 'dispute_amount',
            'dispute_reversal_amount', 'revenue_amount_as_polar', 'net_revenue_amount_as_polar'
        ] %}
        cast(coalesce(sum({{ name }}), 0) as bigint) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from booked_movements
    group by organization_id, currency, revenue_date

),

rated_days as (

    select
        days.*,
        days.revenue_amount - days.fee_amount - days.refund_amount - days.dispute_amount as net_revenue_amount,
        {%- if var('reporting_currency') %}
        case when days.currency = '{{ var('reporting_currency') | lower }}' then cast(1 as decimal(38, 12)) else rates.rate end as reporting_rate,
        case when days.currency = '{{ var('reporting_currency') | lower }}' then days.revenue_date else rates.rate_date end as reporting_rate_date
        {%- else %}
        cast(null as decimal(38, 12)) as reporting_rate,
        cast(null as date) as reporting_rate_date
        {%- endif %}
    from days
    asof left join {{ ref('int_exchange_rates') }} as rates
        on
            days.organization_id = rates.organization_id
            and days.currency = rates.currency
            and days.revenue_date >= rates.rate_date

)

select
    {{ surrogate_key(["'revenue_daily'", 'organization_id', 'currency', 'revenue_date']) }} as revenue_daily_key,
    organization_id,
    revenue_date,
    currency,
    order_count,
    revenue_amount,
    fee_amount,
    refund_amount,
    dispute_amount,
    net_revenue_amount,
    refund_reversal_amount,
    dispute_reversal_amount,
    repeated_fee_amount,
    cast(sum(revenue_amount) over days_so_far as bigint) as cumulative_revenue_amount,
    cast(sum(net_revenue_amount) over days_so_far as bigint) as cumulative_net_revenue_amount,
    revenue_amount_as_polar,
    net_revenue_amount_as_polar,
    {{ "'" ~ var('reporting_currency') | lower ~ "'" if var('reporting_currency') else 'cast(null as varchar)' }} as reporting_currency,
    reporting_rate,
    reporting_rate_date,
    {{ convert_amount('revenue_amount', rate_numerator('reporting_rate'), rate_unit()) }} as revenue_reporting_amount,
    {{ convert_amount('net_revenue_amount', rate_numerator('reporting_rate'), rate_unit()) }} as net_revenue_reporting_amount
from rated_days
window days_so_far as (partition by organization_id, currency order by revenue_date)
