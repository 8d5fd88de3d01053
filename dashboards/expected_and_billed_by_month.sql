-- Does what was billed each month agree with what usage and prices say?
-- One row per organization, currency and month in which the usage period ended, in whole units of the currency. Rows that
-- cannot be compared, and orders that are not due yet, are left out; proration stands apart from both sides.
select
    r.organization_id,
    cast(date_trunc('month', coalesce(r.period_end_at, r.paid_at, r.due_at)) as date) as billing_month,
    r.currency,
    count(*) as order_count,
    cast(sum(r.expected_subtotal_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as expected,
    cast(sum(coalesce(r.billed_subtotal_amount, 0) - coalesce(r.proration_amount, 0)) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as billed,
    cast(sum(r.variance_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as variance
from order_reconciliation as r
left join (
    select currency, case minor_unit_digits when 0 then 1.000 when 3 then 0.001 else 0.010 end as unit from currencies
) as u on r.currency = u.currency
where r.status not in ('not_comparable', 'pending')
group by 1, 2, 3
order by 1, 3, 2
