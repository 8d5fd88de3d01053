with

movements as (

    select * from {{ ref('int_settlement_movements') }}

)

select
    {{ surrogate_key(["'net_revenue_bridge'", 'organization_id', 'currency', "cast(date_trunc('month', booked_at) as date)"]) }} as net_revenue_bridge_key,
    organization_id,
    cast(date_trunc('month', booked_at) as date) as revenue_month,
    currency,
    cast(sum(gross_amount) as bigint) as gross_amount,
    cast(sum(discount_amount) as bigint) as discount_amount,
    cast(sum(tax_amount) as bigint) as tax_amount,
    {# Each part is converted and rounded by itself. #}
    cast(sum(revenue_amount - (gross_amount - discount_amount - tax_amount)) as bigint) as rounding_amount,
    cast(sum(revenue_amount) as bigint) as revenue_amount,
    cast(sum(fee_amount) as bigint) as fee_amount,
    cast(sum(refund_amount + refund_reversal_amount) as bigint) as refund_amount,
    cast(sum(refund_reversal_amount) as bigint) as refund_reversal_amount,
    cast(sum(dispute_amount + dispute_reversal_amount) as bigint) as dispute_amount,
    cast(sum(dispute_reversal_amount) as bigint) as dispute_reversal_amount,
    cast(sum(revenue_amount - fee_amount - refund_amount - dispute_amount) as bigint) as net_revenue_amount
from movements
where kind != 'as_polar'
group by organization_id, revenue_month, currency
