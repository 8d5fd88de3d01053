-- What came in, and what was left of it?
-- One row per organization, settlement currency and month: Polar's definitions, in whole units of the currency.
select
    r.organization_id,
    cast(date_trunc('month', r.revenue_date) as date) as revenue_month,
    r.currency,
    sum(r.order_count) as order_count,
    cast(sum(r.revenue_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as revenue,
    cast(sum(r.fee_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as fees,
    cast(sum(r.refund_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as refunds,
    cast(sum(r.dispute_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as disputes,
    cast(sum(r.net_revenue_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as net_revenue
from revenue_daily as r
left join (
    select currency, case minor_unit_digits when 0 then 1.000 when 3 then 0.001 else 0.010 end as unit from currencies
) as u on r.currency = u.currency
group by 1, 2, 3
order by 1, 3, 2
