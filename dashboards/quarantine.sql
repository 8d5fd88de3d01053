-- Which records were refused, and why?
-- One row per reason and file; `meterhouse quarantine show` has the bytes.
select
    reason_code,
    file_name,
    any_value(message) as message,
    count(*) as record_count,
    min(record_number) as first_record_number
from quarantined_records
where status = 'open'
group by 1, 2
order by record_count desc, reason_code, file_name
