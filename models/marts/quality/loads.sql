select
    load_id,
    file_number,
    kind,
    source,
    file_name,
    sha256,
    started_at,
    finished_at,
    records,
    landed,
    duplicate,
    conflict,
    quarantined,
    blank,
    error is not null as has_error
from {{ source('raw', 'loads') }}
