-- How fresh is this file, and what was left out of it?
-- One row: instants in UTC, records that wait in quarantine, and usage of customers that Polar does not know.
select
    p.published_at,
    p.built_at,
    p.as_of,
    p.data_horizon_at,
    p.meterhouse_version,
    (select sum(landed) from loads) as record_count,
    (select count(*) from usage_events) as usage_event_count,
    (select count(*) from quarantined_records where status = 'open') as quarantined_count,
    (select count(*) from conflicting_records) as conflict_count,
    (select count(*) from usage_events where attribution = 'unknown_customer') as unknown_customer_event_count
from publication as p
