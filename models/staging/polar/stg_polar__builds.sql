{# The running build's inputs: one row. as_of is an input, kept in the work file, so that no model reads the clock. #}

select as_of
from {{ source('raw', 'builds') }}
qualify row_number() over (order by build_id desc) = 1
