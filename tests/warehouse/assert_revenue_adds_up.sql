{#
    What is told of revenue is told once: each day's net is its parts, running sums end at the total, every kind of bucket
    and the bridge hold the same money, and no movement is left out. A dashboard that shows two totals is believed in none.
#}

with

movements as (

    select
        organization_id,
        currency,
        sum(revenue_amount) as revenue_amount,
        sum(revenue_amount - fee_amount - refund_amount - dispute_amount) as net_revenue_amount,
        count(*) filter (where is_order_counted) as order_count
    from {{ ref('int_settlement_movements') }}
    group by organization_id, currency

),

days as (

    select
        organization_id,
        currency,
        sum(revenue_amount) as revenue_amount,
        sum(net_revenue_amount) as net_revenue_amount,
        sum(order_count) as order_count,
        arg_max(cumulative_revenue_amount, revenue_date) as cumulative_revenue_amount,
        arg_max(cumulative_net_revenue_amount, revenue_date) as cumulative_net_revenue_amount,
        sum(revenue_amount_as_polar) as revenue_amount_as_polar,
        sum(net_revenue_amount_as_polar) as net_revenue_amount_as_polar
    from {{ ref('revenue_daily') }}
    group by organization_id, currency

),

buckets as (

    select
        organization_id,
        currency,
        bucket_type,
        sum(revenue_amount) as revenue_amount,
        sum(net_revenue_amount) as net_revenue_amount,
        sum(order_count) as order_count,
        arg_max(cumulative_revenue_amount, bucket_start_date) as cumulative_revenue_amount,
        arg_max(cumulative_net_revenue_amount, bucket_start_date) as cumulative_net_revenue_amount,
        sum(revenue_amount_as_polar) as revenue_amount_as_polar,
        sum(net_revenue_amount_as_polar) as net_revenue_amount_as_polar
    from {{ ref('revenue_metrics') }}
    group by organization_id, currency, bucket_type

),

bridges as (

    select
        organization_id,
        currency,
        sum(revenue_amount) as revenue_amount,
        sum(net_revenue_amount) as net_revenue_amount
    from {{ ref('net_revenue_bridge') }}
    group by organization_id, currency

)

select
    'net_of_day' as claim,
    organization_id,
    currency,
    cast(revenue_date as varchar) as place
from {{ ref('revenue_daily') }}
where net_revenue_amount != revenue_amount - fee_amount - refund_amount - dispute_amount
union all
select
    'days_hold_every_movement' as claim,
    movements.organization_id,
    movements.currency,
    null as place
from movements
left join days
    on
        movements.organization_id = days.organization_id
        and movements.currency = days.currency
where
    (movements.revenue_amount, movements.net_revenue_amount, movements.order_count)
    is distinct from (days.revenue_amount, days.net_revenue_amount, days.order_count)
union all
select
    'running_sum_of_days' as claim,
    organization_id,
    currency,
    null as place
from days
where cumulative_revenue_amount != revenue_amount or cumulative_net_revenue_amount != net_revenue_amount
union all
select
    'buckets_hold_every_day' as claim,
    coalesce(days.organization_id, buckets.organization_id) as organization_id,
    coalesce(days.currency, buckets.currency) as currency,
    coalesce(buckets.bucket_type, 'no bucket') as place
from days
full join buckets
    on
        days.organization_id = buckets.organization_id
        and days.currency = buckets.currency
where
    {%- for name in [
        'revenue_amount', 'net_revenue_amount', 'order_count', 'cumulative_revenue_amount', 'cumulative_net_revenue_amount',
        'revenue_amount_as_polar', 'net_revenue_amount_as_polar'
    ] %}
    coalesce(days.{{ name }}, 0) != coalesce(buckets.{{ name }}, 0){{ ' or' if not loop.last }}
    {%- endfor %}
    or (days.organization_id is not null and buckets.organization_id is null)
union all
select
    'bridge_adds_up' as claim,
    organization_id,
    currency,
    cast(revenue_month as varchar) as place
from {{ ref('net_revenue_bridge') }}
where
    gross_amount - discount_amount - tax_amount + rounding_amount != revenue_amount
    or revenue_amount - fee_amount - refund_amount + refund_reversal_amount - dispute_amount + dispute_reversal_amount
    != net_revenue_amount
union all
select
    'bridge_holds_every_day' as claim,
    days.organization_id,
    days.currency,
    null as place
from days
left join bridges
    on
        days.organization_id = bridges.organization_id
        and days.currency = bridges.currency
where
    coalesce(bridges.revenue_amount, 0) != days.revenue_amount
    or coalesce(bridges.net_revenue_amount, 0) != days.net_revenue_amount
union all
select
    'cash_follows_from_the_total' as claim,
    organization_id,
    currency,
    order_key as place
from {{ ref('orders_settled') }}
where total_amount + applied_balance_amount + credited_amount - uncharged_amount != paid_amount
