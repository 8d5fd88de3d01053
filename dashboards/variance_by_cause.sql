-- Where did the difference between expected and billed go?
-- One row per organization, currency, status and cause, in whole units of the currency; the largest first.
select
    r.organization_id,
    r.currency,
    r.status,
    r.cause,
    count(*) as order_count,
    cast(sum(r.variance_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as variance
from order_reconciliation as r
left join (
    select currency, case minor_unit_digits when 0 then 1.000 when 3 then 0.001 else 0.010 end as unit from currencies
) as u on r.currency = u.currency
where r.status not in ('not_comparable', 'pending')
group by 1, 2, 3, 4
order by 1, 2, abs(sum(r.variance_amount)) desc, 3, 4
