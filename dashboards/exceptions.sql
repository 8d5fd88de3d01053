-- What needs a person, and why?
-- One row per exception that nobody has accepted yet, the most money first, in whole units of the currency. The key leads
-- on: to order_reconciliation and meter_reconciliation by their keys, to usage by customer and period.
select
    l.organization_id,
    l.kind,
    l.key,
    l.customer_key,
    coalesce(c.external_customer_id, c.customer_id, l.customer_key) as customer,
    l.period,
    cast(l.amount * coalesce(u.unit, 0.010) as decimal(38, 3)) as amount,
    l.currency,
    l.event_count,
    l.explanation
from revenue_leakage as l
left join customers as c on l.customer_key = c.customer_key
left join (
    select currency, case minor_unit_digits when 0 then 1.000 when 3 then 0.001 else 0.010 end as unit from currencies
) as u on l.currency = u.currency
where not l.is_accepted
order by abs(l.amount) * coalesce(u.unit, 0.010) desc nulls last, l.key
