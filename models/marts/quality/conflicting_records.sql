select
    cast(record_key as varchar) as key,
    organization_id,
    first_content_hash,
    later_content_hash,
    first_load_id,
    load_id as later_load_id,
    file_number,
    record_number
from {{ source('raw', 'conflicts') }}
