{{ config(
    materialized='incremental',
    touched_by='int_usage_days_changed', touched_on=['organization_id', 'customer_key', 'usage_date']
) }}

{# What a customer's usage of a day cost: what sums over all history are made of, which many rows a day would slow down. #}

with

costs as (

    select * from {{ ref('int_usage_costs') }}{{ touched_only('int_usage_days_changed', ['organization_id', 'customer_key', 'usage_date']) }}
    where {{ within_span('int_usage_days_changed', 'usage_date', 'usage_date', 'usage_date') }}

)

select
    organization_id,
    customer_key,
    usage_date,
    metrics_date,
    cost_currency,
    cast(sum(event_count) as bigint) as event_count,
    cast(sum(polar_id_event_count) as bigint) as polar_id_event_count,
    cast(sum(cost_amount) as decimal(38, 12)) as cost_amount
from costs
group by organization_id, customer_key, usage_date, metrics_date, cost_currency
{{ in_order_of('usage_date') }}
