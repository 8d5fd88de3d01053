{#
    Each seeded meter's filter is a JSON object with the keys that Polar's filters have. A filter that cannot be read
    matches nothing, or everything, and bills accordingly.
#}

select
    organization_id,
    meter_id,
    meter_name,
    filter
from {{ ref('meters') }}
where
    not json_valid(filter)
    or json_type(try_cast(filter as json)) is distinct from 'OBJECT'
    or json_type(try_cast(filter as json), '$.clauses') is distinct from 'ARRAY'
    or coalesce(json_extract_string(try_cast(filter as json), '$.conjunction'), '') not in ('and', 'or')
