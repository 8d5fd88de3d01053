-- Which model costs what?
-- One row per organization, month, vendor and model, in whole units of the currency; usage without a model has none.
select
    organization_id,
    cast(date_trunc('month', usage_date) as date) as cost_month,
    llm_vendor,
    llm_model,
    cost_currency,
    sum(event_count) as event_count,
    sum(llm_total_tokens) as llm_total_tokens,
    cast(sum(cost_amount) * 0.01 as decimal(38, 6)) as cost
from usage_costs
where cost_amount is not null
group by 1, 2, 3, 4, 5
order by 1, 2, cost desc, 3, 4
