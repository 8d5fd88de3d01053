-- Who uses most?
-- One row per organization, customer and event name, the most events first.
select
    d.organization_id,
    coalesce(any_value(c.external_customer_id), any_value(c.customer_id), d.customer_key) as customer,
    any_value(c.is_known_to_polar) as is_known_to_polar,
    d.event_name,
    sum(d.event_count) as event_count,
    max(d.usage_date) as last_usage_date
from usage_daily as d
left join customers as c on d.customer_key = c.customer_key
group by d.organization_id, d.customer_key, d.event_name
order by event_count desc, customer, d.event_name
