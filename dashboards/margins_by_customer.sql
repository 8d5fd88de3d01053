-- Which customers cost more than they pay?
-- One row per customer and currency, the smallest margin first, in whole units of the currency. Margin is null where
-- revenue and cost are in two currencies and no reporting currency is set.
select
    m.organization_id,
    coalesce(any_value(c.external_customer_id), any_value(c.customer_id), m.customer_key) as customer,
    m.currency,
    cast(sum(m.revenue_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 6)) as revenue,
    cast(sum(m.cost_amount) * 0.01 as decimal(38, 6)) as cost,
    m.cost_currency,
    cast(sum(m.margin_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 6)) as margin
from customer_margins as m
left join customers as c on m.customer_key = c.customer_key
left join (
    select currency, case minor_unit_digits when 0 then 1.000 when 3 then 0.001 else 0.010 end as unit from currencies
) as u on m.currency = u.currency
group by m.organization_id, m.customer_key, m.currency, m.cost_currency
order by margin nulls last, customer, m.currency
