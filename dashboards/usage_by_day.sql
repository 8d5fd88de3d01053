-- How much is used each day, and of what?
-- One row per organization, UTC day and event name.
select
    organization_id,
    usage_date,
    event_name,
    sum(event_count) as event_count,
    sum(llm_total_tokens) as llm_total_tokens
from usage_daily
group by 1, 2, 3
order by 1, 2, 3
