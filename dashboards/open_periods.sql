-- What will the month's bill be?
-- One row per organization and currency over the billing periods that are open: expected so far, and at the pace so far
-- until they end, in whole units of the currency.
select
    f.organization_id,
    f.currency,
    count(*) as period_count,
    cast(sum(f.expected_subtotal_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as expected_so_far,
    cast(sum(f.run_rate_subtotal_amount) * coalesce(any_value(u.unit), 0.010) as decimal(38, 3)) as expected_at_end
from period_forecasts as f
left join (
    select currency, case minor_unit_digits when 0 then 1.000 when 3 then 0.001 else 0.010 end as unit from currencies
) as u on f.currency = u.currency
group by 1, 2
order by 1, 2
