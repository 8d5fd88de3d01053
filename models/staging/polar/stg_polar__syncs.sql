{# Complete syncs of events: what an organization's API showed by then. #}

select
    organization_id,
    load_id,
    covered_from_at,
    covered_to_at,
    finished_at
from {{ source('raw', 'syncs') }}
where is_complete and kind = 'events'
