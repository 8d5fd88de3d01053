-- How many orders agree, differ, wait or are missing?
-- One row per organization, status and currency, in whole units of the currency.
select
    r.organization_id,
    r.status,
    r.currency,
    count(*) as order_count,
    cast(sum(r.variance_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as variance
from order_reconciliation as r
left join (
    select currency, case minor_unit_digits when 0 then 1.000 when 3 then 0.001 else 0.010 end as unit from currencies
) as u on r.currency = u.currency
group by 1, 2, 3
order by 1, 2, 3
